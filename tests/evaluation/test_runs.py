"""Several runs beside each other: paired where they share problems, one page, its Markdown twin, plain data."""

import json
import re
import shutil

import pytest

from potstill.cli import main
from potstill.evaluation.markdown import escaped, fenced
from potstill.evaluation.reporting import report_runs
from potstill.evaluation.runs import ABSENT, read_runs, recipe_differences


@pytest.fixture
def two(made_run, tmp_path):
    """A run, and a copy of it whose student scotd answers ten more test problems wrongly."""
    first = made_run(test=40)
    other = tmp_path / "later"
    shutil.copytree(first, other)
    path = other / "verdicts" / "scotd.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    turned = [row for row in rows if row["status"] == "CORRECT" and "-test-" in row["rationale_id"]][:10]
    for row in turned:
        row |= {"status": "NO_ANSWER", "answer": None, "reason": "truncated"}
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe = (other / "recipe.yaml").read_text().replace("seed: 0", "seed: 7", 1)
    (other / "recipe.yaml").write_text(recipe)
    return first, other


def pair(found, system, split="test", metric="accuracy"):
    (row,) = [p for p in found.comparisons if (p.a, p.split, p.metric) == (f"later/{system}", split, metric)]
    return row


def test_runs_are_paired_on_the_problems_that_they_share(two):
    """Ten of forty problems turned wrong are -25 points; what did not change is 0."""
    found = read_runs(two)
    row = pair(found, "scotd")
    assert (row.b, row.difference, row.n) == ("run/scotd", -0.25, 40)
    assert (row.test, row.meta["shared_problems"]) == ("exact McNemar; interval Newcombe", 40 + 13 + 20)
    assert row.p == pytest.approx(2 / 2**10)
    assert pair(found, "cot_n1").difference == 0
    assert found.notes == []


def test_problems_of_one_id_that_ask_something_else_are_not_shared(two):
    """Ids of one's own may name other problems elsewhere: then nothing is paired, and that is said."""
    path = two[1] / "problems.jsonl"
    path.write_text(path.read_text().replace("jars of honey", "pots of jam"))
    found = read_runs(two)
    assert found.comparisons == []
    assert found.notes == ["later and run were scored on no common problem: nothing is paired."]


def test_a_run_without_predictions_is_shown_and_not_paired(two):
    """It may be unfinished."""
    shutil.rmtree(two[1] / "predictions")
    (two[1] / "scores.json").unlink()
    path, numbers = report_runs(two)
    assert numbers["comparisons"] == []
    assert numbers["runs"]["later"]["scores"] == []
    assert "nothing is paired" in path.read_text()


def test_a_system_that_cannot_be_graded_is_named(two):
    """Predictions that are missing are no wrong answers."""
    path = two[1] / "predictions" / "cot_n5.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:50]))
    found = read_runs(two)
    assert [pair.a for pair in found.comparisons if "cot_n5" in pair.a] == []
    assert any(note.startswith("later: cot_n5, split") for note in found.notes)


def test_only_recipe_keys_that_differ_are_listed():
    """A key that an older recipe lacks agrees with an empty one; lists of tables are told apart by their places."""
    one = {"seed": 0, "teachers": [{"model": "a"}], "ledger": "x", "train": {"steps": 5}, "evolve": None}
    two = {"seed": 1, "teachers": [{"model": "b"}], "ledger": "y", "train": {"steps": 5}, "n_seeds": 3}
    rows, same = recipe_differences([one, two])
    assert rows == [("seed", [0, 1]), ("teachers.0.model", ["a", "b"]), ("n_seeds", [ABSENT, 3])]
    assert same == 2


def test_the_page_its_markdown_and_the_json_say_the_same(two, capsys):
    """Every score of every run, the pairs, the recipe's differences, how to repeat; nothing is asked of anywhere."""
    assert main(["report", *map(str, two), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    page = (two[0] / "comparison.html").read_text()
    twin = (two[0] / "comparison.md").read_text()
    assert said["markdown"] == str(two[0] / "comparison.md")
    assert next(row["difference"] for row in said["comparisons"] if row["a"] == "later/scotd") == -0.25
    assert said["recipe"] == {"seed": [0, 7]}
    for text in (page, twin):
        assert "-25.0" in text.replace("\u2212", "-")
        assert "potstill run recipes/demo.yaml --run runs/demo" in text
        for summary in said["runs"].values():
            for row in summary["scores"]:
                assert f"{100 * row['value']:.1f}" in text
    assert not re.search(r"<script|<img|<iframe|url\(|@import|https?://", page)
    assert all(target.startswith("#") for target in re.findall(r'(?:src|href)="([^"]*)"', page))
    assert "truncated" in page
    assert page.count("<svg") > 5


def test_the_markdown_twin_of_a_report_holds_its_numbers(made_run, capsys):
    """Scores with intervals, funnel, failures, cost, recipe; no text that a model wrote."""
    folder = made_run()
    assert main(["report", str(folder), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    twin = (folder / "report.md").read_text()
    for row in said["scores"]:
        assert f"[{100 * row['low']:.1f}, {100 * row['high']:.1f}]" in twin
    assert "no answer found" in twin
    assert "method: scotd" in twin
    assert "A third of them leaves" not in twin
    kinds = {(row["system"], row["status"]): row["count"] for row in said["failures"]}
    assert kinds["untrained", "WRONG"] + kinds["untrained", "NO_ANSWER"] <= 60 + 20 + 30


def test_what_cannot_be_reported_is_one_message(two, capsys):
    """No run, a run twice, an --out that would overwrite its own twin, a folder that is no run."""
    for arguments, words in (
        ([], "report: no run given"),
        ([str(two[0]), str(two[0])], "is given twice"),
        ([str(two[0]), "--out", str(two[0] / "x.md")], "is the name of its Markdown twin; name the HTML file"),
        ([str(two[0]), "--out", str(two[0])], "is a folder"),
        ([str(two[0]), str(two[0] / "absent")], "absent: no such folder; give a run directory"),
    ):
        assert main(["report", *arguments]) == 1
        assert words in capsys.readouterr().err


def test_text_cannot_leave_its_place_in_markdown():
    """A cell stays a cell, a block a block."""
    assert escaped("a|b <i>\n*c*") == "a\\|b \\<i\\> \\*c\\*"
    assert fenced("x\n```\ny") == "````\nx\n```\ny\n````"
