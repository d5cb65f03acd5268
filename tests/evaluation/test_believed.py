"""Scores corrected by a reviewed sample, in the report."""

import json

from potstill.cli import main
from potstill.evaluation.believed import read_calibration
from potstill.review import decisions


def review_sample(folder, n=60):
    """Let a person review predictions of scotd at random: every fifth that is called right is rejected."""
    rows = [json.loads(line) for line in (folder / "verdicts" / "scotd.jsonl").read_text().splitlines()][:n]
    right = 0
    for row in rows:
        is_right = row["status"] == "CORRECT"
        right += is_right
        action = "accept" if is_right and right % 5 else "reject"
        made = {"by": "Ada", "action": action, "stage": "predictions", "job": "scotd", "record": row["rationale_id"]}
        decisions.append(folder, {**made, "queue": "calibration"})


def test_the_report_shows_scores_corrected_for_the_verifier(made_run, capsys):
    """A verifier that calls a fifth too much right: every corrected score is below the reported one."""
    folder = made_run()
    review_sample(folder)
    assert main(["report", str(folder), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    (row,) = said["calibration"]
    assert (row["judge"], row["stage"], row["n"], row["recall"]["value"]) == ("verifier", "predictions", 60, 1.0)
    found = {(row["system"], row["split"]): row for row in said["corrected"]}
    one = found["scotd", "test"]
    assert one["low"] < one["value"] < one["reported"]
    assert one["value"] < one["high"]
    page, twin = (folder / "report.html").read_text(), (folder / "report.md").read_text()
    assert "What people found" in page
    assert f"{100 * one['value']:.1f}" in page
    assert f"{100 * one['value']:.1f} [{100 * one['low']:.1f}, {100 * one['high']:.1f}]" in twin.replace("\\", "")


def test_a_run_that_nobody_reviewed_at_random_is_left_alone(made_run):
    """No index is made for it, and nothing is corrected."""
    folder = made_run()
    made = {"by": "Ada", "action": "accept", "stage": "predictions", "job": "scotd", "record": "x"}
    decisions.append(folder, made)
    assert read_calibration(folder) == ([], "")
    assert not (folder / ".review").exists()


def test_decisions_that_cannot_be_read_are_said_and_the_report_is_made(made_run):
    """The rest of the run is all right."""
    folder = made_run()
    (folder / "review.jsonl").write_text("nonsense\n")
    assert main(["report", str(folder)]) == 0
    assert "The calibration could not be read" in (folder / "report.html").read_text()
