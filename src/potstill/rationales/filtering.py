"""Filtering: which verified rationales are kept, and for every other one why it is not.

Between verification and mixing. Pure: verdicts and contamination are found elsewhere
(`potstill.rationales.verification`, `potstill.rationales.families`) and reach this as arguments. Nothing here ranks or
down-samples: the first n of a problem's samples are chosen in `potstill.students.mixing`, before this filter.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from potstill.errors import DataError, shorten
from potstill.recipe import FilterConfig
from potstill.records import Drop, Rationale, Status

NO_FILTER = FilterConfig(keep="all", allow_truncated=True, decontaminate=())
"""Keeps every rationale that has a text."""

_ADVICE = {
    "wrong": "the teacher's answers differ from the gold ones: check problems.answer_type and columns.answer",
    "no_answer": "no final answer was found in the texts: ask for one in the prompt (sample.template)",
    "unverified": "nothing could be checked: without gold answers set filter.keep to all",
    "truncated": "the texts ended at max_tokens: raise teachers.max_tokens, or set filter.allow_truncated",
    "overlong": "raise filter.max_tokens",
    "contaminated": "all problems are near an evaluation split: check the splits, or set filter.decontaminate to []",
    "not_verified": "run verify first",
}


def keep(
    rationales: Iterable[Rationale],
    config: FilterConfig = FilterConfig(),  # noqa: B008 - frozen
    *,
    contaminated: Mapping[str, str] | None = None,
) -> tuple[list[Rationale], list[Drop]]:
    """Return the rationales that are kept, in order, and one `Drop` for each of the others.

    Args:
        rationales: Verified ones; for `keep: all` a verdict is not needed.
        contaminated: Problem id -> what was found, from `families.contaminated`.

    Source: Li et al. 2023 (SCoTD), arXiv:2306.14050, section 3 (labelled setting: samples with a wrong label are
        discarded; unlabelled setting: none is; no de-duplication in either).
    Differs: samples cut at `max_tokens`, and those of contaminated problems, are dropped too; the paper is silent.
    """
    kept: list[Rationale] = []
    drops: list[Drop] = []
    seen: set[tuple[str, str, str]] = set()
    for rationale in rationales:
        fault = _fault(rationale, config, contaminated or {})
        if not fault and config.dedup == "exact":
            key = (rationale.problem_id, rationale.kind, " ".join(rationale.text.split()))
            fault = ("duplicate", "the same text was kept already") if key in seen else None
            seen.add(key)
        if fault:
            drops.append(Drop(stage="filter", id=rationale.id, reason=fault[0], detail=shorten(fault[1])))
        else:
            kept.append(rationale)
    return kept, drops


def require_kept(kept: Sequence[Rationale], drops: Sequence[Drop], where: str = "filter") -> None:
    """Raise `DataError` when rationales came in and none is left, with the counts by reason and what to do."""
    if kept or not drops:
        return
    counts = Counter(drop.reason for drop in drops)
    found = ", ".join(f"{n} {reason}" for reason, n in counts.most_common())
    advice = _ADVICE.get(counts.most_common(1)[0][0], "look at dropped.jsonl")
    message = f"{where}: none of {len(drops)} rationales is kept ({found}); {advice}"
    raise DataError(message)


def _fault(rationale: Rationale, config: FilterConfig, tainted: Mapping[str, str]) -> tuple[str, str] | None:
    """Return (reason, detail) for the first thing that rules a rationale out, or `None`."""
    if not rationale.text.strip():
        return rationale.finish if rationale.finish in ("refused", "error") else "empty", rationale.reason or "no text"
    if rationale.problem_id in tainted:
        return "contaminated", tainted[rationale.problem_id]
    if rationale.finish == "length" and not config.allow_truncated:
        return "truncated", "the text ended at max_tokens"
    words = len(rationale.text.split())
    if config.max_tokens is not None and words > config.max_tokens:
        return "overlong", f"{words} words, at most {config.max_tokens} are allowed"
    return _judged(rationale, config)


def _judged(rationale: Rationale, config: FilterConfig) -> tuple[str, str] | None:
    verdict = rationale.verdict
    if config.keep == "all":
        return None
    if verdict is None:
        return "not_verified", f"keep is {config.keep!r} and there is no verdict"
    if verdict.status is Status.CORRECT:
        return None
    if config.keep == "answered" and verdict.answer is not None:
        return None
    return verdict.status.value.lower(), verdict.detail or verdict.reason or f"read {verdict.answer!r}"
