"""Counterfactuals with real teachers: edits are asked for, filtered, judged blindly and chosen, into a file.

    problems ──asks──► writer ──► candidates.jsonl ──filters──► jury ──► candidates.jsonl ──choose──► kept problems

Every request goes through the ledger, and what is done with the replies depends on nothing but them: a generation that
was killed is run again, reads the lines that are on disk, takes whatever else was paid for from the ledger, and goes
on. What the filters and the verdict say is worked out anew each time; only replies and votes are kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from potstill.files import Appender
from potstill.generators.candidates import KEPT, Candidate, as_problem, line_of
from potstill.generators.choosing import choose
from potstill.generators.evolution import Addressed, Asked, opened
from potstill.generators.generation import Generation, counts_of
from potstill.generators.recomputing import Solver
from potstill.generators.screening import Embedder, Scorer, screened
from potstill.generators.targets import Ask, Task, asks, fitting
from potstill.messages import say
from potstill.recipe.counterfactual import CounterfactualConfig
from potstill.recipe.rationales import SandboxConfig
from potstill.recipe.teachers import BudgetConfig, TeacherConfig
from potstill.records import Problem
from potstill.streams import Stream, map_ordered
from potstill.teachers.base import Meter, Teacher, open_budget, open_teacher

if TYPE_CHECKING:
    from potstill.teachers.ledger import Ledger

TOLD_EVERY = 200
HELD = 25
"""Lines that are written to disk at once: what a kill loses of them is in the ledger."""


def counterfactual(
    problems: Sequence[Problem],
    teacher: Teacher | TeacherConfig,
    config: CounterfactualConfig | None = None,
    *,
    jury: Sequence[Teacher | TeacherConfig] = (),
    task: Task | None = None,
    evaluated: Sequence[Problem] = (),
    sandbox: SandboxConfig | None = None,
    seed: int = 0,
) -> Stream[Problem]:
    """Return a stream of counterfactuals: problems with `parent_id`, under `meta.counterfactual` how they came.

    Args:
        teacher: Who edits; a configuration is opened with the user's ledger.
        jury: Who judges, blindly; empty: the teacher itself, which is the worst judge of its edits.
        task: What is asked, which fields may be edited, what the labels mean.
        evaluated: What repeats one of these problems is left out.

    Raises (when read):
        ConfigError: No problem has a field that may be edited, or a label that is aimed at.
        TooManyFailures: More requests than `config.max_failed_frac` brought no readable edit.
        BudgetError, TeacherError: As `Teacher.complete` says.

    Source: Feng et al. 2024, Counterfactual Distillation (EMNLP): the idea. The steps and all settings are ours
        (docs/counterfactual.md).
    """
    rules, kind = config or CounterfactualConfig(), task or Task()
    return Stream(lambda: _stream(list(problems), teacher, list(jury), rules, kind, list(evaluated), sandbox, seed))


async def _stream(
    problems: list[Problem],
    teacher: Teacher | TeacherConfig,
    jury: list[Teacher | TeacherConfig],
    config: CounterfactualConfig,
    task: Task,
    evaluated: list[Problem],
    sandbox: SandboxConfig | None,
    seed: int,
) -> AsyncIterator[Problem]:
    fit, _ = fitting(problems, config, task)
    async with AsyncExitStack() as stack:
        writer = await opened(stack, teacher, seed)
        seats = [await opened(stack, juror, seed) for juror in jury] or [writer]
        solver = await stack.enter_async_context(Solver(seats, config.jury, sandbox))
        generation = Generation(writer, seats, config, task, solver, seed)
        found, _ = await generate(generation, fit, None, known={}, evaluated=evaluated, meters=[])
    by_id = {problem.id: problem for problem in fit}
    for one in found:
        if one.reason == KEPT and (made := as_problem(by_id[one.problem_id], one, task.form)) is not None:
            yield made


async def generate_to_file(
    problems: Sequence[Problem],
    writer: Addressed,
    jurors: Sequence[Addressed],
    config: CounterfactualConfig,
    task: Task,
    out: Path,
    *,
    ledger: Ledger | None,
    budget: BudgetConfig | None = None,
    seed: int = 0,
    run: str | None = None,
    known: Mapping[str, Candidate] | None = None,
    evaluated: Sequence[Problem] = (),
    sandbox: SandboxConfig | None = None,
    scorer: Scorer | None = None,
    embedder: Embedder | None = None,
) -> tuple[list[Candidate], dict[str, Any]]:
    """Ask for every edit that is missing, judge what passes the filters, choose; return candidates and counts.

    Args:
        out: Gets a line for each candidate when it is written, and another one when it is judged.
        known: Candidate id -> what an earlier call has found out.
        evaluated: What repeats one of these problems is refused.

    Raises:
        TooManyFailures, BudgetError, TeacherError: What is done is in the file; the same call resumes.
    """
    async with AsyncExitStack() as stack:
        purse = open_budget(budget, ledger, run)
        asked: dict[str, Asked] = {}
        for one, endpoint in (writer, *jurors):
            if one.author not in asked:
                opening = open_teacher(
                    one, ledger=ledger, budget=purse, seed=seed, endpoint=endpoint, run=run,
                    on_event=lambda code, text: say("counterfactual", text),
                )  # fmt: skip
                asked[one.author] = Asked(await stack.enter_async_context(opening), one)
        seats = [asked[one.author] for one, _ in jurors]
        solver = await stack.enter_async_context(Solver(seats, config.jury, sandbox))
        generation = Generation(asked[writer[0].author], seats, config, task, solver, seed)
        lines = stack.enter_context(Appender(out))
        return await generate(
            generation, problems, lines, known=known or {}, evaluated=evaluated, scorer=scorer, embedder=embedder,
            meters=[one.teacher.meter for one in asked.values()],
        )  # fmt: skip


async def generate(
    generation: Generation,
    problems: Sequence[Problem],
    lines: Appender | None,
    *,
    known: Mapping[str, Candidate],
    evaluated: Sequence[Problem],
    meters: Sequence[Meter],
    scorer: Scorer | None = None,
    embedder: Embedder | None = None,
) -> tuple[list[Candidate], dict[str, Any]]:
    """Run the phases of a generation with open teachers; see `generate_to_file`."""
    by_id = {problem.id: problem for problem in problems}
    config = generation.config
    candidates = [one async for one in _written(generation, problems, lines, known)]
    generation.require_replies()
    candidates = screened(
        candidates, by_id, config, generation.task, evaluated=evaluated, scorer=scorer, embedder=embedder
    )
    say("counterfactual", f"{sum(not one.reason for one in candidates)} of {len(candidates)} edits go to the jury")
    judged = {one.id: one async for one in _judged(generation, candidates, by_id, lines)}
    candidates = [judged.get(one.id, one) for one in candidates]
    candidates = choose(candidates, by_id, config, seed=generation.seed)
    return candidates, counts_of(generation, candidates, judged, meters)


async def _written(
    generation: Generation, problems: Sequence[Problem], lines: Appender | None, known: Mapping[str, Candidate]
) -> AsyncIterator[Candidate]:
    """Yield the candidate of every edit that is asked for, in order; what is on disk is not asked for again."""

    async def written(ask: Ask) -> tuple[Candidate, bool]:
        old = known.get(ask.id)
        if old is not None and old.asked == generation.name_of(ask) and old.fault != "error":
            return replace(old, reason="", detail="", metrics={}, new=ask.target), False
        return await generation.write(ask), True

    wanted = asks(problems, generation.config, seed=generation.seed)
    async with aclosing(map_ordered(written, wanted, generation.config.at_once)) as found:  # type: ignore[type-var]
        async for candidate in _kept_on_disk(found, lines):
            generation.count(candidate)
            if generation.calls % TOLD_EVERY == 0:
                say("counterfactual", f"{generation.calls} edits")
            yield candidate


async def _kept_on_disk(
    found: AsyncIterator[tuple[Candidate, bool]], lines: Appender | None
) -> AsyncIterator[Candidate]:
    """Yield candidates, those that are new after they were taken down; what is held back is written at any end."""
    held: list[str] = []
    try:
        async for candidate, is_new in found:
            if is_new:
                held.append(line_of(candidate))
            if lines is not None and len(held) >= HELD:
                await asyncio.to_thread(lines.append_lines, held)
                held = []
            yield candidate
    finally:
        if lines is not None and held:
            lines.append_lines(held)


async def _judged(
    generation: Generation,
    candidates: Sequence[Candidate],
    problems: Mapping[str, Problem],
    lines: Appender | None,
) -> AsyncIterator[Candidate]:
    """Yield every candidate that no filter refuses, with its votes and the verdict."""
    name = generation.jury_name

    async def judged(candidate: Candidate) -> tuple[Candidate, bool]:
        if candidate.jury == name and not any(vote.fault == "error" for vote in candidate.votes):
            return candidate, False
        return await generation.judge(problems[candidate.problem_id], candidate), True

    passing = [one for one in candidates if not one.reason]
    async with aclosing(map_ordered(judged, passing, generation.config.at_once)) as found:  # type: ignore[type-var]
        async for candidate in _kept_on_disk(found, lines):
            generation.count_votes(candidate)
            yield generation.decided(problems[candidate.problem_id], candidate)
