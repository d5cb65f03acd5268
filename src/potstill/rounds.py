"""Rounds: further rationales after the first sampling, from what the run has learnt by then.

    refresh   kept rationales of a local teacher ─► fine-tune it ─► it samples again ──────────┐
    errors    rationales so far ─► train a student ─► its wrong paths on the training split    ├─► verify ─► the pool
                                                       └─► the teacher corrects them ──────────┘

Every step is a stage of the run: resumed after a kill, skipped when nothing it depends on has changed, its purchases in
the ledger. What a round yields lies in `rationales.roundK.jsonl` with its verdicts beside it, and joins what the filter
and every arm see (`mix.rounds` leaves later rounds out). Paths and rationales of evaluated splits never come in here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from potstill.arms import examples_of, infer_arm, train_arm
from potstill.errors import ConfigError, DataError
from potstill.messages import say
from potstill.purchases import buy, round_sample
from potstill.rationales.prompts import Attempt
from potstill.rationales.ways import way_of
from potstill.recipe.rounds import RoundConfig, arm_of, kinds_of, refreshed, teacher_of
from potstill.recipe.students import InferConfig, MixConfig, TrainConfig
from potstill.recipe.teachers import TeacherConfig
from potstill.recipe.whole import Recipe
from potstill.records import Example, Problem, Rationale, Status, child_seed, content_id
from potstill.run import Run
from potstill.students.rendering import gold_answer, join_think
from potstill.teachers.reaching import known_as
from potstill.verdicts import read_pool, read_verified, verify_file

WITHOUT_DEV = ("eval_steps", "eval_strategy", "patience", "dev_problems", "curriculum", "task_weights")
"""Training options that a teacher is fine-tuned without: it has no development split, and one kind of text."""


def round_marks(
    recipe: Recipe, start: str, checking: Mapping[str, Any], teachers: Mapping[str, Mapping[str, Any]]
) -> dict[str, str]:
    """Return the fingerprint of each stage of each round, and of the pool after each: `pool/0` has no round in it.

    Args:
        start: The mark of the first sampling's verdicts.
        checking: What decides a verdict.
        teachers: Name -> what of a teacher decides what it says.
    """
    by_filter = recipe.filter.model_dump(mode="json")
    marks = {"pool/0": content_id(start, by_filter)}
    for number, config in enumerate(recipe.rounds, start=1):
        table = config.model_dump(mode="json")
        asked = [
            table,
            round_sample(recipe, number).model_dump(mode="json"),
            teachers[teacher_of(recipe, number).author],
        ]
        made_of = [marks[f"pool/{number - 1}"], asked]
        if config.by == "refresh":
            trained = [refresh_training(recipe, number).model_dump(mode="json"), recipe.student.lora]
            start = marks[f"students/teacher.round{number}"] = content_id(*made_of, trained)
        else:
            own = recipe.for_arm(arm_of(recipe, number))
            tables = [getattr(own, name).model_dump(mode="json") for name in ("mix", "student", "train", "infer")]
            for stage in ("examples", "students", "predictions"):
                start = marks[f"{stage}/round{number}"] = content_id(stage, *made_of, tables)
        marks[f"sample/round{number}"] = content_id("sample", start)
        marks[f"verify/round{number}"] = content_id("verify", start, checking)
        marks[f"pool/{number}"] = content_id(marks[f"verify/round{number}"], by_filter)
    return marks


def refresh_training(recipe: Recipe, number: int) -> TrainConfig:
    """Return the training options of a round's teacher: the recipe's with the round's changes, without a dev split."""
    given = {**recipe.train.model_dump(exclude=set(WITHOUT_DEV)), **recipe.rounds[number - 1].train}
    return TrainConfig(**{name: value for name, value in given.items() if name not in WITHOUT_DEV})


