"""A teacher's requests, sent by the workers: each goes to the one with the most room.

    BuyingTeacher ─► ClusterWire ─► Line to a worker ─► (its node) ─► endpoint
                                      │  orders and outcomes travel in groups
                                      └─ a worker that dies, or falls silent for a lease: what it was asked is `lost`,
                                         and asked again of another one

The claim on a row stays with the driver's ledger from before the order is handed out until its outcome is stored, so a
row is bought once, whoever sends it; what can be paid twice is what a lost worker had in flight. Nothing waits at a
worker: an order is handed out only where it can be sent at once.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from potstill.errors import PotstillError, RefusedError, TeacherError, shorten
from potstill.recipe.teachers import TeacherConfig
from potstill.scale.crew import Crew, Member
from potstill.scale.workers import Order, Outcome
from potstill.teachers.base import Request
from potstill.teachers.pacing import BACKOFF_S, LONGEST_BACKOFF_S
from potstill.teachers.responses import Failure, Reply

if TYPE_CHECKING:
    from potstill.teachers.buying import Wire

HEARTBEATS = 4
"""Signs of life in a lease."""
LOOK_S = 1.0
"""Between two looks at who has come and gone."""


class Line:
    """The way to one worker: orders go out together, outcomes come back together."""

    def __init__(self, member: Member, name: str, room: int, lease_s: float) -> None:
        self.member = member
        self.room = room
        self.quiet_until = 0.0
        """No request goes there before: its endpoint could not be reached."""
        self._name = name
        self._lease_s = lease_s
        self._failures = 0
        self._next = 0
        self._asked: dict[int, asyncio.Future[Reply | Failure | PotstillError]] = {}
        self._outbox: list[Order] = []

    async def ask(self, request: Request, head: str, indices: Sequence[int]) -> Reply | Failure:
        """Return what came back for one request; `lost` where the worker was lost on the way."""
        self._next += 1
        order = Order(self._next, request, head, tuple(indices))
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Reply | Failure | PotstillError] = loop.create_future()
        self._asked[order.number] = answer
        self._outbox.append(order)
        if len(self._outbox) == 1:
            loop.call_soon(self._post)
        outcome = await answer
        if isinstance(outcome, PotstillError):
            raise outcome
        self._learn(outcome)
        return outcome

    async def listen(self) -> str:
        """Hand out outcomes until the worker is lost; return why it is."""
        from ray.exceptions import RayError

        while True:
            try:
                found = self.member.actor.collect.remote(self._name, self._lease_s / HEARTBEATS)
                outcomes: list[Outcome] = await asyncio.wait_for(found, self._lease_s)
            except TimeoutError:
                return f"silent for {self._lease_s:g} s"
            except RayError as error:
                return type(error).__name__
            for number, outcome in outcomes:
                answer = self._asked.pop(number, None)
                if answer is not None and not answer.done():
                    answer.set_result(outcome)

    def lose(self) -> int:
        """Answer everything that is asked with `lost`; return how much that is."""
        asked, self._asked = self._asked, {}
        lost = Failure("lost", "worker_lost", f"the worker on {self.member.name} was lost", billed=True)
        for answer in asked.values():
            if not answer.done():
                answer.set_result(lost)
        return len(asked)

    def _post(self) -> None:
        orders, self._outbox = self._outbox, []
        self.member.actor.post.remote(self._name, orders)

    def _learn(self, outcome: Reply | Failure) -> None:
        """Rest a worker whose endpoint cannot be reached, longer each time: it fails fast, and would draw all."""
        if isinstance(outcome, Failure) and outcome.kind == "unreachable":
            self.quiet_until = time.monotonic() + min(LONGEST_BACKOFF_S, BACKOFF_S * 2**self._failures)
            self._failures += 1
        elif isinstance(outcome, Reply):
            self._failures = 0


class ClusterWire:
    """The way to a teacher's model through all workers; what is said of failures is the local wire's."""

    def __init__(
        self, crew: Crew, config: TeacherConfig, inner: Wire, *, name: str, room: int, secrets: dict[str, str]
    ) -> None:
        """Set up.

        Args:
            config: The teacher, with its address.
            inner: The wire of this process, which sends nothing.
            name: The endpoint's, in the ledger's keys.
            room: Requests in flight at one worker.
        """
        self.address = inner.address
        self._crew, self._config, self._inner = crew, config, inner
        self._name, self._room, self._secrets = name, room, secrets
        self._lines: list[Line] = []
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._tending: asyncio.Task[None] | None = None
        self._broken: PotstillError | None = None

    def __repr__(self) -> str:
        return f"ClusterWire({self._inner!r}, {len(self._lines)} workers)"

    def prepare(self, request: Request) -> str:
        """Return the body of a request as one machine would send it."""
        return self._inner.prepare(request)

    async def send(self, request: Request, head: str, indices: Sequence[int]) -> Reply | Failure:
        """Send through the worker with the most room."""
        if self._tending is None:
            self._tending = asyncio.create_task(self._tend())
        elif self._tending.done():  # it goes on for ever, or fails
            self._tending.result()
        line = await self._roomiest()
        line.room -= 1
        try:
            return await line.ask(self._slim(request), head, indices)
        finally:
            line.room += 1
            self._admit()

    def refused(self, failure: Failure, request: Request) -> RefusedError:
        """Return the error of a request that will never be served as it is."""
        return self._inner.refused(failure, request)

    def unreachable(self, failure: Failure) -> TeacherError:
        """Return the error of a model that cannot be reached."""
        return self._inner.unreachable(failure)

    async def aclose(self) -> None:
        """Close the ways; the workers stay."""
        tasks = [*self._tasks, *([self._tending] if self._tending is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for line in self._lines:
            line.member.actor.close.remote(self._name)
        await self._inner.aclose()

    def _slim(self, request: Request) -> Request:
        """Return the request without the messages, which stand in its head; a local model reads them."""
        return request if self._config.local is not None else replace(request, messages=())

    async def _roomiest(self) -> Line:
        """Return the line with the most room; waits for one, and for workers while there are none."""
        since = time.monotonic()
        while True:
            if self._broken is not None:
                raise self._broken
            now = time.monotonic()
            open_lines = [line for line in self._lines if line.room > 0]
            awake = [line for line in open_lines if line.quiet_until <= now]
            if awake:
                return max(awake, key=lambda line: line.room)
            if open_lines and len(open_lines) == len(self._lines):  # all rest: the one that has rested longest
                return min(open_lines, key=lambda line: line.quiet_until)
            if self._lines:
                since = now
            elif now - since > self._crew.config.start_s:
                message = (
                    f"ray: no worker is left, and none came within {self._crew.config.start_s:g} s (ray.start_s); "
                    "everything bought is kept; repair the cluster and run the same command to resume"
                )
                raise TeacherError(message, retryable=True)
            await self._turn()

    async def _turn(self) -> None:
        """Wait until there may be room, or a look's time."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        with suppress(TimeoutError):
            await asyncio.wait_for(turn, LOOK_S)

    def _admit(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return

    async def _tend(self) -> None:
        """Open a line to each worker that has none, as long as this is open."""
        while True:
            members = await asyncio.to_thread(self._crew.refresh)
            known = {line.member for line in self._lines}
            await asyncio.gather(*(self._connect(member) for member in members if member not in known))
            await asyncio.sleep(LOOK_S)

    async def _connect(self, member: Member) -> None:
        from ray.exceptions import RayError, RayTaskError

        try:
            opening = member.actor.open.remote(self._name, self._placed(member), self._secrets)
            await asyncio.wait_for(opening, self._crew.config.start_s)
        except RayTaskError as error:
            cause: Any = error.cause
            where = f"ray: the worker on {member.name}"
            self._broken = cause if isinstance(cause, PotstillError) else TeacherError(f"{where}: {shorten(cause)}")
            self._admit()
            return
        except (RayError, TimeoutError) as error:
            await asyncio.to_thread(self._crew.lose, member, type(error).__name__)
            return
        line = Line(member, self._name, self._room, self._crew.config.lease_s)
        self._lines.append(line)
        task = asyncio.create_task(self._listen(line))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        for _ in range(self._room):
            self._admit()

    def _placed(self, member: Member) -> TeacherConfig:
        """Return the teacher as this worker reaches it: the embedded one on another machine gets a server there."""
        if self._name.startswith("miniature:") and member.facts.host != self._crew.own.host:
            return self._config.model_copy(update={"base_url": "miniature"})
        return self._config

    async def _listen(self, line: Line) -> None:
        why = await line.listen()
        self._lines.remove(line)
        asked = line.lose()
        await asyncio.to_thread(self._crew.lose, line.member, why, asked)
