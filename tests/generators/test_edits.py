"""Edits are declared as spans and made by us; what the reply says beside them is only compared."""

import json
import random

import pytest

from potstill.generators.asking import Failed
from potstill.generators.edits import (
    Draft,
    apply,
    changed_words,
    edit_distance,
    fields_of,
    read_edit,
    rendered,
    tokens,
)
from potstill.records import Problem
from potstill.teachers.base import Completion

PAIR = Problem(
    id="p", question="Premise: A man sings.\nHypothesis: A man is silent.", answer="contradiction",
    answer_type="label", labels=("entailment", "neutral", "contradiction"),
    fields={"premise": "A man sings.", "hypothesis": "A man is silent."},
)  # fmt: skip
CHOICE = Problem(id="c", question="Where do you sleep?", answer="(a)", answer_type="choice", options=("bed", "road"))
BOTH = ["premise", "hypothesis"]


def said(value, finish="stop"):
    """Return a reply."""
    return Completion(text=value if isinstance(value, str) else json.dumps(value), finish=finish)


def ok(*edits, **more):
    """Return the reply of an editor."""
    return {"status": "ok", "edits": [dict(zip(("field", "old", "new"), edit, strict=True)) for edit in edits], **more}


@pytest.mark.parametrize(
    ("reply", "found"),
    [
        (ok(("premise", "sings", "is quiet")), Draft("premise", (("sings", "is quiet"),))),
        (ok(("premise", "a", "b"), edited="A b."), Draft("premise", (("a", "b"),), "A b.")),
        (ok(("premise", "a", "b"), edited={"premise": "A b."}), Draft("premise", (("a", "b"),), "A b.")),
        (f"```json\n{json.dumps(ok(('premise', 'a', 'b')))}\n```", Draft("premise", (("a", "b"),))),
        ("Sure! I would change sings to is quiet.", Failed("unparseable")),
        ('{"status": "ok", "edits": [{"field": "premise", "old": "sin', Failed("unparseable")),
        ({"status": "ok", "edits": [{"field": "premise", "old": "a"}]}, Failed("unparseable")),
        ({"status": "ok", "edits": "sings"}, Failed("unparseable")),
        ({"status": "done", "edits": []}, Failed("unparseable")),
        ({"status": "impossible", "edits": []}, Failed("impossible")),
        (ok(), Failed("no_edit")),
        (ok(("premise", "a", "b"), ("hypothesis", "a", "b")), Failed("several_fields")),
        (ok(("title", "a", "b")), Failed("unknown_field")),
    ],
)
def test_a_reply_is_a_declared_edit_or_a_named_failure(reply, found):
    """Prose is never taken for an edit."""
    assert read_edit(said(reply), PAIR, BOTH) == found


def test_a_field_that_may_not_be_edited_is_refused():
    """By its own reason, other than a field that does not exist."""
    assert read_edit(said(ok(("premise", "a", "b"))), PAIR, ["hypothesis"]) == Failed("not_editable")


@pytest.mark.parametrize("finish", ["refused", "empty", "error"])
def test_a_failed_completion_keeps_its_reason(finish):
    """And one that was cut is truncated."""
    assert read_edit(said("", finish), PAIR, BOTH) == Failed(finish)
    assert read_edit(said('{"status"', "length"), PAIR, BOTH) == Failed("truncated")


@pytest.mark.parametrize(
    "reply",
    [ok(("question", "sleep", "walk"), options=["bed", "street"]), ok(("options", "road", "street"))],
)
def test_options_stay_as_they_are(reply):
    """A reply that changes one is refused, whatever else it does."""
    assert read_edit(said(reply), CHOICE, ["question"]) == Failed("options_altered")


def test_options_may_be_repeated_unchanged():
    """That alters nothing."""
    reply = ok(("question", "sleep", "walk"), options=["bed", "road"])
    assert read_edit(said(reply), CHOICE, ["question"]) == Draft("question", (("sleep", "walk"),))


