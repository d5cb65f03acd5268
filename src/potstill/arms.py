"""Arms: the same problems and rationales, mixed, trained and asked in different ways, each with several seeds.

An arm is what a paper's table calls a row (answer-only, N = 1, SCoTD). Mixing is cheap and happens here, in one
process; training and inference of an arm run in worker processes when the recipe's `parallel` is above one. A worker
writes only files that no other worker writes and leaves the manifest to its parent.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from potstill.engines import running
from potstill.errors import DataError, PotstillError
from potstill.generators.augmentation import way_of_making
from potstill.generators.selection import is_learnt_from
from potstill.messages import is_quiet, say, set_quiet
from potstill.rationales.ways import place_of
from potstill.recipe.reading import load_recipe
from potstill.recipe.students import InferConfig
from potstill.recipe.whole import Recipe
from potstill.records import Example, Problem, Rationale, child_seed, content_id
from potstill.run import Run
from potstill.students.curriculum import noted
from potstill.verdicts import read_pool, verify_file

APPEND_ROWS = 64
"""Paths are written together, so many at a time: what a kill can lose."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One system trained with one seed."""

    name: str
    seed: int
    job: str
    """The name of its files: the system's, with `.seedK` where there are several seeds."""
    recipe: Recipe
    is_trained: bool
    marks: Mapping[str, str] = field(default_factory=dict)
    """Stage name -> fingerprint, for the stages examples/JOB, students/JOB and predictions/JOB."""

    @property
    def examples_name(self) -> str:
        """File of its training examples."""
        return f"examples/{self.job}.jsonl"


def arms_of(recipe: Recipe, marks: Mapping[str, str]) -> list[Arm]:
    """Return every arm and seed of a recipe, with fingerprints that start from the shared stages' `marks`."""
    names = [name for name, arm in recipe.arms.items() if not arm.ensemble] or [recipe.method]
    return [_arm(recipe, name, seed, marks) for name in names for seed in range(_seeds(recipe, name))]


def _seeds(recipe: Recipe, name: str) -> int:
    """Return how often an arm is trained; an untrained one is the same under every seed."""
    arm = recipe.arms.get(name)
    if arm is None:
        return recipe.n_seeds
    return 1 if arm.train is None else arm.n_seeds or recipe.n_seeds


def _arm(recipe: Recipe, name: str, seed: int, marks: Mapping[str, str]) -> Arm:
    own = recipe.for_arm(name)
    is_trained = name not in recipe.arms or recipe.arms[name].train is not None
    job = name if recipe.n_seeds == 1 or not is_trained else f"{name}.seed{seed}"
    difficulty = [by] if (by := noted(own.train.curriculum)) else []
    made_of = [own.filter.model_dump(mode="json"), own.mix.model_dump(mode="json"), seed, *difficulty]
    made_of += ["contrast"] if own.train.pair_margin is not None else []
    made_of += [marks["review"]] if own.filter.is_reviewed and "review" in marks else []
    pool = "filter" if own.mix.rounds is None else f"pool/{min(own.mix.rounds, len(recipe.rounds))}"
    examples = content_id(marks[pool], *made_of)
    if not is_trained:
        examples = marks["problems"]
    student_table = own.student.model_dump(mode="json")
    student = content_id(examples, student_table, own.train.model_dump(mode="json") if is_trained else None, seed)
    asked = [own.infer.model_dump(mode="json"), list(own.evaluate.splits), own.mix.model_dump(mode="json")]
    verified = own.verify.model_dump(mode="json", exclude={"workers", "max_failed_frac"})
    if "pot" in own.infer.paths:
        verified["sandbox"] = own.sandbox.model_dump(mode="json", exclude={"workers"})
    stages = {f"predictions/{job}": content_id(student, asked, verified, marks["problems"])}
    if is_trained:
        stages = {f"examples/{job}": examples, f"students/{job}": student, **stages}
    return Arm(name=name, seed=seed, job=job, recipe=own, is_trained=is_trained, marks=stages)


def require_means(run: Run, arms: Iterable[Arm], problems: Iterable[Problem]) -> None:
    """Check, before anything is spent, what the arms that are still to be mixed will need.

    Raises:
        MissingExtraError, ConfigError: An embedding model cannot be opened.
        DataError: No training problem has what a curriculum orders by.
    """
    from potstill.rationales.embedding import require_model
    from potstill.students.curriculum import require_noted

    problems = list(problems)
    for arm in (arm for arm in arms if _is_open(run, arm, f"examples/{arm.job}")):
        if arm.recipe.mix.select is not None:
            require_model(arm.recipe.mix.select.embedding)
        if by := noted(arm.recipe.train.curriculum):
            require_noted(by, [p for p in problems if p.split in arm.recipe.sample.splits])


