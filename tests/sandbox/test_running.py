"""`run_program` and `run_programs`: one result each, in order, whatever happens to program or sandbox."""

import json
import os
import signal
from pathlib import Path

import pytest
from tests.sandbox.conftest import SHORT, needs_isolation

from potstill.errors import SandboxError
from potstill.recipe.rationales import SandboxConfig
from potstill.sandbox import running
from potstill.sandbox.running import Sandbox, describe_isolation, judge, read_report, run_program, run_programs
from potstill.sandbox.zygotes import Ended

FOR_CPYTHON = "class A(list):\n    pass\nans = 7"


def test_a_batch_goes_on_past_every_bad_program(sandbox):
    """The issue's list of bad input: each gets one status, in its place, and the last program its answer."""
    batch = {
        "x = 1": "no_answer",
        "ans = 1\nanswer = 2": "ok",
        "print('x' * 1_000_000)": "output_limit",
        "while True: pass": "timeout",
        "import scipy.optimize.nowhere": "error",
        "Two and two make four.": "error",
        "ans = 1\0": "error",
        "ans = 1\n" * 1_250_000: "error",
        "ans = 'x' * 10**10": "memory",
        "import os; os._exit(1)": "crashed",
        FOR_CPYTHON: "ok",
    }
    assert [sandbox.run(program).status for program in batch] == list(batch.values())


def test_results_come_in_the_programs_order():
    """A slow program delays those behind it and overtakes nobody; both ways of reading a stream work."""
    needs_isolation()
    programs = ["x = sum(range(10 ** 6))\nans = 0", *(f"ans = {n}" for n in range(1, 60)), None, FOR_CPYTHON]
    results = list(run_programs(programs, SandboxConfig(**SHORT, workers=2)))
    assert [r.answer for r in results] == [str(n) for n in range(60)] + [None, "7"]
    assert results[60].error == "syntax: a program is text; found NoneType"


async def test_leaving_a_stream_early_ends_its_processes():
    """Nothing runs on after the reader has gone."""
    needs_isolation()
    before = children()
    stream = run_programs((FOR_CPYTHON for _ in range(10**9)), SandboxConfig(**SHORT, workers=1)).__aiter__()
    assert (await anext(stream)).answer == "7"
    assert len(children() - before) >= 1
    await stream.aclose()
    assert children() - before == set()


def children() -> set[int]:
    path = Path(f"/proc/{os.getpid()}/task")
    return {int(pid) for task in path.iterdir() for pid in (task / "children").read_text().split()}


def test_a_zygote_killed_from_outside_is_replaced(cpython):
    """The program that it was running runs again on a new one; the next knows nothing of it."""
    assert cpython.run(FOR_CPYTHON).answer == "7"
    pids = [zygote.pid for lane in cpython._all for zygote in lane.zygotes.values() if zygote.pid]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    assert [cpython.run(FOR_CPYTHON).answer for _ in range(3)] == ["7"] * 3
    light = cpython._all[0].zygotes[False]
    assert light.is_running()
    assert light.pid not in pids


def test_a_zygote_killed_in_the_middle_is_replaced(monkeypatch, cpython):
    """A death during a program costs a second run, and no answer."""
    zygote = cpython._all[0].zygotes[False]
    lane = cpython._all[0]
    lane.ready(heavy=False)
    written = zygote._write

    def kill_after(content):
        written(content)
        monkeypatch.undo()
        os.kill(zygote.pid, signal.SIGKILL)

    monkeypatch.setattr(type(zygote), "_write", lambda self, content: kill_after(content))
    route = running.choose_route(FOR_CPYTHON, with_monty=False)
    assert cpython._in_cpython(lane, route, None, "").answer == "7"


@pytest.mark.parametrize(
    ("withheld", "isolation", "word"),
    [(("landlock",), "strong", "Landlock"), (("seccomp",), "strong", "seccomp"), (("seccomp",), "seccomp", "seccomp")],
)
def test_a_kernel_without_what_is_configured_runs_nothing_in_cpython(withheld, isolation, word):
    """Fail closed: programs that need CPython are unsupported, with the reason; Monty's go on."""
    needs_isolation()
    with Sandbox(SandboxConfig(**SHORT, workers=1, isolation=isolation), withhold=withheld) as weak:
        refused = weak.run(FOR_CPYTHON)
        assert (refused.status, refused.answer, refused.engine) == ("unsupported", None, "")
        assert word in refused.error
        assert (weak.run("ans = 3").answer, weak.run("1 / 0").status) == ("3", "error")


