"""Chunks of work go out to whoever is free, programs only to nodes that confine them; a lost chunk goes out again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from potstill.errors import SandboxError
from potstill.messages import say
from potstill.recipe.rationales import SandboxConfig
from potstill.scale.crew import Crew, Member

T = TypeVar("T")
AT_ONCE = 2
"""Chunks at one worker: the next one is there when the first is done."""
MOST_LOSSES = 3
"""Workers that may be lost under one chunk: more is the chunk's doing."""


@dataclass(slots=True)
class Chunk(Generic[T]):
    """Work that travels together."""

    number: int
    work: T
    has_programs: bool
    losses: int = 0


class Spreading(Generic[T]):
    """One pass over chunks. State: which chunk is where, which worker confines programs."""

    def __init__(self, crew: Crew, sandbox: SandboxConfig, call: Callable[[Any, T], Any]) -> None:
        """Set up.

        Args:
            call: (actor, work) -> Ray's reference of the result.
        """
        self._crew = crew
        self._sandbox = sandbox
        self._call = call
        self._running: dict[Any, tuple[Member, Chunk[T]]] = {}
        self._again: list[Chunk[T]] = []
        self._confines: dict[str, bool] = {}

    def spread(self, source: Iterator[Chunk[T]]) -> Iterator[tuple[Chunk[T], Any]]:
        """Yield chunks with their results as they come; one is pulled only when a worker has room for it.

        Raises:
            SandboxError: No worker is left and none comes, or a chunk's workers die under it.
            PotstillError: What the work itself raised.
        """
        held: Chunk[T] | None = None
        is_over = False
        while not is_over or held is not None or self._running or self._again:
            if held is None:
                held = self._again.pop() if self._again else next(source, None)
                is_over = is_over or held is None
            if held is not None and (member := self._free_for(held)) is not None:
                self._running[self._call(member.actor, held.work)] = member, held
                held = None
            elif self._running:
                yield from self._await_one()
            elif held is not None:
                self._await_worker()

    def _free_for(self, chunk: Chunk[T]) -> Member | None:
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
                say("ray", f"{member.name} takes no programs: {why}")
        return self._confines[member.node]

    def _await_one(self) -> Iterator[tuple[Chunk[T], Any]]:
        """Wait for a chunk and yield it with its result; that of a lost worker is put back."""
        import ray
        from ray.exceptions import RayActorError, RayTaskError

        done, _ = ray.wait(list(self._running), num_returns=1, timeout=self._crew.config.lease_s)
        if not done:
            self._give_up_silent()
            return
        member, chunk = self._running.pop(done[0])
        try:
            result = ray.get(done[0])
        except RayTaskError as error:
            raise error.cause from error
        except RayActorError as error:
            self._crew.lose(member, type(error).__name__)
            self._put_back(member, chunk)
            return
        yield chunk, result

    def _put_back(self, member: Member, chunk: Chunk[T]) -> None:
        chunk.losses += 1
        if chunk.losses >= MOST_LOSSES:
            message = (
                f"ray: {chunk.losses} workers were lost under the same rows, the last on {member.name}; look for "
                "memory there (`ray status`), or give workers more with ray.num_cpus"
            )
            raise SandboxError(message)
        self._again.append(chunk)

    def _give_up_silent(self) -> None:
        """Look whether the workers that are busy still answer; the chunks of one that does not are put back."""
        import ray
        from ray.exceptions import RayError

        lease_s = self._crew.config.lease_s
        for member in {member.node: member for member, _ in self._running.values()}.values():
            try:
                ray.get(member.actor.hello.remote(), timeout=lease_s)
            except RayError:
                self._crew.lose(member, f"silent for {lease_s:g} s")
                lost = [found for found, (owner, _) in self._running.items() if owner is member]
                for found in lost:
                    self._put_back(*self._running.pop(found))

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
