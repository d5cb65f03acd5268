"""When requests may go, and when money runs out."""

import asyncio
import email.utils
import random
import time

import pytest

from potstill.errors import BudgetError
from potstill.recipe.teachers import BudgetConfig
from potstill.teachers.pacing import Backoff, Budget, Pace, Schedule, retry_after


async def test_no_more_than_the_limit_are_in_flight_and_all_get_their_turn():
    """The slot of one that leaves goes to the one that waits longest."""
    pace, order, most = Pace(2), [], 0

    async def one(number):
        nonlocal most
        await pace.enter(1)
        most = max(most, pace.in_flight)
        await asyncio.sleep(0)
        order.append(number)
        pace.leave()

    await asyncio.gather(*(one(number) for number in range(7)))
    assert most == 2
    assert order == list(range(7))
    assert pace.in_flight == 0


async def test_what_is_received_and_not_yet_committed_is_bounded_too():
    """A disk that stalls stops the sending before much can be lost."""
    pace = Pace(2)
    for _ in range(2):
        await pace.enter(1)
        pace.leave(is_uncommitted=True)
    third = asyncio.create_task(pace.enter(1))
    await asyncio.sleep(0)
    assert pace.in_flight == 0
    pace.committed()
    await asyncio.wait_for(third, 5)
    assert pace.in_flight == 1


async def test_a_cancelled_waiter_takes_no_slot():
    """Neither before its turn nor in the moment of it."""
    pace = Pace(1)
    await pace.enter(1)
    waiting = [asyncio.create_task(pace.enter(1)) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[1].cancel()
    pace.leave()
    waiting[0].cancel()
    await asyncio.wait_for(waiting[2], 5)
    assert pace.in_flight == 1


def test_a_slow_down_shrinks_the_limit_once_for_everything_sent_before_it():
    """Sixty-four answers of 429 to one burst are one signal."""
    pace = Pace(64)
    burst_sent_at = time.monotonic()
    for _ in range(64):
        pace.throttled(0.0, burst_sent_at)
    assert pace.limit == pytest.approx(64 * 0.7)
    for _ in range(100):
        pace.throttled(0.0, time.monotonic())
    assert pace.limit == 1.0


def test_successes_bring_the_limit_back_to_what_was_asked_for_and_no_further():
    """Growth is additive."""
    pace = Pace(16)
    pace.throttled(0.0, time.monotonic())
    shrunk = pace.limit
    pace.succeeded()
    assert shrunk < pace.limit < shrunk + 1
    for _ in range(200):
        pace.succeeded()
    assert pace.limit == 16


async def test_while_the_server_wants_quiet_nothing_is_sent():
    """The pause concerns the whole client, not the one request that was told."""
    pace = Pace(4)
    began = time.monotonic()
    pace.throttled(0.05, began)
    assert await pace.enter(1) >= began + 0.05


def test_a_rate_limit_spaces_requests_evenly():
    """Sixty a minute is one a second, not sixty at once."""
    schedule = Schedule(60)
    waits = [schedule.take(1) for _ in range(4)]
    assert waits == pytest.approx([0, 1, 2, 3], abs=0.1)
    schedule.put_back(2)
    assert schedule.take(1) == pytest.approx(2, abs=0.1)
    assert Schedule(None).take(100) == 0


def test_retries_end_and_their_delays_grow():
    """The delay is drawn below a doubling ceiling; the server's own wish comes first."""
    backoff = Backoff(3, Pace(1), random.Random(0))
    delays = [backoff.next() for _ in range(4)]
    assert delays[3] is None
    assert all(delay <= 0.25 * 2**number for number, delay in enumerate(delays[:3]))
    assert 5.0 <= Backoff(1, Pace(1), random.Random(0)).next(wait_s=5.0) < 5.1


def test_being_slowed_uses_up_no_retry_while_the_endpoint_works():
    """A client that is told to wait waits its turn; only when nothing at all succeeds does it give up."""
    pace = Pace(4)
    backoff = Backoff(1, pace, random.Random(0))
    for _ in range(20):
        pace.succeeded()
        assert backoff.next(is_throttled=True) is not None
    assert backoff.next(is_throttled=True) is not None
    assert backoff.next(is_throttled=True) is None


def test_the_wait_is_read_from_seconds_milliseconds_and_dates():
    """All three forms occur; nonsense is none."""
    assert retry_after({"Retry-After": "2.5"}) == 2.5
    assert retry_after({"retry-after-ms": "300", "Retry-After": "1"}) == 0.3
    assert 8 < retry_after({"Retry-After": email.utils.formatdate(time.time() + 10, usegmt=True)}) <= 10
    assert retry_after({"Retry-After": "soon"}) is None
    assert retry_after({}) is None


async def test_a_budget_is_reserved_before_it_is_spent_and_what_was_not_used_returns():
    """The second request waits for the first one's true cost, then fits."""
    budget = Budget(BudgetConfig(tokens=100), {})
    first = await budget.reserve(lambda: (80, 0.0))
    second = asyncio.create_task(budget.reserve(lambda: (60, 0.0)))
    await asyncio.sleep(0)
    assert not second.done()
    budget.charge(30, 0.0)
    budget.settle(first)
    ticket = await asyncio.wait_for(second, 5)
    budget.charge(60, 0.0)
    budget.settle(ticket)
    with pytest.raises(BudgetError, match=r"budget.tokens: 90 of 100 used, the next may take 20.*raise the budget"):
        await budget.reserve(lambda: (20, 0.0))


async def test_once_the_budget_is_reached_nothing_smaller_slips_in():
    """It would be paid for while its caller is being stopped."""
    budget = Budget(BudgetConfig(tokens=100), {})
    for tokens in (200, 1):
        with pytest.raises(BudgetError, match="the next may take 200"):
            await budget.reserve(lambda tokens=tokens: (tokens, 0.0))


async def test_what_was_spent_before_counts():
    """A resumed run does not begin at zero."""
    with pytest.raises(BudgetError, match=r"budget.money: 0.9000 of 1 used"):
        await Budget(BudgetConfig(money=1.0), {"money": 0.9}).reserve(lambda: (0, 0.2))


async def test_without_limits_nothing_is_estimated():
    """The estimate is never asked for."""
    budget = Budget(None, {})
    assert await budget.reserve(lambda: pytest.fail("asked")) == 1
