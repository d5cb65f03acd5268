"""The tree of a search as plain frozen data: nodes, what was made, and the counts that flow back up.

    plant ──► attach ──► back_up ──► attach ──► ...          each returns a new tree, the old one stays as it was

A tree knows no language model and starts nothing. It holds completed visits only: what is in flight is the business of
whoever grows it (`potstill.generators.search`), so no count can leak when an evaluation fails or is cancelled.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

NO_TEXT = "no_text"
"""Why a node has no text: the action did not fit, or the evolver failed. The call counts all the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One instruction: how it was made, what was found, and the statistics of the search below it."""

    text: str
    action: str | None = None
    """What was applied to the parent; `None` at the root."""
    step: int = 0
    """The iteration that made it; 0 at the root."""
    slot: int = 0
    """Which of the step's calls made it."""
    refused: str = ""
    """The gate's reason; empty: it passed."""
    scores: Mapping[str, float] | None = None
    """What the judge found, by term; `None`: not judged, or the judgement failed."""
    value: float | None = None
    """v: the weighted sum of the scores; `None`: one of them is missing. Never a default number."""
    depth: int = 0
    is_terminal: bool = False
    is_simulated: bool = False
    """Made by a random simulation: kept, but never selected or expanded."""
    id: int = 0
    """Its place in `Tree.nodes`, in order of attachment."""
    parent: int | None = None
    children: tuple[int, ...] = ()
    visits: int = 0
    """N: completed visits."""
    total: float = 0.0
    """W: the sum of what was backed up through this node."""
    best: float | None = None
    """The largest value backed up through this node; `None` before the first visit."""
    is_exhausted: bool = False
    """Nothing below it can be selected any more."""

    @property
    def is_alive(self) -> bool:
        """Whether it passed the gates and carries a judgement: only such nodes are grown from, visited or kept."""
        return not self.refused and self.value is not None


_FIELDS = tuple(one.name for one in fields(Node))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """All nodes of one search and what they cost."""

    nodes: tuple[Node, ...]
    calls: int = 0
    """Evolver calls, failures included: the budget counts these."""
    judged: int = 0
    """Texts handed to the judge, second attempts included."""
    steps: int = 0
    stop: str = ""
    """Why the search ended: calls, exhausted, iterations, no_progress, patience; empty while it runs."""
    low: float | None = field(default=None)
    """The smallest value of a living node: min-max normalisation starts here; `None` before the first."""
    high: float | None = field(default=None)
    after: str = ""
    """Marks the seeds whose trees it learnt from (`potstill.generators.sharing`); empty: none."""

    @property
    def root(self) -> Node:
        """The seed instruction."""
        return self.nodes[0]

    def children(self, node: Node) -> Iterator[Node]:
        """Yield the node's children in order of attachment."""
        return (self.nodes[at] for at in node.children)

    def path(self, node: Node) -> list[Node]:
        """Return the nodes from the root to `node`."""
        found = [node]
        while found[-1].parent is not None:
            found.append(self.nodes[found[-1].parent])
        return found[::-1]


def plant(root: Node) -> Tree:
    """Return a tree of one node. The root is never terminal: a noisy score of the seed would end the search."""
    root = replace(root, id=0, parent=None, depth=0, is_terminal=False)
    return _bounded(Tree(nodes=(root,)), root)


def attach(tree: Tree, parent: int, child: Node) -> tuple[Tree, int]:
    """Return the tree with `child` below `parent`, and the child's id."""
    above, at = tree.nodes[parent], len(tree.nodes)
    nodes = list(tree.nodes)
    nodes[parent] = replace(above, children=(*above.children, at))
    nodes.append(replace(child, id=at, parent=parent, depth=above.depth + 1))
    return _bounded(replace(tree, nodes=tuple(nodes)), child), at


def back_up(tree: Tree, leaf: int, reward: float) -> Tree:
    """Return the tree after one completed visit: N + 1, W + R, and the best value, from `leaf` to the root."""
    nodes = list(tree.nodes)
    at: int | None = leaf
    while at is not None:
        node = nodes[at]
        best = reward if node.best is None else max(node.best, reward)
        nodes[at] = replace(node, visits=node.visits + 1, total=node.total + reward, best=best)
        at = node.parent
    return replace(tree, nodes=tuple(nodes))


def exhaust(tree: Tree, nodes: Mapping[int, bool]) -> Tree:
    """Return the tree with `is_exhausted` set as given, by id."""
    changed = {at: is_exhausted for at, is_exhausted in nodes.items() if tree.nodes[at].is_exhausted != is_exhausted}
    if not changed:
        return tree
    found = list(tree.nodes)
    for at, is_exhausted in changed.items():
        found[at] = replace(found[at], is_exhausted=is_exhausted)
    return replace(tree, nodes=tuple(found))


def living(tree: Tree) -> list[Node]:
    """Return the nodes that may be kept, best value first; ties in order of attachment."""
    found = [node for node in tree.nodes if node.is_alive]
    return sorted(found, key=lambda node: (-(node.value or 0.0), node.id))


def to_rows(tree: Tree) -> list[dict[str, Any]]:
    """Return the whole tree as JSON rows, one per node: what the report draws and what golden tests compare."""
    return [_row(node) for node in tree.nodes]


def _row(node: Node) -> dict[str, Any]:
    row = {name: getattr(node, name) for name in _FIELDS}  # `asdict` copies deeply, at ten times the cost
    for name in ("value", "total", "best"):
        row[name] = None if row[name] is None else round(row[name], 9)
    row["children"] = list(node.children)
    row["scores"] = None if node.scores is None else dict(node.scores)
    return row


def _bounded(tree: Tree, node: Node) -> Tree:
    if not node.is_alive or node.value is None:
        return tree
    if tree.low is not None and tree.high is not None and tree.low <= node.value <= tree.high:
        return tree
    low = node.value if tree.low is None else min(tree.low, node.value)
    high = node.value if tree.high is None else max(tree.high, node.value)
    return replace(tree, low=low, high=high)
