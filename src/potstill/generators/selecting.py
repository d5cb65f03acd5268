"""Which node comes next: the rules of a search, UCT, progressive widening, and what is in flight. Pure functions.

Two sets of rules: `PUBLISHED`, every rule of the paper as far as it is known, and `TREE`, the better one that was
measured (docs/idea_mcts.md holds both tables). What a selection leads to is in `potstill.generators.search`.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from potstill.generators.actions import ACTIONS
from potstill.generators.asking import Reward
from potstill.generators.bandit import Outcomes, ordered, outcomes
from potstill.generators.trees import Node, Tree


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The rules of one search.

    Symbols: c = C of UCT; widening = the factor a of progressive widening, k(N) = ceil(a sqrt(N)).
    """

    actions: tuple[str, ...] = ACTIONS
    reward: Reward = field(default_factory=Reward)
    c: float = 0.1
    is_normalised: bool = True
    """Map values to [0, 1] over the tree before the exploration term is added: then C has no scale."""
    best_share: float = 0.0
    """V = (1 - best_share) mean + best_share best. 0: the published mean."""
    expand: int = 4
    """Calls, each with another action, per expansion."""
    widening: float | None = 1.0
    """A node begins with `expand` children and may have ceil(widening sqrt(N)) open ones; `None`: expanded once."""
    terminal_depth: int = 4
    """A node this deep is terminal."""
    terminal_value: float | None = None
    """A node whose value is above this is terminal; `None`: no absolute stop."""
    is_simulated: bool = False
    """Go on at random from the best child to a terminal node, and back up that node's value only."""
    iterations: int | None = None
    """Stop after so many; `None`: when the calls are spent."""
    learns_actions: bool = False
    """Draw actions by what they did so far (`potstill.generators.bandit`) instead of uniformly."""
    earlier: Outcomes = field(default_factory=dict)
    """With `learns_actions`: what they did in other trees."""
    patience: int | None = None
    """Stop after so many calls without a new best value; `None`: never."""


PUBLISHED = Settings(
    c=1.0,  # [S] "C = 1"
    is_normalised=False,  # [I] nothing is said of it
    best_share=0.0,  # [Q] V(z) is the expected return
    expand=5,  # [S] "5 new nodes per step"
    widening=None,
    terminal_depth=5,  # [S] "depth > 4"
    terminal_value=10.0,  # [S] "reward > 10"
    is_simulated=True,  # [Q] phase 4
    iterations=3,  # [S] "3 iterations"
)
"""The paper's, known at second hand: marks and status of every rule are in docs/idea_mcts.md."""

