"""Measure the tree search against its rivals in the miniature world of instructions, at equal evolver calls.

    python scripts/search_study.py --instructions 200 --seeds 3 --draw 1 --out search_study.json

Prints the tables of docs/idea_mcts.md. Every arm has the same world, the same gates and the same number of evolver
calls; judged texts are counted beside. The text that counts is the best judged one of a tree; broken, it is worth 0.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from potstill.evaluation.statistics import hierarchical_bootstrap, seed_mean
from potstill.generators.asking import Reward, World
from potstill.generators.bandit import Outcomes, outcomes
from potstill.generators.search import search
from potstill.generators.selecting import PUBLISHED, TREE, Settings
from potstill.generators.strategies import Budgeted, beam, best_of_n, random_evolution
from potstill.generators.trees import Tree, living
from potstill.miniature.instruction_grammar import seeds, worth
from potstill.miniature.instructions import HIGH_NOISE, LOW_NOISE, Judge, instruction_world
from potstill.records import child_seed

GATED = Reward(floors={"quality": 2.5})
"""The gate on judged quality, the same for every arm."""
PAIRS = (
    ("tree", "random"), ("tree", "beam"), ("tree", "published"), ("beam", "random"),
    ("tree", "tree, nothing shared"), ("beam", "beam, nothing shared"),
    ("tree, nothing shared", "random"), ("tree, nothing shared", "beam, nothing shared"),
)  # fmt: skip
LAG = 64
"""A tree knows what came of the trees at least so many places before it: so many may grow at once."""
Arm = Callable[[str, World, int, int, Outcomes], Awaitable[Tree]]


def arms() -> dict[str, Arm]:
    """Return every strategy as (text, world, calls, seed, what the actions did in earlier trees) -> tree.

    Only `tree` and `beam` learn of earlier trees: the others have nothing to learn for, or are as published.
    """
    tree, published = replace(TREE, reward=GATED), replace(PUBLISHED, reward=GATED, iterations=None)
    variants = {
        "published": published,
        "published, 3 iterations": replace(published, iterations=3),
        "published, no quality gate": replace(published, reward=Reward()),
        "published, no stop at 10": replace(published, terminal_value=None),
        "tree, nothing shared": replace(tree, learns_actions=False),
    }

    def given(world: World, calls: int, seed: int) -> Budgeted:
        return Budgeted(world=world, calls=calls, seed=seed, reward=GATED)

    def by(rules: Settings) -> Arm:
        return lambda text, world, calls, seed, earlier: search(text, world, rules, calls=calls, seed=seed)

    return {
        "tree": lambda text, world, calls, seed, earlier: search(
            text, world, replace(tree, learns_actions=True, earlier=earlier), calls=calls, seed=seed
        ),
        **{name: by(rules) for name, rules in variants.items()},
        "random": lambda text, world, calls, seed, earlier: random_evolution(text, given(world, calls, seed)),
        "beam": lambda text, world, calls, seed, earlier: beam(
            text, replace(given(world, calls, seed), learns_actions=True, earlier=earlier)
        ),
        "beam, nothing shared": lambda text, world, calls, seed, earlier: beam(text, given(world, calls, seed)),
        "best_of_n": lambda text, world, calls, seed, earlier: best_of_n(text, given(world, calls, seed)),
    }


async def grow_all(name: str, texts: Sequence[str], *, calls: int, noise: float, seed: int) -> list[Tree]:
    """Return the tree of every text by one arm in one world, each knowing what came of those `LAG` places before it."""
    world, arm, trees = instruction_world(seed, how=Judge(noise=noise)), arms()[name], list[Tree]()
    earlier: Outcomes = {}
    for number, text in enumerate(texts):
        if number >= LAG:
            earlier = outcomes(trees[number - LAG], earlier)
        trees.append(await arm(text, world, calls, child_seed(seed, number), earlier))
    return trees


@dataclass(frozen=True, slots=True)
class Cell:
    """What the arms reach at one number of calls and one noise, on the same instructions and worlds."""

    noise: float
    calls: int
    found: dict[str, dict[str, list[list[float]]]]
    """Arm -> metric -> marks of shape (worlds, instructions)."""
    chosen: dict[str, list[list[str]]]
    """Arm -> the text that counts of each tree, of the same shape."""


async def run_world(name: str, texts: list[str], *, calls: int, noise: float, seed: int) -> dict[str, list[Any]]:
    """Return what one arm reaches in one world for each instruction, by metric, and the chosen `text`s."""
    found = defaultdict[str, list[Any]](list)
    for tree in await grow_all(name, texts, calls=calls, noise=noise, seed=seed):
        kept = living(tree)
        best = worth(kept[0].text)
        found["text"].append(kept[0].text)
        found["true_score"].append(best.true_score)
        found["judged_score"].append((kept[0].value or 0.0) / 3)
        found["broken_fraction"].append(float(bool(best.broken)))
        found["top_4"].append(float(np.mean([worth(node.text).true_score for node in kept[:4]])))
        found["unselected"].append(float(np.mean([worth(node.text).true_score for node in kept])))
        found["calls"].append(tree.calls)
        found["judged"].append(tree.judged)
    return dict(found)


def worlds(options: argparse.Namespace) -> list[int]:
    """Return the seed of every world."""
    return [child_seed("search study", options.draw, number) for number in range(options.seeds)]


def measure(options: argparse.Namespace) -> Iterator[Cell]:
    """Yield every cell when all of its arms are done."""
    for noise in (LOW_NOISE, HIGH_NOISE):
        for calls in options.calls:
            yield measure_cell(options, noise, calls)


def measure_cell(options: argparse.Namespace, noise: float, calls: int) -> Cell:
    """Return what every arm reaches in one cell, `options.parallel` worlds at a time."""
    names = [name for name in arms() if not options.only or name in options.only]
    jobs = [(name, seed) for name in names for seed in worlds(options)]
    one = partial(_one_world, texts=seeds(options.instructions, options.draw), calls=calls, noise=noise)
    if options.parallel > 1:
        with ProcessPoolExecutor(options.parallel, multiprocessing.get_context("spawn")) as pool:
            parts = list(pool.map(one, jobs))
    else:
        parts = list(map(one, jobs))
    by_arm = {name: [part for job, part in zip(jobs, parts, strict=True) if job[0] == name] for name in names}
    gathered = {name: {metric: [part[metric] for part in own] for metric in own[0]} for name, own in by_arm.items()}
    return Cell(noise, calls, gathered, {name: found.pop("text") for name, found in gathered.items()})


def _one_world(job: tuple[str, int], *, texts: list[str], calls: int, noise: float) -> dict[str, list[Any]]:
    name, seed = job
    return asyncio.run(run_world(name, texts, calls=calls, noise=noise, seed=seed))


def summary(metric: str, marks: list[list[float]]) -> dict[str, Any]:
    """Return mean, interval and counts of one arm in one cell: marks of shape (seeds, instructions)."""
    if metric in ("calls", "judged"):
        return {"metric": metric, "value": seed_mean(marks), "low": None, "high": None, "n": len(marks[0]), "by": ""}
    low, high, by = hierarchical_bootstrap(marks, resamples=2000)
    return {"metric": metric, "value": seed_mean(marks), "low": low, "high": high, "n": len(marks[0]), "by": by}


def difference(a: dict[str, list[list[float]]], b: dict[str, list[list[float]]]) -> dict[str, Any]:
    """Return the mean difference of true scores a - b and its interval.

    Both arms saw the same worlds, so worlds and instructions are resampled for both together.
    """
    marks = np.asarray(a["true_score"]) - np.asarray(b["true_score"])
    low, high, by = hierarchical_bootstrap(marks, resamples=2000)
    return {"difference": seed_mean(marks), "low": low, "high": high, "n": marks.shape[1], "by": f"paired {by}"}


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Return all rows and all paired differences to random evolution and to the beam."""
    rows, comparisons = [], []
    for cell in measure(options):
        where = {"noise": cell.noise, "calls": cell.calls}
        for name, found in cell.found.items():
            rows += [{**where, "arm": name, **summary(metric, marks)} for metric, marks in found.items()]
            print(f"noise {cell.noise} calls {cell.calls} {name}: {seed_mean(found['true_score']):.3f}", flush=True)  # noqa: T201
        for a, b in PAIRS:
            if a in cell.found and b in cell.found:
                comparisons.append({**where, "a": a, "b": b, **difference(cell.found[a], cell.found[b])})
    options_kept = {key: value for key, value in vars(options).items() if key != "out"}
    return {"options": options_kept, "rows": rows, "comparisons": comparisons}


