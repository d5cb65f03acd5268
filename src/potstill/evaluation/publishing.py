"""Cards of what a run made; its examples and its student as two folders for the Hugging Face Hub, each with its card.

    RUN ──export──► OUT/dataset/  README.md (data card), data/train.*
                    OUT/model/    README.md (model card with the run's scores), the student's folder

A card holds only what the run knows: counts, intervals with their n, the recipe. Licences and a teacher's terms are not
known to a run: they are `unknown` until they are given. Addresses, keys and paths of this machine stay out.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from potstill.errors import ConfigError, DataError
from potstill.files import read_records, write_atomic, writing
from potstill.recipe.reading import load_recipe
from potstill.recipe.whole import Recipe
from potstill.records import Comparison, Example, Rationale, Score, from_dict
from potstill.run import read_manifest
from potstill.students.cards import model_card, read_record, scores_table
from potstill.students.exports import export, require_format

UNKNOWN = "unknown"
PRIVATE = ("base_url", "api_key_env", "headers", "extra_body", "proxy", "ca_file", "ledger", "replay", "model_path")
"""Recipe keys that hold addresses, keys or paths."""
SIZES = ((1000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a run cannot know and a card must say."""

    data_license: str = UNKNOWN
    """Of the questions, by the Hub's own name."""
    model_license: str = UNKNOWN
    """Of the base model, and so of the student."""
    teacher_terms: str = UNKNOWN
    """What the teacher's provider allows to be done with its texts."""


def publish(
    run: str | Path,
    out: str | Path,
    *,
    system: str | None = None,
    format: str = "parquet",
    terms: Terms | None = None,
    is_trial: bool = False,
) -> dict[str, Any]:
    """Write the two folders of one system of a run into `out`; return what each holds.

    Args:
        system: The system, or one seed of it (`scotd.seed0`); `None`: the only one that was trained.
        format: Of the examples, as `students.exports` names them.
        terms: Licences and terms (default: unknown).
        is_trial: Only say what would be written.

    Raises:
        ConfigError: The system is not named, or not one of the run.
        DataError: The run holds no examples, or the folders cannot be written.
    """
    run, out, terms = Path(run), Path(out), terms or Terms()
    recipe, manifest = load_recipe(_of_run(run, "recipe.yaml")), read_manifest(run)
    job = require_job(run, recipe, system)
    examples = list(read_records(run / "examples" / f"{job}.jsonl", Example))
    dataset, student = out / "dataset", run / "students" / job
    data_file = f"data/{_file_name(format)}"
    target = dataset / "data" if format == "llamafactory" else dataset / data_file
    model = str(out / "model") if student.is_dir() else None
    found: dict[str, Any] = {"system": job, "dataset": str(dataset), "examples": len(examples), "model": model}
    if is_trial:
        require_format(format, target)
        return found
    export(examples, target, format, name="train")
    scores = scores_of(run, job, recipe)
    authors = authors_of(run, examples)
    arm = recipe.for_arm(_arm_of(job, recipe))
    card = data_card(
        f"{run.name}-{job}", examples, manifest, arm, data_file=data_file,
        authors=authors, terms=terms, scores=scores,
    )  # fmt: skip
    write_atomic(dataset / "README.md", card)
    if model is not None:
        facts = {"teacher": _listed(authors) or UNKNOWN, "teacher's_terms": terms.teacher_terms,
                 "licence_of_the_questions": terms.data_license}  # fmt: skip
        own = yaml.safe_dump(public(arm.model_dump(mode="json")), sort_keys=False, allow_unicode=True)
        _write_model(student, Path(model), terms, facts, scores, own)
    return found


