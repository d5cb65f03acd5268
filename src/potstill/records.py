"""The five records that flow through every stage, and their JSON form.

    Problem ──sample──► Rationale ──verify──► + Verdict ──mix──► Example ──train, infer, evaluate──► Score

Records are frozen; a change makes a new one (`dataclasses.replace`). On disk each is one JSON line. Reading is strict:
a missing or mistyped field is a `DataError` that names file, line and field; an unknown key is kept under `meta`.
Nothing here reads or writes files (`potstill.run` does) and nothing checks that an answer is right
(`potstill.rationales.verification` does).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from enum import StrEnum
from functools import cache
from typing import Any, Literal, TypeVar, get_args

from potstill.errors import DataError, shorten

SCHEMA_VERSION = 1

Kind = Literal["cot", "pot", "answer"]
View = Literal["positive", "negative"]
AnswerType = Literal["number", "choice", "label", "yesno", "expression", "text"]
KINDS: tuple[str, ...] = get_args(Kind)
VIEWS: tuple[str, ...] = get_args(View)
ANSWER_TYPES: tuple[str, ...] = get_args(AnswerType)


_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode
"""Made once: `json.dumps` with arguments makes an encoder per call, and this runs for every request."""


def canonical_json(value: Any) -> str:
    """Render JSON in the one form that hashes are taken of: sorted keys, no spaces, no NaN, UTF-8 kept."""
    return _CANONICAL(value)


def content_id(*parts: Any) -> str:
    """Return `sha256:` and 16 hex digits over the canonical JSON of `parts`."""
    digest = hashlib.sha256(canonical_json(list(parts)).encode("utf-8", "surrogatepass"))
    return "sha256:" + digest.hexdigest()[:16]


def child_seed(*parts: Any) -> int:
    """Derive a seed in [0, 2**31) from `parts`; never `hash()`, which differs between processes."""
    digest = hashlib.sha256(canonical_json(list(parts)).encode("utf-8", "surrogatepass"))
    return int.from_bytes(digest.digest()[:4], "big") >> 1


class Status(StrEnum):
    """What verification found. Only the first two judge the reasoning."""

    CORRECT = "CORRECT"
    WRONG = "WRONG"
    NO_ANSWER = "NO_ANSWER"
    """The text holds no final answer: the author's own failure, not correct, counted beside."""
    PROGRAM_FAILED = "PROGRAM_FAILED"
    """The program did not run to an answer: the author's own failure, not correct, counted beside."""
    UNVERIFIED = "UNVERIFIED"
    """Our check could not run, or there is no gold answer: unscored, never inside a mean."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A question, with its gold answer where one is known."""

    id: str
    question: str
    answer: str | None = None
    """The gold answer as text; `None` where unlabelled."""
    answer_type: str = "text"
    """One of number, choice, label, yesno, expression, text."""
    options: tuple[str, ...] = ()
    """Choice texts in order; the first is (a)."""
    labels: tuple[str, ...] = ()
    """The closed label set of a `label` problem."""
    fields: Mapping[str, str] = field(default_factory=dict)
    media: tuple[Mapping[str, str], ...] = ()
    source: str = ""
    split: str = "train"
    parent_id: str | None = None
    """The problem that this one was derived from (a contrast or counterfactual item)."""
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What verification found for one rationale. Has no truth value: use `.correct`."""

    rationale_id: str
    status: Status
    answer: str | None = None
    """The normalised final answer that was read; `None` when there is none."""
    reason: str = ""
    detail: str = ""
    meta: Mapping[str, Any] = field(default_factory=dict)

    @property
    def correct(self) -> bool:
        """Whether the answer was checked and is right."""
        return self.status is Status.CORRECT

    @property
    def scored(self) -> bool:
        """Whether the row belongs in a denominator; only `UNVERIFIED` does not."""
        return self.status is not Status.UNVERIFIED

    def __bool__(self) -> bool:
        message = "a Verdict has five outcomes and no truth value; test verdict.correct or verdict.status"
        raise TypeError(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rationale:
    """One text that a teacher or a student wrote for a problem. `text` is never rewritten."""

    id: str
    problem_id: str
    kind: str
    """cot, pot or answer (a bare label)."""
    text: str
    view: str | None = None
    """Of a chain of thought: positive (why the answer holds), negative (what rules out the others); `None`: neither."""
    reasoning_content: str | None = None
    """What a reasoning model thought before it wrote `text`, as the server returned it."""
    author: str = ""
    index: int = 0
    finish: str | None = None
    """stop, length, refused, empty or error; `None` when unknown (a recorded file)."""
    reason: str | None = None
    """Why `text` is empty, where it is."""
    request: str | None = None
    """Hash of every request field that could change the text."""
    usage: Mapping[str, int] = field(default_factory=dict)
    """prompt_tokens, completion_tokens, estimated (1 when counted by us)."""
    logprob: float | None = None
    """Mean log-probability per generated token, in nats."""
    verdict: Verdict | None = None
    """In memory only; on disk verdicts live in their own file."""
    problem: Problem | None = None
    """In memory only: the problem that `problem_id` names, set by `sample`, `infer` and `verify`."""
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """One row that a stage left out, and why. Nothing is dropped without one."""

    stage: str
    id: str
    reason: str
    """A short code that is counted, such as wrong, truncated, contaminated."""
    detail: str = ""
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One training row: text only. `group` names rows that share a prompt, read once in training."""

    id: str
    prompt: str
    target: str
    task: str
    """answer, cot, pot: the part of the loss that this row belongs to."""
    weight: float = 1.0
    rationale_id: str | None = None
    group: str = ""
    """The problem's id: rows of a group share their prompt."""
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One number with what it takes to believe it. Values are fractions in [0, 1] unless the metric says otherwise."""

    task: str
    system: str
    split: str
    path: str
    metric: str
    value: float | None
    """`None` when nothing could be scored."""
    n: int
    """Distinct problems (or groups) in the denominator."""
    n_unscored: int = 0
    low: float | None = None
    high: float | None = None
    seed: int | None = None
    """`None`: over all seeds."""
    by: str = ""
    """How the interval was made."""
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The paired difference a - b of two systems on the same problems."""

    task: str
    a: str
    b: str
    split: str
    path: str
    metric: str
    difference: float
    low: float
    high: float
    p: float
    n: int
    test: str
    meta: Mapping[str, Any] = field(default_factory=dict)


