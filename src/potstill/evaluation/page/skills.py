"""What the report of a student of two skills needs beyond the scores: who has which skill, and what programs came to.

Scores are taken from `scores.json` as they are. Only what it does not hold is computed here, from predictions and
verdicts, with the same grading and statistics: differences between two paths of one system, accuracy on problems with
and without a property (a boolean under `meta`, such as `has_large`), and why programs failed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from potstill.errors import DataError
from potstill.evaluation import statistics, tables
from potstill.evaluation.grading import Graded, Marks, grade
from potstill.evaluation.page.gathering import Facts, Row, rows_of, verdicts_of
from potstill.evaluation.page.naming import main_system, votes_of
from potstill.evaluation.page.predictions import is_greedy, jobs_of
from potstill.evaluation.scoring import marks_matrix, score
from potstill.recipe.evaluation import EvaluateConfig
from potstill.records import Problem, Rationale, Score, Status, Verdict, child_seed, from_dict, problem_from

Runs = dict[int | None, list[Rationale]]
"""Training seed -> greedy predictions, without their texts."""


@dataclass(frozen=True, slots=True)
class Cast:
    """The systems that a comparison of one student with two skills is about."""

    main: str
    """The student of two skills that the run is about."""
    others: tuple[str, ...]
    """Further students of two skills."""
    single: Mapping[str, str]
    """Student of one skill -> its kind, `cot` or `pot`."""
    ensembles: tuple[str, ...]

    @property
    def students(self) -> tuple[str, ...]:
        """All but the ensembles, the main one last."""
        return (*self.single, *self.others, self.main)


@dataclass(slots=True)
class Measured:
    """What was computed from a run's predictions."""

    graded: dict[str, list[Graded]] = field(default_factory=dict)
    """System -> its greedy paths, graded, one per seed."""
    parts: dict[str, dict[bool, list[Score]]] = field(default_factory=dict)
    """Property of problems -> whether they have it -> rows of every system, split and greedy path."""
    properties: dict[str, dict[str, bool]] = field(default_factory=dict)
    """Property of problems -> problem id -> whether it has it."""
    programs: dict[str, dict[str, Counter[str]]] = field(default_factory=dict)
    """System -> greedy or sampled -> outcome of a program (`ran`, or why not) -> how many, over all seeds."""
    missing: str = ""
    """Why some of it could not be computed."""


def cast_of(facts: Facts) -> Cast | None:
    """Return who has which skill, by the paths that were scored; `None` where no student has both."""
    paths: dict[str, set[str]] = {}
    for row in tables.overall(facts.scores):
        paths.setdefault(row.system, set()).add(row.path)
    both = [name for name, found in paths.items() if {"cot", "pot"} <= found]
    if not both:
        return None
    main = next((name for name in (main_system(facts), "mixed") if name in both), both[0])
    arms = facts.recipe.get("arms") or {}
    ensembles = [name for name in tables.in_order(paths) if (arms.get(name) or {}).get("ensemble")]
    members = {member for name in ensembles for member in arms[name]["ensemble"]}
    rivals = members | {pair.b for pair in facts.comparisons if pair.a in both} | {"scotd", "pot"}
    single = {
        name: kind
        for name in tables.in_order(paths)
        for kind in ("cot", "pot")
        if name in rivals and name not in ("teacher", "untrained") and kind in paths[name] and name not in both
    }
    return Cast(main, tuple(name for name in both if name != main), single, tuple(ensembles))


def measure(facts: Facts, cast: Cast) -> Measured:
    """Read the predictions of the cast's students, and compute what the scores do not hold."""
    found = Measured()
    config = _config(facts, sorted({row.split for row in facts.scores}))
    problems = [
        p for row in rows_of(facts.folder / "problems.jsonl") if (p := problem_from(row)).split in config.splits
    ]
    runs: dict[str, Runs] = {}
    for system in cast.students:
        counted = {"greedy": Counter[str](), "sampled": Counter[str]()}
        runs[system] = {_seed(job): _read(facts.folder, job, counted) for job in jobs_of(facts.folder, system)}
        if any(counted.values()):
            found.programs[system] = counted
    try:
        found.graded = {
            name: [grade(rows, problems, config, system=name) for rows in of.values()]
            for name, of in runs.items()
            if of
        }
    except DataError as cause:
        found.missing = str(cause)
        return found
    for name in properties(problems):
        found.properties[name] = {problem.id: bool(problem.meta[name]) for problem in problems}
        found.parts[name] = {value: _part(found, name, value, config) for value in (False, True)}
    return found


def properties(problems: Sequence[Problem]) -> list[str]:
    """Return the boolean `meta` keys that every problem has and that are not the same for all of them."""
    shared = [key for key, value in (problems[0].meta if problems else {}).items() if isinstance(value, bool)]
    values = {key: {problem.meta.get(key) for problem in problems} for key in shared}
    return [key for key in shared if values[key] == {True, False}]


