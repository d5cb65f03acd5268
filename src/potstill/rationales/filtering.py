"""Filtering: which verified rationales are kept, and for every other one why it is not.

Between verification and mixing. Pure but for `dedup: renamed`, which asks the sandbox: verdicts and contamination are
found elsewhere (`potstill.rationales.verification`, `potstill.rationales.contamination`) and reach this as arguments.
Nothing here ranks or down-samples: the first n of a problem's samples are chosen in `potstill.students.mixing`, before
this filter.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from potstill.errors import DataError, shorten
from potstill.rationales.agreement import dissent, opinions
from potstill.rationales.duplicates import REASONS, keys
from potstill.rationales.mentions import unmentioned
from potstill.recipe.rationales import FilterConfig, SandboxConfig
from potstill.records import Drop, Rationale, Status, Verdict

Fault = tuple[str, str]
"""Why a rationale is not kept: reason and detail."""
NO_FILTER = FilterConfig(keep="all", allow_truncated=True, decontaminate=())
"""Keeps every rationale that has a text."""

_ADVICE = {
    "wrong": "the teacher's answers differ from the gold ones: check problems.answer_type and columns.answer",
    "no_answer": "no final answer was found in the texts: ask for one in the prompt (sample.template)",
    "unverified": "nothing could be checked: without gold answers set filter.keep to majority or all",
    "truncated": "the texts ended at max_tokens: raise teachers.max_tokens, or set filter.allow_truncated",
    "program_failed": "the programs do not run: look at the details in verdicts.jsonl",
    "one_kind": "agreement needs chains of thought and programs: set sample.kinds to [cot, pot]",
    "disagreement": "chains of thought and programs answer differently throughout: look at the verdicts of both kinds",
    "overlong": "raise filter.max_tokens",
    "unsupported": "readers of the masked texts do not recover the labels: look at support.jsonl",
    "support_unread": "the reader's replies cannot be read: look at support.jsonl, or name another reader",
    "too_short": "lower filter.min_tokens",
    "label_not_mentioned": "negative views must name every other label: say so in the prompt (sample.view_template)",
    "contaminated": "all problems are near an evaluation split: check the splits, or set filter.decontaminate to []",
    "not_verified": "run verify first",
    "not_accepted": "accept some with `potstill review RUN`, or set filter.review to exclude_rejected",
    "rejected_in_review": "look at review.jsonl, or set filter.review to none",
}


def keep(
    rationales: Iterable[Rationale],
    config: FilterConfig = FilterConfig(),  # noqa: B008 - frozen
    *,
    contaminated: Mapping[str, str] | None = None,
    sandbox: SandboxConfig | None = None,
) -> tuple[list[Rationale], list[Drop]]:
    """Return the rationales that are kept, in order, and one `Drop` for each of the others.

    Args:
        rationales: Verified ones; for `keep: all` a verdict is not needed.
        contaminated: Problem id -> what was found, from `contamination.contaminated`.
        sandbox: How programs are read for `dedup: renamed`.

    Source: Li et al. 2023 (SCoTD), arXiv:2306.14050, section 3 (labelled setting: samples with a wrong label are
        discarded; unlabelled setting: none is; no de-duplication in either).
    Differs: samples cut at `max_tokens`, and those of contaminated problems, are dropped too; the paper is silent.
    """
    rows = [edited(rationale) for rationale in rationales] if config.use_edits else list(rationales)
    faults = [_fault(rationale, config, contaminated or {}) for rationale in rows]
    if config.keep in ("majority", "agreement"):
        faults = _outvoted(rows, faults, both=config.keep == "agreement")
    if config.dedup_rules:
        faults = _repeated(rows, faults, config, sandbox)
    kept = [rationale for rationale, fault in zip(rows, faults, strict=True) if fault is None]
    drops = [
        Drop(stage="filter", id=rationale.id, reason=fault[0], detail=shorten(fault[1]))
        for rationale, fault in zip(rows, faults, strict=True)
        if fault is not None
    ]
    return kept, drops


def voters(
    rationales: Iterable[Rationale], config: FilterConfig, contaminated: Mapping[str, str] | None = None
) -> list[Rationale]:
    """Return the rationales whose answers count for a majority: those that nothing but their answer rules out."""
    return [rationale for rationale in rationales if _fault(rationale, config, contaminated or {}) is None]


def require_kept(kept: Sequence[Rationale], drops: Sequence[Drop], where: str = "filter") -> None:
    """Raise `DataError` when rationales came in and none is left, with the counts by reason and what to do."""
    if kept or not drops:
        return
    counts = Counter(drop.reason for drop in drops)
    found = ", ".join(f"{n} {reason}" for reason, n in counts.most_common())
    advice = _ADVICE.get(counts.most_common(1)[0][0], "look at dropped.jsonl")
    message = f"{where}: none of {len(drops)} rationales is kept ({found}); {advice}"
    raise DataError(message)


def _outvoted(rows: Sequence[Rationale], faults: Sequence[Fault | None], *, both: bool) -> list[Fault | None]:
    """Rule out what most rationales of a problem, of those that are not ruled out yet, do not say."""
    found = opinions(row for row, fault in zip(rows, faults, strict=True) if fault is None)
    return [fault or dissent(row, found, both=both) for row, fault in zip(rows, faults, strict=True)]


def _repeated(
    rows: Sequence[Rationale], faults: Sequence[Fault | None], config: FilterConfig, sandbox: SandboxConfig | None
) -> list[Fault | None]:
    """Rule out all but the first of those that are the same by the rule of their kind."""
    left = [row for row, fault in zip(rows, faults, strict=True) if fault is None]
    by_id = dict(zip((row.id for row in left), keys(left, config.dedup_rules, sandbox), strict=True))
    seen: set[tuple[str, ...]] = set()
    found: list[Fault | None] = []
    for row, fault in zip(rows, faults, strict=True):
        key = by_id.get(row.id) if fault is None else None
        found.append(REASONS[config.dedup_rules[row.kind]] if key in seen and key is not None else fault)
        if key is not None:
            seen.add(key)
    return found


def _fault(rationale: Rationale, config: FilterConfig, tainted: Mapping[str, str]) -> Fault | None:
    """Return (reason, detail) for the first thing that rules a rationale out, or `None`."""
    if not rationale.text.strip():
        return rationale.finish if rationale.finish in ("refused", "error") else "empty", rationale.reason or "no text"
    if rationale.problem_id in tainted:
        return "contaminated", tainted[rationale.problem_id]
    if config.review != "none" and (said := _decided(rationale, only_accepted=config.review == "accepted_only")):
        return said
    if rationale.finish == "length" and not config.allow_truncated:
        return "truncated", "the text ended at max_tokens"
    words = len(rationale.text.split())
    if config.max_tokens is not None and words > config.max_tokens:
        return "overlong", f"{words} words, at most {config.max_tokens} are allowed"
    if config.min_tokens is not None and words < config.min_tokens:
        return "too_short", f"{words} words, at least {config.min_tokens} are asked for"
    fault = _judged(rationale, config)
    return _unsupported(rationale) if fault is None and config.support is not None else fault


def _unsupported(rationale: Rationale) -> Fault | None:
    """Return why a rationale fails the support test; one that was not put to it passes."""
    said = rationale.meta.get("support")
    if said is None or said["supported"]:
        return None
    if said["supported"] is None:
        return "support_unread", f"the reader's reply: {said['reason']}"
    return "unsupported", f"a reader of the masked text took it for {said['label'] or 'no label'}"


def edited(rationale: Rationale) -> Rationale:
    """Return a rationale as a reviewer edited it, with the verdict on the edited text; any other as it is."""
    said = rationale.meta.get("review") or {}
    if said.get("state") != "edited":
        return rationale
    status = Status(said.get("status") or Status.UNVERIFIED)
    verdict = Verdict(rationale_id=rationale.id, status=status, answer=said.get("answer"), reason="edited in review")
    return replace(rationale, text=said["text"], finish="stop", logprob=None, verdict=verdict)


def edits(kept: Iterable[Rationale]) -> dict[str, int]:
    """Return how many of the rationales that are kept a reviewer had edited; nothing where none was."""
    count = sum(r.verdict is not None and r.verdict.reason == "edited in review" for r in kept)
    return {"edited_in_review": count} if count else {}


def _decided(rationale: Rationale, *, only_accepted: bool) -> Fault | None:
    """Return why reviewers' decisions rule a rationale out."""
    said = rationale.meta.get("review") or {}
    state = said.get("state")
    if state in ("rejected", "disputed"):
        return f"{state}_in_review", said.get("reason") or f"{state} by {', '.join(said.get('by', ()))}"
    if only_accepted and state not in ("accepted", "edited"):
        return "not_accepted", "nobody accepted it in review"
    return None


def _one_sided(rationale: Rationale) -> Fault | None:
    """Return why a right text of the negative view does not argue against every other answer, or `None`."""
    missing = unmentioned(rationale) if rationale.view == "negative" else []
    return ("label_not_mentioned", f"says nothing of {', '.join(missing)}") if missing else None


def _judged(rationale: Rationale, config: FilterConfig) -> Fault | None:
    verdict = rationale.verdict
    if config.keep in ("all", "majority", "agreement"):
        return None
    if verdict is None:
        return "not_verified", f"keep is {config.keep!r} and there is no verdict"
    if verdict.status is Status.CORRECT or (config.keep == "unrefuted" and verdict.status is Status.UNVERIFIED):
        return _one_sided(rationale)
    if config.keep == "answered" and verdict.answer is not None:
        return None
    return verdict.status.value.lower(), verdict.detail or verdict.reason or f"read {verdict.answer!r}"
