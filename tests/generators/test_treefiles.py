"""Trees on disk."""

import json

import pytest
from toy_worlds import ACTIONS, ToyWorld

from potstill.errors import DataError
from potstill.generators.strategies import Budgeted, beam
from potstill.generators.treefiles import read_trees, tree_from, tree_row, write_trees


async def test_a_tree_that_was_written_reads_back_as_it_is(tmp_path):
    """Rounding happens once: what was read and written again is the same."""
    tree = await beam("x \u2028 y", Budgeted(world=ToyWorld().world, calls=30, actions=ACTIONS))
    once = tree_from(json.loads(json.dumps(tree_row("s", tree))))[1]
    write_trees(tmp_path / "t.jsonl", [("s", once), ("t", once)])
    assert list(read_trees(tmp_path / "t.jsonl")) == [("s", once), ("t", once)]
    assert [node.text for node in once.nodes] == [node.text for node in tree.nodes]


def test_what_is_no_tree_is_named(tmp_path):
    """File and line are in the message."""
    path = tmp_path / "t.jsonl"
    path.write_text('{"seed_id": "s"}\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"t.jsonl:1: not a tree"):
        list(read_trees(path))
    assert list(read_trees(tmp_path / "none.jsonl")) == []
