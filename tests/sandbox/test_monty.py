"""Tier 1: a fresh session per program, CPython's rounding, a fixed clock, and workers that are locked up themselves."""

import random
import sys
from pathlib import Path

import pytest

from potstill.recipe.rationales import SandboxConfig
from potstill.sandbox.monty import MontyPool
from potstill.sandbox.routing import choose_route

pytest.importorskip("pydantic_monty", reason="tier 1 needs pydantic-monty: pip install 'potstill[sandbox]'")


@pytest.fixture(scope="module")
def pool():
    with MontyPool(SandboxConfig(workers=1, max_output_bytes=1000), 1, is_alone=False) as opened:
        yield opened


def run(pool, program):
    route = choose_route(program)
    assert route.engine == "monty"
    return pool.run(route)


def test_rounding_is_cpythons(pool):
    """On the values where rounding the product and rounding the number differ, and on all others."""
    draw = random.Random(1)
    numbers = [
        2.675,
        1.005,
        -2.675,
        0.5,
        1.5,
        2.5,
        1e22,
        -0.0004,
        *(draw.randint(-99999, 99999) / 1000 for _ in range(500)),
    ]
    program = f"ans = [[round(x, n) for n in (0, 1, 2, 3)] + [round(x)] for x in {numbers}]"
    expected = str([[round(x, n) for n in (0, 1, 2, 3)] + [round(x)] for x in numbers])
    with MontyPool(SandboxConfig(), 1, is_alone=False) as wide:
        assert run(wide, program).answer == expected


def test_sessions_share_nothing(pool):
    """What one program defines is not there for the next."""
    assert run(pool, "kept = 5\nans = kept").answer == "5"
    assert run(pool, "ans = kept").word != "ok"


def test_clock_and_sleep_are_fixed(pool):
    """The same program has the same answer next year."""
    assert run(pool, "import datetime\nans = datetime.date.today().year").answer == "2026"
    assert run(pool, "import time\ntime.sleep(500)\nans = 1").answer == "1"


@pytest.mark.parametrize(
    "program",
    ["1 / 0", "ans = None", "x = 1", "3 * 4", "class A:\n    pass\nans = A()", "ans = 'x' * 5000", "print('x' * 5000)",
     "while True:\n    pass", "ans = 'a' + chr(55296)", "ans = ("],
)  # fmt: skip
def test_anything_but_a_plain_answer_is_left_to_cpython(pool, program):
    """Tier 1 never raises and never guesses."""
    said = run(pool, program)
    assert said.word != "ok"
    assert said.answer is None


@pytest.mark.skipif(sys.platform != "linux", reason="workers are locked up on Linux only")
def test_workers_are_under_seccomp_without_an_environment(pool, monkeypatch):
    """The second wall stands around Monty's own."""
    assert "seccomp" in pool.isolation
    with pool._pool.checkout() as session:
        session.feed_run("1")
        process = Path(f"/proc/{session.worker_pid}")
        status = process.joinpath("status").read_text()
        assert "Seccomp:\t2" in status
        assert "NoNewPrivs:\t1" in status
        assert process.joinpath("environ").read_bytes() == b""
        assert process.joinpath("cmdline").read_bytes().split(b"\0")[0].endswith(b"monty")


def test_its_folder_goes_with_the_pool():
    """The launcher lies in a folder of its own, which is removed."""
    with MontyPool(SandboxConfig(), 1, is_alone=True) as opened:
        launcher = opened._confined_binary()
        assert launcher is None or Path(launcher).exists()
    assert launcher is None or not Path(launcher).parent.exists()
