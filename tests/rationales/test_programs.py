"""Where a text holds its program."""

import pytest

from potstill.rationales.programs import find_program, is_statement

PAL = 'def solution():\n    """How many?"""\n    apples = 5\n    return apples'
FOUND = {
    "the text itself": ("ans = 6 * 7", "ans = 6 * 7"),
    "a space after the prompt's A:": (" ans = 6\nans = ans * 7\n", "ans = 6\nans = ans * 7"),
    "indented as a whole": ("    x = 6\n    ans = x * 7", "x = 6\nans = x * 7"),
    "a function": (PAL, PAL),
    "a function without its head": (
        "    apples = 5\n    return apples",
        "def solution():\n    apples = 5\n    return apples",
    ),
    "an expression": ("(3 + 4) * 2", "(3 + 4) * 2"),
    "a fence with prose around": ("Here:\n```python\nans = 1\n```\nDone.", "ans = 1"),
    "a fence without a tag": ("```\nans = 1\n```", "ans = 1"),
    "tildes, attributes": ("~~~ {.python .numberLines}\nans = 1\n~~~", "ans = 1"),
    "capitals": ("```Python3\nans = 1\n```", "ans = 1"),
    "a fence in a list": ("1. So:\n   ```py\n   ans = 1\n   ```", "ans = 1"),
    "a fence in one line": ("```python ans = 1 ```", "ans = 1"),
    "an open fence": ("```python\nans = 1", "ans = 1"),
    "a fence that the prompt has opened": ("ans = 1\n```\nThis is one.", "ans = 1"),
    "tags of CodeLlama": ("[PYTHON]\nans = 1\n[/PYTHON]\nOne.", "ans = 1"),
    "tags of OpenMathInstruct": ("So:\n<llm-code>\nans = 1\n</llm-code>\nOne.", "ans = 1"),
    "an output block": ("```python\nprint(1)\n```\n```output\n1\n```\nOne.", "print(1)"),
    "an output block without a tag": ("```python\nprint(x + 1)\n```\n```\nx = 1\n```", "print(x + 1)"),
    "a thought before": ("<think>\n```python\nans = 0\n```\n</think>\n\n```python\nans = 1\n```", "ans = 1"),
    "a next question": ("ans = 1\n\n\nQ: How many more?\n# Python\nans = 2", "ans = 1"),
    "a next question, fenced": ("```python\nans = 1\n```\n\nQuestion: more?\n```python\nans = 2\n```", "ans = 1"),
}


@pytest.mark.parametrize(("text", "program"), FOUND.values(), ids=FOUND)
def test_the_program_is_found_in(text, program):
    """Fences, tags and prose are not part of a program; what it is made of stays as it was written."""
    assert find_program(text).programs[0] == program


def test_of_several_blocks_the_last_is_meant_and_else_all_together():
    """A later block may be a better attempt or the next cell of a notebook."""
    text = "```python\nx = 3\n```\nThen\n```python\nprint(x)\n```"
    assert find_program(text).programs == ("print(x)", "x = 3\nprint(x)")


def test_prose_around_a_program_without_a_fence_is_left_out_where_the_whole_does_not_run():
    """The part between the first and the last line of code is the second guess."""
    text = f"Sure! Let us see:\n\n{PAL}\n\nThis gives 5 apples."
    assert find_program(text).programs == (text, PAL)
    wrapped = "We add:\nans = sum([\n    1,\n    2,\n])\nDone."
    assert find_program(wrapped).programs[1] == "ans = sum([\n    1,\n    2,\n])"


NONE = {
    "prose": ("She has 5 + 3 apples, which makes 8.", "no_program"),
    "words": ("seven apples", "no_program"),
    "a block of another language": ("```json\n{}\n```", "no_program"),
    "nothing": ("  \n", "empty"),
    "an empty block": ("```python\n```", "no_program"),
    "a thought without end": ("<think>\nans = 1", "truncated"),
}


@pytest.mark.parametrize(("text", "reason"), NONE.values(), ids=NONE)
def test_there_is_no_program_in(text, reason):
    """The reason says why, and nothing is run."""
    found = find_program(text)
    assert (found.programs, found.reason) == ((), reason)


@pytest.mark.parametrize(
    "text", ["ans = 12", "ans = 3\nans = ans + 5\nan", "```python\nans = 1", "```python\nx = 1\n```\n```python\nx ="]
)
def test_a_program_that_the_token_limit_cut_is_none(text):
    """Its first lines may run, to an answer that its author never gave."""
    assert find_program(text).programs
    assert find_program(text, truncated=True) == find_program("<think>")


@pytest.mark.parametrize("text", ["```python\nans = 1\n```\nSo the", "ans = 1\n\nQ: And how many"])
def test_a_program_that_was_complete_when_its_text_was_cut_counts(text):
    """What was cut off is the prose behind it."""
    assert find_program(text, truncated=True).programs[0] == "ans = 1"


@pytest.mark.parametrize(
    "line",
    ["x = 1", "x: int = 1", "a, b = 1, 2", "x['k'] += 1", "import math", "from math import pi", "def f(x):",
     "for i in x:", "if x > 3:", "else:", "return x", "print(x)", "while True:", "with open(x) as f:", "np.sum(x)",
     "if x: ans = 2"],
)  # fmt: skip
def test_a_line_of_code_begins_like_a_statement(line):
    """Also when it is indented."""
    assert is_statement(line)
    assert is_statement(f"    {line}")


@pytest.mark.parametrize(
    "line",
    ["So x is 1.", "From the start, 5", "The answer is: 5", "if we look closely: no", "for example: this", "# x = 1",
     "", "with that in mind: 4", "x == 1", "import", "She has 5 apples (red ones)."],
)  # fmt: skip
def test_a_line_of_prose_does_not(line):
    """Words with colons, equalities and comments are not statements."""
    assert not is_statement(line)


@pytest.mark.parametrize(
    "text", ["```\n" * 50_000, "a " * 500_000, "(" * 1_000_000, "\n" * 500_000, "a, " * 300_000, " " * 1_000_000 + "x"]
)
def test_a_hostile_text_is_looked_through_once(text):
    """No text makes the search quadratic: a megabyte returns."""
    assert isinstance(find_program(text).programs, tuple)
