"""The ledger: every completion bought, durable before it is used, and never bought twice.

    claim ──► (send, by the one that holds the claim) ──► store ──► acknowledged after the commit

One writer thread owns the connection. Claims and purchases that wait together go into one transaction (group commit),
so durability costs a fraction of a commit each. A claim is a lease: its holder keeps it alive from the writer thread;
a dead holder's claim is taken over. A refusal or an empty answer is on record as what it is; an error is no result,
so a later run asks again. Not for network file systems: SQLite's WAL needs one host.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from potstill.errors import DataError
from potstill.teachers.accounts import Reader
from potstill.teachers.accounts import summarise as summarise
from potstill.teachers.base import Completion
from potstill.teachers.storage import (
    ATTEMPT,
    INSERT,
    NO_CAP,
    connect,
    identity,
    ledger_error,
    look_up,
    process_mark,
    row_of,
)

LEASE_S = 30.0
"""How long a claim outlives the last sign of life of its holder."""
GROUP_S = 0.008
"""How long the writer waits for company before it commits."""

STORED = "select key, idx from completions where key in ({})"
CLAIMED = "select key, idx, expires, host, pid, mark from claims left join owners using (owner) where key in ({})"
MOST_KEYS = 500
"""Keys in one statement."""


@dataclass(slots=True)
class Claim:
    """What came of asking for some completions."""

    held: dict[int, Completion]
    """Already bought."""
    claimed: list[int]
    """Ours to buy now: store or release each."""
    busy: list[int]
    """Being bought by another; ask again."""


@dataclass(slots=True, kw_only=True)
class Attempt:
    """One request that was sent, for the books."""

    key: str
    cap: int | None
    indices: Sequence[int]
    outcome: str
    """`ok`, or the code of what went wrong; empty: nothing was sent, and nothing is written but the completions."""
    billed: bool
    usage: Mapping[str, int] = field(default_factory=dict)
    money: float = 0.0


@dataclass(frozen=True, slots=True)
class Labels:
    """What attempts of one teacher have in common."""

    run: str | None
    endpoint: str
    model: str


@dataclass(slots=True)
class _Job:
    kind: str
    key: str
    indices: Sequence[int]
    cap: int | None = None
    allow_failed: bool = True
    attempt: tuple[Any, ...] | None = None
    rows: Sequence[tuple[Any, ...]] = ()
    done: asyncio.Future[Any] | None = None
    passed: threading.Event | None = None
    statement: tuple[str, Sequence[Any]] | None = None


class Ledger:
    """One ledger file, open for writing. Used in a `with` statement; its coroutines may run in any event loop."""

    def __init__(self, path: str | Path, *, lease_s: float = LEASE_S) -> None:
        self.path = Path(path)
        self.owner = uuid.uuid4().hex
        self._lease_s = lease_s
        self._jobs: list[_Job] = []
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._closing = False
        self._connection: sqlite3.Connection | None = None
        self._thread: threading.Thread | None = None

    def __repr__(self) -> str:
        return f"Ledger({str(self.path)!r})"

    def __enter__(self) -> Ledger:
        self._connection = connect(self.path)
        try:
            self._sign_in(self._connection)
        except sqlite3.Error as cause:
            self._connection.close()
            raise ledger_error(self.path, cause) from cause
        self._thread = threading.Thread(target=self._work, name="potstill-ledger", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        assert self._thread is not None, "a Ledger is used in a with statement"
        with self._lock:
            self._closing = True
        self._wake.set()
        self._thread.join()

    async def claim(self, key: str, indices: Sequence[int], cap: int | None, *, allow_failed: bool = True) -> Claim:
        """Claim what is not yet bought of these indices, in one transaction.

        Args:
            key: The request's key.
            indices: Which completions of it.
            cap: The most tokens of one completion; `None`: no cap.
            allow_failed: Take a recorded refusal or empty answer as the result; else it is claimed again.

        Raises:
            DataError: The ledger cannot be written.
        """
        try:
            return await self._ask(_Job("claim", key, indices, cap, allow_failed))  # type: ignore[no-any-return]
        except asyncio.CancelledError:
            # The writer may have granted it, and would keep it alive for a caller who is gone. If it has not, it sees
            # the cancelled future and grants nothing, also where claim and release fall into one transaction.
            self.release(key, indices)
            raise

    async def store(self, attempt: Attempt, completions: Sequence[Completion], labels: Labels) -> None:
        """Store what a request brought and end the claims on it; returns when it is on disk.

        Raises:
            DataError: The ledger cannot be written.
        """
        now = time.time()
        rows = [row_of(attempt.key, attempt.cap, completion, now) for completion in completions]
        indices = [completion.index for completion in completions]
        row = _attempt_row(attempt, labels, now) if attempt.outcome else None
        await self._ask(_Job("store", attempt.key, indices, attempt=row, rows=rows))

    def note(self, attempt: Attempt, labels: Labels) -> None:
        """Put an attempt without a result into the books, without waiting."""
        self._put(_Job("note", attempt.key, (), attempt=_attempt_row(attempt, labels, time.time())))

    def release(self, key: str, indices: Sequence[int]) -> None:
        """End claims without a result, without waiting; closing the ledger ends them all."""
        if not self._closing:
            self._put(_Job("release", key, indices))

    async def execute(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run a statement on the ledger's file and return its rows; it is on disk by then.

        Raises:
            DataError: The ledger cannot be written.
        """
        return await self._ask(_Job("execute", "", (), statement=(statement, values)))  # type: ignore[no-any-return]

    def spent(self, run: str) -> dict[str, float]:
        """Return {tokens, money} that a run has spent so far, by this file."""
        self.flush()
        with Reader(self.path) as reader:
            return reader.spent(run)

    def have(self, key: str, indices: Sequence[int], cap: int | None) -> set[int]:
        """Return which of these completions are already bought."""
        self.flush()
        with Reader(self.path) as reader:
            return reader.have(key, indices, cap)

    def flush(self) -> None:
        """Wait until everything handed over so far is committed, or has failed; blocks for a few milliseconds."""
        passed = threading.Event()
        self._put(_Job("flush", "", (), passed=passed))
        passed.wait()

    async def _ask(self, job: _Job) -> Any:
        job.done = asyncio.get_running_loop().create_future()
        self._put(job)
        return await job.done

    def _put(self, job: _Job) -> None:
        with self._lock:
            if self._closing or self._thread is None:
                message = f"ledger {self.path}: not open; use it inside its with statement"
                raise DataError(message)
            self._jobs.append(job)
            is_first = len(self._jobs) == 1
        if is_first:  # the writer is asleep, or has the wake-up before it empties the list
            self._wake.set()

    def _work(self) -> None:
        """Commit what waits, keep the claims alive; the body of the writer thread."""
        connection = self._connection
        assert connection is not None, "the thread starts after the connection is open"
        renewed = time.monotonic()
        while True:
            if self._wake.wait(self._lease_s / 3) and not self._closing:
                time.sleep(GROUP_S)
            with self._lock:
                jobs, self._jobs = self._jobs, []
                self._wake.clear()
                closing = self._closing
            if jobs:
                self._commit(connection, jobs)
            if time.monotonic() - renewed > self._lease_s / 3:
                renewed = time.monotonic()
                self._renew(connection)
            if closing:
                self._sign_out(connection)
                return

    def _commit(self, connection: sqlite3.Connection, jobs: Sequence[_Job]) -> None:
        """Run jobs in one transaction and hand out their results; on failure all of them get the error."""
        results: list[Any] = []
        try:
            # A claim alone must be seen by others but need not survive power loss: it spares a sync.
            is_durable = any(job.kind in ("store", "note", "execute") for job in jobs)
            connection.execute(f"pragma synchronous = {'full' if is_durable else 'normal'}")
            connection.execute("begin immediate")
            self._write(connection, jobs)
            results = [*self._claim_all(connection, jobs)]
            for place, job in enumerate(jobs):
                if job.statement is not None:
                    results[place] = connection.execute(*job.statement).fetchall()
            connection.execute("commit")
        except Exception as cause:  # noqa: BLE001 - handed to everyone who waits; the thread must outlive it
            if connection.in_transaction:
                connection.execute("rollback")
            results = [ledger_error(self.path, cause)] * len(jobs)
        _hand_out(jobs, results)

    def _write(self, connection: sqlite3.Connection, jobs: Sequence[_Job]) -> None:
        """Write attempts and completions and end claims: one statement for all jobs of each kind."""
        attempts = [job.attempt for job in jobs if job.attempt is not None]
        ended = [(job.key, index, self.owner) for job in jobs if job.kind != "claim" for index in job.indices]
        connection.executemany(ATTEMPT, attempts)
        connection.executemany(INSERT, [row for job in jobs for row in job.rows])
        connection.executemany("delete from claims where key = ? and idx = ? and owner = ?", ended)

    def _claim_all(self, connection: sqlite3.Connection, jobs: Sequence[_Job]) -> list[Claim | None]:
        """Answer the claims among the jobs in their order, after what was written with them."""
        keys = list({job.key for job in jobs if job.kind == "claim"})
        stored = {row[:2] for row in _rows_of(connection, STORED, keys)} if keys else set()
        taken = {row[:2] for row in _rows_of(connection, CLAIMED, keys) if self._is_alive(*row[2:])} if keys else set()
        new: list[tuple[str, int]] = []
        claims: list[Claim | None] = []
        for job in jobs:
            if job.kind != "claim" or (job.done is not None and job.done.cancelled()):
                claims.append(None)
                continue
            known = [index for index in job.indices if (job.key, index) in stored]
            held = look_up(connection, job.key, known, job.cap, allow_failed=job.allow_failed) if known else {}
            missing = [index for index in job.indices if index not in held]
            free = [index for index in missing if (job.key, index) not in taken]
            claims.append(Claim(held, free, [index for index in missing if (job.key, index) in taken]))
            taken.update((job.key, index) for index in free)
            new += [(job.key, index) for index in free]
        connection.executemany("insert or replace into claims values (?, ?, ?)", ((*pair, self.owner) for pair in new))
        return claims

    def _is_alive(self, expires: float | None, host: str, pid: int, mark: str) -> bool:
        """Whether the holder of a claim still lives: on this host by its process, elsewhere by its lease."""
        if expires is None or expires < time.time():
            return False
        return host != self._identity[0] or process_mark(pid) == mark

    def _sign_in(self, connection: sqlite3.Connection) -> None:
        """Announce this owner and clear away the claims of the dead."""
        self._identity = identity()
        connection.execute("begin immediate")
        for owner, *life in connection.execute("select owner, expires, host, pid, mark from owners").fetchall():
            if not self._is_alive(*life):
                connection.execute("delete from owners where owner = ?", (owner,))
        connection.execute("delete from claims where owner not in (select owner from owners)")
        self._announce(connection)
        connection.execute("commit")

    def _announce(self, connection: sqlite3.Connection) -> None:
        values = (self.owner, *self._identity, time.time() + self._lease_s)
        connection.execute("insert or replace into owners values (?, ?, ?, ?, ?)", values)

    def _renew(self, connection: sqlite3.Connection) -> None:
        try:
            self._announce(connection)
        except sqlite3.Error:  # a full disk meets the next purchase, which reports it; the process check still holds
            return

    def _sign_out(self, connection: sqlite3.Connection) -> None:
        try:
            connection.execute("begin immediate")
            connection.execute("delete from claims where owner = ?", (self.owner,))
            connection.execute("delete from owners where owner = ?", (self.owner,))
            connection.execute("commit")
        except sqlite3.Error:  # what stays behind is taken over by the process check or the lease
            return
        finally:
            connection.close()


