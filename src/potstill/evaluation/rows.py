"""From a row of any source to the fields of a problem: which column is what, and what type its answers are.

Used by `potstill.evaluation.datasets`. Pure but for messages. Whole columns are looked at where one row does not say
enough: the type of a source's answers, the base of its option indices.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter, defaultdict
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from potstill.errors import ConfigError, DataError, shorten
from potstill.evaluation import golds
from potstill.evaluation.golds import Options
from potstill.messages import say
from potstill.recipe.problems import SourceConfig
from potstill.records import ANSWER_TYPES

_FIELDS = ("id", "question", "answer", "answer_type", "options", "labels", "split", "source", "parent_id")
_ALIASES = {
    "question": ("question", "problem", "messages", "conversations", "prompt", "instruction"),
    "options": ("options", "choices"),
    "parent_id": ("parent_id", "seed_id"),
}
_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_SPEAKERS = {"human": "user", "gpt": "assistant"}


@dataclass(slots=True)
class Read:
    """One row on its way to a problem."""

    where: str
    values: dict[str, Any]
    gold: str | None
    options: Options
    meta: dict[str, Any] = field(default_factory=dict)


def require_columns(config: SourceConfig, found: Sequence[str], where: str) -> None:
    """Raise unless the mapped columns exist and one of them holds the question."""
    for ours, column in config.columns.items():
        if ours not in _FIELDS:
            near = difflib.get_close_matches(ours, _FIELDS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(_FIELDS)}"
            message = f"problems.columns: {ours!r} is not a field of a problem; {hint}"
            raise ConfigError(message)
        if column not in found:
            message = (
                f"{where}: problems.columns.{ours} names column {column!r}; found columns {shorten(', '.join(found))}"
            )
            raise DataError(message)
    if config.question is not None and not _is_composed(found):
        _require_placeholders(config.question, found, where)
    elif "question" not in config.columns and not set(_ALIASES["question"]) & set(found):
        message = (
            f"{where}: no column 'question'; found columns {shorten(', '.join(found))}; say which one holds it, for "
            f"example --set problems.columns.question={found[0]}"
        )
        raise DataError(message)


def read_row(where: str, row: Mapping[str, Any], config: SourceConfig, name: str) -> Read:
    """Take the fields of a problem out of a row; the rest becomes `meta`."""
    columns = {ours: column for ours in _FIELDS if (column := _column(ours, row, config)) is not None}
    values: dict[str, Any] = {ours: row[column] for ours, column in columns.items()}
    used = set(columns.values())
    own = row.get("meta")
    is_ours = isinstance(own, Mapping)
    meta = dict(own) if isinstance(own, Mapping) else {}
    meta |= {k: v for k, v in row.items() if k not in used and v is not None and not (k == "meta" and is_ours)}
    for plain in ("fields", "media"):
        if isinstance(row.get(plain), dict if plain == "fields" else list):
            values[plain] = meta.pop(plain)
    if config.question is not None and not _is_composed(row):
        _compose_question(values, row, config.question, meta, where)
    else:
        _set_question(values, row, columns.get("question", config.columns.get("question", "question")), meta, where)
    gold = golds.as_gold(values.pop("answer", None), where)
    if gold is not None and (cut := golds.final_gold(gold)) != gold:
        meta.setdefault("gold_solution", gold)
        gold = cut
    options = golds.parse_options(values.pop("options"), where) if values.get("options") else Options()
    values.pop("options", None)
    for key in ("id", "split", "source", "parent_id"):
        if values.get(key) in (None, ""):
            values.pop(key, None)
        elif key in values:
            values[key] = str(values[key])
    values.setdefault("source", name)
    return Read(where, values, gold, options, meta)


def _column(ours: str, row: Mapping[str, Any], config: SourceConfig) -> str | None:
    """Return the column of a row that holds one of our fields, `None` if none does."""
    if ours in config.columns:
        column = config.columns[ours]
        return column if column in row else None
    taken = set(config.columns.values())
    for column in _ALIASES.get(ours, (ours,)):
        if row.get(column) is not None and column not in taken and _fits(ours, row[column]):
            return column
    return None


def _fits(ours: str, value: Any) -> bool:
    """Whether a value under one of our names is what we mean by it: others use `labels` for class numbers, say."""
    if ours == "labels":
        return isinstance(value, list | tuple) and all(isinstance(label, str) for label in value)
    return ours not in ("answer_type", "source", "split") or isinstance(value, str)


def _set_question(
    values: dict[str, Any], row: Mapping[str, Any], column: str, meta: dict[str, Any], where: str
) -> None:
    question = row.get(column)
    if isinstance(question, list | tuple):
        meta[column] = question
        question = _last_user_turn(question, where)
    elif column == "instruction" and row.get("input"):
        question = f"{question}\n\n{row['input']}"
    if not isinstance(question, str) or not question.strip():
        found = shorten(repr(question), 80) if column in row else f"missing (found {shorten(', '.join(row), 120)})"
        message = f"{where}: the question (column {column!r}) is {found}; expected a text; correct the row"
        raise DataError(message)
    values["question"] = question


def _compose_question(
    values: dict[str, Any], row: Mapping[str, Any], form: str, meta: dict[str, Any], where: str
) -> None:
    """Fill the columns of a row into the text of the question; they stay as fields that can be edited one by one."""
    fields = {}
    for column in dict.fromkeys(_PLACEHOLDER.findall(form)):
        value = row.get(column)
        if not isinstance(value, str | int | float) or not str(value).strip():
            found = shorten(repr(value), 80) if column in row else "missing"
            message = (
                f"{where}: column {column!r}, a part of the question, is {found}; expected a text; correct the row"
            )
            raise DataError(message)
        fields[column] = str(value)
        meta.pop(column, None)
    values["question"] = _PLACEHOLDER.sub(lambda match: fields[match[1]], form)
    values["fields"] = {**fields, **(values.get("fields") or {})}


def _is_composed(columns: Container[str]) -> bool:
    """Whether a row is a problem of ours, whose question was put together when it was first read."""
    return "question" in columns and "fields" in columns


def _require_placeholders(form: str, found: Sequence[str], where: str) -> None:
    columns = _PLACEHOLDER.findall(form)
    if not columns:
        message = f"problems.question: {shorten(form)!r} holds no {{column}}; write one for each column of the question"
        raise ConfigError(message)
    for column in columns:
        if column not in found:
            message = (
                f"{where}: problems.question names column {column!r}; found columns {shorten(', '.join(found))}; "
                "name one of them"
            )
            raise DataError(message)


def _last_user_turn(turns: Sequence[Any], where: str) -> str:
    """Return what the user said last in a chat; the whole chat stays in `meta`, reasoning and all."""
    for turn in reversed(turns):
        if isinstance(turn, Mapping):
            role = turn.get("role") or turn.get("from")
            if _SPEAKERS.get(str(role), role) == "user":
                content = turn.get("content", turn.get("value"))
                if isinstance(content, list):
                    content = "\n".join(str(part.get("text", "")) for part in content if isinstance(part, Mapping))
                return str(content or "")
    message = f"{where}: a chat without a user turn; expected messages such as {{'role': 'user', 'content': ..}}"
    raise DataError(message)


def set_types(reads: Sequence[Read], config: SourceConfig) -> list[Read]:
    """Give every row its answer type and its gold answer in the form of that type, source by source; return the rest.

    What is left out are rows whose gold answer does not fit, where the recipe says `invalid: drop`.
    """
    groups: dict[str, list[Read]] = defaultdict(list)
    for read in reads:
        groups[str(read.values["source"])].append(read)
    invalid: set[str] = set()
    for members in groups.values():
        known = [read.gold for read in members if read.gold is not None]
        labels = _label_set(members, config, known)
        sized = [(read.gold, len(read.options.texts)) for read in members if read.gold and read.options.texts]
        base = golds.index_base([gold for gold, _ in sized], [size for _, size in sized])
        has_options = any(read.options.texts for read in members)
        guess = golds.infer_type(known, has_options=has_options, has_labels=bool(labels))
        for read in members:
            read.values["answer_type"] = config.answer_type or read.values.get("answer_type") or guess
            try:
                _set_gold(read, labels, base)
            except DataError as error:
                if config.invalid == "error":
                    raise
                invalid.add(read.where)
                say("problems", f"left out: {error}")
    if config.answer_type is None:
        _say_types(groups)
    return [read for read in reads if read.where not in invalid]


def _say_types(groups: Mapping[str, Sequence[Read]]) -> None:
    """Say how the answers of each source are taken, or that there are none: a wrong guess must not stay unseen."""
    types = Counter(
        (name, str(read.values["answer_type"]) if read.gold is not None else "unlabelled")
        for name, members in groups.items()
        for read in members
    )
    shown = ", ".join(f"{n:,} of {name} {kind}" for (name, kind), n in types.most_common(6))
    more = f" and {len(types) - 6} more" if len(types) > 6 else ""
    say("problems", f"answers are taken as: {shown}{more} (problems.answer_type and columns.answer decide)")


def _label_set(members: Sequence[Read], config: SourceConfig, known: Sequence[str]) -> tuple[str, ...]:
    own = tuple(dict.fromkeys(label for read in members for label in read.values.get("labels") or ()))
    if config.labels or own:
        return config.labels or own
    return tuple(sorted(set(known))) if config.answer_type == "label" else ()


def _set_gold(read: Read, labels: tuple[str, ...], base: int | None) -> None:
    values, kind = read.values, read.values["answer_type"]
    if kind not in ANSWER_TYPES:
        message = (
            f"{read.where}: answer_type is {shorten(repr(kind), 80)}; expected one of {', '.join(ANSWER_TYPES)}; "
            "--set problems.answer_type=... goes over the rows' own"
        )
        raise DataError(message)
    if kind == "label":
        values["labels"] = list(values.get("labels") or labels)
    else:
        values.pop("labels", None)
    if read.options.texts:
        values["options"] = list(read.options.texts)
    if read.gold is None:
        return
    if kind == "choice" and read.options.texts:
        values["answer"] = golds.choice(read.gold, read.options, read.where, first_index=base)
    else:
        values["answer"] = golds.typed_gold(read.gold, kind, values.get("labels") or (), read.where)
    if values["answer"] != read.gold:
        read.meta.setdefault("gold", read.gold)