Record = Problem | Rationale | Verdict | Drop | Example | Score | Comparison
R = TypeVar("R", Problem, Rationale, Verdict, Drop, Example, Score, Comparison)

_CHECKS: dict[str, tuple[tuple[type, ...], str]] = {
    "str": ((str,), "a string"),
    "str | None": ((str, type(None)), "a string or null"),
    "int": ((int,), "a whole number"),
    "int | None": ((int, type(None)), "a whole number or null"),
    "float": ((int, float), "a number"),
    "float | None": ((int, float, type(None)), "a number or null"),
    "Status": ((str,), "one of " + ", ".join(Status)),
}
_CLOSED = {("Rationale", "kind"): KINDS, ("Problem", "answer_type"): ANSWER_TYPES}
_IN_MEMORY_ONLY = frozenset({"verdict", "problem"})


def to_dict(record: Record) -> dict[str, Any]:
    """Return the JSON form: `None` and empty defaults left out, except in scores, whose readers expect every key."""
    cls: Any = type(record)
    keep_all = isinstance(record, Score | Comparison)
    row: dict[str, Any] = {}
    for name, default in _wire_fields(cls):
        value = getattr(record, name)
        if keep_all:
            if name != "meta" or value:
                row[name] = value
        elif value != default:
            row[name] = list(value) if isinstance(value, tuple) else value
    return row


def from_dict(cls: type[R], row: Any, where: str = "record") -> R:
    """Build a record from its JSON form.

    Args:
        row: A decoded JSON object. Unknown keys are kept under `meta`.
        where: `file:line`, the first words of an error.

    Raises:
        DataError: A field is missing or of the wrong type; the message names `where`, the id and the field.
    """
    if not isinstance(row, Mapping):
        message = f"{where}: found {shorten(repr(row), 80)}; expected one JSON object per line"
        raise DataError(message)
    name = f"{where} ({row['id']})" if isinstance(row.get("id"), str) else where
    values: dict[str, Any] = {}
    meta = dict(row.get("meta") or {})
    record_class: Any = cls
    known = _field_types(record_class)
    for key, value in row.items():
        if key not in known:
            meta[key] = value
        elif key != "meta":
            values[key] = _checked(cls, key, value, known[key], name)
    missing = [key for key in _required(record_class) if key not in values]
    if missing:
        message = (
            f"{name}: field '{missing[0]}' is missing; a {cls.__name__} needs {', '.join(_required(record_class))}"
        )
        raise DataError(message)
    return cls(**values, meta=meta)


