"""The index beside a run, `RUN/.review/index.sqlite`: where each record lies, what can be filtered and searched.

It holds no text that a page shows: a page reads its few records from the run's own files, by their byte offsets. It can
be deleted at any time and is then made again. What fills it is `indexing`, what asks it is `queries`.
"""

from __future__ import annotations

import gzip
import json
import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from potstill.errors import DataError, shorten
from potstill.files import writing
from potstill.review.decisions import job_of

Row = sqlite3.Row | Mapping[str, Any]
"""A record's row of the index."""
SCHEMA = 2
"""Raise it when a table changes: an index of another schema is made anew."""
ANY_JOB = "*"
"""Of what is about rationales of all rounds."""
STAGES = ("rationales", "predictions", "examples", "problems", "instructions")
# Every list is answered from the index `listing` alone, whatever its filters and order: its worst case is one pass over
# narrow entries. An index for each order would be faster for some and very slow for filters that few records pass.
TABLES = """
CREATE TABLE files(
  name TEXT PRIMARY KEY, inode INTEGER, read_to INTEGER, lines INTEGER, faults INTEGER, fault TEXT, head BLOB);
CREATE TABLE items(
  n INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT, stage TEXT, job TEXT, file TEXT, start INTEGER, length INTEGER,
  problem TEXT, parent TEXT, kind TEXT, author TEXT, number INTEGER, words INTEGER, finish TEXT, split TEXT,
  source TEXT, status TEXT DEFAULT '', answer TEXT, judged INTEGER, dropped TEXT DEFAULT '',
  is_disputed INTEGER DEFAULT 0, priority REAL DEFAULT 0, draw INTEGER, review TEXT DEFAULT '',
  tokens INTEGER DEFAULT 0);
CREATE INDEX by_id ON items(id);
CREATE INDEX by_problem ON items(problem, stage, job);
CREATE INDEX by_parent ON items(parent) WHERE stage = 'problems';
CREATE INDEX by_stage ON items(stage, job, kind);
CREATE INDEX by_draw ON items(stage, draw);
CREATE INDEX listing ON items(
  stage, n, kind, status, author, job, split, source, dropped, finish, review, is_disputed, words, tokens,
  priority, draw);
CREATE VIRTUAL TABLE texts USING fts5(text, content='', tokenize='unicode61');
CREATE TABLE waiting(job TEXT, id TEXT, status TEXT, answer TEXT, judged INTEGER, dropped TEXT);
CREATE INDEX waiting_id ON waiting(id);
CREATE TABLE claims(judge TEXT, stage TEXT, record TEXT, status TEXT, answer TEXT, reason TEXT, file TEXT);
CREATE INDEX claimed ON claims(record, stage);
CREATE TABLE decisions(
  id TEXT PRIMARY KEY, at TEXT, by TEXT, action TEXT, stage TEXT, job TEXT, record TEXT, row TEXT, undone INTEGER);
CREATE INDEX decided ON decisions(record);
CREATE TABLE facets(stage TEXT, name TEXT, value TEXT, count INTEGER);
"""


@dataclass(frozen=True, slots=True)
class Source:
    """One file of a run that is indexed."""

    name: str
    """Its path inside the run, as the interface calls it."""
    path: Path
    """Where its lines are: the file itself, or what was unpacked from its `.gz`."""
    stage: str
    """One of `STAGES`, or verdicts, dropped, claims."""
    job: str = ""
    of: str = "rationales"
    """Which stage's texts verdicts and drops are about."""


def open_index(folder: Path) -> sqlite3.Connection:
    """Return a connection to a run's index, made if it is missing or of another schema.

    Raises:
        DataError: It cannot be made, or is damaged.
    """
    path = folder / ".review" / "index.sqlite"
    with writing(path):
        path.parent.mkdir(exist_ok=True)
    try:
        connection = _connect(path)
        if _version(connection) != SCHEMA:
            _make(connection)
    except sqlite3.Error as cause:
        message = f"{path}: cannot be used ({shorten(cause, 80)}); delete the folder {path.parent}, it is made again"
        raise DataError(message) from cause
    return connection


def require_run(folder: Path) -> None:
    """Raise `DataError` unless a folder holds something of a run that can be looked at."""
    named = ("problems.jsonl", "rationales.jsonl", "predictions", "examples", "examples.jsonl", "trees.jsonl")
    if any((folder / name).exists() or (folder / f"{name}.gz").exists() for name in named):
        return
    found = "nothing to review in it yet" if folder.is_dir() else "no such folder"
    message = (
        f"{folder}: {found}; give a run directory that holds at least problems.jsonl or rationales.jsonl, "
        "as `potstill run RECIPE --run DIR` makes one"
    )
    raise DataError(message)


