"""The ledger's accounts: what it holds and what was spent, read without touching it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from potstill.errors import DataError
from potstill.teachers.storage import connect_reading, ledger_error, look_up

GROUPED = {
    "finish": "select finish, count(*) from completions group by finish order by 2 desc",
    "failures": "select finish || ':' || substr(reason, 1, instr(reason || ':', ':') - 1), count(*)"
    " from completions where finish in ('refused', 'empty', 'error') group by 1 order by 2 desc limit 20",
    "failed_attempts": "select outcome, count(*) from attempts where outcome != 'ok' group by 1 order by 2 desc",
    "models": "select model, count(*) from attempts group by model order by 2 desc limit 20",
    "endpoints": "select endpoint, count(*) from attempts group by endpoint order by 2 desc limit 20",
}
"""What is counted by value."""


class Reader:
    """A ledger opened for reading only; a file that does not exist yet holds nothing."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._connection = connect_reading(self.path) if self.path.exists() else None

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._connection is not None:
            self._connection.close()

    def have(self, key: str, indices: Iterable[int], cap: int | None) -> set[int]:
        """Return which of these completions are already bought."""
        if self._connection is None:
            return set()
        return set(look_up(self._connection, key, indices, cap))

    def spent(self, run: str) -> dict[str, float]:
        """Return {tokens, money} that a run has spent."""
        if self._connection is None:
            return {"tokens": 0, "money": 0.0}
        query = (
            "select coalesce(sum(coalesce(prompt_tokens, 0) + coalesce(completion_tokens, 0)), 0),"
            " coalesce(sum(money), 0.0) from attempts where run = ?"
        )
        tokens, money = self._connection.execute(query, (run,)).fetchone()
        return {"tokens": tokens, "money": money}

    def summary(self) -> dict[str, Any]:
        """Return the totals of the file; as `summarise`."""
        connection = self._connection
        assert connection is not None, "summarise has checked that the file exists"
        one = connection.execute(
            "select count(*), coalesce(sum(billed), 0), coalesce(sum(prompt_tokens), 0),"
            " coalesce(sum(completion_tokens), 0), coalesce(sum(money), 0.0), coalesce(sum(estimated), 0) from attempts"
        ).fetchone()
        names = ("requests", "billed_requests", "prompt_tokens", "completion_tokens", "money", "estimated_requests")
        facts: dict[str, Any] = {"ledger": str(self.path), **dict(zip(names, one, strict=True))}
        facts["tokens"] = facts["prompt_tokens"] + facts["completion_tokens"]
        facts["completions"] = connection.execute(
            "select count(*) from completions where finish not in ('refused', 'empty', 'error')"
        ).fetchone()[0]
        facts |= dict(zip(("duplicates", "duplicates_after_broken_answers"), self._duplicates(), strict=True))
        for name, query in GROUPED.items():
            facts[name] = dict(connection.execute(query).fetchall())
        if connection.execute("select count(*) from sqlite_master where name = 'batches'").fetchone()[0]:
            facts["batches"] = dict(connection.execute("select state, count(*) from batches group by state").fetchall())
        return facts

    def _duplicates(self) -> tuple[int, int]:
        """Return completions paid for beyond once, and how many of these followed a paid answer that was unreadable."""
        assert self._connection is not None, "as in summary"
        query = (
            "select coalesce(sum(times - 1), 0), coalesce(sum(min(times - 1, broken)), 0) from ("
            " select count(*) as times, sum(outcome != 'ok') as broken from attempts, json_each(indices)"
            " where billed group by attempts.key, cap, json_each.value having times > 1)"
        )
        row = self._connection.execute(query).fetchone()
        return int(row[0]), int(row[1])


def summarise(path: str | Path) -> dict[str, Any]:
    """Return what a ledger holds: requests, tokens, money, duplicates, failures by reason.

    `duplicates` counts completions paid for more than once; `duplicates_after_broken_answers` those of them where an
    earlier answer had been paid and could not be read (cut JSON, a dropped connection, a timeout).

    Raises:
        DataError: The file is missing or is not a ledger.
    """
    path = Path(path)
    if not path.exists():
        message = f"ledger {path}: no such file; give the ledger of an earlier run"
        raise DataError(message)
    with Reader(path) as reader:
        try:
            return reader.summary()
        except sqlite3.Error as cause:
            raise ledger_error(path, cause) from cause
