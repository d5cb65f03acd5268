"""What the blind jury is worth where the truth is known: the miniature's labels world, over its loopback endpoint.

    python scripts/jury_study.py [--problems 150] [--gold 200] [--draws 20] --ledger FILE --out FOLDER

The editor of that world flips most labels, leaves some, exchanges the spurious cue instead of a fact; every edit that
reaches the jury is a planted case whose true label the world can tell. Prints the precision of the accepted, the jury's
sensitivity and specificity on all of them, and, over gold sets drawn at random from them, how often the corrected
share of flipped edits has the truth in its 95 % interval.
"""

from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path

from potstill.counterfactuals import counterfactual_files
from potstill.evaluation.datasets import load_problems
from potstill.generators.candidates import as_problem
from potstill.generators.choosing import ACCEPTED
from potstill.juries import Judged, worth
from potstill.miniature.labels import read
from potstill.recipe.problems import SourceConfig
from potstill.recipe.whole import Recipe


def recipe_of(ledger: str) -> Recipe:
    """Return a recipe with an editor and two jurors."""
    names = ("editor", "juror-one", "witness-two")
    teachers = [
        {"base_url": "miniature", "model": name, "seed": 0, "weight": float(name == "editor")} for name in names
    ]
    return Recipe.model_validate(
        {"method": "counterfactual", "problems": {"source": "given"}, "teachers": teachers, "ledger": ledger,
         "counterfactual": {"for_review": True}}
    )  # fmt: skip


def judged(recipe: Recipe, count: int, out: Path) -> list[Judged]:
    """Return every edit that the jury judged, with the truth."""
    source = SourceConfig(source="miniature", split="train", limit=count, seed=7, options={"world": "labels"})
    problems = {problem.id: problem for problem in load_problems(source)}
    made = counterfactual_files(recipe, [*problems.values()], out / "jury.candidates.jsonl", run="jury study")
    found = []
    for one in made.candidates:
        edited = as_problem(problems[one.problem_id], one, None) if one.jury else None
        if edited is not None:
            item = read(edited.question)
            found.append(Judged(item is not None and item.label == one.new, one.reason in ACCEPTED))
    return found


def main() -> None:
    """Print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=150)
    parser.add_argument("--gold", type=int, default=200)
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--ledger", required=True)
    parser.add_argument("--out", required=True, type=Path)
    options = parser.parse_args()
    cases = judged(recipe_of(options.ledger), options.problems, options.out)
    truth = sum(case.is_right for case in cases) / len(cases)
    seen = (sum(case.is_accepted for case in cases), len(cases))
    lines = [f"{len(cases)} edits judged, {100 * truth:.1f} % of them truly flipped"]
    for name, row in worth(cases, seen).items():
        if isinstance(row, dict):
            lines.append(f"{name}: {row['value']:.3f} [{row['low']:.3f}, {row['high']:.3f}]")
    inside = 0
    for draw in range(options.draws):
        row = worth(random.Random(draw).sample(cases, min(options.gold, len(cases))), seen)["flipped"]
        inside += row is not None and row["low"] <= truth <= row["high"]
        if draw == 0 and row is not None:
            lines.append(f"corrected by {options.gold}: {row['value']:.3f} [{row['low']:.3f}, {row['high']:.3f}]")
    lines.append(f"the corrected interval holds the truth in {inside} of {options.draws} gold sets")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
