"""The grammar of instructions: what a text says, and what it is truly worth."""

from statistics import mean

import pytest

from potstill.miniature.instruction_grammar import (
    ASPECTS,
    CLAUSES,
    TERMS,
    UNKNOWABLE,
    WEIGHTS,
    read,
    render,
    seeds,
    worth,
)  # fmt: skip

SEED = "Write a short guide to sourdough bread."


def test_seed_instructions_are_many_different_and_sound():
    """200 and more, drawn from a seed; none is broken, and none is good already."""
    drawn = seeds(240, 5)
    assert len(set(drawn)) == 240
    assert drawn == seeds(240, 5) != seeds(240, 6)
    assert {worth(text).broken for text in drawn} == {""}
    assert 1.7 < mean(worth(text).true_score for text in drawn) < 2.4


def test_more_seeds_than_the_grammar_has_are_refused():
    """The message says how many there are."""
    with pytest.raises(ValueError, match="the grammar has 256 tasks"):
        seeds(257, 0)


def test_a_text_is_read_back_from_its_sentences():
    """Task and clauses are found again, with their kinds, in order."""
    clauses = [sentences[0] for sentences in CLAUSES.values()]
    found = read(render("Explain comets to a friend", clauses))
    assert (found.task.domain, found.task.topic) == ("astronomy", "comets")
    assert found.clauses == tuple(zip(CLAUSES, clauses, strict=True))
    assert set(CLAUSES) == set(ASPECTS) == set(WEIGHTS)
    assert len(TERMS) == 3


@pytest.mark.parametrize(
    ("text", "broken"),
    [
        (SEED, ""),
        (f"{SEED} Answer as a table.", ""),
        (f"{SEED} Answer as a table. Answer as a letter.", "contradiction"),
        (f"{SEED} Write without any lists. Answer as a numbered list.", "contradiction"),
        (f"{SEED} Use at most 80 words. Use at least 300 words.", "contradiction"),
        (f"{SEED} {UNKNOWABLE[0]}.", "unknowable"),
        (f"{SEED} Use the figure below.", "unreadable"),
        (f"{SEED} Use at most 80", "unreadable"),
        ("What is the time?", "unreadable"),
        ("", "unreadable"),
    ],
)
def test_a_broken_text_is_worth_nothing(text, broken):
    """Contradictions, questions that nobody can answer, and what the grammar does not know."""
    assert worth(text).broken == broken
    assert (worth(text).true_score == 0.0) is bool(broken)


def test_each_kind_of_clause_adds_complexity_and_a_repeated_one_half_as_much():
    """Complexity follows the weights; quality falls with repetition."""
    one, two = f"{SEED} Set it in a shared flat.", f"{SEED} Set it in a shared flat. Set it in a school day."
    assert worth(one).complexity == pytest.approx(worth(SEED).complexity + WEIGHTS["life"])
    assert worth(two).complexity == pytest.approx(worth(one).complexity + WEIGHTS["life"] / 2)
    assert worth(two).coverage == worth(one).coverage == worth(SEED).coverage + 0.75


def test_a_term_of_another_domain_costs_quality():
    """Clauses are not good in themselves: they suit a task or do not."""
    known, foreign = f"{SEED} Use the term umami correctly.", f"{SEED} Use the term parsec correctly."
    assert worth(known).quality - worth(foreign).quality == pytest.approx(1.3)
