"""Contamination: which training problems are an evaluated problem again, in other numbers or other words."""

from __future__ import annotations

import random

import pytest

from potstill.rationales.contamination import contaminated, content_words, facts, retold
from potstill.records import Problem

HEELS = (
    "Three of the women at the cocktail party are wearing 4 inch heels and three are wearing 2 inch heels. "
    "What is the average height of heels at this party?"
)
"""GSM8K, test split (openai/grade-school-math, MIT)."""
HEELS_RETOLD = (
    "At a party with cocktails there are three ladies whose heels are 4 inches high and three other women with heels "
    "of 2 inches. Can you calculate the average height of the heels there?"
)
CLEAN = (
    "Weng earns $12 an hour for babysitting. Yesterday, she just did 50 minutes of babysitting. How much did she earn?",
    "Three farmers own 4 horses each and 2 cows. What does the feed for the animals cost at 3 dollars each?",
    "The average height of the women at this party is 170 cm. How many centimetres are 5 feet 2 inches?",
)


def problem(id, question, **fields):
    return Problem(id=id, question=question, **fields)


def test_a_retelling_with_the_same_numbers_is_found_and_the_tie_named():
    """Other words, another order, numbers in words: the same facts about the same things."""
    found = contaminated([problem("t", HEELS_RETOLD)], [problem("e", HEELS, split="test")])
    assert found["t"].startswith("e in split test: same numbers in similar words, word cosine 0.")


def test_problems_that_share_only_words_or_only_numbers_are_kept():
    """Women at a party, or the numbers 3, 4, 3 and 2, are not enough by themselves."""
    train = [problem(str(i), text) for i, text in enumerate(CLEAN)]
    assert contaminated(train, [problem("e", HEELS, split="test")]) == {}


def test_a_copy_inside_a_longer_prompt_is_found_by_its_passages():
    """Also with other numbers, which families cannot see past that much other text."""
    around = (
        "You are a careful tutor who explains every step to a young pupil and never skips one. {} Answer in French."
    )
    train = [problem("t", around.format(HEELS.replace("4 inch", "9 inch")))]
    found = contaminated(train, [problem("e", HEELS, split="test")])
    assert "100% of its runs of 8 words are repeated" in found["t"]


def test_a_problem_of_the_same_family_is_named_by_its_family():
    """The first and strongest tie is the one that is reported."""
    found = contaminated([problem("t", HEELS.replace("4", "7"))], [problem("e", HEELS, split="test")])
    assert "same text up to its numbers" in found["t"]


def test_a_question_reworded_around_the_same_options_is_found():
    """Choice questions keep their options; two options are shared by too many questions."""
    options = ("blotter", "fountain pen", "school desk", "letter box", "sponge")
    train = [
        problem("same", "What can soak up ink from a fountain's pen?", options=options[::-1]),
        problem("other", "What can soak up ink from a fountain's pen?", options=("rain", "sun", "wind")),
        problem("two", "What soaks ink from a pen?", options=("yes", "no")),
    ]
    test = [
        problem("e1", "What is used to soak up extra ink from a pen?", options=options, split="test"),
        problem("e2", "Who soaks pens in ink?", options=("yes", "no"), split="test"),
    ]
    found = retold(train, test)
    assert list(found) == ["same"]
    assert "same options" in found["same"]


def test_texts_without_numbers_need_more_words_in_common():
    """A question asked the other way round is found, one about the same matter is not."""
    test = [problem("e", "What will increase when a dark substance absorbs solar energy?", split="test")]
    train = [
        problem("same", "If a dark substance can absorb solar energy, then what will have increased?"),
        problem("other", "Which substance stores solar energy for the night?"),
    ]
    assert list(retold(train, test)) == ["same"]


def test_a_source_that_knows_its_families_is_believed():
    """A generated problem has no tie but its own family."""
    train = [problem("t", HEELS_RETOLD, meta={"family": "a"})]
    assert contaminated(train, [problem("e", HEELS, split="test", meta={"family": "b"})]) == {}
    assert contaminated(train, [problem("e", HEELS, split="test")]) == {}


def test_a_tie_is_a_matter_of_two_texts_alone():
    """Neither the order of the rows nor other rows change what is found, or why."""
    test = [problem("e", HEELS, split="test")]
    alone = contaminated([problem("t", HEELS_RETOLD)], test)
    train = [problem("t", HEELS_RETOLD), *(problem(str(i), text) for i, text in enumerate(CLEAN))]
    for seed in range(4):
        random.Random(seed).shuffle(train)
        assert contaminated(train, test) == alone


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("twice as many as twenty-seven, and 1,070 more", {2: 1, 27: 1, 1070: 1}),
        ("half of 1/2 of 12%, 12 times", {0.5: 2, 12: 2}),
        ("no number at all", {}),
    ],
)
def test_facts_are_numbers_however_they_are_written(text, numbers):
    """In figures, in words, as multiples."""
    assert facts(text) == numbers


def test_endings_are_cut_alike():
    """Singular and plural, and the forms of a verb, are one word."""
    assert content_words("She stops hopping boxes") == content_words("Stopped: they hop a box!")
    assert content_words("") == frozenset()
