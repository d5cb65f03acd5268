"""What tests of programs share: a skip where this machine cannot run any in isolation."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def sandboxed() -> None:
    """Skip, with the reason, where programs that need CPython cannot be isolated."""
    pytest.importorskip("pydantic_monty", reason="tier 1 needs pydantic-monty: pip install 'potstill[sandbox]'")
    from potstill.sandbox.running import run_program

    tried = run_program("ans = frozenset([1])")
    if tried.status == "unsupported":
        pytest.skip(f"programs in CPython cannot be isolated here: {tried.error}")
