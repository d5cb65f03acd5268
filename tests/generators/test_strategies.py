"""Random evolution, beam and best-of-N: the same tree, the same counts, the same resuming."""

import json
from collections import Counter
from dataclasses import replace

import pytest
from toy_worlds import ACTIONS, ToyWorld

from potstill.errors import DataError
from potstill.generators.strategies import Budgeted, beam, best_of_n, random_evolution
from potstill.records import content_id

STRATEGIES = {
    "random": random_evolution,
    "beam": beam,
    "beam_3_2": lambda text, given: beam(text, given, width=3, branch=2),
    "best_of_n": best_of_n,
}


def given(world, calls=40, **options):
    """Return what a strategy is given in the toy world."""
    return Budgeted(world=world.world, calls=calls, seed=3, actions=ACTIONS, **options)


@pytest.mark.parametrize("name", STRATEGIES)
@pytest.mark.parametrize("calls", [1, 7, 40])
async def test_a_strategy_makes_exactly_the_calls_it_is_given(name, calls):
    """Failed and refused calls count; the world agrees with the tree about their number."""
    world = ToyWorld()
    tree = await STRATEGIES[name]("x", given(world, calls))
    assert (tree.calls, tree.stop) == (calls, "calls")
    assert sum(times for question, times in world.asked.items() if question[0] == "expand") == calls


@pytest.mark.parametrize("name", STRATEGIES)
async def test_a_strategy_resumed_at_any_row_gives_the_same_tree(name):
    """Nothing that is on record is asked for again."""
    rows = []
    tree = await STRATEGIES[name]("x", given(ToyWorld(jitter=True), record=rows.append))
    rows = [json.loads(json.dumps(row)) for row in rows]
    for cut in range(0, len(rows) + 1, 5):
        world = ToyWorld()
        assert await STRATEGIES[name]("x", given(world, recorded=rows[:cut])) == tree
        assert sum(world.asked.values()) == len(rows) - max(1, cut)


@pytest.mark.parametrize("name", STRATEGIES)
@pytest.mark.parametrize("calls", [5, 17])
async def test_a_strategy_goes_on_under_a_larger_budget(name, calls):
    """It ends in the tree of the larger budget, whatever the smaller one cut short, and buys no answer twice."""
    rows, fresh = [], ToyWorld()
    await STRATEGIES[name]("x", given(ToyWorld(), calls=calls, record=rows.append))
    world = ToyWorld()
    more = await STRATEGIES[name]("x", given(world, recorded=[json.loads(json.dumps(row)) for row in rows]))
    assert more == await STRATEGIES[name]("x", given(fresh))
    answered = {(row["of"], row["action"], row["draw"]) for row in rows if row["call"] == "expand"}
    asked = {(content_id(q[1]), *q[2:]) for q in world.asked if q[0] == "expand"}
    assert not answered & asked


async def test_the_record_of_one_strategy_is_refused_by_another():
    """A beam does not go on where chance began."""
    rows = []
    await random_evolution("x", given(ToyWorld(), record=rows.append))
    with pytest.raises(DataError, match="of another search"):
        await beam("x", given(ToyWorld(), recorded=rows))


async def test_random_evolution_goes_back_to_the_seed_at_its_depth():
    """Chains of three, whatever the scores; a refused text is not built upon."""
    tree = await random_evolution("x", given(ToyWorld(refuses=0.2)), depth=3)
    assert max(node.depth for node in tree.nodes) == 3
    assert sum(node.depth == 1 for node in tree.nodes) > 5
    assert all(not node.children for node in tree.nodes if node.refused)


async def test_a_beam_builds_on_the_best_of_a_level_only():
    """With width 1 every level grows below the best judged node of the one before."""
    tree = await beam("x", given(ToyWorld(), calls=16), width=1, branch=4)
    for depth in (1, 2, 3):
        level = [node for node in tree.nodes if node.depth == depth]
        best = max((node for node in level if node.is_alive), key=lambda node: node.value)
        assert [node.id for node in level if node.children] == [best.id]


async def test_best_of_n_rewrites_the_seed_once_each_with_every_action_equally_often():
    """Depth 1 only; actions come again when all have been used."""
    tree = await best_of_n("x", given(ToyWorld(), calls=12))
    assert {node.depth for node in tree.nodes[1:]} == {1}
    assert set(Counter(node.action for node in tree.nodes[1:]).values()) == {2}


async def test_a_beam_prefers_what_helped_in_other_trees():
    """What earlier trees say decides the order of the actions; without it every action is as likely."""
    helped = ACTIONS[-1]
    learnt = dict.fromkeys(ACTIONS, (1.0, 500.0)) | {helped: (500.0, 1.0)}
    first = []
    for seed in range(30):
        known = replace(given(ToyWorld(), calls=1, learns_actions=True, earlier=learnt), seed=seed)
        first.append((await beam("x", known)).nodes[1].action)
    assert first.count(helped) > 20
