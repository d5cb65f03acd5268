"""A recipe on a cluster writes what it writes on one machine."""

import json
import os
import signal
import threading
import time
from contextlib import nullcontext

import pytest
from sampled import lines, questions, recipe_for

from potstill import engines
from potstill.errors import ConfigError
from potstill.miniature.world import draw_problems
from potstill.pipeline import run_recipe
from potstill.purchases import buy_all
from potstill.recipe.scale import RayConfig
from potstill.scale.cluster import Cluster


def test_the_same_recipe_writes_the_same_records(engine, teacher_server, tmp_path):
    """Byte for byte after sorting: rationales and verdicts, of words and of programs; nothing is asked twice."""
    server = teacher_server(canned=0)
    problems = tmp_path / "problems.jsonl"
    rows = draw_problems("train", 12, seed=3)
    problems.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    recipe = recipe_for(server.base_url, tmp_path, kinds=("cot", "pot"), problems={"source": str(problems)})
    run_recipe(recipe, tmp_path / "local", until="verify")
    asked = server.stats()["requests"]
    server.reset()
    with engines.using(engine):
        other = recipe.model_copy(update={"ledger": str(tmp_path / "other.sqlite"), "engine": "ray"})
        run_recipe(other, tmp_path / "cluster", until="verify")
    for name in ("rationales.jsonl", "verdicts.jsonl"):
        assert lines(tmp_path / "cluster" / name) == lines(tmp_path / "local" / name)
    assert len(lines(tmp_path / "cluster" / "verdicts.jsonl")) == 12 * 4 * 2
    assert (server.stats()["requests"], server.stats()["dup_requests"]) == (asked, 0)


def test_a_killed_worker_loses_no_row_and_repeats_only_what_it_had_in_flight(engine, teacher_server, tmp_path, capsys):
    """The endpoint's own account says how much was paid twice; the worker is replaced."""
    server = teacher_server(latency=0.1)
    recipe, out = recipe_for(server.base_url, tmp_path), tmp_path / "rationales.jsonl"
    victim = engine.crew.members[0].facts.pid

    def kill():
        while server.stats()["billed_requests"] < 60:
            time.sleep(0.02)
        os.kill(victim, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    with engines.using(engine):
        counts = buy_all(recipe, questions(60), out, run="r")
    killer.join()
    assert (counts["rationales"], counts["failed"]) == (240, 0)
    assert len(set(lines(out))) == 240
    assert server.stats()["dup_requests"] <= recipe.teachers[0].max_concurrency
    assert "is lost" in capsys.readouterr().err
    deadline = time.monotonic() + 60
    while len(engine.crew.refresh()) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert victim not in {member.facts.pid for member in engine.crew.members}
    assert len(engine.crew.members) == 2


def test_a_budget_holds_over_all_workers(engine, teacher_server, tmp_path):
    """What all nodes spend together stays below the recipe's limit, by the endpoint's own account."""
    from potstill.errors import BudgetError

    server = teacher_server()
    recipe = recipe_for(server.base_url, tmp_path, budget={"tokens": 5000})
    with engines.using(engine), pytest.raises(BudgetError, match=r"budget\.tokens"):
        buy_all(recipe, questions(200), tmp_path / "rationales.jsonl", run="r")
    assert 2500 < server.stats()["billed_tokens"] <= 5000


def test_an_endpoint_that_refuses_is_said_once_and_ends_the_run(engine, teacher_server, tmp_path):
    """The same message as on one machine."""
    from potstill.errors import RefusedError

    server = teacher_server(api_key="k")
    recipe = recipe_for(server.base_url, tmp_path)
    with engines.using(engine), pytest.raises(RefusedError, match="no key was sent"):
        buy_all(recipe, questions(8), tmp_path / "rationales.jsonl", run="r")
    assert server.stats()["requests"] <= 2 * recipe.teachers[0].max_concurrency


def test_a_cluster_without_room_for_a_worker_is_refused(nodes):
    """Before anything is spent, with what to change."""
    with (
        Cluster(RayConfig(address=nodes.address, num_cpus=64)) as cluster,
        pytest.raises(ConfigError, match="num_cpus"),
    ):
        cluster.require()


def test_programs_of_a_file_give_the_same_lines_on_a_cluster(engine, tmp_path):
    """In the order of the file, with the isolation that each node obtained and tested."""
    from potstill.cli import main

    programs, out = tmp_path / "programs.jsonl", tmp_path / "out.jsonl"
    texts = ["ans = 6 * 7", "print(3)", "1/0", "x = frozenset([1])\nans = sum(y for y in x)", "open('/etc/passwd')"]
    rows = [{"id": str(i), "program": texts[i] if i < len(texts) else f"ans = {i}"} for i in range(200)]
    programs.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    found = []
    for name in ("local", "ray"):
        with engines.using(engine) if name == "ray" else nullcontext():
            assert main(["exec", str(programs), "--out", str(out), "--quiet"]) == 0
        lines = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
        found.append([{key: value for key, value in line.items() if key != "cpu_ms"} for line in lines])
    assert found[0] == found[1]
    assert [line["id"] for line in found[1]] == [row["id"] for row in rows]
