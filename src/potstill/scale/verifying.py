"""Verification, and programs from a file, on the workers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from potstill.rationales.verification import CheckFailures
from potstill.recipe.rationales import SandboxConfig, VerifyConfig
from potstill.records import Problem, Rationale
from potstill.sandbox.execution import Execution
from potstill.scale.crew import Crew
from potstill.scale.spreading import Chunk, Spreading

CHUNK = 128
"""Rows that travel together."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Rationales with their problems."""

    rationales: list[Rationale]
    problems: dict[str, Problem]


def verify_on(
    crew: Crew,
    rationales: Iterable[Rationale],
    problems: Mapping[str, Problem],
    config: VerifyConfig,
    sandbox: SandboxConfig,
) -> Iterator[Rationale]:
    """Yield each rationale with its verdict and problem, as chunks come back; as `rationales.verification.verify`.

    Raises:
        TooManyFailures: More than `config.max_failed_frac` of the rows could not be checked.
        SandboxError: As `Spreading.spread` says.
    """
    failures = CheckFailures(config.max_failed_frac)
    spreading = Spreading[Rows](
        crew, sandbox, lambda actor, work: actor.verify.remote(work.rationales, work.problems, config, sandbox)
    )
    for chunk, verdicts in spreading.spread(chunks(rationales, problems)):
        for row, verdict in zip(chunk.work.rationales, verdicts, strict=True):
            failures.count(verdict)
            yield replace(row, verdict=verdict, problem=chunk.work.problems.get(row.problem_id) or row.problem)


def chunks(rationales: Iterable[Rationale], problems: Mapping[str, Problem]) -> Iterator[Chunk[Rows]]:
    """Yield rows in chunks, those with programs apart."""
    waiting: dict[bool, list[Rationale]] = {False: [], True: []}
    number = 0
    for row in rationales:
        rows = waiting[row.kind == "pot"]
        rows.append(row)
        if len(rows) == CHUNK:
            yield Chunk(number, _rows(rows, problems), row.kind == "pot")
            number += 1
            rows.clear()
    for has_programs, rows in waiting.items():
        if rows:
            yield Chunk(number, _rows(rows, problems), has_programs)
            number += 1


def _rows(rows: list[Rationale], problems: Mapping[str, Problem]) -> Rows:
    return Rows(list(rows), {row.problem_id: problems[row.problem_id] for row in rows if row.problem_id in problems})


def execute_on(crew: Crew, programs: Iterable[Any], sandbox: SandboxConfig) -> Iterator[Execution]:
    """Yield one `Execution` per program, in order; as `sandbox.running.run_programs`.

    Raises:
        SandboxError: As `Spreading.spread` says; a program's own failure is a result.
    """
    spreading = Spreading[list[Any]](crew, sandbox, lambda actor, work: actor.execute.remote(work, sandbox))
    early: dict[int, list[Execution]] = {}
    following = 0
    for chunk, results in spreading.spread(_programs(programs)):
        early[chunk.number] = results
        while following in early:
            yield from early.pop(following)
            following += 1


def _programs(programs: Iterable[Any]) -> Iterator[Chunk[list[Any]]]:
    waiting: list[Any] = []
    number = 0
    for program in programs:
        waiting.append(program)
        if len(waiting) == CHUNK:
            yield Chunk(number, waiting, has_programs=True)
            waiting, number = [], number + 1
    if waiting:
        yield Chunk(number, waiting, has_programs=True)
