"""What the index holds of a record: one entry for each line of a run's files, several for a tree."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from potstill.errors import DataError
from potstill.evaluation.page.gathering import read_recipe
from potstill.records import rationale_from

SEARCHED_CHARACTERS = 50_000
"""Longer texts are searched up to here."""
PASSED, LOW, REFUSED, UNJUDGED = "PASSED", "LOW", "REFUSED", "UNJUDGED"
"""What became of an instruction: its judge let it pass, its judge put it below a floor, a rule refused it before any
judge, or no judgement of it could be read."""
FLOOR = 2.5
"""The least quality that passes, where the recipe does not say (`evolve.floors`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One record, as lists and filters know it."""

    id: str
    problem: str
    """The problem that it belongs to; its own id, of a problem."""
    kind: str
    text: str
    """What is searched."""
    parent: str | None = None
    author: str = ""
    number: int = 0
    finish: str = ""
    where: tuple[str, str] | None = None
    """Split and source; `None`: the problem's."""
    tokens: int = 0
    """Completion tokens: what writing it cost."""
    status: str = ""
    answer: str | None = None
    dropped: str = ""
    priority: float = 0.0


def problem_entry(row: Mapping[str, Any]) -> Entry:
    """Return the entry of a problem."""
    id, parent = str(row["id"]), row.get("parent_id")
    where = (searchable(str(row.get("split") or "train")), searchable(str(row.get("source") or "")))
    return Entry(
        id=id, problem=id, parent=None if parent is None else str(parent), kind=str(row.get("answer_type") or "text"),
        text=f"{row['question']}\n{row.get('answer') or ''}", where=where,
    )  # fmt: skip


def rationale_entry(row: dict[str, Any]) -> Entry:
    """Return the entry of a rationale or prediction."""
    text = str(row["text"])
    if row.get("reasoning_content"):
        text = f"{row['reasoning_content']}\n{text}"
    tokens = (row.get("usage") or {}).get("completion_tokens")
    return Entry(
        id=str(row["id"]) if "id" in row else rationale_from(row).id,
        problem=str(row["problem_id"] if "problem_id" in row else row["question_id"]), kind=str(row["kind"]),
        number=int(row.get("index") or 0), author=searchable(str(row.get("author") or "")), text=text,
        finish=str(row.get("finish") or ""), tokens=tokens if isinstance(tokens, int) else 0,
    )  # fmt: skip


def example_entry(row: Mapping[str, Any]) -> Entry:
    """Return the entry of a training example."""
    parent = row.get("rationale_id")
    return Entry(
        id=str(row["id"]), problem=str(row.get("group") or ""), parent=None if parent is None else str(parent),
        kind=str(row["task"]), text=str(row["target"]),
    )  # fmt: skip


def tree_entries(row: Mapping[str, Any], floor: float = FLOOR) -> Iterator[Entry]:
    """Yield the entries of a tree's rewritten instructions; those nearest to the judge's floor are the least certain.

    Args:
        floor: The quality below which the judge's word refuses a text.
    """
    seed = str(row["seed_id"])
    for number, node in enumerate(row["nodes"]):
        if not number:
            continue  # the seed is one of the problems
        quality = (node.get("scores") or {}).get("quality")
        status = _node_status(node)
        near = 0.0 if quality is None else 1 / (1 + abs(float(quality) - floor))
        yield Entry(
            id=node_id(seed, number), problem=seed, parent=node_id(seed, int(node["parent"])),
            kind=str(node.get("action") or ""), number=number, text=str(node.get("text") or ""), status=status,
            answer=None if node.get("value") is None else f"{float(node['value']):.2f}",
            dropped=str(node.get("refused") or ""), priority=near if status in (PASSED, LOW) else 0.0,
        )  # fmt: skip


def node_id(seed: str, number: int) -> str:
    """Return the id of an instruction of a tree."""
    return f"{seed}#{number}"


def judged_floor(folder: Path) -> float:
    """Return the quality that an instruction must reach in a run."""
    try:
        floors = (read_recipe(folder).get("evolve") or {}).get("floors") or {}
    except DataError:  # a damaged recipe is the run's trouble; its texts can be read all the same
        return FLOOR
    floor = floors.get("quality", FLOOR)
    return float(floor) if isinstance(floor, int | float) else FLOOR


def searchable(text: str) -> str:
    """Return what SQLite can hold of a text: no broken surrogates, no null bytes, not without end."""
    return text[:SEARCHED_CHARACTERS].encode("utf-8", "replace").decode("utf-8").replace("\x00", " ")


def _node_status(node: Mapping[str, Any]) -> str:
    refused = str(node.get("refused") or "")
    if refused:
        return LOW if refused.startswith("low_") else REFUSED
    return UNJUDGED if node.get("value") is None else PASSED
