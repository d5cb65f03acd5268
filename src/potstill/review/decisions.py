"""What people decided about a run's records: `review.jsonl`, only ever appended to, and what it adds up to.

    {"id", "at", "by", "action": accept|reject|edit|undo|prefer|compare, "stage", "job", "record", "reason", "text", …}

What a model wrote is never changed: an edit stands in `review.jsonl` beside it, an undo is one more line that names the
line it takes back. Several processes may append at once: each holds the file's lock for the one write. Only one
reviewer's last decision on a record that was not undone counts; how those of several add up says `settle`.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex
from typing import Any

from potstill.errors import DataError, shorten
from potstill.files import drop_torn_line, writing
from potstill.records import content_id

FILE = "review.jsonl"
JUDGING = ("accept", "reject", "edit")
ACTIONS = (*JUDGING, "undo", "prefer", "compare")
LONGEST_NAME = 60
Target = tuple[str, str, str]
"""Stage, job (empty for the teacher's rationales) and id of a record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What all reviewers' decisions on one record add up to."""

    state: str
    """accepted, rejected, edited, or disputed where one accepts what another rejects."""
    by: tuple[str, ...]
    reason: str = ""
    """The reasons given, with who gave them."""
    text: str | None = None
    """The last edit that stands."""
    status: str = ""
    """What verification said of it when it was saved."""
    answer: str | None = None


@dataclass(slots=True)
class Decisions:
    """All decisions of a run, each record's in the order in which they were made."""

    of: dict[Target, dict[str, Mapping[str, Any]]] = field(default_factory=dict)
    target_of: dict[str, Target] = field(default_factory=dict)

    def add(self, row: Mapping[str, Any]) -> Target | None:
        """Take in one line; return the record whose standing may have changed."""
        if row.get("action") in JUDGING:
            target = target_of(row)
            self.of.setdefault(target, {})[str(row["id"])] = row
            self.target_of[str(row["id"])] = target
            return target
        if row.get("action") == "undo" and (undone := self.target_of.get(str(row.get("undoes")))) is not None:
            self.of[undone].pop(str(row["undoes"]), None)
            return undone
        return None

    def standings(self) -> dict[Target, Standing]:
        """Return each record's standing; records whose decisions were all undone have none."""
        found = {target: settle(rows.values()) for target, rows in self.of.items()}
        return {target: standing for target, standing in found.items() if standing is not None}


def target_of(row: Mapping[str, Any]) -> Target:
    """Return the record that a decision is about."""
    return str(row.get("stage", "")), str(row.get("job", "")), str(row.get("record", ""))


def settle(rows: Iterable[Mapping[str, Any]]) -> Standing | None:
    """Return what decisions on one record, none of them undone, add up to; `None` where there are none.

    Each reviewer's last one counts. One rejection among acceptances makes a record disputed, and who filters treats
    that like a rejection: it is cheaper to lose a rationale than to learn a wrong one.
    """
    last: dict[str, Mapping[str, Any]] = {}
    for row in rows:
        name = str(row.get("by", ""))
        last.pop(name, None)
        last[name] = row
    if not last:
        return None
    actions = {str(row["action"]) for row in last.values()}
    edits = [row for row in last.values() if row["action"] == "edit"]
    state = "edited" if edits else "accepted"
    if "reject" in actions:
        state = "rejected" if actions == {"reject"} else "disputed"
    said = [f"{name}: {row['reason']}" for name, row in last.items() if row.get("reason")]
    edit: Mapping[str, Any] = edits[-1] if edits else {}
    return Standing(
        state=state, by=tuple(last), reason="; ".join(said), text=str(edit.get("text", "")) if edits else None,
        status=str(edit.get("status", "")), answer=edit.get("answer"),
    )  # fmt: skip


def append(folder: Path, row: Mapping[str, Any]) -> dict[str, Any]:
    """Write one decision to the end of `review.jsonl` and return it, with id and time, once it is on disk.

    Raises:
        DataError: The file cannot be written; nothing was confirmed then.
    """
    path = folder / FILE
    whole = {"id": token_hex(8), "at": _now(), **row}
    data = memoryview((json.dumps(whole) + "\n").encode("ascii"))
    with writing(path), path.open("ab", buffering=0) as out:
        fcntl.flock(out, fcntl.LOCK_EX)  # before a torn line is looked for: another server may be in the middle of one
        drop_torn_line(path)
        while data:
            data = data[out.write(data) :]
        os.fsync(out.fileno())
    return whole


def job_of(name: str) -> str:
    """Return the job in which a file of the teacher's rationales is reviewed: empty, or the name of a round."""
    return name.removeprefix("rationales").removesuffix(".jsonl").removeprefix(".")


def joined(meta: Mapping[str, Any], own: Standing | None, problem: Standing | None) -> Mapping[str, Any]:
    """Return a rationale's meta with what people decided on it, or on its problem, under `review`."""
    if problem is not None and problem.state in ("rejected", "disputed"):
        own = Standing(state=problem.state, by=problem.by, reason=problem.reason or "its problem")
    if own is None:
        return meta
    said: dict[str, Any] = {"state": own.state, "by": list(own.by), "reason": own.reason}
    if own.text is not None:
        said |= {"text": own.text, "status": own.status, "answer": own.answer}
    return {**meta, "review": said}


def read(folder: Path) -> Decisions:
    """Return all decisions of a run; none where nobody has reviewed it."""
    decisions = Decisions()
    for row in rows_of(folder):
        decisions.add(row)
    return decisions


def rows_of(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the lines of `review.jsonl`; a last line that a kill tore was never confirmed and is left out.

    Raises:
        DataError: A line is damaged.
    """
    path = folder / FILE
    if not path.exists():
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if line.endswith(b"\n"):
                yield parse(line, f"{path}:{number}")


def parse(line: bytes, where: str) -> dict[str, Any]:
    """Return one line's decision, or raise `DataError` with where it is."""
    try:
        row = json.loads(line)
    except ValueError as cause:
        message = f"{where}: not a decision ({shorten(cause, 80)}); expected one JSON object per line; restore the file"
        raise DataError(message) from cause
    if not isinstance(row, dict) or row.get("action") not in ACTIONS or not isinstance(row.get("id"), str):
        message = f"{where}: found {shorten(line, 80)}; expected an object with id and action ({', '.join(ACTIONS)})"
        raise DataError(message)
    return row


def digest(folder: Path) -> str:
    """Return a hash of what the decisions on a run's rationales and problems add up to; an undo restores it."""
    found = read(folder).standings().items()
    parts = ([*target, one.state, one.text or ""] for target, one in found if target[0] in ("rationales", "problems"))
    return content_id("review", *sorted(parts))


def require_name(name: str) -> str:
    """Return a reviewer's name without outer white space.

    Raises:
        DataError: It is empty, too long, or holds characters that cannot be seen.
    """
    name = name.strip()
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        found = "no name" if not name else shorten(repr(name), 80)
        message = (
            f"reviewer: {found} was given; a decision needs the name of who made it, of 1 to {LONGEST_NAME} letters; "
            "enter yours at the top of the page, or start with --reviewer NAME"
        )
        raise DataError(message)
    return name


def require_text(text: str) -> str:
    """Return an edited text, with the line ends of this system.

    Raises:
        DataError: Nothing is left of it.
    """
    text = re.sub(r"\r\n?", "\n", text)
    if not text.strip():
        message = (
            "edit: the edited text is empty; an edit must leave something to learn from; reject the record instead"
        )
        raise DataError(message)
    return text


def require_action(action: str, allowed: Sequence[str] = JUDGING) -> str:
    """Return an action that a reviewer may take."""
    if action not in allowed:
        message = f"review: action {shorten(repr(action), 40)} is not known; expected one of {', '.join(allowed)}"
        raise DataError(message)
    return action


def _now() -> str:
    seconds = time.time()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{int(seconds % 1 * 1000):03d}Z"
