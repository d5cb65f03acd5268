"""Programs of rationales, run: alternatives, equal programs, a machine that cannot run any."""

import asyncio
from pathlib import Path

import pytest

from potstill.rationales.running import ProgramRuns
from potstill.recipe.rationales import SandboxConfig

pytestmark = pytest.mark.usefixtures("sandboxed")


async def test_no_sandbox_is_opened_before_a_program_comes():
    """Entering and leaving starts no process."""
    async with ProgramRuns() as runs:
        assert runs._sandbox is None
        assert (await runs.run(("ans = 6 * 7",))).answer == "42"
        assert runs._sandbox is not None


def children():
    """Return the processes that this one has started and that are still there."""
    return {pid for file in Path("/proc/self/task").glob("*/children") for pid in file.read_text().split()}


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="processes are counted under /proc")
async def test_leaving_twice_leaves_no_process():
    """Who is cancelled while programs end waits for them, and is cancelled then."""
    before = children()
    runs = ProgramRuns(SandboxConfig(tiers="cpython"))
    await runs.__aenter__()
    assert (await runs.run(("ans = 1",))).ok
    slow = asyncio.ensure_future(runs.run(("total = 0\nfor i in range(4 * 10**6): total += i\nans = total",)))
    await asyncio.sleep(0.05)
    assert children() - before
    slow.cancel()
    leaving = asyncio.ensure_future(runs.__aexit__(None, None, None))
    for _ in range(2):
        await asyncio.sleep(0.01)
        leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert children() <= before


async def test_the_first_alternative_that_gives_an_answer_counts():
    """A later one is tried only after a failure; where none answers the first one's failure is told."""
    async with ProgramRuns() as runs:
        assert (await runs.run(("print(x)", "x = 3\nprint(x)"))).answer == "3"
        assert (await runs.run(("ans = 1", "ans = 2"))).answer == "1"
        failed = await runs.run(("ans = 1 / 0", "no program"))
        assert (failed.status, "ZeroDivisionError" in failed.error) == ("error", True)


async def test_equal_programs_are_run_once():
    """Also when the second comes while the first still runs."""
    async with ProgramRuns() as runs:
        results = await asyncio.gather(*(runs.run(("ans = 6 * 7",)) for _ in range(20)))
        assert all(result is results[0] for result in results)
        assert await runs.run(("ans = 6 * 8",)) is not results[0]


async def test_a_program_that_ends_badly_leaves_the_others_their_results():
    """Time-outs and crashes are results of their own."""
    programs = ["while True: pass", "ans = 1", "import os\nos._exit(1)", "ans = 2", "ans = 'x' * 10**9"]
    async with ProgramRuns(SandboxConfig(cpu_s=0.3)) as runs:
        results = await asyncio.gather(*(runs.run((program,)) for program in programs))
    assert [result.answer for result in results] == [None, "1", None, "2", None]
    assert results[0].status == "timeout"
    assert all(result.status != "unsupported" for result in results)


async def test_where_no_sandbox_can_be_opened_every_program_is_unsupported(monkeypatch, capsys):
    """It is said once, with the reason; nothing is run unprotected and nothing is raised."""
    monkeypatch.setattr("potstill.sandbox.running.is_supported", lambda: "this system has no seccomp")
    async with ProgramRuns(SandboxConfig(tiers="cpython")) as runs:
        results = [await runs.run((f"ans = {number}",)) for number in range(3)]
    assert [(result.status, result.answer) for result in results] == [("unsupported", None)] * 3
    assert "no seccomp" in results[0].error
    assert capsys.readouterr().err.count("programs cannot be run here") == 1
