"""The Hugging Face Trainer, where it must differ: our batches, our loss, a dev split that is generated on.

Everything else (optimizer, schedule, precision, accumulation, checkpoints, several processes, tracking) is the
Trainer's own.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch.utils.data import Dataset
from transformers import EarlyStoppingCallback, PrinterCallback, Trainer, TrainerCallback

from potstill.errors import StudentError
from potstill.messages import say
from potstill.recipe.students import PairMarginConfig
from potstill.students.batching import Row, Schedule
from potstill.students.collating import Batch, collate, token_counts
from potstill.students.contrasts import with_contrasts
from potstill.students.loading import Loaded
from potstill.students.losses import pair_margin, task_totals, weighted_mean
from potstill.students.selection import DevSplit, with_model
from potstill.students.sharing import Layout

SAY_EVERY_S = 10.0
"""Seconds between two lines of progress."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """What one training consists of, beside the Trainer's arguments."""

    name: str
    """What messages call the student."""
    schedule: Schedule
    layout: Layout
    tasks: list[str]
    """Tasks with a mean of their own; empty: one mean over all."""
    task_weights: torch.Tensor
    split: DevSplit
    loaded: Loaded
    patience: int | None
    pair_margin: PairMarginConfig | None = None
    """What of the labels of pairs is added to the loss; `None`: nothing."""


class StepData(Dataset[list[Row]]):
    """The schedule as a data set of the Trainer: one item is one micro-batch."""

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule

    def set_epoch(self, epoch: int) -> None:
        """Arrange the steps of an epoch."""
        self._schedule.set_epoch(epoch)

    def __len__(self) -> int:
        return len(self._schedule)

    def __getitem__(self, step: int) -> list[Row]:
        return self._schedule[step]


