"""The index is what the files hold by now."""

import gzip
import json
import sqlite3

import pytest

from potstill.errors import DataError
from potstill.review import decisions
from potstill.review.indexing import Indexer, index_once
from potstill.review.queries import Filters, find, item, text_of
from potstill.review.store import open_index, require_run, sources_of


def ids(folder, **query):
    index = open_index(folder)
    found = [row["id"] for row in find(index, Filters.read(query)).rows]
    index.close()
    return found


def append_line(path, row):
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def test_every_record_is_found_at_its_place(run):
    """The byte offsets lead to the record itself, verdicts and drops are joined on."""
    index_once(run)
    index = open_index(run)
    rows = {row["id"]: row for row in index.execute("SELECT * FROM items")}
    assert len(rows) == 3 + 3 + 4 + 1
    assert all(text_of(run, row)["id"] == id for id, row in rows.items())
    wrong = rows["r-p1-cot-1"]
    assert (wrong["status"], wrong["answer"], wrong["dropped"], wrong["is_disputed"]) == ("WRONG", "12", "wrong", 1)
    assert (rows["scotd-p2"]["split"], rows["scotd-p2"]["source"]) == ("test", "road")


def test_only_new_lines_are_read(run):
    """A second pass over an unchanged run reads nothing, one over a grown run the new lines."""
    indexer = Indexer(run)
    assert indexer.catch_up() == 19
    assert indexer.catch_up() == 0
    append_line(run / "rationales.jsonl", {"id": "new", "problem_id": "p1", "kind": "cot", "text": "a newer word"})
    assert indexer.catch_up() == 1
    assert ids(run, q="newer") == ["new"]


def test_a_torn_last_line_waits_for_its_end(run):
    """A run that is being written is readable at any moment."""
    whole = json.dumps({"id": "late", "problem_id": "p1", "kind": "cot", "text": "late"}) + "\n"
    with (run / "rationales.jsonl").open("a") as file:
        file.write(whole[:20])
    indexer = Indexer(run)
    indexer.catch_up()
    assert "late" not in ids(run)
    with (run / "rationales.jsonl").open("a") as file:
        file.write(whole[20:])
    indexer.catch_up()
    assert "late" in ids(run)


def test_a_verdict_may_come_before_its_rationale(run):
    """It is kept until the rationale is on disk."""
    append_line(run / "verdicts.jsonl", {"rationale_id": "late", "status": "WRONG", "answer": "9"})
    indexer = Indexer(run)
    indexer.catch_up()
    append_line(run / "rationales.jsonl", {"id": "late", "problem_id": "p1", "kind": "cot", "text": "late"})
    indexer.catch_up()
    assert "late" in ids(run, status="WRONG")


def test_a_file_written_anew_replaces_what_it_said(run):
    """What is no longer in it is no longer found, by filter or by search."""
    indexer = Indexer(run)
    indexer.catch_up()
    fresh = run / "fresh"
    fresh.write_text(json.dumps({"id": "only", "problem_id": "p1", "kind": "cot", "text": "other"}) + "\n")
    fresh.replace(run / "rationales.jsonl")
    (run / "fresh").write_text("")
    (run / "fresh").replace(run / "verdicts.jsonl")
    indexer.catch_up()
    assert ids(run) == ["only"]
    assert ids(run, q="times") == []


def test_a_line_that_cannot_be_read_is_counted_and_the_rest_is_read(run):
    """Its place is kept; nothing is silently dropped."""
    with (run / "rationales.jsonl").open("ab") as file:
        file.write(b'{"id": \xff}\n[1]\n{"id": "x"}\n')
    append_line(run / "rationales.jsonl", {"id": "good", "problem_id": "p1", "kind": "cot", "text": "fine"})
    index_once(run)
    row = open_index(run).execute("SELECT * FROM files WHERE name = 'rationales.jsonl'").fetchone()
    assert row["faults"] == 3
    assert row["fault"].startswith("rationales.jsonl:4: UnicodeDecodeError")
    assert "good" in ids(run)


def test_compressed_files_are_read(run):
    """A study's predictions are kept compressed."""
    path = run / "predictions" / "scotd.jsonl"
    with gzip.open(f"{path}.gz", "wb") as out:
        out.write(path.read_bytes())
    path.unlink()
    index_once(run)
    index = open_index(run)
    row = index.execute("SELECT * FROM items WHERE id = 'scotd-p2'").fetchone()
    assert text_of(run, row)["text"] == "It is 7."


def test_decisions_are_in_the_index_whoever_made_them(run):
    """Also on a record that is read only later, and an undo takes them out."""
    made = {"by": "Ada", "action": "reject", "stage": "rationales", "job": "", "record": "r-p1-cot-0"}
    first = decisions.append(run, made)
    indexer = Indexer(run)
    indexer.catch_up()
    assert ids(run, review="rejected") == ["r-p1-cot-0"]
    decisions.append(run, {"by": "Ada", "action": "undo", "undoes": first["id"]})
    indexer.catch_up()
    assert ids(run, review="rejected") == []


def test_only_one_process_fills_an_index(run):
    """While another holds the lock nothing is read twice."""
    import fcntl

    indexer = Indexer(run)
    with (run / ".review" / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        index_once(run)
        assert ids(run) == []
    indexer.catch_up()
    index_once(run)
    assert len(ids(run)) == 3


def test_a_damaged_index_says_what_to_delete(run):
    """It can always be made again."""
    (run / ".review").mkdir()
    (run / ".review" / "index.sqlite").write_bytes(b"not a database, but long enough to look like one" * 50)
    with pytest.raises(DataError, match=r"index\.sqlite: cannot be used .* delete the folder .*\.review"):
        open_index(run)


def test_an_index_of_another_schema_is_made_anew(run):
    """Its records are read again."""
    index_once(run)
    index = open_index(run)
    index.execute("PRAGMA user_version = 999")
    index.close()
    index_once(run)
    assert len(ids(run)) == 3


def test_an_incomplete_run_is_reviewed_as_far_as_it_goes(tmp_path, run):
    """Without anything to review the message says what a run holds."""
    for name in ("verdicts.jsonl", "dropped.jsonl", "problems.jsonl"):
        (run / name).unlink()
    index_once(run)
    assert len(ids(run)) == 3
    with pytest.raises(DataError, match="nothing to review in it yet; give a run directory"):
        require_run(tmp_path)
    with pytest.raises(DataError, match="no such folder"):
        require_run(tmp_path / "absent")


def test_an_item_that_has_gone_says_so(run):
    """A page may be older than the run."""
    index_once(run)
    with pytest.raises(DataError, match="item 999: not in this run's index"):
        item(open_index(run), 999)


def test_nothing_of_the_run_is_written(run):
    """The review writes beside what the pipeline made, never into it."""
    before = {source.name: source.path.read_bytes() for source in sources_of(run)}
    index_once(run)
    assert {source.name: source.path.read_bytes() for source in sources_of(run)} == before
    assert sqlite3.sqlite_version_info >= (3, 35)
