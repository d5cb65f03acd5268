"""Reading rows in, writing lines that survive a kill."""

import errno
import gzip
import json

import pytest

from potstill.errors import DataError
from potstill.files import Appender, drop_torn_line, read_records, read_rows, write_atomic, write_records, writing
from potstill.records import Problem, Rationale

ROWS = [{"question": "Wie viele Äpfel?", "answer": "3"}, {"question": "Two,\nlines", "answer": "4"}]


def write_jsonl(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def test_every_format_gives_the_same_rows(tmp_path):
    """JSONL, gzipped JSONL, a JSON array, CSV, TSV and Parquet are read alike."""
    import csv

    import pyarrow as pa
    import pyarrow.parquet as pq

    plain = write_jsonl(tmp_path / "a.jsonl", ROWS)
    with gzip.open(tmp_path / "b.jsonl.gz", "wb") as out:
        out.write(plain.read_bytes())
    (tmp_path / "c.json").write_text(json.dumps(ROWS), encoding="utf-8")
    for name, delimiter in (("d.csv", ","), ("e.tsv", "\t")):
        with (tmp_path / name).open("w", encoding="utf-8", newline="") as out:
            writer = csv.DictWriter(out, ["question", "answer"], delimiter=delimiter)
            writer.writeheader()
            writer.writerows(ROWS)
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "f.parquet")
    for path in sorted(tmp_path.iterdir()):
        assert [row for _, row in read_rows(path)] == ROWS, path.name


def test_a_byte_order_mark_is_not_part_of_the_first_key(tmp_path):
    """Files saved by a spreadsheet are read."""
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + b'{"question": "Q"}\n')
    assert [row for _, row in read_rows(path)] == [{"question": "Q"}]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"a": 1}\n{"a": \n', r"a\.jsonl:2: not valid JSON"),
        ("a.jsonl", b'{"a": 1}\n[1]\n', r"a\.jsonl:2: found \[1\]; expected one JSON object per line"),
        ("a.jsonl", b'{"a": "\xff"}\n', r"a\.jsonl:1: not UTF-8 \(byte 0xff at position 7\)"),
        ("a.json", b'{"a": 1}', r"expected a JSON array of objects"),
        ("a.csv", b"a,b\n1,2,3\n", r"a\.csv:2: found another number of columns than the header's 2"),
        ("a.csv", b"a,b\n1,2\n1,\xff\n", r"a\.csv:3: not UTF-8; convert the file"),
        ("a.csv", b'a,b\n"1,2\n', r"a\.csv:\d+: not readable as CSV"),
        ("a.csv", b"a,a\n1,2\n", r"a\.csv:1: column 'a' occurs twice in the header"),
        ("a.json", b'[{"a":\n"\xff"}]', r"a\.json:2: not UTF-8"),
        ("a.csv.gz", b"no gzip at all", r"cannot be read to its end .* the file is damaged"),
        ("a.json.gz", gzip.compress(b"[]" * 99, mtime=0)[:14], r"cannot be read to its end .* the file is damaged"),
        ("a.jsonl.gz", gzip.compress(b"{}\n" * 99, mtime=0)[:14] + b"\0\xff\0\xff" * 9, r"the file is damaged"),
        ("a.jsonl.gz", b"no gzip at all", r"cannot be read to its end"),
        ("a.parquet", b"no parquet", r"not a readable Parquet file"),
        ("a.txt", b"hello", r"cannot tell the format from the name; expected \.jsonl"),
    ],
)
def test_a_broken_file_is_named_with_its_line(tmp_path, name, content, message):
    """Each kind of damage gives one message that says where and what."""
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        list(read_rows(path))


def test_missing_files_and_folders_are_told_apart(tmp_path):
    """The message says what was found in place of a file."""
    with pytest.raises(DataError, match="no such file"):
        list(read_rows(tmp_path / "nothing.jsonl"))
    with pytest.raises(DataError, match="a folder"):
        list(read_rows(tmp_path))


