"""The teacher's programs: what they compute, in which styles, and which words they need."""

import random
from collections import Counter

import pytest

from potstill.miniature.programs import PROGRAM_STYLES, write_program
from potstill.miniature.teacher import UNREAD, read_walk, write
from potstill.miniature.world import draw_problems


def answer(program):
    """Run one of the teacher's own programs, which hold nothing but assignments."""
    names = {}
    try:
        exec(program, {"__builtins__": {}}, names)
    except NameError:
        return "failed"
    return str(names.get("ans"))


def programs(problem, *, n=30, seed=0, **options):
    rng = random.Random(seed)
    return [write(problem["question"], rng, kind="pot", **options) for _ in range(n)]


@pytest.mark.parametrize("style", PROGRAM_STYLES)
def test_every_style_computes_the_answer(style):
    """Without slips a program of any style leaves the gold answer in `ans`, large amounts and all."""
    for split in ("train", "ood"):
        for problem in draw_problems(split, 100, 4):
            walk = read_walk(problem["question"])
            program = write_program(walk, random.Random(0), style=style, slips=0, forgets=False)
            assert answer(program) == problem["answer"]


@pytest.mark.parametrize("style", PROGRAM_STYLES)
def test_a_forgotten_line_leaves_no_answer(style):
    """A program without its first line fails; it never answers by accident."""
    walk = read_walk(draw_problems("train", 1, 0)[0]["question"])
    assert answer(write_program(walk, random.Random(0), style=style, slips=0, forgets=True)) == "failed"


def test_it_errs_in_programs_as_in_chains_of_thought():
    """Between 80 and 93 percent of the programs are right, some are wrong, and one or two in a hundred fail."""
    problems = draw_problems("dev", 150, 2)
    found = Counter()
    for problem in problems:
        found.update("right" if answer(p) == problem["answer"] else answer(p) for p in programs(problem))
    total = found.total()
    assert 0.80 < found["right"] / total < 0.93
    assert 0.005 < found["failed"] / total < 0.03


def test_one_style_is_likeliest_by_far():
    """Four programs in five or more note the day of each move; at temperature 0 all do."""
    problems = draw_problems("dev", 100, 2)
    drawn = [" # " in program for problem in problems for program in programs(problem)]
    assert 0.8 < sum(drawn) / len(drawn) < 0.9
    greedy = [set(programs(problem, n=3, temperature=0.0)) for problem in problems]
    assert all(len(written) == 1 and " # " in min(written) for written in greedy)


def test_a_program_has_no_blank_line_and_no_outer_space():
    """A blank line can end it, and nothing has to be stripped before it runs."""
    for program in programs(draw_problems("ood", 1, 0)[0]):
        assert program == program.strip()
        assert "\n\n" not in program


def test_every_word_is_a_token_of_the_student():
    """The pretrained student's vocabulary covers the programs, and gives them back letter for letter."""
    tokenizers = pytest.importorskip("tokenizers")
    from importlib.resources import files

    tokenizer = tokenizers.Tokenizer.from_str((files("potstill.miniature") / "base" / "tokenizer.json").read_text())
    for problem in draw_problems("ood", 30, 1):
        for program in programs(problem, n=5):
            encoding = tokenizer.encode(program)
            assert "<unk>" not in encoding.tokens
            assert tokenizer.decode(encoding.ids, skip_special_tokens=False) == program


def test_a_text_that_is_no_problem_gets_no_program():
    """It does not invent a walk where the question tells none."""
    assert write("What is the capital of France?", random.Random(0), kind="pot") == UNREAD
