"""Train scorers on judgements and see what they are worth: in the miniature against the truth, and on recorded reviews.

    python scripts/scorer_study.py miniature --out FOLDER
    python scripts/scorer_study.py reviews --judged reviews.jsonl --answers answers.jsonl --out FOLDER

The miniature: a noisy judge's scores of what beams have found on some seeds train a scorer, which then scores, and
guides beams on, others. The reviews: pairs of answers that a language model has scored; whole questions are held out.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from search_study import GATED

from potstill.evaluation.statistics import bootstrap
from potstill.files import read_rows
from potstill.generators.asking import Scores
from potstill.generators.strategies import Budgeted, beam
from potstill.generators.trees import Tree, living
from potstill.miniature.instruction_grammar import TERMS, seeds, worth
from potstill.miniature.instructions import HIGH_NOISE, Judge, instruction_world
from potstill.recipe.students import StudentConfig, TrainConfig
from potstill.records import child_seed
from potstill.students.judged import Judged
from potstill.students.scorers import Ranked, Scorer, spearman, train_scorer

SIZES: dict[str, Any] = {
    "model_type": "bert", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 128,
    "vocab_size": 1200, "max_position_embeddings": 512, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0,
}  # fmt: skip


def config_of(epochs: int) -> TrainConfig:
    """Return how a scorer from scratch is trained."""
    return TrainConfig.model_validate(
        {"num_train_epochs": epochs, "learning_rate": 0.002, "problems_per_step": 32, "warmup_steps": 20}
    )


async def grow(texts: list[str], judge: Any, seed: int) -> list[Tree]:
    """Return a beam of 25 calls of every text, guided by a judge."""
    world = instruction_world(seed, how=Judge(noise=HIGH_NOISE))
    world = world if judge is None else replace(world, judge=judge)
    return [
        await beam(text, Budgeted(world=world, calls=25, seed=child_seed(seed, number), reward=GATED))
        for number, text in enumerate(texts)
    ]


def miniature(options: argparse.Namespace) -> None:
    """Train on the trees of half of the seeds, and compare judge and scorer on the other half."""
    texts = seeds(200, options.draw)
    learnt, fresh = texts[:100], texts[100:]
    world = child_seed("scorer study", options.draw)
    rows = [
        Judged(texts=(node.text,), scores={term: node.scores[term] for term in TERMS}, group=str(number))
        for number, tree in enumerate(asyncio.run(grow(learnt, None, world)))
        for node in tree.nodes if node.scores
    ]  # fmt: skip
    folder = train_scorer(
        rows,
        config_of(options.epochs),
        student=StudentConfig(model="scratch", config=SIZES),
        out=options.out,
        threads=1,
    )
    scorer, by_judge = Scorer(folder), asyncio.run(grow(fresh, None, world))
    nodes = [(number, node) for number, tree in enumerate(by_judge) for node in tree.nodes if node.scores]
    truths = [worth(node.text).true_score for _, node in nodes]
    said = [sum(one.values()) / 3 if one else 0.0 for one in scorer.scores([node.text for _, node in nodes])]
    judged = [sum(node.scores[term] for term in TERMS) / 3 for _, node in nodes if node.scores]
    for name, values in (("judge", judged), ("scorer", said)):
        ranked = [Ranked(str(n), t, v) for (n, _), t, v in zip(nodes, truths, values, strict=True)]
        _print(f"{name}: rank correlation with the truth", spearman(ranked), len(ranked))

    async def ask(batch: Any, attempt: int) -> list[Scores | None]:
        return list(scorer.scores(batch))

    by_scorer = asyncio.run(grow(fresh, ask, world))
    reached = [[worth(living(tree)[0].text).true_score for tree in trees] for trees in (by_judge, by_scorer)]
    for name, marks in (
        *zip(("judge", "scorer"), reached, strict=True),
        ("scorer - judge", np.subtract(*reached[::-1])),
    ):
        _interval(f"{name}: true score of what a beam of 25 calls chose", marks)


def reviews(options: argparse.Namespace) -> None:
    """Train on recorded reviews of pairs, questions held out in five turns, and say how the choices agree."""
    answers = {}
    for _, row in read_rows(options.answers):
        question = re.sub(rf"-{re.escape(str(row['model']))}$", "", str(row["id"]))
        answers[question, row["model"]] = f"{row['question']}\n\n{row['answer']}"
    pairs = [row for _, row in read_rows(options.judged) if isinstance(row.get("scores"), list)]
    names = sorted({row["question_id"] for row in pairs})
    alike: dict[str, list[float]] = {}
    longer: dict[str, list[float]] = {}
    for turn in range(5):
        held = set(names[turn::5])
        rows = []
        for row in (row for row in pairs if row["question_id"] not in held):
            for model, score in zip((row["model_a"], row["model_b"]), row["scores"], strict=True):
                text = text_of(answers, row["question_id"], model)
                rows.append(Judged(texts=(text,), scores={"quality": score}, group=row["question_id"]))
        folder = train_scorer(
            rows, config_of(options.epochs), student=StudentConfig(model="scratch", config=SIZES),
            out=options.out / f"turn{turn}", threads=1,
        )  # fmt: skip
        scorer = Scorer(folder)
        for row in (row for row in pairs if row["question_id"] in held and row["scores"][0] != row["scores"][1]):
            texts = [text_of(answers, row["question_id"], row[side]) for side in ("model_a", "model_b")]
            a, b = scorer.scores(texts)
            if a is not None and b is not None:
                sign = 1 if row["scores"][0] > row["scores"][1] else -1
                gap = a["quality"] - b["quality"]
                alike.setdefault(row["question_id"], []).append(float(gap * sign > 0))
                longer.setdefault(row["question_id"], []).append(float((len(texts[0]) - len(texts[1])) * sign > 0))
    for name, found in (("scorer", alike), ("the longer one", longer)):
        _interval(f"{name}: held-out choices made alike, mean over questions", [np.mean(own) for own in found.values()])


def text_of(answers: dict[tuple[str, str], str], question: str, model: str) -> str:
    """Return a model's answer; a name such as llama also means llama-13b."""
    return next(text for (asked, name), text in answers.items() if asked == question and name.startswith(model))


def _interval(name: str, marks: Any) -> None:
    low, high, _ = bootstrap(marks)
    found = {"what": name, "value": round(float(np.mean(marks)), 3), "low": round(low, 3), "high": round(high, 3)}
    print(json.dumps({**found, "n": len(marks)}))  # noqa: T201


def _print(name: str, value: float | None, n: int) -> None:
    print(json.dumps({"what": name, "value": None if value is None else round(value, 3), "n": n}))  # noqa: T201


def main() -> None:
    """Run one of the two from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("miniature", "reviews"))
    parser.add_argument("--out", type=Path, required=True, help="folder of the scorers")
    parser.add_argument("--draw", type=int, default=101)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--judged", help="recorded reviews")
    parser.add_argument("--answers", help="the answers that were reviewed")
    options = parser.parse_args()
    (miniature if options.what == "miniature" else reviews)(options)


if __name__ == "__main__":
    main()
