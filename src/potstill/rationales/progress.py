"""Progress of a long stage: how many rows, how fast, what is in flight, what it has cost, how long it will take.

In a terminal a bar that redraws itself; piped, one plain line every few seconds; quiet, nothing. To standard error.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

from potstill.messages import is_quiet
from potstill.teachers.base import FAILURES, Meter

if TYPE_CHECKING:
    from potstill.records import Rationale

WINDOW_S = 30.0
"""The rate is taken over this long: what the ledger serves at once must not promise the same for the rest."""
TICK_S = 0.5


class Progress:
    """Counts rows of one stage and shows them.

    with Progress(total=3000, meter=teacher.meter) as progress:
        async with progress.ticking():
            async for rationale in sample(..., progress=progress.count):
                ...
    """

    def __init__(
        self,
        total: int | None,
        *,
        done: int = 0,
        stage: str = "sample",
        meter: Meter | Callable[[], Meter] | None = None,
        has_price: bool = False,
        quiet: bool | None = None,
        out: TextIO | None = None,
        interval_s: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.total, self.done, self.stage, self.failed = total, done, stage, 0
        self.meter = meter or Meter()
        self._has_price = has_price
        self._out = out or sys.stderr
        self._quiet = is_quiet() if quiet is None else quiet
        self._interval_s = interval_s
        self._clock = clock
        self._marks: deque[tuple[float, int]] = deque([(clock(), done)])
        self._shown_at = clock()
        self._bar: Any = None

    def __enter__(self) -> Progress:
        if not self._quiet and self._out.isatty():
            self._bar = _open_bar(self._out, self.stage, self.total, self.done)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._draw()
            self._bar.stop()
        elif not self._quiet:
            self._write_line()

    def count(self, rationale: Rationale) -> None:
        """Count one finished row."""
        self.done += 1
        self.failed += rationale.finish in FAILURES

    def tick(self) -> None:
        """Show the present state, if it is time."""
        now = self._clock()
        self._marks.append((now, self.done))
        while len(self._marks) > 2 and now - self._marks[0][0] > WINDOW_S:
            self._marks.popleft()
        if self._bar is not None:
            self._draw()
        elif not self._quiet and now - self._shown_at >= self._interval_s:
            self._shown_at = now
            self._write_line()

    @asynccontextmanager
    async def ticking(self) -> AsyncIterator[None]:
        """Tick while the block runs, also while nothing finishes."""

        async def tick_on() -> None:
            while True:
                await asyncio.sleep(TICK_S)
                self.tick()

        task = asyncio.create_task(tick_on())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    @property
    def rate(self) -> float:
        """Rows per second over the last `WINDOW_S` seconds."""
        since, before = self._marks[0]
        elapsed = self._clock() - since
        return (self.done - before) / elapsed if elapsed > 0 else 0.0

    def describe(self) -> str:
        """Return rate, in flight, cost, failures and time left as one line."""
        meter, rate = self.meter() if callable(self.meter) else self.meter, self.rate
        parts = [f"{rate:,.1f}/s" if rate < 100 else f"{rate:,.0f}/s", f"{meter.in_flight} in flight"]
        if meter.from_ledger:
            parts.append(f"{meter.from_ledger:,} from the ledger")
        parts.append(f"{short_number(meter.tokens)} tokens")
        if self._has_price:
            parts.append(
                f"cost {meter.money:,.2f}" if meter.money >= 1 or not meter.money else f"cost {meter.money:.4f}"
            )
        if meter.retries:
            parts.append(f"{meter.retries:,} retries")
        if self.failed:
            parts.append(f"{self.failed:,} failed")
        if self.total is not None and self.done < self.total:
            parts.append(f"{clock_time((self.total - self.done) / rate)} left" if rate > 0 else "time left unknown")
        return " · ".join(parts)

    def _draw(self) -> None:
        self._bar.update(self._bar.task_ids[0], completed=self.done, text=self.describe())

    def _write_line(self) -> None:
        counted = f"{self.done:,}"
        if self.total is not None:
            share = self.done / self.total if self.total else 1.0
            counted += f"/{self.total:,} ({share:.0%})"
        self._out.write(f"{self.stage:>12}  {counted} · {self.describe()}\n")
        self._out.flush()


def short_number(number: float) -> str:
    """Render a count as 950, 12.3k, 4.5M or 1.2G."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.1f}{unit}"
    return f"{number:.0f}"


def clock_time(seconds: float) -> str:
    """Render seconds as 0:07, 12:34 or 3:04:05."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _open_bar(out: TextIO, stage: str, total: int | None, done: int) -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn(f"{stage:>12} "), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[text]}"))
    bar = Bar(*columns, console=Console(file=out), refresh_per_second=4)
    bar.add_task(stage, total=total, completed=done, text="")
    bar.start()
    return bar
