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
Judged = tuple[str, str | None, str]
"""Status, answer and reason of a verdict."""


@dataclass(slots=True)
class Text:
    """What an author wrote for a problem, and what became of it."""

    author: str
    text: str
    status: str = ""
    answer: str | None = None
    reason: str = ""
    """Of its verdict."""
    note: str = ""
    """Why it was dropped, where it was."""
    kind: str = "cot"


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
class Flow:
    """How many rationales of one kind came how far."""

    sampled: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(status, reason) of the verdicts."""
    dropped: Counter[str] = field(default_factory=Counter)

    @property
    def kept(self) -> int:
        """Rationales that the run's filter kept."""
        return self.sampled - sum(self.dropped.values())


@dataclass(slots=True)
class Funnel:
    """How many rationales each stage passed on."""

    kinds: dict[str, Flow] = field(default_factory=dict)
    finishes: Counter[str] = field(default_factory=Counter)
    tokens: Counter[str] = field(default_factory=Counter)
    authors: dict[str, Counter[str]] = field(default_factory=dict)
    """Author -> rationales and completion tokens that it wrote."""
    rounds: list[Flow] = field(default_factory=list)
    """The first sampling, then each round; empty where there are no rounds."""
    trained: dict[str, dict[str, int]] = field(default_factory=dict)
    """Job -> counts of its examples, of each kind and in all, and of its problems."""
    has_drops: bool = False

    @property
    def sampled(self) -> int:
        """Rationales of all kinds that the teacher wrote."""
        return sum(flow.sampled for flow in self.kinds.values())

    @property
    def statuses(self) -> Counter[str]:
        """Verdicts by status, over all kinds."""
        return sum((flow.statuses for flow in self.kinds.values()), Counter[str]())

    @property
    def kept(self) -> int:
        """Rationales of all kinds that the run's filter kept."""
        return sum(flow.kept for flow in self.kinds.values())


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


def teacher_name(teacher: Mapping[str, Any]) -> str:
    """Return what a reader calls a teacher of a recipe."""
    names = (teacher.get(key) for key in ("name", "model", "local", "replay", "base_url"))
    return str(next((name for name in names if name), "?"))


def is_miniature(recipe: Mapping[str, Any]) -> bool:
    """Whether a recipe uses the embedded world, teacher or student."""
    problems = recipe.get("problems") or {}
    sources = [problems, *(problems.get("splits") or {}).values()]
    teachers = recipe.get("teachers") or []
    student = (recipe.get("student") or {}).get("model")
    named = [source.get("source") for source in sources] + [
        teacher.get(key) for teacher in teachers for key in ("base_url", "local")
    ]
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


def verdicts_of(folder: Path, name: str = "verdicts.jsonl") -> dict[str, Judged]:
    """Return rationale id -> (status, answer, reason); the last verdict of a rationale counts."""
    return {
        str(row.get("rationale_id")): (str(row.get("status")), row.get("answer"), str(row.get("reason") or ""))
        for row in rows_of(folder / name)
    }


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
    funnel = Funnel()
    dropped = {str(row.get("id")): row for row in rows_of(folder / "dropped.jsonl") if row.get("stage") == "filter"}
    funnel.has_drops = (folder / "dropped.jsonl").exists()
    kept: dict[tuple[str, str], Text] = {}
    rejected: dict[tuple[str, str], Text] = {}
    for number, row, verdicts in _sampled(folder):
        kind, drop = str(row.get("kind", "cot")), dropped.get(str(row.get("id")))
        funnel.rounds += [Flow() for _ in range(number + 1 - len(funnel.rounds))]
        for flow in (funnel.kinds.setdefault(kind, Flow()), funnel.rounds[number]):
            _count(flow, verdicts.get(str(row.get("id"))), drop)
        funnel.finishes[str(row.get("finish") or "unknown")] += 1
        funnel.tokens.update({k: v for k, v in (row.get("usage") or {}).items() if isinstance(v, int)})
        wrote = funnel.authors.setdefault(str(row.get("author") or ""), Counter())
        wrote.update(rationales=1, completion_tokens=(row.get("usage") or {}).get("completion_tokens") or 0)
        if row.get("problem_id") in held:
            text = written(row, verdicts)
            text.note = str(drop.get("reason", "")) if drop else ""
            (rejected if drop else kept).setdefault((row["problem_id"], kind), text)
    funnel.trained = _trained(folder, manifest)
    return funnel, _teacher_cases(held, kept, rejected, list(funnel.kinds), most)