class StudentTrainer(Trainer):  # type: ignore[misc]
    """The Trainer with our batches, our loss over the whole optimizer step, and a dev split that is generated on."""

    loss_is_scaled_for_ga = True

    def __init__(self, model: Any, args: Any, course: Course) -> None:
        self._course = course
        self.tokens_read = self.tokens_padding = 0
        self._flops_per_token = 6.0 * sum(p.numel() for p in model.parameters())
        callbacks: list[Any] = [ProgressLines(course.name)]
        if course.patience is not None and course.split.problems:
            callbacks.append(EarlyStoppingCallback(early_stopping_patience=course.patience))
        super().__init__(
            model=model,
            args=args,
            train_dataset=StepData(course.schedule),
            eval_dataset=[] if course.split.problems else None,
            data_collator=partial(
                _collate if course.pair_margin is None else _collate_pairs, layout=course.layout, tasks=course.tasks
            ),
            callbacks=callbacks,
        )
        self.remove_callback(PrinterCallback)

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Return this micro-batch's part of the step's loss; the factor undoes the averaging over processes."""
        nll_N = model(**inputs)
        totals_T = num_items_in_batch.to(nll_N.device)
        task_weights_T = self._course.task_weights.to(nll_N.device)
        loss = weighted_mean(nll_N, inputs["weights"], inputs["tasks"], totals_T[:-1], task_weights_T)
        if (config := self._course.pair_margin) is not None:
            found = pair_margin(nll_N, inputs["contrast_lengths"], inputs["contrast_pairs"], config.margin)
            # Two contrasts are one pair: its mean over the pairs of the whole step.
            loss = loss + config.weight * 2 * found / totals_T[-1].clamp_min(1)
        loss = loss * self.accelerator.num_processes
        return (loss, nll_N) if return_outputs else loss

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: Any) -> torch.Tensor:
        """Return what the loss of the whole optimizer step divides by, over all processes [T + 1]: per task, then the
        number of contrasts of pairs.
        """
        n_tasks = len(self._course.task_weights)
        totals_T = torch.zeros(n_tasks + 1, dtype=torch.float64)
        for batch in batch_samples:
            totals_T[:-1] += task_totals(batch["weights"].cpu(), batch["tasks"].cpu(), n_tasks)
            totals_T[-1] += len(batch.get("contrast_pairs", ()))
        totals_T = totals_T.float().to(device)
        if self.args.world_size > 1:
            totals_T = self.accelerator.gather(totals_T).view(-1, n_tasks + 1).sum(0)
        return totals_T

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        """Return an estimate: six per parameter and token."""
        return int(self._flops_per_token * token_counts(inputs)[0])

    def _track_num_input_tokens(self, inputs: dict[str, Any]) -> None:
        """Count target tokens in the field of the Trainer's state that survives a resume, and what is read for them."""
        read, padding = token_counts(inputs)
        self.tokens_read, self.tokens_padding = self.tokens_read + read, self.tokens_padding + padding
        extra = int(inputs["contrast_lengths"].sum()) if "contrast_lengths" in inputs else 0
        self.state.num_input_tokens_seen += (len(inputs["targets"]) - extra) * self.args.world_size

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Return the greedy accuracy on the dev split."""
        found = self._course.split.score(with_model(self._course.loaded, self.model))
        metrics: dict[str, float] = {"accuracy": found.accuracy, "n": found.n, "n_unscored": found.n_unscored}
        metrics |= {f"accuracy_{kind}": value for kind, value in found.by_kind.items()}
        if found.route_margin is not None:
            metrics["route_margin"] = found.route_margin
        metrics["target_tokens"] = self.state.num_input_tokens_seen
        metrics = {f"{metric_key_prefix}_{key}": value for key, value in metrics.items()}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)  # type: ignore[has-type]
        return metrics


def _collate(items: list[list[Row]], *, layout: Layout, tasks: list[str]) -> Batch:
    """Return the one micro-batch that an item of `StepData` is."""
    return collate(items[0], shared=layout.shared, tree=layout.tree, tasks=tasks, starts=layout.starts)


def _collate_pairs(items: list[list[Row]], *, layout: Layout, tasks: list[str]) -> Batch:
    """Return the one micro-batch that an item of `StepData` is, with the label-only rows of its pairs."""
    rows, found = with_contrasts(items[0])
    return _collate([rows], layout=layout, tasks=tasks) | {
        "contrast_lengths": torch.tensor(found.lengths, dtype=torch.long),
        "contrast_pairs": torch.tensor(found.pairs, dtype=torch.long).view(-1, 2),
    }


class ProgressLines(TrainerCallback):  # type: ignore[misc]
    """Says how training goes: each evaluation, and every ten seconds; stops it when the loss is no number."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._began = self._said = time.monotonic()
        self._first = 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Start the clock."""
        self._began = self._said = time.monotonic()
        self._first = state.global_step

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Say a line now and then."""
        loss = (logs or {}).get("loss")
        if loss is None:
            return
        if loss != loss or loss in (float("inf"), float("-inf")):
            message = (
                f"train: the loss is {loss} at step {state.global_step}; the weights are lost. Lower learning_rate, "
                "set max_grad_norm, or train in float32, and run again with another `out`"
            )
            raise StudentError(message)
        if state.is_world_process_zero and time.monotonic() - self._said >= SAY_EVERY_S:
            self._said = time.monotonic()
            say("train", f"{self._name}: {self._position(state)}, loss {loss:.3f}")

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any = None, **kwargs: Any) -> None:
        """Say the accuracy on the dev split."""
        if metrics and state.is_world_process_zero:
            self._said = time.monotonic()
            say(
                "train",
                f"{self._name}: {self._position(state)}, dev {metrics['eval_accuracy']:.3f} (n = {metrics['eval_n']})",
            )

    def _position(self, state: Any) -> str:
        done = state.global_step - self._first
        rate = done / max(1e-9, time.monotonic() - self._began)
        left = (state.max_steps - state.global_step) / rate if done else 0.0
        return f"step {state.global_step} of {state.max_steps} ({rate:.1f}/s, at most {left:.0f} s left)"