@pytest.mark.parametrize(
    ("text", "edits", "declared", "found"),
    [
        ("A man sings.", [("sings", "sleeps")], None, "A man sleeps."),
        ("A woman saw a man.", [("man", "dog")], None, "A woman saw a dog."),
        ("The big dog ran.", [("big", "")], None, "The dog ran."),
        ("He is not here.", [("here", "here at all"), ("not ", "")], None, "He is here at all."),
        ("A man sings.", [("dances", "sleeps")], None, Failed("span_not_found")),
        ("A man sings.", [("Sings", "sleeps")], None, Failed("span_not_found")),
        ("A man sings.", [(" ", "sleeps")], None, Failed("empty_span")),
        ("a man and a man", [("man", "dog")], None, Failed("span_ambiguous")),
        ("a man and a man", [("man", "dog")], "a man and a dog", "a man and a dog"),
        ("a man and a man", [("man", "dog"), ("man", "cat")], "a cat and a dog", "a cat and a dog"),
        ("A man sings.", [("man sings", "dog"), ("sings", "barks")], None, Failed("spans_overlap")),
        ("A man sings.", [("sings", "sleeps")], "A  man sleeps.", "A man sleeps."),
        ("A man sings.", [("sings", "sleeps")], "A man sleeps at home.", Failed("declared_text_differs")),
    ],
)
def test_edits_are_made_by_us_and_must_agree_with_the_declared_text(text, edits, declared, found):
    """A span is placed as a whole word; a repeated one where the declared text shows it."""
    assert apply(text, Draft("field", tuple(edits), declared)) == found


def test_a_thousand_repeated_spans_do_not_hang():
    """Only so many placings are tried."""
    text = "na " * 60
    assert apply(text, Draft("f", (("na", "no"), ("na", "ni"), ("na", "nu")), "nothing of it")) in (
        Failed("declared_text_differs"), Failed("spans_overlap"),
    )  # fmt: skip


def naive(a, b):
    """The table of Wagner and Fischer, row by row."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        row, before = [i, *row[1:]], row
        for j, y in enumerate(b, 1):
            row[j] = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (x != y))
    return row[-1]


def test_the_edit_distance_is_levenshteins():
    """On random sequences of few tokens, and beyond the width of a machine word."""
    rng = random.Random(0)
    for length in [0, 1, 2, 5, 9, 70, 130]:
        for _ in range(30 if length < 20 else 4):
            a = rng.choices("abcd", k=length)
            b = rng.choices("abcd", k=max(0, length + rng.randint(-3, 3)))
            assert edit_distance(a, b) == naive(a, b), (a, b)


def test_changed_words_are_those_that_went_and_came():
    """Marks do not count as words."""
    assert changed_words("He is here.", "He is not there!") == (("here",), ("not", "there"))
    assert tokens("Don't!") == ["don", "'", "t", "!"]


def test_a_question_is_put_together_anew_by_its_form():
    """The edited field takes the place of the old one."""
    edited = {**PAIR.fields, "hypothesis": "A man is loud."}
    form = "Premise: {premise}\nHypothesis: {hypothesis}"
    assert rendered(PAIR, edited, form) == "Premise: A man sings.\nHypothesis: A man is loud."
    assert rendered(PAIR, edited, None) == "Premise: A man sings.\nHypothesis: A man is loud."
    assert rendered(PAIR, edited, "{premise} / {hypothesis}") == "Premise: A man sings.\nHypothesis: A man is loud."


def test_a_question_that_does_not_show_its_field_once_cannot_be_put_together():
    """Rather than a wrong question there is none."""
    twice = Problem(id="t", question="a b a b", fields={"x": "a"}, answer="1")
    assert rendered(twice, {"x": "c"}, None) is None
    assert rendered(Problem(id="t", question="what?", fields={"x": "a"}), {"x": "c"}, None) is None


def test_a_problem_without_fields_has_its_question_as_the_one_field():
    """So everything can be edited."""
    assert fields_of(CHOICE) == {"question": "Where do you sleep?"}
    assert rendered(CHOICE, {"question": "Where do you walk?"}, None) == "Where do you walk?"
