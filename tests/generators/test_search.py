"""The tree search: golden trees, selection, flags, resuming, in-flight counts."""

import asyncio
import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
from toy_worlds import ACTIONS, ToyWorld

from potstill.errors import DataError
from potstill.generators.asking import Reward, World
from potstill.generators.search import IDLE_STEPS, search
from potstill.generators.selecting import PUBLISHED, TREE, Pick, rank, select
from potstill.generators.trees import Node, attach, back_up, living, plant, to_rows

GOLDEN = Path(__file__).resolve().parent / "golden"
OURS = replace(TREE, actions=ACTIONS, c=0.3, best_share=0.5, widening=2.0, expand=1, learns_actions=False)
THEIRS = replace(PUBLISHED, actions=ACTIONS)
CASES = {
    "published": (THEIRS, 99, 1),
    "published_long": (replace(THEIRS, iterations=None), 60, 2),
    "tree_25": (OURS, 25, 1),
    "tree_60": (OURS, 60, 2),
    "tree_default": (replace(TREE, actions=ACTIONS), 40, 4),
    "tree_raw": (replace(OURS, is_normalised=False, c=2.0), 40, 3),
}


def family(*values):
    """Return a tree whose root has children of these values, each visited once."""
    tree = plant(Node(text="x", value=5.0))
    for number, value in enumerate(values):
        tree, at = attach(tree, 0, Node(text=f"x{number}", action=str(number), value=value))
        tree = back_up(tree, at, value)
    return tree


def first_of(tree, settings, visits=0):
    """Return the child that selection goes through first, when the root may not widen."""
    settings = replace(settings, widening=0.01, terminal_depth=9)
    pick = select(tree, settings, random.Random(0), 1, 99)
    return pick.path[1] if len(pick.path) > 1 else 0


@pytest.mark.parametrize("name", CASES)
async def test_a_search_grows_the_golden_tree_node_by_node(name):
    """An independent plain form wrote the files; structure, values and statistics agree."""
    settings, calls, seed = CASES[name]
    tree = await search("x", ToyWorld().world, settings, calls=calls, seed=seed)
    rows = [
        (n["parent"], n["action"], n["text"], n["depth"], n["is_simulated"], bool(n["refused"]), n["visits"])
        for n in to_rows(tree)
    ]
    golden = json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))
    assert [(n["parent"], n["action"], n["text"], n["depth"], n["sim"], n["bad"], n["N"]) for n in golden] == rows
    for ours, theirs in zip(tree.nodes, golden, strict=True):
        assert (ours.value, ours.best, ours.total) == pytest.approx((theirs["v"], theirs["best"], theirs["W"]))


@pytest.mark.parametrize("name", ["published_long", "tree_60", "tree_default"])
async def test_a_search_resumed_at_any_row_gives_the_same_tree_and_asks_nothing_twice(name):
    """Cut after every single row of its record: the tree is the same, and each call is made once over both lives."""
    settings, calls, seed = CASES[name]
    rows, whole = [], ToyWorld()
    tree = await search("x", whole.world, settings, calls=calls, seed=seed, record=rows.append)
    rows = [json.loads(json.dumps(row)) for row in rows]
    for cut in range(len(rows) + 1):
        again, written = ToyWorld(), list(rows[:cut])
        resumed = await search(
            "x", again.world, settings, calls=calls, seed=seed, record=written.append, recorded=rows[:cut]
        )
        assert resumed == tree
        assert written == rows
        assert sum(again.asked.values()) == len(rows) - max(1, cut)


async def test_a_search_that_lost_its_world_resumes_to_the_same_tree():
    """An exception ends the search and reaches the caller; what was answered is on record, and the tree goes on.

    At most what was in flight is asked for twice.
    """
    rows = []
    with pytest.raises(ConnectionError, match="gone"):
        await search(
            "x", ToyWorld(fails_after=17, jitter=True).world, OURS, calls=40, seed=5, parallel=3, record=rows.append
        )
    second = ToyWorld(jitter=True)
    resumed = await search("x", second.world, OURS, calls=40, seed=5, parallel=3, recorded=list(rows))
    whole = ToyWorld()
    assert resumed == await search("x", whole.world, OURS, calls=40, seed=5, parallel=3)
    repeated = sum(second.asked.values()) + len(rows) - 1 - sum(whole.asked.values())
    assert 0 <= repeated <= 3


