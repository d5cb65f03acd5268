"""Print what a judge is worth, from a file of its judgements of pairs.

    python scripts/judge_calibration.py --judged judged.jsonl --answers answers.jsonl

A row of `--judged` has question_id, model_a, model_b (in the order shown), scores [a, b], and where somebody labelled
it `label`: a, b or tie. A row of `--answers` has the text of one model: question_id or id, model, answer.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Mapping
from typing import Any

from potstill.files import read_rows
from potstill.generators.calibration import Estimate, Pair, agreement, length_bias, position_bias, repeatability

LABELS = {"a": 1, "b": -1, "tie": 0}


def read_pairs(judged: str, answers: str | None) -> tuple[list[Pair], int]:
    """Return the pairs that have two scores, with lengths where the answers are known, and how many rows have none."""
    words = read_lengths(answers) if answers else {}
    pairs, unreadable = [], 0
    for _, row in read_rows(judged):
        scores = row.get("scores")
        if not (isinstance(scores, list) and len(scores) == 2 and all(isinstance(s, int | float) for s in scores)):
            unreadable += 1
            continue
        group, kinds = str(row["question_id"]), (str(row["model_a"]), str(row["model_b"]))
        lengths = [words.get((group, kind)) for kind in kinds]
        pairs.append(
            Pair(
                group=group, kinds=kinds, scores=(float(scores[0]), float(scores[1])),
                words=None if None in lengths else (lengths[0] or 0, lengths[1] or 0),
                label=LABELS.get(str(row.get("label"))),
            )
        )  # fmt: skip
    return pairs, unreadable


def read_lengths(path: str) -> dict[tuple[str, str], int]:
    """Return (question, model) -> words of its answer."""
    found = {}
    for _, row in read_rows(path):
        model = str(row["model"])
        question = str(row.get("question_id") or re.sub(rf"-{re.escape(model)}$", "", str(row["id"])))
        found[question, model] = len(str(row.get("answer") or "").split())
    return found


def report(pairs: Iterable[Pair], unreadable: int) -> dict[str, Estimate]:
    """Return every estimate by name."""
    pairs = list(pairs)
    return {
        **agreement(pairs),
        **position_bias(pairs),
        "points_per_doubled_length": length_bias(pairs),
        **repeatability(pairs),
        "rows_without_scores": Estimate(float(unreadable), None, None, unreadable + len(pairs)),
    }


def table(found: Mapping[str, Estimate]) -> str:
    """Return the estimates as a table in Markdown."""
    lines = ["| | value | 95 % interval | n |", "|---|--:|--:|--:|"]
    for name, one in found.items():
        value = "cannot be told from these data" if one.value is None else f"{one.value:.2f}"
        interval = "" if one.low is None or one.high is None else f"[{one.low:.2f}, {one.high:.2f}]"
        lines.append(f"| {name.replace('_', ' ')} | {value} | {interval} | {one.n} |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--judged", required=True, help="JSONL of judged pairs")
    parser.add_argument("--answers", help="JSONL of the answers, for their lengths")
    options = parser.parse_args(arguments)
    found = report(*read_pairs(options.judged, options.answers))
    print(table(found))  # noqa: T201
    return found


if __name__ == "__main__":
    main()
