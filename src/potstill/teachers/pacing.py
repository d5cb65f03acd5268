"""When the next request may go: concurrency that adapts, rate limits, back-off, and the budget.

    await pace.enter(tokens) ──► send ──► pace.leave() ──► pace.succeeded() or throttled(wait_s) ──► pace.committed()

One pace per endpoint. A 429 or 503 slows the whole client down: nothing is sent until the time that the server asked
for, and the number in flight shrinks by a factor and grows back by additions (AIMD). Nothing here sends anything.
"""

from __future__ import annotations

import asyncio
import email.utils
import random
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from potstill.errors import BudgetError

if TYPE_CHECKING:
    from potstill.recipe.teachers import BudgetConfig

SHRINK = 0.7
"""What is left of the number in flight after a 429 or 503."""
GROW = 4.0
"""How much the number in flight grows for every round of successes."""
BACKOFF_S = 0.25
"""First delay of a retry; it doubles."""
LONGEST_BACKOFF_S = 30.0
LONGEST_PAUSE_S = 900.0
"""A server that asks for a longer wait has a quota that will not come back during this run."""


class Pace:
    """Decides when a request may be sent. State: who is in flight, who waits, until when the server wants quiet."""

    def __init__(
        self, limit: int, *, requests_per_minute: float | None = None, tokens_per_minute: float | None = None
    ) -> None:
        self.limit = float(limit)
        self.in_flight = 0
        self.uncommitted = 0
        self.successes = 0
        self._most = limit
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._quiet_until = 0.0
        self._shrunk_at = 0.0
        self._requests = Schedule(requests_per_minute)
        self._tokens = Schedule(tokens_per_minute)

    async def enter(self, tokens: int) -> float:
        """Wait for a free slot, for the rate limits and for the end of a pause; return the time of sending."""
        await self._free_slot()
        try:
            delay = max(self._requests.take(1), self._tokens.take(tokens))
            while (wait_s := max(delay, self._quiet_until - time.monotonic())) > 0:
                delay = 0.0
                await asyncio.sleep(wait_s)
        except BaseException:
            self.leave()
            raise
        return time.monotonic()

    def leave(self, *, is_uncommitted: bool = False) -> None:
        """Give the slot to the next one that waits; an answer that is yet to be committed counts until it is."""
        self.in_flight -= 1
        self.uncommitted += is_uncommitted
        self._admit()

    def committed(self) -> None:
        """Count an answer as safe."""
        self.uncommitted -= 1
        self._admit()

    def succeeded(self) -> None:
        """Count an answer: a little more may be in flight."""
        self.successes += 1
        if self.limit < self._most:
            self.limit = min(self._most, self.limit + GROW / self.limit)
            self._admit()

    def throttled(self, wait_s: float, sent_at: float) -> None:
        """Slow the whole client down; answers to requests sent before the last slow-down shrink nothing again."""
        now = time.monotonic()
        self._quiet_until = max(self._quiet_until, now + wait_s)
        if sent_at >= self._shrunk_at:
            self.limit = max(1.0, self.limit * SHRINK)
            self._shrunk_at = now

    def correct(self, estimated_tokens: int, tokens: int) -> None:
        """Give the token limit what a request used instead of what was reserved for it."""
        self._tokens.put_back(estimated_tokens - tokens)

    async def _free_slot(self) -> None:
        if not self._waiting and self._has_room():
            self.in_flight += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.leave()
            raise

    def _has_room(self) -> bool:
        """Whether one more may go: what a kill can lose, uncommitted answers, is bounded like what is in flight."""
        return self.in_flight < int(self.limit) and self.uncommitted < self._most

    def _admit(self) -> None:
        while self._waiting and self._has_room():
            turn = self._waiting.popleft()
            if not turn.done():
                self.in_flight += 1
                turn.set_result(None)


class Schedule:
    """A rate limit as a timetable: each amount taken moves the next free moment back, so nothing comes in bursts."""

    def __init__(self, per_minute: float | None) -> None:
        self._cost_s = 60.0 / per_minute if per_minute else 0.0
        self._next_free = 0.0

    def take(self, amount: float) -> float:
        """Return the seconds to wait before `amount` may be used."""
        if not self._cost_s:
            return 0.0
        now = time.monotonic()
        start = max(now, self._next_free)
        self._next_free = start + amount * self._cost_s
        return start - now

    def put_back(self, amount: float) -> None:
        """Return what was taken too much (negative: take the rest)."""
        self._next_free += -amount * self._cost_s


