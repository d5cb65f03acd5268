"""Monte Carlo tree search over instructions: select, expand, evaluate, back up. It knows no language model.

    pick = select(tree)        down the tree by UCT, to a node that may still grow
    found = evaluate(pick)     the world expands and judges; as published, then a random simulation to a terminal node
    tree = grow(tree, found)   attach, back up along the path, propagate what is exhausted

The rules are `Settings` (`potstill.generators.selecting`). The world is passed in (`potstill.generators.asking.World`);
no file is opened and no money is counted here. Results are applied in the order in which their steps began, so a tree
depends on its seed and on `parallel`, never on which call came back first.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace

from potstill.generators.asking import Asking, Record, Row, World, mark_of
from potstill.generators.selecting import TREE, Pick, Settings, select, selectable, tried_at
from potstill.generators.trees import Node, Tree, attach, back_up, exhaust, plant
from potstill.records import child_seed
from potstill.streams import collect, map_ordered

IDLE_STEPS = 10
"""Steps in a row that make no call before a search stops: selecting a terminal node again and again is no progress."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a step brought back."""

    pick: Pick
    children: tuple[Node, ...] = ()
    simulated: tuple[tuple[int, Node], ...] = ()
    """(index of the node it was made from, node): that index counts `children`, then `simulated` itself."""
    calls: int = 0


async def search(
    text: str, world: World, settings: Settings = TREE, *, calls: int, seed: int = 0, parallel: int = 1,
    record: Record | None = None, recorded: Iterable[Row] = (),
) -> Tree:  # fmt: skip
    """Grow a tree of rewritten instructions from `text` and return it, with the reason why it stopped.

    Args:
        world: What is asked; its exceptions end the search and reach the caller, what was answered is on record.
        calls: The most evolver calls. Judgements are counted beside (`Tree.judged`).
        seed: Draws actions and breaks ties.
        parallel: Steps evaluated at once. Above 1 they are chosen with in-flight counts; another tree results, the
            same one every time.
        record: Gets one row per answered call.
        recorded: The rows of an earlier search of the same text, seed and settings, up to any row: the tree goes on
            from there, as if it had never been interrupted.

    Raises:
        DataError: `recorded` is of another search, or the judge broke its form.

    Source: IDEA-MCTS, Li et al. 2024, arXiv:2410.10392 (the paper's text was not at hand).
    Differs: `PUBLISHED` follows it as far as known; `TREE` has no simulation and no absolute stop.
    """
    mark = mark_of("tree", text, seed, [asdict(settings), parallel])
    asking = Asking(world, settings.reward, text, mark, record=record, recorded=recorded)
    growing = _Growing(asking, settings, calls, seed)
    await growing.begin()
    while not growing.tree.stop:
        before = growing.tree.steps
        async for found in map_ordered(growing.evaluate, growing.picks(), parallel):
            growing.take(found)
        if growing.tree.steps == before:
            growing.end("exhausted")
    return growing.tree


