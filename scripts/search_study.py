"""Measure the tree search against its rivals in the miniature world of instructions, at equal evolver calls.

    python scripts/search_study.py --instructions 200 --seeds 3 --draw 1 --out search_study.json

Prints the tables of docs/idea_mcts.md. Every arm has the same world, the same gates and the same number of evolver
calls; judged texts are counted beside. The text that counts is the best judged one of a tree; broken, it is worth 0.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from potstill.evaluation.statistics import hierarchical_bootstrap, seed_mean
from potstill.generators.asking import Reward, World
from potstill.generators.search import search
from potstill.generators.selecting import PUBLISHED, TREE
from potstill.generators.strategies import Budgeted, beam, best_of_n, random_evolution
from potstill.generators.trees import Tree, living
from potstill.miniature.instruction_grammar import seeds, worth
from potstill.miniature.instructions import HIGH_NOISE, LOW_NOISE, Judge, instruction_world
from potstill.records import child_seed

GATED = Reward(floors={"quality": 2.5})
"""The gate on judged quality, the same for every arm."""
Arm = Callable[[str, World, int, int], Awaitable[Tree]]


def arms() -> dict[str, Arm]:
    """Return every strategy as (text, world, calls, seed) -> tree."""
    tree, published = replace(TREE, reward=GATED), replace(PUBLISHED, reward=GATED, iterations=None)
    no_gate = replace(published, reward=Reward())

    def given(world: World, calls: int, seed: int) -> Budgeted:
        return Budgeted(world=world, calls=calls, seed=seed, reward=GATED)

    return {
        "tree": lambda text, world, calls, seed: search(text, world, tree, calls=calls, seed=seed),
        "published": lambda text, world, calls, seed: search(text, world, published, calls=calls, seed=seed),
        "published, 3 iterations": lambda text, world, calls, seed: search(
            text, world, replace(published, iterations=3), calls=calls, seed=seed
        ),
        "published, no quality gate": lambda text, world, calls, seed: search(
            text, world, no_gate, calls=calls, seed=seed
        ),
        "published, no stop at 10": lambda text, world, calls, seed: search(
            text, world, replace(published, terminal_value=None), calls=calls, seed=seed
        ),
        "random": lambda text, world, calls, seed: random_evolution(text, given(world, calls, seed)),
        "beam": lambda text, world, calls, seed: beam(text, given(world, calls, seed)),
        "best_of_n": lambda text, world, calls, seed: best_of_n(text, given(world, calls, seed)),
    }


async def run_cell(arm: Arm, texts: list[str], *, calls: int, noise: float, seed: int) -> dict[str, list[float]]:
    """Return what one arm reaches for each instruction, by metric."""
    world, found = instruction_world(seed, how=Judge(noise=noise)), defaultdict(list)
    for number, text in enumerate(texts):
        tree = await arm(text, world, calls, child_seed(seed, number))
        kept = living(tree)
        best = worth(kept[0].text)
        found["true_score"].append(best.true_score)
        found["judged_score"].append((kept[0].value or 0.0) / 3)
        found["broken_fraction"].append(float(bool(best.broken)))
        found["top_4"].append(float(np.mean([worth(node.text).true_score for node in kept[:4]])))
        found["unselected"].append(float(np.mean([worth(node.text).true_score for node in kept])))
        found["calls"].append(tree.calls)
        found["judged"].append(tree.judged)
    return dict(found)


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
    texts, rows, comparisons = seeds(options.instructions, options.draw), [], []
    chosen = {name: arm for name, arm in arms().items() if not options.only or name in options.only}
    for noise in (LOW_NOISE, HIGH_NOISE):
        for calls in options.calls:
            cell, found = {"noise": noise, "calls": calls}, {}
            for name, arm in chosen.items():
                started = time.process_time()
                worlds = [child_seed("search study", options.draw, number) for number in range(options.seeds)]
                parts = [asyncio.run(run_cell(arm, texts, calls=calls, noise=noise, seed=seed)) for seed in worlds]
                found[name] = {metric: [part[metric] for part in parts] for metric in parts[0]}
                rows += [{**cell, "arm": name, **summary(metric, m)} for metric, m in found[name].items()]
                spent = time.process_time() - started
                print(f"noise {noise} calls {calls} {name}: {rows_value(found[name]):.3f} ({spent:.0f} s)", flush=True)  # noqa: T201
            for a, b in (("tree", "random"), ("tree", "beam"), ("tree", "published"), ("beam", "random")):
                if a in found and b in found:
                    comparisons.append({**cell, "a": a, "b": b, **difference(found[a], found[b])})
    options_kept = {key: value for key, value in vars(options).items() if key != "out"}
    return {"options": options_kept, "rows": rows, "comparisons": comparisons}


def rows_value(found: dict[str, list[list[float]]]) -> float:
    """Return the mean true score, for the line that shows progress."""
    return seed_mean(found["true_score"])


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
    parser.add_argument("--out", type=Path, help="a JSON file for all rows")
    options = parser.parse_args()
    result = run(options)
    print(tables(result))  # noqa: T201
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
