"""Verdicts: is the final answer of a rationale the gold answer of its problem?

Rationale + Problem -> Verdict with one of five statuses. Only `CORRECT` and `WRONG` judge the reasoning; `NO_ANSWER`
is the author's own failure to state one; whatever prevents *us* from checking (no gold answer, a gold answer that
cannot be read, a check that broke, a text that was never delivered) is `UNVERIFIED`, never counted against the author.
What is checked is the final answer alone: a wrong derivation that ends in the right answer is `CORRECT`.

Reasons: of NO_ANSWER `empty`, `refused`, `truncated`, `no_marker`, `ambiguous`, `unreadable`; of UNVERIFIED `no_gold`,
`gold_unreadable`, `not_sampled`, `unsupported_kind`, `undecided`, `second_opinion_failed`, `check_failed`,
`unknown_problem`. Of CORRECT and WRONG the reason says how it was decided: `exact`, or `second_opinion`.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import lru_cache

from potstill.errors import TooManyFailures, shorten
from potstill.rationales import expressions
from potstill.rationales.answers import Answer, equal, normalise
from potstill.rationales.extraction import Found, find
from potstill.rationales.latex import balanced
from potstill.rationales.prose import Wanted
from potstill.rationales.second_opinion import SecondOpinion
from potstill.recipe import VerifyConfig
from potstill.records import Problem, Rationale, Status, Verdict
from potstill.streams import Stream, map_concurrent, stream

_READABLE = re.compile(r"[\w()\[\]{}<>]")
_MIN_FOR_FAILURES = 20
"""A fraction of failures over fewer rows says nothing."""


@dataclass(frozen=True, slots=True)
class Undecided:
    """A pair of expressions that the exact rules leave open."""

    gold: str
    answer: str


def check(rationale: Rationale, problem: Problem, config: VerifyConfig | None = None) -> Verdict:
    """Return the verdict that the exact rules give, without starting any process.

    An expression that they leave open is UNVERIFIED with reason `undecided`; `verify` asks for a second opinion.
    """
    return _check(rationale, problem, config or VerifyConfig())[0]


def verify(
    rationales: Iterable[Rationale] | AsyncIterable[Rationale],
    problems: Iterable[Problem] | Mapping[str, Problem] | None = None,
    config: VerifyConfig | None = None,
) -> Stream[Rationale]:
    """Yield each rationale with its `verdict` and `problem` set, in order unless `config.workers` > 1.

    Args:
        problems: An iterable, or a mapping by id; `None` where each rationale carries its problem.

    Raises:
        TooManyFailures: More than `config.max_failed_frac` of the labelled rows could not be checked.
    """
    config = config or VerifyConfig()
    known = _by_id(problems)
    return Stream(lambda: _verify(rationales, known, config))


async def _verify(
    rationales: Iterable[Rationale] | AsyncIterable[Rationale], problems: Mapping[str, Problem], config: VerifyConfig
) -> AsyncIterator[Rationale]:
    failures = _Failures(config.max_failed_frac)
    async with SecondOpinion(timeout_s=config.timeout_s, workers=config.workers) as second:

        async def one(rationale: Rationale) -> Rationale:
            return await _with_verdict(rationale, problems, config, second)

        async with aclosing(map_concurrent(one, stream(rationales), config.workers)) as checked:  # type: ignore[type-var]
            async for rationale in checked:
                yield rationale
                failures.count(rationale.verdict)


async def _with_verdict(
    rationale: Rationale, problems: Mapping[str, Problem], config: VerifyConfig, second: SecondOpinion
) -> Rationale:
    problem = problems.get(rationale.problem_id) or rationale.problem
    if problem is None:
        return replace(rationale, verdict=_unverified(rationale, "unknown_problem", rationale.problem_id))
    try:
        verdict, undecided = _check(rationale, problem, config)
        if undecided is not None and config.math_verify:
            verdict = await _asked(verdict, undecided, second)
    except Exception as error:  # noqa: BLE001 - a row whose check breaks is recorded as UNVERIFIED, never as wrong
        verdict = _unverified(rationale, "check_failed", f"{type(error).__name__}: {shorten(error)}")
    return replace(rationale, verdict=verdict, problem=problem)


async def _asked(verdict: Verdict, undecided: Undecided, second: SecondOpinion) -> Verdict:
    opinion = await second.ask(undecided.gold, undecided.answer)
    if opinion.equal is None:
        return replace(verdict, reason="second_opinion_failed", detail=opinion.error)
    status = Status.CORRECT if opinion.equal else Status.WRONG
    return replace(verdict, status=status, reason="second_opinion", detail="")


def _check(rationale: Rationale, problem: Problem, config: VerifyConfig) -> tuple[Verdict, Undecided | None]:
    answer_type = config.answer_type or problem.answer_type
    if rationale.kind == "pot":
        return _unverified(rationale, "unsupported_kind", "programs are not run by this version"), None
    if rationale.finish == "error":
        return _unverified(rationale, "not_sampled", rationale.reason or ""), None
    if rationale.finish == "refused":
        return _no_answer(rationale, "refused", rationale.reason or ""), None
    wanted = Wanted(answer_type, problem.options, problem.labels, problem.question)
    gold = None
    if problem.answer is not None:
        gold = _gold(problem.answer, answer_type, problem.options, problem.labels)
        if gold is None:
            return _against_unreadable_gold(rationale, problem.answer), None
    found = _find(rationale, wanted)
    if found.span is None:
        return _no_answer(rationale, found.reason), None
    answer = normalise(found.span, answer_type, problem.options, problem.labels)
    if answer is None or (answer.form is not None and not expressions.is_whole(answer.form)):
        return _no_answer(rationale, "unreadable", shorten(found.span, 80)), None
    if gold is None or problem.answer is None:
        return _unverified(rationale, "no_gold", answer=answer), None
    return _compared(rationale, problem.answer, gold, answer, found.span, answer_type)


def _find(rationale: Rationale, wanted: Wanted) -> Found:
    return find(rationale.text, wanted, truncated=rationale.finish == "length", bare=rationale.kind == "answer")


def _compared(
    rationale: Rationale, gold_text: str, gold: Answer, answer: Answer, span: str, answer_type: str
) -> tuple[Verdict, Undecided | None]:
    result = equal(gold, answer, answer_type)
    if result is None:
        verdict = _unverified(rationale, "undecided", f"gold {shorten(gold_text, 80)}", answer)
        return verdict, Undecided(gold_text, span)
    if not result and answer_type == "expression" and not balanced(gold_text):
        return _unverified(
            rationale, "gold_unreadable", f"gold {shorten(repr(gold_text), 80)} is cut off", answer
        ), None
    status = Status.CORRECT if result else Status.WRONG
    return Verdict(rationale_id=rationale.id, status=status, answer=answer.text, reason="exact"), None


@lru_cache(maxsize=65536)
def _gold(text: str, answer_type: str, options: tuple[str, ...], labels: tuple[str, ...]) -> Answer | None:
    answer = normalise(text, answer_type, options, labels)
    if answer is None or not _READABLE.search(answer.text):
        return None
    if answer.form is not None and not expressions.is_whole(answer.form):
        return None
    return answer


def _against_unreadable_gold(rationale: Rationale, gold: str) -> Verdict:
    """Judge against a gold answer that is not of its type: the same text is right, nothing is wrong."""
    found = _find(rationale, Wanted("text"))
    if gold.strip() in (rationale.text.strip(), found.span):
        return Verdict(rationale_id=rationale.id, status=Status.CORRECT, answer=gold, reason="exact")
    return _unverified(rationale, "gold_unreadable", f"gold {shorten(repr(gold), 80)}")


def _unverified(rationale: Rationale, reason: str, detail: str = "", answer: Answer | None = None) -> Verdict:
    text = answer.text if answer is not None else None
    return Verdict(rationale_id=rationale.id, status=Status.UNVERIFIED, answer=text, reason=reason, detail=detail)


def _no_answer(rationale: Rationale, reason: str, detail: str = "") -> Verdict:
    return Verdict(rationale_id=rationale.id, status=Status.NO_ANSWER, reason=reason, detail=detail)


def _by_id(problems: Iterable[Problem] | Mapping[str, Problem] | None) -> Mapping[str, Problem]:
    if problems is None:
        return {}
    return problems if isinstance(problems, Mapping) else {problem.id: problem for problem in problems}


class _Failures:
    """Counts rows that our side could not check, against the stage's failure budget."""

    OURS = frozenset({"check_failed", "second_opinion_failed", "unknown_problem"})

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.failed = self.total = 0

    def count(self, verdict: Verdict | None) -> None:
        assert verdict is not None, "verify sets every verdict"
        self.total += 1
        self.failed += verdict.reason in self.OURS
        if self.total >= _MIN_FOR_FAILURES and self.failed > self.limit * self.total:
            message = (
                f"verify: {self.failed} of {self.total} rationales could not be checked (last: {verdict.reason}); "
                f"verify.max_failed_frac allows {self.limit:g}; see the reasons in verdicts.jsonl, or raise it"
            )
            raise TooManyFailures(message)
