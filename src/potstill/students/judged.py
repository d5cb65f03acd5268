"""What a scorer is trained on: judged texts and judged pairs, from files of several forms.

    {"text", "scores": {term: number}}          a text and its scores
    {"texts": [a, b], "choice": 1 | -1 | 0}     a pair: the first is better, the second, neither ("term": quality)
    a line of trees.jsonl                       every judged instruction of a search

`group` names what belongs together (a question, a seed): whole groups are held out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from potstill.errors import DataError, shorten
from potstill.files import read_rows
from potstill.records import content_id

BESIDE = ("votes", "novelty")
"""Scores of a search that no judge gave."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One judgement: of a text by scores, or of two texts by a choice."""

    texts: tuple[str, ...]
    scores: Mapping[str, float] = field(default_factory=dict)
    """Of a single text."""
    choice: int | None = None
    """Of two texts: 1 the first is better, -1 the second, 0 neither."""
    term: str = "quality"
    """What the choice is about."""
    group: str = ""

    @property
    def terms(self) -> tuple[str, ...]:
        """What it says something about."""
        return tuple(self.scores) if self.choice is None else (self.term,)


def read_judged(path: str | Path) -> list[Judged]:
    """Return the judgements of a file, equal ones of one text once.

    Raises:
        DataError: A row is of no known form, or there is no judgement.
    """
    found = [one for where, row in read_rows(path) for one in judgements_of(row, where)]
    if not found:
        message = f"{path}: no judgement in it; expected rows with text and scores, texts and choice, or trees"
        raise DataError(message)
    return found


def judgements_of(row: Mapping[str, Any], where: str) -> Iterator[Judged]:
    """Yield the judgements of one row; errors as `read_judged`."""
    if isinstance(row.get("nodes"), list):
        yield from _of_tree(row)
    elif isinstance(row.get("text"), str) and isinstance(row.get("scores"), dict):
        scores = {str(term): score for term, score in row["scores"].items() if term not in BESIDE}
        if not scores or not all(isinstance(score, int | float) for score in scores.values()):
            raise _wrong(row, where)
        yield Judged(texts=(row["text"],), scores=scores, group=_group(row, row["text"]))
    elif _is_pair(row):
        term, group = str(row.get("term") or "quality"), _group(row, *row["texts"])
        yield Judged(texts=tuple(row["texts"]), choice=row["choice"], term=term, group=group)
    else:
        raise _wrong(row, where)


def terms_of(rows: Iterable[Judged]) -> tuple[str, ...]:
    """Return all terms that something is said about, in order of appearance."""
    return tuple(dict.fromkeys(term for row in rows for term in row.terms))


def _of_tree(row: Mapping[str, Any]) -> Iterator[Judged]:
    for node in row["nodes"]:
        scores = {term: score for term, score in (node.get("scores") or {}).items() if term not in BESIDE}
        if scores:
            yield Judged(texts=(str(node["text"]),), scores=scores, group=str(row.get("seed_id")))


def _is_pair(row: Mapping[str, Any]) -> bool:
    texts = row.get("texts")
    has_two = isinstance(texts, list) and len(texts) == 2 and all(isinstance(text, str) for text in texts)
    return has_two and row.get("choice") in (1, 0, -1)


def _group(row: Mapping[str, Any], *texts: str) -> str:
    return str(row.get("group") or row.get("question_id") or content_id("judged", sorted(texts)))


def _wrong(row: Mapping[str, Any], where: str) -> DataError:
    message = (
        f"{where}: found {shorten(repr(dict(row)), 100)}; expected text and scores {{term: number}}, two texts and "
        "choice 1, 0 or -1, or a line of trees.jsonl"
    )
    return DataError(message)
