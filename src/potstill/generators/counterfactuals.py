"""Counterfactuals with real teachers: edits are asked for, filtered, judged blindly and chosen, into a file.

    problems ──asks──► writer ──► candidates.jsonl ──filters──► jury ──► candidates.jsonl ──choose──► kept problems

Every request goes through the ledger, and what is done with the replies depends on nothing but them: a generation that
was killed is run again, reads the lines that are on disk, takes whatever else was paid for from the ledger, and goes
on. What the filters and the verdict say is worked out anew each time; only replies and votes are kept.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from potstill.errors import TooManyFailures
from potstill.files import Appender
from potstill.generators.asking import Failed
from potstill.generators.candidates import Candidate, as_problem, line_of
from potstill.generators.choosing import choose
from potstill.generators.editing import edit_messages
from potstill.generators.edits import apply, fields_of, read_edit
from potstill.generators.evolution import HOPELESS_CALLS, NO_REPLY, Addressed, Asked
from potstill.generators.evolving import request_for
from potstill.generators.jury import (
    Vote,
    family_of,
    is_lost,
    jury_messages,
    order,
    read_vote,
    verdict,
)
from potstill.generators.recomputing import Solver, recomputed
from potstill.generators.screening import Embedder, Scorer, screened
from potstill.generators.targets import COMPUTED, Ask, Task, asks, labels_of
from potstill.messages import say
from potstill.recipe.counterfactual import CounterfactualConfig
from potstill.recipe.rationales import SandboxConfig
from potstill.recipe.teachers import BudgetConfig
from potstill.records import Problem, content_id
from potstill.streams import map_ordered
from potstill.teachers.base import Meter, open_budget, open_teacher

if TYPE_CHECKING:
    from potstill.teachers.ledger import Ledger

TOLD_EVERY = 200


@dataclass(slots=True)
class Generation:
    """One generation: who is asked, by which rules, and what has been counted."""

    writer: Asked
    jurors: Sequence[Asked]
    config: CounterfactualConfig
    task: Task
    solver: Solver
    seed: int = 0
    calls: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    """Requests for an edit without a readable reply, by reason."""
    faults: Counter[str] = field(default_factory=Counter)
    """Votes that could not be read, by reason."""
    votes: int = 0

    async def write(self, ask: Ask) -> Candidate:
        """Return the candidate that one request for an edit brings."""
        request = self._edit_request(ask)
        completion = (await self.writer.teacher.complete(request, [0]))[0]
        candidate = Candidate(
            id=ask.id, problem_id=ask.problem.id, role=ask.role, kind=ask.kind, old=str(ask.problem.answer),
            new=ask.target, author=self.writer.config.author, asked=self.name_of(ask),
        )  # fmt: skip
        draft = read_edit(completion, ask.problem, self.task.editable_of(ask.problem))
        if isinstance(draft, Failed):
            return replace(candidate, fault=draft.reason, detail=completion.reason or "")
        text = apply(fields_of(ask.problem)[draft.field], draft)
        candidate = replace(candidate, field=draft.field, edits=draft.edits)
        return replace(candidate, fault=text.reason) if isinstance(text, Failed) else replace(candidate, text=text)

    def _edit_request(self, ask: Ask) -> Any:
        config = self.config
        messages = edit_messages(ask, self.task)
        return request_for(self.writer.config, messages, temperature=config.temperature, max_tokens=config.max_tokens)

    def name_of(self, ask: Ask) -> str:
        """Return what names the request for an edit: who is asked, and everything that it says."""
        request = self._edit_request(ask)
        return content_id(self.writer.config.author, request.key(""), request.cap)

    def count(self, candidate: Candidate) -> None:
        """Count a request for an edit.

        Raises:
            TooManyFailures: So many brought no readable reply that going on is hopeless.
        """
        self.calls += 1
        if candidate.fault in NO_REPLY:
            self.failed[candidate.fault] += 1
        if self.calls >= HOPELESS_CALLS:
            self.require_replies()

    def require_replies(self) -> None:
        """Raise `TooManyFailures` where more requests than allowed brought no readable reply."""
        if self.failed.total() <= self.config.max_failed_frac * self.calls:
            return
        found = ", ".join(f"{count} {reason}" for reason, count in self.failed.most_common())
        message = (
            f"counterfactual: {self.failed.total()} of {self.calls} requests brought no readable edit ({found}); "
            f"counterfactual.max_failed_frac allows {self.config.max_failed_frac:.0%}; look at candidates.jsonl and at "
            "the replies in the ledger, ask another model, or raise the limit: what was bought is kept"
        )
        raise TooManyFailures(message)

    @property
    def jury_name(self) -> str:
        """What names the jury: its rules and its members."""
        names = [juror.config.author for juror in self.jurors]
        return content_id("jury", self.config.jury_mark, names, self.task.about, dict(self.task.definitions or {}))

    async def judge(self, original: Problem, candidate: Candidate) -> Candidate:
        """Return the candidate with the votes of the jury; of a word problem with the answers of its programs."""
        edited = as_problem(original, candidate, self.task.form)
        assert edited is not None, "candidates whose question cannot be put together are refused before"
        if original.answer_type == COMPUTED:
            votes = await self.solver.votes(original, edited, candidate.role)
        else:
            votes = await self.cast(edited, candidate.new)
        return replace(candidate, votes=tuple(votes), jury=self.jury_name)

    async def cast(self, edited: Problem, target: str) -> list[Vote]:
        """Return the votes on an item; those that can no longer change the result are not asked for.

        The target decides when to stop, never what a juror sees.
        """
        jury, votes = self.config.jury, list[Vote]()
        first = jury.votes - jury.needed + 1
        for numbers in (range(first), range(first, jury.votes)):
            if not is_lost(votes, target, jury):
                votes += await asyncio.gather(*(self._vote(edited, number) for number in numbers))
        return votes

    async def _vote(self, edited: Problem, number: int) -> Vote:
        juror = self.jurors[number % len(self.jurors)]
        shown = order([*labels_of(edited)], edited.question, number, self.seed)
        jury = self.config.jury
        request = request_for(
            juror.config, jury_messages(edited, self.task, shown), temperature=jury.temperature,
            max_tokens=jury.max_tokens,
        )  # fmt: skip
        completion = (await juror.teacher.complete(request, [number]))[0]
        return read_vote(completion, edited, shown, juror.config.author)

    def count_votes(self, candidate: Candidate) -> None:
        """Count the votes on a candidate, and those that could not be read."""
        self.votes += len(candidate.votes)
        self.faults.update(vote.fault for vote in candidate.votes if vote.fault)

    def decided(self, original: Problem, candidate: Candidate) -> Candidate:
        """Return a judged candidate with the verdict: accepted (no reason), or why not."""
        if original.answer_type == COMPUTED:
            answer, found = recomputed(candidate.votes, original, candidate.role, self.config.jury)
            candidate = replace(candidate, new=answer)
        else:
            edited = as_problem(original, candidate, self.task.form)
            assert edited is not None, "it was judged, so it was put together"
            found = verdict(
                candidate.votes, edited, candidate.new, candidate.old, self.config.jury, self.families
            )  # fmt: skip
        metrics = {**candidate.metrics, **found.metrics}
        return replace(candidate, reason=found.reason, detail=found.detail, metrics=metrics)

    @property
    def families(self) -> dict[str, str]:
        """Juror -> model family."""
        return {juror.config.author: family_of(juror.config, self.config.jury.families) for juror in self.jurors}


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
        opened: dict[str, Asked] = {}
        for one, endpoint in (writer, *jurors):
            if one.author not in opened:
                opening = open_teacher(
                    one, ledger=ledger, budget=purse, seed=seed, endpoint=endpoint, run=run,
                    on_event=lambda code, text: say("counterfactual", text),
                )  # fmt: skip
                opened[one.author] = Asked(await stack.enter_async_context(opening), one)
        seats = [opened[one.author] for one, _ in jurors]
        solver = await stack.enter_async_context(Solver(seats, config.jury, sandbox))
        generation = Generation(opened[writer[0].author], seats, config, task, solver, seed)
        lines = stack.enter_context(Appender(out))
        return await generate(
            generation, problems, lines, known=known or {}, evaluated=evaluated, scorer=scorer, embedder=embedder,
            meters=[one.teacher.meter for one in opened.values()],
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
        async for candidate, is_new in found:
            if is_new and lines is not None:
                await asyncio.to_thread(lines.append_lines, [line_of(candidate)])
            generation.count(candidate)
            if generation.calls % TOLD_EVERY == 0:
                say("counterfactual", f"{generation.calls} edits")
            yield candidate


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
        async for candidate, is_new in found:
            if is_new and lines is not None:
                await asyncio.to_thread(lines.append_lines, [line_of(candidate)])
            generation.count_votes(candidate)
            yield generation.decided(problems[candidate.problem_id], candidate)


def counts_of(
    generation: Generation, candidates: Sequence[Candidate], judged: Mapping[str, Candidate], meters: Sequence[Meter]
) -> dict[str, Any]:
    """Return what a generation has asked for, what became of it, and what it cost, for the manifest."""
    reasons = Counter(one.reason for one in candidates)
    kept = [one for one in candidates if one.reason == "kept"]
    accepted = sum(not one.reason for one in judged.values())
    meter = sum(meters, Meter())
    jurors = [juror.config.author for juror in generation.jurors]
    counts: dict[str, Any] = {
        "candidates": len(candidates),
        "kept": len(kept),
        **{f"kept_{role}": n for role, n in sorted(Counter(one.role for one in kept).items())},
        "judged": len(judged),
        "accepted": accepted,
        **{f"refused_{reason}": n for reason, n in sorted(reasons.items()) if reason != "kept"},
        "pairs": dict(sorted(Counter(f"{one.old} to {one.new}" for one in kept if _is_named(one)).items())),
        "votes": generation.votes,
        **{f"vote_{fault}": n for fault, n in sorted(generation.faults.items())},
        "jurors": jurors,
        "writer_judges": generation.writer.config.author in jurors,
        "requests": meter.sent,
        "from_ledger": meter.from_ledger,
        "prompt_tokens": meter.prompt_tokens,
        "completion_tokens": meter.completion_tokens,
        "money": round(meter.money, 6),
    }
    with suppress(ZeroDivisionError):
        counts["money_per_kept"] = round(meter.money / len(kept), 6)
    return counts


def _is_named(candidate: Candidate) -> bool:
    """Whether the pair of labels says something: not of word problems, whose answers are all different."""
    return candidate.role == "counterfactual" and not candidate.new.replace(".", "").lstrip("-").isdigit()
