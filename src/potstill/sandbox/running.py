"""`run_program` and `run_programs`: untrusted programs in, `Execution`s out, one for each and in order.

A program goes to tier 1 (Monty) where its text allows; what tier 1 does not answer goes to tier 2 (CPython in a
locked-down child of a zygote), whose word is final. Fails closed: where the isolation obtained is weaker than
configured, programs that need tier 2 come back `unsupported` with the reason, and nothing is ever run unprotected.

Does not judge answers (`rationales.verification` does) and caches nothing.
"""

from __future__ import annotations

import asyncio
import atexit
import json
import os
import queue
import signal
import threading
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, aclosing
from types import TracebackType
from typing import Any

from potstill.errors import MissingExtraError, SandboxError
from potstill.recipe.rationales import SandboxConfig
from potstill.sandbox.execution import COARSE, Execution, bounded, execution, hash_program
from potstill.sandbox.monty import Answered, MontyPool
from potstill.sandbox.routing import HEAVY_PACKAGES, POT_NAMES, Route, choose_route
from potstill.sandbox.zygotes import Ended, Zygote, ZygoteDied, is_supported
from potstill.streams import Stream, stream

AHEAD = 32
"""Programs in flight per worker: enough that one slow program does not idle the others."""


class Lane:
    """What one worker has to itself: a light and a heavy zygote, each started when first needed."""

    def __init__(self, config: SandboxConfig, withhold: Sequence[str]) -> None:
        self.zygotes = {heavy: Zygote(heavy, config, withhold) for heavy in (False, True)}

    def ready(self, *, heavy: bool) -> Zygote:
        """Return the zygote, started."""
        zygote = self.zygotes[heavy]
        if not zygote.is_running():
            zygote.stop()
            zygote.start()
        return zygote

    def close(self) -> None:
        """Stop both."""
        for zygote in self.zygotes.values():
            zygote.stop()


