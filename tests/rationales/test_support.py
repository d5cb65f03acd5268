"""The support test: what the reader sees, and what its reply means."""

import json

import pytest
from toy_labels import original

from potstill.rationales.filtering import keep
from potstill.rationales.support import can_be_read, masked, reading, support_messages
from potstill.recipe.rationales import FilterConfig, SupportConfig
from potstill.records import Problem, Rationale, Status, Verdict
from potstill.teachers.base import Completion

BANK = Problem(id="c", question="q", options=("river", "savings bank"), answer="b", answer_type="choice")
READ = FilterConfig(support=SupportConfig())


def of(problem, text="It rises, so down is out. So the answer is: up", **more):
    verdict = Verdict(rationale_id="r", status=Status.CORRECT, answer=problem.answer)
    return Rationale(id="r", problem_id=problem.id, kind="cot", text=text, problem=problem, verdict=verdict, **more)


def reply(text, **more):
    return reading(Completion(text=text, finish="stop", **more), of(original(0)))


@pytest.mark.parametrize(
    ("text", "problem", "seen"),
    [
        ("It rises: UP, not down. So the answer is: up", original(0), "It rises: ___, not ___."),
        ("The update says so.\nThe answer is up.", original(0), "The ___date says so."),
        ("A savings bank keeps money, (a) does not. So the answer is: (b)", BANK, "A ___ keeps money, ___ does not."),
    ],
)
def test_neither_the_answer_nor_a_label_is_seen(text, problem, seen):
    """Labels are masked in any case and form, whole words alone; the closing sentence is cut."""
    if "update" in text:
        seen = "The update says so."
    assert masked(text, problem) == seen


def test_the_reader_is_shown_the_masked_reasoning_and_the_label_set_alone():
    """Another label, item or answer leaves the prompt as it is; the labels' order is drawn by the reasoning."""
    [message] = support_messages(of(original(0)), about="Which way?")
    assert message["content"].startswith("Which label does this reasoning support?")
    assert "<<<\nIt rises, so ___ is out.\n>>>" in message["content"]
    assert "Task: Which way?\n" in message["content"]
    turned = of(original(1), "It rises, so up is out. So the answer is: down")
    assert support_messages(turned, about="Which way?")[0] == message


@pytest.mark.parametrize(
    ("text", "label", "supported", "reason"),
    [
        ('{"label": "up", "none": false}', "up", True, ""),
        ('Sure: {"label": "UP"} is what I think', "up", True, ""),
        ('{"label": "down"}', "down", False, "another_label"),
        ('{"label": null, "none": true}', None, False, "none"),
        ("It is up.", None, None, "unparseable"),
        ('{"label": "sideways"}', None, None, "no_such_label"),
    ],
)
def test_a_reply_recovers_the_label_or_not_or_cannot_be_read(text, label, supported, reason):
    """What cannot be read is no verdict on the rationale."""
    assert reply(text) == {"label": label, "supported": supported, "reason": reason}


def test_a_failed_request_is_unread():
    """With the failure's own reason."""
    failed = Completion(text="", finish="error", reason="http_500")
    assert reading(failed, of(original(0))) == {"label": None, "supported": None, "reason": "http_500"}


def test_the_filter_drops_what_a_reader_did_not_recover():
    """With a reason each; what was not put to the test passes, and without the test nothing changes."""
    said = {"label": "down", "supported": False, "reason": "another_label"}
    cases = {None: None, True: None, False: "unsupported"}
    for supported, reason in cases.items():
        meta = {} if supported is None else {"support": {**said, "supported": supported}}
        assert [drop.reason for drop in keep([of(original(0), meta=meta)], READ)[1]] == ([reason] if reason else [])
    unread = of(original(0), meta={"support": {"label": None, "supported": None, "reason": "unparseable"}})
    assert [(d.reason, "unparseable" in d.detail) for d in keep([unread], READ)[1]] == [("support_unread", True)]
    assert keep([unread])[1] == []


def test_only_chains_of_thought_of_a_closed_set_are_read():
    """A number has no label to recover."""
    assert can_be_read(of(original(0)))
    assert not can_be_read(of(Problem(id="n", question="q", answer="3", answer_type="number"), json.dumps(3)))
