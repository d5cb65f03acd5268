"""Does it help to learn from originals and their edits? A linear student on bags of words, on pairs written by people.

    python scripts/write_contrast_pairs.py --imdb FILE --out runs/pairs
    python scripts/contrast_pairs_study.py --problems runs/pairs/imdb.jsonl

The cheapest student there is, a logistic regression on which words a text has, so that the comparison takes seconds and
its draws are many. It learns labels alone; splits, arms, metrics and intervals are those of a run of potstill:

    originals         every training original
    originals_half    half of them, drawn by seed
    pairs_half        that half and its edits: as many rows as `originals`
    pairs             every original and its edit
    pairs_shuffled    the same rows, each edit with the label of its original: what a wrong flip would teach

What a seed changes is which half is drawn, and a bootstrap of the training pairs; the test problems are the same.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections import Counter
from collections.abc import Sequence

import numpy as np

from potstill.evaluation.datasets import load_problems
from potstill.evaluation.probing import fit, pairs_of, probe
from potstill.evaluation.scoring import score_run
from potstill.evaluation.tables import markdown_table
from potstill.generators.edits import tokens
from potstill.recipe.evaluation import EvaluateConfig
from potstill.records import Problem, Rationale, Status, Verdict

COMPARE = (
    ("pairs_half", "originals"),
    ("pairs", "originals"),
    ("pairs", "pairs_shuffled"),
    ("originals_half", "originals"),
)
MOST_WORDS = 2000


def main() -> None:
    """Train, score and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", required=True, metavar="FILE")
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    problems = list(load_problems(options.problems))
    tested = [p for p in problems if p.split in ("test", "contrast")]
    pairs = pairs_of(problems, ["train"])
    systems: dict[str, dict[int | None, list[Rationale]]] = {}
    for seed in range(options.seeds):
        for name, (texts, labels) in arms(pairs, seed).items():
            systems.setdefault(name, {})[seed] = answered(name, texts, labels, tested)
    config = EvaluateConfig(splits=("test", "contrast"), compare=COMPARE)
    scores, comparisons = score_run(systems, tested, config, task="pairs")
    found = probe(pairs)
    told = (
        found if isinstance(found, str) else f"AUC {found.auc:.3f} [{found.low:.3f}, {found.high:.3f}], n = {found.n}"
    )
    sys.stdout.write(f"{markdown_table(scores, comparisons)}\n\nedit-only probe of the training pairs: {told}\n")


def arms(pairs: Sequence[tuple[Problem, Problem]], seed: int) -> dict[str, tuple[list[Problem], list[str]]]:
    """Return arm -> training problems and the labels taught; the pairs are drawn with replacement by seed."""
    rng = random.Random(seed)
    drawn = [rng.choice(pairs) for _ in pairs]
    half = drawn[: len(drawn) // 2]
    originals, edits = [old for old, _ in drawn], [new for _, new in drawn]
    rows = {
        "originals": originals,
        "originals_half": [old for old, _ in half],
        "pairs_half": [p for pair in half for p in pair],
        "pairs": [*originals, *edits],
    }
    found = {name: (own, [str(p.answer) for p in own]) for name, own in rows.items()}
    found["pairs_shuffled"] = ([*originals, *edits], [str(p.answer) for p in originals] * 2)
    return found


def answered(name: str, learnt: Sequence[Problem], labels: Sequence[str], tested: Sequence[Problem]) -> list[Rationale]:
    """Return the predictions of a student that learnt some problems."""
    counts = Counter(word for p in learnt for word in set(tokens(p.question)))
    place = {word: at for at, (word, count) in enumerate(counts.most_common(MOST_WORDS)) if count > 1}
    classes = sorted(set(labels))
    assert len(classes) == 2, "two labels: one logistic regression tells them apart"
    weights = fit(bags(learnt, place), np.array([label == classes[1] for label in labels], float))
    best = (bags(tested, place) @ weights[:-1] + weights[-1] > 0).astype(int)
    found = []
    for problem, at in zip(tested, best, strict=True):
        status = Status.CORRECT if classes[at] == problem.answer else Status.WRONG
        verdict = Verdict(rationale_id=problem.id, status=status, answer=classes[at])
        found.append(Rationale(id=problem.id, problem_id=problem.id, kind="answer", text=classes[at], author=name,
                               verdict=verdict))  # fmt: skip
    return found


def bags(problems: Sequence[Problem], place: dict[str, int]) -> np.ndarray:
    """Return which known words each text has, each row of length 1 [n, F]."""
    matrix = np.zeros((len(problems), len(place)))
    for row, problem in enumerate(problems):
        matrix[row, [place[word] for word in set(tokens(problem.question)) if word in place]] = 1.0
    return 10 * matrix / np.maximum(1, np.linalg.norm(matrix, axis=1, keepdims=True))


if __name__ == "__main__":
    main()