class _Growing:
    """A tree that grows: the tree so far, and the steps in flight."""

    def __init__(self, asking: Asking, settings: Settings, calls: int, seed: int) -> None:
        self.asking = asking
        self.settings = settings
        self.calls = calls
        self.seed = seed
        self.tree = plant(Node(text=""))
        self.in_flight: list[Pick] = []
        self.idle = 0
        self.stale = 0

    async def begin(self) -> None:
        self.tree = replace(plant(await self.asking.root()), judged=self.asking.judged)
        self._check()

    def picks(self) -> Iterator[Pick]:
        """Yield what to evaluate next, as long as there is something and the budget allows it."""
        while not self.tree.stop:
            step = self.tree.steps + len(self.in_flight) + 1
            left = self.calls - self.tree.calls - sum(pick.reserved for pick in self.in_flight)
            is_last = self.settings.iterations is not None and step > self.settings.iterations
            rng = random.Random(child_seed(self.seed, "step", step))
            pick = None if is_last else select(self.tree, self.settings, rng, step, left, self.in_flight)
            if pick is None:
                return
            self.in_flight.append(pick)
            yield pick

    async def evaluate(self, pick: Pick) -> Found:
        node = self.tree.nodes[pick.path[-1]]
        draws = {action: self._draws(node, action) for action in pick.actions}
        if not pick.actions:
            return Found(pick=pick)

        async def made(slot: int) -> list[Node]:
            action = pick.actions[slot]
            return await self.asking.expand(node, action, pick.step, slot, draws[action])

        slots = range(len(pick.actions))
        groups = [await made(0)] if len(slots) == 1 else await collect(map_ordered(made, slots, len(slots)))
        children = await self.asking.judge([child for group in groups for child in group], 0)
        children = [ending(child, node.depth + 1, self.settings) for child in children]
        simulated, calls = await self._simulate(pick, node, children)
        return Found(pick=pick, children=tuple(children), simulated=tuple(simulated), calls=len(pick.actions) + calls)

    async def _simulate(self, pick: Pick, node: Node, children: Sequence[Node]) -> tuple[list[tuple[int, Node]], int]:
        """Evolve the best child at random until a terminal node, or until the step's calls are spent."""
        left = pick.reserved - len(pick.actions)
        alive = [at for at, child in enumerate(children) if child.is_alive]
        if not self.settings.is_simulated or not alive:
            return [], 0
        at = max(alive, key=lambda at: (children[at].value or 0.0, -at))
        current, chain = replace(children[at], depth=node.depth + 1), list[tuple[int, Node]]()
        rng, used = random.Random(child_seed(self.seed, "simulation", pick.step)), 0
        tried: dict[str, int] = {}
        while used < left and not current.is_terminal:
            action = rng.choice(self.settings.actions)
            made = await self.asking.expand(
                current, action, pick.step, len(pick.actions) + used, tried.get(action, 0), is_simulated=True
            )
            used += 1
            tried[action] = tried.get(action, 0) + 1
            judged = await self.asking.judge(made[:1], 2 * used)
            child = replace(ending(judged[0], current.depth + 1, self.settings), depth=current.depth + 1)
            chain.append((at, child))
            if child.is_alive:
                at, current, tried = len(children) + len(chain) - 1, child, {}
        return chain, used

    def take(self, found: Found) -> None:
        """Apply the oldest step in flight."""
        self.in_flight.pop(0)
        best = self.tree.high
        self.tree = replace(grow(self.tree, found, self.settings), judged=self.asking.judged)
        self.idle = 0 if found.calls else self.idle + 1
        self.stale = 0 if self.tree.high != best else self.stale + found.calls
        self._check()

    def end(self, reason: str) -> None:
        self.tree = replace(self.tree, stop=reason)

    def _check(self) -> None:
        settings = self.settings
        if settings.iterations is not None and self.tree.steps >= settings.iterations:
            self.end("iterations")
        elif self.tree.calls >= self.calls:
            self.end("calls")
        elif self.idle >= IDLE_STEPS:
            self.end("no_progress")
        elif settings.patience is not None and self.stale >= settings.patience:
            self.end("patience")

    def _draws(self, node: Node, action: str) -> int:
        return sum(1 for child in self.tree.children(node) if child.action == action)


def grow(tree: Tree, found: Found, settings: Settings) -> Tree:
    """Return the tree with a step's nodes attached, its reward backed up and exhaustion propagated to the root."""
    at, ids = found.pick.path[-1], list[int]()
    for child in found.children:
        tree, child_id = attach(tree, at, child)
        ids.append(child_id)
    for origin, node in found.simulated:
        tree, child_id = attach(tree, ids[origin], node)
        ids.append(child_id)
    alive = [child_id for child_id in ids if tree.nodes[child_id].is_alive]
    if not found.pick.actions:
        tree = back_up(tree, at, tree.nodes[at].value or 0.0)
    elif not settings.is_simulated:
        for child_id in alive:
            tree = back_up(tree, child_id, tree.nodes[child_id].value or 0.0)
    elif alive:
        end = _end_of_simulation(tree, ids, len(found.children))
        tree = back_up(tree, end.id, end.value or 0.0)
    tree = _exhaust_upwards(tree, at, ids, settings)
    return replace(tree, calls=tree.calls + found.calls, steps=tree.steps + 1)


def ending(node: Node, depth: int, settings: Settings) -> Node:
    """Return the node with `is_terminal` set: deep enough, or above the absolute stop."""
    above = settings.terminal_value is not None and node.value is not None and node.value > settings.terminal_value
    return replace(node, is_terminal=depth >= settings.terminal_depth or above)


def _end_of_simulation(tree: Tree, ids: Sequence[int], n_children: int) -> Node:
    """Return the last living node of the chain; where none was made, the child it would have begun with."""
    nodes = [tree.nodes[at] for at in ids]
    chain = [node for node in nodes[n_children:] if node.is_alive]
    if chain:
        return chain[-1]
    return max((node for node in nodes[:n_children] if node.is_alive), key=lambda node: (node.value or 0.0, -node.id))


def _exhaust_upwards(tree: Tree, at: int, made: Iterable[int], settings: Settings) -> Tree:
    tree = exhaust(tree, {child: _is_spent(tree, tree.nodes[child], settings) for child in made})
    up: int | None = at
    while up is not None and _is_spent(tree, tree.nodes[up], settings):
        tree = exhaust(tree, {up: True})
        up = tree.nodes[up].parent
    return tree


def _is_spent(tree: Tree, node: Node, settings: Settings) -> bool:
    if node.is_simulated or (node.parent is not None and not node.is_alive):
        return True
    if node.is_terminal:
        # As published a terminal leaf may be selected again: its value is backed up, no call is made.
        return not settings.is_simulated
    if len(node.children) < len(settings.actions) and settings.widening is not None:
        return False
    children = selectable(tree, node)
    is_full = bool(children) if settings.widening is None else not set(settings.actions) - tried_at(tree, node)
    return is_full and all(child.is_exhausted for child in children)
