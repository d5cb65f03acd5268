"""Word problems: the answer of an edited problem is computed, by programs that jurors write and the sandbox runs.

    edited problem ──► jurors ──► programs ──sandbox──► answers ──► one that enough of them agree on, or why not

A juror whose program does not give the known answer of the original has no vote on what was made of it. Where the
original brings a program of its own (`meta.gold_program`) and the edit replaced numbers one by one, that program with
the new numbers votes, too: it was never asked of a model.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Sequence
from types import TracebackType

from potstill.generators.evolution import Asked
from potstill.generators.filters import Finding
from potstill.generators.jury import Vote
from potstill.rationales.answers import equal, normalise
from potstill.rationales.programs import find_program
from potstill.rationales.prompts import build_request, load_template
from potstill.rationales.prose import Wanted
from potstill.rationales.running import ProgramRuns
from potstill.rationales.values import read_value
from potstill.recipe.counterfactual import JuryConfig
from potstill.recipe.rationales import SandboxConfig
from potstill.recipe.teachers import SampleConfig
from potstill.records import Problem

ORIGINAL = "the original's program"
_NUMBER = re.compile(r"(?<![\w.])\d+(?:,\d{3})*(?:\.\d+)?(?![\w]|\.\d)")


class Solver:
    """An async context manager: programs for word problems, by several jurors, run in one sandbox."""

    def __init__(self, jurors: Sequence[Asked], config: JuryConfig, sandbox: SandboxConfig | None = None) -> None:
        self._jurors = jurors
        self._config = config
        self._runs = ProgramRuns(sandbox)
        self._template = load_template("zero_shot")
        self._able: dict[str, asyncio.Task[list[Asked]]] = {}

    async def __aenter__(self) -> Solver:
        await self._runs.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for task in self._able.values():
            task.cancel()
        await asyncio.gather(*self._able.values(), return_exceptions=True)
        await self._runs.__aexit__(kind, error, traceback)

    async def votes(self, original: Problem, edited: Problem, role: str) -> list[Vote]:
        """Return the answers that programs give to an edited problem; one unread vote where nobody may vote."""
        able = await self._able_to(original)
        if not able:
            return [Vote(self._jurors[0].config.author, fault="original_unsolved")]
        seats = [(able[number % len(able)], number) for number in range(self._config.votes)]
        votes = list(await asyncio.gather(*(self._vote(juror, edited, number) for juror, number in seats)))
        own = substituted(str(original.meta.get("gold_program") or ""), original.question, edited.question)
        return [*votes, await self._run(ORIGINAL, (own,), edited)] if own else votes

    async def _able_to(self, original: Problem) -> list[Asked]:
        """Return the jurors whose program gives the known answer of a problem; asked once per problem."""
        if original.id not in self._able:
            self._able[original.id] = asyncio.ensure_future(self._solving(original))
        return await asyncio.shield(self._able[original.id])

    async def _solving(self, original: Problem) -> list[Asked]:
        jurors = list({juror.config.author: juror for juror in self._jurors}.values())
        votes = await asyncio.gather(*(self._vote(juror, original, 0) for juror in jurors))
        return [juror for juror, vote in zip(jurors, votes, strict=True) if _is_same(vote.label, original.answer)]

    async def _vote(self, juror: Asked, problem: Problem, number: int) -> Vote:
        sample = SampleConfig(kinds=("pot",), temperature=self._config.temperature, template="zero_shot")
        request = build_request(problem, "pot", juror.config, sample, template=self._template)
        completion = (await juror.teacher.complete(request, [number]))[0]
        if completion.failed:
            return Vote(juror.config.author, fault=str(completion.finish))
        found = find_program(completion.text, truncated=completion.finish == "length")
        if not found.programs:
            return Vote(juror.config.author, fault=found.reason or "no_program")
        return await self._run(juror.config.author, found.programs, problem)

    async def _run(self, name: str, programs: tuple[str, ...], problem: Problem) -> Vote:
        run = await self._runs.run(programs)
        if run.answer is None:
            return Vote(name, fault=run.status)
        answer = read_value(run.answer, run.answer_type, Wanted("number", question=problem.question))
        return Vote(name, fault="unreadable") if answer is None else Vote(name, answer.text)


def recomputed(votes: Sequence[Vote], original: Problem, role: str, config: JuryConfig) -> tuple[str, Finding]:
    """Return the answer that enough programs agree on, and whether it fits the role; without one an empty text.

    Reasons: original_unsolved, unread_votes, no_majority, unflipped, other_label (of an invariant).
    """
    if any(vote.fault == "original_unsolved" for vote in votes):
        return "", Finding(False, "original_unsolved", {}, "no juror's program gives the answer of the original")
    counts = Counter(vote.label for vote in votes if vote.label is not None)
    detail = ", ".join(f"{count} × {answer}" for answer, count in counts.most_common()) or "no program gave an answer"
    answer, agreeing = counts.most_common(1)[0] if counts else ("", 0)
    metrics = {"agreement": round(agreeing / max(1, len(votes)), 4), "n_votes": float(len(votes))}
    if agreeing < config.agree * len(votes) - 1e-9:
        reason = "unread_votes" if 2 * counts.total() < len(votes) else "no_majority"
        return "", Finding(False, reason, metrics, detail)
    is_same = _is_same(answer, original.answer)
    reason = ("unflipped" if is_same else "") if role == "counterfactual" else ("" if is_same else "other_label")
    return str(answer), Finding(not reason, reason, metrics, detail)


def substituted(program: str, before: str, after: str) -> str | None:
    """Return the program of a question with the numbers that an edit replaced; `None` where that cannot be told.

    The numbers of both questions must stand in the same order, and each one replaced must stand in the program once.

    >>> substituted("ans = 3 * 4", "3 bags of 4 apples", "3 bags of 7 apples")
    'ans = 3 * 7'
    """
    old, new = _NUMBER.findall(before), _NUMBER.findall(after)
    if not program.strip() or len(old) != len(new) or _NUMBER.sub("#", before) != _NUMBER.sub("#", after):
        return None
    changes = {a: b for a, b in zip(old, new, strict=True) if a != b}
    if not changes or any(old.count(a) != 1 or len(_literals(program, a)) != 1 for a in changes):
        return None
    places = sorted((_literals(program, a)[0], a, b) for a, b in changes.items())
    for (start, end), _, b in reversed(places):
        program = program[:start] + b.replace(",", "") + program[end:]
    return program


def _literals(program: str, number: str) -> list[tuple[int, int]]:
    wanted = number.replace(",", "")
    return [match.span() for match in _NUMBER.finditer(program) if match[0] == wanted]


def _is_same(answer: str | None, gold: str | None) -> bool:
    if answer is None or gold is None:
        return False
    return equal(normalise(answer, "number"), normalise(gold, "number"), "number") is True