class Sandbox:
    """The two tiers, open. A context manager; `run` may be called from several threads."""

    def __init__(self, config: SandboxConfig | None = None, *, withhold: Sequence[str] = ()) -> None:
        self.config = config or SandboxConfig()
        self.workers = self.config.workers or min(
            4, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2
        )
        self.monty: MontyPool | None = None
        self.refused: str | None = is_supported() if self.config.tiers != "monty" else "sandbox.tiers is monty"
        """Why tier 2 does not run here at all; `None` where it may."""
        self._broken: dict[bool, str] = {}
        """Why the light (False) or the heavy (True) zygotes are refused: they failed to start as configured."""
        self.monty_missing: str | None = None
        self._lanes: queue.LifoQueue[Lane] = queue.LifoQueue()
        self._all = [Lane(self.config, withhold) for _ in range(self.workers)]
        self._stack = ExitStack()
        self._limits = f"cpu {self.config.cpu_s:g} s, memory {self.config.memory_mb} MB"

    def __enter__(self) -> Sandbox:
        with ExitStack() as stack:
            self._open_monty(stack)
            for lane in self._all:
                stack.callback(lane.close)
                self._lanes.put(lane)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()

    def _open_monty(self, stack: ExitStack) -> None:
        if self.config.tiers == "cpython":
            if self.refused is not None:
                message = f"sandbox.tiers is cpython, but {self.refused}"
                raise SandboxError(message)
            return
        pool = MontyPool(self.config, self.workers, is_alone=self.refused is not None)
        try:
            self.monty = stack.enter_context(pool)
        except (MissingExtraError, SandboxError) as error:
            if self.refused is not None:
                raise
            self.monty_missing = str(error)

    def run(self, program: Any) -> Execution:
        """Run one program. Whatever it does is a result; nothing is raised for its sake."""
        unfit = self._unfit(program)
        if unfit is not None:
            return unfit
        code_hash = hash_program(program)
        route = choose_route(program, with_monty=self.monty is not None)
        said: Answered | None = None
        if self.monty is not None and route.engine == "monty":
            said = self.monty.run(route)
            if said.word == "ok":
                return self._from_monty(said, code_hash)
        lane = self._lanes.get()
        try:
            return self._in_cpython(lane, route, said, code_hash)
        finally:
            self._lanes.put(lane)

    def _unfit(self, program: Any) -> Execution | None:
        """Return the result of what is no program at all, or too long to be one."""
        if not isinstance(program, str):
            return execution("syntax", error=f"a program is text; found {type(program).__name__}")
        n_bytes = len(program) if program.isascii() else len(program.encode("utf-8", "surrogatepass"))
        if n_bytes > self.config.max_program_bytes:
            text = f"the program has {n_bytes} bytes; at most {self.config.max_program_bytes} are taken"
            return execution("syntax", error=text, code_hash=hash_program(program))
        return None

    def _from_monty(self, said: Answered, code_hash: str) -> Execution:
        assert self.monty is not None, "tier 1 answered"
        return execution(
            said.word,
            answer=said.answer,
            error=said.error,
            stdout=said.stdout,
            engine="monty",
            isolation=self.monty.isolation,
            cpu_ms=said.cpu_ms,
            wall_ms=said.wall_ms,
            code_hash=code_hash,
            limits=self._limits,
            versions=f"monty {self.monty.version}",
        )

    def _in_cpython(self, lane: Lane, route: Route, said: Answered | None, code_hash: str) -> Execution:
        """Let tier 2 decide, on a new zygote where one died under the program; twice is the program's doing."""
        heavy = route.engine == "zygote-heavy"
        for _ in range(2):
            if self._why_not(heavy=heavy) is not None:
                break
            try:
                zygote = lane.ready(heavy=heavy)
                result = self._read(zygote, zygote.run(route.program, pot_names=route.is_pot), route, code_hash)
            except SandboxError as error:
                self._broken[heavy] = str(error)
                continue
            except ZygoteDied:
                continue
            if not heavy and needs_packages(result, route):
                return self._in_cpython(lane, route._replace(engine="zygote-heavy"), said, code_hash)
            return result
        why_not = self._why_not(heavy=heavy)
        if why_not is not None:
            return self._without_cpython(said, why_not, code_hash)
        return execution("crash", error="the sandbox's process died twice under this program", code_hash=code_hash)

    def _why_not(self, *, heavy: bool) -> str | None:
        return self.refused or self._broken.get(heavy)

    def _without_cpython(self, said: Answered | None, why_not: str, code_hash: str) -> Execution:
        """Return what tier 1 found, where it is sure of it; else say why nothing ran."""
        if said is not None and said.word in ("timeout", "memory", "syntax", "error", "recursion", "forbidden"):
            return self._from_monty(said, code_hash)
        return execution("unsupported", error=why_not, code_hash=code_hash)

    def _read(self, zygote: Zygote, ended: Ended, route: Route, code_hash: str) -> Execution:
        word, own = judge(ended, self.config)
        return execution(
            word,
            answer=own.get("answer") if word == "ok" else None,
            answer_type=own.get("type") if word == "ok" else None,
            error=None if word == "ok" else own.get("error") or None,
            stdout=own.get("stdout", ""),
            engine=zygote.name,
            isolation=zygote.isolation,
            cpu_ms=ended.cpu_ms,
            wall_ms=ended.wall_ms,
            rss_mb=ended.rss_mb,
            code_hash=code_hash,
            limits=self._limits,
            versions=", ".join(f"{name} {version}" for name, version in zygote.versions.items()),
            reads_clock=route.reads_clock,
        )

    async def stream(self, programs: Iterable[Any] | AsyncIterable[Any]) -> AsyncIterator[Execution]:
        """Yield one `Execution` per program, in order, running `workers` of them at a time."""
        loop = asyncio.get_running_loop()
        pending: deque[asyncio.Future[Execution]] = deque()
        with ThreadPoolExecutor(self.workers, thread_name_prefix="potstill-sandbox") as pool:
            try:
                async for program in stream(programs):
                    pending.append(loop.run_in_executor(pool, self.run, program))
                    while len(pending) >= AHEAD * self.workers or (pending and pending[0].done()):
                        yield await pending.popleft()
                while pending:
                    yield await pending.popleft()
            finally:
                for future in pending:
                    future.cancel()


