"""The unlabelled setting: without gold answers, what most rationales of a problem say, and whether both kinds say it.

Pure. Which rationales may vote is decided before (`potstill.rationales.filtering`); an answer is the verdict's, in its
normal form, so a failed program and a text without an answer have none.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from potstill.rationales.answers import equal
from potstill.records import Rationale, Status

_SILENT = frozenset({Status.NO_ANSWER, Status.PROGRAM_FAILED})


@dataclass(frozen=True, slots=True)
class Opinion:
    """What the rationales of one problem say."""

    majority: Mapping[str, str]
    """Kind -> its most frequent answer (a tie: the first seen); kinds without any answer are missing."""
    agrees: bool | None
    """Whether chains of thought and programs have the same majority; `None` where one of them has none."""


def answer_of(rationale: Rationale) -> str | None:
    """Return the answer that a verified rationale gives; `None`: none, or the program failed."""
    verdict = rationale.verdict
    return None if verdict is None or verdict.status in _SILENT else verdict.answer


def opinions(rationales: Iterable[Rationale]) -> dict[str, Opinion]:
    """Return problem id -> what its rationales say."""
    votes: dict[str, dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    types: dict[str, str] = {}
    for rationale in rationales:
        answer = answer_of(rationale)
        if rationale.problem is not None:
            types[rationale.problem_id] = rationale.problem.answer_type
        if answer is not None:
            votes[rationale.problem_id][rationale.kind][answer] += 1
    found = {}
    for problem_id, by_kind in votes.items():
        majority = {kind: counts.most_common(1)[0][0] for kind, counts in by_kind.items()}
        agrees = None
        if "cot" in majority and "pot" in majority:
            agrees = equal(majority["cot"], majority["pot"], types.get(problem_id, "text")) is True
        found[problem_id] = Opinion(majority, agrees)
    return found


def coverage(found: Mapping[str, Opinion]) -> dict[str, int]:
    """Return how many problems have an answer, one of both kinds, and the same of both."""
    return {
        "problems_answered": len(found),
        "problems_with_both_kinds": sum(opinion.agrees is not None for opinion in found.values()),
        "problems_agreeing": sum(opinion.agrees is True for opinion in found.values()),
    }


def dissent(rationale: Rationale, found: Mapping[str, Opinion], *, both: bool) -> tuple[str, str] | None:
    """Return (reason, detail) where a rationale does not say what most do; `None` where it does.

    Args:
        both: Chains of thought and programs must have the same majority.
    """
    answer, opinion = answer_of(rationale), found.get(rationale.problem_id)
    if answer is None or opinion is None:
        verdict = rationale.verdict
        reason = verdict.status.value.lower() if verdict is not None else "not_verified"
        return reason, (verdict.detail or verdict.reason) if verdict is not None else "there is no verdict"
    said = opinion.majority[rationale.kind]
    if both and opinion.agrees is None:
        return "one_kind", f"only kind {', '.join(opinion.majority)} has an answer"
    if both and not opinion.agrees:
        return "disagreement", f"cot says {opinion.majority['cot']}, pot says {opinion.majority['pot']}"
    if answer != said:
        return "minority", f"read {answer!r}, most say {said!r}"
    return None
