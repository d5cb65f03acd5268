"""Train a student on examples: a thin subclass of the Hugging Face Trainer that reads each prompt once.

    examples ──encode, audit──► rows ──schedule──► steps ──Trainer──► checkpoints ──dev split chooses──► student folder

What is ours: which rows meet in a step (`batching`), how they are read (`sharing`), the loss (`losses`), the choice of
the checkpoint (`selection`). The optimizer, its schedule, precision, accumulation, checkpoints, several processes and
tracking are the Trainer's, under its own argument names.

Not covered: teacher logits.
"""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers.trainer_utils import get_last_checkpoint

from potstill.errors import ConfigError
from potstill.files import write_atomic, writing
from potstill.messages import say
from potstill.recipe.rationales import SandboxConfig, VerifyConfig
from potstill.recipe.students import CurriculumConfig, InferConfig, MixConfig, StudentConfig, TrainConfig
from potstill.records import Example, Problem, content_id, to_dict
from potstill.students.arguments import batch_shape, processes, trainer_arguments
from potstill.students.batching import Row, Schedule
from potstill.students.cards import read_record, write_student
from potstill.students.curriculum import Curriculum, losses, plan
from potstill.students.encoding import Audit, Encoded, audit_rows, encode, fit
from potstill.students.loading import Loaded, adapt, open_student, plain_generation, quiet_bars
from potstill.students.selection import DevSplit
from potstill.students.sharing import Layout, choose_layout, route, unroute
from potstill.students.trainer import Course, StudentTrainer

TRIAL_TOKENS = 64
"""Tokens of a prompt and of a target in the trial that finds a model's layout."""


def train(
    examples: Sequence[Example],
    config: TrainConfig | None = None,
    *,
    student: StudentConfig | None = None,
    out: str | Path = "students/student",
    dev: Sequence[Problem] = (),
    infer: InferConfig | None = None,
    verify: VerifyConfig | None = None,
    sandbox: SandboxConfig | None = None,
    mix: MixConfig | None = None,
    seed: int = 0,
    resume: bool = True,
    name: str | None = None,
    threads: int | None = None,
    card: Mapping[str, Any] | None = None,
) -> Path:
    """Train a student and return its folder: config, weights, tokenizer, generation settings, card, training.json.

    The same call again returns at once; after a kill it goes on from the last checkpoint. Checkpoints lie in a hidden
    folder beside `out` until the student is finished.

    Args:
        examples: What to learn. Rows of one `group` and prompt share that prompt.
        dev: Problems whose greedy accuracy chooses the checkpoint; empty: the last step is taken.
        infer: How the dev problems are asked (`paths`, `max_new_tokens`, `batch_tokens`).
        sandbox: How the programs of the dev problems' answers are run.
        mix: How prompts are rendered, and whether texts are plain or chat.
        seed: Of initial weights, adapters, the schedule of examples, and dropout.
        resume: `False` discards an unfinished or finished student in `out`.
        name: What messages call it (default: the folder's name).
        threads: CPU threads of torch (default: as they are set).
        card: Facts for the model card (teacher, recipe, data); shown as they are.

    Raises:
        StudentError: The student cannot be loaded, or the examples cannot be learnt from (the token audit refuses).
        ConfigError: An argument is unknown or not allowed.

    Source: Li et al. 2023, arXiv:2306.14050, sections 2 and 3.
    Differs: prompts shared in a step; the checkpoint is chosen on a split that is not reported on; every other setting
        is the recipe's.
    """
    config, student = config or TrainConfig(), student or StudentConfig()
    mix, out, examples = mix or MixConfig(), Path(out), list(examples)
    split = DevSplit(
        problems=list(dev),
        infer=infer or InferConfig(),
        verify=verify or VerifyConfig(),
        mix=mix,
        sandbox=sandbox,
    )
    mark = fingerprint(examples, config, student, split, seed)
    if resume and (read_record(out) or {}).get("fingerprint") == mark:
        return out
    if threads is not None:
        torch.set_num_threads(threads)
    texts = [text for example in examples for text in (example.prompt, example.target)]
    loaded = open_student(student, texts=lambda: texts, seed=seed)
    rows, found = prepare(examples, loaded, config, chat=mix.format == "chat")
    job = Job(
        name or out.name, out, config, student, split, loaded, rows, found, mark, seed, dict(card or {}), examples
    )  # fmt: skip
    with writing(out, only_full=True):
        return job.run(resume=resume)


