"""Tier 1: a fresh Monty session per program, in worker processes that are confined from outside too.

Believed only when it has an answer; everything else is tier 2's to say, so that outcomes are CPython's.
"""

from __future__ import annotations

import shlex
import shutil
import sys
import tempfile
import time
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from potstill.errors import SandboxError, boundary, require_extra
from potstill.recipe.rationales import SandboxConfig
from potstill.sandbox.routing import Route

FIRST_LOOK_S = 0.25
"""Seconds that tier 1 gets where tier 2 can follow: its clock is the wall's, and CPU time shall decide timeouts."""
FROZEN = datetime(2026, 1, 1)  # noqa: DTZ001 - the programs' clock, naive as theirs
POLICY = {"sleep": "zero", "datetime": FROZEN, "random_start": {"seed": 0}}


class Answered(NamedTuple):
    """What tier 1 says of a program."""

    word: str
    """ok, or the fine word for its failure as far as tier 1 can tell."""
    answer: str | None = None
    stdout: str = ""
    error: str | None = None
    cpu_ms: float = 0.0
    wall_ms: float = 0.0


class MontyPool:
    """The worker processes of tier 1. Safe to use from several threads."""

    def __init__(self, config: SandboxConfig, workers: int, *, is_alone: bool) -> None:
        self.config, self.workers, self.is_alone = config, workers, is_alone
        self.isolation = "monty"
        self.version = ""
        self._stack = ExitStack()
        self._pool: Any = None

    def __enter__(self) -> MontyPool:
        require_extra("pydantic_monty", "sandbox")
        import pydantic_monty

        self.version = pydantic_monty.__version__
        self._errors = pydantic_monty
        seconds = self.config.cpu_s if self.is_alone else min(FIRST_LOOK_S, self.config.cpu_s)
        self._limits = {
            "max_feed_duration_secs": seconds,
            "max_memory": self.config.memory_mb << 20,
            "max_recursion_depth": 1000,
        }
        with boundary(SandboxError, "tier 1 of the sandbox cannot start (pip install 'potstill[sandbox]')"):
            pool = pydantic_monty.Monty(
                binary_path=self._confined_binary(),
                min_processes=self.workers,
                max_processes=self.workers,
                checkout_timeout=120.0,
                request_timeout=4 * seconds + 2,
            )
            self._pool = self._stack.enter_context(pool)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()

    def run(self, route: Route) -> Answered:
        """Run a program in a session of its own and return its answer, or why there is none."""
        out = self._errors.CollectString(self.config.max_output_bytes)
        started, pid = time.perf_counter(), None
        before = 0.0
        try:
            with self._pool.checkout(
                limits=self._limits, os_policy=POLICY, assert_message_annotations=False
            ) as session:
                pid = session.worker_pid
                before = cpu_time(pid)
                value = session.feed_run(route.monty, print_callback=out)
                spent = 1000 * (cpu_time(pid) - before), 1000 * (time.perf_counter() - started)
        except (self._errors.MontyError, ValueError, TypeError, OverflowError, TimeoutError, RuntimeError) as error:
            wall = 1000 * (time.perf_counter() - started)
            return Answered(_word(error), None, out.output, str(error)[:1000], 0.0, wall)
        answer = value if isinstance(value, str) and value else None
        if answer is None and value == "":
            answer = last_line(out.output)
        if answer is None or len(answer) > self.config.max_output_bytes or " at 0x" in answer:
            return Answered("no_answer", None, out.output, None, *spent)
        return Answered("ok", answer, out.output, None, *spent)

    def _confined_binary(self) -> str | None:
        """Return a launcher that locks a worker down before it becomes Monty; `None` where there is no such lock."""
        if sys.platform != "linux":
            return None
        from pydantic_monty._binary import find_monty_binary

        folder = Path(tempfile.mkdtemp(prefix="potstill-monty-"))
        self._stack.callback(shutil.rmtree, folder, ignore_errors=True)
        launcher = folder / "monty"
        code = (
            "import sys; sys.path.insert(0, sys.argv[1]); import types; "
            "m = types.ModuleType('potstill'); m.__path__ = [sys.argv[1]]; sys.modules['potstill'] = m; "
            "from potstill.sandbox.confining import main; main(sys.argv[2], sys.argv[3:])"
        )
        package = Path(__file__).resolve().parents[1]
        words = [sys.executable, "-I", "-S", "-c", code, str(package), find_monty_binary()]
        launcher.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
        launcher.chmod(0o700)
        from potstill.sandbox.lockdown import landlock_version, worker_filter

        lock = landlock_version()
        self.isolation = "+".join(
            ["monty", *(["seccomp"] if worker_filter() else []), *([f"landlock{lock}"] if lock else [])]
        )
        return str(launcher)


def cpu_time(pid: int | None) -> float:
    """Return the CPU seconds that a process has used; 0.0 where it cannot be asked."""
    if pid is None or sys.platform != "linux":
        return 0.0
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        return 0.0


def last_line(printed: str) -> str | None:
    """Return the last line that holds anything, without the space around it."""
    lines = [line for line in printed.splitlines() if line.strip()]
    return lines[-1].strip() if lines else None


def _word(error: BaseException) -> str:
    """Return the fine word for a failure in tier 1; used only where tier 2 is not there to decide."""
    text, kind = str(error), type(error).__name__
    if kind == "MontyCrashedError":
        return "timeout" if getattr(error, "timed_out", False) else "crash"
    if kind == "MontySyntaxError":
        return "syntax"
    for start, word in (
        ("TimeoutError: feed", "timeout"),
        ("MemoryError", "memory"),
        ("RecursionError", "recursion"),
        ("PermissionError", "forbidden"),
    ):
        if text.startswith(start):
            return word
    return (
        "error"
        if text.startswith(("ZeroDivisionError", "IndexError", "KeyError", "ValueError", "OverflowError"))
        else "unsupported"
    )
