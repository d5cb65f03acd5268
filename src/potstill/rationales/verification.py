"""Verdicts: is the final answer of a rationale the gold answer of its problem?

Rationale + Problem -> Verdict with one of five statuses. Only `CORRECT` and `WRONG` judge the reasoning; `NO_ANSWER`
is the author's own failure to state one, `PROGRAM_FAILED` that of a program to run to one; whatever prevents *us* from
checking (no gold answer, a gold answer that cannot be read, a check that broke, a text that was never delivered, no
sandbox) is `UNVERIFIED`, never counted against the author. What is checked is the final answer alone: a wrong
derivation that ends in the right answer is `CORRECT`, and a program's answer is what it computes, whatever the text
around it says.

Reasons: of NO_ANSWER `empty`, `refused`, `truncated`, `no_marker`, `no_program`, `ambiguous`, `unreadable`; of
PROGRAM_FAILED the sandbox's status; of UNVERIFIED `no_gold`, `gold_unreadable`, `not_sampled`, `not_run`,
`unsupported`, `undecided`, `second_opinion_failed`, `check_failed`, `unknown_problem`. Of CORRECT and WRONG the reason
says how it was decided: `exact`, `second_opinion`, or `demands`: no gold answer, but what the instruction demands in
words that a program can check (`potstill.rationales.demands`); its whole text is then the answer and none is read.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from functools import lru_cache

from potstill.errors import TooManyFailures, shorten
from potstill.rationales import expressions
from potstill.rationales.answers import Answer, equal, normalise
from potstill.rationales.demands import unmet
from potstill.rationales.extraction import Found, find
from potstill.rationales.latex import balanced
from potstill.rationales.programs import find_program
from potstill.rationales.prose import Wanted
from potstill.rationales.running import ProgramRuns
from potstill.rationales.second_opinion import SecondOpinion
from potstill.rationales.values import read_value
from potstill.recipe.rationales import SandboxConfig, VerifyConfig
from potstill.records import Problem, Rationale, Status, Verdict
from potstill.sandbox.execution import Execution
from potstill.streams import Stream, stream

AHEAD = 64
"""Rationales read ahead of the oldest program that still runs: enough to keep every worker of the sandbox busy."""
_READABLE = re.compile(r"[\w()\[\]{}<>]")
_NOT_FINITE = frozenset({"nan", "inf", "-inf", "zoo", "oo", "-oo"})
"""What Python and SymPy call results that are no answer."""
_MIN_FOR_FAILURES = 20
"""A fraction of failures over fewer rows says nothing."""


@dataclass(frozen=True, slots=True)
class Undecided:
    """A pair of expressions that the exact rules leave open."""

    gold: str
    answer: str


@dataclass(frozen=True, slots=True)
class Unrun:
    """A program that is still to be run, with its alternatives."""

    programs: tuple[str, ...]


def check(rationale: Rationale, problem: Problem, config: VerifyConfig | None = None) -> Verdict:
    """Return the verdict that the exact rules give, without starting any process.

    An expression that they leave open is UNVERIFIED with reason `undecided` (`verify` asks for a second opinion), and a
    program with reason `not_run` (`verify` runs it).
    """
    return _check(rationale, problem, config or _defaults())[0]


def verify(
    rationales: Iterable[Rationale] | AsyncIterable[Rationale],
    problems: Iterable[Problem] | Mapping[str, Problem] | None = None,
    config: VerifyConfig | None = None,
    *,
    sandbox: SandboxConfig | None = None,
) -> Stream[Rationale]:
    """Yield each rationale with its `verdict` and `problem` set, in order.

    Args:
        problems: An iterable, or a mapping by id; `None` where each rationale carries its problem.
        sandbox: How programs are run; it is opened when the first one comes.

    Raises:
        TooManyFailures: More than `config.max_failed_frac` of the labelled rows could not be checked.
    """
    config = config or VerifyConfig()
    known = _by_id(problems)
    return Stream(lambda: _verify(rationales, known, config, sandbox))


async def _verify(
    rationales: Iterable[Rationale] | AsyncIterable[Rationale],
    problems: Mapping[str, Problem],
    config: VerifyConfig,
    sandbox: SandboxConfig | None,
) -> AsyncIterator[Rationale]:
    failures = CheckFailures(config.max_failed_frac)
    async with (
        opened_checker(problems, config, sandbox) as checker,
        aclosing(in_order(rationales, checker, config.workers)) as checked,
    ):
        async for rationale in checked:
            yield rationale
            failures.count(rationale.verdict)


@asynccontextmanager
async def opened_checker(
    problems: Mapping[str, Problem], config: VerifyConfig, sandbox: SandboxConfig | None
) -> AsyncIterator[Checker]:
    """Open what rows are checked with; its processes start when they are needed and end with it."""
    async with AsyncExitStack() as stack:
        second = await stack.enter_async_context(SecondOpinion(timeout_s=config.timeout_s, workers=config.workers))
        runs = await stack.enter_async_context(ProgramRuns(sandbox))
        yield Checker(problems, config, second, runs)


async def in_order(
    rationales: Iterable[Rationale] | AsyncIterable[Rationale], checker: Checker, workers: int
) -> AsyncGenerator[Rationale, None]:
    """Yield in the order of the rationales. Only what may have to wait for a process is started ahead of its turn."""
    pending: deque[asyncio.Future[Rationale]] = deque()
    limit = AHEAD if workers == 1 else max(AHEAD, workers)
    try:
        async with aclosing(stream(rationales)) as source:  # type: ignore[type-var]
            async for rationale in source:
                if not pending and rationale.kind != "pot" and workers == 1:
                    yield await checker.judged(rationale)
                    continue
                pending.append(asyncio.ensure_future(checker.judged(rationale)))
                while len(pending) >= limit or (pending and pending[0].done()):
                    yield await pending.popleft()
        while pending:
            yield await pending.popleft()
    finally:
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)


@dataclass(frozen=True, slots=True)
class Checker:
    """What every row of one verification is checked with."""

    problems: Mapping[str, Problem]
    config: VerifyConfig
    second: SecondOpinion
    runs: ProgramRuns

    def about(self, problems: Mapping[str, Problem]) -> Checker:
        """Return the same checker for rationales of other problems."""
        return replace(self, problems=problems)

    async def judged(self, rationale: Rationale) -> Rationale:
        """Return the rationale with its verdict and problem; whatever breaks is this row's failure alone."""
        problem = self.problems.get(rationale.problem_id) or rationale.problem
        if problem is None:
            return replace(rationale, verdict=_unverified(rationale, "unknown_problem", rationale.problem_id))
        try:
            verdict = await self._verdict(rationale, problem)
        except Exception as error:  # noqa: BLE001 - a row whose check breaks is recorded as UNVERIFIED, never as wrong
            verdict = _unverified(rationale, "check_failed", f"{type(error).__name__}: {shorten(error)}")
        return replace(rationale, verdict=verdict, problem=problem)

    async def _verdict(self, rationale: Rationale, problem: Problem) -> Verdict:
        verdict, open_ = _check(rationale, problem, self.config)
        if isinstance(open_, Unrun):
            verdict, open_ = _judge_run(rationale, problem, self.config, await self.runs.run(open_.programs))
        if isinstance(open_, Undecided) and self.config.math_verify:
            verdict = await _asked(verdict, open_, self.second)
        return verdict