def _sampled(folder: Path) -> Iterator[tuple[int, Row, Mapping[str, Judged]]]:
    """Yield (number of the round, rationale, that file's verdicts); 0 is the first sampling."""
    names = ["", *(f".round{k}" for k in range(1, 100) if (folder / f"rationales.round{k}.jsonl").exists())]
    for number, name in enumerate(names):
        verdicts = verdicts_of(folder, f"verdicts{name}.jsonl")
        for row in rows_of(folder / f"rationales{name}.jsonl"):
            yield number, row, verdicts


def _count(flow: Flow, verdict: Judged | None, drop: Row | None) -> None:
    flow.sampled += 1
    if verdict is not None:
        flow.statuses[verdict[0]] += 1
        flow.reasons[verdict[0], verdict[2]] += 1
    if drop is not None:
        flow.dropped[str(drop.get("reason"))] += 1


def _teacher_cases(
    held: Mapping[str, Row],
    kept: Mapping[tuple[str, str], Text],
    rejected: Mapping[tuple[str, str], Text],
    kinds: list[str],
    most: int,
) -> list[Case]:
    """Return a kept beside a rejected text, of each kind in turn and of another problem each."""
    cases: list[Case] = []
    for kind in (kinds * most)[: max(most, len(kinds) if most else 0)]:
        used = {case.question for case in cases}
        keys = [(pid, kind) for pid in held if (pid, kind) in {*kept, *rejected} and held[pid]["question"] not in used]
        keys.sort(key=lambda key: (key not in kept or key not in rejected, child_seed("example", key[0])))
        for key in keys[:1]:
            cases.append(case_of(held[key[0]], [texts[key] for texts in (kept, rejected) if key in texts]))
    return cases


def _trained(folder: Path, manifest: Row) -> dict[str, dict[str, int]]:
    """Return the counts of every arm's examples, from the manifest or else by counting lines."""
    stages = manifest.get("stages") or {}
    names = sorted(path.name.split(".jsonl")[0] for path in (folder / "examples").glob("*.jsonl*"))
    found = {}
    for name in names:
        counts = (stages.get(f"examples/{name}") or {}).get("counts")
        counts = counts or _example_counts(folder / "examples" / f"{name}.jsonl")
        found[name] = {key: int(value) for key, value in counts.items() if _is_number(value)}
    if not found and (folder / "examples.jsonl").exists():
        found["examples"] = _example_counts(folder / "examples.jsonl")
    return found


def _example_counts(path: Path) -> dict[str, int]:
    groups: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    for row in rows_of(path):
        groups[str(row.get("group"))] += 1
        kinds[str(row.get("task"))] += 1
    return {"examples": groups.total(), "problems": len(groups), **kinds}


def written(row: Row, verdicts: Mapping[str, Judged]) -> Text:
    """Return a text with what its verdict says."""
    status, answer, reason = verdicts.get(str(row.get("id")), ("", None, ""))
    return Text(
        author=str(row.get("author") or ""), text=str(row.get("text") or ""), status=status, answer=answer,
        reason=reason, kind=str(row.get("kind", "cot")),
    )  # fmt: skip


def case_of(problem: Row, texts: Iterable[Text], heading: str = "") -> Case:
    """Return a problem's row with texts beside it."""
    gold = problem.get("answer")
    return Case(str(problem.get("question", "")), None if gold is None else str(gold), list(texts), heading)


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
