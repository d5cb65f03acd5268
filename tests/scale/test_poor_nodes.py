"""Nodes that lack something are named: a real node without Landlock, without an extra, without potstill.

Slow: `python -m pytest tests/scale -m slow`.
"""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from potstill.errors import ConfigError
from potstill.recipe.rationales import SandboxConfig, VerifyConfig
from potstill.recipe.scale import RayConfig
from potstill.records import Problem, rationale_from
from potstill.scale.cluster import Cluster

pytestmark = pytest.mark.slow
SCRIPT = str(Path(__file__).with_name("poor_node.py"))


@contextmanager
def joined(nodes, lack, folder):
    """A node that lacks something, as long as the block runs."""
    import ray

    before = sum(node["Alive"] for node in ray.nodes())
    command = [sys.executable, SCRIPT, nodes.address, lack, str(folder)]
    log = (folder / "node.log").open("w")
    process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        deadline = time.monotonic() + 120
        while sum(node["Alive"] for node in ray.nodes()) == before:
            assert process.poll() is None, (folder / "node.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.2)
        yield
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()
        log.close()
        while sum(node["Alive"] for node in ray.nodes()) > before and time.monotonic() < deadline + 60:
            time.sleep(0.2)


def rows(count):
    text = "```python\ndef solution():\n    yield_ = frozenset([{0}])\n    return sum(x for x in yield_)\n```"
    given = [
        {"problem_id": "p", "kind": "pot", "text": text.format(i), "author": "a", "index": i} for i in range(count)
    ]
    return [rationale_from(row, "test") for row in given]


def test_a_node_of_too_little_isolation_takes_no_programs_and_says_so(nodes, tmp_path, capsys):
    """Every program runs, confined, on the other nodes."""
    problems = {"p": Problem(id="p", question="?", answer="7", answer_type="number")}
    with (
        joined(nodes, "landlock", tmp_path),
        Cluster(RayConfig(address=nodes.address, num_cpus=0.5, start_s=120)) as own,
    ):
        own.require()
        assert len(own.crew.members) == 3
        found = list(own.verify(rows(600), problems, VerifyConfig(), sandbox=SandboxConfig()))
    assert sorted({row.verdict.status.value for row in found}) == ["CORRECT", "WRONG"]
    assert sum(row.verdict.correct for row in found) == 1
    assert capsys.readouterr().err.count("takes no programs") == 1


@pytest.mark.parametrize(("module", "message"), [("mpmath", "lacks mpmath"), ("potstill", "has no module 'potstill'")])
def test_a_worker_that_lacks_a_module_is_refused_before_anything_is_spent(nodes, tmp_path, module, message):
    """The node, the module and the command that installs it are named."""
    config = RayConfig(address=nodes.address, num_cpus=0.5, start_s=120)
    with (
        joined(nodes, f"without:{module}", tmp_path),
        Cluster(config) as own,
        pytest.raises(ConfigError, match=message),
    ):
        own.require()