def prepare(
    examples: Sequence[Example], loaded: Loaded, config: TrainConfig, *, chat: bool
) -> tuple[list[Encoded], Audit]:
    """Encode the examples and audit them; see `potstill.students.encoding`."""
    limit = min((n for n in (config.max_length, loaded.context) if n is not None), default=None)
    every = encode(examples, loaded.tokenizer, chat=chat, stop_ids=loaded.stop_ids, apart=bool(loaded.starts))
    rows, drops = fit(every, limit, overlong=config.overlong, starts=len(loaded.starts))
    found = audit_rows(rows, examples, loaded.tokenizer, stop_ids=loaded.stop_ids, max_length=limit, drops=drops)
    return rows, found


def fingerprint(
    examples: Sequence[Example], config: TrainConfig, student: StudentConfig, split: DevSplit, seed: int
) -> str:
    """Return a hash of everything that the finished student depends on."""
    folder = Path(student.model).expanduser()
    weights = [(f.name, f.stat().st_size, f.stat().st_mtime_ns) for f in sorted(folder.glob("*.safetensors"))]
    asked = [split.infer.model_dump(mode="json"), split.verify.model_dump(mode="json")] if split.problems else []
    if split.problems and "pot" in split.infer.paths:
        asked.append((split.sandbox or SandboxConfig()).model_dump(mode="json", exclude={"workers"}))
    return content_id(
        "student",
        [to_dict(example) for example in examples],
        config.model_dump(mode="json"),
        student.model_dump(mode="json"),
        [to_dict(problem) for problem in split.problems],
        split.mix.model_dump(mode="json"),
        asked,
        weights,
        seed,
    )


