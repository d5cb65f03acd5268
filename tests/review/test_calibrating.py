"""Precision and recall of the verifier from a reviewed random sample."""

import json

import pytest
from small_runs import write_lines

from potstill.evaluation.statistics import wilson
from potstill.review import decisions
from potstill.review.calibrating import calibration, needed, skipped
from potstill.review.indexing import Indexer
from potstill.review.queries import Filters, find


@pytest.fixture
def reviewed(tmp_path):
    """Of 40 texts 30 are called right, of which people accept 24; of the other 10 they accept 4."""
    rows, verdicts = [], []
    for number in range(40):
        rows.append({"id": f"r{number}", "problem_id": "p", "kind": "cot", "text": "some words", "index": number})
        verdicts.append({"rationale_id": f"r{number}", "status": "CORRECT" if number < 30 else "WRONG", "answer": "1"})
        action = "accept" if number < 24 or number >= 36 else "reject"
        made = {"by": "Ada", "action": action, "stage": "rationales", "job": "", "record": f"r{number}"}
        decisions.append(tmp_path, {**made, "queue": "calibration"})
    for name, lines in (("rationales", rows), ("verdicts", verdicts)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    indexer = Indexer(tmp_path)
    indexer.catch_up()
    return tmp_path, indexer


def test_precision_and_recall_have_their_intervals(reviewed):
    """24 of 30 and 24 of 28."""
    (row,) = calibration(reviewed[1].index)
    assert (row["n"], row["right_accepted"], row["not_right_accepted"]) == (40, 24, 4)
    low, high, _ = wilson(24, 30)
    assert row["precision"] == {"value": 0.8, "low": low, "high": high, "n": 30, "more": row["precision"]["more"]}
    assert (row["recall"]["value"], row["recall"]["n"]) == (24 / 28, 28)


def test_how_many_more_are_needed_gives_the_interval_that_was_wanted(reviewed):
    """One fewer is not enough."""
    (row,) = calibration(reviewed[1].index)
    total = needed(24, 30, 0.05)
    assert row["precision"]["more"] == round((total - 30) * 40 / 30)
    widths = [(lambda i: (i.high - i.low) / 2)(wilson(0.8 * n, n)) for n in (total - 1, total)]
    assert widths[0] > 0.05 >= widths[1]


def test_decisions_made_while_browsing_do_not_count(reviewed):
    """What was reviewed because it looked doubtful is not a random sample."""
    folder, indexer = reviewed
    (folder / decisions.FILE).write_text("")
    decisions.append(folder, {"by": "Ada", "action": "accept", "stage": "rationales", "job": "", "record": "r1"})
    indexer.catch_up()
    assert calibration(indexer.index) == []


def test_edits_disputes_and_unchecked_texts_are_counted_beside(reviewed):
    """They say nothing about the verifier."""
    folder, indexer = reviewed
    decisions.append(folder, {"by": "Bo", "action": "reject", "stage": "rationales", "job": "", "record": "r0"})
    indexer.catch_up()
    (row,) = calibration(indexer.index)
    assert (row["n"], row["left_out"]) == (39, {"disputed": 1})


def test_records_that_were_passed_over_are_counted(reviewed):
    """A sample without the hard ones is no random sample."""
    folder, indexer = reviewed
    assert skipped(indexer.index, "rationales") == 0
    first = indexer.index.execute("SELECT id FROM items ORDER BY draw LIMIT 1").fetchone()[0]
    (made,) = [row for row in decisions.rows_of(folder) if row["record"] == first]
    decisions.append(folder, {"by": "Ada", "action": "undo", "undoes": made["id"]})
    indexer.catch_up()
    assert skipped(indexer.index, "rationales") == 1


def test_the_share_that_is_called_right_is_corrected_for_the_errors(reviewed):
    """30 of 40 are called right; of them 6 are not, and 4 of the other 10 are: 28 of 40 are right."""
    (row,) = calibration(reviewed[1].index)
    assert (row["judge"], row["false_alarms"]["value"]) == ("verifier", 6 / 12)
    assert row["called_right"] == {"value": 0.75, "n": 40}
    assert row["corrected"]["value"] == pytest.approx(28 / 40)
    assert row["corrected"]["low"] < 28 / 40 < row["corrected"]["high"]


def test_any_judge_of_any_record_is_calibrated(tmp_path):
    """A jury of problems, and the judge of evolved instructions: what a rule refused says nothing about it."""
    problems = [
        {"id": f"c{n}", "question": f"changed {n}", "answer": "b", "parent_id": "p", "answer_type": "label"}
        for n in range(8)
    ]
    jury = [{"problem_id": f"c{n}", "status": "CORRECT" if n < 6 else "WRONG", "answer": "b"} for n in range(8)]
    nodes = [{"text": "seed", "parent": None, "refused": "", "value": 6.0, "scores": None}]
    for n in range(4):
        refused = ("", "", "low_quality", "copy")[n]
        scores = None if refused == "copy" else {"quality": 4.0 - n}
        nodes.append({"text": f"n{n}", "parent": 0, "action": "deepen", "refused": refused, "value": 6.0 + n,
                      "scores": scores})  # fmt: skip
    write_lines(tmp_path / "problems.jsonl", [{"id": "p", "question": "first", "answer": "a"}, *problems])
    write_lines(tmp_path / "judgements" / "jury.jsonl", jury)
    write_lines(tmp_path / "trees.jsonl", [{"seed_id": "s", "nodes": nodes}])
    decided = [("problems", "", f"c{n}", n not in (0, 6)) for n in range(8)]
    decided += [("instructions", "", f"s#{n}", n != 2) for n in range(1, 5)]
    for stage, job, record, is_right in decided:
        row = {"by": "Ada", "action": "accept" if is_right else "reject", "stage": stage, "job": job, "record": record}
        decisions.append(tmp_path, {**row, "queue": "calibration"})
    indexer = Indexer(tmp_path)
    indexer.catch_up()
    judged, jury_row = calibration(indexer.index)
    assert (jury_row["judge"], jury_row["stage"], jury_row["n"]) == ("jury", "problems", 8)
    assert (jury_row["precision"]["value"], jury_row["recall"]["value"]) == (5 / 6, 5 / 6)
    assert (judged["judge"], judged["n"], judged["left_out"]) == ("judge of instructions", 3, {"unchecked": 1})
    assert (judged["right_accepted"], judged["right_rejected"], judged["not_right_accepted"]) == (1, 1, 1)


def test_judges_who_disagree_come_first(tmp_path):
    """Two judges say different things of one problem: it is shown as undecided, and before the others."""
    write_lines(tmp_path / "problems.jsonl", [{"id": f"p{n}", "question": "q", "answer": "a"} for n in range(3)])
    write_lines(tmp_path / "judgements" / "one.jsonl", [{"problem_id": f"p{n}", "status": "CORRECT"} for n in (1, 2)])
    write_lines(tmp_path / "judgements" / "two.jsonl", [{"record": "p2", "status": "WRONG"}])
    indexer = Indexer(tmp_path)
    indexer.catch_up()
    found = find(indexer.index, Filters.read({"stage": "problems", "order": "next"})).rows
    assert [(row["id"], row["status"], row["is_disputed"]) for row in found] == [
        ("p2", "UNVERIFIED", 1), ("p0", "", 0), ("p1", "CORRECT", 0),
    ]  # fmt: skip
    judged = find(indexer.index, Filters.read({"stage": "problems", "judged": "1"})).rows
    assert [row["id"] for row in judged] == ["p1", "p2"]
