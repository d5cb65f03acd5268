"""Which action to try next: Thompson sampling over what each action has done so far, in this tree and in others.

An action wins when its child passed the gates and is worth more than its parent. What other trees have seen comes in
as counts that stay fixed while a tree grows, so a tree still depends on nothing but its own inputs; whoever runs many
trees adds up `outcomes` of those that are finished, in order.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from potstill.generators.trees import Tree

Outcomes = Mapping[str, tuple[float, float]]
"""By action: (wins, losses)."""
UNIFORM_SHARE = 0.1
"""Fraction of draws that ignore what was learnt, so that no action is given up for ever."""


def outcomes(tree: Tree, earlier: Outcomes | None = None) -> dict[str, tuple[float, float]]:
    """Return wins and losses by action of a tree, added to `earlier`; calls without a judgement count for neither."""
    found = dict(earlier or {})
    for node in tree.nodes[1:]:
        if node.parent is None or node.action is None or (node.value is None and not node.refused):
            continue
        above = tree.nodes[node.parent].value
        wins, losses = found.get(node.action, (0.0, 0.0))
        won = node.is_alive and above is not None and node.value is not None and node.value > above
        found[node.action] = (wins + won, losses + (not won))
    return found


def ordered(actions: Sequence[str], seen: Outcomes, rng: random.Random) -> list[str]:
    """Return the actions, most promising draw first; one time in ten in a uniformly random order."""
    shuffled = rng.sample(list(actions), len(actions))
    if rng.random() < UNIFORM_SHARE:
        return shuffled
    draws = {action: rng.betavariate(*(1 + count for count in seen.get(action, (0.0, 0.0)))) for action in shuffled}
    return sorted(shuffled, key=draws.__getitem__, reverse=True)