def test_problems_and_rationales_are_read_without_ids(tmp_path):
    """What others wrote is read: ids are made from the content."""
    path = write_jsonl(tmp_path / "p.jsonl", ROWS)
    problems = list(read_records(path, Problem))
    assert [p.question for p in problems] == [row["question"] for row in ROWS]
    path = write_jsonl(tmp_path / "r.jsonl", [{"question_id": "q", "kind": "cot", "text": "t", "teacher": "x"}])
    assert next(read_records(path, Rationale)).meta == {"teacher": "x"}


def test_appended_lines_survive_a_torn_last_line(tmp_path):
    """What a kill left half-written is cut off; every whole line before it stays."""
    path = tmp_path / "r.jsonl"
    first = Rationale(id="1", problem_id="p", kind="cot", text="whole")
    with Appender(path) as out:
        out.append([first])
    with path.open("ab") as file:
        file.write(b'{"id": "2", "problem_id": "p", "ki')
    second = Rationale(id="3", problem_id="p", kind="cot", text="after")
    with Appender(path) as out:
        out.append([second])
    assert list(read_records(path, Rationale)) == [first, second]


@pytest.mark.parametrize("content", [b"", b"a\n", b"torn", b"a\n" + b"x" * 200_000, b"x" * 70_000 + b"\nrest"])
def test_dropping_a_torn_line_leaves_whole_lines(tmp_path, content):
    """For any content, what stays ends in a line end and is a prefix."""
    path = tmp_path / "f"
    path.write_bytes(content)
    cut = drop_torn_line(path)
    left = path.read_bytes()
    assert content.startswith(left)
    assert len(left) + cut == len(content)
    assert left == b"" or left.endswith(b"\n")


def test_a_whole_file_is_replaced_in_one_step(tmp_path):
    """No partial file stays behind."""
    path = tmp_path / "deep" / "scores.json"
    write_atomic(path, "one")
    write_atomic(path, "two")
    assert path.read_text(encoding="utf-8") == "two"
    assert [p.name for p in path.parent.iterdir()] == ["scores.json"]
    assert write_records(tmp_path / "p.jsonl", [Problem(id="1", question="Q")]) == 1


def test_a_full_disk_says_that_the_run_resumes():
    """Linux offers a device that is always full."""
    with (
        pytest.raises(DataError, match="the disk is full; free some space and run the same command again"),
        Appender("/dev/full") as out,
    ):
        out.append([Problem(id="1", question="Q")])


def test_whole_files_are_gzipped_where_the_name_says_so_and_other_names_are_refused(tmp_path):
    """What is written can be read again under its name."""
    rows = [Rationale(id="r", problem_id="p", kind="cot", text="t", author="a", index=0, finish="stop")]
    write_records(tmp_path / "a.jsonl.gz", rows)
    assert (tmp_path / "a.jsonl.gz").read_bytes()[:2] == b"\x1f\x8b"
    assert [row.id for row in read_records(tmp_path / "a.jsonl.gz", Rationale)] == ["r"]
    with pytest.raises(DataError, match=r"expected a name that ends in \.jsonl"):
        write_records(tmp_path / "a.csv", rows)


def test_a_write_that_fails_leaves_no_part_behind(tmp_path):
    """A name that a folder has cannot be replaced; the old state stays as it was."""
    (tmp_path / "a.jsonl").mkdir()
    with pytest.raises(DataError, match="cannot be written"):
        write_atomic(tmp_path / "a.jsonl", "text")
    assert [path.name for path in tmp_path.iterdir()] == ["a.jsonl"]


@pytest.mark.parametrize(
    ("error", "is_full"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), True),
        (RuntimeError("[enforce fail at inline_container.cc] PytorchStreamWriter failed writing file data/0"), True),
        (RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"), True),
        (RuntimeError("CUDA out of memory"), False),
        (OSError(errno.EACCES, "Permission denied"), False),
    ],
)
def test_a_full_disk_is_told_from_other_errors_of_a_training(error, is_full, tmp_path):
    """Whoever's words it is said in; what is not about the disk passes as it is."""
    expected = pytest.raises(DataError if is_full else type(error), match="disk is full" if is_full else None)
    with expected, writing(tmp_path, only_full=True):
        raise error
