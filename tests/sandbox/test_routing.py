"""Routing: by text alone, in linear time, and to CPython wherever Monty is known to differ."""

import time

import pytest

from potstill.sandbox.routing import MAX_ROUTED, choose_route, strip_dead_numpy

CASES = {
    "ans = 7 * 6": "monty",
    "def solution():\n    total = 3\n    return total": "monty",
    "x = {'a': 1}\nans = f\"{x['a']} {3}\"": "monty",
    "import math\nfrom datetime import date\nans = math.sqrt(4)": "monty",
    "import math\nimport numpy as np\nans = 1 + 1": "monty",
    "ans = round(2.675, 2)": "monty",
    "import numpy as np\nans = np.mean([1, 2])": "zygote-heavy",
    "from sympy import *\nans = pi": "zygote-heavy",
    "x = Symbol('x')\nans = solve_it(x - 2, x)[x]": "zygote-heavy",
    "from dateutil.relativedelta import relativedelta": "zygote-heavy",
    "ans = list(set([3, 1]))": "zygote-light",
    "ans = max({3, 1})": "zygote-light",
    "ans = {n for n in range(3)}": "zygote-light",
    "import fractions": "zygote-light",
    "import math, statistics": "zygote-light",
    "def f():\n    yield 1\nans = sum(f())": "zygote-light",
    "class A(dict):\n    pass": "zygote-light",
    "ans = max(d, key=d.get)": "zygote-light",
    "import math\nans = math.gamma(5.5)": "zygote-light",
    "ans = 1\0": "zygote-light",
    "def solution(n):\n    return n": "zygote-light",
    "solution = lambda: 3": "zygote-light",
    "if __name__ == '__main__':\n    print(1)": "zygote-light",
    "ans = 1 #" + "x" * MAX_ROUTED: "zygote-light",
}


@pytest.mark.parametrize(("program", "engine"), CASES.items(), ids=range(len(CASES)))
def test_the_first_engine_follows_from_the_text(program, engine):
    """Monty gets what it knows; the light process the rest; the heavy one what needs a package."""
    assert choose_route(program).engine == engine


@pytest.mark.parametrize(
    ("program", "stripped"),
    [
        ("import numpy as np\nans = 1", "pass\nans = 1"),
        ("import numpy as np\nans = np.pi", None),
        ("x = '''\nimport numpy as np\n'''\nprint(x)", None),
        ("try:\n    import numpy as np\nexcept ImportError:\n    pass", None),
        ("x = (\nimport numpy as np\n", None),
    ],
)
def test_only_an_unused_numpy_import_is_taken_out(program, stripped):
    """The line goes where nothing uses it, and its number stays."""
    assert strip_dead_numpy(program) == (stripped or program)


@pytest.mark.parametrize(
    "unit",
    [
        "{a",
        "{",
        "\n",
        "def solution(",
        "key =",
        "import a,",
        "class  a ",
        "'",
        '"""',
        "'''",
        "\\'",
        " solution  ",
        "{a,b}",
    ],
)
def test_hostile_text_cannot_hold_the_host_up(unit):
    """Ten times the text costs no more than some ten times the work: no pattern backtracks."""
    small, large = (unit * (n // len(unit)) for n in (MAX_ROUTED // 10, MAX_ROUTED))
    spent = []
    for text in (small, large):
        started = time.process_time()
        choose_route(text)
        spent.append(time.process_time() - started)
    assert spent[1] < 40 * spent[0] + 0.2


def test_a_program_in_the_pot_form_is_known_by_its_global():
    """`ans` at the start of a line; a PAL program returns from `solution` instead."""
    assert choose_route("ans = 1").is_pot
    assert not choose_route("def solution():\n    ans = 1\n    return ans").is_pot
