"""Requests that come together are written together; those that cannot be form batches of their own."""

import asyncio

from potstill.students.decoding import Stopped
from potstill.students.queueing import Batches, Job


def job(key, name, got, gone=lambda: False):
    return Job(key=key, asked=name, deliver=lambda found: got.append((name, found)), is_gone=gone)


class Got(list):
    """What was delivered; `full` is set once there is as much as was waited for."""

    def __init__(self, wanted):
        super().__init__()
        self.wanted, self.full = wanted, asyncio.Event()

    def append(self, item):
        super().append(item)
        if len(self) == self.wanted:
            self.full.set()


async def run(batches, jobs, got):
    """Put the jobs at once and work until all that is waited for is delivered."""
    working = asyncio.create_task(batches.work())
    for one in jobs:
        batches.put(one)
    await got.full.wait()
    batches.close()
    working.cancel()


async def test_what_has_arrived_is_written_in_one_batch_per_key():
    """Oldest first."""
    got, seen = Got(3), []

    def write(jobs, written, is_stopped):
        seen.append([one.asked for one in jobs])
        for one in jobs:
            written(one, one.asked.upper())

    jobs = [job(1, "a", got), job(2, "b", got), job(1, "c", got)]
    await run(Batches(write), jobs, got)
    assert seen == [["a", "c"], ["b"]]
    assert got == [("a", "A"), ("c", "C"), ("b", "B")]


async def test_a_failing_batch_answers_its_own_requests_and_no_others():
    """Those that were written before keep their answer; the server goes on."""
    got = Got(3)

    def write(jobs, written, is_stopped):
        written(jobs[0], "fine")
        if len(jobs) > 1:
            message = "out of memory"
            raise RuntimeError(message)

    await run(Batches(write), [job(1, "a", got), job(1, "b", got), job(2, "c", got)], got)
    assert (got[0], got[2]) == (("a", "fine"), ("c", "fine"))
    assert str(got[1][1]) == "out of memory"


async def test_nothing_is_written_for_clients_that_have_left():
    """Neither before it is begun, nor to its end."""
    got, asked = Got(1), []
    left = {"b": False}

    def write(jobs, written, is_stopped):
        asked.extend(one.asked for one in jobs)
        left["b"] = True
        if is_stopped():
            raise Stopped
        written(jobs[0], "done")

    batches = Batches(write)
    jobs = [job(1, "a", got, gone=lambda: True), job(1, "b", got, gone=lambda: left["b"]), job(2, "c", got)]
    await run(batches, jobs, got)
    assert asked == ["b", "c"]
    assert [name for name, _ in got] == ["c"]
