"""The ledger: claims, durable purchases, and what happens when a process or a disk gives up."""

import asyncio
import signal
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from potstill.errors import DataError
from potstill.teachers.accounts import summarise
from potstill.teachers.base import Completion
from potstill.teachers.ledger import Attempt, Labels, Ledger, default_ledger_path

LABELS = Labels("run", "http://h/v1", "m")


def bought(*indices, text="t", finish="stop"):
    return [Completion(text=text, finish=finish, index=index, usage={"completion_tokens": 3}) for index in indices]


def entry(*indices, key="k", cap=10, outcome="ok"):
    usage = {"prompt_tokens": 2, "completion_tokens": 3 * len(indices)}
    return Attempt(key=key, cap=cap, indices=indices, outcome=outcome, billed=True, usage=usage, money=0.5)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.sqlite"


def in_process(code, path):
    """Start Python with an open ledger on `path`; returns the process after its first line of output."""
    program = f"""
        import asyncio, sys, time
        from potstill.teachers.ledger import Ledger
        with Ledger({str(path)!r}) as ledger:
    """
    program = textwrap.dedent(program) + textwrap.indent(textwrap.dedent(code), "    ")
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    return process


async def test_what_is_stored_is_held_for_everyone_after(path):
    """Also for another opening of the file."""
    with Ledger(path) as ledger:
        claim = await ledger.claim("k", [0, 1], 10)
        assert (claim.held, claim.claimed, claim.busy) == ({}, [0, 1], [])
        await ledger.store(entry(0), bought(0), LABELS)
        assert ledger.have("k", range(3), 10) == {0}
    with Ledger(path) as ledger:
        claim = await ledger.claim("k", [0, 1, 2], 10)
        assert (list(claim.held), claim.claimed) == ([0], [1, 2])
        assert claim.held[0].from_ledger


async def test_only_the_holder_of_a_claim_may_buy(path):
    """Another one waits; what is released is free again."""
    with Ledger(path) as one, Ledger(path) as other:
        assert (await one.claim("k", [0, 1], 10)).claimed == [0, 1]
        claim = await other.claim("k", [1, 2], 10)
        assert (claim.claimed, claim.busy) == ([2], [1])
        one.release("k", [1])
        await one.store(entry(0), bought(0), LABELS)
        assert (await other.claim("k", [0, 1], 10)).claimed == [1]


async def test_the_claims_of_one_that_closes_are_free(path):
    """Nobody waits for a process that has gone home."""
    with Ledger(path) as other:
        with Ledger(path) as one:
            await one.claim("k", [0], 10)
        assert (await other.claim("k", [0], 10)).claimed == [0]


def edit_owner(path, ledger, **changes):
    """Change what the file says about the owner of claims."""
    sets = ", ".join(f"{name} = ?" for name in changes)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(f"update owners set {sets} where owner = ?", (*changes.values(), ledger.owner))
    connection.close()


@pytest.mark.parametrize("pause_s", [0, 0.001, 0.01, 0.03, 0.1])
async def test_a_claim_whose_caller_is_gone_is_free(path, pause_s):
    """Whenever a caller is cancelled, before or after the writer granted its claim, nobody waits for it for ever."""
    with Ledger(path) as ledger:
        for number in range(20):
            call = asyncio.create_task(ledger.claim(f"k{number}", [0], 10))
            await asyncio.sleep(pause_s)
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)
            if call.cancelled():
                assert (await ledger.claim(f"k{number}", [0], 10)).claimed == [0]


async def test_a_claim_is_renewed_while_its_holder_lives(path):
    """A slow answer does not lose its lease."""
    with Ledger(path, lease_s=0.3) as one, Ledger(path) as other:
        await one.claim("k", [0], 10)
        await asyncio.sleep(0.7)
        assert (await other.claim("k", [0], 10)).busy == [0]


async def test_a_holder_that_stopped_renewing_is_taken_over(path):
    """As one that was suspended for longer than its lease."""
    with Ledger(path) as one, Ledger(path) as other:
        await one.claim("k", [0], 10)
        edit_owner(path, one, expires=0)
        assert (await other.claim("k", [0], 10)).claimed == [0]


