"""Problems from any source, and splits that keep problem families apart.

The first stage: `load_problems` for one source, `load_splits` for a recipe's `problems`. A row becomes a `Problem` by
its column names (`question`, else `problem`, `prompt`, `instruction` or the last user turn of `messages`; `answer`;
`options`, else `choices`) or by the recipe's `columns`; what is not used is kept under `meta`. Nothing is sampled,
checked against a teacher or rewritten here; gold answers are brought into one form and checked against their type.
"""

from __future__ import annotations

import difflib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from potstill.errors import ConfigError, DataError, shorten
from potstill.evaluation import golds
from potstill.evaluation.golds import Options
from potstill.evaluation.sources import MINIATURE, read_source, title
from potstill.messages import say
from potstill.rationales.families import families
from potstill.recipe import ProblemsConfig, SourceConfig
from potstill.records import ANSWER_TYPES, Problem, child_seed, problem_from, unique_ids

_FIELDS = ("id", "question", "answer", "answer_type", "options", "labels", "split", "source", "parent_id")
_ALIASES = {
    "question": ("question", "problem", "messages", "conversations", "prompt", "instruction"),
    "options": ("options", "choices"),
    "parent_id": ("parent_id", "seed_id"),
}
_SPEAKERS = {"human": "user", "gpt": "assistant"}


def load_problems(
    source: str | Path | Sequence[str] | SourceConfig,
    *,
    split: str | None = None,
    limit: int | None = None,
    columns: Mapping[str, str] | None = None,
    answer_type: str | None = None,
    labels: Sequence[str] = (),
    where: Mapping[str, Any] | None = None,
    seed: int | None = None,
    options: Mapping[str, Any] | None = None,
) -> list[Problem]:
    """Return the problems of a source, in its order.

    Args:
        source: A file, a list of files, a folder, a `datasets` name, `miniature`, or a recipe's table. The other
            arguments go over the table's.
        split: Only this split of the source.
        limit: At most so many; the first, or with `seed` ones drawn by it.
        columns: Our field -> the source's column.
        answer_type: number, choice, label, yesno, expression or text; by default as `golds.infer_type` says.
        labels: The closed set of a label problem.
        where: Column -> value or values that a row must have.
        options: Further arguments of the source.

    Raises:
        DataError: The source cannot be read, lacks a column, holds no problems, repeats an id, or a gold answer does
            not fit its options, labels or type.

    A row of GSM8K: {"question": "Natalia sold clips to 48 of her friends in April, ...", "answer": "Natalia sold 48/2
    = <<48/2=24>>24 clips in May. ... #### 72"} becomes a `number` problem with the answer "72".
    """
    given = {"split": split, "limit": limit, "columns": columns, "answer_type": answer_type, "labels": tuple(labels)}
    given |= {"where": where, "seed": seed, "options": options}
    changes = {key: value for key, value in given.items() if value is not None and value != ()}
    if isinstance(source, ProblemsConfig) and source.splits:
        return [p for problems in load_splits(source.model_copy(update=changes)).values() for p in problems]
    if isinstance(source, SourceConfig):
        config = source.model_copy(update=changes)
    else:
        names = str(source) if isinstance(source, str | Path) else tuple(str(name) for name in source)
        config = SourceConfig.model_validate({"source": names, **changes})
    return _load(config)


def load_splits(config: ProblemsConfig, seed: int = 0) -> dict[str, list[Problem]]:
    """Return the recipe's splits: split name -> problems, every problem's `split` set to that name.

    A hold-out is drawn by problem family and pinned by a hash: which split a family lies in depends on its own text
    and the seed, never on the order or number of the other rows. (Rows added to a family go where it is; a row that
    joins two families moves one of them, since they are one from then on.)

    Raises:
        DataError: As `load_problems`; or a hold-out is empty, or an id occurs in two splits.
    """
    if config.splits:
        splits = {name: _load(_inherited(config, part, seed)) for name, part in config.splits.items()}
        pool = splits.get("train", [])
    else:
        pool = _load(_inherited(config, config, seed))
        splits = {"train": pool} if config.holdout else _by_own_split(pool)
    if config.holdout:
        splits |= hold_out(pool, config.holdout, seed if config.seed is None else config.seed)
    splits = {name: [replace(p, split=name) for p in problems] for name, problems in splits.items()}
    unique_ids((p for problems in splits.values() for p in problems), "problems")
    return splits


