"""All stages of a recipe over one run directory: the method section of the paper as one function.

    problems (→ evolve, counterfactual, augment) → sample → verify → filter → (mix → train → infer) per arm and seed →
    evaluate → report

Every stage appends or replaces whole files, is resumed after a kill and skipped when nothing it depends on has
changed. What a stage does lives in its own module; here stands only the order, and what invalidates what.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from potstill import engines
from potstill.arms import Arm, arms_of, require_means, run_arms
from potstill.augmenting import FILES, augment_run, is_augmented, require_sound_augmenting
from potstill.counterfactuals import FILES as COUNTERFACTUAL_FILES
from potstill.counterfactuals import counterfactual_run, require_sound_counterfactuals, without_made
from potstill.ensembles import Members, assemble
from potstill.errors import ConfigError
from potstill.instructions import evolve_run, is_evolved, require_sound_evolving, written_files
from potstill.messages import say
from potstill.preflight import (
    require_endpoint,
    require_engine,
    require_reader,
    require_sound_arms,
    require_sound_asking,
    require_splits,
)
from potstill.purchases import Scored, buy, buy_all, buy_support, greedy, plan_purchases, scored_teachers
from potstill.recipe.reading import dump_recipe, load_recipe
from potstill.recipe.teachers import TeacherConfig
from potstill.recipe.whole import Recipe
from potstill.records import Comparison, Drop, Problem, Rationale, Score, content_id, to_dict
from potstill.review.decisions import digest
from potstill.rounds import require_sound_rounds, round_marks, run_rounds
from potstill.run import Run, chain
from potstill.teachers.reaching import ledger_name
from potstill.verdicts import SUPPORT, read_pool, read_verified, verify_file

STAGES = ("problems", "evolve", "counterfactual", "augment", "sample", "verify", "rounds", "filter",
          "mix", "train", "infer", "evaluate", "report")  # fmt: skip
MAKING = ("evolve", "counterfactual", "augment")
"""Stages that make problems; what they drop stays beside what the filter drops."""
UNCHANGING = {"max_concurrency", "requests_per_minute", "tokens_per_minute", "timeout_s", "max_retries", "price",
              "api_key_env", "proxy", "ca_file", "n", "batch"}  # fmt: skip
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
    with engines.stored(recipe, run_dir), Run(run_dir) as run, engines.opened(recipe):
        return Pipeline(run, recipe, force=force).run(until)


def plan_recipe(recipe: Recipe) -> list[dict[str, Any]]:
    """Return what each buying stage would request, in requests, tokens and money, without sending anything."""
    return plan_purchases(recipe, arms_of(recipe, fingerprints(recipe)))


class Pipeline:
    """One pass over the stages. State: the open run, and the fingerprint of each stage."""

    def __init__(self, run: Run, recipe: Recipe, *, force: bool) -> None:
        self.recipe = recipe
        self.files = run
        self.reviewed = digest(run.folder)
        self.marks, self.arms, every = _all_marks(recipe, self.reviewed)
        self.problems: dict[str, Problem] = {}
        self.until = STAGES[-1]
        decided = run.manifest.get("review") or self.reviewed
        before = _all_marks(recipe, decided)[2] if decided != self.reviewed else None
        run.require_fresh(every, force=force, decided_before=before)

    @property
    def label(self) -> str:
        """The run's name in the ledger, over which a budget is counted."""
        return str(self.files.folder.resolve())

    def run(self, until: str) -> Outcome:
        """Run the stages in order; each is a no-op when it is done."""
        steps = {
            "problems": self.load_problems,
            "evolve": self.evolve,
            "counterfactual": self.counterfactual,
            "augment": self.augment,
            "sample": self.sample,
            "verify": self.verify,
            "rounds": self.rounds,
            "filter": self.filter,
            "mix": lambda: run_arms(self.files, self.recipe, self.arms, until="mix"),
            "train": lambda: run_arms(self.files, self.recipe, self.arms, until="train"),
            "infer": self.infer,
            "evaluate": self.evaluate,
            "report": self.report,
        }
        self.until = until
        self.require_sound()
        recipe = self.recipe
        self.files.describe(dump_recipe(recipe), seed=recipe.seed, method=recipe.method, review=self.reviewed)
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
        if self.recipe.evolve is not None and not self.files.is_done("evolve", self.marks["evolve"]):
            require_sound_evolving(self.recipe)
            require_endpoint(self.recipe)
            require_engine(self.recipe)
        if self.recipe.counterfactual is not None and not self.files.is_done(
            "counterfactual", self.marks["counterfactual"]
        ):
            require_sound_counterfactuals(self.recipe)
            require_endpoint(self.recipe)
        if self.recipe.augment is not None and not self.files.is_done("augment", self.marks["augment"]):
            require_sound_augmenting(self.recipe)
            require_endpoint(self.recipe)
        if self.reaches("filter") and not self.files.is_done("filter", self.marks["filter"]):
            require_reader(self.recipe)
        if self.reaches("rounds") and not self.files.is_done("filter", self.marks["filter"]):
            require_sound_rounds(self.recipe)
        if self.reaches("sample") and not self.files.is_done("sample", self.marks["sample"]):
            require_sound_asking(self.recipe)
            require_endpoint(self.recipe)
        if any(self.reaches(name) and not self.files.is_done(name, self.marks[name]) for name in ("sample", "verify")):
            require_engine(self.recipe)
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
        if self.recipe.augment is None and any(map(is_augmented, self.problems.values())):
            self.problems = {id: p for id, p in self.problems.items() if not is_augmented(p)}
            self.files.write("problems.jsonl", self.problems.values())
        require_means(self.files, self.arms, self.problems.values())

    def evolve(self) -> None:
        """Evolve the seed instructions; what is kept of them joins the problems of their split."""
        if self.recipe.evolve is None or self.files.is_done("evolve", self.marks["evolve"]):
            return
        self.files.begin("evolve", self.marks["evolve"], written_files(self.recipe.evolve))
        given = [p for p in self.problems.values() if not is_evolved(p)]
        self.problems, counts = evolve_run(self.files, self.recipe, given, label=self.label)
        self.files.finish("evolve", self.marks["evolve"], counts)

    def counterfactual(self) -> None:
        """Edit labelled problems so that another label holds; what is kept joins the problems of its split."""
        mark = self.marks.get("counterfactual", "")
        if self.files.is_done("counterfactual", mark):
            return
        self.problems = without_made(self.files, self.problems)  # of an earlier recipe, or of a call that was stopped
        if self.recipe.counterfactual is None:
            return
        self.files.begin("counterfactual", mark, COUNTERFACTUAL_FILES)
        self.problems, counts = counterfactual_run(
            self.files, self.recipe, list(self.problems.values()), label=self.label
        )
        self.files.finish("counterfactual", mark, counts)

    def augment(self) -> None:
        """Make further training problems of those that there are; they are sampled like any other."""
        if self.recipe.augment is None or self.files.is_done("augment", self.marks["augment"]):
            return
        self.files.begin("augment", self.marks["augment"], list(FILES))
        given = [p for p in self.problems.values() if not is_augmented(p)]
        counts = augment_run(self.files, self.recipe, given, label=self.label)
        self.problems = {p.id: p for p in self.files.read("problems.jsonl", Problem)}
        self.files.finish("augment", self.marks["augment"], counts)

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

    def rounds(self) -> None:
        """Sample further, from what the run has learnt by now."""
        run_rounds(self.files, self.recipe, self.marks, self.problems, contaminated=self.contaminated, label=self.label)

    def filter(self) -> None:
        """Write what the run's filter leaves out, and why, into `dropped.jsonl`."""
        from potstill.rationales.agreement import coverage, opinions
        from potstill.rationales.filtering import edits, keep, voters

        if self.files.is_done("filter", self.marks["filter"]):
            return
        self.files.begin("filter", self.marks["filter"], ["dropped.jsonl"])
        rationales = read_pool(self.files, self.problems, len(self.recipe.rounds))
        tainted = self.contaminated()
        config = self.recipe.filter
        readings: dict[str, Any] = {}
        if config.support is not None:
            unread = config.model_copy(update={"support": None})
            fitting, _ = keep(rationales, unread, contaminated=tainted, sandbox=self.recipe.sandbox)
            readings = buy_support(self.recipe, fitting, self.files.path(SUPPORT), run=self.label)
            rationales = read_pool(self.files, self.problems, len(self.recipe.rounds))
        kept, drops = keep(rationales, config, contaminated=tainted, sandbox=self.recipe.sandbox)
        earlier = [drop for drop in self.files.read("dropped.jsonl", Drop) if drop.stage in MAKING]
        self.files.write("dropped.jsonl", [*earlier, *drops])
        counts = {"kept": len(kept), "problems": len({r.problem_id for r in kept}), "dropped": len(drops), **readings}
        counts |= {f"dropped_{reason}": n for reason, n in Counter(d.reason for d in drops).items()}
        counts |= edits(kept)
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
        if self.recipe.evaluate.teacher:
            for asked in scored_teachers(self.recipe, folder=self.files.folder):
                self.ask_teacher(asked)

    def ask_teacher(self, asked: Scored) -> None:
        """Ask a teacher the evaluation problems, once and greedily, and verify what it says."""
        stage, mark = asked.stage, self.marks[asked.stage]
        if self.files.is_done(stage, mark):
            return
        predictions, verdicts = f"predictions/{asked.job}.jsonl", f"verdicts/{asked.job}.jsonl"
        self.files.begin(stage, mark, [predictions, verdicts])
        tested = [p for p in self.problems.values() if p.split in self.recipe.evaluate.splits]
        out, teachers = self.files.path(predictions), [asked.teacher]
        counts = asyncio.run(
            buy(self.recipe, tested, greedy(self.recipe), out, run=self.label, stage="teacher", teachers=teachers)
        )
        verify_file(self.files, self.recipe, predictions, verdicts, self.problems)
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
        for asked in scored_teachers(self.recipe, tells=False):
            if self.files.path(f"predictions/{asked.job}.jsonl").exists():
                predictions[asked.job] = (asked.system, None)
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
        """Write `report.html` and the students' cards; cheap, so they are made anew each time."""
        from potstill.evaluation.publishing import write_cards
        from potstill.evaluation.reporting import report

        write_cards(self.files.folder)
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


