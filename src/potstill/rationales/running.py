"""Run the programs of rationales: one sandbox for all of them, opened with the first, several programs at a time.

A text may leave open what its program is (`potstill.rationales.programs`): the alternatives are tried in order until
one gives an answer. Equal programs are run once. What a result is worth is `potstill.rationales.verification`'s work.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING

from potstill.errors import MissingExtraError, SandboxError
from potstill.messages import say
from potstill.recipe.rationales import SandboxConfig
from potstill.sandbox.execution import Execution, execution

if TYPE_CHECKING:
    from potstill.sandbox.running import Sandbox

REMEMBERED = 4096
"""Results kept for equal programs, which come close together: those of one problem."""


class ProgramRuns:
    """An async context manager: `run` gives one `Execution` for the alternatives of one rationale."""

    def __init__(self, config: SandboxConfig | None = None) -> None:
        self.config = config or SandboxConfig()
        self.refused: str | None = None
        """Why no program can be run here at all; `None` where one can, or none has come yet."""
        self._sandbox: Sandbox | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._opening = asyncio.Lock()
        self._entered: asyncio.Future[Sandbox] | None = None
        self._known: OrderedDict[tuple[str, ...], asyncio.Future[Execution]] = OrderedDict()

    async def __aenter__(self) -> ProgramRuns:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        closing = asyncio.ensure_future(self._close())
        was_cancelled = False
        while not closing.done():  # a caller that leaves, also twice, must not leave processes behind
            try:
                await asyncio.shield(closing)
            except asyncio.CancelledError:
                was_cancelled = True
        if was_cancelled:
            raise asyncio.CancelledError
        closing.result()

    async def _close(self) -> None:
        if self._pool is not None:
            await asyncio.to_thread(self._pool.shutdown, cancel_futures=True)
        if self._entered is not None:
            with suppress(SandboxError, MissingExtraError):
                sandbox = await self._entered
                await asyncio.to_thread(sandbox.__exit__, None, None, None)

    async def run(self, programs: tuple[str, ...]) -> Execution:
        """Return what became of the first alternative that gave an answer; of the first one where none did.

        Nothing is raised for a program's sake; where no sandbox can be opened the status is `unsupported`.
        """
        known = self._known.get(programs)
        if known is None:
            await self._open()
            known = self._known.get(programs) or self._start(programs)
        result = await asyncio.shield(known)
        if result.reads_clock:
            self._known.pop(programs, None)
        return result

    def _start(self, programs: tuple[str, ...]) -> asyncio.Future[Execution]:
        started = asyncio.get_running_loop().run_in_executor(self._pool, self._tried, programs)
        self._known[programs] = started
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return started

    def _tried(self, programs: tuple[str, ...]) -> Execution:
        if self._sandbox is None:
            return execution("unsupported", error=self.refused)
        results = []
        for program in programs:
            results.append(self._sandbox.run(program))
            if results[-1].ok or results[-1].status == "unsupported":
                return results[-1]
        return results[0]

    async def _open(self) -> None:
        async with self._opening:
            if self._pool is not None:
                return
            from potstill.sandbox.running import Sandbox

            try:
                sandbox = Sandbox(self.config)
                self._entered = asyncio.ensure_future(asyncio.to_thread(sandbox.__enter__))
                self._sandbox = await asyncio.shield(self._entered)
            except (SandboxError, MissingExtraError) as error:
                self.refused = str(error)
                say("verify", f"programs cannot be run here, so they stay unverified: {error}")
            workers = self._sandbox.workers if self._sandbox is not None else 1
            self._pool = ThreadPoolExecutor(workers, thread_name_prefix="potstill-programs")
