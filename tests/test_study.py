"""The study's parts: which method runs what, and one file of scores over all of them."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def script(monkeypatch):
    """Return the script as a module."""
    spec = importlib.util.spec_from_file_location("study", ROOT / "scripts" / "study.py")
    found = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "study", found)
    spec.loader.exec_module(found)
    return found


def test_a_part_replaces_its_own_rows_and_leaves_those_of_other_tasks(script, tmp_path):
    """Run again it does not double them; the first part makes the file."""
    part = tmp_path / "instructions"
    part.mkdir()
    row = {"task": "instructions", "system": "evolve_tree"}
    (part / "scores.json").write_text(json.dumps({"scores": [row], "comparisons": [{**row, "a": "x"}]}))
    for _ in range(2):
        script.merge(tmp_path, part, "instructions")
    assert json.loads((tmp_path / "scores.json").read_text())["scores"] == [row]
    other = {"task": "problems", "system": "scotd"}
    (tmp_path / "scores.json").write_text(json.dumps({"scores": [row, other], "comparisons": []}))
    script.merge(tmp_path, part, "instructions")
    found = json.loads((tmp_path / "scores.json").read_text())
    assert found == {"scores": [other, row], "comparisons": [{**row, "a": "x"}]}


def test_every_part_runs_something_that_is_there_and_methods_are_told_apart(script):
    """A recipe or a script of the repository; no method belongs to two parts."""
    for part in script.PARTS:
        command = part.command(Path("runs/study"), 3, part.methods[0])
        assert any((ROOT / folder / Path(word).name).exists() for word in command for folder in ("recipes", "scripts"))
        assert "3" in command or "seed=3" in command
    methods = [method for part in script.PARTS for method in part.methods]
    assert len(methods) == len(set(methods))
    assert "idea_mcts" in methods
