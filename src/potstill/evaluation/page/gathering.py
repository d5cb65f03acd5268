"""Read a run directory into what its report needs; every file may be absent, large ones are streamed.

A run that is still being written, or that was killed, is readable: a torn last line is left alone. Texts are held only
for the few examples that are shown, which a hash of the problem's id chooses, not a person.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from potstill.errors import DataError, shorten
from potstill.files import read_rows
from potstill.records import Comparison, Score, child_seed, from_dict

HELD_PROBLEMS = 64
"""Problems whose rationales are looked at for examples."""
Row = Mapping[str, Any]


@dataclass(slots=True)
class Text:
    """What an author wrote for a problem, and what became of it."""

    author: str
    text: str
    status: str = ""
    answer: str | None = None
    note: str = ""
    """Why it was dropped, where it was."""


@dataclass(slots=True)
class Case:
    """A problem with texts side by side."""

    question: str
    gold: str | None
    texts: list[Text]
    heading: str = ""


@dataclass(slots=True)
class Training:
    """How one student was trained."""

    loss: list[tuple[float, float]]
    """(step, nats per target token)."""
    dev: list[tuple[float, float]]
    """(step, accuracy on the development split)."""
    record: dict[str, Any]
    """The whole of its training.json."""


@dataclass(slots=True)
class Funnel:
    """How many rationales each stage passed on."""

    sampled: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    finishes: Counter[str] = field(default_factory=Counter)
    tokens: Counter[str] = field(default_factory=Counter)
    trained: dict[str, dict[str, int]] = field(default_factory=dict)
    """Job -> counts of its examples and problems."""
    has_drops: bool = False

    @property
    def kept(self) -> int:
        """Rationales that the run's filter kept."""
        return self.sampled - sum(self.dropped.values())


@dataclass(slots=True)
class Facts:
    """Everything that a report shows."""

    folder: Path
    manifest: dict[str, Any]
    recipe: dict[str, Any]
    splits: Counter[str]
    scores: list[Score]
    comparisons: list[Comparison]
    funnel: Funnel
    cases: list[Case]
    """Teacher rationales of training problems, kept beside rejected."""
    trainings: dict[str, Training]
    """Job -> how it was trained."""

    @property
    def is_miniature(self) -> bool:
        """Whether the embedded world, teacher or student was used, so that nothing here is evidence for a paper."""
        return is_miniature(self.recipe)


