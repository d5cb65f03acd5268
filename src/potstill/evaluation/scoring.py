"""From marks to scores: how much is right, out of how many, how sure that is, and which system is better.

    predictions ──grade──► Graded ──score──► Score rows, one per seed and one over all seeds
                                  └─compare─► Comparison rows: the same problems, two systems    ──► scores.json

Denominators: `NO_ANSWER` and `PROGRAM_FAILED` are the author's own failures, count as not right and are reported in
`meta.statuses`. `UNVERIFIED`, and a problem without any prediction, is unscored: inside `n_unscored`, never inside a
mean. A row over several seeds is the mean of the rows of its seeds.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from potstill.errors import DataError
from potstill.evaluation import statistics
from potstill.evaluation.grading import BOUNDS, PATHS, Graded, grade
from potstill.methods import PAIRS
from potstill.recipe.evaluation import EvaluateConfig
from potstill.recipe.rationales import SandboxConfig, VerifyConfig
from potstill.records import Comparison, Problem, Rationale, Score, child_seed

VIEWS = "views"
ACCURACY, CONSISTENCY, SENSITIVITY = "accuracy", "contrast_consistency", "sensitivity"
"""The share of problems that are right; of families all of whose members are; of pairs (an original and what was
derived from it) in which the prediction changes exactly as the label does, from the one to the other, or stays as it.
"""


def evaluate(
    rationales: Iterable[Rationale],
    problems: Iterable[Problem],
    config: EvaluateConfig | None = None,
    *,
    system: str | None = None,
    task: str = "problems",
    verify: VerifyConfig | None = None,
    sandbox: SandboxConfig | None = None,
    seed: int | None = None,
) -> list[Score]:
    """Score one run of one system: one row per split, path and metric.

    Args:
        rationales: Predictions; those without a verdict are verified first.
        problems: The problems that should have been answered; `config.splits` selects among them.
        system: Its name in the scores (default: the predictions' author).
        seed: The training seed, written into the rows; `None`: the row stands for the system.

    Raises:
        DataError: As `grade` says.
    """
    config, rows = config or EvaluateConfig(), list(rationales)
    authors = {rationale.author for rationale in rows if rationale.author}
    name = system or (authors.pop() if len(authors) == 1 else "student")
    graded = grade(rows, problems, config, verify=verify, sandbox=sandbox, system=name)
    return [row for row in score(name, {seed: graded}, config, task=task) if row.seed == seed]


def score_run(
    systems: Mapping[str, Mapping[int | None, Iterable[Rationale]]],
    problems: Iterable[Problem],
    config: EvaluateConfig | None = None,
    *,
    task: str = "problems",
    method: str = "scotd",
    verify: VerifyConfig | None = None,
    voting: Sequence[str] = (),
) -> tuple[list[Score], list[Comparison]]:
    """Score every system over all its seeds, and compare the pairs of `config.compare` (empty: the method's own).

    Args:
        systems: System name -> training seed (`None`: it has none) -> its predictions.
        voting: Systems that are a vote and nothing else (ensembles): their greedy paths are others' and not scored.
    """
    config, problems = config or EvaluateConfig(), list(problems)
    unknown = sorted({name for pair in config.compare for name in pair} - set(systems))
    if unknown:
        message = f"evaluate.compare: no system is named {unknown[0]!r}; systems of this run: {', '.join(systems)}"
        raise DataError(message)
    graded = {
        name: {seed: grade(rows, problems, config, verify=verify, system=name) for seed, rows in runs.items()}
        for name, runs in systems.items()
    }
    for name in voting:
        for run in graded.get(name, {}).values():
            run.marks = {key: marks for key, marks in run.marks.items() if key[1].startswith("vote")}
    scores = [row for name, runs in graded.items() for row in score(name, runs, config, task=task)]
    comparisons: list[Comparison] = []
    for a, b in config.compare or PAIRS.get(method, ()):
        if a in graded and b in graded:
            runs = graded[a].values(), graded[b].values()
            comparisons += compare(*runs, config, a_name=a, b_name=b, task=task)
    return scores, comparisons


def score(
    system: str, runs: Mapping[int | None, Graded], config: EvaluateConfig | None = None, *, task: str = "problems"
) -> list[Score]:
    """Return the rows of one system: one per seed, then one with `seed` null over all of them."""
    config, rows = config or EvaluateConfig(), list[Score]()
    for split, path in dict.fromkeys(key for graded in runs.values() for key in graded.marks):
        asked = {seed: graded for seed, graded in runs.items() if (split, path) in graded.marks}
        for metric in _metrics(asked.values(), split, path):
            label = {"task": task, "system": system, "split": split, "path": path, "metric": metric}
            rows += [_row(label, [graded], config, seed) for seed, graded in asked.items() if seed is not None]
            rows.append(_row(label, list(asked.values()), config, None))
    return [_named(row) for row in rows]


def _named(row: Score) -> Score:
    """Write the path `vote@K` as path `vote` and metric `accuracy_at_K`."""
    path, _, count = row.path.partition("@")
    return replace(row, path=path, metric=f"{row.metric}_at_{count}") if count else row


def compare(
    a: Iterable[Graded],
    b: Iterable[Graded],
    config: EvaluateConfig | None = None,
    *,
    a_name: str = "a",
    b_name: str = "b",
    task: str = "problems",
) -> list[Comparison]:
    """Compare two systems, each with one or more seeds, per split, path and metric.

    Where they share no path (a student that reasons against one that only answers) each is taken by its own first
    one; the row carries the path of `a`, and both under `meta`. Where one answers from both views and the other has
    one view only, each is also taken by what it answers: the row carries the path `views`.
    """
    config, runs_a, runs_b = config or EvaluateConfig(), list(a), list(b)
    rows = []
    for split, path_a, path_b in _shared_paths(runs_a, runs_b):
        shown = VIEWS if VIEWS in (path_a, path_b) else path_a
        for metric in _metrics([*runs_a, *runs_b], split, path_a):
            label = {"task": task, "a": a_name, "b": b_name, "split": split, "path": shown, "metric": metric}
            found = _compared((runs_a, path_a), (runs_b, path_b), label, config)
            meta = {"seeds_a": len(runs_a), "seeds_b": len(runs_b), "path_a": path_a, "path_b": path_b}
            rows.append(Comparison(**{**label, **found._asdict()}, meta=meta))
    return rows


def _compared(
    a: tuple[list[Graded], str], b: tuple[list[Graded], str], label: Mapping[str, str], config: EvaluateConfig
) -> statistics.Paired:
    split, metric = label["split"], label["metric"]
    marks_a, groups = marks_matrix(a[0], split, a[1], metric)
    marks_b, _ = marks_matrix(b[0], split, b[1], metric)
    seed = child_seed("compare", *label.values())
    try:
        return statistics.compare_marks(
            marks_a, marks_b, groups, confidence=config.confidence, resamples=config.bootstrap, seed=seed
        )
    except ValueError as cause:
        message = f"{label['a']} against {label['b']}, split {split}: {cause}"
        raise DataError(message) from cause


def _row(label: Mapping[str, str], runs: Sequence[Graded], config: EvaluateConfig, seed: int | None) -> Score:
    """Return one score row over one or several runs of a system."""
    matrix, groups = marks_matrix(runs, label["split"], label["path"], label["metric"])
    scored = ~np.isnan(matrix).all(axis=0)
    n, columns = int(scored.sum()), matrix.shape[1]
    meta = _counts(runs, label["split"], label["path"])
    if label["metric"] == SENSITIVITY:
        meta |= _followed(runs, label["split"], label["path"])
    if len(runs) > 1:
        meta["seed_values"] = [_plain(statistics.seed_mean(row)) for row in matrix]
    if n == 0:
        empty: dict[str, Any] = {"value": None, "n": 0, "n_unscored": columns, "by": "nothing scored"}
        return Score(**{**label, **empty}, seed=seed, meta=meta)
    kept = None if groups is None else [groups[at] for at in np.flatnonzero(scored).tolist()]
    found = _interval(matrix[:, scored], kept, config, child_seed("score", *label.values()))
    value = statistics.seed_mean(matrix)
    values: dict[str, Any] = {"value": value, "n": n, "n_unscored": columns - n, **found._asdict()}
    return Score(**{**label, **values}, seed=seed, meta=meta)


def _counts(runs: Sequence[Graded], split: str, path: str) -> dict[str, Any]:
    """Return what stands beside a score: predictions by status, and what is missing."""
    marks = [graded.marks[split, path] for graded in runs]
    statuses = sum((mark.statuses for mark in marks), Counter[str]())
    counts = {"missing": sum(mark.missing for mark in marks), "ties": sum(mark.ties for mark in marks)}
    found: dict[str, Any] = {name: count for name, count in counts.items() if count}
    if kinds := sum((mark.kinds for mark in marks), Counter[str]()):
        found["kinds"] = dict(sorted(kinds.items()))
    return {"statuses": dict(sorted(statuses.items())), "seeds": len(runs), **found}


def _followed(runs: Sequence[Graded], split: str, path: str) -> dict[str, float]:
    """Return the share of pairs whose prediction changes where the label does, and only there, whatever it says.

    What it is above sensitivity is what changes, or stays, and is wrong all the same. Pairs in which an answer could
    not be read are left out.
    """
    followed = []
    for graded in runs:
        said = {pid: answer for (_, of), m in graded.marks.items() if of == path for pid, answer in m.answers.items()}
        for pair in graded.pairs(split, path):
            if all(pid in said and pid in graded.golds for pid in pair):
                old, new = pair
                followed.append((said[old] != said[new]) == (graded.golds[old] != graded.golds[new]))
    return {"changes_with_label": sum(followed) / len(followed)} if followed else {}


def _interval(
    matrix: statistics.Matrix, groups: list[str] | None, config: EvaluateConfig, seed: int
) -> statistics.Interval:
    """Choose the interval: Wilson for independent problems and one seed, else the hierarchical bootstrap."""
    if len(matrix) == 1 and (groups is None or len(set(groups)) == len(groups)):
        return statistics.wilson(float(matrix.sum()), matrix.shape[1], config.confidence)
    return statistics.hierarchical_bootstrap(
        matrix, groups, confidence=config.confidence, resamples=config.bootstrap, seed=seed
    )


def marks_matrix(
    runs: Sequence[Graded], split: str, path: str, metric: str = ACCURACY
) -> tuple[statistics.Matrix, list[str] | None]:
    """Return marks of shape (seeds, problems), and the family of each problem: of (seeds, families) for consistency, of
    (seeds, pairs) for sensitivity.

    The families are `None` where every column is a family of its own.
    """
    if metric == SENSITIVITY:
        pairs = runs[0].pairs(split, path)
        rights = [graded.right(path) for graded in runs]
        cells = np.array([[right[pid] for pair in pairs for pid in pair] for right in rights])
        places = [place for place in range(len(pairs)) for _ in (0, 1)]
        of = [parent for parent, _ in pairs]
        return statistics.group_marks(cells, places)[0], of if len(set(of)) < len(of) else None
    if metric == CONSISTENCY:
        families = runs[0].families(split, path)
        members = [(pid, parent) for parent, ids in families.items() for pid in ids]
        rights = [graded.right(path) for graded in runs]
        cells = np.array([[right[pid] for pid, _ in members] for right in rights])
        return statistics.group_marks(cells, [parent for _, parent in members])[0], None
    ids = list(runs[0].marks[split, path].right)
    matrix = np.array([[graded.marks[split, path].right[pid] for pid in ids] for graded in runs])
    groups = runs[0].groups(ids)
    return matrix, groups if len(set(groups)) < len(groups) else None


def _metrics(runs: Iterable[Graded], split: str, path: str) -> list[str]:
    """Consistency is a metric where the split holds problems that were derived from others, sensitivity where these
    others are graded too.
    """
    if "@" in path or path in BOUNDS:
        return [ACCURACY]
    asked = [graded for graded in runs if (split, path) in graded.marks]
    has_families = any(graded.families(split, path) for graded in asked)
    has_pairs = any(graded.pairs(split, path) for graded in asked)
    return [ACCURACY, *([CONSISTENCY] if has_families else []), *([SENSITIVITY] if has_pairs else [])]


def _shared_paths(a: Sequence[Graded], b: Sequence[Graded]) -> list[tuple[str, str, str]]:
    """Return (split, path of a, path of b): every path that both have in all runs, else the first of each; and where
    one has both views, that answer against the first path of the other.
    """
    have_a, have_b = _common(a), _common(b)
    found = []
    for split in dict.fromkeys(split for split, _ in have_a):
        paths_a = [path for path in PATHS if (split, path) in have_a]
        paths_b = [path for path in PATHS if (split, path) in have_b]
        if shared := [path for path in paths_a if path in paths_b]:
            found += [(split, path, path) for path in shared]
        elif paths_b:
            found.append((split, paths_a[0], paths_b[0]))
        if paths_b and (VIEWS in paths_a) != (VIEWS in paths_b):
            own_a, own_b = (VIEWS if VIEWS in paths else paths[0] for paths in (paths_a, paths_b))
            found += [(split, own_a, own_b)] if (split, own_a, own_b) not in found else []
    return found


def _common(runs: Sequence[Graded]) -> list[tuple[str, str]]:
    return [key for key in runs[0].marks if all(key in graded.marks for graded in runs)]


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else value
