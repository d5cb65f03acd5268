"""Which wrong answers a negative view speaks of."""

import pytest

from potstill.rationales.filtering import keep
from potstill.rationales.mentions import unmentioned
from potstill.records import Problem, Rationale, Status, Verdict

NLI = Problem(id="p", question="q", answer="neutral", labels=("entailment", "neutral", "contradiction"),
              answer_type="label")  # fmt: skip
BANK = Problem(id="p", question="q", answer="b", options=("a river", "a bank", "the New York mint"),
               answer_type="choice")  # fmt: skip
DOG = Problem(id="p", question="Is a dog a cat?", answer="no", answer_type="yesno")


def negative(text, problem=NLI, view="negative", status=Status.CORRECT):
    verdict = Verdict(rationale_id="r", status=status, answer=problem.answer)
    return Rationale(id="r", problem_id="p", kind="cot", text=text, view=view, problem=problem, verdict=verdict)


@pytest.mark.parametrize(
    ("text", "problem", "missing"),
    [
        ("Nothing is denied, so no contradiction. Not said, so no Entailment. So the answer is: neutral", NLI, []),
        ("Nothing is denied. So the answer is: neutral, not entailment or contradiction", NLI,
         ["entailment", "contradiction"]),
        ("It contradicts nothing, and entailment fails. So the answer is: neutral", NLI, ["contradiction"]),
        ("A river holds water, (c) makes coins. So the answer is: (b)", BANK, []),
        ("A river holds water; a New York shop. So the answer is: (b)", BANK, ["(c)"]),
        ("It barks, so yes is out. So the answer is: no", DOG, []),
        ("It barks, yesterday too. So the answer is: no", DOG, ["yes"]),
        ("anything", Problem(id="p", question="q", answer="3", answer_type="number"), []),
    ],
)  # fmt: skip
def test_every_wrong_answer_must_be_named_before_the_answer(text, problem, missing):
    """By its words, or a choice by its letter or text; the closing sentence does not count."""
    assert unmentioned(negative(text, problem)) == missing


def test_the_filter_leaves_out_a_negative_view_that_skips_a_label():
    """With a reason of its own; the positive view need not speak of other labels, and a wrong text stays wrong."""
    silent = "All is said. So the answer is: neutral"
    assert [drop.reason for drop in keep([negative(silent)])[1]] == ["label_not_mentioned"]
    assert "entailment, contradiction" in keep([negative(silent)])[1][0].detail
    assert keep([negative(silent, view="positive")])[1] == []
    assert keep([negative(silent, status=Status.WRONG)])[1][0].reason == "wrong"
