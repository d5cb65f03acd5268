"""The teacher that buys, against the real server: never twice, never nothing, never for ever."""

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from loopback_endpoints import asking, http, opened

from potstill.errors import BudgetError, DataError, RefusedError, TeacherError
from potstill.recipe.teachers import BudgetConfig, PriceConfig
from potstill.streams import map_concurrent
from potstill.teachers.accounts import Reader, summarise
from potstill.teachers.ledger import Ledger

GOOD = '{"choices": [{"index": 0, "message": {"content": "hi"}, "finish_reason": "stop"}]}'
FAULTS = {"p_429": 0.05, "p_500": 0.03, "p_trunc": 0.02, "p_drop": 0.02, "p_html": 0.01, "p_empty": 0.01, "slow": 0.03}


@pytest.fixture
def ledger(tmp_path):
    with Ledger(tmp_path / "ledger.sqlite") as opened_ledger:
        yield opened_ledger


async def ask_all(teacher, questions, indices=(0,), **changes):
    """Ask many questions at once; returns {question: completions}."""

    async def one(question):
        return question, await teacher.complete(asking(question, **changes), indices)

    return dict([pair async for pair in map_concurrent(one, questions, 64)])


async def until(is_so):
    """Wait for something that announces itself to nobody."""
    while not is_so():  # noqa: ASYNC110 - the meter is no event
        await asyncio.sleep(0.005)


def questions(count):
    return [f"question {number}" for number in range(count)]


async def test_every_index_gets_its_own_completion_in_order(server, ledger):
    """Thirty draws of one problem are thirty texts' worth of requests, each with its own seed."""
    async with opened(server.url, ledger) as teacher:
        found = await teacher.complete(asking("q"), [5, *range(5)])
    assert [completion.index for completion in found] == [5, 0, 1, 2, 3, 4]
    assert all(completion.finish == "stop" and completion.text for completion in found)
    assert server.stats()["distinct_bodies"] == 6
    assert teacher.meter.sent == teacher.meter.completions == 6


async def test_what_is_in_the_ledger_is_not_bought_again(server, ledger):
    """Adding a row to 500 buys one; changing the system message buys all."""
    async with opened(server.url, ledger) as teacher:
        first = await ask_all(teacher, questions(500))
        second = await ask_all(teacher, questions(501))
        assert {q: c[0].text for q, c in first.items()} == {q: c[0].text for q, c in second.items() if q in first}
        assert server.stats()["billed_requests"] == 501
        messages = ({"role": "system", "content": "s"}, {"role": "user", "content": "question 0"})
        await teacher.complete(asking("", messages=messages), [0])
        assert server.stats()["billed_requests"] == 502
    assert teacher.meter.from_ledger == 500


@pytest.mark.parametrize(("mode", "requests"), [("honour", 2), ("ignore", 10), ("reject", 11)])
async def test_several_choices_are_topped_up_whatever_the_server_makes_of_n(server, ledger, mode, requests):
    """A server that ignores n, or refuses it, is asked for one at a time from then on; nothing is bought twice."""
    server.begin(n_mode=mode)
    events = []
    async with opened(server.url, ledger, n=5, on_event=lambda code, _: events.append(code)) as teacher:
        for question in ("a", "b"):
            found = await teacher.complete(asking(question), range(5))
            assert [completion.index for completion in found] == list(range(5))
    stats = server.stats()
    assert (stats["billed_completions"], stats["dup_requests"], stats["requests"]) == (10, 0, requests)
    assert events == {"honour": [], "ignore": ["n_ignored"], "reject": ["n_rejected"]}[mode]


async def test_a_server_that_ignores_n_is_remembered(raw_server, ledger):
    """After the first short answer every completion is asked for by itself, under its own seed."""
    url, raw = await raw_server(lambda head, body: http(200, GOOD))
    async with opened(url, ledger, n=5) as teacher:
        for question in ("a", "b"):
            await teacher.complete(asking(question), range(5))
    bodies = [json.loads(body) for _, body in raw.requests]
    assert [body.get("n", 1) for body in bodies] == [5, *[1] * 9]
    assert [body["seed"] for body in bodies[5:]] == [asking("b").seed_of(index) for index in range(5)]


async def test_the_shares_of_a_request_for_several_sum_to_what_was_charged(server, ledger):
    """The prompt is paid once."""
    async with opened(server.url, ledger, n=5) as teacher:
        found = await teacher.complete(asking("q"), range(5))
    tokens = sum(c.usage["prompt_tokens"] + c.usage["completion_tokens"] for c in found)
    assert tokens == teacher.meter.tokens == server.stats()["billed_tokens"]


