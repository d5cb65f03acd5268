"""Gather requests that come at the same time, and let them be written in one batch by a thread.

What has arrived while a batch was written is the next one, so the busier the server the larger its batches. Requests
that cannot share a batch (another temperature, another stop text) form batches of their own, oldest first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from potstill.students.decoding import Stopped

GATHER_S = 0.005
"""How long the first request of an idle server waits for others."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Job:
    """One request on its way."""

    key: Hashable
    """Jobs of equal keys can be written together."""
    asked: Any
    """What the writer needs to know."""
    deliver: Callable[[Any], None]
    """Takes what was written, or the exception that kept it from being; called in the event loop."""
    is_gone: Callable[[], bool]
    """Whether nobody waits for it any more."""


Written = Callable[[Job, Any], None]
Write = Callable[[Sequence[Job], Written, Callable[[], bool]], None]
"""Writes jobs of one key in a thread: (jobs, what to call with each that is written, whether to give up)."""


@dataclass(slots=True)
class Batches:
    """The jobs that wait, and the one thread that writes."""

    write: Write
    sizes: list[int] = field(default_factory=list)
    """Jobs of each batch so far."""
    _waiting: list[Job] = field(default_factory=list)
    _arrived: asyncio.Event = field(default_factory=asyncio.Event)
    _closed: bool = False
    _thread: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "writing"))

    def put(self, job: Job) -> None:
        """Let a job wait for the next batch."""
        self._waiting.append(job)
        self._arrived.set()

    def close(self) -> None:
        """Give up what is being written; the thread ends before its next token."""
        self._closed = True
        self._thread.shutdown(wait=False)

    async def work(self) -> None:
        """Write batch after batch, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            await self._arrived.wait()
            await asyncio.sleep(GATHER_S)
            jobs = self._next()
            if jobs:
                self.sizes.append(len(jobs))
                await loop.run_in_executor(self._thread, self._run, jobs, loop)

    def _next(self) -> list[Job]:
        """Take the oldest job and all that can be written with it."""
        alive = [job for job in self._waiting if not job.is_gone()]
        jobs = [job for job in alive if job.key == alive[0].key]
        self._waiting = [job for job in alive if job not in jobs]
        if not self._waiting:
            self._arrived.clear()
        return jobs

    def _run(self, jobs: list[Job], loop: asyncio.AbstractEventLoop) -> None:
        left = {id(job): job for job in jobs}

        def written(job: Job, result: Any) -> None:
            left.pop(id(job))
            loop.call_soon_threadsafe(job.deliver, result)

        try:
            self.write(jobs, written, lambda: self._closed or all(job.is_gone() for job in jobs))
        except Stopped:
            return
        except Exception as error:  # noqa: BLE001 - each request that it concerns is answered with it
            for job in list(left.values()):
                written(job, error)
