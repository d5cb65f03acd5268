"""Bounded concurrency."""

import asyncio
import os
import signal
import threading

import pytest

from potstill.streams import Gathering, Stream, collect, map_concurrent, map_ordered, merged, stream


async def test_map_concurrent_yields_every_result_with_a_bounded_number_in_flight():
    """No more than `limit` calls run at once, and every item comes out."""
    running = peak = 0

    async def work(item):
        nonlocal running, peak
        running += 1
        peak = max(peak, running)
        await asyncio.sleep(0.001 * (item % 3))
        running -= 1
        return item

    results = await collect(map_concurrent(work, range(200), limit=16))
    assert sorted(results) == list(range(200))
    assert peak == 16


async def test_leaving_early_cancels_what_runs_and_pulls_no_more():
    """After a break nothing is left running, and the source was read at most `limit` ahead."""
    pulled, cancelled = 0, 0

    def source():
        nonlocal pulled
        for item in range(1000):
            pulled += 1
            yield item

    async def work(item):
        nonlocal cancelled
        try:
            await asyncio.sleep(0 if item < 10 else 30)
        except asyncio.CancelledError:
            cancelled += 1
            raise
        return item

    taken = 0
    results = map_concurrent(work, source(), limit=8)
    async for _ in results:
        taken += 1
        if taken == 10:
            break
    await results.aclose()
    assert pulled <= taken + 8
    assert len(asyncio.all_tasks()) == 1
    assert cancelled <= 8


async def test_an_exception_reaches_the_caller_and_cancels_the_rest():
    """The first failure ends the stream."""

    async def work(item):
        if item == 3:
            raise ValueError("three")
        await asyncio.sleep(30)

    with pytest.raises(ValueError, match="three"):
        await collect(map_concurrent(work, range(10), limit=5))
    assert len(asyncio.all_tasks()) == 1


async def test_a_limit_below_one_is_refused():
    """Nothing would ever run."""
    with pytest.raises(ValueError, match="limit is 0"):
        await collect(map_concurrent(asyncio.sleep, [0], limit=0))


async def numbers(n, log=None):
    try:
        for item in range(n):
            await asyncio.sleep(0)
            yield item
    finally:
        if log is not None:
            log.append("closed")


async def test_a_stream_is_read_the_same_way_from_both_worlds():
    """`async for` and `for` give the same items, the second also inside a running loop."""
    both = Stream(lambda: numbers(5))
    assert [item async for item in both] == [0, 1, 2, 3, 4]
    assert list(both) == [0, 1, 2, 3, 4]
    assert [item async for item in stream(both)] == [0, 1, 2, 3, 4]


def test_a_plain_loop_that_leaves_early_closes_the_source():
    """Nothing is left running behind a `break`."""
    log = []
    for item in Stream(lambda: numbers(1000, log)):
        if item == 2:
            break
    assert log == ["closed"]


def test_a_plain_loop_raises_what_the_source_raised():
    """An error crosses the thread whole."""

    async def broken():
        yield 1
        raise KeyError("inside")

    with pytest.raises(KeyError, match="inside"):
        list(Stream(broken))


async def test_ordered_results_come_in_the_order_of_the_items():
    """The last may finish first: it waits for its turn, and no more than `limit` run."""
    running = peak = 0

    async def slow_first(item):
        nonlocal running, peak
        running += 1
        peak = max(peak, running)
        for _ in range(10 - item):
            await asyncio.sleep(0)
        running -= 1
        return item

    assert [item async for item in map_ordered(slow_first, range(10), 3)] == list(range(10))
    assert peak == 3


async def test_ordered_items_are_pulled_after_what_came_before_was_consumed():
    """The source may look at what the consumer did with the results."""
    done = []

    def source():
        for item in range(4):
            assert len(done) >= item - 1
            yield item

    async def same(item):
        return item

    async for item in map_ordered(same, source(), 2):
        done.append(item)
    assert done == [0, 1, 2, 3]


@pytest.fixture
def interruptible():
    """SIGINT raises KeyboardInterrupt, as at a terminal; a test process that was started by another may ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_of_a_plain_loop_cancels_what_the_source_waits_for():
    """The source is not left to finish a wait that nobody is interested in."""
    ended = []

    async def source():
        yield 1
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    items = iter(Stream(source))
    assert next(items) == 1
    threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        next(items)
    assert ended == ["cancelled"]


async def test_merged_yields_everything_of_every_stream_as_it_comes():
    """A slow stream holds no other one up; an empty one is no end."""

    async def numbers(count, pause, start):
        for number in range(count):
            await asyncio.sleep(pause)
            yield start + number

    found = await collect(merged([numbers(2, 0.05, 0), numbers(20, 0, 10), numbers(0, 0, 0)]))
    assert sorted(found) == [0, 1, *range(10, 30)]
    assert found[-1] == 1


async def test_an_error_in_one_merged_stream_ends_all():
    """What runs is cancelled, and every stream is closed."""
    closed = []

    async def endless(name):
        try:
            while True:
                await asyncio.sleep(0)
                yield name
        finally:
            closed.append(name)

    async def failing():
        await asyncio.sleep(0.01)
        message = "broken"
        raise ValueError(message)
        yield

    with pytest.raises(ValueError, match="broken"):
        async for _ in merged([endless("a"), failing(), endless("b")]):
            pass
    assert sorted(closed) == ["a", "b"]


async def test_calls_that_wait_together_are_answered_together():
    """In groups of at most `most`; each gets its own result as soon as it is there."""
    groups = []

    async def double(items):
        groups.append(len(items))
        for number, item in enumerate(items):
            yield number, 2 * item

    gathering = Gathering(double, quiet_s=0.001, most=8)
    found = await asyncio.gather(*(gathering.ask(number) for number in range(20)))
    assert found == [2 * number for number in range(20)]
    assert groups == [8, 8, 4]
    assert await gathering.ask(50) == 100


async def test_an_error_reaches_every_call_of_its_group_and_no_other():
    """The next group is answered; a caller that left is not asked for."""
    seen = []

    async def answer(items):
        seen.append(items)
        for number, item in enumerate(items):
            if item == "bad":
                message = "broken"
                raise ValueError(message)
            yield number, item

    gathering = Gathering(answer, quiet_s=0.001)
    left = asyncio.ensure_future(gathering.ask("left"))
    await asyncio.sleep(0)
    left.cancel()
    found = await asyncio.gather(*(gathering.ask(x) for x in ("good", "bad", "late")), return_exceptions=True)
    assert [str(result) for result in found] == ["good", "broken", "broken"]
    assert await gathering.ask("next") == "next"
    assert seen == [["good", "bad", "late"], ["next"]]
