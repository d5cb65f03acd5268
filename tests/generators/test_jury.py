"""A blind jury: what it sees, how votes are read, and what they add up to."""

import json
from dataclasses import replace

import pytest

from potstill.generators.jury import (
    Vote,
    family_of,
    is_lost,
    jurors_for,
    jury_messages,
    option_scores,
    order,
    read_vote,
    verdict,
)
from potstill.generators.targets import Task, labels_of
from potstill.recipe.counterfactual import JuryConfig
from potstill.recipe.teachers import TeacherConfig
from potstill.records import Problem
from potstill.teachers.base import Completion

NLI = ("entailment", "neutral", "contradiction")
PAIR = Problem(
    id="p", question="Premise: A man sings.\nHypothesis: A man is silent.", answer="contradiction",
    answer_type="label", labels=NLI, fields={"premise": "A man sings.", "hypothesis": "A man is silent."},
)  # fmt: skip
CHOICE = Problem(
    id="c", question="Where do you sleep?", answer="(a)", answer_type="choice", options=("bed", "road", "oven")
)
TASK = Task("Does one text follow from the other?", definitions={"neutral": "it is left open"})
JURY = JuryConfig()


def teacher(model, **more):
    """Return a teacher."""
    return TeacherConfig(base_url="http://127.0.0.1:9/v1", model=model, **more)


def votes(labels, juror="a", **more):
    """Return votes; a dash is one that could not be read."""
    return [Vote(juror, None if x == "-" else x, fault="unparseable" if x == "-" else "", **more) for x in labels]


def shown(problem, number=0, seed=0):
    """Return what a juror is sent."""
    return jury_messages(problem, TASK, order([*labels_of(problem)], problem.question, number, seed))


def test_a_juror_sees_the_edited_item_and_the_label_set_alone():
    """The label, the parent, and all that is known of the edit change nothing."""
    told = replace(
        PAIR, id="other", answer="neutral", parent_id="original", split="test", source="x",
        meta={"counterfactual": {"from": "neutral", "to": "contradiction", "edits": [["loud", "silent"]]}},
    )  # fmt: skip
    for number in range(6):
        assert shown(told, number) == shown(PAIR, number)
    assert "name: text" not in shown(PAIR)[1]["content"]
    assert "premise: A man sings.\nhypothesis: A man is silent." in shown(PAIR)[1]["content"]
    assert "- neutral: it is left open" in shown(PAIR)[1]["content"]


def test_labels_are_shuffled_per_vote():
    """By what is seen and the number of the vote."""
    orders = {tuple(order(NLI, "item", number)) for number in range(30)}
    assert len(orders) == 6
    assert order(NLI, "item", 4) == order(NLI, "item", 4)
    assert order(NLI[::-1], "item", 4) in [list(one) for one in orders]


def test_options_are_lettered_anew_in_the_order_of_the_vote():
    """And read back as the options that they are."""
    content = jury_messages(CHOICE, TASK, ["(c)", "(a)", "(b)"])[1]["content"]
    assert "(a) oven\n(b) bed\n(c) road" in content
    reply = json.dumps({"label": "(b)", "confidence": 0.8, "scores": {"(a)": 0.1, "b": 0.9, "road": 0.2, "x": 1}})
    vote = read_vote(Completion(text=reply, finish="stop"), CHOICE, ["(c)", "(a)", "(b)"], "j")
    assert (vote.label, vote.confidence) == ("(a)", 0.8)
    assert vote.scores == {"(c)": 0.1, "(a)": 0.9, "(b)": 0.2}


@pytest.mark.parametrize(
    ("text", "finish", "vote"),
    [
        ('{"label": "Neutral", "confidence": 0.7, "ambiguous": true}', "stop", Vote("j", "neutral", 0.7, True)),
        ('I say {"label": "neutral"}.', "stop", Vote("j", "neutral")),
        ('{"label": "neutral", "confidence": 7, "ambiguous": "yes"}', "stop", Vote("j", "neutral")),
        ('{"label": "maybe"}', "stop", Vote("j", fault="no_such_label")),
        ('{"label": null}', "stop", Vote("j", fault="no_such_label")),
        ("It is neutral.", "stop", Vote("j", fault="unparseable")),
        ('{"label": "neu', "length", Vote("j", fault="truncated")),
        ("", "refused", Vote("j", fault="refused")),
    ],
)
def test_a_vote_is_read_strictly(text, finish, vote):
    """Prose is no vote."""
    assert read_vote(Completion(text=text, finish=finish), PAIR, NLI, "j") == vote