def problem_from(row: Mapping[str, Any], where: str = "problem") -> Problem:
    """Build a `Problem`; an absent id becomes a content hash of question, answer, type, options, labels and fields."""
    if "id" in row and not isinstance(row["id"], str):
        row = {**row, "id": str(row["id"])}
    if "id" not in row:
        defining = ("question", "answer", "answer_type", "options", "labels", "fields", "parent_id")
        row = {**row, "id": content_id("problem", *(row.get(key) for key in defining))}
    return from_dict(Problem, row, where)


def rationale_from(row: Mapping[str, Any], where: str = "rationale") -> Rationale:
    """Build a `Rationale` from a row that may come from elsewhere: `question_id` serves as `problem_id`."""
    row = dict(row)
    if "problem_id" not in row and "question_id" in row:
        row["problem_id"] = row.pop("question_id")
    if "id" not in row:
        author, index = row.get("author", ""), row.get("index", 0)
        text = row.get("text") if row.get("request") is None else None
        parts = (row.get("problem_id"), row.get("kind"), row.get("view"), author, row.get("request"), index, text)
        row["id"] = content_id("rationale", *parts)
    return from_dict(Rationale, row, where)


def json_line(record: Record) -> str:
    """Return the record as one line of JSON with its line end; lone surrogates survive as escapes."""
    text = json.dumps(to_dict(record), ensure_ascii=False, allow_nan=False)
    if not text.isascii():
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            text = json.dumps(to_dict(record), allow_nan=False)
    return text + "\n"


def unique_ids(records: Iterable[Problem], where: str) -> None:
    """Raise `DataError` at the first id that occurs twice."""
    seen: set[str] = set()
    for record in records:
        if record.id in seen:
            message = (
                f"{where}: id {record.id!r} occurs twice; ids must be unique, or be left out to be made from content"
            )
            raise DataError(message)
        seen.add(record.id)


@cache
def _field_types(cls: Any) -> dict[str, str]:
    return {f.name: str(f.type) for f in fields(cls) if f.name not in _IN_MEMORY_ONLY}


@cache
def _required(cls: Any) -> tuple[str, ...]:
    return tuple(f.name for f in fields(cls) if f.default is MISSING and f.default_factory is MISSING)


@cache
def _wire_fields(cls: Any) -> tuple[tuple[str, Any], ...]:
    return tuple((f.name, _default(f)) for f in fields(cls) if f.name not in _IN_MEMORY_ONLY)


def _default(f: Field[Any]) -> Any:
    return f.default_factory() if f.default_factory is not MISSING else f.default


def _checked(cls: type, key: str, value: Any, annotation: str, name: str) -> Any:
    if annotation.startswith("tuple"):
        if not isinstance(value, list | tuple):
            message = f"{name}: field '{key}' is {shorten(repr(value), 80)}; expected a list"
            raise DataError(message)
        return tuple(value)
    if annotation.startswith("Mapping"):
        if not isinstance(value, Mapping):
            message = f"{name}: field '{key}' is {shorten(repr(value), 80)}; expected an object"
            raise DataError(message)
        return value
    types, expected = _CHECKS[annotation]
    closed = tuple(Status) if annotation == "Status" else _CLOSED.get((cls.__name__, key))
    wrong_type = not isinstance(value, types) or (isinstance(value, bool) and str not in types)
    if wrong_type or (closed is not None and value not in closed):
        allowed = "one of " + ", ".join(closed) if closed else expected
        message = f"{name}: field '{key}' is {shorten(repr(value))}; expected {allowed}"
        raise DataError(message)
    return Status(value) if annotation == "Status" else value