def hold_out(problems: Sequence[Problem], fractions: Mapping[str, float], seed: int = 0) -> dict[str, list[Problem]]:
    """Return `train` and the held-out splits, whole families each; sizes follow the fractions only on average.

    Raises:
        DataError: A split gets no problem.
    """
    family = families(problems)
    splits: dict[str, list[Problem]] = {"train": [], **{name: [] for name in fractions}}
    for problem in problems:
        splits[_drawn(family[problem.id], fractions, seed)].append(problem)
    for name, members in splits.items():
        if not members:
            message = (
                f"problems.holdout: {dict(fractions)} leaves {name} empty: {len(problems)} problems are "
                f"{len(set(family.values()))} families, and families are kept whole; raise its fraction or add problems"
            )
            raise DataError(message)
    return splits


def _drawn(family: str, fractions: Mapping[str, float], seed: int) -> str:
    place = child_seed("holdout", seed, family) / 2**31
    for name, fraction in fractions.items():
        place -= fraction
        if place < 0:
            return name
    return "train"


def _inherited(config: ProblemsConfig, part: SourceConfig, seed: int) -> SourceConfig:
    """Return a split's table with what it leaves out taken from the table above it."""
    shared = {"columns", "answer_type", "labels", "limit", "seed"} & config.model_fields_set
    update = {key: getattr(config, key) for key in shared - part.model_fields_set}
    if _is_world(part) and part.seed is None and config.seed is None:
        update["seed"] = seed
    return part.model_copy(update=update)


def _is_world(config: SourceConfig) -> bool:
    return config.source == MINIATURE


def _by_own_split(problems: Iterable[Problem]) -> dict[str, list[Problem]]:
    splits: dict[str, list[Problem]] = defaultdict(list)
    for problem in problems:
        splits[problem.split].append(problem)
    return dict(splits)


@dataclass(slots=True)
class _Read:
    """One row on its way to a problem."""

    where: str
    values: dict[str, Any]
    gold: str | None
    options: Options
    meta: dict[str, Any] = field(default_factory=dict)


def _load(config: SourceConfig) -> list[Problem]:
    name = title(config)
    rows = [(where, row) for where, row in read_source(config) if _matches(row, config, where)]
    if not rows:
        message = f"{_shown(config)}: no problems found; the source is empty or 'split' and 'where' leave nothing"
        raise DataError(message)
    found = sorted({column for _, row in rows for column in row})
    _require_columns(config, found, rows[0][0])
    reads = [_read(where, row, config, name) for where, row in rows]
    reads = _set_types(reads, config, name)
    problems = [problem_from({**read.values, "meta": read.meta}, read.where) for read in reads]
    problems = _without_copies(problems, reads, name)
    unique_ids(problems, _shown(config))
    return _limited(problems, config)


def _matches(row: Mapping[str, Any], config: SourceConfig, where: str) -> bool:
    conditions = dict(config.where)
    column = config.columns.get("split", "split")
    if config.split is not None and not _is_world(config):
        if column not in row:
            message = (
                f"{where}: split {config.split!r} is asked for and the row has no column {column!r}; found columns "
                f"{shorten(', '.join(row))}; leave problems.split out, or map it with problems.columns.split"
            )
            raise DataError(message)
        conditions[column] = config.split
    for column, wanted in conditions.items():
        if column not in row:
            message = f"{where}: where.{column}: no such column; found {shorten(', '.join(row))}"
            raise DataError(message)
        if row[column] not in (wanted if isinstance(wanted, list | tuple) else (wanted,)):
            return False
    return True


def _require_columns(config: SourceConfig, found: Sequence[str], where: str) -> None:
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
    if "question" not in config.columns and not set(_ALIASES["question"]) & set(found):
        message = (
            f"{where}: no column 'question'; found columns {shorten(', '.join(found))}; say which one holds it, for "
            f"example --set problems.columns.question={found[0]}"
        )
        raise DataError(message)


