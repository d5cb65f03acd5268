"""What a waiting user sees."""

import asyncio
import io

import pytest

from potstill.rationales.progress import Progress, clock_time, short_number
from potstill.records import Rationale
from potstill.teachers.base import Meter


def row(finish="stop"):
    return Rationale(id="r", problem_id="p", kind="cot", text="", finish=finish)


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self):
        return True


class Clock:
    """A clock that is set by hand."""

    now = 0.0

    def __call__(self):
        return self.now


def test_piped_it_writes_a_plain_line_when_it_is_time():
    """One line per interval, and one at the end; no control characters."""
    out, clock = io.StringIO(), Clock()
    meter = Meter(in_flight=3, prompt_tokens=1_000, completion_tokens=500, money=0.5, retries=2)
    with Progress(100, meter=meter, has_price=True, quiet=False, out=out, clock=clock) as progress:
        for second in range(1, 11):
            clock.now = float(second)
            progress.count(row("error" if second == 1 else "stop"))
            progress.tick()
    lines = out.getvalue().splitlines()
    assert len(lines) == 3
    assert lines[0].strip() == (
        "sample  5/100 (5%) · 1.0/s · 3 in flight · 1.5k tokens · cost 0.5000 · 2 retries · 1 failed · 1:35 left"
    )
    assert "\x1b" not in out.getvalue()
    assert "10/100 (10%)" in lines[-1]


def test_the_rate_forgets_what_the_ledger_served_at_once():
    """A thousand rows in the first second promise nothing for the rest."""
    clock = Clock()
    progress = Progress(2_000, quiet=True, out=io.StringIO(), clock=clock)
    progress.done = 1_000
    for second in range(1, 101):
        clock.now = float(second)
        progress.done += 2
        progress.tick()
    assert progress.rate == pytest.approx(2.0, rel=0.01)
    assert progress.describe().endswith("6:40 left")


def test_in_a_terminal_it_draws_a_bar():
    """The same facts beside a bar; no plain lines."""
    out = Terminal()
    with Progress(4, quiet=False, out=out) as progress:
        progress.count(row())
        progress.tick()
    assert "1/4" in out.getvalue()
    assert "in flight" in out.getvalue()


@pytest.mark.parametrize("out", [io.StringIO(), Terminal()])
def test_quiet_writes_nothing(out):
    """To neither kind of stream."""
    with Progress(4, quiet=True, out=out) as progress:
        progress.count(row())
        progress.tick()
    assert out.getvalue() == ""


async def test_it_goes_on_showing_while_nothing_finishes():
    """A stalled endpoint is seen."""
    out, clock = io.StringIO(), Clock()
    progress = Progress(4, quiet=False, out=out, interval_s=0.0, clock=clock)
    async with progress.ticking():
        while out.getvalue().count("\n") < 2:  # noqa: ASYNC110 - what is waited for is output
            await asyncio.sleep(0.01)
    assert "0/4 (0%) · 0.0/s · 0 in flight · 0 tokens · time left unknown" in out.getvalue()


def test_a_total_that_is_unknown_or_nothing():
    """No share of an unknown total; all of nothing is everything."""
    out = io.StringIO()
    with Progress(None, quiet=False, out=out), Progress(0, quiet=False, out=out):
        pass
    first, second = out.getvalue().splitlines()
    assert "0/0 (100%)" in first
    assert "0 · 0.0/s" in second
    assert "%" not in second


@pytest.mark.parametrize(("number", "text"), [(950, "950"), (12_300, "12.3k"), (4.5e6, "4.5M"), (1.2e9, "1.2G")])
def test_short_numbers(number, text):
    """Three digits or so."""
    assert short_number(number) == text


@pytest.mark.parametrize(("seconds", "text"), [(7, "0:07"), (754.4, "12:34"), (11_045, "3:04:05")])
def test_clock_times(seconds, text):
    """Minutes, or hours where there are any."""
    assert clock_time(seconds) == text
