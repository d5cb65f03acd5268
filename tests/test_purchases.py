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

    def call(*overrides, force=False):
        sets = [word for value in overrides for word in ("--set", value)]
        forced = ["--force"] if force else []
        assert main(["run", str(path), "--run", str(folder), *sets, *forced]) == 0
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
    run("teachers.0.weight=1", force=True)
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
