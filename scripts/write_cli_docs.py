"""Write docs/cli.md from the real help texts; a test compares the two."""

import os
import subprocess
import sys
from pathlib import Path

from potstill.cli import VERBS

TARGET = Path(__file__).resolve().parents[1] / "docs" / "cli.md"


def render() -> str:
    """Return the whole page."""
    parts = ["# The command line\n\nMade by `make docs` from `potstill VERB --help`.\n", block([])]
    parts += [f"\n## potstill {verb}\n\n{block([verb])}" for verb in VERBS]
    return "\n".join(parts)


def block(verb: list[str]) -> str:
    """Return one help text as a code block, 100 columns wide."""
    command = [sys.executable, "-m", "potstill", *verb, "--help"]
    environment = {**os.environ, "COLUMNS": "100", "PYTHONIOENCODING": "utf-8"}
    text = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, encoding="utf-8").stdout
    return f"```\n{text.replace('__main__.py', 'potstill').rstrip()}\n```\n"


if __name__ == "__main__":
    TARGET.write_text(render(), encoding="utf-8")
