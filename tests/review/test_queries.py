"""Filters, search and order of a list."""

import pytest

from potstill.errors import DataError
from potstill.review import decisions
from potstill.review.indexing import Indexer
from potstill.review.queries import Filters, facets, family, find, match_expression, neighbour, sizes, votes


@pytest.fixture
def index(run):
    """The index of the small run, with one rejection."""
    decisions.append(run, {"by": "Ada", "action": "reject", "stage": "rationales", "job": "", "record": "r-p1-cot-1"})
    indexer = Indexer(run)
    indexer.catch_up()
    yield indexer.index
    indexer.index.close()


def ids(index, **query):
    return [row["id"] for row in find(index, Filters.read(query)).rows]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, ["r-p1-cot-0", "r-p1-cot-1", "r-p1-pot-0"]),
        ({"kind": "pot"}, ["r-p1-pot-0"]),
        ({"status": "WRONG"}, ["r-p1-cot-1"]),
        ({"dropped": "wrong"}, ["r-p1-cot-1"]),
        ({"review": "rejected"}, ["r-p1-cot-1"]),
        ({"review": "none"}, ["r-p1-cot-0", "r-p1-pot-0"]),
        ({"review": "any"}, ["r-p1-cot-1"]),
        ({"q": "times"}, ["r-p1-cot-1"]),
        ({"q": "tim"}, ["r-p1-cot-1"]),
        ({"q": '"4 is"'}, ["r-p1-cot-0", "r-p1-cot-1"]),
        ({"q": "4 is", "status": "CORRECT"}, ["r-p1-cot-0"]),
        ({"q": "***"}, []),
        ({"q": 'NEAR(" OR text:'}, []),
        ({"shortest": "6"}, ["r-p1-pot-0"]),
        ({"longest": "5"}, ["r-p1-cot-0", "r-p1-cot-1"]),
        ({"order": "longest"}, ["r-p1-pot-0", "r-p1-cot-1", "r-p1-cot-0"]),
        ({"disputed": "1"}, ["r-p1-cot-0", "r-p1-cot-1", "r-p1-pot-0"]),
        ({"stage": "predictions", "job": "scotd", "split": "test"}, ["scotd-p2", "scotd-p3"]),
        ({"stage": "predictions", "disputed": "1"}, []),
        ({"stage": "problems", "source": "shop"}, ["p1", "p3"]),
        ({"stage": "problems", "q": "apples"}, ["p1", "p3"]),
        ({"stage": "examples", "q": "think"}, ["e1"]),
    ],
)
def test_filters_and_search_find_what_they_say(index, query, expected):
    """Each filter alone, several together, and words that are the search's own syntax."""
    assert ids(index, **query) == expected


@pytest.mark.parametrize("order", ["file", "next", "calibration", "shortest", "longest"])
def test_going_from_one_record_to_the_next_is_the_list_in_its_order(index, order):
    """And back the same way."""
    filters = Filters.read({"order": order})
    listed = [row["n"] for row in find(index, filters).rows]
    walked = [listed[0]]
    while (after := neighbour(index, filters, walked[-1])) is not None:
        walked.append(after)
    assert walked == listed
    assert neighbour(index, filters, listed[-1], is_back=True) == listed[-2]


def test_values_of_filters_come_with_their_counts(index):
    """So that a choice shows what it will find."""
    assert facets(index, "rationales")["status"] == {"CORRECT": 2, "WRONG": 1}
    assert sizes(index) == {"rationales": 3, "predictions": 4, "examples": 1, "problems": 3, "instructions": 0}


@pytest.mark.parametrize(
    "query", [{"order": "best"}, {"stage": "x"}, {"page": "-1"}, {"shortest": "a"}, {"review": "x"}]
)
def test_a_value_that_a_filter_cannot_have_is_said(index, query):
    """With what it can."""
    with pytest.raises(DataError, match="expected"):
        ids(index, **query)


def test_what_a_person_types_is_words_and_phrases():
    """Never the search engine's syntax."""
    assert match_expression('so "the answer" is ni') == '"so" "the answer" "is" "ni"*'
    assert match_expression('a"b (c)') == '"a" "b" "(c)"*'
    assert match_expression("...") == ""


def test_an_address_keeps_the_filters(index):
    """And leaves out what is as usual."""
    filters = Filters.read({"kind": "cot", "q": "a b", "page": "2", "order": "file"})
    assert filters.address() == "/?stage=rationales&kind=cot&q=a+b&page=2"
    assert filters.address(page="") == "/?stage=rationales&kind=cot&q=a+b"


def test_problems_know_their_family_and_their_votes(index):
    """A problem that was made from another stands below it."""
    assert [(depth, row["id"]) for depth, row in family(index, "p3")] == [(0, "p1"), (1, "p3")]
    found = [(row["kind"], row["answer"], row["count"]) for row in votes(index, "p1")]
    assert sorted(found) == [("cot", "12", 1), ("cot", "7", 1), ("pot", "7", 1)]
