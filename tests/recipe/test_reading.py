"""Recipes: strict keys, suggestions, overrides, the environment."""

import pytest
import yaml
from pydantic import ValidationError

from potstill.errors import ConfigError
from potstill.recipe.reading import dump_recipe, load_recipe, parse_recipe

SMALL = "problems: {source: a.jsonl}\nteachers: {base_url: http://127.0.0.1:1/v1, model: m}\n"


def test_a_small_recipe_gets_the_papers_defaults():
    """SCoTD samples 30 chains of thought at temperature 1 and keeps the right ones."""
    recipe = parse_recipe(SMALL)
    assert (recipe.sample.n, recipe.teachers[0].temperature, recipe.filter.keep) == (30, 1.0, "correct")
    assert recipe.infer.temperature == 0.7


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("problems: {sorce: a}", r"problems\.sorce: unknown key; did you mean 'source'\?"),
        (SMALL + "smaple: {n: 2}", r"smaple: unknown key; did you mean 'sample'\?"),
        (
            "problems: {source: a}\nteachers: [{base_url: x, modle: m}]",
            r"teachers\.0\.modle: .* did you mean 'model'\?",
        ),
        (SMALL + "sample: {n: 0}", r"sample\.n: got 0; Input should be greater than or equal to 1"),
        (SMALL + "mix: {format: jinja}", r"mix\.format: got 'jinja'"),
        ("teachers: []", r"problems: this key is required"),
        ("problems: {source: a, splits: {train: {source: b}}}", r"give either 'source'"),
        ("problems: {source: a, holdout: {test: 1.5}}", r"fractions must be above 0 and sum to less than 1"),
        ("problems: {source: a}\nteachers: {model: m}", r"a teacher needs 'base_url'"),
        ("problems: [", r"recipe:1:\d+: not valid YAML"),
        ("problems: {source: a}\nproblems: {source: b}", r"recipe:2:1: not valid YAML: key 'problems' occurs twice"),
        (SMALL + "sample: 5", r"sample: got 5; expected a table of keys"),
        (SMALL + "infer: {paths: {cott: 1}}", r"infer\.paths\.cott: got 'cott'"),
        (SMALL + "arms: {a/b: {}}", r"an arm is named 'a/b'"),
        (SMALL + "arms: {teacher: {}}", r"an arm is named 'teacher'"),
        ("just words", r"found str; expected tables"),
        ("", r"found nothing; expected tables"),
        ("problems: {source: '${POTSTILL_NOT_SET}'}", r"environment variable POTSTILL_NOT_SET is not set"),
        (SMALL + "arms: {a: {mix: {m: 1}}}\n", None),
    ],
)
def test_a_mistake_is_named_with_the_nearest_key(text, message):
    """Each mistake gives one message: where, what was found, what is allowed."""
    if message is None:
        with pytest.raises(ConfigError, match=r"arms\.a: mix\.m: unknown key"):
            parse_recipe(text).for_arm("a")
    else:
        with pytest.raises(ConfigError, match=message):
            parse_recipe(text)


def test_overrides_reach_every_depth_and_are_read_as_yaml():
    """Numbers stay numbers, null is null, new tables appear, list items are named by position."""
    overrides = ["sample.n=5", "budget.tokens=1000", "teachers.temperature=null", "train.learning_rate=1e-3"]
    recipe = parse_recipe(SMALL, overrides)
    assert (recipe.sample.n, recipe.budget.tokens, recipe.teachers[0].temperature) == (5, 1000, None)
    listed = parse_recipe("problems: {source: a}\nteachers: [{base_url: x}]", ["teachers.0.model=big"])
    assert listed.teachers[0].model == "big"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("sample.n", "expected table.key=value"),
        ("sample.n.x=3", "unknown key|is a value, not a table"),
        ("seed.x=3", "is a value, not a table"),
        ("sample.n=[", "not valid YAML"),
        ("sample.m=3", "unknown key"),
    ],
)
def test_a_wrong_override_is_refused(override, message):
    """The message repeats what was typed."""
    with pytest.raises(ConfigError, match=message):
        parse_recipe(SMALL + "seed: 0\nsample: {n: 1}\n", [override])


