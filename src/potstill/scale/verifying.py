"""Verification on the workers: rows go out in chunks to whoever is free, programs only to nodes that confine them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from potstill.errors import SandboxError
from potstill.messages import say
from potstill.rationales.verification import CheckFailures
from potstill.recipe.rationales import SandboxConfig, VerifyConfig
from potstill.records import Problem, Rationale
from potstill.scale.crew import Crew, Member

CHUNK = 128
"""Rows that travel together."""
AT_ONCE = 2
"""Chunks at one worker: the next one is there when the first is done."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Rows of one kind of work, with their problems."""

    rows: list[Rationale]
    problems: dict[str, Problem]
    has_programs: bool


def verify_on(
    crew: Crew,
    rationales: Iterable[Rationale],
    problems: Mapping[str, Problem],
    config: VerifyConfig,
    sandbox: SandboxConfig,
) -> Iterator[Rationale]:
    """Yield each rationale with its verdict and problem, as chunks come back; as `rationales.verification.verify`.

    A chunk whose worker is lost goes to another one.

    Raises:
        TooManyFailures: More than `config.max_failed_frac` of the rows could not be checked.
    """
    failures = CheckFailures(config.max_failed_frac)
    for row in Spreading(crew, config, sandbox).spread(chunks(rationales, problems)):
        failures.count(row.verdict)
        yield row


def chunks(rationales: Iterable[Rationale], problems: Mapping[str, Problem]) -> Iterator[Chunk]:
    """Yield rows in chunks, those with programs apart."""
    waiting: dict[bool, list[Rationale]] = {False: [], True: []}
    for row in rationales:
        rows = waiting[row.kind == "pot"]
        rows.append(row)
        if len(rows) == CHUNK:
            yield _chunk(rows, problems, has_programs=row.kind == "pot")
            rows.clear()
    for has_programs, rows in waiting.items():
        if rows:
            yield _chunk(rows, problems, has_programs=has_programs)


def _chunk(rows: list[Rationale], problems: Mapping[str, Problem], *, has_programs: bool) -> Chunk:
    own = {row.problem_id: problems[row.problem_id] for row in rows if row.problem_id in problems}
    return Chunk(list(rows), own, has_programs)


class Spreading:
    """One verification on its way. State: which chunk is where, which worker confines programs."""

    def __init__(self, crew: Crew, config: VerifyConfig, sandbox: SandboxConfig) -> None:
        self._crew = crew
        self._config = config
        self._sandbox = sandbox
        self._running: dict[Any, tuple[Member, Chunk]] = {}
        self._again: list[Chunk] = []
        self._confines: dict[str, bool] = {}

    def spread(self, source: Iterator[Chunk]) -> Iterator[Rationale]:
        """Yield verified rows; a chunk is pulled only when a worker has room for it."""
        held: Chunk | None = None
        is_over = False
        while not is_over or held is not None or self._running or self._again:
            if held is None:
                held = self._again.pop() if self._again else next(source, None)
                is_over = is_over or held is None
            if held is not None and (member := self._free_for(held)) is not None:
                self._give(member, held)
                held = None
                continue
            if self._running:
                yield from self._await_one()
            elif held is not None:
                self._await_worker()

    def _await_worker(self) -> None:
        """Wait for a worker where there is none."""
        deadline = time.monotonic() + self._crew.config.start_s
        while not self._crew.refresh():
            if time.monotonic() > deadline:
                message = (
                    f"ray: no worker is left, and none came within {self._crew.config.start_s:g} s (ray.start_s); "
                    "repair the cluster and run the same command to resume"
                )
                raise SandboxError(message)
            time.sleep(0.2)

    def _free_for(self, chunk: Chunk) -> Member | None:
        """Return the least busy worker that may take a chunk; `None`: all have enough."""
        members = self._crew.refresh()
        if chunk.has_programs:
            confining = [member for member in members if self._does_confine(member)]
            members = confining or members  # where nobody confines, each row says so
        load = dict.fromkeys(members, 0)
        for member, _ in self._running.values():
            if member in load:
                load[member] += 1
        best = min(members, key=lambda member: load[member], default=None)
        return best if best is not None and load[best] < AT_ONCE else None

    def _does_confine(self, member: Member) -> bool:
        """Whether programs may go to a worker, by a test in it that is made once for each node."""
        import ray
        from ray.exceptions import RayError

        if member.node not in self._confines:
            try:
                why = ray.get(member.actor.isolation.remote(self._sandbox), timeout=self._crew.config.start_s)
            except RayError as error:
                self._crew.lose(member, type(error).__name__)
                return False
            self._confines[member.node] = why is None
            if why is not None:
                say("verify", f"{member.name} takes no programs: {why}")
        return self._confines[member.node]

    def _give(self, member: Member, chunk: Chunk) -> None:
        found = member.actor.verify.remote(chunk.rows, chunk.problems, self._config, self._sandbox)
        self._running[found] = (member, chunk)

    def _await_one(self) -> Iterator[Rationale]:
        """Wait for a chunk and yield its rows; that of a lost worker is put back."""
        import ray
        from ray.exceptions import RayActorError, RayTaskError

        done, _ = ray.wait(list(self._running), num_returns=1)
        member, chunk = self._running.pop(done[0])
        try:
            verdicts = ray.get(done[0])
        except RayTaskError as error:
            raise error.cause from error
        except RayActorError as error:
            self._again.append(chunk)
            self._crew.lose(member, type(error).__name__)
            return
        for row, verdict in zip(chunk.rows, verdicts, strict=True):
            yield replace(row, verdict=verdict, problem=chunk.problems.get(row.problem_id) or row.problem)
