"""Filters on an edited item: what people write passes, what is no minimal edit does not."""

import random

import pytest

from potstill.generators.filters import (
    Case,
    banned_text,
    cheap,
    copied,
    cut_off,
    first_refusal,
    fluency,
    is_negation,
    label_leak,
    length_ratio,
    minimality,
    signature,
    similarity,
    unchanged,
)
from potstill.recipe.counterfactual import FluencyConfig, LimitsConfig, SimilarityConfig
from potstill.records import Problem

LIMITS = LimitsConfig()
STREET = "A long sentence about something that happens on a street in a small town."
NLI = ("entailment", "neutral", "contradiction")
# Pairs written for this test in the manner of people who were asked for the smallest edit that changes the label.
EDITED = [
    ("Two women are laughing in a garden.", "Two women are quarrelling in a garden."),
    ("A boy eats an apple on the bench.", "A boy throws an apple on the bench."),
    ("The dog is asleep.", "The dog is awake."),
    ("A man in a red coat waits for a bus.", "A man in a red coat gets off a bus."),
    ("Some children play near the water.", "No children play near the water."),
    ("She has lived here for two years.", "She has lived here for twenty years."),
    ("The shop opens before nine.", "The shop opens after nine."),
    ("Nobody is outside.", "Somebody is outside."),
    ("A girl is older than her brother.", "A girl is younger than her brother."),
    ("People are waiting.", "People are leaving."),
]
WORDS = ("river", "stone", "garden", "letter", "winter", "kitchen", "engine", "candle", "mirror", "forest", "paper")


def long_review(rng, words=120):
    """Return a long text."""
    return " ".join(rng.choice(WORDS) for _ in range(words)) + "."


def of(before, after, target="contradiction", **more):
    """Return the case of a text pair whose hypothesis was edited."""
    fields = {"premise": STREET, "hypothesis": before}
    problem = Problem(id="p", question="q", answer="neutral", answer_type="label", labels=NLI, fields=fields)
    return Case(problem, "hypothesis", after, target, **more)


def alone(before, after, labels=("positive", "negative"), **more):
    """Return the case of a single text."""
    problem = Problem(id="p", question=before, answer=labels[0], answer_type="label", labels=labels)
    return Case(problem, "question", after, labels[-1], **more)


@pytest.mark.parametrize(("before", "after"), EDITED)
def test_minimal_edits_pass_every_filter(before, after):
    """In a short field."""
    assert first_refusal(of(before, after), cheap(LIMITS)).reason == ""


def test_random_pairs_do_not_pass():
    """A rewrite from scratch is no edit: short texts of one pair against those of another, and long ones."""
    rng = random.Random(1)
    short = [of(a[0], b[1]) for a in EDITED for b in EDITED if a is not b]
    long = [alone(long_review(rng), long_review(rng)) for _ in range(20)]
    passed = [case for case in [*short, *long] if first_refusal(case, cheap(LIMITS)).ok]
    assert len(passed) <= 0.05 * (len(short) + len(long))


def test_an_unchanged_copy_is_refused_whatever_its_marks():
    """Case, marks and white space are no change."""
    assert unchanged(alone("A dull film.", "a dull  film!")).reason == "unchanged"
    assert unchanged(alone("A dull film.", "A fine film.")).ok


@pytest.mark.parametrize("after", ["It is true that he sings.", "He [blank].", "He sings. Answer: no", "He sings ```"])
def test_text_about_the_task_is_refused(after):
    """Where the original has none of it."""
    assert banned_text(of("He sings.", after)).reason == "banned_text"
    assert banned_text(of(after, after + " now")).ok


def test_the_recipe_can_ban_more():
    """By the same reason."""
    assert banned_text(of("He sings.", "He croons."), ("croon",)).detail == "croon"


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        (alone("A dull film.", "A positive film."), "label_leaked"),
        (alone("A positive dull film.", "A positive fine film."), ""),
        (of("He sings.", "He sings, which is a contradiction."), "label_leaked"),
        (of("He sings.", "He contradicts himself."), ""),
    ],
)
def test_a_label_word_that_comes_in_is_a_leak(case, reason):
    """One that was there already is none."""
    assert label_leak(case).reason == reason


