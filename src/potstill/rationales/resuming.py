"""What a file of rationales from an earlier sampling is still good for.

A line counts where it answers the request that would be sent today. Nothing paid for is thrown away: a line whose
request has changed moves to `<name>.superseded.jsonl`; only lines that ended in an error, and second lines of the same
(problem, kind, index), are dropped.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from potstill.errors import ConfigError, DataError, shorten
from potstill.files import drop_torn_line, writing
from potstill.rationales.ways import place_of
from potstill.records import Rationale, rationale_from
from potstill.teachers.base import FAILURES

Key = tuple[str, str, int]
"""(problem id, way, index); see `ways`."""


@dataclass(frozen=True, slots=True)
class Today:
    """What would be asked for in the place of a line."""

    request: str | None
    """The request's key; `None`: recorded rationales, for which nothing is sent."""
    cap: int | None = None
    """In tokens."""
    draw: int | None = None
    """Which of its teacher's samples it is; `None`: that of its index."""
    teacher: str | None = None
    """Which of several teachers writes it; `None`: there is one."""


@dataclass(slots=True)
class Found:
    """What an output file holds of the rows that are wanted."""

    done: set[Key] = field(default_factory=set)
    finishes: Counter[str] = field(default_factory=Counter)
    failed: int = 0
    """Rows among `done` that have no text."""


def keep_current(
    path: Path, wanted: Callable[[Key], bool], today: Callable[[Key], Today], *, retry_failed: bool = False
) -> Found:
    """Leave in a file what is still good, and return what that is.

    Args:
        wanted: Whether a row is part of the present plan; other rows stay and are not counted.
        today: The request that would be sent for a row.
        retry_failed: Drop rows that were refused or empty too, not only those that ended in an error.

    Raises:
        DataError: The file holds something else than rationales, or cannot be written.
    """
    found = Found()
    if not path.exists():
        return found
    drop_torn_line(path)
    if not _needs_rewriting(path, wanted, today, retry_failed, found):
        return found
    found = Found()
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    aside = path.with_name(f"{path.name.removesuffix('.jsonl')}.superseded.jsonl")
    with writing(path), partial.open("wb") as out, aside.open("ab") as old:
        for line, rationale in _lines(path):
            place = _place(rationale, wanted, today, retry_failed, found)
            if place != "drop":
                (out if place == "keep" else old).write(line)
        for file in (old, out):
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    if aside.stat().st_size == 0:
        aside.unlink()
    return found


@contextmanager
def locked(path: Path) -> Iterator[Callable[[], None]]:
    """Hold an output file for this process; yields what to call after the file has been replaced.

    A new file that is still empty when an error comes is removed: nothing is left that looks like a result.

    Raises:
        ConfigError: The name does not end in .jsonl.
        DataError: Another process holds it, or it cannot be written.
    """
    if path.suffix != ".jsonl":
        message = f"out: got {str(path)!r}; expected a name that ends in .jsonl"
        raise ConfigError(message)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    is_new = not path.exists()
    held: list[IO[bytes]] = []

    def hold() -> None:
        with writing(path):
            file = path.open("ab")
        if held and os.path.sameopenfile(file.fileno(), held[-1].fileno()):
            file.close()
            return
        held.append(file)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as cause:
            message = f"{path}: another process is writing this file; wait for it to end or choose another --out"
            raise DataError(message) from cause

    try:
        hold()
        yield hold
    except BaseException:
        if is_new and held and path.exists() and path.stat().st_size == 0:
            path.unlink()
        raise
    finally:
        for file in held:
            file.close()


def _needs_rewriting(
    path: Path, wanted: Callable[[Key], bool], today: Callable[[Key], Today], retry_failed: bool, found: Found
) -> bool:
    return any(_place(row, wanted, today, retry_failed, found) != "keep" for _, row in _lines(path))


def _place(
    rationale: Rationale,
    wanted: Callable[[Key], bool],
    today: Callable[[Key], Today],
    retry_failed: bool,
    found: Found,
) -> str:
    """Say where a line belongs, keep, drop or aside, and count it where it is kept and wanted."""
    key = place_of(rationale)
    if not wanted(key):
        return "keep"
    retried = FAILURES if retry_failed else ("error",)
    if key in found.done or rationale.finish in retried:
        return "drop"
    if not _is_current(rationale, today(key)):
        return "aside"
    found.done.add(key)
    found.finishes[str(rationale.finish)] += 1
    found.failed += rationale.finish in FAILURES
    return "keep"


def _is_current(rationale: Rationale, today: Today) -> bool:
    """Whether a line holds that sample of that teacher, in answer to that request."""
    draw = rationale.index if today.draw is None else today.draw
    if rationale.meta.get("draw", rationale.index) != draw:
        return False
    if today.request is None:
        return today.teacher is None or rationale.meta.get("teacher") == today.teacher
    if rationale.request != today.request:
        return False
    if rationale.finish == "length":
        return rationale.meta.get("max_tokens") == today.cap
    return today.cap is None or rationale.usage.get("completion_tokens", 0) <= today.cap


def _lines(path: Path) -> Iterator[tuple[bytes, Rationale]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            where = f"{path}:{number}"
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as cause:
                message = f"{where}: not valid JSON ({shorten(cause, 80)}); choose another --out, or mend the file"
                raise DataError(message) from cause
            if not isinstance(row, dict):
                message = (
                    f"{where}: found {shorten(repr(row), 80)}; this file does not hold rationales: choose another --out"
                )
                raise DataError(message)
            yield line, rationale_from(row, where)
