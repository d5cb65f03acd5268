"""The ledger's file: what it accepts, what it means, what its errors say."""

import sqlite3

import pytest

from potstill.errors import DataError
from potstill.teachers.base import CUT_BEFORE_TEXT, Completion
from potstill.teachers.storage import (
    APPLICATION_ID,
    MIGRATIONS,
    NO_CAP,
    completion_of,
    connect,
    connect_reading,
    file_system,
    is_valid,
    ledger_error,
    look_up,
    process_mark,
    row_of,
    warn_of_network,
)


def finished(finish="stop", tokens=50, **changes):
    usage = {"prompt_tokens": 5, "completion_tokens": tokens}
    return Completion(**{"text": "t" * 200, "finish": finish, "usage": usage, **changes})


ESTIMATED = {"usage": {"completion_tokens": 50, "estimated": 1}}


@pytest.mark.parametrize(
    ("completion", "bought", "wanted", "valid"),
    [
        (finished(), 100, 100, True),
        (finished(), 100, 200, True),
        (finished(), 100, None, True),
        (finished(), NO_CAP, None, True),
        (finished(), NO_CAP, 50, True),
        (finished(), NO_CAP, 49, False),
        (finished(), 100, 50, True),
        (finished(), 100, 49, False),
        (finished("length", 100), 100, 100, True),
        (finished("length", 100), 100, 200, False),
        (finished("length", 100), 100, None, False),
        (finished("length", 100), 100, 50, False),
        (finished("length", 100), NO_CAP, None, True),
        (finished("length", 100), NO_CAP, 100, False),
        (finished("empty", 100, text="", reason=CUT_BEFORE_TEXT), 100, 200, False),
        (finished("empty", 0, text="", reason="null_content"), 100, 200, True),
        (finished(**ESTIMATED), 100, 200, True),
        (finished(**ESTIMATED), 100, 199, True),
        (finished(**ESTIMATED), NO_CAP, 200, True),
        (finished(**ESTIMATED), NO_CAP, 199, False),
        (finished(usage={}), NO_CAP, 10, False),
    ],
)
def test_a_text_that_ended_by_itself_stays_valid_and_a_cut_one_only_under_its_cap(completion, bought, wanted, valid):
    """Raising the cap buys again what was cut, and nothing else; an estimated length counts a byte a token."""
    assert is_valid(completion, bought, wanted) is valid


@pytest.mark.parametrize("text", ["plain", "ünïcode \u2028 🎉", "lone \ud800 surrogate", "nul \x00 inside", ""])
def test_any_text_that_json_can_carry_comes_back_exactly(tmp_path, text):
    """Also lone surrogates, which UTF-8 cannot hold."""
    connection = connect(tmp_path / "ledger.sqlite")
    asked = Completion(
        text=text, finish="stop", reasoning_content=text, index=3, logprob=-0.5, usage={"cached_tokens": 1}
    )
    insert = "insert into completions values (?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
    connection.execute(insert, row_of("k", 9, asked, 1.0))
    found = look_up(connection, "k", [3], 9)[3]
    connection.close()
    assert (found.text, found.reasoning_content, found.usage) == (text, text, {"cached_tokens": 1})
    assert (found.index, found.logprob, found.from_ledger, found.request) == (3, -0.5, True, "k")


def test_a_new_file_is_migrated_to_the_newest_version_once(tmp_path):
    """Opening again changes nothing."""
    for _ in range(2):
        connection = connect(tmp_path / "deep" / "ledger.sqlite")
        assert connection.execute("pragma user_version").fetchone() == (len(MIGRATIONS),)
        assert connection.execute("pragma application_id").fetchone() == (APPLICATION_ID,)
        assert connection.execute("pragma journal_mode").fetchone() == ("wal",)
        assert connection.execute("pragma synchronous").fetchone() == (2,)
        connection.close()


def test_a_file_of_a_newer_version_is_refused(tmp_path):
    """It may hold what this version would damage."""
    connect(tmp_path / "l").close()
    connection = sqlite3.connect(tmp_path / "l")
    connection.execute(f"pragma user_version = {len(MIGRATIONS) + 1}")
    connection.close()
    with pytest.raises(DataError, match="written by a newer potstill"):
        connect(tmp_path / "l")


def test_a_file_that_is_no_ledger_is_refused_and_left_alone(tmp_path):
    """Neither text nor somebody else's database is written to."""
    (tmp_path / "text").write_text("not a database, however long this text is" * 100)
    with pytest.raises(DataError, match="not a readable ledger"):
        connect(tmp_path / "text")
    other = sqlite3.connect(tmp_path / "other")
    other.execute("create table t (x)")
    other.close()
    before = (tmp_path / "other").read_bytes()
    with pytest.raises(DataError, match="an SQLite file, but not a ledger"):
        connect(tmp_path / "other")
    assert (tmp_path / "other").read_bytes() == before


def test_a_folder_and_a_place_that_cannot_be_written_are_named(tmp_path):
    """With the option that chooses another place."""
    with pytest.raises(DataError, match="choose a file in a folder that you may write with --ledger FILE"):
        connect(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="its folder cannot be made"):
        connect(tmp_path / "file" / "ledger.sqlite")
    with pytest.raises(DataError, match="its folder cannot be made"):
        connect(tmp_path / "file" / "deeper" / "ledger.sqlite")


def test_reading_makes_no_file(tmp_path):
    """A missing ledger is an error of the path."""
    with pytest.raises(DataError, match="no such file"):
        connect_reading(tmp_path / "absent")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("database or disk is full", "the disk is full; free some space"),
        ("attempt to write a readonly database", "cannot be written"),
        ("database is locked", "another process has held it"),
        ("disk I/O error", "the disk failed or is full"),
        ("database disk image is malformed", "not a readable ledger"),
    ],
)
def test_each_error_of_sqlite_says_what_to_do(tmp_path, said, meant):
    """The user knows disks, not SQLite."""
    assert meant in str(ledger_error(tmp_path / "l", sqlite3.OperationalError(said)))


def test_a_network_file_system_is_recognised_by_the_longest_mount_point(tmp_path):
    """SQLite's locks do not hold there."""
    table = f"/dev/sda / ext4 rw 0 0\nhost:/x {tmp_path}/net nfs4 rw 0 0\ntmpfs {tmp_path}/net/local tmpfs rw 0 0\n"
    assert file_system(tmp_path / "l", table) == "ext4"
    assert file_system(tmp_path / "net" / "l", table) == "nfs4"
    assert file_system(tmp_path / "network" / "l", table) == "ext4"
    assert file_system(tmp_path / "net" / "local" / "l", table) == "tmpfs"
    with pytest.warns(RuntimeWarning, match=r"network file system \(nfs4\).*local disk"):
        warn_of_network(tmp_path / "net" / "l", table)


def test_a_process_that_has_ended_has_no_mark():
    """And a living one keeps its mark."""
    import os
    import subprocess

    assert process_mark(os.getpid()) == process_mark(os.getpid()) != ""
    with subprocess.Popen(["true"]) as process:
        process.wait()
    assert process_mark(process.pid) is None


def test_rows_survive_the_round_trip_without_a_cap():
    """No cap is its own value, not zero."""
    row = row_of("k", None, Completion(text="x", finish="stop", index=1), 2.0)
    assert row[2] == NO_CAP
    assert completion_of("k", (row[1], row[2], *row[3:13])) == (
        NO_CAP,
        Completion(text="x", finish="stop", index=1, request="k", from_ledger=True),
    )
