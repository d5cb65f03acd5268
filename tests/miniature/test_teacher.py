"""The procedural teacher: what it reads, how it writes, how often it is wrong."""

import hashlib
import random

from potstill.miniature.teacher import LEADS, MARKER, UNREAD, read_walk, write
from potstill.miniature.world import draw_problems


def texts(problem, *, n=30, seed=0, **options):
    rng = random.Random(seed)
    return [write(problem["question"], rng, **options) for _ in range(n)]


def is_right(text, problem):
    return text.endswith(f"{MARKER}{problem['answer']}")


def test_it_reads_every_problem_from_its_text():
    """The walk parsed from a question ends where the gold answer says, in every split."""
    for split in ("train", "dev", "ood"):
        for problem in draw_problems(split, 200, 1):
            walk = read_walk(problem["question"])
            assert walk is not None
            assert str(walk.end) == problem["answer"]


def test_it_is_right_about_six_times_in_seven():
    """At temperature 1 between 80 and 90 percent of its rationales end with the gold answer."""
    problems = draw_problems("dev", 150, 2)
    right = [is_right(text, problem) for problem in problems for text in texts(problem)]
    assert 0.80 < sum(right) / len(right) < 0.90


def test_its_rationales_of_one_problem_differ_and_use_all_styles():
    """Thirty rationales of a problem are mostly distinct, and every style opens some of them."""
    problems = draw_problems("dev", 40, 2)
    distinct = [len(set(texts(problem))) for problem in problems]
    assert 15 < sum(distinct) / len(distinct) < 26
    written = [text for problem in problems for text in texts(problem)]
    for leads in LEADS.values():
        assert any(text.startswith(leads[0]) for text in written)


def test_it_sometimes_forgets_the_answer():
    """One or two rationales in a hundred end without the marker."""
    written = [text for problem in draw_problems("dev", 100, 2) for text in texts(problem)]
    assert 0.005 < sum(MARKER not in text for text in written) / len(written) < 0.03


def test_at_temperature_zero_it_repeats_itself_in_one_style():
    """Without temperature the text depends on the question alone, in the most likely style, and can still be wrong."""
    problems = draw_problems("dev", 200, 3)
    greedy = [set(texts(problem, n=3, temperature=0.0)) for problem in problems]
    assert all(len(written) == 1 for written in greedy)
    assert all(text.startswith("Let us think.") for written in greedy for text in written)
    right = sum(is_right(*written, problem) for written, problem in zip(greedy, problems, strict=True))
    assert 0.88 < right / len(problems) < 1


def test_a_rationale_holds_no_line_break():
    """A rationale stays in one line, so that a blank line can end it."""
    assert not any("\n" in text for text in texts(draw_problems("ood", 1, 0)[0]))


def test_a_bare_answer_is_a_number():
    """With kind `answer` it writes the answer only."""
    assert texts(draw_problems("dev", 1, 0)[0], n=1, kind="answer")[0].isdigit()


def test_a_text_that_is_no_problem_gets_a_general_answer():
    """It does not invent a walk where the question tells none."""
    for text in ("", "What is the capital of France?", "Amy stands on square 5.", "square 3. On Monday. 7 ahead"):
        assert write(text, random.Random(0)) == UNREAD


def test_its_chains_of_thought_are_frozen():
    """Its rationales and bare answers are the very bytes with which the miniature was tuned."""
    digest = hashlib.sha256()
    for split in ("train", "test", "ood"):
        for problem in draw_problems(split, 100, 0):
            for temperature in (0.0, 0.7, 1.0):
                for kind in ("cot", "answer"):
                    for seed in range(10):
                        text = write(problem["question"], random.Random(seed), kind=kind, temperature=temperature)
                        digest.update(text.encode())
    assert digest.hexdigest() == "b8931a1f71f5fac04593b2e43204a53803344656e93f645ce47be62221193ce9"
