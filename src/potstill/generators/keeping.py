"""Which nodes of finished trees become instructions: the published pool, the best of a tree, or an archive of cells.

Nothing here asks a model. Responses to what is kept, and their verification, are another stage's.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable, Iterable, Sequence

from potstill.generators.gates import trigrams
from potstill.generators.trees import Node, Tree, living
from potstill.records import child_seed

SAME = 0.9
"""Share of common trigrams from which two texts count as the same."""


def finished_paths(tree: Tree) -> list[Node]:
    """Return the living nodes below the root that lie on a path to a terminal node, in order of attachment.

    Source: IDEA-MCTS, Li et al. 2024, arXiv:2410.10392: training samples are drawn from all of them, not from the best
    leaves only. The seed itself is left out: it is no new instruction.
    """
    ids = {node.id for end in tree.nodes if end.is_terminal and end.is_alive for node in tree.path(end)}
    return [node for node in tree.nodes[1:] if node.id in ids and node.is_alive]


def published_pool(trees: Sequence[Tree], count: int = 1000, seed: int = 0) -> list[tuple[int, Node]]:
    """Return `count` nodes drawn at random from all finished paths, as (number of the tree, node); all if fewer."""
    pool = [(number, node) for number, tree in enumerate(trees) for node in finished_paths(tree)]
    random.Random(child_seed(seed, "published pool")).shuffle(pool)
    return sorted(pool[:count], key=lambda found: (found[0], found[1].id))


def best_nodes(tree: Tree, count: int = 4) -> list[Node]:
    """Return the best judged nodes below the root, none of them nearly the same as a better one."""
    found: list[Node] = []
    for node in living(tree):
        if len(found) < count and node.parent is not None and not is_near(node.text, (kept.text for kept in found)):
            found.append(node)
    return found


def ladder(tree: Tree, node: Node) -> list[Node]:
    """Return the node and what it was evolved from, easiest first: kept together they teach the steps between."""
    return [above for above in tree.path(node) if above.is_alive or above.parent is None]


def archive(nodes: Iterable[Node], cell: Callable[[Node], Hashable], per_cell: int = 1) -> dict[Hashable, list[Node]]:
    """Return the best judged living nodes of each cell, such as (domain, bin of complexity, form): quality-diversity.

    Source: MAP-Elites with a judge in place of a measured fitness, QDAIF, Bradley et al. 2023, arXiv:2310.13032.
    """
    cells: dict[Hashable, list[Node]] = {}
    for node in sorted((n for n in nodes if n.is_alive), key=lambda n: -(n.value or 0.0)):
        kept = cells.setdefault(cell(node), [])
        if len(kept) < per_cell and not is_near(node.text, (other.text for other in kept)):
            kept.append(node)
    return cells


def novelty(text: str, others: Iterable[str]) -> float:
    """Return 1 less the largest share of trigrams that `text` has in common with one of `others`; 1 with none."""
    own = trigrams(text)
    return 1 - max((len(own & seen) / len(own | seen) for seen in map(trigrams, others)), default=0.0)


def is_near(text: str, others: Iterable[str]) -> bool:
    """Whether `text` is nearly the same as one of `others`."""
    return 1 - novelty(text, others) >= SAME