def write_cards(run: str | Path) -> list[Path]:
    """Give every student of a run a model card with what the run knows by now; return the cards that changed.

    A student that was not trained here, or of an arm that the recipe no longer has, keeps the card that it has.
    """
    run, changed = Path(run), []
    if not (run / "recipe.yaml").is_file():
        return []
    recipe, manifest = load_recipe(run / "recipe.yaml"), read_manifest(run)
    teachers = ", ".join(dict.fromkeys(teacher.author for teacher in recipe.teachers))
    for student in sorted(path.parent for path in (run / "students").glob("*/training.json")):
        record, arm = read_record(student), _arm_of(student.name, recipe)
        if record is None or arm not in (*recipe.arms, recipe.method):
            continue
        facts = {"run": run.resolve().name, "revision": manifest.get("git") or "", "teacher": teachers}
        own = yaml.safe_dump(public(recipe.for_arm(arm).model_dump(mode="json")), sort_keys=False, allow_unicode=True)
        card = model_card(student.name, record, facts, scores=scores_of(run, student.name, recipe), recipe=own)
        path = student / "README.md"
        if not path.exists() or path.read_text(encoding="utf-8") != card:
            write_atomic(path, card)
            changed.append(path)
    return changed


def require_job(run: Path, recipe: Recipe, system: str | None) -> str:
    """Return the name of the files of a system that was mixed.

    Raises:
        ConfigError: There are several and none, or another one, is named.
        DataError: There is none.
    """
    jobs = sorted(path.stem for path in (run / "examples").glob("*.jsonl"))
    if not jobs:
        message = f"{run}: holds no examples; run its recipe first (potstill run {run / 'recipe.yaml'} --run {run})"
        raise DataError(message)
    if system is None and len(jobs) == 1:
        return jobs[0]
    if system not in jobs:
        found = "several systems" if system is None else f"no system {system!r}"
        message = f"export: {run} holds {found}; name one with --system: {', '.join(jobs)}"
        raise ConfigError(message)
    return str(system)


def scores_of(run: Path, job: str, recipe: Recipe) -> tuple[list[Score], list[Comparison]]:
    """Return the scores and comparisons of a system: those over all its seeds, or of the one seed that it has."""
    path = run / "scores.json"
    if not path.exists():
        return [], []
    rows = json.loads(path.read_text(encoding="utf-8"))
    name = _arm_of(job, recipe)
    scores = [from_dict(Score, row, str(path)) for row in rows["scores"] if row["system"] == name]
    over_all = [score for score in scores if score.seed is None]
    compared = [from_dict(Comparison, row, str(path)) for row in rows["comparisons"] if name in (row["a"], row["b"])]
    return over_all or scores, compared


def authors_of(run: Path, examples: Sequence[Example]) -> Counter[str]:
    """Count the examples by who wrote them; bare gold answers have no author."""
    wanted = {example.rationale_id for example in examples}
    path = run / "rationales.jsonl"
    known = {row.id: row.author for row in read_records(path, Rationale) if row.id in wanted} if path.exists() else {}
    return Counter(known.get(example.rationale_id or "", "") or "gold answers" for example in examples)


def data_card(
    name: str,
    examples: Sequence[Example],
    manifest: Mapping[str, Any],
    recipe: Recipe,
    *,
    data_file: str,
    authors: Mapping[str, int],
    terms: Terms,
    scores: tuple[Sequence[Score], Sequence[Comparison]] = ((), ()),
) -> str:
    """Return the data card: front matter that `datasets` reads, the numbers of the run, the scores, the recipe."""
    stages = {stage: found.get("counts", {}) for stage, found in manifest["stages"].items()}
    head = {
        "license": terms.data_license,
        "task_categories": ["text-generation"],
        "tags": ["distillation", "synthetic", "potstill"],
        "size_categories": [next((word for most, word in SIZES if len(examples) < most), "1M<n<10M")],
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": data_file}]}],
    }
    lines = ["---", yaml.safe_dump(head, sort_keys=False).rstrip(), "---", "", f"# {name}", ""]
    lines += ["Training examples for a student model: a teacher's rationales, verified and rendered by potstill.", ""]
    lines += _table(_facts(examples, stages, recipe, authors, terms))
    lines += ["", "Whoever publishes this must hold the rights to the questions and to the teacher's texts."]
    lines += ["", "## The student trained on it", "", scores_table(*scores)]
    lines += ["", "## Recipe", "", "Addresses, keys and paths are left out.", "", "```yaml"]
    lines += [yaml.safe_dump(public(recipe.model_dump(mode="json")), sort_keys=False, allow_unicode=True).rstrip()]
    return "\n".join([*lines, "```", ""])


