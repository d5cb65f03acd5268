"""Search trees in a report: nodes with what they changed, growth with the calls, and nothing that becomes markup."""

import json

import pytest

from potstill.errors import DataError
from potstill.evaluation.page.gathering import gather
from potstill.evaluation.page.trees import difference, growth, growth_figure, search_trees, tree_rows
from potstill.generators.treefiles import tree_row
from potstill.generators.trees import Node, attach, plant


def grown(seed_id="s"):
    """Return a tree of a seed, a better child, a refused one and a grandchild, as a row of its file."""
    tree = plant(Node(text="Explain comets.", value=5.0, scores={"quality": 5.0, "votes": 2.0}))
    tree, child = attach(tree, 0, Node(text="Explain two comets.", value=6.0, scores={"quality": 6.0}, action="goals",
                                       step=1, slot=0))  # fmt: skip
    tree, _ = attach(tree, 0, Node(text="<script>alert(1)</script>", refused="cut_off", action="new", step=1, slot=1))
    tree, _ = attach(tree, child, Node(text="Explain two comets in a letter.", value=5.5, scores={"quality": 5.5},
                                       action="output_format", step=2, slot=0))  # fmt: skip
    return tree_row(seed_id, tree)


@pytest.fixture
def run(tmp_path):
    """A run directory with three searches, one kept instruction each."""
    rows = [grown(f"s{number}") for number in range(3)]
    (tmp_path / "trees.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    kept = [{"question": "q", "meta": {"evolution": {"root_id": row["seed_id"], "node": 1}}} for row in rows]
    (tmp_path / "evolved.jsonl").write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")
    (tmp_path / "recipe.yaml").write_text("evolve: {strategy: beam}\n", encoding="utf-8")
    return tmp_path


def test_every_node_shows_its_action_its_scores_and_what_it_changed(run):
    """Refused ones with their reason, kept ones marked; model text is text."""
    page = search_trees(gather(run))
    assert "two" in page.split("<ins>")[1].split("</ins>")[0]
    assert "<strong>goals</strong> 6.00 <mark>kept</mark>" in page
    assert "<strong>new</strong> cut_off" in page
    assert "quality 5.50" in page
    assert "<script>" not in page
    assert page.count('class="search"') == 3
    assert "3 seeds, 0 rewriting calls: 9 texts, of which 6 passed gates and judge." in page


def test_a_run_without_a_search_has_no_such_section(tmp_path):
    """Nothing is drawn from nothing."""
    (tmp_path / "recipe.yaml").write_text("method: scotd\n", encoding="utf-8")
    assert search_trees(gather(tmp_path)) is None


def test_the_best_value_never_falls_and_a_tree_that_stopped_keeps_it():
    """One point per call; the mean over trees."""
    long, short = grown(), grown()
    short["nodes"] = short["nodes"][:2]
    short["nodes"][1]["value"] = 8.0
    assert growth([long]) == [(0, 5.0), (1, 6.0), (2, 6.0), (3, 6.0)]
    assert growth([long, short]) == [(0, 5.0), (1, 7.0), (2, 7.0), (3, 7.0)]
    assert growth([]) == []


def test_several_arms_are_several_lines():
    """Each is named."""
    figure = growth_figure({"beam": [grown()], "random": [grown()]})
    assert "beam" in figure and "random" in figure
    assert growth_figure({"beam": []}) is None


def test_a_difference_keeps_what_stayed_and_marks_the_rest():
    """Words are the unit; what was taken away is struck out."""
    assert difference("Explain comets now.", "Explain stars now.") == "Explain <del>comets</del><ins>stars</ins> now."
    assert difference("a < b", "a < b & c") == "a &lt; b<ins> &amp; c</ins>"


def test_a_compared_strategy_shows_its_search_of_a_seed_that_is_shown_too(run):
    """Beside the run's own trees, under its name, with visits where it has any."""
    (run / "recipe.yaml").write_text("evolve: {strategy: beam, compare: [best_of_n, tree]}\n", encoding="utf-8")
    rows = [grown(f"s{number}") for number in range(3)]
    for row in rows:
        row["nodes"][1]["visits"] = 7
    (run / "trees").mkdir()
    (run / "trees" / "tree.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    page = search_trees(gather(run))
    assert page.count('class="search"') == 4
    own, beside = page.split("Tree, the same seed")
    assert "quality 6.00, 7 visits" in beside
    assert "visits" not in own
    assert "Best of n" not in page


def test_a_line_that_is_no_tree_is_one_message(tmp_path):
    """It says whose line it is and what to do."""
    path = tmp_path / "trees.jsonl"
    assert tree_rows(path) == []
    for nodes in ("5", "[]", "[1]"):
        path.write_text(f'{{"seed_id": "s", "nodes": {nodes}}}\n')
        with pytest.raises(DataError, match=r"trees.jsonl: the line of seed 's' is no tree; remove it"):
            tree_rows(path)
