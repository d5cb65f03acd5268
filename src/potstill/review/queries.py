"""Ask the index: a page of a filtered list, one record, all records of a problem, the values of each filter.

Every question is answered from the index and at most a page of records read by byte offset; none reads a whole file.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from potstill.errors import DataError, shorten
from potstill.review.entries import searchable
from potstill.review.store import STAGES, Row, path_of, read_node, read_row, verdicts_name

PAGE = 40
"""Records on one page of a list."""
COUNTED = 10_000
"""Matches are counted up to here; more are "more than"."""
SIBLINGS = 60
"""Records of one problem and stage that a page shows."""
EQUALS = ("kind", "status", "author", "job", "split", "source", "dropped", "finish")
"""Filters that compare one column of the index."""
REVIEWS = ("none", "accepted", "rejected", "edited", "disputed", "any")
ORDERS: dict[str, tuple[tuple[str, bool], ...]] = {
    "file": (("n", True),),
    "next": (("priority", False), ("n", True)),
    "calibration": (("draw", True), ("n", True)),
    "shortest": (("words", True), ("n", True)),
    "longest": (("words", False), ("n", False)),
    "costliest": (("tokens", False), ("n", False)),
}
"""What a list can be ordered by: next puts uncertain and disagreeing ones first, calibration is a fixed random order.
Each is a column of the index and whether it ascends."""


@dataclass(frozen=True, slots=True)
class Filters:
    """What a list shows."""

    stage: str = "rationales"
    equals: tuple[tuple[str, str], ...] = ()
    review: str = ""
    is_disputed: bool = False
    is_judged: bool = False
    """Only what a judge has said something of."""
    shortest: int | None = None
    longest: int | None = None
    cheapest: int | None = None
    """Completion tokens at least."""
    dearest: int | None = None
    words: str = ""
    """What the texts must contain: all of these words, or "phrases in quotes"; the last may be the beginning of one."""
    order: str = "file"
    page: int = 1

    @classmethod
    def read(cls, query: Mapping[str, str]) -> Filters:
        """Return the filters that an address names.

        Raises:
            DataError: One of them has a value that it cannot have.
        """
        stage = _one_of(query, "stage", STAGES)
        return cls(
            stage=stage,
            equals=tuple((name, query[name]) for name in EQUALS if query.get(name)),
            review=_one_of(query, "review", ("", *REVIEWS)),
            is_disputed=bool(query.get("disputed")),
            is_judged=bool(query.get("judged")),
            cheapest=_number(query, "cheapest"),
            dearest=_number(query, "dearest"),
            shortest=_number(query, "shortest"),
            longest=_number(query, "longest"),
            words=query.get("q", "")[:200],
            order=_one_of(query, "order", tuple(ORDERS)),
            page=_number(query, "page") or 1,
        )

    def address(self, **changes: Any) -> str:
        """Return the list's address with some filters changed; an empty value takes one off."""
        named: dict[str, Any] = {
            "stage": self.stage, **dict(self.equals), "review": self.review, "disputed": 1 if self.is_disputed else "",
            "judged": 1 if self.is_judged else "", "shortest": self.shortest, "longest": self.longest,
            "cheapest": self.cheapest, "dearest": self.dearest, "q": self.words,
            "order": self.order if self.order != "file" else "", "page": self.page if self.page > 1 else "", **changes,
        }  # fmt: skip
        return "/?" + urlencode({key: value for key, value in named.items() if value not in ("", None)})


@dataclass(frozen=True, slots=True)
class Found:
    """One page of a list."""

    rows: list[sqlite3.Row]
    count: int
    """How many there are in all, at most `COUNTED` + 1."""


def find(index: sqlite3.Connection, filters: Filters) -> Found:
    """Return one page of the records that pass the filters."""
    tables, conditions, values = _where(filters)
    order = _order_by(filters.order)
    if tables.startswith("texts") and filters.order == "file":
        order = "texts.rowid"  # the order in which the search finds them: it can stop when the page is full
    body = f"FROM {tables} WHERE {' AND '.join(conditions)}"
    at = PAGE * (filters.page - 1)
    found = index.execute(f"SELECT items.n {body} ORDER BY {order} LIMIT ? OFFSET ?", (*values, PAGE, at)).fetchall()
    rows = [index.execute("SELECT * FROM items WHERE n = ?", (n,)).fetchone() for (n,) in found]
    if len(rows) < PAGE and (rows or filters.page == 1):
        return Found(rows, at + len(rows))
    (count,) = index.execute(f"SELECT count(*) FROM (SELECT 1 {body} LIMIT {COUNTED + 1})", values).fetchone()
    return Found(rows, int(count))


