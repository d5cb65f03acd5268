"""Drawing actions by what they did so far."""

import random
from collections import Counter

from potstill.generators.bandit import ordered, outcomes
from potstill.generators.trees import Node, attach, plant

ACTIONS = ("good", "bad", "new")


def test_an_action_wins_when_its_child_is_worth_more_than_the_parent():
    """A refused child loses; a child that could not be judged counts for neither."""
    tree = plant(Node(text="x", value=5.0))
    for child in (
        Node(text="a", action="good", value=6.0), Node(text="b", action="good", value=4.0),
        Node(text="c", action="bad", value=9.0, refused="near_copy"), Node(text="d", action="new"),
    ):  # fmt: skip
        tree, _ = attach(tree, 0, child)
    assert outcomes(tree) == {"good": (1, 1), "bad": (0, 1)}
    assert outcomes(tree, {"bad": (2, 0)}) == {"good": (1, 1), "bad": (2, 1)}


def test_what_won_is_drawn_first_and_nothing_is_given_up():
    """Most draws begin with the winner, a few with each of the others."""
    seen = {"good": (20.0, 1.0), "bad": (1.0, 20.0)}
    first = Counter(ordered(ACTIONS, seen, random.Random(seed))[0] for seed in range(400))
    assert first["good"] > 300
    assert first["bad"] > 0
    assert first["new"] > 0
