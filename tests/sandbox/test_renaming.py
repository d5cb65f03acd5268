"""Programs without their names."""

import pytest

from potstill.sandbox.renaming import BATCH_PROGRAMS, canonical_forms

pytestmark = pytest.mark.usefixtures("sandbox")

PLAIN = "total = 3\nprice = 4\nans = total * price"
SAME = {
    "names and layout": (PLAIN, "a=3 # three\n\nb  =  4\nans = (a * b)"),
    "a function's name, arguments and docstring": (
        'def solution(x=1):\n    """Double."""\n    y = 2 * x\n    return y',
        "def solver(n=1):\n    twice = 2 * n\n    return twice",
    ),
    "an import's name": ("import numpy as np\nans = np.sum([1])", "import numpy as n\nans = n.sum([1])"),
    "a loop's name": ("for i in range(3):\n    print(i)", "for k in range(3):\n    print(k)"),
}
DIFFERENT = {
    "the order of operands": (PLAIN, "total = 3\nprice = 4\nans = price * total"),
    "a number": (PLAIN, PLAIN.replace("3", "5")),
    "a function of a module": ("import math\nx = math.floor(4)", "import math\nx = math.sqrt(4)"),
    "a built-in": ("ans = max(1, 2)", "ans = min(1, 2)"),
    "which argument is which": (
        "def f(a, b):\n    return a - b\nans = f(a=1, b=2)",
        "def f(b, a):\n    return b - a\nans = f(a=1, b=2)",
    ),
    "a text": ("print('a')", "print('b')"),
}


@pytest.mark.parametrize(("one", "other"), SAME.values(), ids=SAME)
def test_programs_are_the_same_but_for(one, other):
    """What a program calls its own things, and how it is laid out, does not count."""
    first, second = canonical_forms([one, other])
    assert first == second is not None


@pytest.mark.parametrize(("one", "other"), DIFFERENT.values(), ids=DIFFERENT)
def test_programs_differ_in(one, other):
    """Whatever can change what a program does counts."""
    first, second = canonical_forms([one, other])
    assert None not in (first, second)
    assert first != second


def test_a_program_that_does_not_parse_has_no_form_and_harms_no_other():
    """Nor does one that is deeper than the parser goes; every program keeps its place, over several batches."""
    hostile = ["ans = (", "(" * 50_000, "1+" * 20_000 + "1", "x = 1\x00", "\ud800", ""]
    programs = [*hostile, *[f"x = {number}" for number in range(2 * BATCH_PROGRAMS)]]
    forms = canonical_forms(programs)
    assert forms[:5] == [None] * 5
    assert len(set(forms[6:])) == 2 * BATCH_PROGRAMS
    assert None not in forms[6:]


def test_no_program_is_run_to_be_compared():
    """It is read as data: an endless one has a form at once."""
    (form,) = canonical_forms(["while True:\n    pass"])
    assert form is not None