def run_arms(run: Run, recipe: Recipe, arms: list[Arm], until: str) -> None:
    """Mix, train and infer (up to `until`) every arm that is not done yet."""
    mix_arms(run, [arm for arm in arms if arm.is_trained], len(recipe.rounds))
    if until == "mix":
        return
    steps = ["students", "predictions"][: 1 if until == "train" else 2]
    open_steps = {arm.job: [s for s in steps if _is_open(run, arm, f"{s}/{arm.job}")] for arm in arms}
    waiting = [arm for arm in arms if open_steps[arm.job]]
    if not waiting:
        return
    say("arms", f"{len(waiting)} to train and ask: {', '.join(arm.job for arm in waiting)}")
    if recipe.parallel == 1:
        for arm in waiting:
            for step in open_steps[arm.job]:
                _begin(run, arm, step)
                engine = running() if step == "students" else None
                do = STEPS[step] if engine is None else engine.train
                _finish(run, arm, step, do(str(run.folder), arm.name, arm.seed, arm.job))
    else:
        _run_parallel(run, recipe, waiting, open_steps)


def mix_arms(run: Run, arms: Iterable[Arm], rounds: int = 0) -> None:
    """Write the training examples of every arm that is not done yet; `rounds`: how many the run has had."""
    waiting = [arm for arm in arms if _is_open(run, arm, f"examples/{arm.job}")]
    if not waiting:
        return
    problems = {p.id: p for p in run.read("problems.jsonl", Problem)}
    rationales = read_pool(run, problems, rounds)
    tainted = run.read_json("contaminated.json") or {}
    for arm in waiting:
        stage = f"examples/{arm.job}"
        run.begin(stage, arm.marks[stage], [arm.examples_name])
        examples, counts = examples_of(rationales, arm.recipe, problems.values(), tainted, arm.seed)
        run.write(arm.examples_name, examples)
        run.finish(stage, arm.marks[stage], counts)
        say("mix", f"{arm.job}: {counts['examples']} examples of {counts['problems']} problems")


def examples_of(
    rationales: Iterable[Rationale], own: Recipe, problems: Iterable[Problem], tainted: Mapping[str, str], seed: int
) -> tuple[list[Example], dict[str, int]]:
    """Return what a student is trained on by a recipe as its arm sees it, and the counts of it."""
    from potstill.rationales.filtering import keep
    from potstill.students.mixing import kind_counts, mix, role_counts

    last = own.mix.rounds
    rationales = [r for r in rationales if last is None or r.meta.get("round", 0) <= last]
    if (ways := own.mix.augmented) is not None:
        problems = [p for p in problems if way_of_making(p) in (None, *ways)]
        known = {p.id for p in problems}
        rationales = [r for r in rationales if r.problem_id in known]
    if own.mix.evolved is not None:
        problems = [p for p in problems if is_learnt_from(p, own.mix.evolved)]
        known = {p.id for p in problems}
        rationales = [r for r in rationales if r.problem_id in known]
    kept, _ = keep(rationales, own.filter, contaminated=tainted)
    train = [p for p in problems if p.split in own.sample.splits and p.id not in tainted]
    examples = mix(
        kept, own.mix, problems=train, filter=None, candidates=rationales, seed=child_seed(own.seed, "mix", seed),
        difficulty=noted(own.train.curriculum), contrast=own.train.pair_margin is not None,
    )  # fmt: skip
    counts = {"kept": len(kept), "examples": len(examples), "problems": len({e.group for e in examples})}
    return examples, {**counts, **kind_counts(examples), **role_counts(examples, rationales)}


def train_arm(folder: str, name: str, seed: int, job: str) -> dict[str, Any]:
    """Train one arm into `students/JOB`; return its counts."""
    from potstill.students.training import train

    own, problems = _load(folder, name)
    examples = list(_read(folder, f"examples/{job}.jsonl", Example))
    dev = [p for p in problems.values() if p.split == "dev"][: own.train.dev_problems]
    began = time.process_time()
    train(
        examples,
        own.train,
        student=own.student,
        out=Path(folder) / "students" / job,
        dev=dev,
        infer=own.infer,
        verify=own.verify,
        sandbox=own.sandbox,
        mix=own.mix,
        seed=child_seed(own.seed, "train", seed),
        name=job,
    )
    return {"examples": len(examples), "cpu_s": round(time.process_time() - began, 1)}


