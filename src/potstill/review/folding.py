"""Fold `review.jsonl` into the index, so that lists can filter by what people decided."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from potstill.review import decisions
from potstill.review.decisions import FILE, Target


def fold(folder: Path, index: sqlite3.Connection) -> int:
    """Take in the decisions that are on disk and not in the index yet, by whichever server; return how many."""
    path = folder / FILE
    size = path.stat().st_size if path.exists() else 0
    known = index.execute("SELECT read_to FROM files WHERE name = ?", (FILE,)).fetchone()
    if (known is not None and known[0] == size) or (known is None and not size):
        return 0
    index.execute("BEGIN IMMEDIATE")
    try:
        count = _take(path, index, size)
        index.execute("COMMIT")
    except BaseException:
        index.execute("ROLLBACK")
        raise
    return count


def settle_all(index: sqlite3.Connection) -> None:
    """Note every standing once more, for records that were read after the decision on them."""
    for row in index.execute("SELECT DISTINCT stage, job, record FROM decisions WHERE record != ''").fetchall():
        _settle(index, (row[0], row[1], row[2]))


def decisions_on(index: sqlite3.Connection, target: Target) -> list[dict[str, Any]]:
    """Return the decisions on a record that were not undone, in their order."""
    rows = index.execute(
        "SELECT row FROM decisions WHERE record = ? AND stage = ? AND job = ? AND NOT undone ORDER BY rowid",
        (target[2], target[0], target[1]),
    )
    found = [json.loads(row[0]) for row in rows]
    return [row for row in found if row["action"] in decisions.JUDGING]


def _take(path: Path, index: sqlite3.Connection, size: int) -> int:
    known = index.execute("SELECT read_to, lines FROM files WHERE name = ?", (FILE,)).fetchone() or (0, 0)
    read_to, number = known
    if size < read_to:  # somebody replaced the file
        index.execute("DELETE FROM decisions")
        index.execute("UPDATE items SET review = '' WHERE review != ''")
        read_to = number = 0
    changed: set[Target] = set()
    if path.exists():
        with path.open("rb") as file:
            file.seek(read_to)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                number += 1
                changed |= _note(index, decisions.parse(line, f"{path}:{number}"))
                read_to += len(line)
    for target in changed:
        _settle(index, target)
    index.execute(
        "INSERT INTO files VALUES (?, 0, ?, ?, 0, NULL, NULL) ON CONFLICT(name) DO UPDATE SET"
        " read_to = excluded.read_to, lines = excluded.lines",
        (FILE, read_to, number),
    )
    return len(changed)


def _note(index: sqlite3.Connection, row: Mapping[str, Any]) -> set[Target]:
    stage, job, record = decisions.target_of(row)
    values = (row["id"], row.get("at"), row.get("by"), row["action"], stage, job, record, json.dumps(row))
    index.execute("INSERT OR IGNORE INTO decisions VALUES (?,?,?,?,?,?,?,?,0)", values)
    if row["action"] == "undo":
        index.execute("UPDATE decisions SET undone = 1 WHERE id = ?", (row.get("undoes"),))
        undone = index.execute("SELECT stage, job, record FROM decisions WHERE id = ?", (row.get("undoes"),)).fetchone()
        return {(undone[0], undone[1], undone[2])} if undone is not None else set()
    return {(stage, job, record)} if row["action"] in decisions.JUDGING else set()


def _settle(index: sqlite3.Connection, target: Target) -> None:
    standing = decisions.settle(decisions_on(index, target))
    state = standing.state if standing is not None else ""
    index.execute(
        "UPDATE items INDEXED BY by_id SET review = ? WHERE id = ? AND stage = ? AND job = ?",
        (state, target[2], *target[:2]),
    )
