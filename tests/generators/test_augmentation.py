"""Augmented problems: what is made of a problem, what its answer is, and why nothing is made."""

import random
import re
from collections import Counter

import pytest

from potstill.generators.augmentation import (
    Evaluated,
    Refused,
    common_names,
    noisy,
    reworded,
    shared_numbers,
    varied,
    way_of_making,
)
from potstill.rationales.contamination import facts
from potstill.records import Problem

QUESTION = "Joan has 12 bags with 34 shells in each. She gives 7 shells to Sam. How many shells has she now?"
PARENT = Problem(id="p", question=QUESTION, answer="401", answer_type="number", meta={"gold_solution": "12 * 34 - 7"})
PROGRAMS = ("bags = 12  # 12 bags\nans = bags * 34 - 7", "def solution():\n    return 34 * 12 - 7")


def answer_of(program):
    """Run a program of this file; what a sandbox does in a run."""
    space = {}
    exec(program, space)
    return str(space["ans"] if "ans" in space else space["solution"]())


def vary(number=0, parent=PARENT, programs=PROGRAMS, names=(), run=answer_of):
    return varied(parent, programs, number, random.Random(number), answer_of=run, names=names)


def test_other_numbers_have_the_answer_that_the_programs_compute_for_them():
    """Every number changes in the question as in the programs, and the answer with them."""
    for number in range(30):
        made = vary(number)
        bags, shells, given = (int(n) for n in facts(made.question).elements())
        assert made.answer == str(bags * shells - given)
        assert {bags, shells, given}.isdisjoint({12, 34, 7})
        assert (made.parent_id, way_of_making(made), made.split) == ("p", "vary", "train")
        assert "gold_solution" not in made.meta


def test_names_are_exchanged_for_those_of_other_problems():
    """All at once and everywhere; days and words that are also written small are no names."""
    others = [Problem(id=str(i), question=f"When does Ann meet Bill on Monday? And {name} knows May.")
              for i, name in enumerate(("Joan", "Joan", "Sam", "Sam"))]  # fmt: skip
    names = common_names(others)
    assert names == ("Ann", "Bill", "Joan", "Sam")
    made = vary(names=names)
    assert "Joan" not in made.question and "Sam" not in made.question
    assert {"Ann", "Bill"} <= set(re.findall(r"\w+", made.question))


def test_a_number_that_could_be_another_one_stays():
    """Twice in the question, twice in a program, missing in one of them, or nought and one."""
    assert [s.text for s in shared_numbers("3 boxes of 4 and 4 more", ["ans = 3 * 4 + 4"])] == ["3"]
    assert shared_numbers("3 boxes of 5", ["ans = 3 * 5 + 3 - 5 + 0"]) == []
    assert [s.text for s in shared_numbers("3 boxes of 5", ["ans = 3 * 5", "ans = 3 + 3 * 4"])] == []
    assert shared_numbers("1 box of 0", ["ans = 1 * 0"]) == []
    asked = "a 5-day week from 10:30 costs $6.50 and 20% more, 1,200 in all"
    assert [s.text for s in shared_numbers(asked, ["ans = 5 * 10 * 30 * 6.50 * 20 * 1 * 200"])] == ["5", "6.50"]


@pytest.mark.parametrize(
    ("parent", "programs", "reason"),
    [
        (PARENT, PROGRAMS[:1], "vary_no_programs"),
        (PARENT, ("ans = 401", "ans = 400 + 1"), "vary_no_spot"),
        (PARENT, (PROGRAMS[0], "ans = 12 * 34 - 7 if 12 > 7 and 34 > 1 else 0"), "vary_no_spot"),
        (PARENT, (PROGRAMS[0], "ans = 401 + (12 - 12) * 34 * 7"), "vary_disagree"),
        (PARENT, (PROGRAMS[0], "ans = 12 + 34 * 7 + 151"), "vary_disagree"),
        (Problem(id="c", question="Which of 3?", answer="(a)", answer_type="choice"), PROGRAMS, "vary_no_number"),
        (Problem(id="u", question=QUESTION, answer_type="number"), PROGRAMS, "vary_no_number"),
    ],
)
def test_nothing_is_made_where_the_answer_would_not_be_sure(parent, programs, reason):
    """Too few programs, numbers that they do not share, programs that agree on the parent alone, no number."""
    assert vary(parent=parent, programs=programs).reason == reason


