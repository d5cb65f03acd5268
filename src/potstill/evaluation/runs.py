"""Several runs beside each other: what each came to, and where they were asked the same problems, which is better.

    run directories ──gather──► Side per run ──shared problems──► grade again ──► paired Comparison rows
                                             └──recipes──► keys that differ

The first run is the one that the others are compared with. A problem is shared where its id, question and answer are
the same: ids of one's own (1, 2, 3 …) may name other problems elsewhere. Nothing is verified again: the verdicts of
each run stand as they are, and each is graded by its own `evaluate` (votes, ties).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from potstill.ensembles import assemble
from potstill.errors import ConfigError, PotstillError
from potstill.evaluation.grading import Graded, grade
from potstill.evaluation.page.gathering import Facts, gather, rows_of, verdicts_of
from potstill.evaluation.page.naming import main_system
from potstill.evaluation.page.predictions import jobs_of
from potstill.evaluation.page.redaction import public
from potstill.evaluation.scoring import compare
from potstill.evaluation.summary import summary_of
from potstill.recipe.evaluation import EvaluateConfig
from potstill.records import Comparison, Problem, Rationale, Status, Verdict, from_dict, problem_from

IGNORED = ("ledger", "report.title")
"""Recipe keys that change nothing about what a run finds."""


@dataclass(slots=True)
class Side:
    """One run of a comparison."""

    name: str
    """Its folder's name, with its parent's where two are called the same."""
    facts: Facts
    summary: dict[str, Any]

    @property
    def main(self) -> str:
        """The system that the run is about."""
        return main_system(self.facts)


@dataclass(slots=True)
class Beside:
    """Several runs, compared."""

    sides: list[Side]
    comparisons: list[Comparison] = field(default_factory=list)
    """`a` and `b` are RUN/SYSTEM; the difference is a later run less the first."""
    notes: list[str] = field(default_factory=list)
    """What could not be compared, and why."""
    recipe: list[tuple[str, list[Any]]] = field(default_factory=list)
    """(key, its value in each run) of what differs; `ABSENT` where a run has no such key."""
    same_keys: int = 0


ABSENT = "(absent)"


def read_runs(folders: Sequence[Path], *, title: str = "") -> Beside:
    """Return the runs compared.

    Raises:
        ConfigError: One is given twice.
        DataError: One of them is not a run directory, or one of its files is damaged.
    """
    resolved = [folder.resolve() for folder in folders]
    if twice := [str(path) for path, count in Counter(resolved).items() if count > 1]:
        message = f"report: {twice[0]} is given twice; give each run once"
        raise ConfigError(message)
    names = _names(resolved)
    every = [gather(folder, examples=0) for folder in folders]
    sides = [Side(name, facts, summary_of(facts, name)) for name, facts in zip(names, every, strict=True)]
    found = Beside(sides)
    found.recipe, found.same_keys = recipe_differences([public(side.facts.recipe) for side in sides])
    for other in sides[1:]:
        _compare(found, sides[0], other)
    return found


def recipe_differences(recipes: Sequence[Mapping[str, Any]]) -> tuple[list[tuple[str, list[Any]]], int]:
    """Return the dotted keys whose values differ, with the value of each recipe, and how many are the same.

    >>> recipe_differences([{"train": {"steps": 1}, "seed": 0}, {"train": {"steps": 2}, "seed": 0}])
    ([('train.steps', [1, 2])], 1)
    """
    flat = [dict(_flat(recipe)) for recipe in recipes]
    keys = [key for key in dict.fromkeys(key for own in flat for key in own) if not key.startswith(IGNORED)]
    rows = [(key, [own.get(key, ABSENT) for own in flat]) for key in keys]
    different = [(key, values) for key, values in rows if len({_shown(value) for value in values}) > 1]
    return different, len(rows) - len(different)


def _shown(value: Any) -> str:
    """Return a value as it is compared: an older recipe that lacks a key agrees with one that leaves it empty."""
    return "" if value in (None, ABSENT, [], {}, "") else repr(value)


def _flat(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted key, value) of everything that is no table; lists of tables by their places."""
    if isinstance(value, Mapping) and value:
        for name, item in value.items():
            yield from _flat(item, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        for at, item in enumerate(value):
            yield from _flat(item, f"{key}.{at}")
    else:
        yield key, value


def _names(folders: Sequence[Path]) -> list[str]:
    short = [folder.name for folder in folders]
    return [
        name if short.count(name) == 1 else f"{folder.parent.name}/{name}"
        for name, folder in zip(short, folders, strict=True)
    ]


def _compare(found: Beside, first: Side, other: Side) -> None:
    """Add the paired comparisons of two runs on the problems that they share."""
    shared = _shared(first.facts.folder, other.facts.folder)
    if not shared:
        found.notes.append(f"{other.name} and {first.name} were scored on no common problem: nothing is paired.")
        return
    graded = [_graded(side, shared, found.notes) for side in (other, first)]
    pairs = [(name, name) for name in graded[0] if name in graded[1]]
    pairs.sort(key=lambda pair: pair[0] != other.main)  # the main system first; the others keep their order
    if other.main != first.main and other.main in graded[0] and first.main in graded[1]:
        pairs.insert(0, (other.main, first.main))
    for a, b in pairs:
        names = {"a_name": f"{other.name}/{a}", "b_name": f"{first.name}/{b}"}
        task = str(first.facts.recipe.get("task") or "problems")
        try:
            rows = compare(graded[0][a], graded[1][b], _config(first, shared), task=task, **names)
        except PotstillError as error:
            found.notes.append(str(error))
            continue
        meta = {"run_a": other.name, "run_b": first.name, "shared_problems": len(shared)}
        found.comparisons += [replace(row, meta={**row.meta, **meta}) for row in rows]


def _shared(first: Path, other: Path) -> list[Problem]:
    """Return the problems of the first run that the other was asked too, on a split that is scored."""
    asked = [_asked(folder) for folder in (first, other)]
    known = {row["id"]: (row.get("question"), row.get("answer")) for row in rows_of(other / "problems.jsonl")}
    return [
        problem_from(row)
        for row in rows_of(first / "problems.jsonl")
        if row["id"] in asked[0] & asked[1] and known.get(row["id"]) == (row.get("question"), row.get("answer"))
    ]


def _asked(folder: Path) -> set[str]:
    """Return the ids of the problems that a run has predictions for."""
    paths = (folder / "predictions").glob("*.jsonl*")
    names = {path.name.split(".jsonl")[0] for path in paths}
    return {str(row.get("problem_id")) for name in names for row in rows_of(folder / f"predictions/{name}.jsonl")}


def _graded(side: Side, problems: Sequence[Problem], notes: list[str]) -> dict[str, list[Graded]]:
    """Return system -> its marks on these problems, one per seed; a system that cannot be graded is noted."""
    arms = side.facts.recipe.get("arms") or {}
    systems: dict[str, dict[int | None, list[Rationale]]] = {}
    wanted = {problem.id for problem in problems}
    for name in dict.fromkeys(row.system for row in side.facts.scores):
        jobs = jobs_of(side.facts.folder, name)
        if jobs and not (arms.get(name) or {}).get("ensemble"):
            systems[name] = {_seed(job): list(_predictions(side.facts.folder, job, wanted)) for job in jobs}
    found: dict[str, list[Graded]] = {}
    for name in dict.fromkeys([*systems, *arms]):
        members = (arms.get(name) or {}).get("ensemble")
        try:
            runs = assemble(name, members, systems) if members else systems.get(name, {})
            graded = [grade(rows, problems, _config(side, problems), system=name) for rows in runs.values() if rows]
        except PotstillError as error:
            notes.append(f"{side.name}: {error}")
            continue
        for run in graded if members else ():
            run.marks = {key: marks for key, marks in run.marks.items() if key[1].startswith("vote")}
        if graded:
            found[name] = graded
    return found


def _config(side: Side, problems: Sequence[Problem]) -> EvaluateConfig:
    own = side.facts.recipe.get("evaluate") or {}
    names = ("bootstrap", "confidence", "tie", "vote_by", "vote_weights")
    splits = tuple(dict.fromkeys(problem.split for problem in problems))
    return EvaluateConfig(splits=splits, **{key: own[key] for key in names if key in own})


def _seed(job: str) -> int | None:
    found = re.search(r"\.seed(\d+)$", job)
    return int(found[1]) if found else None


def _predictions(folder: Path, job: str, wanted: Collection[str]) -> Iterator[Rationale]:
    """Yield a job's verified predictions on some problems, without their texts."""
    verdicts = verdicts_of(folder, f"verdicts/{job}.jsonl")
    for row in rows_of(folder / "predictions" / f"{job}.jsonl"):
        found = verdicts.get(str(row.get("id")))
        if found is not None and row.get("problem_id") in wanted:
            known: dict[str, Any] = {**row, "text": "", "reasoning_content": None}
            verdict = Verdict(rationale_id=row["id"], status=Status(found[0]), answer=found[1], reason=found[2])
            yield replace(from_dict(Rationale, known, f"{job} ({row.get('id')})"), verdict=verdict)