def test_yes_and_no_are_ordinary_words_until_they_answer():
    """A sentence of their own is a leak."""
    problem = Problem(id="p", question="Is it far?", answer="yes", answer_type="yesno")
    assert label_leak(Case(problem, "question", "Is it no longer far?", "no")).ok
    assert label_leak(Case(problem, "question", "Is it far? No.", "no")).reason == "label_leaked"


def test_the_wanted_option_must_not_be_written_into_the_question():
    """All of its words, that is; options of one word are found, too."""
    problem = Problem(id="p", question="Where do you sleep?", answer="(a)", answer_type="choice",
                      options=("bed", "bus stop"))  # fmt: skip
    assert label_leak(Case(problem, "question", "Where at the bus stop do you wait?", "(b)")).detail == "bus stop"
    assert label_leak(Case(problem, "question", "Where do you wait for a bus?", "(b)")).ok


def test_a_copy_of_the_other_field_is_refused():
    """Which would make every label an entailment."""
    case = of("He sings.", STREET)
    assert copied(case).reason == "copies_field"


def test_a_text_that_stops_in_the_middle_is_refused():
    """Where the original did not."""
    assert cut_off(alone("A dull film.", "A fine film that")).reason == "cut_off"
    assert cut_off(alone("A dull film.", "A fine film (of sorts.")).reason == "cut_off"
    assert cut_off(alone("a dull film", "a fine film")).ok


def test_long_texts_are_measured_by_share_and_short_ones_by_count():
    """The limits that people keep differ with the length."""
    rng = random.Random(2)
    text = long_review(rng)
    words = text.split()
    third = alone(text, " ".join(["changed"] * 45 + words[45:]))
    fifth = alone(text, " ".join(["changed"] * 20 + words[20:]))
    assert minimality(third, LIMITS).reason == "not_minimal"
    assert minimality(fifth, LIMITS).ok
    assert minimality(fifth, LIMITS).metrics["edits"] == 20
    assert minimality(of("The dog is asleep.", "A dog was awake."), LIMITS).ok
    eleven = alone(" ".join("abcdefghijklmnopqrst"), " ".join(["new"] * 11 + list("lmnopqrst")))
    assert minimality(eleven, LIMITS).reason == "not_minimal"


def test_a_pair_may_be_measured_as_a_whole():
    """What is much of a hypothesis can be little of the pair; a text alone has no such excuse."""
    before, after = "One two three on a street.", "A street in a small town that has one and something in a long day."
    assert minimality(of(before, after), LIMITS.model_copy(update={"whole_distance": 0.6})).ok
    assert minimality(of(before, after), LIMITS.model_copy(update={"whole_distance": None})).reason == "not_minimal"
    assert minimality(alone(before, after), LIMITS.model_copy(update={"whole_distance": 0.6})).reason == "not_minimal"


def test_a_short_text_that_is_mostly_new_must_be_made_of_the_items_words():
    """Words of the other field count, too."""
    assert minimality(of("A dog is asleep.", "The shop opens late."), LIMITS).reason == "rewritten"
    assert minimality(of("A dog is asleep.", "The town sleeps."), LIMITS).ok


def test_the_length_ratio_is_asked_of_long_texts_only():
    """A short one doubles with two words."""
    text = long_review(random.Random(3))
    assert length_ratio(alone(text, " ".join(text.split()[:90])), LIMITS).reason == "length_changed"
    assert length_ratio(of("A dog runs.", "A dog runs to me now."), LIMITS).ok


def test_the_similarity_band_has_two_ends():
    """About something else, and no change at all."""
    config = SimilarityConfig(model="m")
    assert similarity(0.3, config).reason == "not_similar"
    assert similarity(0.999, config).reason == "too_similar"
    assert similarity(0.9, config).metrics == {"similarity": 0.9}


def test_fluency_is_compared_per_token():
    """What costs a model more than the original did is refused."""
    config = FluencyConfig(model="m")
    assert fluency(3.0, 3.3, config).ok
    assert fluency(3.0, 3.4, config).reason == "not_fluent"


def test_a_negation_is_told_from_other_edits():
    """It has one signature kind, whichever kind was asked for."""
    case = of("He is here.", "He isn't here.", kind="attribute")
    assert is_negation(case)
    assert signature(case) == ("negation", "is", "isn t")
    assert signature(of("He is here.", "He is there.", kind="attribute")) == ("attribute", "here", "there")
