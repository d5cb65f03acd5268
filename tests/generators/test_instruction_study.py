"""The study of instructions: rows by the names that scripts look for, resumable, and students by their answers."""

import importlib
import json
import random
from pathlib import Path

import pytest

from potstill.miniature.instruction_grammar import read
from potstill.miniature.instruction_heeding import graded_tests
from potstill.miniature.instruction_teacher import answer

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@pytest.fixture
def scripts(monkeypatch):
    """Return the two scripts as modules."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module("instruction_study"), importlib.import_module("instruction_students")


def test_the_searches_are_scored_under_their_names_and_a_second_call_measures_nothing_again(scripts, tmp_path):
    """Every arm, cell and metric, per world and over all; what counted is kept, so it can be scored again."""
    study, _ = scripts
    options = ["--run", str(tmp_path), "--instructions", "3", "--seeds", "2", "--students", "0", "--calls", "4",
               "--parallel", "1"]  # fmt: skip
    study.main(options)
    rows = json.loads((tmp_path / "scores.json").read_text(encoding="utf-8"))
    found = {(r["system"], r["split"], r["path"], r["metric"], r["seed"]) for r in rows["scores"]}
    for system in ("evolve_tree", "evolve_published", "evolve_random", "evolve_beam", "evolve_best_of_n"):
        for split in ("test", "test_noisy"):
            for metric in ("true_score", "judged_score", "broken_fraction"):
                assert {(system, split, "calls_4", metric, seed) for seed in (0, 1, None)} <= found
    assert {row["task"] for row in rows["scores"]} == {"instructions"}
    pair = next(row for row in rows["comparisons"] if (row["a"], row["b"]) == ("evolve_tree", "evolve_random"))
    assert pair["low"] <= pair["difference"] <= pair["high"] and 0 <= pair["p"] <= 1
    kept = (tmp_path / "predictions" / "evolve_tree.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(kept) == 2 * 2 * 3
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Growth with the calls" in page and "Best of n, the same seed" in page
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "cells").iterdir()}
    study.main(options)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "cells").iterdir()} == before


def test_a_student_is_scored_by_the_clauses_that_its_answers_heed(scripts):
    """A perfect one beats one that forgets everything, at every grade, and the rows say by how much."""
    _, students = scripts
    tests = graded_tests(6, (1, 2), seed=1)

    def run_of(arm, seed, forgets):
        answers = [
            {"grade": grade, "instruction": text, "response": answer(read(text), random.Random(n), forgets=forgets)}
            for n, (grade, text) in enumerate(tests)
        ]
        return {"arm": arm, "seed": seed, "answers": answers}

    runs = [run_of(arm, seed, forgets) for arm, forgets in (("tree", 0.0), ("seeds", 1.0)) for seed in range(2)]
    scores, comparisons = students.score_students(runs, 25)
    found = {(row.system, row.split, row.metric): row.value for row in scores if row.seed is None}
    for split in ("test", "test_1_clauses", "test_2_clauses"):
        assert found["student_tree", split, "accuracy"] == found["student_tree", split, "clauses_heeded"] == 1.0
        assert found["student_seeds", split, "accuracy"] == found["student_seeds", split, "clauses_heeded"] == 0.0
    assert {(row.a, row.b, row.path) for row in comparisons} == {("student_tree", "student_seeds", "calls_25")}
    assert all(row.difference == 1.0 for row in comparisons)


def test_rows_are_as_many_in_every_arm_and_long_or_broken_responses_are_in_none(scripts):
    """Where there are fewer instructions they are answered several times."""
    _, students = scripts
    texts = ["Argue for comets. Use at least 300 words.", "Explain choirs to a friend. Answer as a table."]
    rows = students.rows_of(texts, 6, seed=1)
    assert [text for text, _ in rows] == [texts[1]] * 6
    assert all(len(said.split()) <= students.LONGEST for _, said in rows)
