"""Run the study's part on instructions: every search in every cell, and a student on what each has found.

    python scripts/instruction_study.py --run runs/study/instructions --seed 0

Leaves a run directory as others do: `scores.json` (task `instructions`), what each search chose and each student
answered under `predictions/`, some whole trees for the report, `manifest.json`, `recipe.yaml`, `report.html`. Split
`test` is judged with little noise, `test_noisy` with much; path `calls_25` and `calls_60`; a row's `seed` is the number
of its world, of a student's the number of its training.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import instruction_students
import numpy as np
import search_study
from search_study import Cell

from potstill.evaluation.reporting import report
from potstill.evaluation.statistics import hierarchical_bootstrap, seed_mean
from potstill.files import write_atomic
from potstill.generators.treefiles import write_trees
from potstill.messages import say
from potstill.miniature.instruction_grammar import seeds
from potstill.miniature.instructions import HIGH_NOISE, LOW_NOISE
from potstill.recipe.reading import build_recipe, dump_recipe
from potstill.records import Comparison, Score, problem_from, to_dict
from potstill.run import Run

ARMS = ("tree", "published", "random", "beam", "best_of_n")
ABLATIONS = ("tree, nothing shared", "beam, nothing shared")
"""Measured with the fewest calls only: what it is worth that trees know of earlier ones."""
METRICS = ("true_score", "judged_score", "broken_fraction", "calls", "judged")
SHOWN = ("beam", "tree", "published", "random", "best_of_n")
"""Arms whose trees the report draws, the default one first."""
SHOWN_SEEDS, SHOWN_CALLS = 40, 60


def split_of(noise: float) -> str:
    """Return the split's name: `test` is the judge of the miniature, `test_noisy` one of three times its noise."""
    return "test" if noise == LOW_NOISE else "test_noisy"


def system_of(arm: str) -> str:
    """Return an arm's name in scores.

    >>> system_of("tree, nothing shared")
    'evolve_tree_nothing_shared'
    """
    return "evolve_" + re.sub(r"\W+", "_", arm)


def scores_of(cell: Cell) -> list[Score]:
    """Return the rows of a cell: one per world, then one over all of them with its interval."""
    rows = []
    for arm, found in cell.found.items():
        for metric in METRICS:
            marks = found[metric]
            label: dict[str, Any] = {
                "task": "instructions", "system": system_of(arm), "split": split_of(cell.noise),
                "path": f"calls_{cell.calls}", "metric": metric, "n": len(marks[0]),
            }  # fmt: skip
            rows += [Score(**label, value=float(np.mean(row)), seed=number) for number, row in enumerate(marks)]
            low, high, by = _interval(marks)
            rows.append(Score(**label, value=seed_mean(marks), low=low, high=high, by=by, meta={"seeds": len(marks)}))
    return rows


def comparisons_of(cell: Cell) -> list[Comparison]:
    """Return the paired differences of true scores: both arms saw the same worlds and instructions."""
    rows = []
    for a, b in search_study.PAIRS:
        if a not in cell.found or b not in cell.found:
            continue
        marks = np.asarray(cell.found[a]["true_score"]) - np.asarray(cell.found[b]["true_score"])
        low, high, by = _interval(marks)
        rows.append(
            Comparison(
                task="instructions", a=system_of(a), b=system_of(b), split=split_of(cell.noise),
                path=f"calls_{cell.calls}", metric="true_score", difference=seed_mean(marks), low=low, high=high,
                p=p_value(marks), n=marks.shape[1], test=f"paired {by}",
            )
        )  # fmt: skip
    return rows


def p_value(marks: Any) -> float:
    """Return the two-sided p that belongs to the interval: 1 less the confidence at which it touches 0."""
    low, high = 0.0, 0.999
    for _ in range(12):
        middle = (low + high) / 2
        found = hierarchical_bootstrap(marks, confidence=middle, resamples=2000)
        low, high = (low, middle) if found[0] <= 0 <= found[1] else (middle, high)
    return round(1 - high, 4)


def _interval(marks: Any) -> Any:
    if np.ptp(np.asarray(marks)) == 0:
        value = float(np.mean(marks))
        return value, value, "constant"
    return hierarchical_bootstrap(marks, resamples=2000)


def chosen_rows(cell: Cell, arm: str) -> Iterator[dict[str, Any]]:
    """Yield what counts of every tree of an arm: its text and what it is worth."""
    found = cell.found[arm]
    for world, texts in enumerate(cell.chosen[arm]):
        for number, text in enumerate(texts):
            own = {metric: round(found[metric][world][number], 4) for metric in METRICS}
            yield {"split": split_of(cell.noise), "path": f"calls_{cell.calls}", "seed": world, "instruction": number,
                   "text": text, **own}  # fmt: skip


def cells(run: Run, options: argparse.Namespace) -> Iterator[Cell]:
    """Yield every cell; one that was finished before a kill is read from its file."""
    run.path("cells").mkdir(exist_ok=True)
    for noise in (LOW_NOISE, HIGH_NOISE):
        for calls in options.calls:
            path = run.path(f"cells/{split_of(noise)}.{calls}.json")
            options.only = [*ARMS, *(ABLATIONS if calls == min(options.calls) else ())]
            if not path.exists():
                write_atomic(path, json.dumps(asdict(search_study.measure_cell(options, noise, calls))))
            yield Cell(**json.loads(path.read_text(encoding="utf-8")))