async def _asked(verdict: Verdict, undecided: Undecided, second: SecondOpinion) -> Verdict:
    opinion = await second.ask(undecided.gold, undecided.answer)
    if opinion.equal is None:
        return replace(verdict, reason="second_opinion_failed", detail=opinion.error)
    status = Status.CORRECT if opinion.equal else Status.WRONG
    return replace(verdict, status=status, reason="second_opinion", detail="")


def _check(rationale: Rationale, problem: Problem, config: VerifyConfig) -> tuple[Verdict, Undecided | Unrun | None]:
    """Return the verdict of the exact rules, and what they leave to a process: a program, a pair of expressions."""
    if rationale.finish == "error":
        return _unverified(rationale, "not_sampled", rationale.reason or ""), None
    if rationale.finish == "refused":
        return _no_answer(rationale, "refused", rationale.reason or ""), None
    if rationale.kind == "pot":
        program = find_program(rationale.text, truncated=rationale.finish == "length")
        if not program.programs:
            return _no_answer(rationale, program.reason), None
        return _unverified(rationale, "not_run"), Unrun(tuple(_defined(problem) + text for text in program.programs))
    if config.demands and problem.answer is None:
        return _against_demands(rationale, problem), None
    wanted = _wanted(problem, config)
    gold = _gold_of(problem, wanted.type)
    if gold is None and problem.answer is not None:
        return _against_unreadable_gold(rationale, problem.answer), None
    found = _find(rationale, wanted)
    if found.span is None:
        return _no_answer(rationale, found.reason), None
    answer = normalise(found.span, wanted.type, problem.options, problem.labels)
    return _judge(rationale, problem, gold, answer, found.span, wanted.type)


def _defined(problem: Problem) -> str:
    """Return the definitions that a problem brings with it, which stand before its programs when they run."""
    found = problem.meta.get("definitions")
    return f"{found.rstrip()}\n" if isinstance(found, str) and found.strip() else ""


def _judge_run(
    rationale: Rationale, problem: Problem, config: VerifyConfig, run: Execution
) -> tuple[Verdict, Undecided | None]:
    """Return the verdict on a program that was run, or that could not be."""
    if run.status == "unsupported":
        return _unverified(rationale, "unsupported", run.error or ""), None
    if run.answer is None:
        return _failed(rationale, run.status, run.error or ""), None
    if run.answer.strip().lower() in _NOT_FINITE:
        return _failed(rationale, "no_answer", f"the answer is {run.answer.strip()}"), None
    wanted = _wanted(problem, config)
    gold = _gold_of(problem, wanted.type)
    if gold is None and problem.answer is not None:
        if run.answer.strip() == problem.answer.strip():
            return _verdict(rationale, Status.CORRECT, problem.answer), None
        return _gold_unreadable(rationale, problem.answer), None
    answer = read_value(run.answer, run.answer_type, wanted)
    return _judge(rationale, problem, gold, answer, run.answer, wanted.type)


