"""What students wrote, read from a run directory: their greedy texts, and which of two texts is right where."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from potstill.evaluation.page.gathering import Case, Row, Text, case_of, rows_of, verdicts_of, written
from potstill.records import child_seed


def jobs_of(folder: Path, system: str) -> list[str]:
    """Return the names under which a system's files are kept: its own, or one per seed."""
    names = {path.name.split(".jsonl")[0] for path in (folder / "predictions").glob("*.jsonl*")}
    found = [name for name in names if name == system or name.startswith(f"{system}.seed")]
    return sorted(found, key=lambda name: (len(name), name))


def is_greedy(row: Row) -> bool:
    """Whether a prediction's row is the greedy path of its kind."""
    return bool((row.get("meta") or row).get("path", "greedy") == "greedy" and row.get("index", 0) == 0)


def predictions_of(folder: Path, job: str, split: str = "test") -> dict[str, dict[str, Text]]:
    """Return kind -> problem id -> a job's greedy prediction on one split; chains of thought first."""
    wanted = {row.get("id") for row in rows_of(folder / "problems.jsonl") if row.get("split") == split}
    verdicts = verdicts_of(folder, f"verdicts/{job}.jsonl")
    found: dict[str, dict[str, Text]] = {}
    for row in rows_of(folder / "predictions" / f"{job}.jsonl"):
        if is_greedy(row) and row.get("problem_id") in wanted:
            of_kind = found.setdefault(str(row.get("kind", "cot")), {})
            of_kind.setdefault(row["problem_id"], written(row, verdicts))
    return {kind: found[kind] for kind in sorted(found, key=("cot", "pot", "answer").index)}


def before_and_after(folder: Path, before: str, after: str, most: int) -> tuple[Counter[str], list[Case]]:
    """Return how many test problems changed (gained, lost, still right, still wrong), and a few of them."""
    jobs = [jobs[0] for system in (before, after) if (jobs := jobs_of(folder, system))]
    texts = [next(iter(predictions_of(folder, job).values()), {}) for job in jobs]
    if len(texts) < 2:
        return Counter(), []
    shares = {"gained": max(1, most - most // 2 - 1), "lost": 1, "still wrong": most // 2}
    return _contrasted(folder, texts[0], texts[1], ("still right", "lost", "gained", "still wrong"), shares)


def two_ways(folder: Path, system: str, most: int) -> tuple[Counter[str], list[Case]]:
    """Return on how many test problems a system's chain of thought, its program, both or neither is right; a few."""
    jobs = jobs_of(folder, system)
    texts = predictions_of(folder, jobs[0]) if jobs else {}
    if not {"cot", "pot"} <= set(texts):
        return Counter(), []
    shares = {
        "program": most - 2 * (most // 3) - most // 6,
        "chain": most // 3,
        "neither": most // 3,
        "both": most // 6,
    }
    return _contrasted(folder, texts["cot"], texts["pot"], ("both", "chain", "program", "neither"), shares)


def _contrasted(
    folder: Path,
    first: Mapping[str, Text],
    second: Mapping[str, Text],
    names: tuple[str, str, str, str],
    shares: Mapping[str, int],
) -> tuple[Counter[str], list[Case]]:
    """Count problems by which of two texts is right (both, first, second, neither); return a few of each."""
    found: dict[str, list[str]] = {name: [] for name in names}
    for pid in sorted((pid for pid in first if pid in second), key=lambda pid: child_seed("example", pid)):
        statuses = first[pid].status, second[pid].status
        if "UNVERIFIED" not in statuses:
            found[names[2 * (statuses[0] != "CORRECT") + (statuses[1] != "CORRECT")]].append(pid)
    chosen = {pid: name for name, share in shares.items() for pid in found[name][:share]}
    asked = {row["id"]: row for row in rows_of(folder / "problems.jsonl") if row.get("id") in chosen}
    cases = [case_of(asked[pid], [first[pid], second[pid]], name) for pid, name in chosen.items() if pid in asked]
    return Counter({name: len(ids) for name, ids in found.items()}), cases