def study(run: Run, options: argparse.Namespace) -> None:
    """Measure the searches, then the students; write everything."""
    scores, comparisons = list[Score](), list[Comparison]()
    lines: dict[str, list[str]] = {arm: [] for arm in (*ARMS, *ABLATIONS)}
    for cell in cells(run, options):
        scores += scores_of(cell)
        comparisons += comparisons_of(cell)
        for arm in cell.found:
            lines[arm] += [json.dumps(row) + "\n" for row in chosen_rows(cell, arm)]
            say("study", f"{split_of(cell.noise)} {cell.calls} calls {arm}: {_mean(cell, arm):.3f}")
    run.path("predictions").mkdir(exist_ok=True)
    for arm, rows in lines.items():
        run.path(f"predictions/{system_of(arm)}.jsonl").write_text("".join(rows), encoding="utf-8")
    if options.students:
        found = students(run, options)
        scores += found[0]
        comparisons += found[1]
    rows = {"scores": [to_dict(row) for row in scores], "comparisons": [to_dict(row) for row in comparisons]}
    run.write_json("scores.json", rows)


def _mean(cell: Cell, arm: str) -> float:
    return seed_mean(cell.found[arm]["true_score"])


def students(run: Run, options: argparse.Namespace) -> tuple[list[Score], list[Comparison]]:
    """Train and score a student of every arm; finished ones are read from their files."""
    run.path("students").mkdir(exist_ok=True)
    plan = instruction_students.plan_of(options.student_options)
    runs = [
        instruction_students.run_one(arm, plan, number, run.path("students"))
        for number in range(options.students) for arm in instruction_students.ARMS
    ]  # fmt: skip
    for one in runs:
        name = f"predictions/student_{one['arm']}.seed{one['seed']}.jsonl"
        run.path(name).write_text("".join(json.dumps(row) + "\n" for row in one["answers"]), encoding="utf-8")
    return instruction_students.score_students(runs, plan.calls)


def show_trees(run: Run, options: argparse.Namespace) -> None:
    """Write the trees of some seeds in the first world, for the report's tree page and its growth curves."""
    texts = seeds(options.instructions, options.draw)[:SHOWN_SEEDS]
    run.path("trees").mkdir(exist_ok=True)
    for arm in SHOWN:
        grown = search_study.grow_all(
            arm, texts, calls=SHOWN_CALLS, noise=LOW_NOISE, seed=search_study.worlds(options)[0]
        )
        trees = asyncio.run(grown)
        pairs = [(problem_from({"question": text}).id, tree) for text, tree in zip(texts, trees, strict=True)]
        write_trees(run.path("trees.jsonl" if arm == SHOWN[0] else f"trees/{arm}.jsonl"), pairs)


def described(options: argparse.Namespace) -> str:
    """Return the recipe that says what was run, as far as a recipe can."""
    seeds_of = {"source": "miniature", "split": "instructions", "limit": options.instructions}
    tables = {
        "method": "idea_mcts", "task": "instructions", "seed": options.seed, "n_seeds": options.seeds,
        "problems": {"splits": {"train": seeds_of}},
        "teachers": {"base_url": "miniature"},
        "evolve": {"strategy": SHOWN[0], "compare": list(SHOWN[1:]), "calls": SHOWN_CALLS},
        "student": {"model": "scratch", "config": {"model_type": "llama"}},
        "report": {"title": "Instructions that evolve: every search at equal calls, in the miniature"},
    }  # fmt: skip
    return dump_recipe(build_recipe(tables, (), "study"))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the study's part from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, required=True, help="the run directory")
    parser.add_argument("--seed", type=int, default=0, help="draws instructions, worlds and trainings anew")
    parser.add_argument("--instructions", type=int, default=200, help="seed instructions")
    parser.add_argument("--seeds", type=int, default=5, help="worlds of every search")
    parser.add_argument("--students", type=int, default=3, help="trainings of every arm; 0: none")
    parser.add_argument("--calls", type=int, nargs="+", default=[25, 60], help="evolver calls per instruction")
    parser.add_argument("--tokens", type=int, default=200_000, help="target tokens of every training")
    parser.add_argument("--parallel", type=int, default=2, help="worlds at the same time")
    options = parser.parse_args(arguments)
    options.draw = 10 + options.seed
    own = argparse.ArgumentParser()
    instruction_students.add_options(own)
    options.student_options = own.parse_args([])
    options.student_options.draw, options.student_options.tokens = options.draw, options.tokens
    options.student_options.instructions = options.instructions
    began = time.monotonic()
    with Run(options.run) as run:
        run.describe(described(options), seed=options.seed, method="idea_mcts")
        study(run, options)
        show_trees(run, options)
        run.manifest["study"] = {"wall_s": round(time.monotonic() - began)}
        run.write_manifest()
    say("report", str(report(options.run)))


if __name__ == "__main__":
    main()