def neighbour(index: sqlite3.Connection, filters: Filters, n: int, *, is_back: bool = False) -> int | None:
    """Return the record after (before) one in a list, wherever its decisions have moved it; `None` at the end."""
    here = index.execute("SELECT * FROM items WHERE n = ?", (n,)).fetchone()
    if here is None:
        return None
    tables, conditions, values = _where(filters)
    (first, ascends), *rest = ORDERS[filters.order]
    beyond = f"items.{first} {'>' if ascends != is_back else '<'} ?"
    values = [*values, here[first]]
    if rest:
        sign = ">" if rest[0][1] != is_back else "<"
        beyond = f"({beyond} OR items.{first} = ? AND items.n {sign} ?)"
        values += [here[first], n]
    order = _order_by(filters.order, is_back=is_back)
    body = f"FROM {tables} WHERE {' AND '.join([*conditions, beyond])} ORDER BY {order} LIMIT 1"
    row = index.execute(f"SELECT items.n {body}", values).fetchone()
    return int(row[0]) if row is not None else None


def facets(index: sqlite3.Connection, stage: str) -> dict[str, dict[str, int]]:
    """Return filter -> value -> number of records of a stage, the most frequent first."""
    found: dict[str, dict[str, int]] = {}
    for row in index.execute("SELECT name, value, count FROM facets WHERE stage = ? ORDER BY count DESC", (stage,)):
        found.setdefault(row["name"], {})[row["value"]] = row["count"]
    return found


def sizes(index: sqlite3.Connection) -> dict[str, int]:
    """Return stage -> its number of records that are indexed."""
    found = dict(index.execute("SELECT stage, count FROM facets WHERE name = 'all'").fetchall())
    found = found or dict(index.execute("SELECT stage, count(*) FROM items GROUP BY stage").fetchall())
    return {stage: found.get(stage, 0) for stage in STAGES}


def item(index: sqlite3.Connection, n: int) -> sqlite3.Row:
    """Return one record's row of the index.

    Raises:
        DataError: It has gone, since its file was written anew.
    """
    row = index.execute("SELECT * FROM items WHERE n = ?", (n,)).fetchone()
    if row is None:
        message = f"item {n}: not in this run's index; its file was written anew or it never was: go back to the list"
        raise DataError(message)
    return row  # type: ignore[no-any-return]


def of_problem(index: sqlite3.Connection, problem: str, stage: str) -> list[sqlite3.Row]:
    """Return the records of one stage that belong to a problem; students before training come first."""
    rows = index.execute(
        "SELECT * FROM items INDEXED BY by_problem WHERE problem = ? AND stage = ?"
        " ORDER BY job != 'untrained', job, kind, number, n LIMIT ?",
        (problem, stage, SIBLINGS),
    )
    return rows.fetchall()


def votes(index: sqlite3.Connection, problem: str) -> list[sqlite3.Row]:
    """Return how often each answer was given for a problem, by stage, job and kind; the most frequent first."""
    return index.execute(
        "SELECT stage, job, kind, coalesce(answer, '') AS answer, status, count(*) AS count FROM items"
        " INDEXED BY by_problem WHERE problem = ? AND stage IN ('rationales', 'predictions')"
        " GROUP BY stage, job, kind, 4, status ORDER BY stage DESC, job, kind, count DESC LIMIT 300",
        (problem,),
    ).fetchall()


def family(index: sqlite3.Connection, id: str, limit: int = 200) -> list[tuple[int, sqlite3.Row]]:
    """Return the tree of problems that one belongs to as (depth, row), from its origin, each before its children."""
    root = problem_item(index, id)
    seen = {id}
    while root is not None and root["parent"] and root["parent"] not in seen:
        seen.add(root["parent"])
        above = problem_item(index, root["parent"])
        if above is None:
            break
        root = above
    found: list[tuple[int, sqlite3.Row]] = []
    left = [(0, root)] if root is not None else []
    known: set[str] = set()
    while left and len(found) < limit:
        depth, row = left.pop()
        if row["id"] in known:
            continue
        known.add(row["id"])
        found.append((depth, row))
        children = index.execute(
            "SELECT * FROM items INDEXED BY by_parent WHERE parent = ? AND stage = 'problems' ORDER BY n DESC",
            (row["id"],),
        )
        left += [(depth + 1, child) for child in children]
    return found


