"""What breaks on a cluster costs no row, and little twice: real processes are killed, the endpoint's log is witness.

Slow: `python -m pytest tests/scale -m slow`.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import ExitStack, suppress

import pytest
from sampled import ROOM, lines, questions, recipe_for

from potstill import engines
from potstill.miniature.server import launched
from potstill.purchases import buy_all
from potstill.recipe.rationales import SandboxConfig, VerifyConfig
from potstill.recipe.scale import RayConfig
from potstill.records import Problem, rationale_from
from potstill.scale.cluster import Cluster

pytestmark = pytest.mark.slow


class Endpoint:
    """A real server on a port of its own, with a log that outlives it."""

    def __init__(self, folder, **knobs):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.log, self.knobs = folder / "endpoint.jsonl", {"canned": 200, **knobs}
        self.url = f"http://127.0.0.1:{self.port}/v1"
        self._stack = ExitStack()

    def start(self):
        self._stack.enter_context(launched(port=self.port, log=str(self.log), **self.knobs))

    def stop(self):
        self._stack.close()

    def billed(self):
        """Body -> how often it was billed, by its own log."""
        rows = [json.loads(line) for line in self.log.read_text(encoding="utf-8").splitlines() if line.endswith("}")]
        return Counter(row["key"] for row in rows if row["billed"])

    def await_billed(self, count):
        while sum(self.billed().values()) < count:
            time.sleep(0.05)

    @property
    def paid_twice(self):
        found = sum(times - 1 for times in self.billed().values())
        print(f"paid twice: {found} of {sum(self.billed().values())}")  # shown by -rP
        return found


@pytest.fixture
def endpoint(tmp_path):
    found = Endpoint(tmp_path, latency=0.1)
    found.start()
    yield found
    found.stop()


@pytest.fixture
def own_engine(nodes):
    """An engine of this test's own, that looks quickly and may lose workers."""
    with Cluster(RayConfig(address=nodes.address, lease_s=3, num_cpus=0.5, start_s=120)) as opened:
        opened.require()
        yield opened


def buy_while(engine, recipe, out, act, count=80):
    """Sample while another thread breaks something; returns the counts."""
    failed = []

    def acting():
        try:
            act()
        except BaseException as error:
            failed.append(error)
            raise

    thread = threading.Thread(target=acting)
    thread.start()
    with engines.using(engine):
        counts = buy_all(recipe, questions(count), out, run="r")
    thread.join()
    assert not failed
    return counts


def test_a_node_that_goes_in_the_middle_loses_no_row(nodes, endpoint, tmp_path):
    """At 40 % of the rows a node with all its processes is killed; only what it had in flight is paid twice."""
    third = nodes.add()
    with Cluster(RayConfig(address=nodes.address, lease_s=3, num_cpus=0.5, start_s=120)) as engine:
        engine.require()
        assert len(engine.crew.members) == 3

        def act():
            endpoint.await_billed(128)
            nodes.kill(third)

        out = tmp_path / "rationales.jsonl"
        counts = buy_while(engine, recipe_for(endpoint.url, tmp_path), out, act)
    assert (counts["rationales"], counts["failed"], len(set(lines(out)))) == (320, 0, 320)
    assert endpoint.paid_twice <= ROOM


def test_a_restarted_coordinator_goes_on_where_it_was(nodes, endpoint, tmp_path):
    """The command is killed and given again: every row is there, and only what was in flight is paid twice."""
    problems, out = tmp_path / "problems.jsonl", tmp_path / "rationales.jsonl"
    rows = [{"id": p.id, "question": p.question, "answer": p.answer} for p in questions(80)]
    problems.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    command = [sys.executable, "-m", "potstill", "sample", "--problems", str(problems), "--base-url", endpoint.url,
               "--model", "m", "--n", "4", "--max-concurrency", str(ROOM), "--ledger", str(tmp_path / "l.sqlite"),
               "--out", str(out), "--set", "engine=ray", "--set", f"ray.address={nodes.address}",
               "--set", "ray.num_cpus=0.25", "--set", "teachers.seed=1", "--quiet"]  # fmt: skip
    first = subprocess.Popen(command)
    endpoint.await_billed(128)
    first.send_signal(signal.SIGKILL)
    first.wait()
    subprocess.run(command, check=True)
    assert len(lines(out)) == len(set(lines(out))) == 320
    assert endpoint.paid_twice <= 2 * ROOM
    assert sum(endpoint.billed().values()) <= 320 + 2 * ROOM


def test_a_node_that_stands_still_is_given_up_after_its_lease(own_engine, endpoint, tmp_path, capsys):
    """A stopped process answers nothing and dies of nothing: the others do its work."""
    frozen = own_engine.crew.members[0].facts.pid

    def act():
        endpoint.await_billed(128)
        os.kill(frozen, signal.SIGSTOP)

    out = tmp_path / "rationales.jsonl"
    try:
        counts = buy_while(own_engine, recipe_for(endpoint.url, tmp_path), out, act)
    finally:
        with suppress(ProcessLookupError):
            os.kill(frozen, signal.SIGKILL)
    assert (counts["rationales"], counts["failed"], len(set(lines(out)))) == (320, 0, 320)
    assert endpoint.paid_twice <= ROOM
    assert "silent for 3 s" in capsys.readouterr().err


def test_an_endpoint_that_dies_and_comes_back_costs_only_what_was_in_flight(own_engine, endpoint, tmp_path):
    """It is away for two seconds; no row is lost and no worker is."""

    def act():
        endpoint.await_billed(128)
        endpoint.stop()
        time.sleep(2)
        endpoint.start()

    out = tmp_path / "rationales.jsonl"
    workers = {member.facts.pid for member in own_engine.crew.members}
    counts = buy_while(own_engine, recipe_for(endpoint.url, tmp_path), out, act)
    assert (counts["rationales"], counts["failed"], len(set(lines(out)))) == (320, 0, 320)
    assert endpoint.paid_twice <= 2 * ROOM
    assert {member.facts.pid for member in own_engine.crew.members} == workers


def test_rows_of_a_worker_that_stands_still_are_verified_by_another(own_engine, tmp_path, capsys):
    """A stopped process holds up nobody for longer than its lease, and no row is missing."""
    given = [
        {"problem_id": "p", "kind": "cot", "text": f"The answer is {i}.", "author": "a", "index": i} for i in range(900)
    ]
    problems = {"p": Problem(id="p", question="?", answer="7", answer_type="number")}
    frozen = own_engine.crew.members[0].facts.pid
    os.kill(frozen, signal.SIGSTOP)
    try:
        rows = [rationale_from(row, "test") for row in given]
        found = list(own_engine.verify(rows, problems, VerifyConfig(), sandbox=SandboxConfig()))
    finally:
        with suppress(ProcessLookupError):
            os.kill(frozen, signal.SIGKILL)
    assert sorted(row.index for row in found) == list(range(900))
    assert [row.index for row in found if row.verdict.correct] == [7]
    assert "silent for 3 s" in capsys.readouterr().err
