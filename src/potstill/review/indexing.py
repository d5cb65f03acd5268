"""Fill a run's index with what its files hold by now: only the bytes that are new, a batch at a time.

A run may still be being written: a last line without its line end is left for the next pass, and a file that was
replaced is read again. One process fills the index of a run at a time; others see what it has done. A line that is not
a JSON object, or that lacks its id, is counted with its place and shown, and the rest is read.
"""

from __future__ import annotations

import fcntl
import json
import sqlite3
import threading
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, BinaryIO

from potstill.errors import DataError, shorten
from potstill.records import child_seed
from potstill.review import folding
from potstill.review.entries import (  # fmt: skip
    Entry,
    example_entry,
    judged_floor,
    problem_entry,
    rationale_entry,
    searchable,
    tree_entries,
)
from potstill.review.store import ANY_JOB, Source, open_index, sources_of

BATCH_BYTES = 1_000_000
"""Bytes read between two commits: what a reader waits for at most."""
HEAD_BYTES = 512
POLL_S = 2.0

INSERT = (
    "INSERT INTO items(id, stage, job, file, start, length, problem, parent, kind, author, number, words, finish,"
    " split, source, draw, tokens, status, answer, dropped, priority)"
    f" VALUES ({','.join('?' * 21)})"
)
FACETS = ("kind", "status", "author", "job", "split", "source", "dropped", "finish")


