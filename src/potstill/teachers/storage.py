"""The ledger's file: its tables, its migrations, how rows become completions, and what its errors mean.

One SQLite file in WAL mode. Nothing here decides what is bought (`ledger`, `buying` do).
"""

from __future__ import annotations

import os
import sqlite3
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from potstill.errors import DataError, shorten
from potstill.teachers.base import CUT_BEFORE_TEXT, Completion

APPLICATION_ID = 0x506F7453
"""Marks a file as ours (ASCII `PotS`)."""

NO_CAP = -1
"""The cap of a completion that was asked for without one."""

MIGRATIONS = (
    """
    create table completions (
        key text not null, idx integer not null, cap integer not null,
        finish text not null, reason text, text, reasoning, logprob real,
        prompt_tokens integer, completion_tokens integer, cached_tokens integer, reasoning_tokens integer,
        estimated integer, created real not null,
        primary key (key, idx, cap)
    );
    create table attempts (
        id integer primary key, at real not null, run text, endpoint text not null, model text not null,
        key text not null, cap integer not null, indices text not null, outcome text not null, billed integer not null,
        prompt_tokens integer, completion_tokens integer, estimated integer, money real not null
    );
    create index attempts_of_run on attempts (run) where run is not null;
    create table owners (owner text primary key, host text, pid integer, mark text, expires real not null);
    create table claims (key text, idx integer, owner text not null, primary key (key, idx)) without rowid;
    """,
)
"""What brings a file from version i to i + 1; never edited once released."""

SELECT = (
    "select idx, cap, finish, reason, text, reasoning, logprob, prompt_tokens, completion_tokens, cached_tokens,"
    " reasoning_tokens, estimated from completions where key = ? and idx between ? and ?"
)
INSERT = (
    "insert into completions values (?,?,?,?,?,?,?,?,?,?,?,?,?,?) on conflict (key, idx, cap) do update set"
    " finish = excluded.finish, reason = excluded.reason, text = excluded.text, reasoning = excluded.reasoning,"
    " logprob = excluded.logprob, prompt_tokens = excluded.prompt_tokens, completion_tokens ="
    " excluded.completion_tokens, cached_tokens = excluded.cached_tokens, reasoning_tokens ="
    " excluded.reasoning_tokens, estimated = excluded.estimated, created = excluded.created"
    " where completions.finish in ('refused', 'empty', 'error')"
)
ATTEMPT = "insert into attempts values (null,?,?,?,?,?,?,?,?,?,?,?,?,?)"
COUNTED = ("prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens", "estimated")
NETWORK = (
    "nfs",
    "cifs",
    "smb",
    "fuse.sshfs",
    "fuse.s3fs",
    "lustre",
    "gpfs",
    "beegfs",
    "ceph",
    "glusterfs",
    "9p",
    "afs",
)
BUSY_S = 60.0


def connect(path: Path) -> sqlite3.Connection:
    """Open the file for writing, made or migrated where needed; commits survive power loss.

    Raises:
        DataError: It cannot be written, is not a ledger, or was written by a newer version.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as cause:
        message = f"ledger {path}: its folder cannot be made ({cause.strerror}); choose another --ledger FILE"
        raise DataError(message) from cause
    warn_of_network(path)
    connection: sqlite3.Connection | None = None
    try:
        connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        require_ledger(connection, path)
        connection.execute("pragma journal_mode = wal")
        connection.execute("pragma synchronous = full")
        migrate(connection)
    except (sqlite3.Error, DataError) as cause:
        if connection is not None:
            connection.close()
        raise cause if isinstance(cause, DataError) else ledger_error(path, cause) from cause
    return connection


def connect_reading(path: Path) -> sqlite3.Connection:
    """Open an existing ledger for reading only; as `connect` raises."""
    if not path.is_file():
        message = f"ledger {path}: no such file; give the ledger of an earlier run"
        raise DataError(message)
    connection: sqlite3.Connection | None = None
    try:
        connection = sqlite3.connect(
            f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=BUSY_S, isolation_level=None
        )
        require_ledger(connection, path, is_new_allowed=False)
    except (sqlite3.Error, DataError) as cause:
        if connection is not None:
            connection.close()
        raise cause if isinstance(cause, DataError) else ledger_error(path, cause) from cause
    return connection


def require_ledger(connection: sqlite3.Connection, path: Path, *, is_new_allowed: bool = True) -> None:
    """Raise `DataError` unless the file is a ledger of a version that is known here, or empty."""
    version, marked = _pragma(connection, "user_version"), _pragma(connection, "application_id")
    is_new = connection.execute("select count(*) from sqlite_master").fetchone()[0] == 0
    if is_new and is_new_allowed:
        return
    if marked != APPLICATION_ID:
        message = f"ledger {path}: an SQLite file, but not a ledger; give another --ledger FILE"
        raise DataError(message)
    if version > len(MIGRATIONS):
        message = (
            f"ledger {path}: written by a newer potstill (version {version}, this one knows {len(MIGRATIONS)}); update"
        )
        raise DataError(message)


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the file to the newest version; two processes at once do it once."""
    if _pragma(connection, "user_version") == len(MIGRATIONS):
        return
    connection.execute("begin immediate")
    try:
        for number in range(_pragma(connection, "user_version"), len(MIGRATIONS)):
            for statement in MIGRATIONS[number].split(";"):
                connection.execute(statement)
            connection.execute(f"pragma user_version = {number + 1}")
        connection.execute(f"pragma application_id = {APPLICATION_ID}")
        connection.execute("commit")
    except sqlite3.Error:
        connection.execute("rollback")
        raise