def test_seccomp_alone_opens_no_file_at_all():
    """The weaker isolation is stamped, and even the standard library's files are closed."""
    needs_isolation()
    with Sandbox(SandboxConfig(**SHORT, workers=1, isolation="seccomp"), withhold=("landlock",)) as weak:
        result = weak.run(FOR_CPYTHON)
        assert (result.answer, result.isolation) == ("7", "seccomp+rlimit")
        assert weak.run("import os\nans = open(os.__file__).read()").error.startswith("forbidden")
        assert weak.run("import os\nans = os.stat('/etc/passwd').st_size").error.startswith("forbidden")


def test_no_isolation_needs_its_long_name_and_is_stamped():
    """The one way to run without a boundary says so in every result."""
    needs_isolation()
    config = SandboxConfig(**SHORT, workers=1, tiers="cpython", isolation="none_because_i_trust_every_program")
    with Sandbox(config) as trusting:
        assert trusting.run(FOR_CPYTHON).isolation == "rlimit"


def test_monty_alone_says_what_it_cannot_run():
    """Tier 1 by choice: what it does not support is unsupported, what failed has failed."""
    pytest.importorskip("pydantic_monty")
    with Sandbox(SandboxConfig(**SHORT, workers=1, tiers="monty")) as alone:
        statuses = [alone.run(p).status for p in ("ans = 1", FOR_CPYTHON, "1 / 0", "while True: pass", "import sympy")]
    assert statuses == ["ok", "unsupported", "error", "timeout", "unsupported"]


def test_run_program_keeps_its_sandbox_for_the_next_call():
    """One open sandbox per configuration, closed at exit."""
    needs_isolation()
    config = SandboxConfig(**SHORT, workers=1)
    before = set(running._shared) - {config}  # of tests that ran earlier in this process
    try:
        assert [run_program(f"ans = {n}", config).answer for n in range(3)] == ["0", "1", "2"]
        assert set(running._shared) - before == {config}
    finally:
        running.close_shared()
    assert running._shared == {}


def test_nothing_is_believed_of_a_report_that_is_not_well_formed():
    """A program can write anything into its pipe; only the exact shape is read."""
    good = {"word": "ok", "answer": "1", "type": "int", "error": "", "stdout": ""}
    assert read_report(json.dumps(good).encode(), 100)["answer"] == "1"
    bad = [{"word": "unsupported"}, {"word": "timeout"}, {"answer": 1}, {"answer": None}, {"more": 1}, {"type": [1]},
           {"answer": "x" * 101}, {"stdout": "x" * 101}, {"error": None}, {"word": "error"}]  # fmt: skip
    texts = [json.dumps({**good, **change}).encode() for change in bad]
    texts += [b"", b"[" * 100_000, b"\xff", b"9" * 9999, b"null", json.dumps(good).encode() * 2]
    assert [read_report(text, 100) for text in texts] == [None] * len(texts)


def test_what_was_measured_goes_before_what_the_program_says():
    """A report of success does not undo a kill or a crash."""
    own = b'{"word": "ok", "answer": "1", "type": "int", "error": "", "stdout": ""}'
    measured = {"exit": None, "cpu_ms": 1.0, "wall_ms": 1.0, "rss_mb": 1.0, "written": own}
    config = SandboxConfig()

    def word(killed, number):
        return judge(Ended(killed=killed, signal=number, **measured), config)[0]

    assert [word(killed, 9) for killed in ("cpu", "wall", "output", "")] == ["timeout", "timeout", "output", "memory"]
    assert [word("", number) for number in (11, 24, 0)] == ["crash", "timeout", "ok"]


def test_the_isolation_obtained_is_described_for_doctor():
    """Both tiers, in the words of the results."""
    needs_isolation()
    facts = describe_isolation(SandboxConfig(workers=1))
    assert facts["tier 2"].startswith("seccomp+landlock")
    assert "monty" in facts["tier 1"]


def test_no_tier_at_all_is_an_error(monkeypatch):
    """Where neither engine can run, the error says why."""
    monkeypatch.setattr(running, "is_supported", lambda: "isolated on Linux only")
    with pytest.raises(SandboxError, match="isolated on Linux only"), Sandbox(SandboxConfig(tiers="cpython")):
        pass
