"""The guarded second opinion: whatever a worker does, there is an answer, and the next question gets a fresh one."""

import json
import sys
import textwrap

import pytest

from potstill.rationales.second_opinion import Opinion, SecondOpinion


def worker(body):
    """Return the command of a worker that is ready at once and then runs `body` for each (gold, answer)."""
    code = """
        import json, os, sys, time
        def say(value): print(json.dumps(value), flush=True)
        say({"ready": True})
        for line in sys.stdin:
            gold, answer = json.loads(line)
    """
    return (sys.executable, "-c", textwrap.dedent(code) + textwrap.indent(textwrap.dedent(body), "    "))


async def opinions(command, *pairs, **options):
    """Ask in turn; returns the opinions and how many workers were replaced."""
    async with SecondOpinion(command=command, **options) as second:
        return [await second.ask(*pair) for pair in pairs], second.restarts


async def test_gold_and_answer_reach_the_worker_in_this_order():
    """Any text survives the way, line ends and other scripts too."""
    pairs = [("1", "1"), ("1", "2"), ("7\n", "7\n"), ("七", "七")]
    found, restarts = await opinions(worker('say({"equal": gold == answer})'), *pairs)
    assert found == [Opinion(True), Opinion(False), Opinion(True), Opinion(True)]
    assert restarts == 0


async def test_a_worker_that_hangs_is_replaced():
    """The next question is answered."""
    body = """
        if gold == "hang":
            time.sleep(600)
        say({"equal": True})
    """
    found, restarts = await opinions(worker(body), ("hang", "x"), ("1", "1"), timeout_s=1.0)
    assert found[0] == Opinion(None, "timeout")
    assert restarts >= 1
    assert found[1].error in ("", "timeout")  # a loaded machine may be slower than a second


@pytest.mark.parametrize(
    "body",
    ["os._exit(1)", 'print("not JSON", flush=True)', "say([1])", 'print("half", end="", flush=True); os._exit(0)'],
)
async def test_a_worker_that_breaks_is_no_opinion_and_is_replaced(body):
    """A crash, or an answer outside the protocol, is never "wrong"."""
    found, restarts = await opinions(worker(body), ("1", "1"), ("1", "1"), timeout_s=30.0)
    assert found == [Opinion(None, "crashed")] * 2
    assert restarts == 2


async def test_what_the_checker_says_is_no_opinion_either_and_keeps_the_worker():
    """Its own error is handed on; an answer without a boolean has none."""
    body = 'say({"equal": None, "error": gold} if gold else {"equal": "yes"})'
    found, restarts = await opinions(worker(body), ("not parsed", "x"), ("", "x"))
    assert found == [Opinion(None, "not parsed"), Opinion(None, "no boolean")]
    assert restarts == 0


async def test_leaving_ends_the_workers(tmp_path):
    """None is started before the first question, none is left after the block."""
    log = tmp_path / "pids"
    command = worker(f"open({str(log)!r}, 'a').write(str(os.getpid())); say({{'equal': True}})")
    async with SecondOpinion(command=command) as second:
        assert not log.exists()
        await second.ask("1", "1")
        pid = int(log.read_text())
    import os

    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_the_real_worker_reads_lines_and_writes_verdicts():
    """Gold first; what cannot be parsed, or breaks the checker, is no opinion."""
    import subprocess

    questions = [["\\frac{1}{2}", "0.5"], ["x^2-1", "(x-1)(x+1)"], ["2", "3"], ["\\text{}", "3"]]
    done = subprocess.run(
        [sys.executable, "-m", "potstill.rationales.second_opinion_worker"],
        input="".join(json.dumps(pair) + "\n" for pair in questions), capture_output=True, text=True, check=True,
    )  # fmt: skip
    ready, *answers = map(json.loads, done.stdout.splitlines())
    assert ready == {"ready": True}
    assert [answer["equal"] for answer in answers] == [True, True, False, None]
    assert answers[-1]["error"]
