"""Which instructions leave the trees: chosen by value, without repetitions and without evaluation problems.

    trees ──best | archive | published──► nodes ──ladders──► + what they came from ──near, contaminated──► problems

A kept instruction is a `Problem` whose `parent_id` is the instruction it was rewritten from, whether that one is kept
or not; `meta.evolution` says which tree, node, action and scores it has. What was chosen and left out has a reason.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from potstill.errors import shorten
from potstill.generators.keeping import archive, best_nodes, ladder, published_pool
from potstill.generators.nearness import Archive
from potstill.generators.trees import Node, Tree
from potstill.rationales.contamination import contaminated
from potstill.recipe.generators import EvolveConfig
from potstill.records import Drop, Problem, child_seed, problem_from

Grown = tuple[Problem, Tree]
"""A seed and its tree."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What was kept of some trees."""

    problems: list[Problem]
    drops: list[Drop]


def choose(trees: Sequence[Grown], config: EvolveConfig, *, evaluated: Sequence[Problem] = (), seed: int = 0) -> Choice:
    """Return the instructions that are kept, tree by tree with parents before children, and why others are not.

    Args:
        evaluated: What repeats or retells one of these problems is left out.
    """
    seen = Archive([problem.question for problem, _ in trees], config.embedding)
    kept, drops = list[Problem](), list[Drop]()
    for number, nodes in enumerate(_chosen(trees, config, seed)):
        problem, tree = trees[number]
        for node in _with_ladders(tree, nodes) if config.ladders else nodes:
            found = as_problem(problem, tree, node, config)
            if detail := _repeats(node.text, seen, config):
                drops.append(Drop(stage="evolve", id=found.id, reason="near_duplicate", detail=detail))
                continue
            seen.add_all([node.text])
            kept.append(found)
    tainted = contaminated(kept, evaluated) if evaluated else {}
    drops += [Drop(stage="evolve", id=id_, reason="contaminated", detail=why) for id_, why in tainted.items()]
    kept = [problem for problem in kept if problem.id not in tainted]
    if config.most is not None and len(kept) > config.most:
        drawn = random.Random(child_seed(seed, "most")).sample(range(len(kept)), config.most)
        kept = [kept[at] for at in sorted(drawn)]
    return Choice(kept, drops)


def strategies_of(problem: Problem) -> tuple[str, ...]:
    """Return the strategies that have found an instruction; none for one that was given."""
    found = problem.meta.get("evolution") or {}
    return tuple(found.get("strategies") or ([found["strategy"]] if "strategy" in found else []))


def is_learnt_from(problem: Problem, evolved: str | None) -> bool:
    """Whether an arm that learns from one strategy (`seeds`: from what was given) learns from this problem."""
    names = strategies_of(problem)
    return evolved is None or (not names if evolved == "seeds" else evolved in names)


def _repeats(text: str, seen: Archive, config: EvolveConfig) -> str:
    """Return what a text repeats, and how nearly; empty: nothing."""
    share, at = seen.by_words(text)
    if share >= config.near and at is not None:
        return f"{share:.0%} of its runs of three words: {shorten(seen.texts[at], 80)}"
    cosine, at = seen.by_embedding(text)
    if cosine >= config.near_cosine and at is not None:
        return f"cosine {cosine:.2f}: {shorten(seen.texts[at], 80)}"
    return ""


def as_problem(seed: Problem, tree: Tree, node: Node, config: EvolveConfig) -> Problem:
    """Return a node as a problem without an answer; its id covers the texts from the seed down to it."""
    parent_id, found = seed.id, seed
    for step in tree.path(node)[1:]:
        found = problem_from(
            {
                "question": step.text,
                "answer_type": "text",
                "source": "evolved",
                "split": seed.split,
                "parent_id": parent_id,
                "meta": {"evolution": _facts(seed, step, config)},
            }
        )
        parent_id = found.id
    return found


def _facts(seed: Problem, node: Node, config: EvolveConfig) -> dict[str, Any]:
    return {
        "root_id": seed.id,
        "node": node.id,
        "action": node.action,
        "depth": node.depth,
        "value": node.value,
        "scores": dict(node.scores or {}),
        "visits": node.visits,
        "strategy": config.strategy,
    }


def _chosen(trees: Sequence[Grown], config: EvolveConfig, seed: int) -> Iterator[list[Node]]:
    """Yield the chosen nodes of each tree, best first."""
    if config.keep == "best":
        yield from (best_nodes(tree, config.per_seed) for _, tree in trees)
        return
    if config.keep == "published":
        pairs = published_pool([tree for _, tree in trees], config.total, seed)
        chosen = {(number, node.id) for number, node in pairs}
    else:
        chosen = _archived(trees, config)
    for number, (_, tree) in enumerate(trees):
        nodes = [node for node in tree.nodes if (number, node.id) in chosen]
        yield sorted(nodes, key=lambda node: (-(node.value or 0.0), node.id))


def _archived(trees: Sequence[Grown], config: EvolveConfig) -> set[tuple[int, int]]:
    """Return (tree, node) of the best nodes of each cell: the last action, and the judged complexity rounded."""
    owner = {id(node): number for number, (_, tree) in enumerate(trees) for node in tree.nodes}
    nodes = [node for _, tree in trees for node in tree.nodes[1:]]
    cells = archive(nodes, _cell, config.per_cell)
    return {(owner[id(node)], node.id) for kept in cells.values() for node in kept}


def _cell(node: Node) -> tuple[str, int]:
    scores = node.scores or {}
    return str(node.action), round(scores.get("complexity", node.value or 0.0))


def _with_ladders(tree: Tree, nodes: Sequence[Node]) -> list[Node]:
    """Return the nodes and what they were evolved from below the seed, parents first, each once."""
    found: dict[int, Node] = {}
    for node in nodes:
        found |= {step.id: step for step in ladder(tree, node) if step.parent is not None}
    return list(found.values())