async def test_a_search_goes_on_under_a_larger_budget():
    """The budget is no part of what a record is known by: 20 calls and then 40 are the tree of 40."""
    rows = []
    await search("x", ToyWorld().world, OURS, calls=20, seed=3, record=rows.append)
    world = ToyWorld()
    more = await search("x", world.world, OURS, calls=40, seed=3, recorded=rows)
    assert more == await search("x", ToyWorld().world, OURS, calls=40, seed=3)
    assert sum(1 for question in world.asked if question[0] == "expand") == 20


async def test_a_record_of_another_search_is_refused():
    """Another text, seed or setting: the message says what differs and what to do."""
    rows = []
    await search("x", ToyWorld().world, OURS, calls=5, seed=3, record=rows.append)
    with pytest.raises(DataError, match="its text, seed, strategy or settings differ"):
        await search("x", ToyWorld().world, OURS, calls=5, seed=4, recorded=rows)


async def test_a_row_that_answers_another_question_is_not_used():
    """What it should have answered is asked for again; the tree is the same."""
    rows = []
    tree = await search("x", ToyWorld().world, OURS, calls=5, seed=3, record=rows.append)
    damaged = next(at for at, row in enumerate(rows) if row["call"] == "expand")
    rows[damaged] = {**rows[damaged], "action": "z"}
    world = ToyWorld()
    assert await search("x", world.world, OURS, calls=5, seed=3, recorded=rows) == tree
    assert sum(world.asked.values()) == 1


@pytest.mark.parametrize("settings", [OURS, replace(THEIRS, iterations=None)], ids=["tree", "published"])
async def test_a_parallel_tree_does_not_depend_on_which_call_came_back_first(settings):
    """Steps are applied in the order in which they began; several are in flight at once."""
    slow, even = ToyWorld(jitter=True), ToyWorld()
    tree = await search("x", slow.world, settings, calls=50, seed=1, parallel=4)
    assert tree == await search("x", even.world, settings, calls=50, seed=1, parallel=4)
    assert slow.peak >= 4
    assert tree.calls <= 50


async def test_visits_of_the_root_are_the_steps_that_brought_a_value():
    """N(root) counts completed evaluations: with one call a step, the living nodes below it."""
    tree = await search("x", ToyWorld(jitter=True).world, OURS, calls=40, seed=1, parallel=4)
    assert tree.root.visits == sum(node.is_alive for node in tree.nodes[1:])
    assert tree.calls == 40 == len(tree.nodes) - 1


def test_without_exploration_the_higher_mean_is_selected_and_with_much_the_less_visited():
    """C = 0 is greedy; C towards infinity evens out the visits."""
    tree = family(4.0, 8.0, 6.0)
    tree = back_up(back_up(tree, 2, 8.0), 3, 6.0)
    assert first_of(tree, replace(OURS, c=0.0)) == 2
    assert first_of(tree, replace(OURS, c=1e6)) == 1


def test_selection_does_not_change_when_rewards_are_rescaled():
    """Values are min-max normalised over the tree, so C has no scale."""
    values = (4.0, 8.0, 6.0, 7.5)
    for c in (0.0, 0.3, 1.0, 3.0):
        plain = family(*values)
        scaled = replace(family(*(100 * v - 7 for v in values)), low=100 * 4.0 - 7, high=100 * 8.0 - 7)
        plain = replace(plain, low=4.0, high=8.0)
        assert first_of(plain, replace(OURS, c=c)) == first_of(scaled, replace(OURS, c=c))


def test_a_visit_in_flight_makes_a_child_less_attractive():
    """Two equal children: while one is being evaluated the other is chosen."""
    tree = family(6.0, 6.0)
    settings = replace(OURS, widening=0.01, terminal_depth=9)
    flying = [Pick(step=1, path=(0, 1), actions=("a",), reserved=1)]
    counts = {0: 1, 1: 1}
    ranks = [rank(tree, tree.root, child, settings, counts)[0] for child in tree.children(tree.root)]
    assert ranks[0] < ranks[1]
    assert select(tree, settings, random.Random(0), 2, 9, flying).path == (0, 2)


def test_a_node_whose_expansion_is_in_flight_is_not_exhausted_by_it():
    """All its actions are in flight: nothing can be chosen now, and the tree lives on."""
    tree = plant(Node(text="x", value=5.0))
    flying = [Pick(step=at, path=(0,), actions=(action,), reserved=1) for at, action in enumerate(ACTIONS)]
    assert select(tree, replace(OURS, widening=99.0), random.Random(0), 7, 9, flying) is None
    assert not tree.root.is_exhausted