def test_an_answer_is_as_whole_as_its_parents_and_no_more_negative():
    """A division that came out even must come out even again."""
    parent = Problem(id="p", question="Share 84 plums among 12 girls. How many each?", answer="7", answer_type="number")
    programs = ("ans = 84 / 12", "ans = 84 // 12 if 84 % 12 == 0 else None")
    found = [vary(n, parent, ("x = 84\nans = x / 12", "y = 12\nans = 84 / y")) for n in range(20)]
    made = [p for p in found if not isinstance(p, Refused)]
    assert made and all(float(p.answer).is_integer() and float(p.answer) > 0 for p in made)
    assert vary(parent=parent, programs=programs).reason == "vary_no_spot"
    assert vary(run=lambda program: "-3").reason == "vary_no_answer"


def test_noise_changes_words_and_never_a_number_a_name_or_the_answer():
    """So many slips as the share says; the same draw gives the same text."""
    made = noisy(PARENT, 0, 0.5, random.Random(3))
    before, after = QUESTION.split(), made.question.split()
    changed = [(a, b) for a, b in zip(before, after, strict=True) if a != b]
    assert 1 <= len(changed) <= 4
    assert all(a[0] == b[0] and a[:1].islower() for a, b in changed)
    assert (facts(made.question), made.answer) == (facts(QUESTION), "401")
    assert made == noisy(PARENT, 0, 0.5, random.Random(3))
    assert noisy(Problem(id="x", question="Is 3 > 2?"), 0, 0.5, random.Random(0)).reason == "noise_no_word"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "paraphrase_length"),
        ("12, 34, 7: how many?", "paraphrase_length"),
        (QUESTION.replace("34", "43"), "paraphrase_numbers"),
        (
            QUESTION.replace("She gives 7 shells to Sam.", "She gives some shells to her friend Sam."),
            "paraphrase_numbers",
        ),
        (QUESTION.replace("?", "."), "paraphrase_asks_nothing"),
        (QUESTION.replace("She", "she"), "paraphrase_same"),
    ],
)
def test_a_rewording_that_asks_something_else_is_refused(text, reason):
    """Too short, other numbers, no question, or the same words."""
    assert reworded(PARENT, text, 0).reason == reason


def test_a_rewording_keeps_answer_and_options():
    """Whatever a model writes before it is cut."""
    text = "Rewritten problem: Each of Joan's 12 bags holds 34 shells; Sam gets 7 shells of hers. How many are left?"
    made = reworded(PARENT, text, 1)
    assert made.question.startswith("Each of Joan's 12 bags")
    assert (made.answer, made.parent_id, way_of_making(made)) == ("401", "p", "paraphrase")


def test_a_problem_that_has_become_an_evaluated_one_is_found():
    """The same numbers in nearly the same words, whatever family the problem says it is of."""
    test = Problem(id="t", question=QUESTION.replace("12", "13"), split="test", meta={"family": "t"})
    known = Evaluated([test])
    assert "t in split test" in known.tie(vary_to(QUESTION.replace("12", "13").replace("Joan", "Mary")))
    assert known.tie(vary_to(QUESTION)) is None
    assert known.tie(vary_to("Amy was 13 when 34 people came at 7 in the evening.")) is None


def vary_to(question):
    return Problem(id="v", question=question, meta={"family": "other"})


def test_equal_seeds_make_equal_problems():
    """And other numbers other ones."""
    assert vary(4) == vary(4)
    assert Counter(vary(n).id for n in range(10)).most_common(1)[0][1] == 1
