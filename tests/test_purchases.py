"""What a recipe buys from several teachers, as a user runs it."""

import json
from collections import Counter

import pytest

from potstill.cli import main
from potstill.files import read_records
from potstill.purchases import scored_teachers
from potstill.recipe.reading import parse_recipe
from potstill.records import Rationale
from potstill.teachers.ledger import summarise

RECIPE = """
problems:
  splits:
    train: {source: miniature, split: train, limit: 9}
    test: {source: miniature, split: test, limit: 6}
teachers:
  - {base_url: miniature, model: sober, temperature: 0.5, seed: 1, weight: 2, price: {output: 1.0}}
  - {base_url: miniature, model: lively, temperature: 1.5, seed: 2, price: {output: 2.0}}
sample: {n: 3}
student: {model: miniature}
infer: {max_new_tokens: 4}
evaluate: {bootstrap: 100}
arms: {untrained: {train: null}}
ledger: LEDGER
"""


@pytest.fixture
def run(tmp_path):
    """Run the recipe with overrides; returns the run's folder."""
    path, folder = tmp_path / "recipe.yaml", tmp_path / "run"
    path.write_text(RECIPE.replace("LEDGER", str(tmp_path / "ledger.db")))

    def call(*options, teachers=""):
        """Further options of the command line; `teachers` in place of the recipe's first one."""
        if teachers:
            first = next(line for line in RECIPE.splitlines() if "sober" in line)
            path.write_text(path.read_text().replace(first, f"  - {{{teachers}}}"))
        assert main(["run", str(path), "--run", str(folder), *options]) == 0
        return folder

    return call


def authors(folder):
    return Counter(row.author for row in read_records(folder / "rationales.jsonl", Rationale))


def test_several_teachers_are_sampled_scored_and_accounted_for_by_name(run, tmp_path, capsys):
    """Each has its share, its row in the scores and its line in the report; another weight buys no sample twice."""
    folder = run()
    assert authors(folder) == {"sober": 18, "lively": 9}
    scores = json.loads((folder / "scores.json").read_text())["scores"]
    assert {(row["system"], row["n"]) for row in scores} == {("sober", 6), ("lively", 6), ("untrained", 6)}
    page = (folder / "report.html").read_text()
    assert "sober, lively" in page
    assert "18 rationales" in page and "9 rationales" in page
    before = summarise(tmp_path / "ledger.db")
    run("--set", "teachers.0.weight=1", "--force", "--until", "sample")
    assert set(authors(folder).values()) == {13, 14}
    after = summarise(tmp_path / "ledger.db")
    assert 0 < after["requests"] - before["requests"] <= 6
    assert after["duplicates"] == 0


def test_teachers_that_only_replay_are_not_scored(capsys):
    """And the message names them where there are several."""
    teachers = "[{replay: a.jsonl, model: x}, {base_url: u, model: org/y}]"
    recipe = parse_recipe(f"problems: {{source: a}}\nteachers: {teachers}")
    [asked] = scored_teachers(recipe)
    assert (asked.system, asked.stage) == ("org/y", "predictions/teacher.org-y")
    assert "x: recorded rationales cannot answer new problems" in capsys.readouterr().err


def test_a_local_model_is_a_teacher_like_any_other(run, tmp_path):
    """Sampled and scored in this process beside an endpoint, kept in the ledger, free; a second run writes nothing."""
    folder = run(teachers="local: miniature, name: own, max_tokens: 8, weight: 2")
    assert authors(folder) == {"own": 18, "lively": 9}
    scores = json.loads((folder / "scores.json").read_text())["scores"]
    assert {row["system"] for row in scores} == {"own", "lively", "untrained"}
    counts = json.loads((folder / "manifest.json").read_text())["stages"]["sample"]["counts"]["teachers"]
    assert counts["own"]["money"] == 0 < counts["own"]["completion_tokens"] <= 18 * 8
    texts = {row.id: row.text for row in read_records(folder / "rationales.jsonl", Rationale)}
    held = summarise(tmp_path / "ledger.db")["completions"]
    (folder / "rationales.jsonl").unlink()
    (folder / "manifest.json").unlink()
    again = run("--until", "sample")
    assert {row.id: row.text for row in read_records(again / "rationales.jsonl", Rationale)} == texts
    assert summarise(tmp_path / "ledger.db")["completions"] == held


def test_a_local_folder_that_is_no_model_is_said_first(tmp_path, capsys):
    """One message; nothing is written."""
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE.replace("{base_url: miniature, model: lively", "{local: ./nothing, name: lively"))
    assert main(["run", str(path), "--run", str(tmp_path / "run")]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "teachers.local: ./nothing: no such folder" in error
