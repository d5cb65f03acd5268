"""Blind comparison: pairs, sides, preference, agreement."""

import random

import pytest

from potstill.errors import ConfigError
from potstill.review.comparing import Comparison, a_is_first, judgement, outcome, pairs_of, sources
from potstill.review.indexing import Indexer

BOTH = Comparison(a="scotd", b="untrained", n=10)


@pytest.fixture
def index(run):
    """The index of the small run."""
    indexer = Indexer(run)
    indexer.catch_up()
    yield indexer.index
    indexer.index.close()


def chosen(comparison, pairs, rater, prefers, start=0):
    """Return judgements of a rater who prefers a, b or same."""
    rows = []
    for number, pair in enumerate(pairs, start=start):
        first = a_is_first(comparison, pair.problem, rater)
        wanted = prefers(pair)
        choice = "same" if wanted == "same" else "first" if (wanted == "a") == first else "second"
        rows.append({"id": f"{rater}{number}", **judgement(comparison, pair, rater, choice)})
    return rows


def many(n):
    from potstill.review.comparing import Pair

    return [Pair(f"p{number}", "task", 2 * number, 2 * number + 1) for number in range(n)]


def test_pairs_are_the_problems_that_both_answered(index):
    """With the texts of each, in an order drawn by seed."""
    assert sources(index) == ["big", "scotd", "untrained"]
    pairs = pairs_of(index, BOTH)
    assert {pair.problem for pair in pairs} == {"p2", "p3"}
    names = [
        tuple(index.execute("SELECT job FROM items WHERE n = ?", (n,)).fetchone()[0] for n in (p.a, p.b)) for p in pairs
    ]
    assert set(names) == {("scotd", "untrained")}


def test_only_pairs_that_are_both_right_where_asked(index):
    """The untrained student is never right, so there is none, and the message says so."""
    with pytest.raises(ConfigError, match=r"share no problem whose answers are both right"):
        pairs_of(index, Comparison(a="scotd", b="untrained", only_right=True))
    assert len(pairs_of(index, Comparison(a="big:cot", b="big:pot", only_right=True))) == 1


def test_an_unknown_source_is_named_with_those_that_there_are(index):
    """A typing error is one message."""
    with pytest.raises(ConfigError, match=r"'scotdd' is no source of this run; expected one of big, scotd, untrained"):
        pairs_of(index, Comparison(a="scotdd", b="untrained"))


def test_a_system_may_be_called_after_a_kind(run):
    """`pot` is the system, `pot:cot` its chains of thought."""
    for name in ("predictions", "verdicts"):
        (run / name / "scotd.jsonl").rename(run / name / "pot.jsonl")
    indexer = Indexer(run)
    indexer.catch_up()
    for name in ("pot", "pot:cot"):
        pairs = pairs_of(indexer.index, Comparison(a=name, b="untrained"))
        assert sorted(pair.problem for pair in pairs) == ["p2", "p3"]
    with pytest.raises(ConfigError, match="share no problem"):
        pairs_of(indexer.index, Comparison(a="pot:pot", b="untrained"))


def test_sides_are_drawn_for_each_pair_and_rater():
    """About half of them each way, and not the same for two raters."""
    sides = {rater: [a_is_first(BOTH, f"p{n}", rater) for n in range(400)] for rater in ("Ada", "Bo")}
    assert all(160 < sum(of) < 240 for of in sides.values())
    assert 160 < sum(x == y for x, y in zip(*sides.values(), strict=True)) < 240


def test_a_name_in_an_address_tells_nothing():
    """Neither source is in the key."""
    assert len(BOTH.key) == 16
    assert "scotd" not in BOTH.key


def test_known_preferences_come_out_whatever_side_they_stood_on():
    """70 of 100 pairs for a, by one rater: rate, Wilson interval, sign test."""
    pairs = many(100)
    rows = chosen(BOTH, pairs, "Ada", lambda pair: "a" if int(pair.problem[1:]) < 70 else "b")
    found = outcome(BOTH, rows, 100)
    assert (found["rate"], found["a_preferred"], found["b_preferred"], found["by"]) == (0.7, 70, 30, "wilson")
    assert (round(found["low"], 3), round(found["high"], 3)) == (0.604, 0.781)
    assert found["p"] == pytest.approx(7.85e-05, rel=0.01)
    assert found["alpha"] is None
    assert 0.3 < found["first_chosen"] < 0.7


def test_several_raters_count_as_one_pair_and_their_agreement_is_told():
    """Two who always agree and one who decides by a coin."""
    pairs, coin = many(60), random.Random(1)
    agreed = [
        *chosen(BOTH, pairs, "Ada", lambda p: "ab"[int(p.problem[1:]) % 2]),
        *chosen(BOTH, pairs, "Bo", lambda p: "ab"[int(p.problem[1:]) % 2]),
    ]
    found = outcome(BOTH, agreed, 60)
    assert (found["judged_pairs"], found["judgements"], found["rate"], found["alpha"]) == (60, 120, 0.5, 1.0)
    found = outcome(BOTH, [*agreed, *chosen(BOTH, pairs, "Cy", lambda p: coin.choice("ab"))], 60)
    assert 0.1 < found["alpha"] < 0.7
    assert found["by"].startswith("bootstrap")
    assert found["low"] < found["rate"] < found["high"]


def test_no_difference_is_half_and_no_vote_in_the_test():
    """And counted."""
    found = outcome(BOTH, chosen(BOTH, many(10), "Ada", lambda pair: "a" if pair.problem == "p1" else "same"), 10)
    assert (found["rate"], found["a_preferred"], found["undecided"], found["p"]) == (pytest.approx(0.55), 1, 9, 1.0)


def test_an_undone_judgement_does_not_count_and_a_second_one_replaces_the_first():
    """The last one that stands is the rater's."""
    pairs = many(2)
    rows = chosen(BOTH, pairs, "Ada", lambda pair: "a")
    rows.append({"id": "u", "action": "undo", "by": "Ada", "undoes": "Ada0"})
    rows += chosen(BOTH, pairs[1:], "Ada", lambda pair: "b", start=7)
    found = outcome(BOTH, rows, 2)
    assert (found["judged_pairs"], found["b_preferred"]) == (1, 1)


def test_nothing_judged_is_no_number():
    """Not zero."""
    assert outcome(BOTH, [], 5)["rate"] is None
