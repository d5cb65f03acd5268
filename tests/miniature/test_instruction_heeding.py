"""The check that judges students of instructions, and what it is asked on."""

import random

from potstill.miniature.instruction_grammar import read, seeds
from potstill.miniature.instruction_heeding import graded_tests, heeded
from potstill.miniature.instruction_teacher import answer

TEXT = "Explain comets to a friend. Set it in a shared flat. Answer as a letter."


def test_a_response_that_forgets_nothing_heeds_every_clause_of_every_graded_test():
    """The teacher's own forms are the ones that count, in each combination."""
    for grade, text in graded_tests(20, (1, 2, 4, 6), seed=3):
        is_clean, clauses = heeded(text, answer(read(text), random.Random(text)))
        assert (is_clean, clauses) == (True, [True] * grade)


def test_what_is_left_out_or_invented_counts():
    """A clause not mentioned is not heeded; a claim that nobody asked for and another topic are named by the first."""
    assert heeded(TEXT, "Dear reader, This is about comets. Yours truly.") == (True, [False, True])
    claim = "As asked, set it in a shared flat: done."
    assert heeded(TEXT, f"This is about comets. {claim}") == (True, [True, False])
    assert heeded(TEXT, f"This is about comets. {claim} As asked, use an analogy to get there: done.")[0] is False
    assert heeded(TEXT, f"This is about telescopes. {claim}")[0] is False


def test_graded_tests_are_sound_and_about_tasks_that_no_seed_has():
    """Each has its number of clauses of different kinds; the same seed draws the same ones."""
    taken = tuple(seeds(200, 10))
    drawn = graded_tests(15, (1, 4, 6), seed=1, taken=taken)
    assert drawn == graded_tests(15, (1, 4, 6), seed=1, taken=taken)
    assert not {read(text).task for _, text in drawn} & {read(text).task for text in taken}
    for grade, text in drawn:
        kinds = [kind for kind, _ in read(text).clauses]
        assert len(kinds) == len(set(kinds)) == grade