class Indexer:
    """Fills one run's index. State: its connection, and the split and source of every problem seen."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.index = open_index(folder)
        self.problems: dict[str, tuple[str, str]] = {}
        self.floor = judged_floor(folder)
        self.touched: set[tuple[str, str]] = set()
        """Stage and problem of what changed in this pass."""

    def catch_up(self, is_stopped: Callable[[], bool] = lambda: False) -> int:
        """Read what is new in every file; return how many lines that was."""
        self._know_problems()
        count = 0
        for source in sources_of(self.folder):
            count += self._read(source, is_stopped)
        folding.fold(self.folder, self.index)
        if count and not is_stopped():
            self._summarise()
        return count

    def _know_problems(self) -> None:
        rows = self.index.execute("SELECT id, split, source FROM items WHERE stage = 'problems'")
        self.problems = self.problems or {row[0]: (row[1], row[2]) for row in rows}

    def _read(self, source: Source, is_stopped: Callable[[], bool]) -> int:
        """Take in the new lines of one file."""
        state = self.index.execute("SELECT * FROM files WHERE name = ?", (source.name,)).fetchone()
        with source.path.open("rb") as file:
            size = source.path.stat().st_size
            if state is not None and _is_replaced(state, file, source.path):
                self._forget(source)
                state = None
            read_to, lines = (state["read_to"], state["lines"]) if state is not None else (0, 0)
            first = lines
            while read_to < size and not is_stopped():
                file.seek(read_to)
                batch = file.readlines(BATCH_BYTES)
                whole = [line for line in batch if line.endswith(b"\n")]
                if not whole:
                    break
                self._take(source, whole, read_to, lines, file)
                read_to += sum(map(len, whole))
                lines += len(whole)
        return lines - first

    def _take(self, source: Source, batch: list[bytes], start: int, number: int, file: BinaryIO) -> None:
        takes = {"verdicts": self._verdict, "dropped": self._drop, "claims": self._claim, "instructions": self._tree}
        take = takes.get(source.stage, self._item)
        faults, fault, at = 0, None, start
        self.index.execute("BEGIN IMMEDIATE")
        try:
            for line in batch:
                number += 1
                try:
                    if line.strip():
                        row = json.loads(line.decode("utf-8-sig" if not at else "utf-8"))
                        take(source, row, at, len(line))
                except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
                    faults += 1
                    fault = fault or f"{source.name}:{number}: {type(error).__name__}: {shorten(error, 120)}"
                at += len(line)
            file.seek(0)
            head = file.read(min(HEAD_BYTES, at))
            self.index.execute(
                "INSERT INTO files VALUES (?,?,?,?,?,?,?) ON CONFLICT(name) DO UPDATE SET read_to = excluded.read_to,"
                " lines = excluded.lines, head = excluded.head, faults = faults + excluded.faults,"
                " fault = coalesce(fault, excluded.fault)",
                (source.name, source.path.stat().st_ino, at, number, faults, fault, head),
            )
            self.index.execute("COMMIT")
        except BaseException:
            self.index.execute("ROLLBACK")
            raise

    def _item(self, source: Source, row: dict[str, Any], start: int, length: int) -> None:
        """Take in a problem, rationale, prediction or example."""
        read = {"problems": problem_entry, "examples": example_entry}.get(source.stage, rationale_entry)
        self._enter(source, read(row), start, length)

    def _tree(self, source: Source, row: dict[str, Any], start: int, length: int) -> None:
        """Take in the instructions of one tree."""
        for found in tree_entries(row, self.floor):
            self._enter(source, found, start, length)

    def _enter(self, source: Source, found: Entry, start: int, length: int) -> None:
        split, origin = found.where or self.problems.get(found.problem, ("", ""))
        if source.stage == "problems":
            self.problems[found.id] = (split, origin)
        cursor = self.index.execute(
            INSERT,
            (found.id, source.stage, source.job, source.name, start, length, found.problem, found.parent, found.kind,
             found.author, found.number, len(found.text.split()), found.finish, split, origin,
             child_seed("review", found.id), found.tokens, found.status, found.answer, found.dropped, found.priority),
        )  # fmt: skip
        self.index.execute("INSERT INTO texts(rowid, text) VALUES (?, ?)", (cursor.lastrowid, searchable(found.text)))
        self.touched.add((source.stage, found.problem))
        if source.stage in ("rationales", "predictions"):
            self._join_waiting((source.stage, source.job, found.id))

    def _claim(self, source: Source, row: dict[str, Any], start: int, length: int) -> None:
        """Take in what a judge that is not the verifier, such as a jury, said of a record."""
        named = next((name for name in ("record", "problem_id", "rationale_id") if name in row), "record")
        stage = str(row.get("stage") or ("rationales" if named == "rationale_id" else "problems"))
        record, answer = str(row[named]), row.get("answer")
        self.index.execute(
            "DELETE FROM claims WHERE record = ? AND stage = ? AND judge = ?", (record, stage, source.job)
        )
        self.index.execute(
            "INSERT INTO claims VALUES (?,?,?,?,?,?,?)",
            (source.job, stage, record, str(row["status"]), None if answer is None else searchable(str(answer))[:200],
             searchable(str(row.get("reason") or ""))[:200], source.name),
        )  # fmt: skip
        self.touched.add((stage, record))

    def _verdict(self, source: Source, row: dict[str, Any], start: int, length: int) -> None:
        answer = row.get("answer")
        values = (str(row["status"]), None if answer is None else searchable(str(answer))[:200], start)
        self._set("status = ?, answer = ?, judged = ?", values, (source.of, source.job, str(row["rationale_id"])))

    def _drop(self, source: Source, row: dict[str, Any], start: int, length: int) -> None:
        self._set("dropped = ?", (str(row["reason"]),), (source.of, ANY_JOB, str(row["id"])))

    def _set(self, change: str, values: tuple[Any, ...], target: tuple[str, str, str]) -> None:
        """Note what was found about a rationale, or keep it until the rationale itself is on disk."""
        stage, job, id = target
        found = self.index.execute(
            f"UPDATE items INDEXED BY by_id SET {change}"
            f" WHERE id = ? AND stage = ? AND ? IN (job, '{ANY_JOB}') RETURNING problem",
            (*values, id, stage, job),
        ).fetchall()
        self.touched.update((stage, row[0]) for row in found)
        if not found:
            names = [part.split(" ")[0] for part in change.split(", ")]
            marks = ",".join("?" * (len(values) + 2))
            self.index.execute(f"INSERT INTO waiting(job, id, {', '.join(names)}) VALUES ({marks})", (job, id, *values))

    def _join_waiting(self, target: tuple[str, str, str]) -> None:
        query = f"SELECT rowid, * FROM waiting WHERE id = ? AND job IN (?, '{ANY_JOB}')"
        for row in self.index.execute(query, (target[2], target[1])).fetchall():
            self.index.execute("DELETE FROM waiting WHERE rowid = ?", (row["rowid"],))
            if row["status"] is not None:
                values = (row["status"], row["answer"], row["judged"])
                self._set("status = ?, answer = ?, judged = ?", values, target)
            else:
                self._set("dropped = ?", (row["dropped"],), target)

    def _forget(self, source: Source) -> None:
        """Take out what a file that was replaced had said."""
        self.index.execute("BEGIN IMMEDIATE")
        where = (source.of, source.job)
        if source.stage == "verdicts":
            self.index.execute("UPDATE items SET status = '', answer = NULL WHERE stage = ? AND job = ?", where)
        elif source.stage == "dropped":
            self.index.execute("UPDATE items SET dropped = '' WHERE stage = ?", (source.of,))
        elif source.stage == "claims":
            self.index.execute("DELETE FROM claims WHERE file = ?", (source.name,))
        else:
            self.index.execute("DELETE FROM items WHERE file = ?", (source.name,))
        if source.stage in ("verdicts", "dropped"):
            column = "status" if source.stage == "verdicts" else "dropped"
            self.index.execute(f"DELETE FROM waiting WHERE job = ? AND {column} IS NOT NULL", (source.job,))
        self.index.execute("DELETE FROM files WHERE name = ?", (source.name,))
        self.index.execute("COMMIT")
        if source.stage == "problems":
            self.problems = {}

    def _summarise(self) -> None:
        """Work out, for problems with news, whether their rationales disagree; count the values of every filter."""
        self.index.execute("BEGIN IMMEDIATE")
        self.index.execute(
            "CREATE TEMP TABLE IF NOT EXISTS touched(stage TEXT, problem TEXT, PRIMARY KEY(stage, problem))"
        )
        self.index.execute("DELETE FROM touched")
        self.index.executemany("INSERT INTO touched VALUES (?, ?)", sorted(self.touched))
        self.index.execute(DISPUTES)
        self.index.execute(CLAIMS)
        self.index.execute(LATE_PROBLEMS)
        folding.settle_all(self.index)
        self.index.execute("DELETE FROM facets")
        for name in FACETS:
            self.index.execute(
                f"INSERT INTO facets SELECT stage, ?, {name}, count(*) FROM items WHERE coalesce({name}, '') != ''"
                f" GROUP BY stage, {name}",
                (name,),
            )
        self.index.execute("INSERT INTO facets SELECT stage, 'all', '', count(*) FROM items GROUP BY stage")
        self.index.execute("COMMIT")
        self.touched.clear()


DISPUTES = """
UPDATE items INDEXED BY by_problem SET is_disputed = v.answers > 1,
  priority = CASE WHEN v.scored > 0 THEN 4.0 * v.right * (v.scored - v.right) / (v.scored * v.scored)
             ELSE v.answers > 1 END + (status = 'UNVERIFIED')
