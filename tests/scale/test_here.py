"""The engine without a cluster at hand, and with a model in every worker.

Slow: `python -m pytest tests/scale -m slow`.
"""

import json
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest
from sampled import lines, questions, recipe_for

from potstill import engines
from potstill.pipeline import run_recipe
from potstill.purchases import buy_all
from potstill.recipe.reading import load_recipe

pytestmark = pytest.mark.slow
EVOLVE = Path(__file__).resolve().parents[2] / "recipes" / "evolve_demo.yaml"


def test_without_an_address_a_cluster_of_this_machine_is_started_and_stopped(teacher_server, tmp_path):
    """One command, no cluster before or after it; the records of one process."""
    pytest.importorskip("ray", reason="needs Ray: pip install 'potstill[ray]'")
    server = teacher_server()
    problems = tmp_path / "problems.jsonl"
    rows = [{"id": p.id, "question": p.question, "answer": p.answer} for p in questions(10)]
    problems.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    for name in ("local", "ray"):
        command = [sys.executable, "-m", "potstill", "sample", "--problems", str(problems), "--model", "m", "--n", "3",
                   "--base-url", server.base_url, "--ledger", str(tmp_path / f"{name}.sqlite"), "--out",
                   str(tmp_path / f"{name}.jsonl"), "--set", f"engine={name}", "--set", "teachers.seed=1", "--set",
                   "ray.start_s=200"]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert "1 workers" in done.stderr
    assert lines(tmp_path / "ray.jsonl") == lines(tmp_path / "local.jsonl")
    assert len(lines(tmp_path / "ray.jsonl")) == 30


def test_a_model_in_the_workers_writes_what_it_writes_in_this_process(engine, tmp_path):
    """A local teacher draws every sample from its own stream, wherever it is asked."""
    teacher = {"base_url": None, "local": "miniature", "model": "", "max_tokens": 24}
    recipe = recipe_for("", tmp_path, n=2, teachers=teacher)
    buy_all(recipe, questions(6), tmp_path / "local.jsonl", run="r")
    with engines.using(engine):
        other = recipe.model_copy(update={"ledger": str(tmp_path / "other.sqlite")})
        buy_all(other, questions(6), tmp_path / "cluster.jsonl", run="r")
    assert lines(tmp_path / "cluster.jsonl") == lines(tmp_path / "local.jsonl")


def test_a_search_with_its_judges_grows_the_same_trees(engine, tmp_path):
    """Rewriting and judging go through the workers; the embedded teacher is one server for all on this machine."""
    recipe = load_recipe(EVOLVE, ["problems.splits.train.limit=4", "evolve.compare=[]"])
    for name in ("local", "cluster"):
        own = recipe.model_copy(update={"ledger": str(tmp_path / f"{name}.sqlite")})
        with engines.using(engine) if name == "cluster" else nullcontext():
            run_recipe(own, tmp_path / name, until="evolve")
    for name in ("trees.jsonl", "evolved.jsonl"):
        assert lines(tmp_path / "cluster" / name) == lines(tmp_path / "local" / name)
    assert lines(tmp_path / "cluster" / "trees.jsonl")
