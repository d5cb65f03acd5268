"""The teacher that buys: claims, sends, retries, tops up, charges and stores, for any number of callers at once.

    complete ─► single flight ─► claim ─► groups of n ─► attempt ─► store ─► completions
                                             ▲   fewer choices than asked: the missing ones again, each by itself
                                             └── a failed attempt: again, when it is due

A request's slot is given back before its commit is awaited, so the disk never idles the endpoint; received but
uncommitted answers are bounded. How to speak to the endpoint is `openai`, when to `pacing`, what is kept `ledger`.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from potstill.errors import RefusedError, TeacherError
from potstill.streams import map_concurrent
from potstill.teachers.base import Completion, Meter, OnEvent, Request, with_extra_body
from potstill.teachers.charging import Costs, shared
from potstill.teachers.ledger import Attempt, Labels, Ledger, NoLedger
from potstill.teachers.pacing import LONGEST_PAUSE_S, Backoff, Budget, Pace
from potstill.teachers.responses import Choice, Failure, Reply

if TYPE_CHECKING:
    from potstill.recipe.teachers import TeacherConfig

QUICK_TRIES = 3
"""Attempts to reach an endpoint that has never answered."""
POLL_S = (0.05, 1.0)
"""First and longest wait between two looks at what another process is buying."""


class Wire(Protocol):
    """The way to a model: an endpoint over HTTP, its batches, or a model in this process."""

    address: str
    """What may be shown of where it is."""

    def prepare(self, request: Request) -> str:
        """Return what all attempts of a request send, as text: its length is what estimates of cost go by."""
        ...

    async def send(self, request: Request, head: str, indices: Sequence[int]) -> Reply | Failure:
        """Return a choice per index, or as many as there are; a failure is returned, never raised."""
        ...

    def refused(self, failure: Failure, request: Request) -> RefusedError:
        """Return the error of a request that will never be served as it is."""
        ...

    def unreachable(self, failure: Failure) -> TeacherError:
        """Return the error of a model that cannot be reached."""
        ...

    async def aclose(self) -> None:
        """Close connections."""
        ...


@dataclass(frozen=True, slots=True)
class Order:
    """One request on its way: what all its attempts have in common."""

    request: Request
    key: str
    cap: int | None
    head: str
    """The body, but for seed and n."""


@dataclass(frozen=True, slots=True)
class Sold:
    """An answer that outlived the process that asked for it."""

    key: str
    cap: int | None
    indices: Sequence[int]
    outcome: Reply | Failure


class BuyingTeacher:
    """A teacher behind a wire; made by `open_teacher`."""

    def __init__(
        self,
        config: TeacherConfig,
        wire: Wire,
        *,
        endpoint: str,
        ledger: Ledger | None,
        budget: Budget,
        seed: int = 0,
        run: str | None = None,
        on_event: OnEvent | None = None,
        retry_failed: bool = False,
    ) -> None:
        self.config = config
        self.author = config.author
        self.endpoint = endpoint
        self.meter = Meter()
        self.max_in_flight = config.max_concurrency
        self._wire = wire
        self._books: Ledger | NoLedger = ledger if ledger is not None else NoLedger()
        self._labels = Labels(run, wire.address, config.model)
        self._budget = budget
        self._costs = Costs(config.charged)
        self._on_event = on_event
        self._allow_failed = not retry_failed
        self._rng = random.Random(f"{seed}/{os.getpid()}")
        self._pace = Pace(
            config.max_concurrency,
            requests_per_minute=config.requests_per_minute,
            tokens_per_minute=config.tokens_per_minute,
        )
        self._choices = config.n
        self._has_given_several = False
        self._flights: dict[tuple[str, int, int | None], asyncio.Future[Completion | None]] = {}
        self._fatal: TeacherError | None = None

    def __repr__(self) -> str:
        return f"BuyingTeacher({self._wire!r})"

    async def complete(self, request: Request, indices: Sequence[int]) -> list[Completion]:
        """Return one completion per index, from the ledger or bought; as `Teacher.complete`."""
        request = with_extra_body(request, self.config)
        key, cap = request.key(self.endpoint), request.cap
        results: dict[int, Completion] = {}
        while missing := [index for index in dict.fromkeys(indices) if index not in results]:
            mine = [index for index in missing if (key, index, cap) not in self._flights]
            if mine:
                results |= await self._fly(request, key, mine)
                continue
            flying = {index: self._flights[key, index, cap] for index in missing}
            await asyncio.wait(flying.values())
            done = {index: flight.result() for index, flight in flying.items() if not flight.cancelled()}
            results |= {index: completion for index, completion in done.items() if completion is not None}
        return [results[index] for index in indices]

    async def aclose(self) -> None:
        """Close connections."""
        await self._wire.aclose()

    async def keep(self, sold: Sold) -> None:
        """Store what was asked for by a process that ended before its answer came, and charge it.

        What the ledger holds by now is left as it is, and costs nothing.
        """
        claim = await self._books.claim(sold.key, sold.indices, sold.cap)
        kept: list[Completion] = []
        try:
            if claim.claimed:
                kept = await self._keep_claimed(sold, claim.claimed)
        finally:
            left = sorted(set(claim.claimed) - {completion.index for completion in kept})
            if left:
                self._books.release(sold.key, left)

    async def _keep_claimed(self, sold: Sold, claimed: Sequence[int]) -> list[Completion]:
        order = Order(Request(model=self.config.model), sold.key, sold.cap, " ")
        usage, money = self._charge(order, sold.outcome, len(sold.indices))
        entry = Attempt(
            key=sold.key, cap=sold.cap, indices=claimed, outcome="ok", billed=True, usage=usage, money=money
        )
        if isinstance(sold.outcome, Failure):
            entry = replace(entry, outcome=sold.outcome.code, billed=sold.outcome.billed)
            self._books.note(entry, self._labels)
            return []
        found = [c for c in self._completions(order, sold.indices, sold.outcome, usage) if c.index in claimed]
        await self._books.store(replace(entry, indices=[c.index for c in found]), found, self._labels)
        self._count(found)
        return found

    async def _fly(self, request: Request, key: str, indices: Sequence[int]) -> dict[int, Completion]:
        """Obtain completions, so that a second caller who asks for them meanwhile awaits these."""
        loop = asyncio.get_running_loop()
        flights = {index: loop.create_future() for index in indices}
        self._flights.update({(key, index, request.cap): flight for index, flight in flights.items()})
        results: dict[int, Completion] = {}
        try:
            results = await self._obtain(request, key, indices)
        finally:
            for index, flight in flights.items():
                del self._flights[key, index, request.cap]
                flight.set_result(results.get(index))
        return results

    async def _obtain(self, request: Request, key: str, indices: Sequence[int]) -> dict[int, Completion]:
        """Take from the ledger, buy what can be claimed, wait for what another process is buying."""
        got: dict[int, Completion] = {}
        wait_s, longest_s = POLL_S
        order: Order | None = None
        while missing := [index for index in indices if index not in got]:
            claim = await self._books.claim(key, missing, request.cap, allow_failed=self._allow_failed)
            got |= claim.held
            self.meter.from_ledger += len(claim.held)
            if claim.claimed:
                order = order or Order(request, key, request.cap, self._wire.prepare(request))
                got |= await self._buy(order, claim.claimed)
            elif claim.busy:
                await asyncio.sleep(wait_s)
                wait_s = min(longest_s, 1.5 * wait_s)
        return got

    async def _buy(self, order: Order, indices: Sequence[int]) -> dict[int, Completion]:
        """Buy completions that are claimed; what is not bought in the end is released."""
        got: dict[int, Completion] = {}
        try:
            await self._buy_into(got, order, indices)
        finally:
            left = [index for index in indices if index not in got]
            if left:
                self._books.release(order.key, left)
        return got

    async def _buy_into(self, got: dict[int, Completion], order: Order, indices: Sequence[int]) -> None:
        """Fill `got`, in groups of as many choices as the server gives, and again for what it left out."""
        while missing := [index for index in indices if index not in got]:
            size = self._choices
            if len(missing) <= size:
                got |= await self._exchange(order, missing)
                continue
            groups = [missing[start : start + size] for start in range(0, len(missing), size)]
            async for part in map_concurrent(lambda group: self._exchange(order, group), groups, self.max_in_flight):
                got |= part

    async def _exchange(self, order: Order, indices: Sequence[int]) -> dict[int, Completion]:
        """Send until there is a result for at least one index, or a recorded failure for all of them."""
        backoff = Backoff(self.config.max_retries, self._pace, self._rng)
        tries = 0
        while True:
            outcome = await self._delivered(order, indices)
            if not isinstance(outcome, Failure):
                return outcome
            tries += 1
            if outcome.kind == "user":
                if outcome.status in (400, 422) and len(indices) > 1 and not self._has_given_several:
                    return await self._without_n(order, indices)
                raise self._stop(self._wire.refused(outcome, order.request))
            delay = backoff.next(is_throttled=outcome.kind == "throttled", wait_s=outcome.wait_s)
            if outcome.kind == "unreachable":
                has_tried = tries >= QUICK_TRIES and not self._pace.successes
                if delay is None or has_tried or outcome.code == "tls":
                    raise self._stop(self._wire.unreachable(outcome))
            elif outcome.kind == "row" or delay is None:
                return await self._record(order, indices, outcome)
            elif delay > LONGEST_PAUSE_S:
                message = f"teacher {self._wire.address}: asks to wait {delay:.0f} s; run the same command again then"
                raise self._stop(TeacherError(message, outcome.status, retryable=True))
            self.meter.retries += 1
            await asyncio.sleep(delay or 0)

    async def _delivered(self, order: Order, indices: Sequence[int]) -> dict[int, Completion] | Failure:
        """Attempt, and again at once while the worker that sends it is lost: that says nothing about the endpoint."""
        while True:
            if self._fatal is not None:
                raise self._fatal
            outcome = await self._attempt(order, indices)
            if not isinstance(outcome, Failure) or outcome.kind != "lost":
                return outcome
            self.meter.retries += 1

    async def _without_n(self, order: Order, indices: Sequence[int]) -> dict[int, Completion]:
        """Ask for one choice where several were refused; if that is served, asking for several was the cause."""
        got = await self._exchange(order, indices[:1])
        if self._choices > 1:
            self._choices = 1
            self._tell("n_rejected", "the server refuses n > 1; asking for one completion per request")
        return got

    async def _attempt(self, order: Order, indices: Sequence[int]) -> dict[int, Completion] | Failure:
        """Send one request when it may be sent, charge it, and store what it brought."""
        n = len(indices)
        ticket = await self._budget.reserve(lambda: self._costs.at_most(order.head, n, order.cap))
        try:
            outcome = await self._send(order, indices)
            usage, money = self._charge(order, outcome, n)
        finally:
            self._budget.settle(ticket)
        if isinstance(outcome, Failure):
            self.meter.events[outcome.code] += 1
            entry = Attempt(
                key=order.key, cap=order.cap, indices=indices, outcome=outcome.code, billed=outcome.billed,
                usage=usage, money=money,
            )  # fmt: skip
            self._books.note(entry, self._labels)
            return outcome
        try:
            sold = self._completions(order, indices, outcome, usage)
            entry = Attempt(
                key=order.key, cap=order.cap, indices=[c.index for c in sold], outcome="ok", billed=True,
                usage=usage, money=money,
            )  # fmt: skip
            await self._books.store(entry, sold, self._labels)
        finally:
            self._pace.committed()
        self._count(sold)
        return {completion.index: completion for completion in sold}

    async def _send(self, order: Order, indices: Sequence[int]) -> Reply | Failure:
        """Wait for a turn, send, and tell the pace how it went."""
        request, n = order.request, len(indices)
        tokens = self._costs.typical(order.head, n, order.cap)
        sent_at = await self._pace.enter(tokens)
        if self._fatal is not None:  # found out while this one waited for its turn
            self._pace.leave()
            raise self._fatal
        self.meter.sent += 1
        self.meter.in_flight += 1
        outcome: Reply | Failure | None = None
        try:
            outcome = await self._wire.send(request, order.head, indices)
        finally:
            self.meter.in_flight -= 1
            self._pace.leave(is_uncommitted=isinstance(outcome, Reply))
        if isinstance(outcome, Reply):
            self._pace.succeeded()
        elif outcome.kind == "throttled":
            wait_s = outcome.wait_s or 0.0
            self._pace.throttled(wait_s if wait_s <= LONGEST_PAUSE_S else 0.0, sent_at)  # a longer one ends the run
            self._tell("slowed", f"the server asks to slow down ({outcome.status}); sending less at a time")
        return outcome

    def _charge(self, order: Order, outcome: Reply | Failure, n: int) -> tuple[dict[str, int], float]:
        """Charge what an attempt cost, estimated where the server did not say."""
        usage = self._costs.usage(order.head, outcome, n)
        money = self._costs.money(usage)
        tokens = usage.get("prompt_tokens", 0) + usage.get("completion_tokens", 0)
        self._pace.correct(self._costs.typical(order.head, n, order.cap), tokens)
        self._budget.charge(tokens, money)
        self.meter.prompt_tokens += usage.get("prompt_tokens", 0)
        self.meter.completion_tokens += usage.get("completion_tokens", 0)
        self.meter.money += money
        return usage, money

    def _completions(
        self, order: Order, indices: Sequence[int], reply: Reply, usage: dict[str, int]
    ) -> list[Completion]:
        """Give each choice its index; note a server that gave fewer than asked, or no log-probabilities."""
        choices = reply.choices[: len(indices)]
        if len(choices) < len(indices):
            self._choices = min(self._choices, len(choices))
            message = f"the server gave {len(choices)} of {len(indices)} choices; the missing ones are asked for singly"
            self._tell("n_ignored", message)
        if len(choices) > 1:
            self._has_given_several = True
        if order.request.logprobs and any(choice.logprob is None and choice.text for choice in choices):
            self._tell("logprobs_missing", "log-probabilities were asked for and did not come")
        if reply.usage is None:
            self._tell("usage_missing", "the server reports no token counts; they are estimated")
        return [
            _completion(order.key, index, choice, share)
            for index, choice, share in zip(indices, choices, shared(usage, choices), strict=False)
        ]

    async def _record(self, order: Order, indices: Sequence[int], failure: Failure) -> dict[int, Completion]:
        """Store the reason why there is no answer."""
        finish = "refused" if failure.code == "content_filter" else "error"
        reason = f"{failure.code}: {failure.message}" if failure.message else failure.code
        failed = [
            Completion(text="", finish=finish, reason=reason, index=index, request=order.key) for index in indices
        ]
        entry = Attempt(key=order.key, cap=order.cap, indices=indices, outcome="", billed=False)
        await self._books.store(entry, failed, self._labels)
        self._count(failed)
        return {completion.index: completion for completion in failed}

    def _count(self, completions: Sequence[Completion]) -> None:
        self.meter.completions += len(completions)
        for completion in completions:
            if completion.failed:
                self.meter.failures[f"{completion.finish}:{(completion.reason or '').partition(':')[0]}"] += 1

    def _stop(self, error: TeacherError) -> TeacherError:
        """Keep the first error that concerns every request, so that none is sent after it and it is said once."""
        self._fatal = self._fatal or error
        return self._fatal

    def _tell(self, code: str, message: str) -> None:
        self.meter.events[code] += 1
        if self._on_event is not None and self.meter.events[code] == 1:
            self._on_event(code, message)


def _completion(key: str, index: int, choice: Choice, usage: dict[str, int]) -> Completion:
    return Completion(
        text=choice.text,
        finish=choice.finish,
        reason=choice.reason,
        reasoning_content=choice.reasoning_content,
        usage=usage,
        logprob=choice.logprob,
        index=index,
        request=key,
    )
