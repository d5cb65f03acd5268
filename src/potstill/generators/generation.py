"""One generation: who edits and who judges, what one request or one sitting brings, and what has been counted.

`potstill.generators.counterfactuals` runs it over many problems; nothing here knows of files or of their order.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from potstill.errors import TooManyFailures
from potstill.generators.asking import Failed
from potstill.generators.candidates import KEPT, Candidate, as_problem
from potstill.generators.editing import edit_messages
from potstill.generators.edits import apply, fields_of, read_edit
from potstill.generators.evolution import HOPELESS_CALLS, NO_REPLY, Asked
from potstill.generators.evolving import request_for
from potstill.generators.jury import Vote, family_of, is_lost, jury_messages, order, read_vote, verdict
from potstill.generators.recomputing import Solver, recomputed
from potstill.generators.targets import COMPUTED, Ask, Task, labels_of
from potstill.recipe.counterfactual import CounterfactualConfig
from potstill.records import Problem, content_id
from potstill.teachers.base import Meter


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


def counts_of(
    generation: Generation, candidates: Sequence[Candidate], judged: Mapping[str, Candidate], meters: Sequence[Meter]
) -> dict[str, Any]:
    """Return what a generation has asked for, what became of it, and what it cost, for the manifest."""
    reasons = Counter(one.reason for one in candidates)
    kept = [one for one in candidates if one.reason == KEPT]
    accepted = sum(not one.reason for one in judged.values())
    meter = sum(meters, Meter())
    jurors = [juror.config.author for juror in generation.jurors]
    counts: dict[str, Any] = {
        "candidates": len(candidates),
        "kept": len(kept),
        **{f"kept_{role}": n for role, n in sorted(Counter(one.role for one in kept).items())},
        "judged": len(judged),
        "accepted": accepted,
        **{f"refused_{reason}": n for reason, n in sorted(reasons.items()) if reason != KEPT},
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