def paired(
    measured: Measured, a: tuple[str, str], b: tuple[str, str], split: str, *, only: Iterable[str] | None = None
) -> statistics.Paired | None:
    """Return the difference of two (system, path) on the same problems; `None` where one of them is not there.

    Args:
        only: Ids of the problems to compare on; `None`: all of the split.
    """
    sides = []
    for system, path in (a, b):
        runs = measured.graded.get(system) or []
        if not runs or any((split, path) not in run.marks for run in runs):
            return None
        sides.append(marks_matrix(runs, split, path))
    ids = list(measured.graded[a[0]][0].marks[split, a[1]].right)
    wanted = set(ids if only is None else only)
    columns = [at for at, pid in enumerate(ids) if pid in wanted]
    groups = sides[0][1]
    kept = None if groups is None else [groups[at] for at in columns]
    if not columns:
        return None
    first, second = (matrix[:, columns] for matrix, _ in sides)
    try:
        return statistics.compare_marks(first, second, kept, seed=child_seed("page", *a, *b, split, len(columns)))
    except ValueError:
        return None  # nothing is scored on both sides: there is no difference to show


def best_single(facts: Facts, cast: Cast, split: str) -> Score | None:
    """Return the best vote of a single-skill student over as many paths as the main student's, if there is one."""
    wanted = votes_of(facts, cast.main)
    rows = [row for name in cast.single if (row := vote_row(facts, name, split, wanted)) and row.value is not None]
    return max(rows, key=lambda row: row.value or 0.0, default=None)


def vote_row(facts: Facts, system: str, split: str, count: int | None) -> Score | None:
    """Return a system's vote over `count` paths (`None`: over all that it has) on one split."""
    rows = [row for row in facts.scores if row.seed is None and (row.system, row.split) == (system, split)]
    counted = next((row for row in rows if count is not None and tables.voters(row.metric) == count), None)
    if counted is not None or count not in (None, votes_of(facts, system)):
        return counted
    return next((row for row in rows if (row.path, row.metric) == ("vote", "accuracy")), None)


def _config(facts: Facts, splits: Sequence[str]) -> EvaluateConfig:
    """Return the run's own resampling; only greedy paths are graded, so no other setting matters."""
    own = facts.recipe.get("evaluate") or {}
    wanted = {key: own[key] for key in ("bootstrap", "confidence") if key in own}
    return EvaluateConfig(splits=tuple(splits), **wanted)


def _seed(job: str) -> int | None:
    found = re.search(r"\.seed(\d+)$", job)
    return int(found[1]) if found else None


def _read(folder: Path, job: str, counted: Mapping[str, Counter[str]]) -> list[Rationale]:
    """Return a job's verified greedy predictions without their texts; count what its programs came to."""
    verdicts = verdicts_of(folder, f"verdicts/{job}.jsonl")
    greedy = []
    for row in rows_of(folder / "predictions" / f"{job}.jsonl"):
        verdict = verdicts.get(str(row.get("id")))
        if verdict is None:
            continue
        if row.get("kind") == "pot":
            counted["greedy" if is_greedy(row) else "sampled"][outcome(verdict[0], verdict[2])] += 1
        if is_greedy(row):
            greedy.append(_slim(row, Verdict(rationale_id=row["id"], status=Status(verdict[0]), answer=verdict[1])))
    return greedy


def outcome(status: str, reason: str) -> str:
    """Return what a program came to: `ran`, or the reason why it gave no answer."""
    if status in ("CORRECT", "WRONG") or (status == "UNVERIFIED" and reason == "no_gold"):
        return "ran"
    return reason or status.lower()


def _slim(row: Row, verdict: Verdict) -> Rationale:
    known: dict[str, Any] = {**row, "text": ""}
    found = from_dict(Rationale, known, f"predictions ({row.get('id')})")
    return Rationale(
        id=found.id, problem_id=found.problem_id, kind=found.kind, text="", author=found.author, index=found.index,
        logprob=found.logprob, meta=found.meta, verdict=verdict,
    )  # fmt: skip


def _part(measured: Measured, name: str, value: bool, config: EvaluateConfig) -> list[Score]:
    """Return the rows of every system on the problems whose property has one value."""
    held = {pid for pid, own in measured.properties[name].items() if own is value}
    rows: list[Score] = []
    for system, runs in measured.graded.items():
        parts: dict[int | None, Graded] = {seed: _only(graded, held) for seed, graded in enumerate(runs)}
        rows += [row for row in score(system, parts, config) if row.seed is None and row.metric == "accuracy"]
    return rows


def _only(graded: Graded, held: Collection[str]) -> Graded:
    """Return the marks of the greedy paths on some of the problems."""
    marks: dict[tuple[str, str], Marks] = {}
    for (split, path), of_path in graded.marks.items():
        right = {pid: mark for pid, mark in of_path.right.items() if pid in held}
        if right and path in ("cot", "pot", "routed", "surer"):
            marks[split, path] = Marks(right)
    return Graded(marks, graded.parents)
