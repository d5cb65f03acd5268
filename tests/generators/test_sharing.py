"""What trees of other seeds have found: by place, never by time."""

import asyncio

from potstill.generators.nearness import Archive
from potstill.generators.sharing import Shared, counted_before, marks_of
from potstill.generators.trees import Node, attach, plant

IDS = ["a", "b", "c", "d"]


def tree_of(action, value):
    """Return a tree of one rewriting."""
    return attach(plant(Node(text="seed", value=5.0)), 0, Node(text=f"by {action}", action=action, value=value))[0]


def test_a_tree_knows_those_so_many_places_before_it():
    """With two places between, the first two know nothing; without sharing none does."""
    assert [counted_before(place, 2) for place in range(5)] == [0, 0, 1, 2, 3]
    assert [counted_before(place, None) for place in range(3)] == [0, 0, 0]


async def test_what_a_tree_knows_does_not_depend_on_who_finished_first():
    """One that is told early waits for those before it."""
    shared = Shared(IDS, 2, archive := Archive(["seed"]))
    assert (await shared.before("b")).outcomes == {}
    waiting = asyncio.create_task(shared.before("c"))
    shared.tell("b", tree_of("goals", 4.0))
    await asyncio.sleep(0)
    assert not waiting.done()
    shared.tell("a", tree_of("life", 6.0))
    known = await waiting
    assert known.outcomes == {"life": (1, 0)}
    assert archive.texts[: known.texts] == ["seed", "by life"]
    assert (await shared.before("d")).outcomes == {"life": (1, 0), "goals": (0, 1)}


async def test_a_mark_names_the_seeds_that_were_learnt_from_in_their_order():
    """None: no mark; the same first seeds: the same mark, whatever follows them."""
    shared = Shared(IDS, 2)
    for seed_id in IDS:
        shared.tell(seed_id, tree_of("goals", 6.0))
    marks = [(await shared.before(seed_id)).mark for seed_id in IDS]
    assert marks[:2] == ["", ""]
    assert marks[2:] == marks_of(IDS)[1:3] == marks_of(["a", "b", "x"])[1:3]
    assert marks_of(["b", "a"])[2] != marks_of(["a", "b"])[2]