@dataclass(frozen=True, slots=True)
class Job:
    """One training, from encoded rows to the finished folder."""

    name: str
    out: Path
    config: TrainConfig
    student: StudentConfig
    split: DevSplit
    loaded: Loaded
    rows: list[Encoded]
    audit: Audit
    mark: str
    seed: int
    card: dict[str, Any]
    examples: list[Example]

    @property
    def workshop(self) -> Path:
        """Where checkpoints lie until the student is finished."""
        return self.out.parent / f".{self.out.name}.partial"

    def run(self, *, resume: bool) -> Path:
        """Train, choose, write."""
        began = time.process_time()
        schedule = self.schedule()
        args = trainer_arguments(
            self.config,
            self.checkpoints,
            seed=self.seed,
            steps_per_epoch=schedule.n_steps,
            has_dev=bool(self.split.problems),
        )
        tasks, task_weights = task_table(self.config.task_weights, self.audit)
        is_main = args.process_index == 0
        with args.main_process_first(local=False):  # the workshop is one, whatever machine a process is on
            checkpoint = self.open_workshop(resume=resume) if is_main else last_checkpoint(self.checkpoints)
        model = self.adapted()
        uses_cache = model.config.use_cache
        layout = self.choose(model, args)
        if self.config.curriculum is not None:
            schedule = self.schedule(self.curriculum(self.config.curriculum, model, layout, args, schedule.n_steps))
        course = Course(name=self.name, schedule=schedule, layout=layout, tasks=tasks, task_weights=task_weights,
                        split=self.split, loaded=self.loaded, patience=self.config.patience,
                        pair_margin=self.config.pair_margin)  # fmt: skip
        if is_main:
            self.tell(layout, checkpoint)
        trainer = StudentTrainer(model, args, course)
        with quiet_bars():
            route(model, layout)
            try:
                trainer.train(resume_from_checkpoint=checkpoint)
            finally:
                unroute(model)
            model.config.use_cache = uses_cache
            if is_main:
                record = self.record(trainer, layout, time.process_time() - began)
                write_student(self.out, self.loaded, model, record, self.card, workshop=self.workshop)
                shutil.rmtree(self.workshop)
        trainer.accelerator.wait_for_everyone()
        return self.out

    @property
    def checkpoints(self) -> Path:
        """Where the Trainer keeps its checkpoints."""
        return self.workshop / "checkpoints"

    def schedule(self, curriculum: Curriculum | None = None) -> Schedule:
        """Return which rows meet in which step."""
        problems, rationales = batch_shape(self.config)
        return Schedule(
            self.rows,
            loader=self.config.loader,
            problems_per_step=problems,
            rationales_per_problem=rationales,
            seed=self.seed,
            curriculum=curriculum,
            pairs_together=self.config.pairs_together,
            shares=processes(),
        )

    def curriculum(
        self, config: CurriculumConfig, model: Any, layout: Layout, args: Any, steps_per_epoch: int
    ) -> Curriculum:
        """Return the order of the problems; the untrained student's losses are measured once and kept for a resume."""
        file = self.workshop / "losses.json"
        measured: dict[str, float] | None = None
        if config.by == "loss" and file.exists():
            measured = json.loads(file.read_text(encoding="utf-8"))
        elif config.by == "loss":
            route(model, layout)
            try:
                measured = losses(model, self.rows, shared=layout.shared, starts=layout.starts)
            finally:
                unroute(model)
            if args.process_index == 0:
                write_atomic(file, json.dumps(measured))
        per_step = args.gradient_accumulation_steps
        pace = None if config.pace == "epoch" else per_step * paced_steps(config.pace, args, steps_per_epoch / per_step)
        return plan(config, self.examples, self.rows, pace=pace, measured=measured)

    def open_workshop(self, *, resume: bool) -> str | None:
        """Make the folder for checkpoints; return the last whole checkpoint of the same training, if there is one."""
        mark = self.workshop / "fingerprint"
        with writing(self.workshop):
            known = mark.read_text(encoding="utf-8") if mark.exists() else None
            if self.workshop.exists() and (not resume or known != self.mark):
                shutil.rmtree(self.workshop)
            write_atomic(mark, self.mark)
        return last_checkpoint(self.checkpoints)

    def adapted(self) -> Any:
        """Return the model to train: the student's, in a plain generation configuration, with adapters if asked for."""
        self.loaded.model.generation_config = plain_generation(self.loaded)
        if self.student.lora is None:
            return self.loaded.model
        torch.manual_seed(self.seed)
        return adapt(self.loaded.model, self.student.lora)

    def choose(self, model: Any, args: Any) -> Layout:
        """Return the layout for this model, by trial."""
        if self.student.quantization is None:  # bitsandbytes has placed what it quantized
            model.to(args.device)
        names = ("gradient_checkpointing", "activation_checkpointing")
        checkpointing = any(getattr(args, name, False) for name in names)
        want_shared = self.config.shared_prompt
        rows, starts = trial_rows(self.rows), self.loaded.starts
        return choose_layout(model, rows, want_shared=want_shared, checkpointing=checkpointing, starts=starts)

    def tell(self, layout: Layout, checkpoint: str | None) -> None:
        """Say what will be learnt and how, from where training goes on, and which settings have no effect."""
        lines = list(self.audit.lines())
        if self.config.shared_prompt and not layout.shared:
            lines.append(f"prompts are not shared ({layout.reason}); one padded row per example instead")
        if checkpoint is not None:
            lines.append(f"goes on from {Path(checkpoint).name}")
        if not self.split.problems:
            given = {*(self.config.model_extra or {}), *self.config.model_fields_set} & {"patience", "eval_steps"}
            lines += [f"train.{name} has no effect without a dev split" for name in sorted(given)]
        for line in lines:
            say("train", f"{self.name}: {line}")

    def record(self, trainer: StudentTrainer, layout: Layout, cpu_s: float) -> dict[str, Any]:
        """Return the contents of training.json: facts, the loss curve, and the dev curve that shows the plateau."""
        state, history = trainer.state, trainer.state.log_history
        problems, rationales = batch_shape(self.config)
        early = state.global_step < state.max_steps
        return {
            "fingerprint": self.mark,
            "base": self.loaded.name,
            "seed": self.seed,
            "steps": state.global_step,
            "max_steps": state.max_steps,
            "best_step": state.best_global_step if self.split.problems else None,
            "ended": f"{self.config.patience} evaluations without a better one" if early else "all steps",
            "curve": [{"step": row["step"], "loss": row["loss"]} for row in history if "loss" in row],
            "dev": [_dev_point(row) for row in history if "eval_accuracy" in row],
            "target_tokens_seen": state.num_input_tokens_seen,
            "problems": len({row.group for row in self.rows}),
            "problems_per_step": problems,
            "rationales_per_problem": rationales,
            "loader": self.config.loader,
            "curriculum": self.config.curriculum and self.config.curriculum.model_dump(mode="json"),
            "pairs": len({row.pair for row in self.rows if row.pair}),
            "pairs_together": self.config.pairs_together,
            "pair_margin": self.config.pair_margin and self.config.pair_margin.model_dump(mode="json"),
            "shared_prompt": layout.shared,
            "layout_reason": layout.reason,
            "tree": layout.tree,
            "tokens_read": trainer.tokens_read,
            "padding_frac": round(trainer.tokens_padding / max(1, trainer.tokens_read), 4),
            "encoder_decoder": bool(layout.starts),
            "quantization": self.student.quantization,
            "prompt": self.split.mix.prompt,
            "format": self.split.mix.format,
            "mix": self.split.mix.model_dump(mode="json"),
            "parameters": trainer.model.num_parameters(),
            "trained_parameters": trainer.model.num_parameters(only_trainable=True),
            "cpu_s": round(cpu_s, 1),
            "remedies": list(self.loaded.remedies),
            "audit": self.audit.facts(),
        }


