"""What runs on a node: one process that sends requests and verifies rows, and decides nothing.

The driver hands it orders in groups and collects outcomes in groups. It buys nothing on its own account: a claim, a
rate, a budget and a retry are the driver's business, so a worker may die at any moment. Made into a Ray actor by
`scale.crew`; no Ray in here.
"""

from __future__ import annotations

import asyncio
import os
import platform
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from potstill.errors import PotstillError, shorten
from potstill.recipe.rationales import SandboxConfig, VerifyConfig
from potstill.recipe.teachers import TeacherConfig
from potstill.records import Problem, Rationale, Verdict
from potstill.teachers.base import Request
from potstill.teachers.responses import Failure, Reply

if TYPE_CHECKING:
    from potstill.rationales.verification import Checker
    from potstill.sandbox.execution import Execution
    from potstill.sandbox.running import Sandbox
    from potstill.teachers.buying import Wire

COMPANY_S = (0.002, 0.05)
"""Shortest and longest time that a finished request waits for others that travel with it."""
COMPANY = 0.1
"""The same as a fraction of what a request takes: a message to the driver costs it as much as a request does."""
NEEDED = ("aiohttp", "pydantic_monty", "sympy", "mpmath", "dateutil", "math_verify", "torch", "transformers")
"""Modules that decide what a stage finds: a worker must have those that the driver has."""
TIER_2 = "yield_ = 1\nans = frozenset([yield_])"
"""A program that Monty cannot run."""


@dataclass(frozen=True, slots=True)
class Order:
    """One request to send now."""

    number: int
    request: Request
    head: str
    indices: tuple[int, ...]


Outcome = tuple[int, Reply | Failure | PotstillError]
"""(number of the order, what came back)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a process has: compared between the driver and its workers."""

    host: str
    pid: int
    python: str
    potstill: str
    modules: frozenset[str]


def own_facts() -> Facts:
    """Return the facts of this process."""
    from potstill.teachers.storage import identity

    try:
        own = version("potstill")
    except PackageNotFoundError:
        own = "unknown"
    modules = frozenset(name for name in NEEDED if find_spec(name) is not None)
    host, pid, _ = identity()
    return Facts(host=host, pid=pid, python=platform.python_version(), potstill=own, modules=modules)


@dataclass(slots=True)
class Door:
    """The way to one teacher from this node, and what has come back through it."""

    wire: Wire
    stack: AsyncExitStack
    done: list[Outcome] = field(default_factory=list)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    usual_s: float = 0.0
    """What a request takes, as a running mean."""

    async def serve(self, order: Order) -> None:
        """Send one order and keep its outcome for the driver."""
        outcome: Reply | Failure | PotstillError
        began = time.monotonic()
        try:
            outcome = await self.wire.send(order.request, order.head, order.indices)
        except PotstillError as error:
            outcome = error
        except Exception as error:  # noqa: BLE001 - travels to the driver, which records it as this attempt's failure
            outcome = Failure("broken", "worker_error", f"{type(error).__name__}: {shorten(error)}")
        self.usual_s += 0.1 * (time.monotonic() - began - self.usual_s)
        self.done.append((order.number, outcome))
        self.wake.set()

    async def collect(self, wait_s: float) -> list[Outcome]:
        """Return what has come back; waits for the first, and a moment for its company."""
        if not self.done:
            with suppress(TimeoutError):
                await asyncio.wait_for(self.wake.wait(), wait_s)
        if self.done:
            await asyncio.sleep(min(COMPANY_S[1], max(COMPANY_S[0], COMPANY * self.usual_s)))
        self.wake.clear()
        taken, self.done = self.done, []
        return taken


class Worker:
    """The worker of one node. State: open doors to teachers, one open checker, requests on their way."""

    def __init__(self) -> None:
        self._doors: dict[str, Door] = {}
        self._sending: set[asyncio.Task[None]] = set()
        self._checker: tuple[tuple[VerifyConfig, SandboxConfig], Checker, AsyncExitStack] | None = None
        self._sandboxes: dict[SandboxConfig, Sandbox] = {}
        self._opening = asyncio.Lock()

    async def hello(self) -> Facts:
        """Return what this process has."""
        return own_facts()

    async def open(self, name: str, config: TeacherConfig, secrets: Mapping[str, str]) -> None:
        """Open the way to a teacher; the embedded one gets a server here where its address says so.

        Args:
            name: What the door is called in orders.
            secrets: Environment variables that the configuration names; held in memory only.
        """
        from potstill.teachers.base import open_wire
        from potstill.teachers.reaching import reachable

        os.environ.update(secrets)
        stack = AsyncExitStack()
        reached, _ = await stack.enter_async_context(reachable(config))
        wire = open_wire(reached, None, name, None)
        stack.push_async_callback(wire.aclose)
        self._doors[name] = Door(wire, stack)

    async def post(self, name: str, orders: Sequence[Order]) -> None:
        """Begin to send orders."""
        door = self._doors[name]
        for order in orders:
            task = asyncio.ensure_future(door.serve(order))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)

    async def collect(self, name: str, wait_s: float) -> list[Outcome]:
        """Return outcomes; none after `wait_s` seconds without any: a sign of life."""
        return await self._doors[name].collect(wait_s)

    async def close(self, name: str) -> None:
        """Close the way to a teacher."""
        door = self._doors.pop(name, None)
        if door is not None:
            await door.stack.aclose()

    async def isolation(self, config: SandboxConfig) -> str | None:
        """Return why programs are not confined here as configured; `None`: they are, by a test of it."""
        return await asyncio.to_thread(unconfined, config)

    async def verify(
        self,
        rationales: Sequence[Rationale],
        problems: Mapping[str, Problem],
        config: VerifyConfig,
        sandbox: SandboxConfig,
    ) -> list[Verdict]:
        """Return the verdict on each rationale, in order; the checker stays open for the next ones."""
        from potstill.rationales.verification import in_order

        checker = (await self._checking(config, sandbox)).about(problems)
        found = [row.verdict async for row in in_order(rationales, checker, config.workers)]
        return [verdict for verdict in found if verdict is not None]

    async def execute(self, programs: Sequence[Any], sandbox: SandboxConfig) -> list[Execution]:
        """Return one result per program, in order; the sandbox stays open for the next ones."""
        from potstill.sandbox.running import Sandbox

        async with self._opening:
            if sandbox not in self._sandboxes:
                self._sandboxes[sandbox] = await asyncio.to_thread(Sandbox(sandbox).__enter__)
        return [result async for result in self._sandboxes[sandbox].stream(programs)]

    async def _checking(self, config: VerifyConfig, sandbox: SandboxConfig) -> Checker:
        from potstill.rationales.verification import opened_checker

        async with self._opening:
            if self._checker is not None and self._checker[0] == (config, sandbox):
                return self._checker[1]
            if self._checker is not None:
                await self._checker[2].aclose()
            stack = AsyncExitStack()
            checker = await stack.enter_async_context(opened_checker({}, config, sandbox))
            self._checker = (config, sandbox), checker, stack
            return checker


def unconfined(config: SandboxConfig) -> str | None:
    """Start a sandbox and return why it is weaker than configured; `None`: it is as configured."""
    from potstill.sandbox.running import Sandbox

    try:
        with Sandbox(config) as sandbox:
            if config.tiers == "monty":
                return sandbox.monty_missing
            found = sandbox.run(TIER_2)
            return None if found.ok else found.error or found.status
    except PotstillError as error:
        return str(error)
