"""The stage `augment` in a run: made, checked, sampled, verified, mixed, and never of what is tested."""

import json
from collections import Counter

import pytest

from potstill.augmenting import checked
from potstill.cli import main
from potstill.errors import ConfigError
from potstill.files import read_records
from potstill.generators.augmentation import derived, way_of_making
from potstill.pipeline import plan_recipe, run_recipe
from potstill.recipe.reading import parse_recipe
from potstill.records import Drop, Example, Problem, Rationale

RECIPE = """
method: scotd
problems:
  splits:
    train: {source: miniature, split: train, limit: 12}
    test: {source: miniature, split: test, limit: 6}
teachers: {base_url: miniature, n: 3}
sample: {n: 3}
augment: {paraphrase: 1, noise: 1, vary: 1}
ledger: LEDGER
arms:
  plain: {mix: {augmented: []}}
  varied: {mix: {augmented: [vary]}}
  all: {}
"""


@pytest.fixture(scope="module")
def augmented(tmp_path_factory):
    """A run up to its training examples."""
    folder = tmp_path_factory.mktemp("augmented")
    path = folder / "recipe.yaml"
    path.write_text(RECIPE.replace("LEDGER", str(folder / "ledger.sqlite")))
    assert main(["run", str(path), "--run", str(folder / "run"), "--until", "mix", "--quiet"]) == 0
    return folder / "run", path


def rows(folder, name, cls):
    return list(read_records(folder / name, cls))


def counts(folder, stage):
    return json.loads((folder / "manifest.json").read_text())["stages"][stage]["counts"]


def test_augmented_problems_are_sampled_verified_and_learnt_like_any_other(augmented):
    """Of all three ways; each with its parent, in the training split; the counts are those of the files."""
    folder, _ = augmented
    problems = {p.id: p for p in rows(folder, "problems.jsonl", Problem)}
    made = {id: p for id, p in problems.items() if way_of_making(p)}
    ways = Counter(way_of_making(p) for p in made.values())
    found = counts(folder, "augment")
    assert ways["vary"] and ways["paraphrase"] and ways["noise"]
    assert {way: found[way] for way in ways} == dict(ways)
    assert {p.split for p in made.values()} == {"train"}
    assert all(problems[p.parent_id].split == "train" and way_of_making(problems[p.parent_id]) is None
               for p in made.values())  # fmt: skip
    sampled = Counter(r.problem_id for r in rows(folder, "rationales.jsonl", Rationale))
    assert {id: sampled[id] for id in made} == dict.fromkeys(made, 3)
    assert len(rows(folder, "augmented.jsonl", Problem)) == len(made)


def test_an_arm_learns_from_the_ways_that_it_names(augmented):
    """None, one, or all, over the same samples."""
    folder, _ = augmented
    problems = {p.id: p for p in rows(folder, "problems.jsonl", Problem)}
    learnt = {arm: {way_of_making(problems[e.group]) for e in rows(folder, f"examples/{arm}.jsonl", Example)}
              for arm in ("plain", "varied", "all")}  # fmt: skip
    assert learnt == {"plain": {None}, "varied": {None, "vary"}, "all": {None, "vary", "paraphrase", "noise"}}


def test_a_second_run_makes_and_buys_nothing(augmented):
    """The stage is done; its files stay as they are."""
    folder, path = augmented
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()}
    assert main(["run", str(path), "--run", str(folder), "--until", "mix", "--quiet"]) == 0
    changed = {p.name for p, stamp in before.items() if p.stat().st_mtime_ns != stamp}
    assert changed <= {"manifest.json", "recipe.yaml"}


def test_without_the_table_a_run_forgets_what_was_made(augmented, tmp_path):
    """And so does one whose table changed; what was bought stays in the ledger."""
    folder, path = augmented
    given = [p for p in rows(folder, "problems.jsonl", Problem) if way_of_making(p) is None]
    run = tmp_path / "run"
    command = ["run", str(path), "--run", str(run), "--until", "augment", "--quiet"]
    assert main([*command, "--set", "augment={noise: 1}"]) == 0
    assert {way_of_making(p) for p in rows(run, "problems.jsonl", Problem)} == {None, "noise"}
    assert main([*command, "--set", "augment={vary: 1}", "--force"]) == 0
    assert {way_of_making(p) for p in rows(run, "problems.jsonl", Problem)} == {None, "vary"}
    assert counts(run, "augment")["programs_requests"] == 0
    assert main([*command[:-3], "--quiet", "--until", "problems", "--set", "augment=null", "--force"]) == 0
    assert rows(run, "problems.jsonl", Problem) == given


