"""Problem families: what is one problem, and what that contaminates."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from potstill.rationales.families import body, families, mask, neighbours, related, similar_pairs
from potstill.records import Problem

APPLES = "Ann picks {} red apples and {} green apples in the old orchard. How many apples does she pick?"


def problem(id, question, **fields):
    return Problem(id=id, question=question, **fields)


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("Joan found 1,070 sea-shells; she gave Sam twenty-seven.", "joan found # sea shells she gave sam #"),
        ("It costs $5.50, or 3/4 of 12%.", "it costs # or # of #"),
        ("One hundred and five CAFÉS", "# cafes"),
        ("Tom's 2nd book", "tom's # nd book"),
        ("", ""),
    ],
)
def test_masking_folds_numbers_case_accents_and_punctuation(text, masked):
    """Numbers in digits and in words become one sign."""
    assert mask(text) == masked


def test_a_body_is_a_text_without_its_questions():
    """Two questions about one story have the same body."""
    story = "Each pack of dvds costs 76 dollars and there is a discount of 25 dollars."
    first, second = body(f"{story} How much is a pack?"), body(f"How many can you buy? {story}")
    assert first == second == "each pack of dvds costs # dollars and there is a discount of # dollars"


def test_a_short_body_gives_way_to_the_whole_text():
    """Problems are not joined by a phrase that says nothing."""
    assert body("Ann has 3 dogs. How many legs have they?") == "ann has # dogs how many legs have they"


def test_numbers_names_and_chains_join_a_family():
    """Other numbers, another question about the same story, and near-duplicates are one family; the rest is not."""
    rows = [
        problem("a", APPLES.format(3, 4)),
        problem("b", APPLES.format("twelve", 7)),
        problem("c", "Ann picks 3 red apples and 4 green apples in the old orchard. Which colour is more frequent?"),
        problem("d", APPLES.format(3, 4).replace("Ann", "Bea").replace("orchard", "garden")),
        problem("e", "A train leaves at noon and travels 60 miles in an hour. When does it arrive?"),
    ]
    family = families(rows)
    assert family["a"] == family["b"] == family["c"] == family["d"]
    assert family["e"] != family["a"]


def test_a_derived_problem_is_of_its_parents_family():
    """A contrast item stays with what it was made of, however its text differs."""
    rows = [problem("a", "What is heavier, a feather or a stone?"), problem("b", "Name a light thing", parent_id="a")]
    family = families(rows)
    assert family["a"] == family["b"]


def test_a_source_that_knows_its_families_is_believed():
    """A generated world is one pattern with other numbers; its own families are its only ties."""
    rows = [problem(str(i), APPLES.format(i, i + 1), meta={"family": f"walk {i}"}) for i in range(3)]
    assert len(set(families(rows).values())) == 3
    again = problem("again", "Something else entirely, in other words", meta={"family": "walk 0"})
    assert families([*rows, again])["again"] == families(rows)["0"]


def test_families_do_not_depend_on_the_order_of_rows():
    """Shuffling the rows changes no family id."""
    rows = [
        problem(str(i), f"{w} has {i} kites and loses {i} of them. How many are left?") for i, w in enumerate("abc")
    ]
    rows.append(problem("x", "The moon turns around the earth once in a month, more or less. How often in a year?"))
    expected = families(rows)
    for seed in range(5):
        random.Random(seed).shuffle(rows)
        assert families(rows) == expected


def test_adding_unrelated_rows_renames_no_family():
    """The id of a family is its own members' alone."""
    rows = [problem("a", APPLES.format(3, 4)), problem("b", APPLES.format(5, 6))]
    more = [problem("z", "How deep is the lake behind the hill where the two rivers meet in spring?")]
    before, after = families(rows), families([*more, *rows])
    assert before == {key: after[key] for key in before}


def test_contamination_names_the_evaluated_problem_and_the_tie():
    """A training problem of an evaluated family is reported with where it was found; others are not."""
    train = [problem("t1", APPLES.format(8, 9)), problem("t2", "How long is a mile in feet, roughly and in steps?")]
    test = [problem("e1", APPLES.format(3, 4), split="test")]
    found = related(train, test)
    assert list(found) == ["t1"]
    assert found["t1"].startswith("e1 in split test: same text up to its numbers")


def test_contamination_follows_chains():
    """A training problem tied to an evaluated one only through another training problem is contaminated too."""
    words = [
        "red",
        "blue",
        "green",
        "black",
        "white",
        "brown",
        "pink",
        "grey",
        "gold",
        "lime",
        "rose",
        "teal",
        "rust",
        "sand",
    ]
    chain = [" ".join(words[i : i + 8]) for i in (0, 2, 4)]
    test = [problem("e", chain[0], split="test")]
    train = [problem("near", chain[1]), problem("far", chain[2])]
    found = related(train, test)
    assert "word Jaccard 0.60" in found["near"]
    assert "through other problems" in found["far"]
    assert related(train[1:], test) == {}


def test_neighbours_are_direct_and_come_with_their_similarity():
    """The distance of two data sets follows no chains."""
    words = [
        "red",
        "blue",
        "green",
        "black",
        "white",
        "brown",
        "pink",
        "grey",
        "gold",
        "lime",
        "rose",
        "teal",
        "rust",
        "sand",
    ]
    near = neighbours(
        [problem("a", " ".join(words[:8])), problem("b", "none of this")], [problem("c", " ".join(words[2:10]))]
    )
    assert near == {"a": ("c", 0.6)}


@given(
    st.lists(st.frozensets(st.sampled_from("abcdefgh"), max_size=6), max_size=25),
    st.sampled_from([0.3, 0.5, 0.6, 0.8, 1.0]),
)
def test_similar_pairs_are_exactly_those_above_the_threshold(sets, near):
    """The index misses no pair and adds none."""
    expected = {
        (i, j)
        for j in range(len(sets))
        for i in range(j)
        if sets[i] and sets[j] and len(sets[i] & sets[j]) / len(sets[i] | sets[j]) >= near
    }
    assert {(i, j) for i, j, _ in similar_pairs(sets, near)} == expected


def test_similar_pairs_across_a_boundary_leave_out_those_within():
    """With a boundary, only pairs of one side and the other are compared."""
    sets = [frozenset("abc")] * 4
    assert {(i, j) for i, j, _ in similar_pairs(sets, 0.9, boundary=2)} == {(0, 2), (0, 3), (1, 2), (1, 3)}