def problem_item(index: sqlite3.Connection, id: str) -> sqlite3.Row | None:
    """Return the index row of a problem."""
    return index.execute("SELECT * FROM items INDEXED BY by_id WHERE id = ? AND stage = 'problems'", (id,)).fetchone()  # type: ignore[no-any-return]


def claims_on(index: sqlite3.Connection, stage: str, record: str) -> list[sqlite3.Row]:
    """Return what each judge said of a record."""
    query = "SELECT * FROM claims INDEXED BY claimed WHERE record = ? AND stage = ? ORDER BY judge"
    return index.execute(query, (record, stage)).fetchall()


def tree_items(index: sqlite3.Connection, seed: str, job: str) -> dict[int, sqlite3.Row]:
    """Return number -> index row of the instructions of one tree."""
    query = "SELECT * FROM items INDEXED BY by_problem WHERE problem = ? AND stage = 'instructions' AND job = ?"
    return {row["number"]: row for row in index.execute(query, (seed, job))}


def text_of(folder: Path, row: Row) -> dict[str, Any]:
    """Return a record as its file holds it; of a tree's line the one instruction."""
    if row["stage"] == "instructions":
        return read_node(folder, row)
    return read_row(folder, row["file"], row["start"], row["length"])


def verdict_of(folder: Path, row: Row) -> dict[str, Any]:
    """Return the verdict on a rationale as its file holds it; empty where there is none."""
    if row["judged"] is None or not row["status"]:
        return {}
    name = verdicts_name(row["stage"], row["job"])
    path = path_of(folder, name)
    if not path.exists():
        return {}
    with path.open("rb") as file:
        file.seek(row["judged"])
        length = len(file.readline())
    return read_row(folder, name, row["judged"], length)


def match_expression(words: str) -> str:
    """Return an FTS5 expression for what a person typed; nothing that they type is its syntax.

    >>> match_expression('so "the answer" is ni')
    '"so" "the answer" "is" "ni"*'
    """
    parts = [phrase or word for phrase, word in re.findall(r'"([^"]+)"|([^\s"]+)', searchable(words))]
    quoted = [f'"{part}"' for part in parts if re.search(r"\w", part)]
    if quoted and not words.rstrip().endswith('"'):
        quoted[-1] += "*"
    return " ".join(quoted)


def _order_by(name: str, *, is_back: bool = False) -> str:
    return ", ".join(f"items.{column}{'' if ascends != is_back else ' DESC'}" for column, ascends in ORDERS[name])


def _where(filters: Filters) -> tuple[str, list[str], list[Any]]:
    is_filtered = any((filters.equals, filters.is_disputed, filters.is_judged, filters.longest, filters.dearest))
    is_sample = filters.order == "calibration" and not is_filtered
    tables = f"items INDEXED BY {'by_draw' if is_sample else 'listing'}"
    conditions = ["items.stage = ?"]
    values: list[Any] = [filters.stage]
    for name, value in filters.equals:
        conditions.append(f"items.{name} = ?")
        values.append(searchable(value))
    if filters.review:
        conditions.append(
            {"none": "items.review = ''", "any": "items.review != ''"}.get(filters.review, "items.review = ?")
        )
        values += [filters.review] if filters.review not in ("none", "any") else []
    if filters.is_disputed:
        conditions.append("items.is_disputed = 1")
    if filters.is_judged:
        conditions.append("items.status != ''")
    for column, bound, sign in (
        ("words", filters.shortest, ">="), ("words", filters.longest, "<="), ("tokens", filters.cheapest, ">="),
        ("tokens", filters.dearest, "<="),
    ):  # fmt: skip
        if bound is not None:
            conditions.append(f"items.{column} {sign} ?")
            values.append(bound)
    if filters.words:
        expression = match_expression(filters.words)
        if not expression:
            return tables, [*conditions, "0"], values
        tables = "texts CROSS JOIN items ON items.n = texts.rowid"
        conditions.insert(0, "texts MATCH ?")
        values.insert(0, expression)
    return tables, conditions, values


def _one_of(query: Mapping[str, str], name: str, allowed: tuple[str, ...]) -> str:
    value = query.get(name) or allowed[0]
    if value not in allowed:
        message = f"{name}: got {shorten(repr(value), 40)}; expected one of {', '.join(one for one in allowed if one)}"
        raise DataError(message)
    return value


def _number(query: Mapping[str, str], name: str) -> int | None:
    value = query.get(name) or ""
    if not value:
        return None
    if not re.fullmatch(r"[0-9]{1,9}", value):
        message = f"{name}: got {shorten(repr(value), 40)}; expected a whole number of at most nine digits"
        raise DataError(message)
    return int(value)