async def test_nothing_is_acknowledged_before_it_is_committed(server, ledger):
    """While another process holds the file, the answer is there and its slot is free, and the caller still waits."""
    server.begin(latency=0.3)
    async with opened(server.url, ledger, max_concurrency=1) as teacher:
        asked = asyncio.create_task(teacher.complete(asking("q"), [0]))
        await until(lambda: teacher.meter.in_flight == 1)
        other = sqlite3.connect(ledger.path, isolation_level=None)
        other.execute("begin immediate")
        await until(lambda: teacher.meter.in_flight == 0)
        await asyncio.sleep(0.1)
        assert not asked.done()
        other.execute("rollback")
        other.close()
        assert (await asked)[0].finish == "stop"


async def test_two_callers_of_one_completion_share_one_purchase(server, ledger):
    """Within a process, and between two teachers on one ledger."""
    server.begin(latency=0.1)
    async with opened(server.url, ledger) as one, opened(server.url, ledger) as other:
        callers = [one, one, other]
        found = await asyncio.gather(*(teacher.complete(asking("q"), [0, 1]) for teacher in callers))
    assert server.stats()["billed_requests"] == 2
    assert len({tuple(completion.text for completion in completions) for completions in found}) == 1


async def test_a_caller_whose_partner_was_cancelled_buys_for_itself(server, ledger):
    """Nobody waits for ever."""
    server.begin(latency=0.2)
    async with opened(server.url, ledger) as teacher:
        first = asyncio.create_task(teacher.complete(asking("q"), [0]))
        await asyncio.sleep(0.05)
        second = asyncio.create_task(teacher.complete(asking("q"), [0]))
        await asyncio.sleep(0.05)
        first.cancel()
        assert (await asyncio.wait_for(second, 20))[0].finish == "stop"


async def test_without_a_ledger_everything_is_bought_anew(server):
    """And still works."""
    async with opened(server.url) as teacher:
        for _ in range(2):
            assert (await teacher.complete(asking("q"), [0]))[0].text
    assert server.stats()["billed_requests"] == 2


async def test_every_row_ends_with_a_completion_or_a_reason_under_faults(server, ledger, tmp_path):
    """All classes of failure at once: no row is lost, none hangs, and only what was broken is bought twice."""
    server.begin(**FAULTS, slow_s=0.3, retry_after=0.02)
    async with opened(server.url, ledger, max_concurrency=32) as teacher:
        found = await ask_all(teacher, questions(300))
        again = await ask_all(teacher, questions(300))
    assert len(found) == 300
    ends = {(c.finish, c.reason) for (c,) in found.values()}
    assert ends <= {("stop", None), ("empty", "null_content")}
    assert {q: c[0].text for q, c in found.items()} == {q: c[0].text for q, c in again.items()}
    stats = server.stats()
    broken = stats["faults"].get("trunc", 0) + stats["faults"].get("drop", 0)
    assert broken > 0
    assert stats["dup_requests"] == broken
    facts = summarise(tmp_path / "ledger.sqlite")
    assert (facts["requests"], facts["duplicates"]) == (stats["requests"], broken)
    assert facts["billed_requests"] == stats["billed_requests"]


async def test_an_endpoint_that_keeps_failing_gives_a_recorded_error_and_is_asked_again_later(server, ledger):
    """The row says what failed; a later run tries it anew, since nothing was bought."""
    server.begin(p_500=1.0)
    async with opened(server.url, ledger, max_retries=1) as teacher:
        (failed,) = await teacher.complete(asking("q"), [0])
        assert (failed.finish, failed.reason) == ("error", "http_500: The server says 500: server error.")
        assert teacher.meter.failures == {"error:http_500": 1}
        server.begin()
        assert (await teacher.complete(asking("q"), [0]))[0].finish == "stop"


async def test_an_empty_answer_is_recorded_and_not_bought_again_unless_asked(server, ledger):
    """It was paid for; whoever wants it tried again says so."""
    server.begin(p_empty=1.0)
    async with opened(server.url, ledger) as teacher:
        for _ in range(2):
            (found,) = await teacher.complete(asking("q"), [0])
            assert (found.text, found.finish, found.reason) == ("", "empty", "null_content")
    assert found.from_ledger
    assert server.stats()["billed_requests"] == 1
    server.begin()
    async with opened(server.url, ledger, retry_failed=True) as teacher:
        assert (await teacher.complete(asking("q"), [0]))[0].finish == "stop"
    async with opened(server.url, ledger) as teacher:
        assert (await teacher.complete(asking("q"), [0]))[0].finish == "stop"
    assert server.stats()["billed_requests"] == 1