def test_a_plan_counts_what_augmenting_buys(augmented):
    """Rewordings, programs, and samples for as many problems as may come of it."""
    recipe = parse_recipe(RECIPE.replace("LEDGER", "nowhere.sqlite"))
    plan = {row["stage"]: row["rationales"] for row in plan_recipe(recipe)}
    assert plan == {
        "augment paraphrases": 12,
        "augment programs": 36,
        "sample": 36,
        "sample augmented, at most": 108,
        "evaluate": 6,
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("{noise: 1, splits: [test]}", "augment.splits: 'test' is evaluated, and nothing made of its problems"),
        ("{noise: 1, splits: [more]}", "augment.splits: 'more' is not sampled; name some of sample.splits, train"),
        ("{paraphrase: 1, teacher: nobody}", "augment.paraphrase: 'nobody' must be one that can be asked; found: "),
        ("{}", "augment: paraphrase, noise and vary are all 0"),
        ("{noise: -1}", "augment.noise: .*greater than or equal to 0"),
        ("{typos: 1}", "augment.typos: unknown key"),
    ],
)
def test_what_cannot_be_augmented_is_said_before_anything_is_bought(change, message, tmp_path):
    """Evaluated splits first of all."""
    text = RECIPE.replace("{paraphrase: 1, noise: 1, vary: 1}", change).replace("LEDGER", str(tmp_path / "l.sqlite"))
    with pytest.raises(ConfigError, match=message):
        run_recipe(parse_recipe(text), tmp_path / "run")
    assert not (tmp_path / "l.sqlite").exists()


def test_recorded_rationales_cannot_reword(tmp_path):
    """They hold what they hold."""
    text = RECIPE.replace("{base_url: miniature, n: 3}", "{replay: r.jsonl}")
    with pytest.raises(ConfigError, match=r"augment.paraphrase: a teacher must be one that can be asked; found: none"):
        run_recipe(parse_recipe(text), tmp_path / "run")


def problem(id, question, split="train", **values):
    return Problem(id=id, question=question, answer="1", answer_type="number", split=split, **values)


STORY = "Joan found 70 seashells on the beach. She gave Sam 27 of the seashells. How many seashells does she have?"
OTHER = "A train leaves at noon and travels 360 miles in 12 hours. What is its speed in miles per hour?"


def test_nothing_becomes_an_evaluated_problem_again():
    """Not what is made of a problem of its family, nor what has its numbers; said twice, it is kept once."""
    test = [
        problem("t1", STORY.replace("70", "40"), "test"),
        problem("t2", OTHER.replace("360", "480"), "test", meta={"family": "x"}),
    ]
    given = [
        problem("p1", STORY),
        problem("p2", OTHER, meta={"family": "y"}),
        problem("p3", "Amy has 3 cats. How many?"),
    ]
    relative = derived(given[0], STORY.replace("found", "picked up"), "paraphrase", 0)
    arrived = derived(given[1], OTHER.replace("360", "480"), "vary", 0, answer="40")
    fine = derived(given[1], OTHER.replace("360", "600"), "vary", 1, answer="50")
    again = derived(given[1], OTHER.replace("360", "600"), "vary", 2, answer="50")
    same = derived(given[2], given[2].question, "noise", 0)
    kept, drops = checked([relative, arrived, fine, again, same], given, test, named=("test",))
    assert kept == [fine]
    assert {drop.id: drop.reason for drop in drops} == {
        relative.id: "augmented_contaminated",
        arrived.id: "augmented_contaminated",
        again.id: "augmented_duplicate",
        same.id: "augmented_duplicate",
    }
    assert "t1 in split test" in drops[0].detail
    assert all(isinstance(drop, Drop) and drop.stage == "augment" for drop in drops)


def test_where_relatives_may_be_learnt_from_an_evaluated_problem_itself_may_not():
    """`filter.decontaminate` without the split, as a published protocol may want it."""
    test = [problem("t1", STORY.replace("70", "40"), "test")]
    given = [problem("p1", STORY)]
    relative = derived(given[0], STORY.replace("70", "50"), "vary", 0, answer="23")
    arrived = derived(given[0], STORY.replace("70", "40"), "vary", 1, answer="13")
    kept, drops = checked([relative, arrived], given, test, named=())
    assert (kept, [drop.id for drop in drops]) == ([relative], [arrived.id])