def judge(ended: Ended, config: SandboxConfig) -> tuple[str, dict[str, Any]]:
    """Return the fine word for how a program ended, and its own report where it left a readable one.

    What was measured from outside goes before what the program says of itself.
    """
    if ended.killed in ("cpu", "wall"):
        limit = config.cpu_s if ended.killed == "cpu" else config.cpu_s * config.wall_factor
        kind = "CPU" if ended.killed == "cpu" else "wall"
        return "timeout", {"error": f"timeout: {limit:g} s of {kind} time are allowed"}
    if ended.killed == "output":
        return "output", {"error": "the process wrote more than a result can hold"}
    if ended.signal == signal.SIGXCPU:
        return "timeout", {"error": f"timeout: {config.cpu_s:g} s of CPU time are allowed"}
    if ended.signal == signal.SIGKILL:
        return "memory", {"error": "memory: ended by the system, most likely for want of memory"}
    if ended.signal:
        return "crash", {"error": f"ended by signal {signal.Signals(ended.signal).name}"}
    own = read_report(ended.written, config.max_output_bytes)
    if own is None:
        return "protocol", {"error": f"the process left (exit code {ended.exit}) without a result"}
    if own["word"] == "memory":
        own["error"] = own["error"] or "MemoryError"
    if own["word"] == "output":
        own["error"] = own["error"] or f"more than {config.max_output_bytes} bytes were printed"
    return own["word"], own


def needs_packages(result: Execution, route: Route) -> bool:
    """Whether a program failed in the light zygote only for want of a package that the heavy one has."""
    text = result.error or ""
    if result.reason == "import":
        return any(f"'{name}" in text for name in HEAVY_PACKAGES)
    return route.is_pot and any(f"NameError: name '{name}' is not" in text for name in POT_NAMES)


REPORTED = frozenset(COARSE) - {"timeout", "crash", "protocol", "unsupported"}
"""Words that a program's process may report; the others are ours alone to say."""


def read_report(written: bytes, max_output_bytes: int) -> dict[str, Any] | None:
    """Return what a program's process reported, or `None` when it is anything but a well-formed, bounded report."""
    try:
        own = json.loads(written)
    except (ValueError, RecursionError):
        return None
    if not isinstance(own, dict) or set(own) != {"word", "answer", "type", "error", "stdout"}:
        return None
    word, answer, kind = own["word"], own["answer"], own["type"]
    if word not in REPORTED or not isinstance(own["error"], str) or not isinstance(own["stdout"], str):
        return None
    if (word == "ok") != isinstance(answer, str) or not isinstance(kind, str | None):
        return None
    if max(len(answer or ""), len(own["stdout"])) > max_output_bytes:
        return None
    return {**own, "error": bounded(own["error"]), "type": None if kind is None else bounded(kind, 100)}


def run_programs(
    programs: Iterable[Any] | AsyncIterable[Any], config: SandboxConfig | None = None
) -> Stream[Execution]:
    """Run programs and return their `Execution`s in order, for `async for` or `for`; all processes end with it.

    Raises:
        SandboxError: No tier can run here at all. A program's own failure, whatever it is, is a result.
    """

    async def make() -> AsyncIterator[Execution]:
        sandbox = Sandbox(config)
        await asyncio.to_thread(sandbox.__enter__)
        try:
            async with aclosing(sandbox.stream(programs)) as results:  # type: ignore[type-var]
                async for result in results:
                    yield result
        finally:
            sandbox.__exit__(None, None, None)

    return Stream(make)


_shared: dict[SandboxConfig, Sandbox] = {}
_shared_lock = threading.Lock()


def run_program(program: str, config: SandboxConfig | None = None) -> Execution:
    """Run one program and return its `Execution`; the sandbox stays open for the next call, until the process ends."""
    config = config or SandboxConfig()
    with _shared_lock:
        if config not in _shared:
            _shared[config] = Sandbox(config).__enter__()
            if len(_shared) == 1:
                atexit.register(close_shared)
        sandbox = _shared[config]
    return sandbox.run(program)


def close_shared() -> None:
    """Close what `run_program` keeps open."""
    with _shared_lock:
        while _shared:
            _shared.popitem()[1].__exit__(None, None, None)


def describe_isolation(config: SandboxConfig | None = None) -> dict[str, Any]:
    """Start the sandbox and return what isolation this machine gives, for `potstill doctor`."""
    try:
        with Sandbox(config) as sandbox:
            tried = sandbox.run("yield_ = 1\nans = frozenset([yield_])")
            heavy = sandbox.run("import sympy\nans = sympy.Rational(1, 2)")
            return {
                "tier 1": sandbox.monty.isolation if sandbox.monty else sandbox.monty_missing or "not asked for",
                "tier 2": tried.isolation or tried.error,
                "packages": heavy.versions if heavy.ok else heavy.error,
            }
    except (SandboxError, MissingExtraError) as error:
        return {"tier 1": str(error), "tier 2": None}