def _facts(
    examples: Sequence[Example], stages: Mapping[str, Mapping[str, Any]], recipe: Recipe, authors: Mapping[str, int],
    terms: Terms,
) -> dict[str, str]:  # fmt: skip
    """Return the rows of the data card's table; what is empty is not shown."""
    kinds = _listed(Counter(example.task for example in examples))
    sample, kept = stages.get("sample", {}), stages.get("filter", {})
    dropped = {key.removeprefix("dropped_"): n for key, n in kept.items() if key.startswith("dropped_")}
    named = [split.source for split in recipe.problems.splits.values()] or [recipe.problems.source]
    sources = {Path(name).name for source in named for name in ([source] if isinstance(source, str) else source)}
    return {
        "Examples": f"{len(examples)} ({kinds}) of {len({example.group for example in examples})} problems",
        "Questions from": ", ".join(sorted(sources)),
        "Licence of the questions": terms.data_license,
        "Written by": _listed(authors),
        "Terms of the teacher": terms.teacher_terms,
        "Sampled": f"{sample['rationales']} rationales, {sample.get('failed', 0)} without text" if sample else "",
        "Verified": _listed(stages.get("verify", {})),
        "Left out": f"{kept.get('dropped', 0)} ({_listed(dropped) or 'none'})" if kept else "",
        "Kept apart from": ", ".join(recipe.filter.decontaminate) + " (problems that retell one of these are dropped)"
        if recipe.filter.decontaminate
        else "",
        "Format": f"{recipe.mix.format}; the prompt is `{recipe.mix.prompt!r}`",
    }


def public(value: Any, key: str = "") -> Any:
    """Return a recipe without what belongs to one machine: private keys dropped, paths cut to their last part."""
    if isinstance(value, Mapping):
        kept = {name: public(item, name) for name, item in value.items() if name not in PRIVATE}
        return {name: item for name, item in kept.items() if item not in (None, {}, [])}
    if isinstance(value, list | tuple):
        return [public(item, key) for item in value]
    if isinstance(value, str) and key in ("source", "model", "demonstrations", "template", "embedding"):
        return Path(value).name if value.startswith((".", "/", "~")) else value
    return value


def _write_model(
    student: Path, out: Path, terms: Terms, facts: Mapping[str, str],
    scores: tuple[Sequence[Score], Sequence[Comparison]], recipe: str,
) -> None:  # fmt: skip
    """Copy a student's folder and give it a card with the run's scores."""
    record = read_record(student)
    if record is None:
        message = f"{student}: has no training.json; it was not trained here, so there is no card to write"
        raise DataError(message)
    with writing(out):
        shutil.copytree(student, out, dirs_exist_ok=True)
    card = model_card(student.name, record, facts, license=terms.model_license, scores=scores, recipe=recipe)
    write_atomic(out / "README.md", card)


def _of_run(run: Path, name: str) -> Path:
    if not (run / name).is_file():
        message = f"export: {run} is not a run directory (no {name} in it); give one that `potstill run` made"
        raise DataError(message)
    return run / name


def _arm_of(job: str, recipe: Recipe) -> str:
    """Return the arm whose files are named `job`."""
    names = [*recipe.arms, recipe.method]
    return job if job in names else job.rpartition(".seed")[0]


def _file_name(format: str) -> str:
    return "train.parquet" if format == "parquet" else "train.jsonl"


def _listed(counts: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())


def _table(rows: Mapping[str, str]) -> Iterable[str]:
    return ["| | |", "|---|---|", *(f"| {key} | {value} |" for key, value in rows.items() if value)]