def _judge(
    rationale: Rationale, problem: Problem, gold: Answer | None, answer: Answer | None, span: str, answer_type: str
) -> tuple[Verdict, Undecided | None]:
    """Compare an answer as it was read with the gold one."""
    if answer is None or (answer.form is not None and not expressions.is_whole(answer.form)):
        return _no_answer(rationale, "unreadable", shorten(span, 80)), None
    if gold is None or problem.answer is None:
        return _unverified(rationale, "no_gold", answer=answer), None
    return _compared(rationale, problem.answer, gold, answer, span, answer_type)


def _wanted(problem: Problem, config: VerifyConfig) -> Wanted:
    return Wanted(config.answer_type or problem.answer_type, problem.options, problem.labels, problem.question)


def _gold_of(problem: Problem, answer_type: str) -> Answer | None:
    """Return the gold answer; `None` where there is none, or none of its type."""
    if problem.answer is None:
        return None
    return _gold(problem.answer, answer_type, problem.options, problem.labels)


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
    return _verdict(rationale, status, answer.text), None


@lru_cache(maxsize=1)
def _defaults() -> VerifyConfig:
    return VerifyConfig()


@lru_cache(maxsize=65536)
def _gold(text: str, answer_type: str, options: tuple[str, ...], labels: tuple[str, ...]) -> Answer | None:
    answer = normalise(text, answer_type, options, labels)
    if answer is None or not _READABLE.search(answer.text):
        return None
    if answer.form is not None and not expressions.is_whole(answer.form):
        return None
    return answer


def _against_demands(rationale: Rationale, problem: Problem) -> Verdict:
    """Judge a response by the demands of its instruction that can be checked; without any, nothing is known."""
    if not rationale.text.strip():
        return _no_answer(rationale, "empty")
    broken = unmet(problem.question, rationale.text)
    if broken is None:
        return _unverified(rationale, "no_gold", "no demand that can be checked")
    status = Status.WRONG if broken else Status.CORRECT
    return Verdict(rationale_id=rationale.id, status=status, reason="demands", detail=", ".join(broken))


def _against_unreadable_gold(rationale: Rationale, gold: str) -> Verdict:
    """Judge against a gold answer that is not of its type: the same text is right, nothing is wrong."""
    found = _find(rationale, Wanted("text"))
    if gold.strip() in (rationale.text.strip(), found.span):
        return _verdict(rationale, Status.CORRECT, gold)
    return _gold_unreadable(rationale, gold)


def _gold_unreadable(rationale: Rationale, gold: str) -> Verdict:
    return _unverified(rationale, "gold_unreadable", f"gold {shorten(repr(gold), 80)}")


def _verdict(rationale: Rationale, status: Status, answer: str) -> Verdict:
    return Verdict(rationale_id=rationale.id, status=status, answer=answer, reason="exact")


def _failed(rationale: Rationale, reason: str, detail: str) -> Verdict:
    status = Status.PROGRAM_FAILED
    return Verdict(rationale_id=rationale.id, status=status, reason=reason, detail=shorten(detail, 300))


def _unverified(rationale: Rationale, reason: str, detail: str = "", answer: Answer | None = None) -> Verdict:
    text = answer.text if answer is not None else None
    return Verdict(rationale_id=rationale.id, status=Status.UNVERIFIED, answer=text, reason=reason, detail=detail)


def _no_answer(rationale: Rationale, reason: str, detail: str = "") -> Verdict:
    return Verdict(rationale_id=rationale.id, status=Status.NO_ANSWER, reason=reason, detail=detail)


def _by_id(problems: Iterable[Problem] | Mapping[str, Problem] | None) -> Mapping[str, Problem]:
    if problems is None:
        return {}
    return problems if isinstance(problems, Mapping) else {problem.id: problem for problem in problems}


class CheckFailures:
    """Counts rows that our side could not check, against the stage's failure budget."""

    OURS = frozenset({"check_failed", "second_opinion_failed", "unknown_problem", "unsupported"})

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.failed = self.total = 0

    def count(self, verdict: Verdict | None) -> None:
        """Count one verdict; raises `TooManyFailures` when the budget is used up."""
        assert verdict is not None, "verify sets every verdict"
        self.total += 1
        self.failed += verdict.reason in self.OURS
        if self.total >= _MIN_FOR_FAILURES and self.failed > self.limit * self.total:
            message = (
                f"verify: {self.failed} of {self.total} rationales could not be checked (last: {verdict.reason}); "
                f"verify.max_failed_frac allows {self.limit:g}; see the reasons in verdicts.jsonl, or raise it"
            )
            raise TooManyFailures(message)
