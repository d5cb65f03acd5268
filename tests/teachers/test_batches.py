"""Batches, against a real server on loopback that keeps the books of what was submitted."""

import asyncio
import os
import signal
import sys
import textwrap
from pathlib import Path

import pytest
from loopback_endpoints import answered, asking, opened

from potstill.errors import ConfigError, RefusedError
from potstill.recipe.teachers import BatchConfig, PriceConfig, TeacherConfig
from potstill.teachers.ledger import Ledger, summarise

QUICK = BatchConfig(collect_s=0.05, poll_s=0.02)
PRICE = PriceConfig(input=1.0, output=2.0)


async def buy(url, ledger, questions, n=1, **changes):
    """Ask every question for n samples; returns (teacher, completions of each)."""
    options = {"batch": QUICK, "price": PRICE, "n": 4, "max_concurrency": 500, "max_retries": 2, **changes}
    async with opened(url, ledger, run="r", **options) as teacher:
        return teacher, await asyncio.gather(*(teacher.complete(asking(q), range(n)) for q in questions))


def names(count):
    return [f"question {number}" for number in range(count)]


async def test_requests_that_wait_together_are_one_batch(batch_server, tmp_path):
    """Each gets its own rows, whatever their order; half the price is charged, and a second call submits nothing."""
    url, server = await batch_server()
    with Ledger(tmp_path / "l.db") as ledger:
        teacher, found = await buy(url, ledger, names(7), n=3)
        assert len(server.batches) == 1
        assert [[c.text.split()[1] for c in row] for row in found] == [[str(number)] * 3 for number in range(7)]
        assert all(len({c.text for c in row}) == 3 for row in found)
        assert teacher.meter.money == pytest.approx(7 * (10 * 1.0 + 12 * 2.0) / 1e6 / 2)
        again, same = await buy(url, ledger, names(7), n=3)
        assert (len(server.batches), again.meter.sent) == (1, 0)
        assert [[c.text for c in row] for row in same] == [[c.text for c in row] for row in found]
        assert ledger.spent("r")["money"] == pytest.approx(teacher.meter.money)


async def test_more_requests_than_fit_are_several_batches_at_a_time(batch_server, tmp_path):
    """None waits for another to end."""
    url, server = await batch_server(looks=40)
    with Ledger(tmp_path / "l.db") as ledger:
        await buy(url, ledger, names(10), batch=QUICK.model_copy(update={"most": 4}))
    assert sorted(len(batch["rows"]) for batch in server.batches.values()) == [2, 4, 4]
    ends = {name: len(server.seen) - server.seen[::-1].index(name) for name in server.batches}
    assert server.seen.index("batch-2") < min(ends.values())


async def test_a_row_that_failed_is_sent_again_in_another_batch(batch_server, tmp_path):
    """Expired or broken rows; a refused one is on record as what it is."""
    asked = []

    def answer(body):
        question = body["messages"][-1]["content"]
        asked.append(question)
        if question == "question 1" and asked.count(question) == 1:
            return None
        if question == "question 2" and asked.count(question) == 1:
            return 500, {"error": {"message": "oops"}}
        if question == "question 3":
            return 400, {"error": {"message": "flagged by our content_filter"}}
        return answered(body)

    url, server = await batch_server(answer)
    with Ledger(tmp_path / "l.db") as ledger:
        teacher, found = await buy(url, ledger, names(5))
    assert [row[0].finish for row in found] == ["stop", "stop", "stop", "refused", "stop"]
    assert sorted(len(batch["rows"]) for batch in server.batches.values()) in ([2, 5], [1, 1, 5])
    assert teacher.meter.events["batch_expired"] == 1


async def test_a_start_whose_answer_was_lost_is_looked_up_and_not_repeated(batch_server, tmp_path):
    """The batch carries a mark."""
    url, server = await batch_server(lose_starts=1)
    with Ledger(tmp_path / "l.db") as ledger:
        _, found = await buy(url, ledger, names(3))
    assert [row[0].finish for row in found] == ["stop"] * 3
    assert len(server.batches) == 1