def infer_arm(
    folder: str,
    name: str,
    seed: int,
    job: str,
    splits: Sequence[str] | None = None,
    config: InferConfig | None = None,
) -> dict[str, Any]:
    """Ask one arm's student every evaluation problem, into `predictions/JOB.jsonl`, and verify; return its counts.

    Args:
        splits: Those to ask instead.
        config: How to ask, instead of as the arm says.
    """
    from potstill.students.inference import infer
    from potstill.students.loading import model_folder

    own, problems = _load(folder, name)
    student = Path(folder) / "students" / job
    where: str | Path = student if student.exists() else model_folder(own.student)
    tested = [p for p in problems.values() if p.split in (splits or own.evaluate.splits)]
    asked = config or own.infer
    run = Run(folder)
    predictions = f"predictions/{job}.jsonl"
    done = {place_of(r) for r in run.read(predictions, Rationale)}
    began, batch, count = time.process_time(), list[Rationale](), len(done)
    with run.appender(predictions) as appender:
        seed = child_seed(own.seed, "infer", seed)
        try:
            for rationale in infer(tested, where, asked, mix=own.mix, author=name, seed=seed, done=done):
                batch.append(rationale)
                count += 1
                if len(batch) >= APPEND_ROWS:
                    full, batch = batch, []
                    appender.append(full)
        finally:
            appender.append(batch)
    statuses = verify_file(run, own, predictions, f"verdicts/{job}.jsonl", problems)
    say("infer", f"{job}: {count} paths over {len(tested)} problems")
    return {"paths": count, **statuses, "cpu_s": round(time.process_time() - began, 1)}


STEPS: dict[str, Callable[[str, str, int, str], dict[str, Any]]] = {"students": train_arm, "predictions": infer_arm}
FILES = {"students": ("students/{}",), "predictions": ("predictions/{}.jsonl", "verdicts/{}.jsonl")}


def _is_open(run: Run, arm: Arm, stage: str) -> bool:
    return stage in arm.marks and not run.is_done(stage, arm.marks[stage])


def _begin(run: Run, arm: Arm, step: str) -> None:
    stage = f"{step}/{arm.job}"
    run.begin(stage, arm.marks[stage], [name.format(arm.job) for name in FILES[step]])


def _finish(run: Run, arm: Arm, step: str, counts: Mapping[str, Any]) -> None:
    stage = f"{step}/{arm.job}"
    run.finish(stage, arm.marks[stage], counts)


def _run_parallel(run: Run, recipe: Recipe, waiting: list[Arm], open_steps: Mapping[str, list[str]]) -> None:
    """Run each arm's steps one after another, `recipe.parallel` arms at a time."""
    threads = max(1, (os.cpu_count() or 1) // recipe.parallel)
    context = multiprocessing.get_context("spawn")
    setup = (os.getpid(), threads, is_quiet())
    pool = ProcessPoolExecutor(recipe.parallel, mp_context=context, initializer=_start_worker, initargs=setup)
    running: dict[Future[dict[str, Any]], tuple[Arm, list[str]]] = {}

    def submit(arm: Arm, steps: list[str]) -> None:
        _begin(run, arm, steps[0])
        future = pool.submit(STEPS[steps[0]], str(run.folder), arm.name, arm.seed, arm.job)
        running[future] = (arm, steps)

    try:
        for arm in waiting:
            submit(arm, open_steps[arm.job])
        while running:
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                arm, steps = running.pop(future)
                _finish(run, arm, steps[0], _result(future, arm, steps[0]))
                if steps[1:]:
                    submit(arm, steps[1:])
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _result(future: Future[dict[str, Any]], arm: Arm, step: str) -> dict[str, Any]:
    try:
        return future.result()
    except PotstillError:
        raise
    except OSError as cause:
        message = f"{step}/{arm.job}: the worker process ended early ({cause}); run the same command again, it resumes"
        raise DataError(message) from cause


def _start_worker(parent: int, threads: int, quiet: bool) -> None:
    """Set up a worker: its share of the cores, and an end of its own when the parent is killed."""
    import torch

    torch.set_num_threads(threads)
    set_quiet(quiet=quiet)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _load(folder: str, name: str) -> tuple[Recipe, dict[str, Problem]]:
    recipe = load_recipe(Path(folder) / "recipe.yaml")
    return recipe.for_arm(name), {p.id: p for p in _read(folder, "problems.jsonl", Problem)}


def _read(folder: str, name: str, cls: type[Any]) -> Iterable[Any]:
    return Run(folder).read(name, cls)