def ledger_error(path: Path, cause: Exception) -> DataError:
    """Return the error that says what an SQLite error means for the user."""
    said = shorten(cause)
    if "is full" in said:
        todo = "the disk is full; free some space and run the same command again, it resumes"
    elif "readonly" in said or "unable to open" in said:
        todo = f"cannot be written ({said}); choose a file in a folder that you may write with --ledger FILE"
    elif "not a database" in said or "malformed" in said:
        todo = f"not a readable ledger ({said}); give another --ledger FILE, or restore this one"
    elif "locked" in said or "busy" in said:
        todo = f"another process has held it for over {BUSY_S:g} s; wait for it to end, then run again"
    elif "I/O" in said:
        todo = f"the disk failed or is full ({said}); check it and run the same command again, it resumes"
    else:
        todo = f"{said}; run again, or give another --ledger FILE"
    message = f"ledger {path}: {todo}"
    return DataError(message)


def is_valid(completion: Completion, bought_cap: int, cap: int | None) -> bool:
    """Whether a completion bought under one cap is what another cap would have given.

    A text that ended by itself is, under any cap that it fits in. One that was cut is only under the same cap: a
    higher one gives more of it, a lower one less. `bought_cap` and `cap` in tokens; `NO_CAP` or `None`: none.
    """
    same = bought_cap == (NO_CAP if cap is None else cap)
    if same or completion.finish == "length" or completion.reason == CUT_BEFORE_TEXT:
        return same
    if cap is None or (bought_cap != NO_CAP and cap >= bought_cap):
        return True
    if completion.usage.get("estimated"):
        written = completion.text + (completion.reasoning_content or "")
        return len(written.encode("utf-8", "surrogatepass")) <= cap  # a token is at least one byte
    return completion.usage.get("completion_tokens", cap + 1) <= cap


def row_of(key: str, cap: int | None, completion: Completion, now: float) -> tuple[Any, ...]:
    """Return the row that stores a completion."""
    usage = completion.usage
    return (
        key, completion.index, NO_CAP if cap is None else cap, completion.finish, completion.reason,
        _storable(completion.text), _storable(completion.reasoning_content), completion.logprob,
        *(usage.get(name) for name in COUNTED), now,
    )  # fmt: skip


def completion_of(key: str, row: tuple[Any, ...]) -> tuple[int, Completion]:
    """Return (cap bought with, completion) of a row of `SELECT`."""
    index, cap, finish, reason, text, reasoning, logprob, *counts = row
    completion = Completion(
        text=_restored(text) or "",
        finish=finish,
        reason=reason,
        reasoning_content=_restored(reasoning),
        usage={name: count for name, count in zip(COUNTED, counts, strict=True) if count is not None},
        logprob=logprob,
        index=index,
        request=key,
        from_ledger=True,
    )
    return cap, completion


def look_up(
    connection: sqlite3.Connection, key: str, indices: Iterable[int], cap: int | None, *, allow_failed: bool = True
) -> dict[int, Completion]:
    """Return what the file holds for these indices that is valid under `cap`; an error is no result, a refusal is."""
    wanted = set(indices)
    found: dict[int, Completion] = {}
    for row in connection.execute(SELECT, (key, min(wanted), max(wanted))):
        if row[0] not in wanted or row[2] == "error" or (not allow_failed and row[2] in ("refused", "empty")):
            continue
        bought_cap, completion = completion_of(key, row)
        if is_valid(completion, bought_cap, cap) and (completion.index not in found or bought_cap == cap):
            found[completion.index] = completion
    return found


def warn_of_network(path: Path, mounts: str | None = None) -> None:
    """Warn if the file lies on a network file system: SQLite's locks and shared memory do not hold there."""
    kind = file_system(path, mounts)
    if kind is not None and kind.startswith(NETWORK):
        message = (
            f"ledger {path}: lies on a network file system ({kind}), where SQLite is not safe; "
            "use --ledger FILE on a local disk"
        )
        warnings.warn(message, RuntimeWarning, stacklevel=3)


def file_system(path: Path, mounts: str | None = None) -> str | None:
    """Return the type of the file system that a path lies on by the mount table's text; `None`: unknown."""
    if mounts is None:
        try:
            mounts = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return None
    target = str(path.resolve())
    best, kind = "", None
    for line in mounts.splitlines():
        words = line.split(" ")
        if len(words) < 3:
            continue
        point = words[1].replace("\\040", " ")
        inside = target == point or target.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):
            best, kind = point, words[2]
    return kind


def identity() -> tuple[str, int, str]:
    """Return (host, pid, mark) of this process; a host is one system boot in one process namespace."""
    parts = [os.uname().nodename]
    for source in ("/proc/sys/kernel/random/boot_id", "/proc/self/ns/pid"):
        try:
            parts.append(Path(source).readlink().name if "/ns/" in source else Path(source).read_text().strip())
        except OSError:
            parts.append("")
    return "/".join(parts), os.getpid(), process_mark(os.getpid()) or ""


def process_mark(pid: int) -> str | None:
    """Return what tells a process from a later one of the same number; `None`: there is no such process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except OSError:
        pass
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"pragma {name}").fetchone()[0])


def _storable(text: str | None) -> str | bytes | None:
    """Return the text as SQLite can keep it: lone surrogates, which JSON may hold, as bytes."""
    if text is None or text.isascii():
        return text
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")
    return text


def _restored(stored: str | bytes | None) -> str | None:
    return stored.decode("utf-8", "surrogatepass") if isinstance(stored, bytes) else stored
