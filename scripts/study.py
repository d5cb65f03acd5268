"""Run the study, part by part, and gather the scores of all parts in one file.

    python scripts/study.py --run runs/study --seed 0 [--only METHOD]

A part is a run directory: that of the problems is the study's own folder, the others lie in it. `scores.json` of the
study holds the rows of every part that has been run, each under its task; a part that is run again replaces its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class Part:
    """One task of the study."""

    task: str
    folder: str
    """Below the study's folder; empty: that folder itself."""
    methods: tuple[str, ...]
    recipe: str = ""
    script: str = ""
    """Instead of a recipe."""

    def command(self, folder: Path, seed: int, only: str | None) -> list[str]:
        """Return what runs the part."""
        if self.script:
            return [sys.executable, str(ROOT / "scripts" / self.script), "--run", str(folder), "--seed", str(seed)]
        run = [sys.executable, "-m", "potstill", "run", str(ROOT / "recipes" / self.recipe), "--run", str(folder)]
        return [*run, "--set", f"seed={seed}", "--force", *(["--only", only] if only else [])]


PARTS = (
    Part("problems", "", ("scotd", "mixed_distillation"), recipe="study.yaml"),
    Part("labels", "labels", ("counterfactual",), recipe="counterfactual_miniature.yaml"),
    Part("instructions", "instructions", ("idea_mcts",), script="instruction_study.py"),
)


def merge(study: Path, part: Path, task: str) -> None:
    """Put the rows of a part into the study's scores, in place of those of the same task that were there."""
    rows: dict[str, list[dict[str, Any]]] = {"scores": [], "comparisons": []}
    own = json.loads((part / "scores.json").read_text(encoding="utf-8"))
    path = study / "scores.json"
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else rows
    for name in rows:
        rows[name] = [*(row for row in before[name] if row["task"] != task), *own[name]]
    study.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def main() -> int:
    """Run the parts, or the one that a method belongs to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, required=True, help="the study's folder")
    parser.add_argument("--seed", type=int, default=0, help="draws everything anew")
    parser.add_argument("--only", help="one method")
    options = parser.parse_args()
    parts = [part for part in PARTS if options.only in (None, "", *part.methods)]
    if not parts:
        known = ", ".join(method for part in PARTS for method in part.methods)
        sys.stderr.write(f"study: no method {options.only!r}; expected one of {known}\n")
        return 2
    for part in parts:
        folder = options.run / part.folder
        done = subprocess.run(part.command(folder, options.seed, options.only), check=False)
        if done.returncode:
            return done.returncode
    for part in PARTS:
        if part.folder and (options.run / part.folder / "scores.json").exists():
            merge(options.run, options.run / part.folder, part.task)
    return 0


if __name__ == "__main__":
    sys.exit(main())
