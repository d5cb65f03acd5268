"""The zygote as seen from the host: what it inherits, what it proves, and what is accepted."""

import pytest
from tests.sandbox.conftest import SHORT, needs_isolation

from potstill.recipe.rationales import SandboxConfig
from potstill.sandbox.zygotes import Zygote, ZygoteDied, judge_isolation

GOOD = {"isolation": "seccomp+landlock7+rlimit", "escapes": []}


@pytest.mark.parametrize(
    ("isolation", "hello", "problem"),
    [
        ("strong", GOOD, None),
        ("strong", {**GOOD, "isolation": "seccomp+rlimit"}, "'strong' needs Landlock too; use Linux 5.13"),
        ("seccomp", {**GOOD, "isolation": "seccomp+rlimit"}, None),
        ("seccomp", {**GOOD, "isolation": "landlock7+rlimit"}, "without a seccomp filter"),
        ("strong", {**GOOD, "escapes": ["make a socket"]}, "could still make a socket"),
        ("strong", {"broken": "OSError: no"}, "could not be prepared"),
        ("none_because_i_trust_every_program", {"isolation": "rlimit", "escapes": []}, None),
    ],
)
def test_less_isolation_than_configured_is_refused_with_what_to_do(isolation, hello, problem):
    """The message says what was found, what is needed and what to change."""
    found = judge_isolation(SandboxConfig(isolation=isolation), hello)
    assert (found is None) if problem is None else problem in found


def test_the_start_up_probe_finds_what_is_open():
    """Without the locks the same probe succeeds: it can fail."""
    needs_isolation()
    zygote = Zygote(heavy=False, config=SandboxConfig(**SHORT), withhold=("landlock", "seccomp"))
    with pytest.raises(Exception, match="without a seccomp filter"):
        zygote.start()
    assert zygote.pid is None


def test_a_zygote_inherits_neither_environment_nor_descriptors(monkeypatch, tmp_path):
    """What the host holds is not there to be found."""
    needs_isolation()
    monkeypatch.setenv("API_SECRET", "hidden")
    zygote = Zygote(heavy=False, config=SandboxConfig(**SHORT))
    with (tmp_path / "open").open("w"):
        zygote.start()
    try:
        program = (
            "import os\nopen_ = []\nfor fd in range(64):\n    try:\n        os.fstat(fd)\n        open_.append(fd)\n"
        )
        program += "    except OSError:\n        pass\nans = open_, dict(os.environ)"
        assert b'"answer": "([0, 1, 2, 3], {})"' in zygote.run(program).written
    finally:
        zygote.stop()


def test_a_stopped_zygote_says_that_it_died():
    """Its pipe is gone; the caller decides what to do."""
    needs_isolation()
    zygote = Zygote(heavy=False, config=SandboxConfig(**SHORT))
    zygote.start()
    assert zygote._process is not None
    zygote._process.kill()
    zygote._process.wait()
    with pytest.raises(ZygoteDied):
        zygote.run("ans = 1")
    assert not zygote.is_running()


def test_cpu_memory_and_time_are_measured_from_outside():
    """A program that only computes is charged what it used, beyond what a program could say of itself."""
    needs_isolation()
    zygote = Zygote(heavy=False, config=SandboxConfig(cpu_s=5))
    zygote.start()
    try:
        idle, busy = zygote.run("ans = 1"), zygote.run("x = [0] * 5_000_000\nans = sum(range(1_000_000))")
    finally:
        zygote.stop()
    assert busy.cpu_ms > 2 * idle.cpu_ms
    assert busy.rss_mb > idle.rss_mb + 30
    assert busy.wall_ms >= 0.5 * busy.cpu_ms