async def test_the_claims_of_a_killed_process_are_taken_over_at_once(path):
    """By its process number, long before the lease ends."""
    code = """
        asyncio.run(ledger.claim("k", [0], 10))
        print("ready", flush=True)
        time.sleep(60)
    """
    process = in_process(code, path)
    with process, Ledger(path) as ledger:
        assert (await ledger.claim("k", [0], 10)).busy == [0]
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert (await ledger.claim("k", [0], 10)).claimed == [0]


async def test_a_holder_on_another_host_is_judged_by_its_lease_alone(path):
    """Process numbers mean nothing there."""
    with Ledger(path) as one, Ledger(path) as other:
        await one.claim("k", [0], 10)
        edit_owner(path, one, host="elsewhere", pid=1, mark="")
        assert (await other.claim("k", [0], 10)).busy == [0]


async def test_what_was_acknowledged_survives_a_kill(path):
    """The process is killed in the moment after its first acknowledgement."""
    code = """
        from potstill.teachers.base import Completion
        from potstill.teachers.ledger import Attempt, Labels
        async def work():
            for index in range(10000):
                attempt = Attempt(key="k", cap=None, indices=[index], outcome="ok", billed=True)
                await ledger.store(attempt, [Completion(text="t", finish="stop", index=index)], Labels(None, "e", "m"))
                print(index if index else "ready", flush=True)
        asyncio.run(work())
    """
    process = in_process(code, path)
    last = "0"
    for _ in range(3):
        last = process.stdout.readline().strip()
    process.kill()
    rest = process.stdout.read().split()
    process.stdout.close()
    process.wait()
    acknowledged = int(rest[-1]) if rest else int(last)
    with Ledger(path) as ledger:
        assert ledger.have("k", range(acknowledged + 1), None) == set(range(acknowledged + 1))


async def test_refused_and_empty_are_on_record_and_errors_are_asked_for_again(path):
    """A recorded refusal is a result, unless it is asked for again; an error never is."""
    with Ledger(path) as ledger:
        for index, finish in enumerate(("refused", "empty", "error")):
            await ledger.store(entry(index), bought(index, text="", finish=finish), LABELS)
        claim = await ledger.claim("k", [0, 1, 2], 10)
        assert ({i: c.finish for i, c in claim.held.items()}, claim.claimed) == ({0: "refused", 1: "empty"}, [2])
        again = await ledger.claim("k", [0, 1], 10, allow_failed=False)
        assert again.claimed == [0, 1]


async def test_a_failure_is_replaced_by_an_answer_and_an_answer_by_nothing(path):
    """Whoever comes second does not change what others have read."""
    with Ledger(path) as ledger:
        await ledger.store(entry(0), bought(0, text="", finish="empty"), LABELS)
        await ledger.store(entry(0), bought(0, text="first"), LABELS)
        await ledger.store(entry(0), bought(0, text="second"), LABELS)
        assert (await ledger.claim("k", [0], 10)).held[0].text == "first"


async def test_a_cut_text_is_kept_beside_the_longer_one(path):
    """Going back to the old cap buys nothing."""
    with Ledger(path) as ledger:
        await ledger.store(entry(0, cap=10), bought(0, text="short", finish="length"), LABELS)
        assert (await ledger.claim("k", [0], 20)).claimed == [0]
        await ledger.store(entry(0, cap=20), bought(0, text="longer", finish="length"), LABELS)
        assert (await ledger.claim("k", [0], 10)).held[0].text == "short"
        assert (await ledger.claim("k", [0], 20)).held[0].text == "longer"


async def test_what_waits_together_is_committed_together(path):
    """A thousand purchases take a handful of transactions, not a thousand."""
    with Ledger(path) as ledger:
        commits = []
        ledger._connection.set_trace_callback(lambda sql: commits.append(sql) if sql == "commit" else None)
        await asyncio.gather(*(ledger.store(entry(i), bought(i), LABELS) for i in range(1000)))
        assert len(commits) < 20
        assert ledger.have("k", range(1000), 10) == set(range(1000))