def test_a_teachers_secrets_are_filled_in_for_use_and_never_written(monkeypatch):
    """`${VAR}` stays in the recipe and in its copy; only the teacher in use holds the value."""
    monkeypatch.setenv("POTSTILL_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setenv("POTSTILL_PASS", "sesame")
    text = "problems: {source: a}\nteachers: {base_url: '${POTSTILL_URL}', headers: {X-Api-Key: '${POTSTILL_PASS}'}}"
    recipe = parse_recipe(text)
    used = recipe.teachers[0].resolved()
    assert (used.base_url, used.headers) == ("http://127.0.0.1:9/v1", {"X-Api-Key": "sesame"})
    assert "sesame" not in dump_recipe(recipe)
    assert recipe.teachers[0].api_key_env == "OPENAI_API_KEY"


@pytest.mark.parametrize(
    ("teacher", "message"),
    [
        ("{base_url: x, headers: {Authorization: Bearer abc}}", "header 'Authorization' holds a secret in clear"),
        ("{base_url: 'http://me:pass@127.0.0.1/v1'}", "base_url holds a password in clear"),
        ("{base_url: x, headers: {X-Token: '${POTSTILL_NOT_SET}'}}", "POTSTILL_NOT_SET is not set"),
    ],
)
def test_a_secret_in_clear_is_refused(teacher, message):
    """A recipe is copied into every run, so it must not hold a key."""
    with pytest.raises(ConfigError, match=message):
        parse_recipe(f"problems: {{source: a}}\nteachers: {teacher}")


def test_a_resolved_recipe_reads_back_equal():
    """What the run directory keeps is the whole recipe."""
    recipe = parse_recipe(SMALL + "train: {learning_rate: 0.001, max_steps: 5}\narms: {a: , b: {train: null}}\n")
    assert parse_recipe(dump_recipe(recipe)) == recipe
    assert yaml.safe_load(dump_recipe(recipe))["train"]["learning_rate"] == 0.001


def test_arms_change_only_their_own_tables():
    """An arm sees the recipe with its own changes on top."""
    recipe = parse_recipe(SMALL + "arms: {one: {mix: {n: 1}, infer: {paths: {answer: 1}}}}\n")
    assert recipe.for_arm("one").mix.n == 1
    assert recipe.for_arm("one").infer.paths == {"answer": 1}
    assert recipe.mix.n is None


def test_a_recipe_cannot_be_changed_in_place():
    """A configuration is frozen."""
    with pytest.raises(ValidationError, match="frozen"):
        parse_recipe(SMALL).seed = 3


def test_a_recipe_file_that_is_missing_is_said(tmp_path):
    """The path is in the message."""
    with pytest.raises(ConfigError, match=r"nothing\.yaml: cannot be read"):
        load_recipe(tmp_path / "nothing.yaml")


@pytest.mark.parametrize(
    ("teachers", "message"),
    [
        ("[{base_url: u, model: a, weight: 0}, {base_url: u, model: b, weight: 0}]", "every weight is 0"),
        ("[{base_url: u, model: a, weight: -1}, {base_url: u, model: b}]", "teachers.0.weight.*got -1"),
        ("[{base_url: u, model: a}, {base_url: v, model: a}]", "is called 'a' too; .* with teachers.1.name"),
        ("[{base_url: u, model: a}, {base_url: v, model: scotd}]", "is called 'scotd' too"),
    ],
)
def test_teachers_that_cannot_share_are_refused_in_one_message(teachers, message):
    """Weights that ask nobody, and names that would be one row in the scores."""
    with pytest.raises(ConfigError, match=message):
        parse_recipe(f"problems: {{source: a.jsonl}}\nteachers: {teachers}\n")
    named = "[{base_url: u, model: a, name: here}, {base_url: v, model: a, weight: 0}]"
    recipe = parse_recipe(f"problems: {{source: a.jsonl}}\nteachers: {named}\n")
    assert [teacher.author for teacher in recipe.teachers] == ["here", "a"]


def test_a_recipe_that_names_splits_for_infer_is_told_where_they_belong(capsys):
    """They had no effect there; the recipe means what it meant."""
    text = "problems: {source: a.jsonl}\nevaluate: {splits: [ood]}\n"
    recipe = parse_recipe(f"{text}infer: {{splits: [test], max_new_tokens: 9}}\n")
    assert (
        "infer.splits has no effect and can go: what is asked is what evaluate.splits names" in capsys.readouterr().err
    )
    assert recipe == parse_recipe(f"{text}infer: {{max_new_tokens: 9}}\n")


def test_what_is_wrong_with_a_whole_recipe_is_said_without_an_empty_key():
    """Where tables contradict each other there is no single key to name."""
    teachers = ", ".join(f"{{base_url: {name}, model: {name}, weight: 0}}" for name in "ab")
    text = f"problems: {{source: q.jsonl}}\nteachers: [{teachers}]"
    with pytest.raises(ConfigError, match=r"^recipe: teachers: every weight is 0"):
        parse_recipe(text)