class NoLedger:
    """Books that keep nothing: every completion is bought anew."""

    async def claim(self, key: str, indices: Sequence[int], cap: int | None, *, allow_failed: bool = True) -> Claim:
        """Claim everything."""
        return Claim({}, list(indices), [])

    async def store(self, attempt: Attempt, completions: Sequence[Completion], labels: Labels) -> None:
        """Keep nothing."""

    def note(self, attempt: Attempt, labels: Labels) -> None:
        """Keep nothing."""

    def release(self, key: str, indices: Sequence[int]) -> None:
        """Keep nothing."""


def default_ledger_path() -> Path:
    """Return the ledger that is used where none is named: in the user's cache folder."""
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "potstill" / "ledger.sqlite"
    cache = os.environ.get("XDG_CACHE_HOME", "")  # the platform's own name for that folder, not an option of ours
    return (Path(cache) if Path(cache).is_absolute() else Path.home() / ".cache") / "potstill" / "ledger.sqlite"


def _attempt_row(attempt: Attempt, labels: Labels, now: float) -> tuple[Any, ...]:
    usage = attempt.usage
    return (
        now, labels.run, labels.endpoint, labels.model, attempt.key, NO_CAP if attempt.cap is None else attempt.cap,
        f"[{','.join(map(str, attempt.indices))}]", attempt.outcome, int(attempt.billed), usage.get("prompt_tokens", 0),
        usage.get("completion_tokens", 0), usage.get("estimated", 0), attempt.money,
    )  # fmt: skip


def _rows_of(connection: sqlite3.Connection, query: str, keys: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a query over many keys."""
    for start in range(0, len(keys), MOST_KEYS):
        part = keys[start : start + MOST_KEYS]
        yield from connection.execute(query.format(",".join("?" * len(part))), part)


def _hand_out(jobs: Sequence[_Job], results: Sequence[Any]) -> None:
    """Give results to the futures that wait, one call per event loop."""
    loops: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], Any]]] = {}
    for job, result in zip(jobs, results, strict=True):
        if job.passed is not None:
            job.passed.set()
        if job.done is not None:
            loops.setdefault(job.done.get_loop(), []).append((job.done, result))
    for loop, waiting in loops.items():
        try:
            loop.call_soon_threadsafe(_resolve, waiting)
        except RuntimeError:  # that loop has ended; nobody waits any more, and the rows are stored
            continue


def _resolve(waiting: Sequence[tuple[asyncio.Future[Any], Any]]) -> None:
    for future, result in waiting:
        if future.done():
            continue
        if isinstance(result, Exception):
            future.set_exception(result)
        else:
            future.set_result(result)