def test_yes_and_no_may_come_as_json_booleans():
    """True is yes."""
    problem = Problem(id="y", question="Is it?", answer="yes", answer_type="yesno")
    assert read_vote(Completion(text='{"label": false}', finish="stop"), problem, ["yes", "no"], "j").label == "no"


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        ("ccccc", ""), ("ccccn", ""), ("nnnnn", "unflipped"), ("eeeen", "other_label"), ("cccnn", "no_majority"),
        ("cceen", "no_majority"), ("-----", "unread_votes"), ("cc---", "unread_votes"), ("ccc-n", "no_majority"),
        ("nn", "unflipped"), ("ccc--", "unread_votes"),
    ],
)  # fmt: skip
def test_enough_votes_must_name_the_wanted_label(labels, reason):
    """And if they do not, the reason says what they name instead."""
    names = {"c": "contradiction", "n": "neutral", "e": "entailment", "-": "-"}
    found = verdict(votes([names[x] for x in labels]), PAIR, "contradiction", "neutral", JURY)
    assert (found.reason, found.ok) == (reason, not reason)


def test_an_item_that_jurors_call_ambiguous_is_refused():
    """One of five may."""
    cast = votes(["contradiction"] * 3) + votes(["contradiction"] * 2, ambiguous=True)
    assert verdict(cast, PAIR, "contradiction", "neutral", JURY).reason == "ambiguous"
    assert verdict([*cast[:4], cast[0]], PAIR, "contradiction", "neutral", JURY).ok


def test_no_family_may_disagree_by_its_majority():
    """However many votes the other has."""
    cast = [*votes(["contradiction"] * 5, "a"), *votes(["neutral"], "b")]
    jury = JuryConfig(votes=6)
    assert verdict(cast, PAIR, "contradiction", "neutral", jury, {"a": "x", "b": "y"}).reason == "family_disagrees"
    assert verdict(cast, PAIR, "contradiction", "neutral", jury, {"a": "x", "b": "x"}).ok


def test_of_a_choice_the_wanted_option_must_be_right_and_no_other_one():
    """Two options that both fit make a bad question, whatever the votes prefer."""
    sure = votes(["(a)"] * 5, confidence=0.9)
    assert verdict(sure, CHOICE, "(a)", "(b)", JURY).ok
    both = votes(["(a)"] * 5, scores={"(a)": 0.9, "(b)": 0.7, "(c)": 0.0})
    assert verdict(both, CHOICE, "(a)", "(b)", JURY).reason == "rival_option"
    weak = votes(["(a)"] * 5, scores={"(a)": 0.5, "(b)": 0.1, "(c)": 0.0})
    assert verdict(weak, CHOICE, "(a)", "(b)", JURY).reason == "rival_option"
    assert option_scores(votes(["(a)", "(b)"], confidence=0.5), labels_of(CHOICE)) == {
        "(a)": 0.375, "(b)": 0.375, "(c)": 0.25,
    }  # fmt: skip


def test_voting_ends_when_the_target_is_lost():
    """Two of five against, read or not."""
    assert not is_lost(votes(["neutral"]), "contradiction", JURY)
    assert is_lost(votes(["neutral", "-"]), "contradiction", JURY)


def test_jurors_are_of_another_family_where_there_is_one():
    """Else others, else the writer itself."""
    writer, kin, other = teacher("Qwen/Qwen3-8B"), teacher("qwen2.5-72b"), teacher("gpt-4o")
    assert jurors_for(writer, [writer, kin, other], {}) == [other]
    assert jurors_for(writer, [writer, kin], {}) == [kin]
    assert jurors_for(writer, [writer], {}) == [writer]
    assert jurors_for(writer, [writer, kin, other], {"qwen2.5-72b": "another", "gpt-4o": "qwen"}) == [kin]
    assert family_of(teacher("meta-llama/Llama-3.1-70B"), {}) == "llama"
