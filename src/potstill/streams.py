"""Bounded concurrency over streams: the only place where tasks are started.

Nothing here knows of teachers or programs, retries anything or swallows an error: the first exception of `fn` cancels
what is in flight and reaches the caller.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections import deque
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Sequence,
)
from contextlib import aclosing, suppress
from typing import Generic, TypeVar

T = TypeVar("T")
U = TypeVar("U")


async def stream(items: Iterable[T] | AsyncIterable[T]) -> AsyncIterator[T]:
    """Yield from a plain or an asynchronous iterable alike."""
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item


async def map_concurrent(
    fn: Callable[[T], Awaitable[U]], items: Iterable[T] | AsyncIterable[T], limit: int
) -> AsyncIterator[U]:
    """Yield `await fn(item)` as each finishes, with at most `limit` in flight and none pulled ahead of need.

    Order is that of completion. Leaving the loop early, or an exception of `fn`, cancels and awaits what is in flight.
    """
    if limit < 1:
        message = f"limit is {limit}; expected at least 1"
        raise ValueError(message)
    tasks: _Tasks[U] = _Tasks()
    try:
        async with aclosing(stream(items)) as source:  # type: ignore[type-var]
            async for item in source:
                tasks.start(fn(item))
                while tasks.finished or len(tasks.running) >= limit:
                    yield await tasks.next()
        while tasks.running or tasks.finished:
            yield await tasks.next()
    finally:
        await tasks.cancel()


async def map_ordered(fn: Callable[[T], Awaitable[U]], items: Iterable[T], limit: int) -> AsyncIterator[U]:
    """Yield `await fn(item)` in the order of the items, with at most `limit` in flight.

    An item is pulled only when there is room, after everything yielded before has been consumed: `items` may look at
    what the consumer did with it. Leaving early, or an exception of `fn`, cancels and awaits what is in flight.
    """
    running: deque[asyncio.Future[U]] = deque()
    try:
        for item in items:
            running.append(asyncio.ensure_future(fn(item)))
            if len(running) >= limit:
                yield await running.popleft()
        while running:
            yield await running.popleft()
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def merged(sources: Sequence[AsyncIterator[T]]) -> AsyncIterator[T]:
    """Yield from several streams whatever comes first, until all have ended.

    Leaving early, or an exception of one of them, cancels and closes all.
    """
    waiting = {asyncio.ensure_future(_next(source)): source for source in sources}
    try:
        while waiting:
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                source = waiting.pop(task)
                for item in task.result():
                    waiting[asyncio.ensure_future(_next(source))] = source
                    yield item
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        for source in sources:
            if isinstance(source, AsyncGenerator):
                await source.aclose()


async def _next(source: AsyncIterator[T]) -> list[T]:
    """Return the next item of a stream in a list; an empty one at its end."""
    try:
        return [await anext(source)]
    except StopAsyncIteration:
        return []


class Gathering(Generic[T, U]):
    """Calls that wait together and are answered together.

    A group closes when no call has joined it for `quiet_s` seconds, or when `most` have. A caller that is cancelled
    leaves its group if it has not been begun.
    """

    def __init__(
        self,
        answer: Callable[[list[T]], AsyncIterator[tuple[int, U]]],
        *,
        quiet_s: float,
        most: int | None = None,
        at_once: int = 1,
    ) -> None:
        """Set up.

        Args:
            answer: Yields (number of the call in its group, its result) as results come. An error reaches every call
                that has no result yet.
            at_once: Groups that are answered at the same time.
        """
        self._answer = answer
        self._quiet_s = quiet_s
        self._most = most
        self._at_once = at_once
        self._running: set[asyncio.Task[None]] = set()
        self._waiting: list[tuple[T, asyncio.Future[U]]] = []
        self._work: asyncio.Task[None] | None = None

    async def ask(self, item: T) -> U:
        """Return the result of one call."""
        done: asyncio.Future[U] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, done))
        if self._work is None:
            self._work = asyncio.create_task(self._go_on())
        return await done

    async def aclose(self) -> None:
        """Stop, whatever still waits."""
        tasks = [*self._running, *([self._work] if self._work is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _go_on(self) -> None:
        try:
            while self._waiting:
                await self._settle()
                group, self._waiting = self._waiting[: self._most], self._waiting[self._most or len(self._waiting) :]
                group = [(item, done) for item, done in group if not done.done()]
                if group:
                    task = asyncio.create_task(self._answer_group(group))
                    self._running.add(task)
                    task.add_done_callback(self._running.discard)
                while len(self._running) >= self._at_once:
                    await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._work = None

    async def _settle(self) -> None:
        """Wait until the group is full or nobody joins any more."""
        count = 0
        while count != len(self._waiting) and (self._most is None or len(self._waiting) < self._most):
            count = len(self._waiting)
            await asyncio.sleep(self._quiet_s)

    async def _answer_group(self, group: list[tuple[T, asyncio.Future[U]]]) -> None:
        try:
            async with aclosing(self._answer([item for item, _ in group])) as results:  # type: ignore[type-var]
                async for number, result in results:
                    if not group[number][1].done():
                        group[number][1].set_result(result)
        except Exception as error:  # noqa: BLE001 - reaches every caller that waits for this group
            for _, done in group:
                if not done.done():
                    done.set_exception(error)
        finally:
            for _, done in group:
                done.cancel()


class _Tasks(Generic[U]):
    """Running tasks and those that have finished; O(1) per task, where `asyncio.wait` is O(running)."""

    def __init__(self) -> None:
        self.running: set[asyncio.Future[U]] = set()
        self.finished: deque[asyncio.Future[U]] = deque()
        self._wake = asyncio.Event()

    def start(self, work: Awaitable[U]) -> None:
        task = asyncio.ensure_future(work)
        self.running.add(task)
        task.add_done_callback(self._on_done)

    async def next(self) -> U:
        while not self.finished:
            self._wake.clear()
            await self._wake.wait()
        return self.finished.popleft().result()

    async def cancel(self) -> None:
        left = [*self.running, *self.finished]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    def _on_done(self, task: asyncio.Future[U]) -> None:
        self.running.discard(task)
        self.finished.append(task)
        self._wake.set()


async def collect(items: AsyncIterable[T]) -> list[T]:
    """Return all items of an asynchronous stream as a list."""
    return [item async for item in items]


class Stream(Generic[T]):
    """A lazy stream that can be read with `async for`, or with a plain `for` from a script or a notebook.

    The plain form runs the event loop in a thread of its own, so it works inside a running loop too. Leaving the loop
    early cancels what is in flight.
    """

    def __init__(self, make: Callable[[], AsyncIterator[T]]) -> None:
        self._make = make

    def __aiter__(self) -> AsyncIterator[T]:
        return self._make()

    def __iter__(self) -> Iterator[T]:
        handed: queue.Queue[tuple[bool, T | BaseException | None]] = queue.Queue(maxsize=1)
        left = threading.Event()
        cancel: list[Callable[[], object]] = []
        thread = threading.Thread(target=self._work, args=(handed, left, cancel), name="potstill-stream", daemon=True)
        thread.start()
        try:
            while (got := handed.get())[0]:
                yield got[1]  # type: ignore[misc]
            if got[1] is not None:
                raise got[1]  # type: ignore[misc]
        finally:
            left.set()
            for stop in cancel:
                with suppress(RuntimeError):  # that loop has ended by itself
                    stop()
            while thread.is_alive():
                with suppress(queue.Empty):
                    handed.get(timeout=0.05)

    def _work(
        self,
        handed: queue.Queue[tuple[bool, T | BaseException | None]],
        left: threading.Event,
        cancel: list[Callable[[], object]],
    ) -> None:
        async def pump() -> None:
            loop, task = asyncio.get_running_loop(), asyncio.current_task()
            assert task is not None, "asyncio.run runs it as a task"
            cancel.append(lambda: loop.call_soon_threadsafe(task.cancel))
            if left.is_set():  # before there was anything to cancel
                return
            async with aclosing(self._make()) as source:  # type: ignore[type-var]
                async for item in source:
                    await asyncio.to_thread(handed.put, (True, item))
                    if left.is_set():
                        return

        error: BaseException | None = None
        try:
            asyncio.run(pump())
        except BaseException as raised:  # noqa: BLE001 - handed over whole to the reader's thread
            error = raised
        handed.put((False, error))