def require_sound_rounds(recipe: Recipe) -> None:
    """Raise for what a round would meet only after money was spent.

    Raises:
        ConfigError, DataError: A template without corrections, a training argument that is not known, or a chat that
            cannot be learnt.
    """
    from potstill.rationales.asking import load_asking
    from potstill.students.arguments import trainer_arguments

    for number, config in enumerate(recipe.rounds, start=1):
        asking = load_asking(known_as(teacher_of(recipe, number)), round_sample(recipe, number), seed=recipe.seed)
        if config.by == "errors":
            for kind in asking.config.kinds:
                asking.template.correcting(kind)
            continue
        trainer_arguments(refresh_training(recipe, number), Path("students"), seed=0, steps_per_epoch=1, has_dev=False)
        is_chat = asking.teacher_config.api == "chat"
        systems = [asking.config.system, *(asking.template.section(kind).system for kind in asking.config.kinds)]
        if is_chat and (any(systems) or asking.teacher_config.extra_body):
            message = (
                f"rounds.{number - 1}: a chat is learnt as one user message; leave the system message and "
                "chat_template_kwargs out, or set api: completions"
            )
            raise ConfigError(message)


def run_rounds(
    run: Run,
    recipe: Recipe,
    marks: Mapping[str, str],
    problems: Mapping[str, Problem],
    *,
    contaminated: Callable[[], Mapping[str, str]],
    label: str,
) -> None:
    """Run every round that is not done yet.

    Args:
        contaminated: Finds the training problems that are left out, and why.
        label: The run's name in the ledger.
    """
    for number, config in enumerate(recipe.rounds, start=1):
        if not run.is_done(f"verify/round{number}", marks[f"verify/round{number}"]):
            Round(run, recipe, number, config, marks, problems, contaminated(), label).run_all()


@dataclass(frozen=True, slots=True)
class Round:
    """One round of an open run."""

    run: Run
    recipe: Recipe
    number: int
    config: RoundConfig
    marks: Mapping[str, str]
    problems: Mapping[str, Problem]
    tainted: Mapping[str, str]
    label: str

    @property
    def job(self) -> str:
        """What its files are called."""
        return f"round{self.number}"

    def run_all(self) -> None:
        """Run its stages in order; each is a no-op when it is done."""
        if self.config.by == "refresh":
            self.stage("students", f"teacher.{self.job}", [f"students/teacher.{self.job}"], self.tune)
        else:
            name = arm_of(self.recipe, self.number)
            splits, asked = self.recipe.sample.splits, self.asked()
            folder = str(self.run.folder)
            self.stage("examples", self.job, [f"examples/{self.job}.jsonl"], self.mix)
            self.stage("students", self.job, [f"students/{self.job}"], lambda: train_arm(folder, name, 0, self.job))
            files = [f"predictions/{self.job}.jsonl", f"verdicts/{self.job}.jsonl"]
            self.stage("predictions", self.job, files, lambda: infer_arm(folder, name, 0, self.job, splits, asked))
        out, verdicts = f"rationales.{self.job}.jsonl", f"verdicts.{self.job}.jsonl"
        self.stage("sample", self.job, [out], lambda: self.sample(self.run.path(out)))
        self.stage(
            "verify", self.job, [verdicts], lambda: verify_file(self.run, self.recipe, out, verdicts, self.problems)
        )

    def stage(self, name: str, job: str, files: list[str], work: Callable[[], Mapping[str, Any]]) -> None:
        """Run one stage unless it is done."""
        stage, mark = f"{name}/{job}", self.marks[f"{name}/{job}"]
        if self.run.is_done(stage, mark):
            return
        self.run.begin(stage, mark, files)
        counts = work()
        self.run.finish(stage, mark, counts)
        say(f"round {self.number}", f"{name}: " + ", ".join(f"{n} {what}" for what, n in _plain(counts)))

    def pool(self) -> list[Rationale]:
        """Return what was sampled before this round, with verdicts."""
        return read_pool(self.run, self.problems, self.number - 1)

    def tune(self) -> dict[str, Any]:
        """Fine-tune the teacher, as it was at first, on what it has written and the filter keeps; return the counts.

        From the first weights each time, as in STaR (arXiv:2203.14465): what a later round learns from includes what
        the earlier ones did.
        """
        from potstill.students.training import train

        teacher = known_as(teacher_of(self.recipe, self.number))
        examples = own_examples(self.pool(), teacher, self.recipe, self.tainted)
        if not examples:
            message = (
                f"rounds.{self.number - 1}: none of {teacher.author}'s rationales was kept, so there is nothing to "
                "fine-tune it on; look at the verdicts, sample more, or take the round out"
            )
            raise DataError(message)
        train(
            examples,
            refresh_training(self.recipe, self.number),
            student=self.recipe.student.model_copy(update={"model": teacher.local, "config": {}}),
            out=self.run.path(f"students/teacher.{self.job}"),
            mix=MixConfig(format="chat" if teacher.api == "chat" else "plain"),
            seed=child_seed(self.recipe.seed, "refresh", self.number),
            name=f"{teacher.author}@{self.number}",
        )
        return {"examples": len(examples), "problems": len({example.group for example in examples})}

    def mix(self) -> dict[str, int]:
        """Write what the student is trained on; return the counts."""
        own = self.recipe.for_arm(arm_of(self.recipe, self.number))
        examples, counts = examples_of(self.pool(), own, self.problems.values(), self.tainted, 0)
        self.run.write(f"examples/{self.job}.jsonl", examples)
        return counts

    def asked(self) -> InferConfig:
        """Return how the student is asked the training problems."""
        own = self.recipe.for_arm(arm_of(self.recipe, self.number)).infer
        paths = dict.fromkeys(kinds_of(self.recipe, self.number), self.config.paths)
        return own.model_copy(update={"paths": paths})

    def sample(self, out: Path) -> Mapping[str, Any]:
        """Ask the teacher of this round; return the counts."""
        config, teacher = round_sample(self.recipe, self.number), teacher_of(self.recipe, self.number)
        wanted = [p for p in self.problems.values() if p.split in self.recipe.sample.splits]
        stage = f"round {self.number}"
        if self.config.by == "refresh":
            teachers = [refreshed(teacher, self.number, str(self.run.path(f"students/teacher.{self.job}")))]
            return asyncio.run(buy(self.recipe, wanted, config, out, run=self.label, stage=stage, teachers=teachers))
        attempts = self.wrong_attempts()
        asked = [problem for problem in wanted if any((problem.id, kind) in attempts for kind in config.kinds)]
        counts = asyncio.run(
            buy(self.recipe, asked, config, out, run=self.label, stage=stage, teachers=[teacher], attempts=attempts)
        )
        return {"wrong_problems": len(asked), "wrong_paths": len(attempts), **counts}

    def wrong_attempts(self) -> dict[tuple[str, str], Attempt]:
        """Return the first path of each problem and kind that is verified as wrong; contaminated problems have none."""
        name = f"{self.job}.jsonl"
        paths = read_verified(self.run, self.problems, f"predictions/{name}", f"verdicts/{name}")
        found: dict[tuple[str, str], Attempt] = {}
        for path in sorted(paths, key=lambda path: path.index):
            key = (path.problem_id, path.kind)
            if key in found or path.problem_id in self.tainted or not _is_wrong(path):
                continue
            told = gold_answer(self.problems[path.problem_id]) if self.config.show_answer else None
            found[key] = Attempt(path.text, path.id, told)
        return found