class Backoff:
    """Delays of one request's retries: exponential with full jitter, the server's own wish first.

    A retry is used up by a failure, but by a 429 or 503 only if nothing at all has succeeded since this request was
    last sent: as long as the endpoint works, a slowed client waits its turn.
    """

    def __init__(self, max_retries: int, pace: Pace, rng: random.Random) -> None:
        self._left = max_retries
        self._pace = pace
        self._rng = rng
        self._tries = 0
        self._seen = pace.successes

    def next(self, *, is_throttled: bool = False, wait_s: float | None = None) -> float | None:
        """Return the seconds until the next try; `None`: give up."""
        progress, self._seen = self._pace.successes > self._seen, self._pace.successes
        if not (is_throttled and progress):
            if self._left <= 0:
                return None
            self._left -= 1
        ceiling = min(LONGEST_BACKOFF_S, BACKOFF_S * 2**self._tries)
        self._tries += 1
        jitter = self._rng.uniform(0.1 * ceiling, ceiling)
        return jitter if wait_s is None else wait_s + 0.1 * jitter


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that a response asks to wait (`Retry-After` as seconds or a date, `retry-after-ms`)."""
    for name, scale in (("retry-after-ms", 1000.0), ("Retry-After", 1.0)):
        value = headers.get(name, "").strip()
        try:
            seconds = float(value) / scale
        except ValueError:
            continue
        if seconds >= 0:
            return seconds
    try:
        date = email.utils.parsedate_to_datetime(headers.get("Retry-After", ""))
    except (ValueError, TypeError):
        return None
    return max(0.0, date.timestamp() - time.time())


class Budget:
    """Hard limits in tokens and money: what a request may cost is reserved before it is sent, then settled.

    A request that does not fit waits for those in flight, which mostly cost less than was reserved; if it does not
    fit with nothing in flight, the budget is reached.
    """

    def __init__(self, limits: BudgetConfig | None, spent: Mapping[str, float]) -> None:
        self.limits = limits
        self._tokens = None if limits is None else limits.tokens
        self._money = None if limits is None else limits.money
        self.spent_tokens = int(spent.get("tokens", 0))
        self.spent_money = float(spent.get("money", 0.0))
        self._held: dict[int, tuple[int, float]] = {}
        self._next = 0
        self._reached: BudgetError | None = None
        self._changed: list[asyncio.Future[None]] = []

    @property
    def is_limited(self) -> bool:
        """Whether there is any limit."""
        return self._tokens is not None or self._money is not None

    async def reserve(self, estimate: Callable[[], tuple[int, float]]) -> int:
        """Reserve (tokens, money) and return the ticket to settle.

        Args:
            estimate: The most that the request may cost; asked again after every wait, since estimates improve.

        Raises:
            BudgetError: It does not fit, and nothing in flight could make room.
        """
        while True:
            if self._reached is not None:
                raise self._reached
            tokens, money = estimate() if self.is_limited else (0, 0.0)
            if self._fits(tokens, money):
                self._next += 1
                self._held[self._next] = (tokens, money)
                return self._next
            if not self._held:
                # For everyone: a smaller request sent now would be paid for while its caller is being stopped.
                self._reached = BudgetError(self._message(tokens, money))
                raise self._reached
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._changed.append(turn)
            await turn

    def charge(self, tokens: int, money: float) -> None:
        """Add what was used."""
        self.spent_tokens += tokens
        self.spent_money += money

    def settle(self, ticket: int) -> None:
        """Free a reservation; what it used has been charged by then."""
        self._held.pop(ticket, None)
        waiting, self._changed = self._changed, []
        for turn in waiting:
            if not turn.done():
                turn.set_result(None)

    def _fits(self, tokens: int, money: float) -> bool:
        held_tokens = sum(t for t, _ in self._held.values()) if self.is_limited else 0
        held_money = sum(m for _, m in self._held.values()) if self.is_limited else 0.0
        return (self._tokens is None or self.spent_tokens + held_tokens + tokens <= self._tokens) and (
            self._money is None or self.spent_money + held_money + money <= self._money
        )

    def _message(self, tokens: int, money: float) -> str:
        parts = []
        if self._tokens is not None:
            parts.append(f"budget.tokens: {self.spent_tokens} of {self._tokens} used, the next may take {tokens}")
        if self._money is not None:
            parts.append(f"budget.money: {self.spent_money:.4f} of {self._money:g} used, the next may cost {money:.4f}")
        return "; ".join(parts) + ". Everything bought is kept; raise the budget and run the same command to resume"