async def test_purchases_are_synced_to_disk_and_claims_spare_the_sync(path):
    """A purchase must survive power loss; a claim need only be seen by the others."""
    with Ledger(path) as ledger:
        said = []
        ledger._connection.set_trace_callback(said.append)
        await ledger.claim("k", [0], 10)
        assert [sql for sql in said if sql.startswith("pragma")] == ["pragma synchronous = normal"]
        said.clear()
        await ledger.store(entry(0), bought(0), LABELS)
        assert [sql for sql in said if sql.startswith("pragma")] == ["pragma synchronous = full"]


async def test_a_full_disk_is_said_to_everyone_who_waits_and_the_ledger_goes_on(path):
    """What cannot be stored is an error of that moment; freed space is used again."""
    with Ledger(path) as ledger:
        pages = ledger._connection.execute("pragma page_count").fetchone()[0]
        ledger._connection.execute(f"pragma max_page_count = {pages + 2}")
        stores = [ledger.store(entry(i), bought(i, text="x" * 50_000), LABELS) for i in range(3)]
        for result in await asyncio.gather(*stores, return_exceptions=True):
            assert isinstance(result, DataError)
            assert "the disk is full; free some space and run the same command again" in str(result)
        ledger._connection.execute("pragma max_page_count = 100000")
        await ledger.store(entry(0), bought(0), LABELS)
        assert ledger.have("k", [0], 10) == {0}


async def test_a_row_that_cannot_be_stored_does_not_end_the_writer(path):
    """The error reaches the one who asked."""
    with Ledger(path) as ledger:
        with pytest.raises(DataError, match="ledger"):
            await ledger.store(entry(0), bought(2**70), LABELS)
        await ledger.store(entry(0), bought(0), LABELS)


async def test_spending_is_counted_per_run(path):
    """A resumed run finds what it has spent, whatever came of it."""
    with Ledger(path) as ledger:
        await ledger.store(entry(0, 1), bought(0, 1), LABELS)
        ledger.note(entry(2, outcome="malformed_json"), LABELS)
        await ledger.store(entry(3), bought(3), Labels("another", "e", "m"))
        assert ledger.spent("run") == {"tokens": 2 + 6 + 2 + 3, "money": 1.0}
        assert ledger.spent("unknown") == {"tokens": 0, "money": 0.0}
    assert summarise(path)["requests"] == 3


async def test_spending_includes_what_is_still_on_its_way_to_the_disk(path):
    """An attempt is noted without waiting; the sum waits for it."""
    with Ledger(path) as ledger:
        ledger.note(entry(0, outcome="malformed_json"), LABELS)
        assert ledger.spent("run")["money"] == 0.5


async def test_two_processes_never_both_hold_a_claim(path):
    """Each of 200 completions is claimed by exactly one of three processes."""
    code = """
        async def work():
            claims = await asyncio.gather(*(ledger.claim(f"k{i}", [0], 10) for i in range(200)))
            return sum(len(claim.claimed) for claim in claims)
        print("ready", flush=True)
        print(asyncio.run(work()), flush=True)
        time.sleep(60)
    """
    processes = [in_process(code, path) for _ in range(3)]
    counts = [int(process.stdout.readline()) for process in processes]
    for process in processes:
        process.kill()
        process.stdout.close()
        process.wait()
    assert sum(counts) == 200


async def test_outside_its_with_statement_a_ledger_is_closed(path):
    """A late release is harmless, a late claim is an error."""
    with Ledger(path) as ledger:
        pass
    ledger.release("k", [0])
    with pytest.raises(DataError, match="not open"):
        await ledger.claim("k", [0], 10)


def test_one_ledger_serves_several_event_loops(path):
    """A stream read with a plain `for` runs a loop of its own."""
    with Ledger(path) as ledger:
        for index in range(2):
            asyncio.run(ledger.store(entry(index), bought(index), LABELS))
        assert ledger.have("k", range(3), 10) == {0, 1}


def test_the_default_ledger_lies_in_the_cache_folder(monkeypatch, tmp_path):
    """Where the platform says, or under the home folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_ledger_path() == tmp_path / "potstill" / "ledger.sqlite"
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    assert default_ledger_path().parent.name == "potstill"
    assert default_ledger_path().is_relative_to(Path.home())