def own_examples(
    pool: Iterable[Rationale], teacher: TeacherConfig, recipe: Recipe, tainted: Mapping[str, str]
) -> list[Example]:
    """Return what a local teacher learns: the prompts that it is asked with, and its own kept texts, word for word."""
    from potstill.rationales.asking import load_asking
    from potstill.rationales.filtering import keep

    asking = load_asking(teacher, recipe.sample, seed=recipe.seed)
    own = [r for r in pool if r.author == teacher.author or r.author.startswith(f"{teacher.author}@")]
    kept, _ = keep(own, recipe.filter, contaminated=tainted, sandbox=recipe.sandbox)
    found = []
    for r in kept:
        assert r.problem is not None, "read_pool joins the problems on"
        request = asking.request(r.problem, way_of(r))
        prompt = request.prompt if request.prompt is not None else str(request.messages[-1]["content"])
        text = join_think(r.reasoning_content, r.text) if r.reasoning_content else r.text
        name = content_id("example", prompt, text, r.kind, r.id)
        found.append(Example(id=name, prompt=prompt, target=text, task=r.kind, rationale_id=r.id, group=r.problem_id))
    return found


def _is_wrong(path: Rationale) -> bool:
    """Whether a whole text was checked and found wrong; one that was cut, or says no answer, shows no mistake."""
    assert path.verdict is not None, "predictions are verified before they are read"
    is_judged = path.verdict.status in (Status.WRONG, Status.PROGRAM_FAILED)
    return is_judged and path.finish == "stop" and bool(path.text.strip())


def _plain(counts: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return [(name, value) for name, value in counts.items() if isinstance(value, int) and value]
