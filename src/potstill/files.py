"""Files: rows in from JSONL, CSV and Parquet, lines out that survive a kill.

Two writing forms, and no third: `write_atomic` for a whole file (written beside, synced, renamed) and `Appender` for
JSONL that grows (a line torn by a kill is cut off at the next opening; it was never acknowledged).
"""

from __future__ import annotations

import csv
import errno
import gzip
import io
import json
import os
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from potstill.errors import DataError, require_extra, shorten
from potstill.records import Problem, R, Rationale, Record, from_dict, json_line, problem_from, rationale_from

READABLE = ".jsonl, .json, .csv, .tsv, .parquet, and .gz of the text formats"
T = TypeVar("T", bound=Record)


def read_rows(path: str | Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (`file:line`, row) from a JSONL, JSON-array, CSV, TSV or Parquet file, gzipped or not.

    Raises:
        DataError: The file is missing, of an unknown kind, not UTF-8, or a line is not JSON.
    """
    path = Path(path)
    if not path.is_file():
        found = "a folder" if path.is_dir() else "no such file"
        message = f"{path}: {found}; give a file ({READABLE})"
        raise DataError(message)
    suffixes = [suffix.lower() for suffix in path.suffixes]
    kind = suffixes[-2] if suffixes[-1:] == [".gz"] and len(suffixes) > 1 else suffixes[-1] if suffixes else ""
    with reading(path):
        if kind == ".parquet":
            yield from _read_parquet(path)
        elif kind in (".csv", ".tsv"):
            yield from _read_csv(path, "\t" if kind == ".tsv" else ",")
        elif kind == ".json":
            yield from _read_json(path)
        elif kind in (".jsonl", ".ndjson"):
            yield from _read_jsonl(path)
        else:
            message = f"{path}: cannot tell the format from the name; expected {READABLE}"
            raise DataError(message)


def read_records(path: str | Path, cls: type[R]) -> Iterator[R]:
    """Yield records of one class from a file; problems and rationales may lack an id."""
    for where, row in read_rows(path):
        if cls is Problem:
            yield problem_from(row, where)  # type: ignore[misc]
        elif cls is Rationale:
            yield rationale_from(row, where)  # type: ignore[misc]
        else:
            yield from_dict(cls, row, where)


def write_records(path: str | Path, records: Iterable[Record]) -> int:
    """Write a whole JSONL file (`.jsonl` or `.jsonl.gz`) atomically and return its number of lines."""
    if not str(path).endswith((".jsonl", ".jsonl.gz")):
        message = f"{path}: cannot be written; expected a name that ends in .jsonl or .jsonl.gz"
        raise DataError(message)
    count = 0
    lines: list[str] = []
    for record in records:
        lines.append(json_line(record))
        count += 1
    write_atomic(path, "".join(lines))
    return count


def write_atomic(path: str | Path, text: str | bytes) -> None:
    """Replace a file's contents in one step: a reader, or a kill, sees the old text or the new, never a part."""
    path = Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    data = text.encode("utf-8") if isinstance(text, str) else text
    if path.suffix.lower() == ".gz":
        data = gzip.compress(data, mtime=0)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with partial.open("wb") as out:
                out.write(data)
                out.flush()
                os.fsync(out.fileno())
            partial.replace(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what goes wrong while a file is read, compressed or not, into a `DataError` that says what to do."""
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile) as cause:
        message = f"{path}: cannot be read to its end ({shorten(cause)}); the file is damaged: copy or make it anew"
        raise DataError(message) from cause
    except OSError as cause:
        message = f"{path}: cannot be read ({cause.strerror or shorten(cause)}); give a file that you may read"
        raise DataError(message) from cause


class writing:  # noqa: N801 - reads as a statement: `with writing(path):`
    """Turn an `OSError` of a write into a `DataError` that says what to do; a full disk leaves the run resumable."""

    def __init__(self, path: Path, *, only_full: bool = False) -> None:
        self.path = path
        self.only_full = only_full
        """Leave every other error as it is: for code that does more than write."""

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if is_disk_full(error):
            message = f"{self.path}: the disk is full; free some space and run the same command again, it resumes"
        elif not isinstance(error, OSError) or self.only_full:
            return
        else:
            message = f"{self.path}: cannot be written ({error.strerror}); choose a folder that you may write"
        raise DataError(message) from error


def is_disk_full(error: BaseException | None) -> bool:
    """Whether an error says that a disk is full, also in the words of safetensors and torch, which keep no number."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    words = ("No space left on device", "Disk quota exceeded", "PytorchStreamWriter failed writing")
    return isinstance(error, Exception) and any(word in str(error) for word in words)


class Appender:
    """A JSONL file that grows. `append` returns after the lines are on disk."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._out: io.FileIO | None = None

    def __enter__(self) -> Appender:
        with writing(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            drop_torn_line(self.path)
            self._out = self.path.open("ab", buffering=0)
        return self

    def __exit__(self, *exc: object) -> None:
        assert self._out is not None, "an Appender is used in a with statement"
        self._out.close()

    def append(self, records: Iterable[Record]) -> None:
        """Write the records and sync them to disk."""
        self.append_lines(map(json_line, records))

    def append_lines(self, lines: Iterable[str]) -> None:
        """Write lines of JSON, each with its line end, and sync them to disk."""
        assert self._out is not None, "an Appender is used in a with statement"
        with writing(self.path):
            left = memoryview("".join(lines).encode("utf-8"))
            while left:
                left = left[self._out.write(left) :]
            os.fsync(self._out.fileno())


def drop_torn_line(path: Path) -> int:
    """Cut off a last line without its line end, left by a kill in the middle of a write; return the bytes cut."""
    if not path.exists():
        return 0
    with path.open("r+b") as file:
        size = end = file.seek(0, os.SEEK_END)
        while end > 0:
            start = max(0, end - 65536)
            file.seek(start)
            newline = file.read(end - start).rfind(b"\n")
            if newline >= 0:
                end = start + newline + 1
                break
            end = start
        if end != size:
            file.truncate(end)
        return size - end


def _open_text(path: Path) -> io.TextIOWrapper:
    opener = gzip.open if path.suffix.lower() == ".gz" else open
    return opener(path, "rt", encoding="utf-8-sig", newline="")  # type: ignore[return-value, operator]


def _read_jsonl(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    opener = gzip.open if path.suffix.lower() == ".gz" else open
    with opener(path, "rb") as file:  # type: ignore[operator]
        for number, raw in enumerate(file, start=1):
            where = f"{path}:{number}"
            try:
                line = raw.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as cause:
                message = (
                    f"{where}: not UTF-8 (byte {raw[cause.start]:#04x} at position {cause.start}); convert the file"
                )
                raise DataError(message) from cause
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (json.JSONDecodeError, RecursionError) as cause:
                message = f"{where}: not valid JSON ({shorten(cause, 80)}); expected one object per line"
                raise DataError(message) from cause
            if not isinstance(row, dict):
                message = f"{where}: found {shorten(repr(row), 80)}; expected one JSON object per line"
                raise DataError(message)
            yield where, row


def _read_json(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    with _open_text(path) as file:
        try:
            rows = json.load(file)
        except UnicodeDecodeError as cause:
            message = f"{path}:{_undecodable_line(path)}: not UTF-8; convert the file"
            raise DataError(message) from cause
        except (ValueError, RecursionError) as cause:
            message = f"{path}: not valid JSON ({shorten(cause, 80)}); correct the file"
            raise DataError(message) from cause
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        message = f"{path}: expected a JSON array of objects; for one object per line name the file .jsonl"
        raise DataError(message)
    for number, row in enumerate(rows, start=1):
        yield f"{path}[{number}]", row


def _read_csv(path: Path, delimiter: str) -> Iterator[tuple[str, dict[str, Any]]]:
    with _open_text(path) as file:
        reader = csv.DictReader(file, delimiter=delimiter, strict=True)
        try:
            _require_distinct(path, reader.fieldnames or ())
            for row in reader:
                where = f"{path}:{reader.line_num}"
                if None in row or None in row.values():
                    expected = len(reader.fieldnames or ())
                    message = (
                        f"{where}: found another number of columns than the header's {expected}; "
                        "put a value that holds a separator or a line end in double quotes"
                    )
                    raise DataError(message)
                yield where, dict(row)
        except UnicodeDecodeError as cause:
            message = f"{path}:{_undecodable_line(path)}: not UTF-8; convert the file"
            raise DataError(message) from cause
        except csv.Error as cause:
            message = f"{path}:{reader.line_num + 1}: not readable as CSV ({shorten(cause, 80)}); correct the row"
            raise DataError(message) from cause


def _require_distinct(path: Path, names: Iterable[str]) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        message = f"{path}:1: column {shorten(twice[0], 80)!r} occurs twice in the header; rename one of them"
        raise DataError(message)


def _undecodable_line(path: Path) -> int:
    """Return the number of the first line that is not UTF-8; text is read in blocks, so the reader does not know."""
    opener = gzip.open if path.suffix.lower() == ".gz" else open
    with opener(path, "rb") as file:  # type: ignore[operator]
        for number, raw in enumerate(file, start=1):
            try:
                raw.decode("utf-8")
            except UnicodeDecodeError:
                return number
    return 1


def _read_parquet(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    require_extra("pyarrow", "train")
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        number = 0
        for batch in file.iter_batches(batch_size=4096):
            for row in batch.to_pylist():
                number += 1
                yield f"{path}[{number}]", {key: value for key, value in row.items() if value is not None}
    except pa.ArrowException as cause:
        message = f"{path}: not a readable Parquet file ({shorten(cause, 80)})"
        raise DataError(message) from cause