def _all_marks(recipe: Recipe, reviewed: str) -> tuple[dict[str, str], list[Arm], dict[str, str]]:
    """Return the marks that all arms share, the arms, and the marks of every stage, as of these decisions of people."""
    marks = {**fingerprints(recipe), "review": reviewed}
    if recipe.filter.is_reviewed:
        marks["filter"] = content_id(marks["filter"], reviewed)
    arms = arms_of(recipe, marks)
    arm_marks = sorted(mark for arm in arms for mark in arm.marks.values())
    composed = {name: arm.ensemble for name, arm in recipe.arms.items() if arm.ensemble}
    marks["evaluate"] = content_id(marks["evaluate"], arm_marks, *([composed] if composed else []))
    every = dict(marks)
    for arm in arms:
        every |= arm.marks
    every["evaluate"] = every.pop("evaluate")  # named last, as it comes last
    return marks, arms, every


def fingerprints(recipe: Recipe) -> dict[str, str]:
    """Return the mark of each stage that all arms share."""
    teachers = [_teacher_mark(teacher) for teacher in recipe.teachers]
    sample = recipe.sample.model_dump(mode="json", exclude={"max_failed_frac", "retry_failed"})
    checking = recipe.verify.model_dump(mode="json", exclude={"workers", "max_failed_frac"})
    if "pot" in recipe.sample.kinds:
        checking["sandbox"] = recipe.sandbox.model_dump(mode="json", exclude={"workers"})
    evolve: list[tuple[str, Any]] = [] if recipe.evolve is None else [("evolve", [teachers, recipe.evolve.mark])]
    if recipe.counterfactual is not None:
        evolve.append(("counterfactual", [teachers, recipe.counterfactual.mark, recipe.seed]))
    if recipe.augment is not None:
        evolve.append(("augment", [teachers, sample, checking, recipe.augment.model_dump(mode="json")]))
    marks = chain(
        [
            ("problems", [recipe.problems.model_dump(mode="json"), recipe.seed]),
            *evolve,
            ("sample", [teachers, sample]),
            ("verify", checking),
        ]
    )
    marks |= round_marks(recipe, marks["verify"], checking, {t.author: _teacher_mark(t) for t in recipe.teachers})
    marks["filter"] = marks[f"pool/{len(recipe.rounds)}"]
    splits = list(recipe.evaluate.splits)
    asked_as = {**sample, "n": 1}
    for asked in scored_teachers(recipe, tells=False):
        trained = marks[asked.trained] if asked.trained else None
        table = {**_teacher_mark(asked.teacher), "weight": None, "trained": trained}
        marks[asked.stage] = content_id(marks["problems"], [table], asked_as, splits, marks["verify"])
    answered = [mark for name, mark in marks.items() if name.startswith("predictions/")]
    marks["evaluate"] = content_id(recipe.evaluate.model_dump(mode="json"), recipe.task, answered)
    return marks


def _teacher_mark(teacher: TeacherConfig) -> dict[str, Any]:
    """Return what of a teacher decides what it says; a local model by its content, too."""
    table = teacher.model_dump(mode="json", exclude=UNCHANGING)
    return {**table, "content": ledger_name(teacher)} if teacher.local is not None else table
