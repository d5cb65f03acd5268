"""Tasks over parts of a walk: what is asked, what is right, and what no training problem asks."""

import random
from collections import Counter

from potstill.evaluation.datasets import load_splits
from potstill.miniature import parts
from potstill.miniature.teacher import MARKER, read_walk, write
from potstill.recipe.problems import ProblemsConfig


def test_the_seen_tasks_come_in_turn_and_the_unseen_one_never_with_them():
    """Also in the text: no training, development or test question of the seen tasks says `Only back`."""
    for split in ("train", "dev", "test"):
        rows = parts.draw_problems(split, 30, 0)
        assert Counter(row["meta"]["task"] for row in rows) == {"all": 10, "ahead": 10, "day": 10}
        assert not any("Only back" in row["question"] for row in rows)
    unseen = parts.draw_problems("unseen", 30, 0)
    assert {row["meta"]["task"] for row in unseen} == {"back"}
    assert all("Only back:" in row["question"] for row in unseen)


def test_unseen_walks_are_test_walks_and_a_part_is_not_the_whole():
    """Nothing that is evaluated was trained on; the part has at least one move, and leaves at least one out."""
    for row in parts.draw_problems("unseen", 40, 1):
        walk = read_walk(row["question"])
        moves = [event for event in walk.events if event.sign]
        assert 0 < row["meta"]["n_moves"] < len(moves)
        square = walk.start + sum(e.sign * e.times * e.amount for e in moves if e.sign < 0)
        assert row["answer"] == str(square % 12)


def test_the_teacher_reckons_with_the_part_alone():
    """Mostly right, in its usual words."""
    rows = parts.draw_problems("test", 60, 2) + parts.draw_problems("unseen", 30, 2)
    right = sum(write(r["question"], random.Random(n)).endswith(f"{MARKER}{r['answer']}") for n, r in enumerate(rows))
    assert 70 <= right < 90


def test_the_tasks_are_a_world_of_the_miniature():
    """Its splits by name, the task of each problem in its meta."""
    source = {"source": "miniature", "options": {"world": "parts"}, "limit": 6}
    splits = load_splits(ProblemsConfig(splits={name: {**source, "split": name} for name in ("train", "unseen")}))
    assert [p.meta["task"] for p in splits["train"]] == ["all", "ahead", "day"] * 2
    assert {p.meta["task"] for p in splits["unseen"]} == {"back"}
