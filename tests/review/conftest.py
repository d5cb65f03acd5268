"""Makes `small_runs` and `hostile` importable; a small run for each test."""

import sqlite3
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def closed_connections(monkeypatch):
    """Close what a test opened and left to the garbage collector, which Python 3.13 warns of."""
    made, connect = [], sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *args, **options: made.append(connect(*args, **options)) or made[-1])
    yield
    for connection in made:
        connection.close()


@pytest.fixture
def run(tmp_path):
    """Three problems, the teacher's texts for one of them, two students, one example."""
    from small_runs import write_run

    return write_run(tmp_path / "small")
