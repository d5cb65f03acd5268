"""math-verify as a second opinion on expressions, in a process of its own that may hang, crash or eat memory.

math-verify cannot run in threads, stops itself by SIGALRM, turns exceptions into "not equal" and is not symmetric. So
it runs alone in a worker process (`potstill.rationales.second_opinion_worker`): one JSON line in, one JSON line out,
never a pickled object; a worker that does not answer in time, or dies, is killed and replaced. Started at the first
question only. `equal=None` with an error means that there is no opinion, which is never "wrong".
"""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType

from potstill.errors import require_extra

_START_S = 60.0
"""Importing sympy takes seconds on a busy machine; this limit is for the import alone."""
_WORKER = "potstill.rationales.second_opinion_worker"
_LINE_LIMIT = 1 << 20


@dataclass(frozen=True, slots=True)
class Opinion:
    """What the second opinion was."""

    equal: bool | None
    error: str = ""
    """Why there is none: timeout, crashed, or what the checker said."""


class SecondOpinion:
    """A small pool of guarded worker processes; an asynchronous context manager.

    Args:
        timeout_s: Seconds for one question, after which the worker is killed.
        workers: Processes, each started when first needed.
        command: What to run as a worker (for tests).
    """

    def __init__(self, *, timeout_s: float = 5.0, workers: int = 1, command: tuple[str, ...] | None = None) -> None:
        self.timeout_s = timeout_s
        self.command = command or (sys.executable, "-m", _WORKER)
        self.restarts = 0
        self._free: asyncio.Queue[_Worker | None] = asyncio.Queue()
        for _ in range(workers):
            self._free.put_nowait(None)

    async def __aenter__(self) -> SecondOpinion:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        while not self._free.empty():
            worker = self._free.get_nowait()
            if worker is not None:
                await worker.stop()

    async def ask(self, gold: str, answer: str) -> Opinion:
        """Return whether `answer` is equal to `gold`, in this order."""
        worker = await self._free.get()
        try:
            if worker is None:
                worker = await _Worker.start(self.command)
            opinion = await worker.ask(gold, answer, self.timeout_s)
            if opinion.error in ("timeout", "crashed"):
                await worker.stop()
                worker = None
                self.restarts += 1
            return opinion
        except BaseException:
            if worker is not None:
                await worker.stop()
                worker = None
            raise
        finally:
            self._free.put_nowait(worker)


class _Worker:
    """One worker process and its pipe."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    @classmethod
    async def start(cls, command: tuple[str, ...]) -> _Worker:
        require_extra("math_verify", "train")
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *command, stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.DEVNULL, limit=_LINE_LIMIT
        )
        worker = cls(process)
        try:
            await asyncio.wait_for(worker._reply(), _START_S)
        except BaseException:
            await worker.stop()
            raise
        return worker

    async def ask(self, gold: str, answer: str, timeout_s: float) -> Opinion:
        assert self.process.stdin is not None, "the worker was started with pipes"
        try:
            self.process.stdin.write(json.dumps([gold, answer]).encode() + b"\n")
            await self.process.stdin.drain()
            reply = await asyncio.wait_for(self._reply(), timeout_s)
        except TimeoutError:
            return Opinion(None, "timeout")
        except (OSError, ValueError):
            return Opinion(None, "crashed")
        if not isinstance(reply, dict):
            return Opinion(None, "crashed")
        found = reply.get("equal")
        if not isinstance(found, bool):
            return Opinion(None, str(reply.get("error") or "no boolean"))
        return Opinion(found)

    async def stop(self) -> None:
        with suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()

    async def _reply(self) -> object:
        assert self.process.stdout is not None, "the worker was started with pipes"
        line = await self.process.stdout.readline()
        if not line.endswith(b"\n"):
            message = "the worker closed its pipe"
            raise ConnectionResetError(message)
        return json.loads(line)