async def test_a_higher_cap_buys_again_only_what_was_cut(server, ledger):
    """A text that ended by itself stays."""
    server.begin(p_length=0.5)
    async with opened(server.url, ledger) as teacher:
        found = await ask_all(teacher, questions(20))
        cut = sum(completions[0].finish == "length" for completions in found.values())
        server.begin()
        found = await ask_all(teacher, questions(20), max_tokens=512)
    assert 0 < cut < 20
    assert server.stats()["billed_requests"] == cut
    assert all(completions[0].finish == "stop" for completions in found.values())


async def test_reasoning_and_log_probabilities_are_kept(server, ledger):
    """Also over the ledger."""
    server.begin(reasoning=True)
    async with opened(server.url, ledger) as teacher:
        for _ in range(2):
            (found,) = await teacher.complete(asking("q", logprobs=True), [0])
            assert found.reasoning_content
            assert found.logprob < 0


async def test_log_probabilities_that_do_not_come_are_an_event_said_once(server, ledger):
    """A failed expectation is reported, not silently null."""
    server.begin(logprobs_mode="null")
    events = []
    async with opened(server.url, ledger, on_event=lambda code, message: events.append((code, message))) as teacher:
        await ask_all(teacher, questions(3), logprobs=True)
    assert events == [("logprobs_missing", "log-probabilities were asked for and did not come")]
    assert teacher.meter.events["logprobs_missing"] == 3


async def test_absent_usage_is_estimated_and_marked(server, ledger):
    """Token counts are optional in the field."""
    server.begin(usage=False)
    async with opened(server.url, ledger) as teacher:
        (found,) = await teacher.complete(asking("q"), [0])
    assert found.usage["estimated"] == 1
    assert found.usage["completion_tokens"] > 0


async def test_the_plain_completions_api_works_alike(server, ledger):
    """With a prompt instead of messages."""
    async with opened(server.url, ledger, n=2) as teacher:
        found = await teacher.complete(asking("", messages=(), prompt="Q: q\nA:"), range(4))
    assert all(completion.text for completion in found)
    assert server.stats()["requests"] == 2


@pytest.mark.parametrize(
    ("knobs", "status", "message"),
    [
        ({"api_key": "k"}, 401, r"401 Incorrect API key provided: no key was sent"),
        ({"models": "other"}, 404, r"404 The model 'm' does not exist.*correct 'model' or 'base_url'"),
    ],
)
async def test_the_users_error_is_raised_once_and_nothing_is_sent_after_it(server, ledger, knobs, status, message):
    """Every caller gets the same error; no request is retried."""
    server.begin(**knobs)
    async with opened(server.url, ledger, max_concurrency=4) as teacher:
        calls = (teacher.complete(asking(question), [0]) for question in questions(50))
        errors = await asyncio.gather(*calls, return_exceptions=True)
    assert len({id(error) for error in errors}) == 1
    assert isinstance(errors[0], RefusedError)
    assert errors[0].status == status
    with pytest.raises(RefusedError, match=message):
        raise errors[0]
    assert server.stats()["requests"] <= 4


async def test_a_refused_parameter_is_not_blamed_on_n(server, ledger):
    """Where one choice is refused too, it was not n."""
    server.begin(logprobs_mode="reject")
    async with opened(server.url, ledger, n=5) as teacher:
        with pytest.raises(RefusedError, match="'logprobs' is not supported"):
            await teacher.complete(asking("q", logprobs=True), range(5))
    assert server.stats()["requests"] == 2


async def test_a_prompt_that_does_not_fit_is_that_rows_failure(raw_server, ledger):
    """The other rows go on."""

    def answer(head, body):
        if b"long" in body:
            return http(
                400, '{"error": {"message": "maximum context length is 10", "code": "context_length_exceeded"}}'
            )
        return http(200, GOOD)

    url, raw = await raw_server(answer)
    async with opened(url, ledger) as teacher:
        found = await ask_all(teacher, ["long", "short"])
    assert [found[name][0].finish for name in ("long", "short")] == ["error", "stop"]
    assert found["long"][0].reason == "context_length: maximum context length is 10"
    assert len(raw.requests) == 2


async def test_an_endpoint_that_was_never_reached_ends_the_run_after_a_few_tries(ledger):
    """With what to check."""
    async with opened("http://127.0.0.1:9/v1", ledger) as teacher:
        with pytest.raises(TeacherError, match=r"cannot be reached .*check that the server runs") as caught:
            await teacher.complete(asking("q"), [0])
    assert caught.value.retryable
    assert teacher.meter.sent == 3


async def test_a_slowed_client_sends_less_and_everything_arrives(server, ledger):
    """The server allows 40 requests a second; all rows arrive, with few refused."""
    server.begin(rate=40.0, burst=5.0)
    events = []
    async with opened(server.url, ledger, max_retries=3, on_event=lambda code, _: events.append(code)) as teacher:
        found = await ask_all(teacher, questions(60))
    assert all(completions[0].finish == "stop" for completions in found.values())
    assert events == ["slowed"]
    assert server.stats()["dup_requests"] == 0


