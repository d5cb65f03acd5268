"""Counterfactuals in a report: every edit by what became of it, and pairs word by word."""

import json

import pytest

from potstill.evaluation.page.contrasts import candidate_funnel, counterfactuals
from potstill.evaluation.page.gathering import gather

REASONS = {
    "unparseable": {"fault": "unparseable"}, "not_minimal": {}, "unflipped": {"jury": "j"}, "not_best": {"jury": "j"},
    "kept": {"jury": "j"},
}  # fmt: skip


def candidates():
    """Return one candidate of each fate."""
    return [{"id": reason, "reason": reason, **more} for reason, more in REASONS.items()]


@pytest.fixture
def run(tmp_path):
    """A run directory with one pair."""
    original = {"id": "o", "question": "T: A dull film.", "fields": {"text": "A dull <b>film."}, "answer": "bad"}
    told = {"kind": "attribute", "from": "bad", "to": "good", "votes": {"good": 4, "bad": 1}, "edited_tokens": 1}
    edited = {**original, "id": "e", "parent_id": "o", "question": "T: A fine film.", "answer": "good",
              "fields": {"text": "A fine <b>film."}, "meta": {"counterfactual": told}}  # fmt: skip
    counts = {"edited": 1, "jurors": ["judge"], "pairs": {"bad to good": 1}}
    manifest = {"schema_version": 1, "stages": {"counterfactual": {"done": "x", "counts": counts}}}
    for name, rows in (
        ("candidates", candidates()), ("counterfactuals", [edited]), ("problems", [original, edited]),
    ):  # fmt: skip
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (tmp_path / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    (tmp_path / "recipe.yaml").write_text("method: counterfactual\n", encoding="utf-8")
    return tmp_path


def test_the_section_says_what_was_asked_judged_and_kept(run):
    """With the jury by name and the labels of the pairs."""
    page = counterfactuals(gather(run))
    assert "1 problems, 5 edits asked for, 1 kept." in page
    assert "A jury (judge)" in page
    assert "of 2 of 3" in page
    assert "bad to good 1" in page


def test_a_pair_is_shown_with_what_went_and_what_came(run):
    """Text stays text."""
    page = counterfactuals(gather(run))
    assert "<del>dull</del><ins>fine</ins>" in page
    assert "&lt;b&gt;film" in page
    assert "<del>bad</del> <ins>good</ins>" in page
    assert "4 good, 1 bad" in page


def test_every_edit_stands_in_the_funnel_once():
    """Under the step that refused it."""
    table = candidate_funnel(candidates())
    order = [table.index(words) for words in ("No edit in the reply", "unparseable", "Refused by a filter",
             "not minimal", "Refused by the jury", "unflipped", "Accepted, not chosen", "not best")]  # fmt: skip
    assert order == sorted(order)
    assert table.count("20.0 %") == 5


def test_a_run_without_counterfactuals_has_no_section(run):
    """And one without kept pairs no pairs."""
    (run / "counterfactuals.jsonl").unlink()
    assert "word by word" not in counterfactuals(gather(run))
    (run / "candidates.jsonl").unlink()
    assert counterfactuals(gather(run)) is None