async def test_a_batch_that_is_refused_as_a_whole_is_one_message(batch_server, tmp_path):
    """With the provider's reason."""
    url, _ = await batch_server(end="failed")
    refusal = r"batch-0 was refused \(The model does not exist\)"
    with Ledger(tmp_path / "l.db") as ledger, pytest.raises(RefusedError, match=refusal):
        await buy(url, ledger, names(3))


@pytest.mark.parametrize("moment", ["planned", "submitted", "ended"])
async def test_a_killed_run_collects_what_it_had_submitted(batch_server, tmp_path, moment):
    """SIGKILL before the batch's id is known, while it is polled, and after it has ended: never a row twice."""
    url, server = await batch_server(looks=3 if moment == "ended" else 10**6)
    script = textwrap.dedent(
        """
        import asyncio, os, signal, sys
        sys.path.insert(0, sys.argv[1])
        from loopback_endpoints import asking
        import test_batches
        from potstill.teachers import batches
        from potstill.teachers.ledger import Ledger

        url, ledger, moment = sys.argv[2:]
        if moment == "planned":  # dies between the provider's answer and the record of it
            submit = batches.BatchEndpoint._submit
            async def dying(self, *arguments):
                await submit(self, *arguments)
                os.kill(os.getpid(), signal.SIGKILL)
            batches.BatchEndpoint._submit = dying
        if moment == "ended":  # dies when the rows are there, before any is stored
            rows = batches.BatchEndpoint._rows
            async def dying_then(self, *arguments):
                await rows(self, *arguments)
                os.kill(os.getpid(), signal.SIGKILL)
            batches.BatchEndpoint._rows = dying_then
        async def main():
            with Ledger(ledger) as books:
                await test_batches.buy(url, books, test_batches.names(6), n=2)
        asyncio.run(main())
        """
    )
    here, path = str(Path(__file__).parent), str(tmp_path / "l.db")
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", script, here, url, path, moment)
    if moment == "submitted":
        await asyncio.wait_for(server.was_seen.wait(), 60)
        os.kill(process.pid, signal.SIGKILL)
    assert await process.wait() == -signal.SIGKILL
    assert len(server.batches) == 1
    server.looks = 1
    with Ledger(path) as ledger:
        _, found = await buy(url, ledger, names(8), n=2)
        assert all(len({c.text for c in row}) == 2 for row in found)
        assert sorted(len(batch["rows"]) for batch in server.batches.values()) == [2, 6]
        assert set(server.rows.values()) == {1}
        paid = ledger.spent("r")
        assert paid["tokens"] == 8 * (10 + 8)
        await buy(url, ledger, names(8), n=2)
        assert ledger.spent("r") == paid
    assert len(server.batches) == 2
    assert summarise(path)["batches"] == {"closed": 2}


async def test_batches_need_an_endpoint_and_a_ledger(batch_server):
    """Both are said before anything is sent."""
    url, server = await batch_server()
    with pytest.raises(ConfigError, match="needs a ledger"):
        await buy(url, None, names(1))
    with pytest.raises(ValueError, match="only an endpoint that sells batches"):
        TeacherConfig(base_url="miniature", batch=True)
    assert server.files == {}


def test_what_a_batch_costs_is_a_part_of_the_price():
    """Half unless the recipe says otherwise; `batch: true` is the short form."""
    config = TeacherConfig(base_url="http://h/v1", batch=True, price=PRICE)
    assert (config.charged.input, config.charged.output, config.charged.cached_input) == (0.5, 1.0, None)
    whole = TeacherConfig(base_url="http://h/v1", batch={"price": 1.0}, price=PRICE)
    assert whole.charged == PRICE
    assert TeacherConfig(base_url="http://h/v1", price=PRICE).charged == PRICE