def sources_of(folder: Path) -> Iterator[Source]:
    """Yield the files of a run that exist by now, problems first, verdicts after what they judge."""
    yield from _source(folder, "problems.jsonl", "problems", "")
    yield from _source(folder, "trees.jsonl", "instructions", "")
    for name in _lines_in(folder / "trees", ""):
        yield from _source(folder, f"trees/{name}", "instructions", name.removesuffix(".jsonl"))
    for name in _lines_in(folder, "rationales"):
        job = job_of(name)
        yield from _source(folder, name, "rationales", job)
        yield from _source(folder, verdicts_name("rationales", job), "verdicts", job)
    yield from _source(folder, "dropped.jsonl", "dropped", ANY_JOB)
    yield from _source(folder, "examples.jsonl", "examples", "examples")
    for stage in ("predictions", "examples"):
        for name in _lines_in(folder / stage, ""):
            job = name.removesuffix(".jsonl")
            yield from _source(folder, f"{stage}/{name}", stage, job)
            if stage == "predictions":
                yield from _source(folder, verdicts_name(stage, job), "verdicts", job, stage)
    for name in _lines_in(folder / "judgements", ""):
        yield from _source(folder, f"judgements/{name}", "claims", name.removesuffix(".jsonl"))


def verdicts_name(stage: str, job: str) -> str:
    """Return the file of the verdicts on a file of rationales or predictions."""
    if stage == "predictions":
        return f"verdicts/{job}.jsonl"
    return f"verdicts.{job}.jsonl" if job else "verdicts.jsonl"


def read_row(folder: Path, name: str, start: int, length: int) -> dict[str, Any]:
    """Return one record's JSON object, read from its place in a file of the run; empty where it has gone."""
    try:
        with path_of(folder, name).open("rb") as file:
            file.seek(start)
            found = json.loads(file.read(length).decode("utf-8", "replace"))
    except (OSError, ValueError, RecursionError):
        return {}  # the file was replaced a moment ago; the index notices at its next pass
    return found if isinstance(found, dict) else {}


def read_node(folder: Path, row: Row) -> dict[str, Any]:
    """Return one instruction of a tree, with its parent's text as `before`; empty where it has gone."""
    nodes = read_row(folder, row["file"], row["start"], row["length"]).get("nodes") or []
    if row["number"] >= len(nodes):
        return {}
    node = nodes[row["number"]]
    above = node.get("parent")
    return {**node, "before": nodes[above]["text"] if isinstance(above, int) and above < len(nodes) else None}


def path_of(folder: Path, name: str) -> Path:
    """Return where the lines of a file are: in the run, or unpacked beside the index."""
    path = folder / name
    return path if path.exists() else folder / ".review" / "unpacked" / name


def _lines_in(folder: Path, start: str) -> list[str]:
    """Return the names of a folder's JSONL files that begin with `start`, without the `.gz` of compressed ones."""
    names = {path.name.removesuffix(".gz") for path in folder.glob(f"{start}*.jsonl*")}
    return sorted(
        (name for name in names if name.endswith(".jsonl") and not name.startswith(".")), key=lambda n: (len(n), n)
    )


def _source(folder: Path, name: str, stage: str, job: str, of: str = "rationales") -> Iterator[Source]:
    packed = folder / f"{name}.gz"
    if (folder / name).exists():
        yield Source(name, folder / name, stage, job, of)
    elif packed.exists():
        yield Source(name, _unpacked(folder, name, packed), stage, job, of)


def _unpacked(folder: Path, name: str, packed: Path) -> Path:
    """Return a compressed file's lines as a file of their own: nobody can jump to a place inside the compressed one."""
    path = path_of(folder, name)
    if not path.exists() or path.stat().st_mtime_ns < packed.stat().st_mtime_ns:
        partial = path.with_name(f".{path.name}.partial")
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with gzip.open(packed, "rb") as source, partial.open("wb") as out:
                shutil.copyfileobj(source, out)
            partial.replace(path)
    return path


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")  # a lost index is made again; decisions are synced elsewhere
    connection.execute("PRAGMA cache_size=-32000")
    return connection


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _make(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    if _version(connection) != SCHEMA:  # another server may have made it while this one waited
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type='table'")]
        for name in [
            *(n for n in names if n == "texts"),
            *(n for n in names if not n.startswith(("texts", "sqlite_"))),
        ]:
            connection.execute(f"DROP TABLE {name}")
        for statement in TABLES.split(";"):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version={SCHEMA}")
    connection.execute("COMMIT")
