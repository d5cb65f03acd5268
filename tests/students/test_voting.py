"""Votes: who may vote, who wins, and how ties are settled."""

import math

import pytest

from potstill.errors import DataError
from potstill.records import Rationale, Status, Verdict
from potstill.students.voting import vote


def path(index, answer, status=Status.WRONG, logprob=None, kind="cot"):
    verdict = Verdict(rationale_id=str(index), status=status, answer=answer)
    return Rationale(id=str(index), problem_id="p", kind=kind, text="", index=index, logprob=logprob, verdict=verdict)


def outcome(paths, **options):
    found = vote(paths, **options)
    return found.answer, found.support, found.n_valid, found.tied


def test_the_most_frequent_answer_wins():
    """3 of 5, whatever its verdict."""
    paths = [path(1, "4"), path(2, "5"), path(3, "5"), path(4, "5"), path(5, "4", Status.CORRECT)]
    assert outcome(paths) == ("5", 3, 5, False)


def test_paths_without_a_valid_answer_cast_no_vote():
    """Two programs that failed and one text without answer do not outvote a single answer."""
    paths = [
        path(1, None, Status.NO_ANSWER),
        path(2, "error", Status.PROGRAM_FAILED),
        path(3, "error", Status.PROGRAM_FAILED),
        path(4, "7", Status.UNVERIFIED),
    ]
    found = vote(paths)
    assert (found.answer, found.support, found.n_valid, found.n_paths, found.margin) == ("7", 1, 1, 4, 1.0)


def test_nothing_valid_gives_no_answer():
    """Counted as wrong by whoever scores it, never as an answer."""
    found = vote([path(1, None, Status.NO_ANSWER)])
    assert (found.answer, found.support, found.n_valid, found.margin, found.winner) == (None, 0, 0, 0.0, None)


@pytest.mark.parametrize(("tie", "expected"), [("first", "4"), ("logprob", "5")])
def test_ties_are_settled_by_the_rule_that_is_asked_for(tie, expected):
    """Two votes each: the first seen, or the likelier path."""
    paths = [path(1, "4", logprob=-0.5), path(2, "5", logprob=-0.9), path(3, "5", logprob=-0.1), path(4, "4")]
    found = vote(paths, tie=tie)
    assert (found.answer, found.support, found.tied, found.margin) == (expected, 2, True, 0.0)
    assert found.winner.index == {"4": 1, "5": 3}[expected]


def test_by_likelihood_a_sure_path_outvotes_two_doubtful_ones():
    """A vote counts the geometric mean of its tokens' probabilities, times its kind's weight."""
    paths = [
        path(1, "4", logprob=math.log(0.3)),
        path(2, "4", logprob=math.log(0.4)),
        path(3, "5", logprob=0.0, kind="pot"),
    ]
    assert outcome(paths)[0] == "4"
    found = vote(paths, by="likelihood")
    assert (found.answer, found.support, found.margin) == ("5", 1.0, pytest.approx(0.3 / 1.7))
    assert vote(paths, by="likelihood", weights={"pot": 0.5}).answer == "4"
    assert vote([path(1, "4", logprob=-900.0)], by="likelihood").margin == 0.0


def test_by_likelihood_no_probability_is_guessed():
    """A path that would vote and brings none is an error; one without an answer needs none."""
    with pytest.raises(DataError, match=r"path 2 of problem p has no log-probability.*vote by count"):
        vote([path(1, "4", logprob=-1.0), path(2, "5")], by="likelihood")
    assert vote([path(1, "4", logprob=-1.0), path(2, None, Status.NO_ANSWER)], by="likelihood").answer == "4"


def test_answers_that_are_equal_count_together():
    """As judged by the answers' own comparison; an undecided pair stays apart."""
    paths = [path(1, "1/2"), path(2, "3"), path(3, "0.5"), path(4, "x")]
    assert outcome(paths, equal=lambda a, b: {a, b} == {"1/2", "0.5"} or None) == ("1/2", 2, 4, False)
    assert outcome(paths)[1] == 1


def test_the_margin_is_the_lead_over_the_runner_up():
    """3 against 1 of 4."""
    assert vote([path(1, "4"), path(2, "4"), path(3, "5"), path(4, "4")]).margin == 0.5


def test_unverified_paths_are_refused():
    """A verdict is what makes an answer comparable."""
    bare = Rationale(id="r1", problem_id="p", kind="cot", text="so 4")
    with pytest.raises(ValueError, match="r1 of problem p has no verdict; verify it first"):
        vote([bare])


def test_rules_for_ties_are_applied_one_after_another():
    """The greedy paths' answer first, then the likelier, then the first seen; greedy paths cast no vote."""
    paths = [path(1, "4", logprob=-0.1), path(2, "5", logprob=-0.9), path(3, "6", logprob=-0.5)]
    greedy = [path(0, "6", kind="cot"), path(0, "9", kind="pot")]
    rules = ("greedy", "logprob", "first")
    assert vote(paths, tie=rules, greedy=greedy).answer == "6"
    assert vote(paths, tie=rules, greedy=[path(0, "9")]).answer == "4"
    assert vote(paths, tie=rules, greedy=[path(0, "5", kind="cot"), path(0, "6", kind="pot")]).answer == "6"
    assert vote(paths, tie="greedy", greedy=[]).answer == "4"
    assert vote(paths, tie=rules, greedy=greedy).n_valid == 3


def test_votes_weigh_by_kind():
    """Two programs at weight 2 beat three chains of thought; a kind of weight 0 does not vote."""
    paths = [*(path(i, "4") for i in (1, 2, 3)), *(path(i, "5", kind="pot") for i in (4, 5))]
    found = vote(paths, weights={"pot": 2.0})
    assert (found.answer, found.support, found.margin, found.n_valid) == ("5", 4.0, pytest.approx(1 / 7), 5)
    assert vote(paths, weights={"cot": 0.0}).n_valid == 2
    assert vote(paths).answer == "4"
