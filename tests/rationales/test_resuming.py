"""What an output file is still good for."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest

from potstill.errors import ConfigError, DataError
from potstill.files import read_records, write_records
from potstill.rationales.resuming import Today, keep_current, locked
from potstill.records import Rationale

ROW = Rationale(
    id="r", problem_id="p0", kind="cot", text="t", index=0, finish="stop", request="k1", usage={"completion_tokens": 9}
)


def keep(path, rows, *, key="k1", cap=64, retry_failed=False):
    """Write rows, resume, and return (what was found, rows left, rows set aside)."""
    write_records(path, rows)
    found = keep_current(
        path, lambda row: row[0].startswith("p") and row[2] < 3, lambda _: Today(key, cap), retry_failed=retry_failed
    )
    aside = path.with_name("out.superseded.jsonl")
    read = [list(read_records(file, Rationale)) if file.exists() else [] for file in (path, aside)]
    return found, *read


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out.jsonl"


def test_a_file_that_is_not_there_holds_nothing(out):
    """And is not made."""
    assert keep_current(out, lambda key: True, lambda _: Today(None)).done == set()
    assert not out.exists()


def test_current_rows_stay_as_they_are(out):
    """The file is not touched when all of it is good."""
    rows = [ROW, replace(ROW, id="s", index=1, finish="refused", text="")]
    found, left, aside = keep(out, rows)
    assert (left, aside) == (rows, [])
    assert found.done == {("p0", "cot", 0), ("p0", "cot", 1)}
    assert (found.failed, dict(found.finishes)) == (1, {"stop": 1, "refused": 1})
    inode = out.stat().st_ino
    keep_current(out, lambda key: True, lambda _: Today("k1", 64))
    assert out.stat().st_ino == inode


def test_errors_are_dropped_and_refusals_only_when_asked(out):
    """A refusal was charged and is on record; an error is no result."""
    rows = [replace(ROW, id=f, index=i, finish=f, text="") for i, f in enumerate(("error", "refused", "empty"))]
    assert [row.finish for row in keep(out, rows)[1]] == ["refused", "empty"]
    found, left, aside = keep(out, rows, retry_failed=True)
    assert (left, aside, found.done) == ([], [], set())


def test_a_second_row_of_the_same_index_is_dropped(out):
    """The first one stays."""
    assert keep(out, [ROW, replace(ROW, id="s")])[1] == [ROW]


def test_rows_of_a_changed_request_are_set_aside(out):
    """They were paid for; nothing is thrown away."""
    found, left, aside = keep(out, [ROW], key="k2")
    assert (left, aside, found.done) == ([], [ROW], set())


@pytest.mark.parametrize(
    ("finish", "tokens", "bought_cap", "cap", "is_good"),
    [
        ("stop", 9, None, 64, True),
        ("stop", 9, None, None, True),
        ("stop", 9, None, 8, False),
        ("length", 9, 9, 9, True),
        ("length", 9, 9, 64, False),
        ("length", 9, 64, 64, True),
    ],
)
def test_a_cap_matters_only_where_it_cut_or_would_cut(out, finish, tokens, bought_cap, cap, is_good):
    """As in the ledger: what ended by itself is valid under any cap that it fits in, a cut one under its own."""
    meta = {} if bought_cap is None else {"max_tokens": bought_cap}
    row = replace(ROW, finish=finish, usage={"completion_tokens": tokens}, meta=meta)
    assert bool(keep(out, [row], cap=cap)[1]) == is_good


def test_recorded_rationales_are_current_whatever_their_request(out):
    """A replay has no request to compare."""
    assert keep(out, [replace(ROW, request=None)], key=None)[0].done == {("p0", "cot", 0)}


def test_rows_that_are_not_asked_for_stay_and_are_not_counted(out):
    """Other problems, higher indices: the file may hold them."""
    rows = [replace(ROW, id="a", problem_id="x"), replace(ROW, id="b", index=7, finish="error")]
    found, left, _ = keep(out, rows, key="k2")
    assert (found.done, left) == (set(), rows)


def test_a_torn_last_line_is_cut_off(out):
    """A kill in the middle of a write."""
    write_records(out, [ROW])
    with out.open("a") as file:
        file.write('{"problem_id": "p0", "ki')
    assert keep_current(out, lambda key: True, lambda _: Today("k1", 64)).done == {("p0", "cot", 0)}
    assert out.read_text().endswith("}\n")


@pytest.mark.parametrize("line", ["not json", "[1]", '{"question": "a"}'])
def test_a_file_of_something_else_is_refused_and_left_alone(out, line):
    """Nobody's data is overwritten."""
    out.write_text(line + "\n")
    with pytest.raises(DataError, match=r"out.jsonl:1"):
        keep_current(out, lambda key: True, lambda _: Today("k1", 64))
    assert out.read_text() == line + "\n"


def test_the_name_must_be_that_of_a_jsonl_file(tmp_path):
    """A compressed or tabular name would not hold what it says."""
    for name in ("out.jsonl.gz", "out.parquet", "out"):
        with pytest.raises(ConfigError, match="ends in"), locked(tmp_path / name):
            pass


def test_a_second_process_is_turned_away(out):
    """Also after the file has been replaced by a resume."""
    code = "import sys; from pathlib import Path; from potstill.rationales.resuming import locked\n"
    code += "with locked(Path(sys.argv[1])): print('mine')"

    def other():
        result = subprocess.run([sys.executable, "-c", code, str(out)], capture_output=True, text=True, check=False)
        return result.stdout.strip() or result.stderr.splitlines()[-1]

    with locked(out) as lock_again:
        assert "another process is writing this file" in other()
        write_records(out, [ROW])
        lock_again()
        assert "another process is writing this file" in other()
    assert other() == "mine"
    assert json.loads(out.read_text())["id"] == "r"