def gather(folder: Path, *, examples: int = 6) -> Facts:
    """Read a run directory.

    Raises:
        DataError: It is not a run directory, or one of its files is damaged.
    """
    if not any((folder / name).exists() for name in ("manifest.json", "scores.json", "recipe.yaml")):
        found = "no such folder" if not folder.is_dir() else "no manifest.json, recipe.yaml or scores.json in it"
        message = f"{folder}: {found}; give a run directory, as `potstill run RECIPE --run DIR` makes one"
        raise DataError(message)
    scores = _json(folder / "scores.json") or {}
    manifest = _json(folder / "manifest.json") or {}
    splits, held = _problems(folder, examples)
    funnel, cases = _funnel(folder, manifest, held, examples // 2)
    return Facts(
        folder=folder,
        manifest=manifest,
        recipe=read_recipe(folder),
        splits=splits,
        scores=[from_dict(Score, row, "scores.json") for row in scores.get("scores", [])],
        comparisons=[from_dict(Comparison, row, "scores.json") for row in scores.get("comparisons", [])],
        funnel=funnel,
        cases=cases,
        trainings=trainings(folder),
    )


def is_miniature(recipe: Mapping[str, Any]) -> bool:
    """Whether a recipe uses the embedded world, teacher or student."""
    problems = recipe.get("problems") or {}
    sources = [problems, *(problems.get("splits") or {}).values()]
    teachers = recipe.get("teachers") or []
    student = (recipe.get("student") or {}).get("model")
    named = [source.get("source") for source in sources] + [teacher.get("base_url") for teacher in teachers]
    return "miniature" in [student, *named]


def rows_of(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a JSONL file (or its .gz); none where there is no file; a torn last line is left out."""
    found = next((p for p in (path, path.with_name(path.name + ".gz")) if p.exists()), None)
    if found is None:
        return
    try:
        for _, row in read_rows(found):
            yield row
    except DataError:
        if found.suffix == ".gz" or _ends_with_newline(found):
            raise


def verdicts_of(folder: Path, name: str = "verdicts.jsonl") -> dict[str, tuple[str, str | None]]:
    """Return rationale id -> (status, answer); the last verdict of a rationale counts."""
    return {str(row.get("rationale_id")): (str(row.get("status")), row.get("answer")) for row in rows_of(folder / name)}


def jobs_of(folder: Path, system: str) -> list[str]:
    """Return the names under which a system's files are kept: its own, or one per seed."""
    names = {path.name.split(".jsonl")[0] for path in (folder / "predictions").glob("*.jsonl*")}
    found = [name for name in names if name == system or name.startswith(f"{system}.seed")]
    return sorted(found, key=lambda name: (len(name), name))


def predictions_of(folder: Path, job: str, split: str = "test") -> dict[str, Text]:
    """Return problem id -> a job's greedy prediction on one split."""
    wanted = {row.get("id") for row in rows_of(folder / "problems.jsonl") if row.get("split") == split}
    verdicts = verdicts_of(folder, f"verdicts/{job}.jsonl")
    found: dict[str, Text] = {}
    for row in rows_of(folder / "predictions" / f"{job}.jsonl"):
        is_greedy = (row.get("meta") or row).get("path", "greedy") == "greedy" and row.get("index", 0) == 0
        if is_greedy and row.get("problem_id") in wanted and row["problem_id"] not in found:
            found[row["problem_id"]] = _written(row, verdicts)
    return found


def before_and_after(folder: Path, before: str, after: str, most: int) -> tuple[Counter[str], list[Case]]:
    """Return how many test problems changed (gained, lost, still right, still wrong), and a few of them."""
    jobs = [jobs[0] for system in (before, after) if (jobs := jobs_of(folder, system))]
    if len(jobs) < 2:
        return Counter(), []
    first, second = (predictions_of(folder, job) for job in jobs)
    kinds: dict[str, list[str]] = {"gained": [], "lost": [], "still wrong": [], "still right": []}
    for pid in sorted((pid for pid in first if pid in second), key=lambda pid: child_seed("example", pid)):
        if "UNVERIFIED" not in (first[pid].status, second[pid].status):
            kinds[_change(first[pid].status, second[pid].status)].append(pid)
    shares = {"gained": most - most // 2 - min(1, len(kinds["lost"])), "lost": 1, "still wrong": most // 2}
    chosen = {pid: kind for kind, share in shares.items() for pid in kinds[kind][: max(0, share)]} if most else {}
    asked = {row["id"]: row for row in rows_of(folder / "problems.jsonl") if row.get("id") in chosen}
    cases = [_case(asked[pid], [first[pid], second[pid]], kind) for pid, kind in chosen.items() if pid in asked]
    return Counter({kind: len(ids) for kind, ids in kinds.items()}), cases


def trainings(folder: Path) -> dict[str, Training]:
    """Return job -> what its `training.json` says of the training.

    Raises:
        DataError: One of them is not valid JSON.
    """
    found = {}
    for path in sorted((folder / "students").glob("*/training.json")):
        record = _json(path) or {}
        loss, dev = _points(record.get("curve"), ("loss",)), _points(record.get("dev"), ("accuracy", "dev_accuracy"))
        found[path.parent.name] = Training(loss, dev or _points(record.get("curve"), ("dev_accuracy",)), record)
    return found


def _points(rows: Any, names: tuple[str, ...]) -> list[tuple[float, float]]:
    """Return (step, value) of the rows that have a step and one of the names."""
    rows = [row for row in rows or [] if isinstance(row, dict) and _is_number(row.get("step"))]
    return [(row["step"], row[name]) for row in rows for name in names if _is_number(row.get(name))]


def _problems(folder: Path, examples: int) -> tuple[Counter[str], dict[str, Row]]:
    """Return problems per split, and the training problems that examples may be taken from."""
    splits: Counter[str] = Counter()
    held: list[tuple[int, Row]] = []
    for row in rows_of(folder / "problems.jsonl"):
        splits[str(row.get("split", "train"))] += 1
        if examples and row.get("split", "train") == "train":
            held.append((child_seed("example", row.get("id")), row))
            if len(held) > 4 * HELD_PROBLEMS:
                held = sorted(held, key=lambda pair: pair[0])[:HELD_PROBLEMS]
    held = sorted(held, key=lambda pair: pair[0])[:HELD_PROBLEMS]
    return splits, {str(row["id"]): row for _, row in held if "id" in row}


def _funnel(folder: Path, manifest: Row, held: Mapping[str, Row], most: int) -> tuple[Funnel, list[Case]]:
    funnel, verdicts = Funnel(), verdicts_of(folder)
    dropped = {str(row.get("id")): row for row in rows_of(folder / "dropped.jsonl") if row.get("stage") == "filter"}
    funnel.has_drops = (folder / "dropped.jsonl").exists()
    funnel.dropped = Counter(str(row.get("reason")) for row in dropped.values())
    kept: dict[str, Text] = {}
    rejected: dict[str, Text] = {}
    for row in rows_of(folder / "rationales.jsonl"):
        funnel.sampled += 1
        funnel.finishes[str(row.get("finish") or "unknown")] += 1
        funnel.tokens.update({k: v for k, v in (row.get("usage") or {}).items() if isinstance(v, int)})
        if row.get("problem_id") in held:
            drop = dropped.get(str(row.get("id")))
            written = _written(row, verdicts)
            written.note = str(drop.get("reason", "")) if drop else ""
            (rejected if drop else kept).setdefault(row["problem_id"], written)
    funnel.statuses = Counter(status for status, _ in verdicts.values())
    funnel.trained = _trained(folder, manifest)
    order = sorted(held, key=lambda pid: (pid not in kept or pid not in rejected, child_seed("example", pid)))
    pairs = [(pid, [texts[pid] for texts in (kept, rejected) if pid in texts]) for pid in order]
    return funnel, [_case(held[pid], texts) for pid, texts in pairs if texts][:most]


def _trained(folder: Path, manifest: Row) -> dict[str, dict[str, int]]:
    """Return the counts of every arm's examples, from the manifest or else by counting lines."""
    stages = manifest.get("stages") or {}
    names = sorted(path.name.split(".jsonl")[0] for path in (folder / "examples").glob("*.jsonl*"))
    found = {}
    for name in names:
        counts = (stages.get(f"examples/{name}") or {}).get("counts")
        if not counts:
            groups = Counter(str(row.get("group")) for row in rows_of(folder / "examples" / f"{name}.jsonl"))
            counts = {"examples": sum(groups.values()), "problems": len(groups)}
        found[name] = {key: int(value) for key, value in counts.items() if _is_number(value)}
    if not found and (folder / "examples.jsonl").exists():
        groups = Counter(str(row.get("group")) for row in rows_of(folder / "examples.jsonl"))
        found["examples"] = {"examples": sum(groups.values()), "problems": len(groups)}
    return found


def _written(row: Row, verdicts: Mapping[str, tuple[str, str | None]]) -> Text:
    status, answer = verdicts.get(str(row.get("id")), ("", None))
    return Text(author=str(row.get("author") or ""), text=str(row.get("text") or ""), status=status, answer=answer)


def _case(problem: Row, texts: Iterable[Text], heading: str = "") -> Case:
    gold = problem.get("answer")
    return Case(str(problem.get("question", "")), None if gold is None else str(gold), list(texts), heading)


def _change(before: str, after: str) -> str:
    was_right, is_right = before == "CORRECT", after == "CORRECT"
    if is_right:
        return "still right" if was_right else "gained"
    return "lost" if was_right else "still wrong"


def read_recipe(folder: Path) -> dict[str, Any]:
    """Return the resolved recipe as plain data; empty where there is none."""
    path = folder / "recipe.yaml"
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else {}
    except (OSError, ValueError, yaml.YAMLError) as cause:
        message = f"{path}: cannot be read ({shorten(cause, 80)}); restore it, or make the run again"
        raise DataError(message) from cause
    return found if isinstance(found, dict) else {}


def _json(path: Path) -> Any:
    if not path.exists():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as cause:
        message = f"{path}: not valid JSON ({shorten(cause, 80)}); remove it and run the same recipe again"
        raise DataError(message) from cause
    if not isinstance(found, dict):
        message = f"{path}: found {type(found).__name__}; expected a JSON object"
        raise DataError(message)
    return found


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 1))
        return file.read(1) == b"\n"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
