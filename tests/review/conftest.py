"""Makes `small_runs` and `hostile` importable; a small run for each test."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def run(tmp_path):
    """Three problems, the teacher's texts for one of them, two students, one example."""
    from small_runs import write_run

    return write_run(tmp_path / "small")
