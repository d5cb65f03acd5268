"""The script that measures the search: every arm in every cell, at equal calls."""

import argparse
import importlib.util
import sys
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "search_study.py"


def test_every_arm_is_measured_in_every_cell_at_equal_calls(monkeypatch):
    """Rows hold n and an interval; the published loop alone may leave calls unspent, and says so."""
    spec = importlib.util.spec_from_file_location("search_study", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "search_study", script)  # dataclasses look their module up
    spec.loader.exec_module(script)
    options = argparse.Namespace(instructions=3, seeds=2, draw=9, calls=[6], only=None, parallel=1, out=None)
    result = script.run(options)
    scores = [row for row in result["rows"] if row["metric"] == "true_score"]
    assert {(row["arm"], row["noise"]) for row in scores} == {(arm, n) for arm in script.arms() for n in (0.5, 1.5)}
    assert all(row["n"] == 3 and row["low"] <= row["value"] <= row["high"] for row in scores)
    spent = {(row["arm"], row["value"]) for row in result["rows"] if row["metric"] == "calls"}
    assert {value for arm, value in spent if not arm.startswith("published")} == {6}
    assert all(value <= 6 for _, value in spent)
    assert [(row["a"], row["b"]) for row in result["comparisons"]][:2] == [("tree", "random"), ("tree", "beam")]
    assert "| tree − random |" in script.tables(result)