def paced_steps(pace: int | str, args: Any, steps_per_epoch: float) -> int:
    """Return the optimizer steps after which all problems have joined: a number, or all (`linear`)."""
    if isinstance(pace, int):
        return pace
    return int(args.max_steps) if args.max_steps > 0 else math.ceil(args.num_train_epochs * steps_per_epoch)


def task_table(task_weights: Mapping[str, float], found: Audit) -> tuple[list[str], torch.Tensor]:
    """Return the tasks that have a mean of their own, and their weights; without weights, one mean over all.

    Raises:
        ConfigError: A task without weight, or a weight without examples.
    """
    if not task_weights:
        return [], torch.ones(1)
    if set(task_weights) != set(found.tasks) or min(task_weights.values()) < 0:
        message = (
            f"train.task_weights: got {dict(task_weights)}; expected one weight of 0 or more for each task among the "
            f"examples: {', '.join(found.tasks)}"
        )
        raise ConfigError(message)
    return list(task_weights), torch.tensor(list(task_weights.values()), dtype=torch.float32)


def trial_rows(rows: Sequence[Encoded]) -> list[Row]:
    """Return up to two prompts of different length with two targets each, cut short: only for trying layouts."""
    by_prompt: dict[int, list[Encoded]] = {}
    for row in rows[:2000]:
        by_prompt.setdefault(id(row.prompt), []).append(row)
    ranked = sorted(by_prompt.values(), key=lambda held: (len(held[0].prompt), -len(held)))
    picks = [ranked[0], ranked[-1]] if len(ranked) > 1 else ranked
    found = []
    for held in picks:
        prompt = held[0].prompt[-TRIAL_TOKENS:] if held is picks[-1] else held[0].prompt[-TRIAL_TOKENS // 2 :]
        for row in held[:2]:
            cut = Encoded(row.id, row.group, row.task, 1.0, prompt, row.target[:TRIAL_TOKENS])
            found.append(Row(cut, 1.0))
    return found


def last_checkpoint(folder: Path) -> str | None:
    """Return the newest whole checkpoint; those that a kill left unfinished are removed.

    The Trainer writes `trainer_state.json` last, so a checkpoint without a readable one is not whole.
    """
    while folder.is_dir() and (found := get_last_checkpoint(str(folder))) is not None:
        with suppress(OSError, ValueError):
            json.loads((Path(found) / "trainer_state.json").read_text(encoding="utf-8"))
            return str(found)
        shutil.rmtree(found)
    return None


def _dev_point(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return one point of the dev curve from the Trainer's history."""
    return {key.removeprefix("eval_"): value for key, value in row.items() if key.startswith("eval_") or key == "step"}
