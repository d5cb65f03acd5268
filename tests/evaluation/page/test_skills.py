"""Who has which skill, and what is computed beyond the scores."""

import json
from collections import Counter

import pytest

from potstill.evaluation.page.gathering import gather
from potstill.evaluation.page.skills import best_single, cast_of, measure, outcome, paired, vote_row


def test_the_cast_is_told_from_the_paths_that_were_scored(mixed_run):
    """One student of both kinds, students of one, the ensemble; neither the untrained student nor the teacher."""
    cast = cast_of(gather(mixed_run()))
    assert (cast.main, cast.others, cast.ensembles) == ("mixed", (), ("ensemble",))
    assert cast.single == {"scotd": "cot", "pot": "pot"}
    assert cast.students == ("scotd", "pot", "mixed")


def test_a_run_of_one_kind_has_no_cast(made_run):
    """Its report is as it was."""
    assert cast_of(gather(made_run())) is None


def test_parts_are_scored_on_their_own_problems(mixed_run):
    """With and without the property: each with its n, together all problems, and right as often as counted by hand."""
    folder = mixed_run(test=60)
    measured = measure(facts := gather(folder), cast_of(facts))
    rows = {value: {(r.system, r.split, r.path): r for r in of} for value, of in measured.parts["has_large"].items()}
    key = ("mixed", "test", "pot")
    assert rows[True][key].n + rows[False][key].n == 60
    problems = [json.loads(line) for line in (folder / "problems.jsonl").read_text().splitlines()]
    large = {p["id"] for p in problems if p.get("split") == "test" and p["meta"]["has_large"]}
    right = [
        json.loads(line) for line in (folder / "verdicts/mixed.jsonl").read_text().splitlines() if "CORRECT" in line
    ]
    hits = {v["rationale_id"] for v in right} & {f"mixed-pot-{pid}-0" for pid in large}
    assert rows[True][key].n == len(large)
    assert rows[True][key].value == pytest.approx(len(hits) / len(large))
    assert rows[True][key].low < rows[True][key].value < rows[True][key].high


def test_a_difference_between_paths_is_that_of_their_scores(mixed_run):
    """Within one system, on all problems; with `only`, on those alone."""
    facts = gather(mixed_run(seeds=2))
    measured = measure(facts, cast_of(facts))
    values = {
        (r.system, r.path): r.value for r in facts.scores if (r.seed, r.split, r.metric) == (None, "test", "accuracy")
    }
    pair = paired(measured, ("mixed", "pot"), ("mixed", "cot"), "test")
    assert pair.difference == pytest.approx(values["mixed", "pot"] - values["mixed", "cot"])
    assert pair.n == 60
    some = paired(measured, ("pot", "pot"), ("scotd", "cot"), "test", only=["test-1", "test-2", "test-3"])
    assert some.n == 3


def test_a_difference_of_what_is_not_there_is_none(mixed_run):
    """An unknown split, a path that a system does not have, no problem left."""
    facts = gather(mixed_run())
    measured = measure(facts, cast_of(facts))
    assert paired(measured, ("mixed", "pot"), ("scotd", "pot"), "test") is None
    assert paired(measured, ("mixed", "pot"), ("mixed", "cot"), "nowhere") is None
    assert paired(measured, ("mixed", "pot"), ("mixed", "cot"), "test", only=[]) is None


def test_programs_are_counted_by_what_came_of_them(mixed_run):
    """Greedy and sampled apart, over all splits and seeds."""
    facts = gather(mixed_run(test=60, seeds=2))
    programs = measure(facts, cast_of(facts)).programs
    assert {name: {way: of.total() for way, of in counted.items()} for name, counted in programs.items()} == {
        "pot": {"greedy": 160, "sampled": 640}, "mixed": {"greedy": 160, "sampled": 320},
    }  # fmt: skip
    assert programs["pot"]["sampled"]["timeout"] > 0


@pytest.mark.parametrize(
    ("status", "reason", "expected"),
    [
        ("CORRECT", "exact", "ran"),
        ("WRONG", "second_opinion", "ran"),
        ("PROGRAM_FAILED", "timeout", "timeout"),
        ("NO_ANSWER", "no_program", "no_program"),
        ("UNVERIFIED", "unsupported", "unsupported"),
        ("UNVERIFIED", "no_gold", "ran"),
        ("PROGRAM_FAILED", "", "program_failed"),
    ],
)
def test_an_outcome_is_ran_or_the_reason_why_not(status, reason, expected):
    """A right and a wrong answer are both answers."""
    assert outcome(status, reason) == expected


def test_the_best_single_vote_has_as_many_paths(mixed_run):
    """The better of the two students at the main student's number of paths, on that split."""
    facts = gather(mixed_run())
    cast = cast_of(facts)
    votes = [vote_row(facts, name, "test", 4) for name in cast.single]
    assert best_single(facts, cast, "test").value == max(row.value for row in votes)
    assert vote_row(facts, "scotd", "test", 2).metric == "accuracy_at_2"
    assert vote_row(facts, "scotd", "test", 3) is None


def test_predictions_that_are_incomplete_are_said_to_be(mixed_run):
    """Half of the predictions gone: what depends on them is left out, and why."""
    folder = mixed_run()
    path = folder / "predictions/mixed.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[: len(lines) // 2]))
    facts = gather(folder)
    measured = measure(facts, cast_of(facts))
    assert measured.parts == {}
    assert "problems have no prediction" in measured.missing
    assert isinstance(measured.programs["pot"]["greedy"], Counter)