async def test_a_wait_beyond_reason_ends_the_run(raw_server, ledger):
    """A daily quota does not come back in this run."""
    url, _ = await raw_server(lambda head, body: http(429, "{}", Retry_After="86400"))
    async with opened(url, ledger) as teacher:
        with pytest.raises(TeacherError, match=r"asks to wait 86\d\d\d s; run the same command again then"):
            await teacher.complete(asking("q"), [0])


async def test_a_budget_stops_before_it_is_passed_and_everything_bought_is_kept(server, ledger):
    """Also over a resumption: the ledger knows what the run has spent."""
    budget = BudgetConfig(tokens=2000)
    for _ in range(2):
        async with opened(server.url, ledger, budget=budget, run="r") as teacher:
            with pytest.raises(BudgetError, match=r"budget.tokens: \d+ of 2000 used"):
                await ask_all(teacher, questions(100))
    billed = server.stats()["billed_tokens"]
    assert 1000 < billed <= 2000
    assert ledger.spent("r")["tokens"] == billed
    async with opened(server.url, ledger) as teacher:
        await ask_all(teacher, questions(100))
    assert server.stats()["dup_requests"] == 0


async def test_money_is_charged_by_price(server, ledger):
    """In the meter and in the ledger alike."""
    price = PriceConfig(input=1.0, output=2.0)
    async with opened(server.url, ledger, price=price, run="r", budget=BudgetConfig(money=100.0)) as teacher:
        (found,) = await teacher.complete(asking("q"), [0])
    expected = (found.usage["prompt_tokens"] + 2 * found.usage["completion_tokens"]) / 1e6
    assert teacher.meter.money == pytest.approx(expected)
    assert ledger.spent("r")["money"] == pytest.approx(expected)


async def test_a_ledger_that_cannot_be_written_stops_before_anything_is_bought(server, ledger):
    """A claim needs the disk too, so a full one costs nothing."""
    pages = ledger._connection.execute("pragma page_count").fetchone()[0]
    ledger._connection.execute(f"pragma max_page_count = {pages}")
    async with opened(server.url, ledger) as teacher:
        with pytest.raises(DataError, match="the disk is full"):
            await ask_all(teacher, questions(2000))
    assert server.stats()["dup_requests"] == 0


async def test_a_teacher_shows_neither_key_nor_prompt(server, ledger, monkeypatch):
    """Its repr is an address and a model."""
    monkeypatch.setenv("MY_KEY", "sk-secret")
    async with opened(server.url, ledger, api_key_env="MY_KEY") as teacher:
        assert repr(teacher) == f"BuyingTeacher(OpenAIEndpoint('{server.url}', model='m'))"


def sampling(server, folder, name, rows):
    """Start a process that buys `rows` completions into the folder's ledger."""
    script = Path(__file__).with_name("sampling_process.py")
    arguments = [server.url, folder / "ledger.sqlite", folder / name, rows]
    return subprocess.Popen([sys.executable, script, *map(str, arguments)], start_new_session=True)


def acknowledged(path):
    """The rows that a process had written down, but for a line torn by the kill."""
    return [int(line) for line in path.read_text().rpartition("\n")[0].splitlines()] if path.exists() else []


def test_a_kill_loses_nothing_acknowledged_and_rebuys_at_most_what_was_on_its_way(server, tmp_path):
    """SIGKILL of the process group in the middle, then the same again; the server's books are the witness."""
    server.begin(latency=0.02)
    with sampling(server, tmp_path, "first", 400) as process:
        while server.stats()["billed_requests"] < 150 and process.poll() is None:
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
    done = acknowledged(tmp_path / "first")
    assert 0 < len(done) < 400
    with Reader(tmp_path / "ledger.sqlite") as reader:
        keys = {number: asking(f"question {number}").key(server.url) for number in done}
        assert [number for number, key in keys.items() if not reader.have(key, [0], 256)] == []
    with sampling(server, tmp_path, "second", 400) as process:
        assert process.wait(60) == 0
    assert sorted(acknowledged(tmp_path / "second")) == list(range(400))
    assert server.stats()["dup_requests"] <= 16 + 16


def test_two_processes_on_one_ledger_buy_everything_once(server, tmp_path):
    """Each ends with every row; the server has sold each once."""
    server.begin(latency=0.02)
    with sampling(server, tmp_path, "one", 150) as one, sampling(server, tmp_path, "other", 150) as other:
        assert (one.wait(60), other.wait(60)) == (0, 0)
    for name in ("one", "other"):
        assert sorted(acknowledged(tmp_path / name)) == list(range(150))
    stats = server.stats()
    assert (stats["billed_requests"], stats["dup_requests"]) == (150, 0)
