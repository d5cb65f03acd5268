"""A finished student folder: weights, tokenizer, generation settings, model card, training record; all or nothing.

The folder is made beside its place and renamed into it, so that a kill never leaves half a student. The card holds only
numbers that exist; nothing is filled in.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from potstill.files import writing
from potstill.records import Comparison, Score
from potstill.students.loading import Loaded, merged

RECORD = "training.json"


def write_student(
    out: Path, loaded: Loaded, model: Any, record: Mapping[str, Any], card: Mapping[str, Any], *, workshop: Path
) -> None:
    """Write the whole folder into `workshop` and rename it to `out`, replacing an older student there.

    Args:
        model: What was trained; adapters are merged into the weights, and kept beside them in `adapter/`.
        record: The contents of training.json.
        card: Facts for the model card.
        workshop: A folder on the same disk; an unfinished one left by a kill is overwritten.
    """
    with writing(out):
        fresh = workshop / "student"
        if fresh.exists():
            shutil.rmtree(fresh)
        fresh.mkdir(parents=True)
        if hasattr(model, "merge_and_unload"):
            model.save_pretrained(str(fresh / "adapter"))
            model = merged(model, fresh / "adapter")
        _set_generation(model, loaded)
        model.save_pretrained(str(fresh))
        loaded.tokenizer.save_pretrained(str(fresh))
        (fresh / RECORD).write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        (fresh / "README.md").write_text(model_card(out.name, record, card), encoding="utf-8")
        _sync(fresh)
        if out.exists():
            out.replace(workshop / "replaced")
        fresh.replace(out)


def read_record(folder: Path) -> dict[str, Any] | None:
    """Return a student's training.json, or `None` where there is none that can be read."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def model_card(
    name: str,
    record: Mapping[str, Any],
    facts: Mapping[str, Any],
    *,
    license: str | None = None,
    scores: tuple[Sequence[Score], Sequence[Comparison]] = ((), ()),
    recipe: str = "",
) -> str:
    """Return the model card: what it was made from, with which numbers, and what they do not say.

    Args:
        license: By the Hub's own name; `None`: the card says nothing of it.
        scores: Of the student, and how it compares, in the run that trained it.
        recipe: As YAML, without what belongs to one machine; empty: it is not shown.
    """
    examples = record["audit"]
    tasks = ", ".join(f"{count} {task}" for task, count in examples["tasks"].items())
    rows = {
        "Base": record["base"],
        "Training examples": f"{examples['examples']} ({tasks}) of {record['problems']} problems",
        "Left out as too long": str(examples["overlong"]) if examples["overlong"] else "",
        "Steps": f"{record['steps']} ({record['ended']})",
        "Chosen checkpoint": f"step {record['best_step']}" if record.get("best_step") else "the last",
        "Target tokens seen": str(record["target_tokens_seen"]),
        "Prompts": "read once for all their rationales" if record["shared_prompt"] else "one row per example",
        "Stops with": f"`{examples['stop_token']}`",
        "Quantized while trained": "4 bit (NF4); the weights here are what it stands for, with the adapters merged"
        if record.get("quantization")
        else "",
        "Seed": str(record["seed"]),
        **{key.replace("_", " ").capitalize(): str(value) for key, value in facts.items()},
    }
    is_pair = record.get("encoder_decoder", False)
    use, made_by = (
        ("text2text-generation", "AutoModelForSeq2SeqLM") if is_pair else ("text-generation", "AutoModelForCausalLM")
    )
    lines = ["---", "library_name: transformers", f"pipeline_tag: {use}", "tags: [distillation, potstill]"]
    lines += [f"license: {license}"] if license else []
    lines += ["---", "", f"# {name}", "", "A student distilled with potstill from a teacher's rationales.", ""]
    lines += ["| | |", "|---|---|", *(f"| {key} | {value} |" for key, value in rows.items() if value)]
    lines += ["", "## Accuracy", "", *([scores_table(*scores), ""] if scores[0] else []), _accuracy(record)]
    lines += ["", "## Use", "", "```python"]
    lines += [f"from transformers import {made_by}, AutoTokenizer", ""]
    lines += [f'model = {made_by}.from_pretrained("{name}")']
    lines += [f'tokenizer = AutoTokenizer.from_pretrained("{name}")', "```", ""]
    lines += [f"The prompt is `{record['prompt']!r}`, in {record['format']} format; it must be kept."]
    if recipe:
        said = "Addresses, keys and paths are left out."
        lines += ["", "## Recipe", "", said, "", "```yaml", recipe.rstrip(), "```"]
    lines += ["", f"Made with potstill, transformers {version('transformers')}, torch {version('torch')}.", ""]
    return "\n".join(lines)


def scores_table(scores: Sequence[Score], comparisons: Sequence[Comparison]) -> str:
    """Return scores and comparisons as Markdown, each number with its interval and its n."""
    if not scores:
        return "Not evaluated in this run."
    lines = ["| split | path | metric | value | interval | n | unscored |", "|---|---|---|---|---|---|---|"]
    for score in scores:
        value = "–" if score.value is None else f"{score.value:.3f}"
        interval = "–" if score.low is None or score.high is None else f"[{score.low:.3f}, {score.high:.3f}] {score.by}"
        cells = (score.split, score.path, score.metric, value, interval, str(score.n), str(score.n_unscored))
        lines.append(f"| {' | '.join(cells)} |")
    if comparisons:
        lines += ["", "Paired differences on the same problems:", ""]
    for row in comparisons:
        lines.append(
            f"- {row.a} − {row.b} on {row.split}, {row.path}, {row.metric}: {row.difference:+.3f} "
            f"[{row.low:+.3f}, {row.high:+.3f}], p = {row.p:.3f}, n = {row.n} ({row.test})"
        )
    return "\n".join(lines)


def _accuracy(record: Mapping[str, Any]) -> str:
    points = record["dev"]
    if not points:
        return "Not measured in training (no development split was given)."
    best = max(points, key=lambda point: (point["accuracy"], -point["step"]))
    return (
        f"Greedy, on the {best['n']} development answers that chose the checkpoint: {best['accuracy']:.3f} at step "
        f"{best['step']}. It was used for a choice, so it is optimistic; see the run's scores for a test split."
    )


def _set_generation(model: Any, loaded: Loaded) -> None:
    stops = list(loaded.stop_ids)
    model.generation_config.eos_token_id = stops if len(stops) > 1 else stops[0]
    model.generation_config.pad_token_id = loaded.tokenizer.pad_token_id


def _sync(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
