"""Precision and recall of the verifier from a reviewed random sample."""

import json

import pytest

from potstill.evaluation.statistics import wilson
from potstill.review import decisions
from potstill.review.calibrating import calibration, needed, skipped
from potstill.review.indexing import Indexer


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
