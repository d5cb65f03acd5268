"""Several tasks over the walks of the miniature world: which square is reached if only a part of the walk counts?

    Only ahead: ...     the moves ahead alone          Only Tuesday: ...   that day alone
    Only back: ...      the moves back alone           (nothing)           the whole walk

Three of them are seen in training, `Only back` never: it is the unseen task. The walks keep the parts of the study that
they belong to, so no test walk is ever trained on.
"""

from __future__ import annotations

import random
import re
from typing import Any

from potstill.miniature.teacher import read_walk, restricted
from potstill.miniature.world import draw_problems as draw_walks

SEEN = ("all", "ahead", "day")
UNSEEN = "back"
SIZES = {"train": 60, "dev": 60, "test": 300, "unseen": 300}
_SENTENCE = re.compile(r"(?<=[.?])\s+")


def draw_problems(split: str, n: int, seed: int) -> list[dict[str, Any]]:
    """Return `n` problems of a split; those of `train`, `dev` and `test` go through the seen tasks in turn."""
    rows: list[dict[str, Any]] = []
    for walk in draw_walks("test" if split == "unseen" else split, 12 * n, seed):
        if len(rows) == n:
            break
        asked = UNSEEN if split == "unseen" else SEEN[len(rows) % len(SEEN)]
        row = _asked(walk, asked, random.Random(f"{split} {seed} {walk['question']}"))
        rows += [{**row, "split": split}] if row is not None else []
    return rows


def _asked(row: dict[str, Any], asked: str, rng: random.Random) -> dict[str, Any] | None:
    """Return a problem of one task; `None` where the part would be all of the walk, or nothing of it."""
    meta = {**row["meta"], "task": asked}
    if asked == "all":
        return {**row, "meta": meta}
    walk = read_walk(row["question"])
    assert walk is not None, "the world's own questions can be read"
    moves = [event for event in walk.events if event.sign]
    which = rng.choice(moves).day if asked == "day" else asked
    *told, ending = _SENTENCE.split(row["question"])
    question = " ".join([*told, f"Only {which}:", ending])
    part = restricted(walk, question)
    count = sum(1 for event in part.events if event.sign)
    if not 0 < count < len(moves):
        return None
    meta["n_moves"] = count
    return {**row, "question": question, "answer": str(part.end), "meta": meta}
