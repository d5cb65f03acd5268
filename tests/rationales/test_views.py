"""Views: what is asked, by whom it is answered, and when the answer is told."""

import pytest
from toy_labels import counterfactual, label_server, original

from potstill.errors import ConfigError
from potstill.files import read_records
from potstill.purchases import buy_all, greedy, plan_sample
from potstill.rationales.prompts import build_request, load_template
from potstill.rationales.ways import place_of
from potstill.recipe.reading import build_recipe
from potstill.recipe.teachers import SampleConfig, TeacherConfig
from potstill.records import Problem, Rationale
from potstill.teachers.accounts import summarise

ITEM = Problem(id="p", question="Premise: a\nHypothesis: b", fields={"premise": "a", "hypothesis": "b"},
               answer="neutral", labels=("entailment", "neutral", "contradiction"), answer_type="label")  # fmt: skip
CHOICE = Problem(id="c", question="Where is money kept?", options=("river", "bank"), answer="b", answer_type="choice")
BOTH = ("positive", "negative")


def asked(problem, way):
    config = SampleConfig(views=BOTH)
    teacher = TeacherConfig(base_url="http://x/v1", model="m")
    return build_request(problem, way, teacher, config, template=load_template("views")).messages[-1]["content"]


def recipe_of(books, tmp_path, **sample):
    return build_recipe({
        "ledger": str(tmp_path / "ledger.db"),
        "problems": {"source": "unused.jsonl"},
        "teachers": {"base_url": books.url, "model": "m", "api_key_env": None, "seed": 1},
        "sample": {"n": 2, "views": list(BOTH), **sample},
    })  # fmt: skip


def bought(books, tmp_path, problems, **sample):
    """Buy into a file; returns (counts, rows by place)."""
    out = tmp_path / "rationales.jsonl"
    counts = buy_all(recipe_of(books, tmp_path, **sample), problems, out, run="test")
    rows = list(read_records(out, Rationale))
    assert len({place_of(row) for row in rows}) == len({row.id for row in rows}) == len(rows)
    return counts, {place_of(row): row for row in rows}


def test_a_view_shows_the_item_field_by_field_and_tells_the_label_only_where_it_is_to():
    """The frames that the two views are known by; the label stands apart, and nowhere else."""
    free = asked(ITEM, "cot/positive")
    assert free.startswith("Reason from the facts in the item to its label.")
    assert free.endswith("\n\nItem:\npremise: a\nhypothesis: b\nReasoning:")
    assert "Label:" not in free
    told = asked(ITEM, "cot/positive/given")
    assert "Say which facts in the item make this label right." in told
    assert told.endswith("\n\nItem:\npremise: a\nhypothesis: b\nLabel: neutral\nReasoning:")
    negative = asked(ITEM, "cot/negative")
    assert "For each other label, name the fact in the item that rules it out" in negative
    assert "exactly one of: entailment, neutral, contradiction" in negative
    assert len({free, told, negative, asked(ITEM, "cot/negative/given")}) == 4


def test_an_item_without_fields_is_its_question_with_its_choices():
    """Between brackets, so that nothing in it can pass for ours; the right choice is told by its letter."""
    block = "Item:\n<<<\nWhere is money kept?\nAnswer Choices:\n(a) river\n(b) bank\n>>>"
    assert asked(CHOICE, "cot/negative").endswith(f"{block}\nReasoning:")
    assert asked(CHOICE, "cot/negative/given").endswith(f"{block}\nLabel: (b)\nReasoning:")


def test_views_that_are_wrong_are_asked_for_again_with_the_answer_told(tmp_path):
    """As often as they were wrong, in both views, marked; a second call buys nothing, and nothing is bought twice."""
    problems = [original(i) for i in range(8)]  # number 6 speaks of a lake
    with label_server() as books:
        counts, rows = bought(books, tmp_path, problems)
        sent = len(books.prompts)
        again, same = bought(books, tmp_path, problems)
    assert (counts["rationales"], counts["told"], sent) == (36, 4, 36)
    assert {key[0] for key in rows if key[1].endswith("/given")} == {"train6"}
    told = [row for row in rows.values() if row.meta.get("rationalised")]
    assert [(row.kind, row.index) for row in told] == [("cot", 0), ("cot", 1)] * 2
    assert {row.view for row in rows.values()} == set(BOTH)
    assert (len(books.prompts), books.bought_twice, again["requests"]) == (sent, 0, 0)
    assert same == rows
    assert summarise(tmp_path / "ledger.db")["duplicates"] == 0


@pytest.mark.parametrize(("labels", "prompts", "told"), [("free", 4, 0), ("given", 4, 4)])
def test_the_answer_is_told_never_or_always(tmp_path, labels, prompts, told):
    """Without a fallback every view is asked for n times."""
    with label_server() as books:
        _, rows = bought(books, tmp_path, [original(6)], view_labels=labels)
    assert (len(books.prompts), sum("Label:" in prompt for prompt in books.prompts)) == (prompts, told)
    assert sum(bool(row.meta.get("rationalised")) for row in rows.values()) == told


def test_a_plan_counts_the_views_and_what_telling_adds_at_most(tmp_path):
    """Two views of two samples of each problem, and as many again."""
    with label_server() as books:
        rows = plan_sample(recipe_of(books, tmp_path), [original(0), counterfactual(original(0))])
    assert [(row["stage"], row["requests"]) for row in rows] == [("sample", 8), ("sample (told), at most", 8)]


def test_a_teacher_that_is_scored_is_never_told_the_answer(tmp_path):
    """One greedy text of the first view."""
    with label_server() as books:
        config = greedy(recipe_of(books, tmp_path, view_labels="given"))
    assert (config.n, config.temperature, config.ways) == (1, 0.0, ("cot/positive",))


def test_kinds_without_views_keep_their_own_template(tmp_path):
    """Programs are asked for as ever."""
    config = SampleConfig(kinds=("cot", "pot"), views=("negative",))
    assert config.ways == ("cot/negative", "pot")


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        ({"kinds": ["pot"]}, "add cot"),
        ({"views": ["positive", "positive"]}, "each view once"),
        ({"budget_by": "pass_rate"}, "one of the two"),
        ({"views": ["sideways"]}, "views"),
    ],
)
def test_views_that_cannot_be_are_refused(tmp_path, sample, message):
    """Before anything is bought."""
    with label_server() as books, pytest.raises(ConfigError, match=message):
        recipe_of(books, tmp_path, **sample)


def test_a_template_without_the_view_says_which_it_has(tmp_path):
    """A user's template may hold one view alone."""
    path = tmp_path / "mine.yaml"
    path.write_text("positive: {instruction: Argue.}\n")
    with pytest.raises(ConfigError, match=r"no section 'negative' \(it has positive\).*sample.views"):
        load_template(str(path)).section("cot/negative")
    path.write_text("positive_given: {instruction: Argue.}\n")
    with pytest.raises(ConfigError, match=r"positive_given.told.*must hold \{answer\}"):
        load_template(str(path))
