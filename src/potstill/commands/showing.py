"""`potstill show`: counts, reasons and a few records of a file, a run directory or a ledger."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

from potstill.commands.printing import print_json, print_text
from potstill.errors import DataError, shorten
from potstill.files import read_rows

COUNTED = ("kind", "finish", "status", "reason", "stage", "split", "answer_type", "author", "task", "system", "view")
"""Fields whose values are counted wherever they occur."""


def add(verb: str, parser: argparse.ArgumentParser) -> None:
    """Add the options of `show`."""
    parser.add_argument("path", nargs="?", metavar="FILE|RUN|LEDGER", help="what to show (or --run DIR)")
    parser.add_argument("--records", type=int, default=3, metavar="N", help="records to print [3]")
    parser.set_defaults(call=show)


def show(options: argparse.Namespace) -> int:
    """Print what a path holds."""
    path = Path(options.path or options.run or ".")
    if not path.exists():
        message = f"show: {path} does not exist; give a file, a run directory or a ledger"
        raise DataError(message)
    if path.is_dir():
        facts = run_facts(path)
    elif is_ledger(path):
        from potstill.teachers.ledger import summarise

        facts = summarise(path)
    else:
        facts = file_facts(path, options.records)
    if options.json:
        print_json(facts)
    else:
        print_facts(facts)
    return 0


def is_ledger(path: Path) -> bool:
    """Whether a file is an SQLite database."""
    with path.open("rb") as file:
        return file.read(16) == b"SQLite format 3\x00"


def run_facts(folder: Path) -> dict[str, Any]:
    """Return a run's stages with their counts."""
    from potstill.run import read_manifest

    if not (folder / "manifest.json").exists():
        message = f"show: {folder} is not a run directory (no manifest.json in it)"
        raise DataError(message)
    manifest = read_manifest(folder)
    facts: dict[str, Any] = {"run": str(folder), "created": manifest.get("created"), "method": manifest.get("method")}
    for name, stage in manifest["stages"].items():
        state = "done" if stage.get("done") == stage["fingerprint"] else "unfinished; run the recipe again to resume"
        facts[name] = {"state": state, **stage.get("counts", {})}
    return facts


def file_facts(path: Path, n_records: int) -> dict[str, Any]:
    """Return the number of rows, the counts of closed fields, and the first records."""
    counts: dict[str, Counter[str]] = {}
    n_rows = 0
    for _, row in read_rows(path):
        n_rows += 1
        for name in COUNTED:
            if isinstance(row.get(name), str):
                counts.setdefault(name, Counter())[row[name]] += 1
    first = [row for _, row in islice(read_rows(path), n_records)]
    tops = {name: dict(counter.most_common(12)) for name, counter in counts.items()}
    return {"file": str(path), "rows": n_rows, **tops, "records": first}


def print_facts(facts: dict[str, Any]) -> None:
    """Print facts as aligned lines, records as JSON below."""
    for name, value in facts.items():
        if name == "records":
            for record in value:
                print_text(json.dumps({k: _short(v) for k, v in record.items()}, ensure_ascii=False))
        elif isinstance(value, dict):
            print_text(f"{name:<28}{', '.join(f'{key} {item}' for key, item in value.items())}")
        elif value is not None:
            print_text(f"{name:<28}{value}")


def _short(value: Any) -> Any:
    return shorten(value) if isinstance(value, str) else value