FROM (SELECT i.stage, i.job, i.problem, count(DISTINCT i.answer) AS answers, sum(i.status = 'CORRECT') AS right,
        sum(i.status NOT IN ('', 'UNVERIFIED')) AS scored
      FROM touched t CROSS JOIN items i INDEXED BY by_problem ON i.problem = t.problem AND i.stage = t.stage
      WHERE i.stage IN ('rationales', 'predictions') GROUP BY i.stage, i.job, i.problem) AS v
WHERE items.problem = v.problem AND items.stage = v.stage AND items.job = v.job
"""
CLAIMS = """
UPDATE items SET is_disputed = v.verdicts > 1, priority = (v.verdicts > 1) + (v.status = 'UNVERIFIED') + v.unsure,
  status = CASE WHEN v.verdicts > 1 THEN 'UNVERIFIED' ELSE v.status END, answer = v.answer
FROM (SELECT c.record, count(DISTINCT c.status) AS verdicts, min(c.status) AS status, max(c.answer) AS answer,
        max(c.reason LIKE '%split%') AS unsure
      FROM touched t CROSS JOIN claims c INDEXED BY claimed ON c.record = t.problem AND c.stage = t.stage
      WHERE t.stage = 'problems' GROUP BY c.record) AS v
WHERE items.n IN (SELECT i.n FROM items i INDEXED BY by_id WHERE i.id = v.record AND i.stage = 'problems')
"""
LATE_PROBLEMS = """
UPDATE items SET split = p.split, source = p.source
FROM (SELECT id, split, source FROM items WHERE stage = 'problems') AS p
WHERE items.n IN (SELECT n FROM items WHERE split = '' AND stage != 'problems') AND p.id = items.problem
"""
"""Rationales that were read before their problem was."""


def index_once(folder: Path) -> None:
    """Fill a run's index with what is new, unless another process is doing that already."""
    indexer = Indexer(folder)
    with (folder / ".review" / "lock").open("a") as lock, closing(indexer.index), suppress(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        indexer.catch_up()


def keep_up(folder: Path, stop: threading.Event, report: Callable[[str], None]) -> None:
    """Fill a run's index until told to stop, as long as no other process does; for a thread of its own.

    Args:
        report: Called with what went wrong, such as a full disk; the next pass tries again.
    """
    lock_path = folder / ".review" / "lock"
    lock_path.parent.mkdir(exist_ok=True)
    with lock_path.open("a") as lock:
        indexer: Indexer | None = None
        while not stop.is_set():
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                indexer = indexer or Indexer(folder)
                indexer.catch_up(stop.is_set)
            except BlockingIOError:
                pass  # another server of this run fills the index; this one takes over when it ends
            except (DataError, OSError, sqlite3.Error) as error:
                report(shorten(error))
            stop.wait(POLL_S)
        if indexer is not None:
            indexer.index.close()


def _is_replaced(state: Mapping[str, Any], file: BinaryIO, path: Path) -> bool:
    """Whether a file is another one than the one that was read, or has lost what was read."""
    found = path.stat()
    head = file.read(len(state["head"]))
    return bool(found.st_ino != state["inode"] or found.st_size < state["read_to"] or head != state["head"])