def tables(result: dict[str, Any]) -> str:
    """Return the tables in Markdown: true scores by arm and cell, then the paired differences."""
    cells = list(dict.fromkeys((row["noise"], row["calls"]) for row in result["rows"]))
    head = "| | " + " | ".join(f"{calls} calls, noise {noise}" for noise, calls in cells) + " |"
    lines = []
    for metric in ("true_score", "broken_fraction", "top_4", "unselected", "judged_score", "calls", "judged"):
        lines += [f"\n{metric}\n", head, "|---|" + "--:|" * len(cells)]
        for arm in dict.fromkeys(row["arm"] for row in result["rows"]):
            found = {(r["noise"], r["calls"]): r for r in result["rows"] if r["arm"] == arm and r["metric"] == metric}
            lines.append(f"| {arm} | " + " | ".join(_shown(found[cell]) for cell in cells) + " |")
    lines += ["\npaired differences of true scores\n", head, "|---|" + "--:|" * len(cells)]
    for a, b in dict.fromkeys((row["a"], row["b"]) for row in result["comparisons"]):
        pairs = [row for row in result["comparisons"] if (row["a"], row["b"]) == (a, b)]
        shown = [f"{row['difference']:+.2f} [{row['low']:+.2f}, {row['high']:+.2f}]" for row in pairs]
        lines.append(f"| {a} − {b} | " + " | ".join(shown) + " |")
    return "\n".join(lines)


def _shown(row: dict[str, Any]) -> str:
    if row["low"] is None:
        return f"{row['value']:.1f}"
    digits = 3 if row["metric"] == "broken_fraction" else 2
    return f"{row['value']:.{digits}f} [{row['low']:.{digits}f}, {row['high']:.{digits}f}]"


def main() -> None:
    """Run the study from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--instructions", type=int, default=200, help="seed instructions")
    parser.add_argument("--seeds", type=int, default=3, help="worlds: draws of evolver and judge")
    parser.add_argument("--draw", type=int, default=1, help="draws the instructions and the worlds anew")
    parser.add_argument("--calls", type=int, nargs="+", default=[25, 60], help="evolver calls per instruction")
    parser.add_argument("--only", nargs="+", help="these arms only")
    parser.add_argument("--parallel", type=int, default=1, help="worlds at the same time")
    parser.add_argument("--out", type=Path, help="a JSON file for all rows")
    options = parser.parse_args()
    result = run(options)
    print(tables(result))  # noqa: T201
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
