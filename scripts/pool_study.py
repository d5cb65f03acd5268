"""Pool recorded rationales of ten teachers by weight, and measure what can be measured without training.

    python scripts/pool_study.py --data ../shared/data/dev

One greedy chain of thought of each of ten models for every question of GSM8K's test split (ZeroEval). The pools are
made by the product's own sampling from several teachers; right or wrong, and the answer, are as the source extracted
them (its texts state the answer in a field of its own). Per question:

    right        share of the pool's rationales whose answer is right
    covered      whether one of them is right: the question would be in a training set of right rationales
    vote         whether the most frequent answer is right (a tie: the first)
    different    different lists of equations among the right ones: what a student would see of the ways to a solution
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from potstill import load_problems, sample
from potstill.evaluation.statistics import hierarchical_bootstrap, paired_bootstrap
from potstill.files import read_rows
from potstill.rationales.selecting import structure
from potstill.recipe.teachers import SampleConfig, TeacherConfig
from potstill.records import Problem, Rationale

FILE = "r_zeroeval_gsm8k_10teachers.jsonl.gz"
MEASURES = ("right", "covered", "vote", "different")
Marks = dict[str, list[float]]


def main() -> None:
    """Print a table of pools."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help=f"folder with {FILE} and q_gsm8k.jsonl.gz")
    parser.add_argument("--seeds", type=int, default=5)
    args = parser.parse_args()
    problems = load_problems(str(args.data / "q_gsm8k.jsonl.gz"), split="test")
    quality = accuracies(args.data / FILE)
    ranked = sorted(quality, key=lambda name: -quality[name])
    sys.stdout.write(
        f"{len(problems)} questions; right alone: {', '.join(f'{n} {quality[n]:.3f}' for n in ranked)}\n\n"
    )
    pools = {
        "best alone, 1": ({ranked[0]: 1.0}, 1),
        "best three, 3": (dict.fromkeys(ranked[:3], 1.0), 3),
        "5 of ten": (dict.fromkeys(ranked, 1.0), 5),
        "5 of ten by accuracy^4": ({name: quality[name] ** 4 for name in ranked}, 5),
        "5 of ten without the best": (dict.fromkeys(ranked[1:], 1.0), 5),
        "all ten, 10": (dict.fromkeys(ranked, 1.0), 10),
    }
    baseline = None
    for title, (weights, n) in pools.items():
        marks = [measured(pooled(problems, args.data / FILE, weights, n, seed)) for seed in range(args.seeds)]
        baseline = baseline or marks
        report(title, marks, baseline)


def accuracies(path: Path) -> dict[str, float]:
    """Return each teacher's share of right answers."""
    right: dict[str, list[bool]] = defaultdict(list)
    for _, row in read_rows(path):
        right[row["teacher"]].append(bool(row["correct"]))
    return {name: sum(marks) / len(marks) for name, marks in right.items()}


def pooled(
    problems: Sequence[Problem], path: Path, weights: dict[str, float], n: int, seed: int
) -> dict[str, list[Rationale]]:
    """Return the rationales of each problem; a teacher whose one recording is used up leaves its turn out."""
    teachers = [TeacherConfig(replay=str(path), model=name, weight=weight) for name, weight in weights.items()]
    found: dict[str, list[Rationale]] = {problem.id: [] for problem in problems}
    for rationale in sample(problems, teachers, SampleConfig(n=n), seed=seed):
        found[rationale.problem_id].append(rationale)
    return found


def measured(found: dict[str, list[Rationale]]) -> Marks:
    """Return each measure for every problem, in one order."""
    marks: Marks = {name: [] for name in MEASURES}
    for problem_id in sorted(found):
        rows = sorted(found[problem_id], key=lambda row: row.index)
        right = [row for row in rows if row.meta["correct"]]
        winner = Counter(str(row.meta["answer_extracted"]) for row in rows).most_common(1)
        marks["right"].append(len(right) / len(rows) if rows else np.nan)
        marks["covered"].append(float(bool(right)))
        marks["vote"].append(float(any(str(row.meta["answer_extracted"]) == winner[0][0] for row in right)))
        marks["different"].append(float(len({structure(row) for row in right})))
    return marks


def report(title: str, marks: Sequence[Marks], baseline: Sequence[Marks]) -> None:
    """Print the measures with 95 % intervals over questions, and the differences from the best teacher alone."""
    for name in MEASURES:
        mine, best = (np.array([run[name] for run in runs]) for runs in (marks, baseline))
        low, high, _ = hierarchical_bootstrap(mine)
        against = "" if marks is baseline else paired_bootstrap(mine, best)
        more = f"  {against.difference:+.3f} [{against.low:+.3f}, {against.high:+.3f}]" if against else ""
        sys.stdout.write(f"{title:28}{name:12}{np.nanmean(mine):7.3f} [{low:.3f}, {high:.3f}]{more}\n")


if __name__ == "__main__":
    main()