def _read(where: str, row: Mapping[str, Any], config: SourceConfig, name: str) -> _Read:
    """Take the fields of a problem out of a row; the rest becomes `meta`."""
    columns = {ours: column for ours in _FIELDS if (column := _column(ours, row, config)) is not None}
    values: dict[str, Any] = {ours: row[column] for ours, column in columns.items()}
    used = set(columns.values())
    meta = {**(row.get("meta") or {}), **{k: v for k, v in row.items() if k not in used and k != "meta"}}
    for plain in ("fields", "media"):
        if isinstance(row.get(plain), dict if plain == "fields" else list):
            values[plain] = meta.pop(plain)
    _set_question(values, row, columns["question"], meta, where)
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
    return _Read(where, values, gold, options, meta)


def _column(ours: str, row: Mapping[str, Any], config: SourceConfig) -> str | None:
    """Return the column of a row that holds one of our fields, `None` if none does."""
    if ours in config.columns:
        column = config.columns[ours]
        return column if column in row else None
    taken = set(config.columns.values())
    for column in _ALIASES.get(ours, (ours,)):
        if row.get(column) is not None and column not in taken and _fits(ours, row[column]):
            return column
    return "question" if ours == "question" else None


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
        message = f"{where}: the question (column {column!r}) is {shorten(repr(question), 80)}; expected a text"
        raise DataError(message)
    values["question"] = question


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


def _set_types(reads: Sequence[_Read], config: SourceConfig, name: str) -> list[_Read]:
    """Give every row its answer type and its gold answer in the form of that type, source by source; return the rest.

    What is left out are rows whose gold answer does not fit, where the recipe says `invalid: drop`.
    """
    invalid: list[str] = []
    groups: dict[str, list[_Read]] = defaultdict(list)
    for read in reads:
        groups[str(read.values["source"])].append(read)
    inferred: Counter[str] = Counter()
    for members in groups.values():
        known = [read.gold for read in members if read.gold is not None]
        labels = _label_set(members, config, known)
        guess = golds.infer_type(
            known, has_options=any(read.options.texts for read in members), has_labels=bool(labels)
        )
        with_options = [read for read in members if read.gold is not None and read.options.texts]
        base = golds.index_base(
            [read.gold or "" for read in with_options], [len(r.options.texts) for r in with_options]
        )
        for read in members:
            own = read.values.get("answer_type")
            read.values["answer_type"] = config.answer_type or own or guess
            inferred.update([guess] if config.answer_type is None and own is None else [])
            try:
                _set_gold(read, labels, base)
            except DataError as error:
                if config.invalid == "error":
                    raise
                invalid.append(read.where)
                say("problems", f"left out: {error}")
    if inferred and any(read.gold is not None for read in reads):
        kinds = ", ".join(f"{n} {kind}" for kind, n in inferred.most_common())
        say("problems", f"{name}: answers taken for {kinds}; problems.answer_type says otherwise")
    if all(read.gold is None for read in reads) and "answer" not in config.columns:
        say("problems", f"{name}: no gold answers (no column 'answer'); problems.columns.answer names another")
    return [read for read in reads if read.where not in set(invalid)]


def _label_set(members: Sequence[_Read], config: SourceConfig, known: Sequence[str]) -> tuple[str, ...]:
    own = tuple(dict.fromkeys(label for read in members for label in read.values.get("labels") or ()))
    if config.labels or own:
        return config.labels or own
    return tuple(sorted(set(known))) if config.answer_type == "label" else ()


def _set_gold(read: _Read, labels: tuple[str, ...], base: int | None) -> None:
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


def _without_copies(problems: list[Problem], reads: Sequence[_Read], name: str) -> list[Problem]:
    """Leave out rows that equal an earlier one in everything that a problem's id is made of, and say how many."""
    seen: set[str] = set()
    kept = []
    for problem, read in zip(problems, reads, strict=True):
        if "id" not in read.values and problem.id in seen:
            continue
        seen.add(problem.id)
        kept.append(problem)
    if len(kept) < len(problems):
        say("problems", f"{name}: {len(problems) - len(kept)} rows repeat an earlier one and are left out")
    return kept


def _limited(problems: list[Problem], config: SourceConfig) -> list[Problem]:
    if config.limit is None or len(problems) <= config.limit:
        return problems
    if config.seed is None:
        return problems[: config.limit]
    drawn = sorted(problems, key=lambda p: (child_seed("limit", config.seed, p.id), p.id))[: config.limit]
    chosen = {p.id for p in drawn}
    return [p for p in problems if p.id in chosen]


def _shown(config: SourceConfig) -> str:
    return config.source if isinstance(config.source, str) else ", ".join(config.source)
