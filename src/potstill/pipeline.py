"""All stages of a recipe over one run directory: the method section of the paper as one function.

    problems → sample → verify → filter → (mix → train → infer) per arm and seed → evaluate → report

Every stage appends or replaces whole files, is resumed after a kill and skipped when nothing it depends on has
changed. What a stage does lives in its own module; here stands only the order, and what invalidates what.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from potstill.arms import arms_of, require_means, run_arms
from potstill.ensembles import Members, assemble
from potstill.errors import ConfigError
from potstill.messages import say
from potstill.preflight import (
    require_endpoint,
    require_sound_arms,
    require_sound_asking,
    require_splits,
    require_teacher,
)
from potstill.recipe.reading import dump_recipe, load_recipe
from potstill.recipe.teachers import SampleConfig
from potstill.recipe.whole import Recipe
from potstill.records import Comparison, Problem, Rationale, Score, content_id, to_dict
from potstill.run import Run, chain
from potstill.verdicts import read_verified, verify_file

STAGES = ("problems", "sample", "verify", "filter", "mix", "train", "infer", "evaluate", "report")
UNCHANGING = {"max_concurrency", "requests_per_minute", "tokens_per_minute", "timeout_s", "max_retries", "price",
              "api_key_env", "proxy", "ca_file", "n"}  # fmt: skip
"""Teacher keys that cannot change an answer: changing them invalidates nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a run leaves: its folder, its scores, its report."""

    folder: Path
    scores: tuple[Score, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    report: Path | None = None


def run_recipe(
    recipe: Recipe | str | Path,
    run_dir: str | Path | None = None,
    *,
    overrides: Iterable[str] = (),
    force: bool = False,
    until: str = "report",
) -> Outcome:
    """Run the stages of a recipe up to and including `until`; see `potstill.run.run`."""
    if not isinstance(recipe, Recipe):
        run_dir = run_dir or Path("runs") / Path(recipe).stem
        recipe = load_recipe(recipe, overrides)
    if run_dir is None:
        message = "run: a recipe given as an object needs run_dir, the folder to write"
        raise ConfigError(message)
    with Run(run_dir) as run:
        return Pipeline(run, recipe, force=force).run(until)


def plan_recipe(recipe: Recipe) -> list[dict[str, Any]]:
    """Return what each buying stage would request, in requests, tokens and money, without sending anything."""
    from potstill.evaluation.datasets import load_splits
    from potstill.miniature.embedded import known_as, ledger_name
    from potstill.rationales.sampling import plan

    teacher = known_as(require_teacher(recipe))
    known: dict[str, Any] = {"seed": recipe.seed, "ledger": recipe.ledger, "endpoint": ledger_name(teacher)}
    require_sound_asking(recipe)
    if find_spec("torch") is not None and find_spec("transformers") is not None:
        require_sound_arms(arms_of(recipe, fingerprints(recipe)), is_plan=True)
    splits = load_splits(recipe.problems, seed=recipe.seed)
    named = {"sample.splits": recipe.sample.splits, "evaluate.splits": recipe.evaluate.splits}
    require_splits(named, [name for name, members in splits.items() if members])
    problems = [p for name in recipe.sample.splits for p in splits.get(name, [])]
    rows = [{"stage": "sample", **plan(problems, recipe.sample, teacher, **known)}]
    if recipe.evaluate.teacher and teacher.replay is None:
        tested = [p for name in recipe.evaluate.splits for p in splits.get(name, [])]
        greedy = recipe.sample.model_copy(update={"n": 1, "temperature": 0.0})
        rows.append({"stage": "evaluate", **plan(tested, greedy, teacher, **known)})
    return rows


async def buy(
    recipe: Recipe, problems: list[Problem], config: SampleConfig, out: Path, *, run: str, stage: str = "sample",
    counts: Mapping[tuple[str, str], int] | None = None,
) -> Mapping[str, Any]:  # fmt: skip
    """Sample from the recipe's teacher into a file, through the ledger, and return the counts.

    Args:
        run: What the budget is counted over, also across resumptions: the run directory, or the file written.
    """
    from potstill.miniature.embedded import reachable
    from potstill.rationales.sampling import sample_to_file
    from potstill.teachers.ledger import Ledger, default_ledger_path

    async with AsyncExitStack() as stack:
        teacher, endpoint = await stack.enter_async_context(reachable(require_teacher(recipe)))
        path = recipe.ledger or default_ledger_path()
        ledger = stack.enter_context(Ledger(path)) if teacher.replay is None else None
        return await sample_to_file(
            problems,
            teacher,
            config,
            out,
            ledger=ledger,
            budget=recipe.budget,
            seed=recipe.seed,
            endpoint=endpoint,
            run=run,
            stage=stage,
            counts=counts,
        )


def buy_all(recipe: Recipe, problems: list[Problem], out: Path, *, run: str) -> Mapping[str, Any]:
    """Sample as `sample` says, in one stage or, with `budget_by`, in two; return the counts."""
    if recipe.sample.budget_by == "pass_rate":
        return _buy_by_pass_rate(recipe, problems, out, run=run)
    return asyncio.run(buy(recipe, problems, recipe.sample, out, run=run))


def _buy_by_pass_rate(recipe: Recipe, problems: list[Problem], out: Path, *, run: str) -> dict[str, Any]:
    """Sample in two stages, the second one where the first was right sometimes; see `potstill.rationales.budgeting`.

    Resumes: the plan depends on the first stage's rows alone, which a second call finds as they are.
    """
    from potstill.files import read_records
    from potstill.rationales.budgeting import pass_counts, second_stage
    from potstill.rationales.verification import verify

    config = recipe.sample
    first = config.model_copy(update={"n": config.n_first, "budget_by": "none"})
    asyncio.run(buy(recipe, problems, first, out, run=run))
    ids = {p.id for p in problems}
    rows = [r for r in read_records(out, Rationale) if r.index < config.n_first and r.problem_id in ids]
    passes = pass_counts(verify(rows, problems, recipe.verify, sandbox=recipe.sandbox))
    counts = second_stage(passes, n=config.n, n_first=config.n_first, n_most=config.n_most or 4 * config.n)
    grown = sum(count > config.n_first for count in counts.values())
    say("sample", f"{grown} of {len(counts)} were right sometimes and get {sum(counts.values())} rationales in all")
    return {**asyncio.run(buy(recipe, problems, config, out, run=run, counts=counts)), "second_stage": grown}


class Pipeline:
    """One pass over the stages. State: the open run, and the fingerprint of each stage."""

    def __init__(self, run: Run, recipe: Recipe, *, force: bool) -> None:
        self.recipe = recipe
        self.files = run
        self.marks = fingerprints(recipe)
        self.arms = arms_of(recipe, self.marks)
        self.problems: dict[str, Problem] = {}
        self.until = STAGES[-1]
        arm_marks = sorted(mark for arm in self.arms for mark in arm.marks.values())
        composed = {name: arm.ensemble for name, arm in recipe.arms.items() if arm.ensemble}
        self.marks["evaluate"] = content_id(self.marks["evaluate"], arm_marks, *([composed] if composed else []))
        every = dict(self.marks)
        for arm in self.arms:
            every |= arm.marks
        every["evaluate"] = every.pop("evaluate")  # named last, as it comes last
        run.require_fresh(every, force=force)

    @property
    def label(self) -> str:
        """The run's name in the ledger, over which a budget is counted."""
        return str(self.files.folder.resolve())

    def run(self, until: str) -> Outcome:
        """Run the stages in order; each is a no-op when it is done."""
        steps = {
            "problems": self.load_problems,
            "sample": self.sample,
            "verify": self.verify,
            "filter": self.filter,
            "mix": lambda: run_arms(self.files, self.recipe, self.arms, until="mix"),
            "train": lambda: run_arms(self.files, self.recipe, self.arms, until="train"),
            "infer": self.infer,
            "evaluate": self.evaluate,
            "report": self.report,
        }
        self.until = until
        self.require_sound()
        self.files.describe(dump_recipe(self.recipe), seed=self.recipe.seed, method=self.recipe.method)
        for name in STAGES[: STAGES.index(until) + 1]:
            if name in ("mix", "train") and until != name:
                continue
            steps[name]()
        return self.outcome()

    def reaches(self, stage: str) -> bool:
        """Whether a stage is among those to run."""
        return STAGES.index(stage) <= STAGES.index(self.until)

    def require_sound(self) -> None:
        """Raise for a mistake that a later stage would meet, as long as that stage is still to come."""
        if self.reaches("sample") and not self.files.is_done("sample", self.marks["sample"]):
            require_sound_asking(self.recipe)
            require_endpoint(self.recipe)
        if self.reaches("train"):
            is_open = {arm.job: not all(self.files.is_done(*pair) for pair in arm.marks.items()) for arm in self.arms}
            require_sound_arms(arm for arm in self.arms if is_open[arm.job])

    def load_problems(self) -> None:
        """Write every split into `problems.jsonl`."""
        from potstill.evaluation.datasets import load_splits
        from potstill.records import unique_ids

        if not self.files.is_done("problems", self.marks["problems"]):
            self.files.begin("problems", self.marks["problems"], ["problems.jsonl"])
            splits = load_splits(self.recipe.problems, seed=self.recipe.seed)
            rows = [replace(p, split=name) for name, problems in splits.items() for p in problems]
            unique_ids(rows, "problems")
            self.files.write("problems.jsonl", rows)
            counts = {name: len(problems) for name, problems in splits.items()}
            self.files.finish("problems", self.marks["problems"], counts)
            say("problems", ", ".join(f"{n} {name}" for name, n in counts.items()))
        self.problems = {p.id: p for p in self.files.read("problems.jsonl", Problem)}
        require_means(self.files, self.arms, self.problems.values())

    def sample(self) -> None:
        """Buy the teacher's rationales."""
        named = {"sample.splits": self.recipe.sample.splits}
        named |= {"evaluate.splits": self.recipe.evaluate.splits} if self.reaches("infer") else {}
        require_splits(named, {p.split for p in self.problems.values()})
        if self.files.is_done("sample", self.marks["sample"]):
            return
        self.files.begin("sample", self.marks["sample"], ["rationales.jsonl"])
        wanted = [p for p in self.problems.values() if p.split in self.recipe.sample.splits]
        out = self.files.path("rationales.jsonl")
        counts = buy_all(self.recipe, wanted, out, run=self.label)
        self.files.finish("sample", self.marks["sample"], counts)

    def verify(self) -> None:
        """Write a verdict for every rationale."""
        if self.files.is_done("verify", self.marks["verify"]):
            return
        self.files.begin("verify", self.marks["verify"], ["verdicts.jsonl"])
        counts = verify_file(self.files, self.recipe, "rationales.jsonl", "verdicts.jsonl", self.problems)
        self.files.finish("verify", self.marks["verify"], counts)
        say("verify", ", ".join(f"{n} {status}" for status, n in counts.items()))

    def filter(self) -> None:
        """Write what the run's filter leaves out, and why, into `dropped.jsonl`."""
        from potstill.rationales.agreement import coverage, opinions
        from potstill.rationales.filtering import keep, voters

        if self.files.is_done("filter", self.marks["filter"]):
            return
        self.files.begin("filter", self.marks["filter"], ["dropped.jsonl"])
        rationales = read_verified(self.files, self.problems)
        tainted = self.contaminated()
        config = self.recipe.filter
        kept, drops = keep(rationales, config, contaminated=tainted, sandbox=self.recipe.sandbox)
        self.files.write("dropped.jsonl", drops)
        counts = {"kept": len(kept), "problems": len({r.problem_id for r in kept}), "dropped": len(drops)}
        counts |= {f"dropped_{reason}": n for reason, n in Counter(d.reason for d in drops).items()}
        if config.keep in ("majority", "agreement"):
            counts |= coverage(opinions(voters(rationales, config, tainted)))
        self.files.write_json("contaminated.json", dict(tainted))
        self.files.finish("filter", self.marks["filter"], counts)
        say("filter", f"{len(kept)} of {len(rationales)} rationales kept, over {counts['problems']} problems")

    def contaminated(self) -> Mapping[str, str]:
        """Return the training problems whose family occurs in an evaluation split."""
        from potstill.rationales.contamination import contaminated

        evaluated = [p for p in self.problems.values() if p.split in self.recipe.filter.decontaminate]
        train = [p for p in self.problems.values() if p.split in self.recipe.sample.splits]
        return contaminated(train, evaluated)

    def infer(self) -> None:
        """Mix, train and infer every arm; ask the teacher the same problems."""
        run_arms(self.files, self.recipe, self.arms, until="infer")
        teacher = self.recipe.teachers[0] if self.recipe.teachers else None
        if not self.recipe.evaluate.teacher or teacher is None:
            return
        if teacher.replay is not None:
            say("teacher", "recorded rationales cannot answer new problems; the teacher is not scored")
            return
        stage, mark = "predictions/teacher", self.marks["predictions/teacher"]
        if self.files.is_done(stage, mark):
            return
        self.files.begin(stage, mark, ["predictions/teacher.jsonl", "verdicts/teacher.jsonl"])
        tested = [p for p in self.problems.values() if p.split in self.recipe.evaluate.splits]
        greedy = self.recipe.sample.model_copy(update={"n": 1, "temperature": 0.0})
        counts = asyncio.run(
            buy(
                self.recipe,
                tested,
                greedy,
                self.files.path("predictions/teacher.jsonl"),
                run=self.label,
                stage="teacher",
            )
        )
        verify_file(self.files, self.recipe, "predictions/teacher.jsonl", "verdicts/teacher.jsonl", self.problems)
        self.files.finish(stage, mark, counts)

    def evaluate(self) -> None:
        """Score every system on every split, and compare them."""
        from potstill.evaluation.scoring import score_run

        mark = self.marks["evaluate"]
        if self.files.is_done("evaluate", mark):
            return
        self.files.begin("evaluate", mark, ["scores.json"])
        tested = [p for p in self.problems.values() if p.split in self.recipe.evaluate.splits]
        predictions: dict[str, tuple[str, int | None]] = {arm.job: (arm.name, arm.seed) for arm in self.arms}
        if self.files.path("predictions/teacher.jsonl").exists():
            predictions["teacher"] = ("teacher", None)
        systems: dict[str, dict[int | None, list[Rationale]]] = {}
        for job, (name, seed) in predictions.items():
            systems.setdefault(name, {})[seed] = read_verified(
                self.files, self.problems, f"predictions/{job}.jsonl", f"verdicts/{job}.jsonl"
            )
        ensembles: dict[str, Members] = {name: arm.ensemble for name, arm in self.recipe.arms.items() if arm.ensemble}
        for name, members in ensembles.items():
            systems[name] = assemble(name, members, systems)
        scores, comparisons = score_run(
            systems, tested, self.recipe.evaluate, task=self.recipe.task, method=self.recipe.method,
            voting=tuple(ensembles),
        )  # fmt: skip
        rows = {"scores": [to_dict(s) for s in scores], "comparisons": [to_dict(c) for c in comparisons]}
        self.files.write_json("scores.json", rows)
        self.files.finish("evaluate", mark, {"scores": len(scores), "comparisons": len(comparisons)})

    def report(self) -> None:
        """Write `report.html`; cheap, so it is made anew each time."""
        from potstill.evaluation.reporting import report

        path = report(self.files.folder)
        say("report", str(path))

    def outcome(self) -> Outcome:
        """Return what the run holds by now."""
        from potstill.records import from_dict

        rows = self.files.read_json("scores.json") or {"scores": [], "comparisons": []}
        page = self.files.path("report.html")
        return Outcome(
            folder=self.files.folder,
            scores=tuple(from_dict(Score, row, "scores.json") for row in rows["scores"]),
            comparisons=tuple(from_dict(Comparison, row, "scores.json") for row in rows["comparisons"]),
            report=page if page.exists() else None,
        )


def fingerprints(recipe: Recipe) -> dict[str, str]:
    """Return the mark of each stage that all arms share."""
    teachers = [t.model_dump(mode="json", exclude=UNCHANGING) for t in recipe.teachers]
    sample = recipe.sample.model_dump(mode="json", exclude={"max_failed_frac", "retry_failed"})
    checking = recipe.verify.model_dump(mode="json", exclude={"workers", "max_failed_frac"})
    if "pot" in recipe.sample.kinds:
        checking["sandbox"] = recipe.sandbox.model_dump(mode="json", exclude={"workers"})
    marks = chain(
        [
            ("problems", [recipe.problems.model_dump(mode="json"), recipe.seed]),
            ("sample", [teachers, sample]),
            ("verify", checking),
            ("filter", recipe.filter.model_dump(mode="json")),
        ]
    )
    splits = list(recipe.evaluate.splits)
    marks["predictions/teacher"] = content_id(marks["problems"], teachers, {**sample, "n": 1}, splits, marks["verify"])
    marks["evaluate"] = content_id(recipe.evaluate.model_dump(mode="json"), recipe.task, marks["predictions/teacher"])
    return marks
