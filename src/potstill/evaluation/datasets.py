"""Problems from any source, and splits that keep problem families apart.

The first stage: `load_problems` for one source, `load_splits` for a recipe's `problems`. A row becomes a `Problem` by
its column names (`question`, else `problem`, `prompt`, `instruction` or the last user turn of `messages`; `answer`;
`options`, else `choices`) or by the recipe's `columns`; what is not used is kept under `meta`. Nothing is sampled,
checked against a teacher or rewritten here; gold answers are brought into one form and checked against their type.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from potstill.errors import DataError, shorten
from potstill.evaluation.rows import Read, read_row, require_columns, set_types
from potstill.evaluation.sources import MINIATURE, read_source, title
from potstill.messages import say
from potstill.rationales.families import families
from potstill.recipe.problems import ProblemsConfig, SourceConfig
from potstill.records import Problem, child_seed, problem_from, unique_ids


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
    shared = {"columns", "question", "answer_type", "labels", "limit", "seed"} & config.model_fields_set
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


def _load(config: SourceConfig) -> list[Problem]:
    name = title(config)
    rows = [(where, row) for where, row in read_source(config) if _matches(row, config, where)]
    if not rows:
        message = f"{_shown(config)}: no problems found; the source is empty or 'split' and 'where' leave nothing"
        raise DataError(message)
    found = sorted({column for _, row in rows for column in row})
    require_columns(config, found, rows[0][0])
    reads = [read_row(where, row, config, name) for where, row in rows]
    reads = set_types(reads, config)
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


def _without_copies(problems: list[Problem], reads: Sequence[Read], name: str) -> list[Problem]:
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
