"""Candidates: what came of every edit that was asked for, on disk as it happened, and the problems they become.

One JSON line per candidate in `candidates.jsonl`. A candidate that is judged gets a second line under the same id, and
the later line counts; when all are decided, the file is written anew with one line each, in the order of the problems.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from dataclasses import field as made
from pathlib import Path
from typing import Any

from potstill.errors import DataError
from potstill.files import read_rows, write_atomic
from potstill.generators.edits import fields_of, rendered
from potstill.generators.filters import Case
from potstill.generators.jury import Vote
from potstill.records import Problem, problem_from

KEPT = "kept"
"""The reason of a candidate that becomes a problem."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One edit that was asked for, and what is known of it by now."""

    id: str
    problem_id: str
    role: str
    kind: str
    old: str
    """The label of the original."""
    new: str
    """The wanted label; of a word problem the computed answer, empty before it is known."""
    author: str
    asked: str
    """What names the request: the same request is not made again."""
    reason: str = ""
    """Why it is refused, or `kept`; empty: not decided yet."""
    detail: str = ""
    field: str = ""
    edits: tuple[tuple[str, str], ...] = ()
    text: str = ""
    """The field after the edit; empty where no text could be made."""
    fault: str = ""
    """Why there is no text: what the reply lacks."""
    metrics: Mapping[str, float] = made(default_factory=dict)
    votes: tuple[Vote, ...] = ()
    jury: str = ""
    """What names the jury that cast the votes; empty: it was not judged."""

    @property
    def counts(self) -> dict[str, int]:
        """Return the votes by label, unread ones under their fault."""
        found: dict[str, int] = {}
        for vote in self.votes:
            name = vote.label if vote.label is not None else vote.fault
            found[name] = found.get(name, 0) + 1
        return found

    def case(self, problem: Problem) -> Case:
        """Return what the filters look at."""
        return Case(problem, self.field, self.text, self.new, self.role, self.kind)


def as_problem(original: Problem, candidate: Candidate, form: str | None) -> Problem | None:
    """Return a candidate as a problem whose parent is its original; `None` where its question cannot be put together.

    Options, labels, source, split and family are the original's.
    """
    edited = {**fields_of(original), candidate.field: candidate.text}
    question = rendered(original, edited, form)
    if question is None:
        return None
    family = {"family": original.meta["family"]} if original.meta.get("family") else {}
    return problem_from(
        {
            "question": question,
            "answer": candidate.new or None,
            "answer_type": original.answer_type,
            "options": list(original.options),
            "labels": list(original.labels),
            "fields": edited if original.fields else {},
            "media": list(original.media),
            "source": original.source,
            "split": original.split,
            "parent_id": original.id,
            "meta": {**family, "counterfactual": facts(candidate)},
        }
    )


def facts(candidate: Candidate) -> dict[str, Any]:
    """Return what a counterfactual problem tells of how it came."""
    return {
        "role": candidate.role,
        "field": candidate.field,
        "kind": candidate.kind,
        "edits": [list(edit) for edit in candidate.edits],
        "from": candidate.old,
        "to": candidate.new,
        "distance": candidate.metrics.get("distance"),
        "edited_tokens": int(candidate.metrics.get("edits", 0)),
        "author": candidate.author,
        "votes": candidate.counts,
        "ambiguous": candidate.metrics.get("ambiguous", 0.0),
        "pair": candidate.problem_id,
    }


def line_of(candidate: Candidate) -> str:
    """Return a candidate as a line of JSON with its line end; what is empty is left out."""
    row = _without_empty(asdict(candidate))
    if candidate.votes:
        row["votes"] = [_without_empty(asdict(vote)) for vote in candidate.votes]
    return json.dumps(row, ensure_ascii=True) + "\n"


def _without_empty(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if value or (type(value) in (int, float) and value == 0)}


def candidate_from(row: Mapping[str, Any], where: str = "candidate") -> Candidate:
    """Return the candidate of a row.

    Raises:
        DataError: The row is no candidate.
    """
    try:
        known = {one.name: row[one.name] for one in fields(Candidate) if one.name in row}
        known["edits"] = tuple((str(old), str(new)) for old, new in row.get("edits", ()))
        known["votes"] = tuple(Vote(**vote) for vote in row.get("votes", ()))
        return Candidate(**{"old": "", "new": "", **known})
    except (KeyError, TypeError, ValueError) as cause:
        message = (
            f"{where}: not a candidate ({cause}); expected what `potstill counterfactual` writes; remove the line to "
            "ask for it anew (what was bought stays in the ledger)"
        )
        raise DataError(message) from cause


def read_candidates(path: Path) -> Iterator[Candidate]:
    """Yield the candidates of a file, each as its last line says; none where there is no file."""
    if path.exists() and path.stat().st_size:
        found: dict[str, Candidate] = {}
        for where, row in read_rows(path):
            candidate = candidate_from(row, where)
            found[candidate.id] = candidate
        yield from found.values()


def write_candidates(path: Path, candidates: Iterable[Candidate]) -> None:
    """Replace a file of candidates."""
    write_atomic(path, "".join(line_of(candidate) for candidate in candidates))
