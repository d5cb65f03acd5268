"""What sandbox tests share: open sandboxes, and a skip where the kernel lacks what they need."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from potstill.recipe.rationales import SandboxConfig
from potstill.sandbox.running import Sandbox

SHORT = {"cpu_s": 0.1, "memory_mb": 128, "heavy_memory_mb": 256}
"""Limits that keep the tests short; outcomes depend on CPU time, so a loaded machine changes none."""


def needs_isolation() -> None:
    """Skip, with the reason, where this machine cannot isolate programs in CPython."""
    if sys.platform != "linux":
        pytest.skip(f"programs in CPython are isolated on Linux only, this is {sys.platform}")
    from potstill.sandbox import lockdown

    if not lockdown.landlock_version():
        pytest.skip("this kernel has no Landlock")
    if lockdown.program_filter(with_paths=True) is None:
        pytest.skip("there is no seccomp table for this machine")


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    """Both tiers, with short limits."""
    needs_isolation()
    pytest.importorskip("pydantic_monty", reason="tier 1 needs pydantic-monty: pip install 'potstill[sandbox]'")
    with Sandbox(SandboxConfig(**SHORT, workers=1)) as opened:
        yield opened


@pytest.fixture(scope="session")
def cpython() -> Iterator[Sandbox]:
    """Tier 2 alone: every program is CPython's."""
    needs_isolation()
    with Sandbox(SandboxConfig(**SHORT, workers=1, tiers="cpython")) as opened:
        yield opened
