"""What a tree search has to beat: random evolution, beam and best-of-N, on the same world, gates and counted calls.

Each returns the same `Tree`, so that whatever keeps nodes, draws them or counts them does not know who grew it. All
judge every text that passed the gate once, and all stop at the same number of evolver calls.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from potstill.generators.actions import ACTIONS
from potstill.generators.asking import Asking, Record, Reward, Row, World, mark_of
from potstill.generators.bandit import Outcomes, ordered, outcomes
from potstill.generators.trees import Node, Tree, attach, plant
from potstill.records import child_seed
from potstill.streams import collect, map_ordered


@dataclass(frozen=True, slots=True, kw_only=True)
class Budgeted:
    """What every strategy is given beside the text."""

    world: World
    calls: int
    """The most evolver calls."""
    seed: int = 0
    actions: tuple[str, ...] = ACTIONS
    reward: Reward = field(default_factory=Reward)
    learns_actions: bool = False
    """Of the beam: draw actions by what they did so far (`potstill.generators.bandit`) instead of uniformly."""
    earlier: Outcomes = field(default_factory=dict)
    """With `learns_actions`: what they did in other trees."""
    record: Record | None = None
    recorded: Iterable[Row] = ()


async def random_evolution(text: str, given: Budgeted, *, depth: int = 4) -> Tree:
    """Return chains of `depth` uniformly drawn actions, each begun at the seed, until the calls are spent.

    A text that the gate refuses is given up and its parent evolved again. The judge guides nothing.

    Source: Evol-Instruct, WizardLM, Xu et al. 2023, arXiv:2304.12244.
    Differs: the twelve actions of IDEA-MCTS in place of its five prompts, so that all strategies have the same; one
    attempt per draw in place of retries, since every call counts.
    """
    growth = await _Growth.begin("random", text, given, [depth])
    rng = random.Random(child_seed(given.seed, "random"))
    at = 0
    while growth.left:
        made = await growth.add([(at, rng.choice(given.actions))])
        alive = [node for node in made if node.is_alive]
        if alive:
            at = alive[0].id if alive[0].depth < depth else 0
    return growth.finished


async def beam(
    text: str,
    given: Budgeted,
    *,
    width: int = 2,
    branch: int | None = None,
    depth: int = 4,
) -> Tree:
    """Return a beam of the `width` best children per level, each expanded with `branch` different actions.

    Below the last level it begins again at the seed with other draws, until the calls are spent.

    Args:
        branch: `None` spends the calls in one descent of `depth` levels.
    """
    learnt = [dict(given.earlier)] if given.learns_actions else []
    growth = await _Growth.begin("beam", text, given, [width, branch, depth, *learnt])
    rng = random.Random(child_seed(given.seed, "beam"))
    while growth.left:
        spread = branch or max(1, math.ceil(growth.left / (1 + width * (depth - 1))))
        frontier = [0]
        for _ in range(depth):
            asked = [(at, action) for at in frontier for action in growth.draw(rng, given, spread)]
            made = await growth.add(asked[: growth.left])
            best = sorted((node for node in made if node.is_alive), key=lambda node: (-(node.value or 0.0), node.id))
            frontier = [node.id for node in best[:width]]
            if not frontier or not growth.left:
                break
    return growth.finished


async def best_of_n(text: str, given: Budgeted) -> Tree:
    """Return as many one-step rewrites of the seed as there are calls, every action about equally often."""
    growth = await _Growth.begin("best_of_n", text, given, [])
    rng = random.Random(child_seed(given.seed, "best_of_n"))
    actions = growth.draw(rng, replace(given, learns_actions=False), given.calls)
    while growth.left:
        done = growth.tree.calls
        await growth.add([(0, action) for action in actions[done : done + len(given.actions)]])
    return growth.finished


class _Growth:
    """A tree that grows by batches of calls."""

    def __init__(self, tree: Tree, asking: Asking, calls: int) -> None:
        self.tree = tree
        self._asking = asking
        self._calls = calls

    @classmethod
    async def begin(cls, strategy: str, text: str, given: Budgeted, settings: list[Any]) -> _Growth:
        mark = mark_of(strategy, text, given.seed, [settings, list(given.actions), dict(given.reward.weights)])
        asking = Asking(given.world, given.reward, text, mark, record=given.record, recorded=given.recorded)
        return cls(plant(await asking.root()), asking, given.calls)

    @property
    def left(self) -> int:
        return self._calls - self.tree.calls

    @property
    def finished(self) -> Tree:
        return replace(self.tree, stop="calls", judged=self._asking.judged)

    async def add(self, asked: Sequence[tuple[int, str]]) -> list[Node]:
        """Apply each (node, action), all at once, judge what passed in one call, and return the attached nodes."""
        step, draws = self.tree.steps + 1, self._draws(asked)

        async def made(slot: int) -> list[Node]:
            at, action = asked[slot]
            return await self._asking.expand(self.tree.nodes[at], action, step, slot, draws[slot])

        slots = range(len(asked))
        groups = [await made(0)] if len(asked) == 1 else await collect(map_ordered(made, slots, len(asked)))
        nodes = await self._asking.judge([node for group in groups for node in group], 0)
        parents = [asked[slot][0] for slot, group in enumerate(groups) for _ in group]
        ids = [self._attach(parent, node) for parent, node in zip(parents, nodes, strict=True)]
        self.tree = replace(self.tree, calls=self.tree.calls + len(asked), steps=step)
        return [self.tree.nodes[at] for at in ids]

    def draw(self, rng: random.Random, given: Budgeted, count: int) -> list[str]:
        """Return `count` actions, all of them once before any comes again."""
        found: list[str] = []
        seen = outcomes(self.tree, given.earlier) if given.learns_actions else None
        while len(found) < count:
            found += (
                rng.sample(list(given.actions), len(given.actions))
                if seen is None
                else ordered(given.actions, seen, rng)
            )
        return found[:count]

    def _attach(self, parent: int, node: Node) -> int:
        self.tree, at = attach(self.tree, parent, node)
        return at

    def _draws(self, asked: Sequence[tuple[int, str]]) -> list[int]:
        draws: list[int] = []
        for slot, (at, action) in enumerate(asked):
            before = sum(1 for child in self.tree.children(self.tree.nodes[at]) if child.action == action)
            draws.append(before + list(asked[:slot]).count((at, action)))
        return draws
