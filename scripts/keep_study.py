"""Keep of a study what others need to check its numbers: scores, report, recipe, manifest, and every prediction, small.

    python scripts/keep_study.py RUN FOLDER [PART ...]

PARTs are folders of RUN that are runs themselves (such as instructions): they alone are kept, below FOLDER, in the
same way. Greedy predictions are kept whole. Of sampled paths, a hundred times as many, the answer and the status that
vote: FOLDER/predictions/JOB.jsonl.gz holds one line per greedy text, and one per problem and kind with its sampled
paths as [answer, status] in the order of their index. The same run gives the same bytes.
"""

from __future__ import annotations

import gzip
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

WHOLE = ("scores.json", "report.html", "recipe.yaml", "manifest.json")


def rows(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a JSONL file."""
    with path.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def kept(predictions: Path, verdicts: Path) -> list[dict[str, Any]]:
    """Return a job's lines: greedy texts as they are, sampled paths as answers."""
    judged = {row["rationale_id"]: (row.get("answer"), row["status"]) for row in rows(verdicts)}
    greedy: list[dict[str, Any]] = []
    sampled: dict[tuple[str, str], list[tuple[int, tuple[Any, str]]]] = {}
    for row in rows(predictions):
        answer, status = judged[row["id"]]
        if row.get("meta", {}).get("path") == "sampled":
            place = row["problem_id"], row["kind"]
            sampled.setdefault(place, []).append((row["index"], (answer, status)))
        else:
            greedy.append({**row, "answer": answer, "status": status})
    votes = [
        {"problem_id": problem, "kind": kind, "sampled": [said for _, said in sorted(found, key=lambda it: it[0])]}
        for (problem, kind), found in sampled.items()
    ]
    return greedy + votes


def main(run: Path, folder: Path, *parts: Path) -> None:
    """Write the folder anew; with parts, only those."""
    for part in parts:
        keep(run / part, folder / part)
    if not parts:
        keep(run, folder)


def keep(run: Path, folder: Path) -> None:
    """Keep one run."""
    shutil.rmtree(folder / "predictions", ignore_errors=True)
    (folder / "predictions").mkdir(parents=True)
    for name in WHOLE:
        shutil.copyfile(run / name, folder / name)
    for path in sorted((run / "predictions").glob("*.jsonl")):
        verdicts = run / "verdicts" / path.name
        lines = kept(path, verdicts) if verdicts.exists() else list(rows(path))
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in lines)
        packed = gzip.compress(text.encode(), mtime=0)
        (folder / "predictions" / f"{path.name}.gz").write_bytes(packed)
        sys.stdout.write(f"{path.name}: {len(packed) / 1024:,.0f} KiB\n")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