async def test_a_tree_of_terminal_nodes_stops():
    """Depth 1 is terminal: every action is tried once, then the root is exhausted, calls or not."""
    tree = await search("x", ToyWorld().world, replace(OURS, terminal_depth=1), calls=99)
    assert (tree.stop, tree.calls, tree.root.is_exhausted) == ("exhausted", len(ACTIONS), True)


async def test_selecting_terminal_nodes_again_and_again_is_no_progress():
    """As published, terminal leaves are rewarded again without a call; that ends by a guard, not never."""
    settings = replace(THEIRS, iterations=None, terminal_value=-1.0, is_simulated=True)
    tree = await search("x", ToyWorld().world, settings, calls=99)
    assert (tree.stop, tree.calls, tree.steps) == ("no_progress", 5, 1 + IDLE_STEPS)


async def test_the_root_is_never_terminal():
    """A seed that the judge likes too much is searched all the same."""
    tree = await search("x", ToyWorld().world, replace(OURS, terminal_value=-1.0), calls=9)
    assert not tree.root.is_terminal
    assert tree.calls == len(ACTIONS)


async def test_an_evolver_that_never_answers_stops_the_search():
    """All expansions empty: each costs a call, each leaves a node that says so, then nothing is left to try."""
    tree = await search("x", ToyWorld(empty=1.0).world, OURS, calls=99)
    assert (tree.stop, tree.calls) == ("exhausted", len(ACTIONS))
    assert {node.refused for node in tree.nodes[1:]} == {"no_text"}


async def test_a_failed_judgement_is_asked_for_once_more_and_then_stays_missing():
    """No default number: the node has no value, is not visited, not kept, and not grown from."""
    world = ToyWorld(unjudged=1.0, refuses=0.0, empty=0.0)
    tree = await search("x", world.world, OURS, calls=3)
    assert [node.value for node in tree.nodes[1:]] == [None] * 3
    assert [node.scores for node in tree.nodes[1:]] == [None] * 3
    assert living(tree) == []
    assert tree.judged == 2 * 4
    assert tree.root.visits == 0


async def test_a_missing_term_is_a_missing_value():
    """A judge that leaves out what the reward needs has not judged."""

    async def judge(texts, attempt):
        return [{"quality": 5.0} for _ in texts]

    toy = ToyWorld()
    tree = await search("x", World(expand=toy.expand, judge=judge), OURS, calls=2)
    assert {node.value for node in tree.nodes} == {None}


async def test_a_text_below_the_floor_is_refused_whatever_else_it_scores():
    """A broken instruction cannot win by being complex."""

    async def judge(texts, attempt):
        return [{"quality": 1.0 if "a" in t else 3.0, "diversity": 9.0, "complexity": 9.0} for t in texts]

    toy = ToyWorld(empty=0.0)
    settings = replace(OURS, reward=Reward(floors={"quality": 2.5}))
    tree = await search("x", World(expand=toy.expand, judge=judge), settings, calls=20)
    refused = {node.text for node in tree.nodes if node.refused == "low_quality"}
    assert refused == {node.text for node in tree.nodes if "a" in node.text}
    assert all(not node.children for node in tree.nodes if node.refused)


async def test_simulated_nodes_are_kept_but_never_selected():
    """As published a simulation goes from the best child to a terminal node; its texts belong to the pool."""
    tree = await search("x", ToyWorld().world, THEIRS, calls=99, seed=1)
    simulated = [node for node in tree.nodes if node.is_simulated]
    assert simulated
    assert all(child.is_simulated for node in simulated for child in tree.children(node))
    assert tree.steps == 3


async def test_patience_ends_a_search_that_no_longer_improves():
    """Calls without a new best value are counted; the rest of the budget stays unspent."""
    tree = await search("x", ToyWorld().world, replace(OURS, patience=8), calls=200, seed=2)
    assert tree.stop == "patience"
    best = max(node.id for node in tree.nodes if node.is_alive and node.value == tree.high)
    assert tree.calls - best == 8


async def test_a_cancelled_search_leaves_nothing_in_flight():
    """What was started is cancelled with it."""
    world = ToyWorld(jitter=True)
    task = asyncio.ensure_future(search("x", world.world, OURS, calls=60, parallel=4))
    for _ in range(25):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert world.now == 0
