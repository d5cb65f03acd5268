"""Run everything that asks no model over a file of instructions, and print counts and seconds.

    python scripts/instruction_checks.py --instructions alpaca.jsonl --seeds seed_tasks.jsonl --against mtbench.jsonl

Gates (what each instruction would be refused for as a rewrite of an unrelated text), near-duplicates among themselves,
novelty against the seeds, demands that a program can check, and contamination by the evaluation files.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Sequence
from statistics import median

from potstill.evaluation.datasets import load_problems
from potstill.generators.archives import Seen
from potstill.generators.gates import evolved_gate
from potstill.rationales.contamination import contaminated
from potstill.rationales.demands import demands
from potstill.recipe.problems import SourceConfig
from potstill.records import Problem

NEAR = 0.9


def gate_reasons(problems: Sequence[Problem]) -> Counter[str]:
    """Return the reasons of the gate, each instruction taken for a rewrite of one of its length on nothing."""
    return Counter(evolved_gate(p.question, "Do it.", p.question) or "passes" for p in problems)


def near_duplicates(problems: Sequence[Problem]) -> int:
    """Return how many instructions nearly repeat an earlier one that is kept."""
    seen, count = Seen(), 0
    for problem in problems:
        if seen.nearest(problem.question)[0] >= NEAR:
            count += 1
        else:
            seen.add(problem.question)
    return count


def novelties(problems: Sequence[Problem], seeds: Sequence[Problem]) -> list[float]:
    """Return 1 less the similarity to the nearest seed, of each instruction."""
    seen = Seen(problem.question for problem in seeds)
    return [1 - seen.nearest(problem.question)[0] for problem in problems]


def run(problems: list[Problem], seeds: list[Problem], evaluated: list[Problem]) -> list[tuple[str, str, float]]:
    """Return (check, what it found, seconds) of every check."""
    rows = []
    began = time.perf_counter()
    reasons = gate_reasons(problems)
    rows.append(("gates", ", ".join(f"{n} {reason}" for reason, n in reasons.most_common()), _since(began)))
    began = time.perf_counter()
    count = near_duplicates(problems)
    rows.append((f"near-duplicates (trigram Jaccard >= {NEAR})", f"{count} of {len(problems)}", _since(began)))
    if seeds:
        began = time.perf_counter()
        found = novelties(problems, seeds)
        said = f"median {median(found):.3f}; {sum(one <= 1 - NEAR for one in found)} repeat a seed"
        rows.append((f"novelty against {len(seeds)} seeds", said, _since(began)))
    began = time.perf_counter()
    kinds = Counter(demand.name.split(" ")[0] for p in problems for demand in demands(p.question))
    having = sum(bool(demands(p.question)) for p in problems)
    said = f"{having} have one ({', '.join(f'{n} {kind}' for kind, n in kinds.most_common(6))})"
    rows.append(("demands that a program can check", said, _since(began)))
    if evaluated:
        began = time.perf_counter()
        tainted = contaminated(problems, evaluated)
        rows.append((f"contamination by {len(evaluated)} evaluation problems", f"{len(tainted)} found", _since(began)))
    return rows


def _since(began: float) -> float:
    return time.perf_counter() - began


def _load(sources: Sequence[str] | None) -> list[Problem]:
    return load_problems(SourceConfig(source=tuple(sources), invalid="drop", answer_type="text")) if sources else []


def main(arguments: list[str] | None = None) -> list[tuple[str, str, float]]:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--instructions", nargs="+", required=True, help="files of instructions")
    parser.add_argument("--seeds", nargs="+", help="files of seeds that they should differ from")
    parser.add_argument("--against", nargs="+", help="files of evaluation problems")
    options = parser.parse_args(arguments)
    rows = run(_load(options.instructions), _load(options.seeds), _load(options.against))
    for check, said, seconds in rows:
        print(f"| {check} | {said} | {seconds:.1f} s |")  # noqa: T201
    return rows


if __name__ == "__main__":
    main()