TREE = Settings()
"""Ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pick:
    """One step to be evaluated: the path to a node, and the actions to expand it with."""

    step: int
    path: tuple[int, ...]
    actions: tuple[str, ...]
    """None: the node is terminal, and its value is backed up once more."""
    reserved: int
    """The most calls it may make."""


def select(
    tree: Tree, settings: Settings, rng: random.Random, step: int, left: int, in_flight: Sequence[Pick] = ()
) -> Pick | None:
    """Return the node to evaluate next, walking down by UCT; `None` where nothing can be chosen now.

    Nothing to choose means: the calls left are reserved, everything is exhausted, or what is not is in flight. A node
    with an expansion in flight is never exhausted by it, since only what came back counts.
    """
    node, path = tree.root, [0]
    flying = in_flight_counts(in_flight)
    while left > 0:
        if node.is_terminal:
            return Pick(step=step, path=tuple(path), actions=(), reserved=0)
        room = room_at(tree, node, settings, in_flight)
        if room:
            actions = _draw_actions(tree, node, settings, rng, in_flight)[: min(room, left)]
            longest = settings.terminal_depth - node.depth - 1 if settings.is_simulated else 0
            reserved = min(left, len(actions) + max(0, longest))
            return Pick(step=step, path=tuple(path), actions=actions, reserved=reserved)
        ranks = {
            child.id: rank(tree, node, child, settings, flying)
            for child in selectable(tree, node)
            if is_open(tree, child, settings, in_flight)
        }
        if not ranks:
            return None
        top = max(ranks.values())
        tied = [at for at, found in ranks.items() if found == top]
        node = tree.nodes[rng.choice(tied) if len(tied) > 1 else tied[0]]
        path.append(node.id)
    return None


def rank(tree: Tree, parent: Node, child: Node, settings: Settings, flying: Mapping[int, int]) -> tuple[float, float]:
    """Return (UCT, own value): children without a visit first, the better judged one first among equals.

    UCT(z) = V(z) + C sqrt(ln(N(p) + O(p)) / (N(z) + O(z))), with O the visits in flight; V knows completed ones only.

    Source: IDEA-MCTS, Li et al. 2024, arXiv:2410.10392; O: WU-UCT, arXiv:1810.11755.
    Differs: the reviews of the paper print no square root; the standard one is taken.
    """
    own = child.value or 0.0
    visits, above = child.visits + flying.get(child.id, 0), parent.visits + flying.get(parent.id, 0)
    if not visits:
        return math.inf, own
    value = worth(tree, child, settings)
    return value + settings.c * math.sqrt(math.log(max(1, above)) / visits), own


def worth(tree: Tree, node: Node, settings: Settings) -> float:
    """Return V: the mean of what was backed up, mixed with the best of it; in [0, 1] where values are normalised."""
    if node.visits and node.best is not None:
        value = (1 - settings.best_share) * node.total / node.visits + settings.best_share * node.best
    else:
        value = node.value or 0.0
    if not settings.is_normalised or tree.low is None or tree.high is None:
        return value
    return (value - tree.low) / (tree.high - tree.low) if tree.high > tree.low else 0.5


def room_at(tree: Tree, node: Node, settings: Settings, in_flight: Sequence[Pick] = ()) -> int:
    """Return how many more children may be asked for at `node` now."""
    if node.is_terminal or not (node.is_alive or node.parent is None):
        return 0
    children = selectable(tree, node)
    here = [pick for pick in in_flight if pick.path[-1] == node.id]
    if settings.widening is None:
        return 0 if here or children else settings.expand
    flying = sum(len(pick.actions) for pick in here)
    untried = len(settings.actions) - len({child.action for child in children}) - flying
    # Exhausted children make room for others, so a node cannot be stuck with them.
    open_now = sum(not child.is_exhausted for child in children) + flying
    visits = node.visits + sum(node.id in pick.path for pick in in_flight)
    width = max(math.ceil(settings.widening * math.sqrt(max(1, visits))), 0 if children or here else settings.expand)
    return max(0, min(width - open_now, untried, settings.expand))


def is_open(tree: Tree, node: Node, settings: Settings, in_flight: Sequence[Pick] = ()) -> bool:
    """Whether selection may go through `node` now."""
    if node.is_exhausted:
        return False
    if not in_flight or node.is_terminal or room_at(tree, node, settings, in_flight):
        return True
    return any(is_open(tree, child, settings, in_flight) for child in selectable(tree, node))


def selectable(tree: Tree, node: Node) -> list[Node]:
    """Return the children that belong to the tree proper: simulated ones are kept beside it."""
    nodes = tree.nodes
    return [nodes[at] for at in node.children if not nodes[at].is_simulated]


def tried_at(tree: Tree, node: Node, in_flight: Sequence[Pick] = ()) -> set[str]:
    """Return the actions applied at `node`, those in flight included."""
    tried = {child.action for child in selectable(tree, node) if child.action}
    return tried.union(*(pick.actions for pick in in_flight if pick.path[-1] == node.id))


def in_flight_counts(in_flight: Sequence[Pick]) -> dict[int, int]:
    """Return O: how many steps in flight pass through each node."""
    counts: dict[int, int] = {}
    for pick in in_flight:
        for at in pick.path:
            counts[at] = counts.get(at, 0) + 1
    return counts


def _draw_actions(
    tree: Tree, node: Node, settings: Settings, rng: random.Random, in_flight: Sequence[Pick]
) -> tuple[str, ...]:
    tried = tried_at(tree, node, in_flight)
    untried = [action for action in settings.actions if action not in tried]
    if settings.learns_actions:
        return tuple(ordered(untried, outcomes(tree, settings.earlier), rng))
    return tuple(rng.sample(untried, len(untried)))
