"""The Hugging Face Trainer's arguments, by their own names, from a recipe's `train` table.

Defaults of ours stand in `defaults`; whatever the recipe says wins, except for the few that would break training as it
is done here. A name that the installed transformers does not know is refused with the nearest one.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from potstill.errors import ConfigError, shorten
from potstill.recipe.students import TrainConfig

OURS_TO_SET = {
    "output_dir": "the folder is the student's (`out`)",
    "remove_unused_columns": "batches hold their own columns",
    "label_names": "batches hold their own columns",
    "auto_find_batch_size": "use problems_per_step and rationales_per_problem",
    "train_sampling_strategy": "use loader",
    "load_best_model_at_end": "a dev split switches it on",
    "metric_for_best_model": "the greedy accuracy on the dev split decides",
    "greater_is_better": "the greedy accuracy on the dev split decides",
    "label_smoothing_factor": "the loss is the plain one of the paper",
}
RENAMED = {
    "warmup_ratio": "warmup_steps (a value below 1 is a fraction of all steps)",
    "evaluation_strategy": "eval_strategy",
    "max_seq_length": "max_length",
    "no_cuda": "use_cpu",
    "gradient_checkpointing_enable": "gradient_checkpointing",
}
POINTS = 10
"""Evaluations, and checkpoints, of a training whose recipe says nothing about them."""


def batch_shape(config: TrainConfig) -> tuple[int, int]:
    """Return (problems per step, rationales per problem), also where the recipe speaks of rows as the Trainer does.

    `per_device_train_batch_size: B` alone means B problems with one rationale each (SCoTD: 32 and one).

    Raises:
        ConfigError: The sizes contradict each other.
    """
    problems, rationales = config.problems_per_step, config.rationales_per_problem
    extra = config.model_extra or {}
    if "per_device_train_batch_size" not in extra:
        return problems, rationales
    rows = _number(extra["per_device_train_batch_size"], int, "per_device_train_batch_size")
    given = config.model_fields_set & {"problems_per_step", "rationales_per_problem"}
    if not given and rows >= 1:
        return rows, 1
    if given == {"rationales_per_problem"}:
        problems = rows // rationales
    elif given == {"problems_per_step"}:
        rationales = rows // problems
    if problems * rationales != rows or rows < 1:
        message = (
            f"train.per_device_train_batch_size: got {rows}; it must be problems_per_step x rationales_per_problem "
            f"({config.problems_per_step} x {config.rationales_per_problem}): give two of the three"
        )
        raise ConfigError(message)
    return problems, rationales


def trainer_arguments(config: TrainConfig, folder: Path, *, seed: int, steps_per_epoch: int, has_dev: bool) -> Any:
    """Return the `TrainingArguments` of a recipe.

    Args:
        folder: Where checkpoints go.
        steps_per_epoch: Micro-batches of one epoch.
        has_dev: Whether a dev split chooses the checkpoint.

    Raises:
        ConfigError: A name is unknown or ours to set, or a value is not allowed.
    """
    from transformers import TrainingArguments

    known = {f.name: f for f in fields(TrainingArguments) if f.init}
    given = {}
    for name, value in (config.model_extra or {}).items():
        if name == "per_device_train_batch_size":
            continue
        _require_known(name, known)
        given[name] = _typed(name, value, known[name])
    values = {**defaults(given, steps_per_epoch, has_dev=has_dev), **_devices(), "seed": seed, **given}
    values |= {"output_dir": str(folder), "remove_unused_columns": False, "per_device_train_batch_size": 1}
    try:
        args = TrainingArguments(**values)
    except (ValueError, TypeError, ImportError) as cause:
        message = f"train: the Trainer does not accept these arguments: {shorten(cause)}"
        raise ConfigError(message) from cause
    if args.n_gpu > 1:  # DataParallel would split our batches in the wrong places; `accelerate launch` does it right
        args._n_gpu = 1
    return args


def defaults(given: Mapping[str, Any], steps_per_epoch: int, *, has_dev: bool) -> dict[str, Any]:
    """Return our defaults; the Trainer's own hold for everything else."""
    every = max(1, _total_steps(given, steps_per_epoch) // POINTS)
    eval_steps = given.get("eval_steps", every)
    values: dict[str, Any] = {
        "report_to": "none",
        "disable_tqdm": True,
        "log_level": "error",
        "logging_nan_inf_filter": False,
        "logging_steps": max(1, every // 5),
        "save_strategy": "steps",
        "save_steps": every,
        "save_total_limit": 2,
        "train_sampling_strategy": "sequential",
        "dataloader_pin_memory": False,
        "restore_callback_states_from_checkpoint": True,
    }
    if has_dev:
        strategy = given.get("eval_strategy", "steps")
        values |= {"eval_strategy": strategy, "save_strategy": strategy, "eval_steps": eval_steps}
        values |= {"save_steps": eval_steps, "load_best_model_at_end": True}
        values |= {"metric_for_best_model": "accuracy", "greater_is_better": True}
    return values


def _devices() -> dict[str, Any]:
    """Return what several processes without an accelerator must be told: else each trains for itself."""
    import torch

    has_accelerator = torch.cuda.is_available() or torch.backends.mps.is_available()
    return {"use_cpu": True} if processes() > 1 and not has_accelerator else {}


def processes() -> int:
    """Return how many processes train together: what `torchrun` or `accelerate launch` started, 1 without them."""
    return int(os.environ.get("WORLD_SIZE", "1"))  # the launcher's own name, not an option of ours


def _total_steps(given: Mapping[str, Any], steps_per_epoch: int) -> int:
    if given.get("max_steps", -1) > 0:
        return int(given["max_steps"])
    per_epoch = max(1, steps_per_epoch // int(given.get("gradient_accumulation_steps", 1)))
    return max(1, int(per_epoch * given.get("num_train_epochs", 3)))


def _require_known(name: str, known: Mapping[str, Any]) -> None:
    if name in OURS_TO_SET:
        message = f"train.{name}: cannot be set; {OURS_TO_SET[name]}"
        raise ConfigError(message)
    if name in known:
        return
    near = RENAMED.get(name) or next(
        iter(difflib.get_close_matches(name, [*known, *TrainConfig.model_fields], n=1)), None
    )
    hint = f"did you mean {near}?" if near else "see the Hugging Face TrainingArguments for the names"
    message = f"train.{name}: neither an option of potstill nor an argument of the Hugging Face Trainer; {hint}"
    raise ConfigError(message)


def _typed(name: str, value: Any, known: Any) -> Any:
    """Return a number for a number written as text: YAML reads 2e-5, without a point, as a string."""
    default = known.default
    if not isinstance(value, str) or default is MISSING or isinstance(default, bool | str):
        return value
    return _number(value, type(default), name) if isinstance(default, int | float) else value


def _number(value: Any, kind: type, name: str) -> Any:
    try:
        number = float(value)
    except (TypeError, ValueError):
        message = f"train.{name}: got {shorten(repr(value), 80)}; expected a number"
        raise ConfigError(message) from None
    return int(number) if kind is int and number.is_integer() else number
