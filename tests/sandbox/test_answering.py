# ruff: noqa: E501 - programs are shown on one line each
"""Answer conventions, in the interface's order, the same in both tiers."""

import pytest

ANSWERS = {
    "PAL": ("def solution():\n    return 3.50", "3.5"),
    "solver": ("def solver():\n    return [1, 2]", "[1, 2]"),
    "main_solution": ("def main_solution():\n    return 'a'", "a"),
    "a function goes before a global": ("def solution():\n    return 1\nans = 2\nprint(3)", "1"),
    "a function that returns nothing leaves it to the rest": ("def solution():\n    print(5)\nans = 2", "2"),
    "a function with arguments is not called": ("def solution(a):\n    return 1\nans = 2", "2"),
    "all its arguments have defaults": ("def solution(a=4):\n    return a", "4"),
    "PoT": ("ans = 2\nprint(3)", "2"),
    "two answers": ("answer = 1\nans = 2\nresult = 3", "2"),
    "answer": ("result = 3\nanswer = 1", "1"),
    "a function named answer is no answer": ("def answer():\n    return 1\nprint(9)", "9"),
    "None is no answer": ("ans = None\nprint(7)", "7"),
    "false is an answer": ("ans = False", "False"),
    "empty text is no reason to look further": ("ans = 0\nprint(7)", "0"),
    "ToRA": ("x = 4\nprint('so')\nprint(x * 2)\n", "8"),
    "blank last lines": ("print('8')\nprint()\nprint('  ')", "8"),
    "notebook": ("x = 4\nx * 2", "8"),
    "printed before the last expression": ("print(1)\n2", "1"),
    "left by exit": ("ans = 6\nexit()", "6"),
    "main guard": ("if __name__ == '__main__':\n    ans = 5", "5"),
    "PoT names": ("ans = math.factorial(5)", "120"),
    "PoT solver": ("x = Symbol('x')\ny = Symbol('y')\nans = solve_it([x + y - 3, x - y - 1], [x, y])[x]", "2"),
    "PoT solver without a solution": ("x = Symbol('x')\nans = str(solve_it(x - x + 1, x)[x])", "None"),
    "PoT numpy": ("ans = float(np.mean([1, 2, 6]))", "3.0"),
    "numpy": ("import numpy as np\nans = np.float64(1.5)", "1.5"),
    "sympy": ("import sympy as sp\nans = sp.sqrt(8)", "2*sqrt(2)"),
    "mpmath": ("import mpmath\nans = mpmath.mpf('0.5')", "0.5"),
    "dateutil": (
        "from datetime import date\nfrom dateutil.relativedelta import relativedelta\nans = date(2024, 1, 31) + relativedelta(months=1)",
        "2024-02-29",
    ),
    "rounding": ("ans = [round(2.675, 2), round(2.5), round(-1.005, 2), round(1234, -2), round(0.5)]", "[2.67, 2, -1.0, 1200, 0]"),
    "adding": ("ans = sum([0.1] * 10)", str(sum([0.1] * 10))),
    "numbers from sets": ("ans = list(set([30, 1, 2]))", str(list({30, 1, 2}))),
    "a set of words": ("ans = sorted({'b', 'a'})", "['a', 'b']"),
    "large numbers": ("ans = 2 ** 200", str(2**200)),
    "unicode": ("ans = 'größer ≥ 2'", "größer ≥ 2"),
    "random": ("import random\nans = random.random()", "0.8444218515250481"),
    "random, heavy": ("import numpy\nimport random\nans = random.random()", "0.8444218515250481"),
    "numpy's random": ("import numpy as np\nans = int(np.random.randint(1000))", "684"),
    "sleep": ("import time\ntime.sleep(300)\nans = 1", "1"),
    "a thousand frames": ("def f(n):\n    return 0 if n == 0 else 1 + f(n - 1)\nans = f(900)", "900"),
    "dataclass": ("from dataclasses import dataclass\n@dataclass\nclass P:\n    x: int = 3\nans = P()", "P(x=3)"),
    "patched builtins": ("import builtins\nbuiltins.str = builtins.isinstance = builtins.len = lambda *a: 666\nans = 1", "1"),
}  # fmt: skip


@pytest.mark.parametrize("name", ANSWERS)
def test_the_answer_is_read_in_the_interfaces_order(name, sandbox):
    """Through both tiers, the answer is what CPython's `str` gives."""
    program, expected = ANSWERS[name]
    result = sandbox.run(program)
    assert (result.status, result.answer, result.error) == ("ok", expected, None)


@pytest.mark.parametrize("name", ANSWERS)
def test_cpython_alone_answers_the_same(name, cpython):
    """Which tier ran a program cannot be told from its answer."""
    program, expected = ANSWERS[name]
    assert cpython.run(program).answer == expected


FAILURES = {
    "nothing": ("", "no_answer", ""),
    "no answer": ("x = 1", "no_answer", ""),
    "mistake": ("1 / 0", "error", "ZeroDivisionError: division by zero"),
    "not Python": ("The answer is 5.", "error", "syntax: SyntaxError"),
    "null bytes": ("ans = 1\0", "error", "syntax: "),
    "lone surrogate": ("ans = '\ud800'", "error", "syntax: UnicodeEncodeError"),
    "a missing module": ("import pandas_is_not_here", "error", "import: ModuleNotFoundError"),
    "a module that is not allowed": ("import pydantic\nans = 1", "error", "import: ModuleNotFoundError"),
    "the sandbox's own code": ("import potstill.sandbox.lockdown\nans = 1", "error", "import: "),
    "recursion": ("def f():\n    return f()\nf()", "error", "recursion: RecursionError"),
    "a name that is not given": ("def solution():\n    return math.pi", "error", "NameError"),
    "question": ("ans = input('how many?')", "error", "EOFError"),
    "undecided import": ("from sympy import no_such_thing", "error", "import: ImportError"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_failure_has_one_clear_status(name, sandbox):
    """The status, and a text that begins with what happened."""
    program, status, error = FAILURES[name]
    result = sandbox.run(program)
    assert (result.status, result.answer) == (status, None)
    assert (result.error or "").startswith(error)
