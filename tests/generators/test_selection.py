"""Which instructions leave the trees."""

from dataclasses import replace

import pytest

from potstill.generators.selection import choose
from potstill.generators.trees import Node, attach, plant
from potstill.recipe.generators import EvolveConfig
from potstill.records import Problem

SEED = Problem(id="s", question="Explain comets to a friend.", split="train")
GROWN = (
    "Explain comets to a friend in a letter.",
    "Explain comets to a friend in a letter, with one estimate of size.",
)


def tree_of(*rows, seed=SEED):
    """Return a tree of (text, parent, value)."""
    tree = plant(Node(text=seed.question, value=5.0))
    for text, parent, value in rows:
        scores = {"quality": value / 3, "diversity": value / 3, "complexity": value / 3}
        tree, _ = attach(
            tree, parent, Node(text=text, value=value, scores=scores, action="goals", is_terminal=parent > 0)
        )
    return tree


def chain():
    """Return a tree of a chain of two."""
    return tree_of((GROWN[0], 0, 6.0), (GROWN[1], 1, 9.0))


def test_a_kept_instruction_knows_its_parent_its_seed_and_its_scores():
    """With ladders the step between is kept and comes first; ids are contents."""
    found = choose([(SEED, chain())], EvolveConfig(per_seed=1)).problems
    assert [p.question for p in found] == list(GROWN)
    assert [p.parent_id for p in found] == ["s", found[0].id]
    assert [p.meta["evolution"]["depth"] for p in found] == [1, 2]
    assert found[1].meta["evolution"]["value"] == 9.0
    assert {p.meta["evolution"]["root_id"] for p in found} == {"s"}
    again = choose([(SEED, chain())], EvolveConfig(per_seed=1, ladders=False)).problems
    assert [(p.id, p.parent_id) for p in again] == [(found[1].id, found[1].parent_id)]


def test_what_repeats_a_seed_or_a_better_one_is_left_out_with_its_reason():
    """Over all trees, case and marks apart."""
    other = replace(SEED, id="o", question="Name a comet.")
    trees = [(SEED, tree_of((GROWN[1], 0, 9.0), ("EXPLAIN comets, to a friend!", 0, 8.0))),
             (other, tree_of((GROWN[1] + "!", 0, 9.0), seed=other))]  # fmt: skip
    found = choose(trees, EvolveConfig())
    assert [p.question for p in found.problems] == [GROWN[1]]
    assert [drop.reason for drop in found.drops] == ["near_duplicate"] * 2


def test_what_repeats_an_evaluation_problem_is_left_out_with_its_reason():
    """Before anybody is asked to answer it."""
    found = choose([(SEED, chain())], EvolveConfig(), evaluated=[Problem(id="e", question=GROWN[1], split="test")])
    assert [p.question for p in found.problems if p.question == GROWN[1]] == []
    assert "contaminated" in {drop.reason for drop in found.drops}
    assert found.drops[0].detail


@pytest.mark.parametrize("keep", ["best", "archive", "published"])
def test_refused_and_unjudged_nodes_are_kept_by_no_rule(keep):
    """Nor is the seed itself."""
    tree = tree_of((GROWN[0], 0, 6.0), (GROWN[1], 1, 9.0))
    tree, _ = attach(tree, 0, Node(text="Sure, here it is.", refused="talks_of_rewriting"))
    tree, _ = attach(tree, 0, Node(text="Nobody judged this text about comets.", value=None))
    found = choose([(SEED, tree)], EvolveConfig(keep=keep)).problems
    assert {p.question for p in found} == set(GROWN)


def test_an_archive_keeps_the_best_of_each_cell():
    """Cells are the last action and the judged complexity, over all trees together."""
    tree = tree_of(
        (GROWN[0], 0, 9.0), ("Plan a lesson about the tails of comets.", 0, 9.3), ("List six comets.", 0, 3.0)
    )
    found = choose([(SEED, tree)], EvolveConfig(keep="archive", per_cell=1, ladders=False)).problems
    assert {p.question for p in found} == {"Plan a lesson about the tails of comets.", "List six comets."}
