"""Which nodes are kept, and that nothing else is."""

from dataclasses import replace

from toy_worlds import ACTIONS, ToyWorld

from potstill.generators.keeping import archive, best_nodes, finished_paths, is_near, ladder, novelty, published_pool
from potstill.generators.search import search
from potstill.generators.selecting import PUBLISHED, TREE
from potstill.generators.trees import Node, attach, plant

SENTENCE = "Explain to a friend why the moon has phases and how often they come."


def small_tree():
    """Return a root with two branches, of which one ends in a terminal node, and a refused child."""
    tree = plant(Node(text="seed", value=3.0))
    for parent, node in (
        (0, Node(text="a", value=5.0)), (1, Node(text="ab", value=7.0, is_terminal=True)),
        (0, Node(text="c", value=6.0)), (0, Node(text="d", value=9.0, refused="near_copy")),
    ):  # fmt: skip
        tree, _ = attach(tree, parent, node)
    return tree


def test_the_published_pool_holds_whole_paths_to_terminal_nodes():
    """Also the nodes in between, not the seed, not an unfinished branch, not what was refused."""
    assert [node.text for node in finished_paths(small_tree())] == ["a", "ab"]


async def test_the_published_pool_is_drawn_from_all_trees():
    """A thousand at random, the same ones for the same seed; all of them where there are fewer."""
    settings = replace(PUBLISHED, actions=ACTIONS)
    trees = [await search(text, ToyWorld().world, settings, calls=99) for text in ("x", "y", "z")]
    pool = published_pool(trees, count=8, seed=4)
    assert len(pool) == 8
    assert pool == published_pool(trees, count=8, seed=4) != published_pool(trees, count=8, seed=5)
    assert len(published_pool(trees)) == sum(len(finished_paths(tree)) for tree in trees)


def test_the_best_are_kept_without_their_near_copies():
    """The second of two nearly equal texts gives way to the next best."""
    tree = plant(Node(text="seed", value=3.0))
    for text, value in ((SENTENCE, 8.0), (SENTENCE.upper(), 7.9), ("Compare two views of tides.", 6.0)):
        tree, _ = attach(tree, 0, Node(text=text, value=value))
    assert [node.value for node in best_nodes(tree, 2)] == [8.0, 6.0]


def test_a_ladder_leads_from_the_seed_to_the_node():
    """Parents stay with their children."""
    tree = small_tree()
    assert [node.text for node in ladder(tree, tree.nodes[2])] == ["seed", "a", "ab"]


async def test_an_archive_keeps_the_best_of_every_cell():
    """A cell's best is kept even where another cell has many better ones."""
    tree = await search("x", ToyWorld().world, replace(TREE, actions=ACTIONS), calls=40)
    cells = archive(tree.nodes, lambda node: node.depth)
    for depth, kept in cells.items():
        assert kept == [max((n for n in tree.nodes if n.is_alive and n.depth == depth), key=lambda n: n.value)]
    assert len(cells) > 2


def test_novelty_is_one_for_the_first_and_nothing_for_a_copy():
    """Set level: against whatever was kept before."""
    assert novelty(SENTENCE, []) == 1.0
    assert novelty(SENTENCE, ["Bake bread at night.", SENTENCE]) == 0.0
    assert is_near(SENTENCE, [SENTENCE.lower()])
    assert not is_near(SENTENCE, ["Bake bread at night."])
