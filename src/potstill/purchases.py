"""What a recipe buys from its teachers: the plan of it, the samples, and their answers to the evaluation problems.

Everything goes through the ledger, so a second call, or a changed share of one teacher, buys only what is missing.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from potstill.arms import Arm
from potstill.files import write_atomic
from potstill.generators.evolving import request_for
from potstill.messages import say
from potstill.preflight import (
    require_reader,
    require_sound_arms,
    require_sound_asking,
    require_splits,
    require_teachers,
)
from potstill.rationales.prompts import Attempt, Attempts
from potstill.rationales.support import can_be_read, reading, support_messages
from potstill.rationales.ways import parse_way, way_name, way_of
from potstill.recipe.rounds import kinds_of, refreshed, teacher_of
from potstill.recipe.teachers import SampleConfig, TeacherConfig
from potstill.recipe.whole import Recipe
from potstill.records import Problem, Rationale
from potstill.streams import map_ordered
from potstill.teachers.base import Meter, money_for, open_budget, open_teacher

READING_TOKENS = 150
"""Of the prompt that shows a masked rationale, for the estimate of a plan."""


@dataclass(frozen=True, slots=True)
class Scored:
    """A teacher that is asked the evaluation problems."""

    teacher: TeacherConfig
    system: str
    """Its name in the scores: `teacher`, or its own where there are several."""
    job: str
    """The name of its files."""
    trained: str | None = None
    """The stage that trains it; `None`: it is there from the beginning."""

    @property
    def stage(self) -> str:
        """The name of its stage in the manifest."""
        return f"predictions/{self.job}"


def scored_teachers(recipe: Recipe, *, tells: bool = True, folder: Path | None = None) -> Iterator[Scored]:
    """Yield the teachers that can be scored: recorded rationales cannot answer new problems.

    Args:
        tells: Whether those that cannot are named in a message.
        folder: The run's, in which refreshed teachers lie; `None`: they need not be there yet.
    """
    several = len(recipe.teachers) > 1
    for teacher in recipe.teachers:
        if teacher.replay is not None:
            if tells:
                name = f"{teacher.author}: " if several else ""
                say("teacher", f"{name}recorded rationales cannot answer new problems; the teacher is not scored")
            continue
        author = re.sub(r"[^\w.+-]+", "-", teacher.author)
        yield Scored(teacher, *((teacher.author, f"teacher.{author}") if several else ("teacher", "teacher")))
    for number, config in enumerate(recipe.rounds, start=1):
        if config.by == "refresh":
            job = f"teacher.round{number}"
            place = None if folder is None else str(folder / "students" / job)
            own = refreshed(teacher_of(recipe, number), number, place)
            yield Scored(own, own.author, job, trained=f"students/{job}")


def greedy(recipe: Recipe) -> SampleConfig:
    """Return how a teacher is asked the evaluation problems: once, greedily, by one view, never told the answer."""
    once = {"n": 1, "temperature": 0.0, "budget_by": "none", "views": recipe.sample.views[:1]}
    return recipe.sample.unaided.model_copy(update=once)


def plan_purchases(recipe: Recipe, arms: Iterable[Arm]) -> list[dict[str, Any]]:
    """Return what each buying stage would request of each teacher, without sending anything."""
    from potstill.evaluation.datasets import load_splits

    require_sound_asking(recipe)
    if find_spec("torch") is not None and find_spec("transformers") is not None:
        require_sound_arms(arms, is_plan=True)
    splits = load_splits(recipe.problems, seed=recipe.seed)
    named = {"sample.splits": recipe.sample.splits, "evaluate.splits": recipe.evaluate.splits}
    require_splits(named, [name for name, members in splits.items() if members])
    problems = [p for name in recipe.sample.splits for p in splits.get(name, [])]
    rows = plan_evolved(recipe, splits) if recipe.evolve is not None else []
    rows += plan_counterfactual(recipe, splits) if recipe.counterfactual is not None else []
    rows += plan_augmented(recipe, problems) if recipe.augment is not None else []
    rows += plan_sample(recipe, problems)
    rows += plan_support(recipe, problems)
    rows += plan_rounds(recipe, problems)
    if recipe.evaluate.teacher:
        tested = [p for name in recipe.evaluate.splits for p in splits.get(name, [])]
        for asked in scored_teachers(recipe, tells=False):
            rows += _planned(recipe, tested, greedy(recipe), [asked.teacher], "evaluate")
    return rows


def plan_evolved(recipe: Recipe, splits: Mapping[str, list[Problem]]) -> list[dict[str, Any]]:
    """Return what evolving the seeds would request at most, and what sampling for the instructions kept of them."""
    from potstill.instructions import plan_evolve, require_sound_evolving, table_of

    require_sound_evolving(recipe)
    names = table_of(recipe).splits
    require_splits({"evolve.splits": names}, [name for name, members in splits.items() if members])
    found = plan_evolve(recipe, [problem for name in names for problem in splits[name]])
    rows = list(found.rows)
    if found.kept and set(names) & set(recipe.sample.splits):
        for row in _planned(recipe, found.kept, recipe.sample, require_teachers(recipe), "sample evolved"):
            scaled = {name: round(value * found.scale) for name, value in row.items() if type(value) is int}
            money = row["max_money"] if row["max_money"] is None else round(row["max_money"] * found.scale, 4)
            rows.append({**row, **scaled, "in_ledger": 0, "max_money": money})
    return rows


def plan_counterfactual(recipe: Recipe, splits: Mapping[str, list[Problem]]) -> list[dict[str, Any]]:
    """Return what making counterfactuals would request at most, and what sampling for all that may be kept."""
    from potstill.counterfactuals import plan_counterfactuals, require_sound_counterfactuals, table_of

    require_sound_counterfactuals(recipe)
    names = table_of(recipe).splits
    require_splits({"counterfactual.splits": names}, [name for name, members in splits.items() if members])
    rows, kept = plan_counterfactuals(recipe, [problem for name in names for problem in splits[name]])
    stand_ins = [
        replace(problem, id=f"{problem.id} edited {turn}")
        for name in names if name in recipe.sample.splits
        for turn in range(1 + kept // max(1, len(splits[name])))
        for problem in splits[name]
    ]  # fmt: skip
    return rows + _planned(
        recipe, stand_ins[:kept], recipe.sample, require_teachers(recipe), "sample counterfactuals, at most"
    )


def plan_augmented(recipe: Recipe, problems: Sequence[Problem]) -> list[dict[str, Any]]:
    """Return what augmenting would request, and what sampling for all that it may make."""
    from potstill.augmenting import planned_askings, require_sound_augmenting, stand_ins

    require_sound_augmenting(recipe)
    rows = []
    for stage, config, teacher in planned_askings(recipe):
        rows += _planned(recipe, problems, config, [teacher], stage)
    made = stand_ins(recipe, problems)
    return rows + _planned(recipe, made, recipe.sample, require_teachers(recipe), "sample augmented, at most")


def plan_sample(recipe: Recipe, problems: Sequence[Problem]) -> list[dict[str, Any]]:
    """Return what sampling would request of each teacher; of views, also what telling the answer adds at most."""
    rows = _planned(recipe, problems, recipe.sample, require_teachers(recipe), "sample")
    if falls_back(recipe):
        rows += _planned(recipe, problems, recipe.sample.told, _askable(recipe), "sample (told), at most")
    return rows


def plan_rounds(recipe: Recipe, problems: Sequence[Problem]) -> list[dict[str, Any]]:
    """Return what each round would request at most: of corrections, as if the student got every problem wrong."""
    rows = []
    for number, config in enumerate(recipe.rounds, start=1):
        teacher, asked = teacher_of(recipe, number), round_sample(recipe, number)
        teacher = refreshed(teacher, number) if config.by == "refresh" else teacher
        attempts: Attempts | None = None
        if config.by == "errors":
            attempts = {(p.id, str(kind)): Attempt("", "") for p in problems for kind in asked.kinds}
        rows += _planned(recipe, problems, asked, [teacher], f"round {number}", attempts)
    return rows


def _planned(
    recipe: Recipe, problems: Sequence[Problem], config: SampleConfig, teachers: Sequence[TeacherConfig], stage: str,
    attempts: Attempts | None = None,
) -> list[dict[str, Any]]:  # fmt: skip
    from potstill.rationales.planning import plan
    from potstill.teachers.reaching import known_as, ledger_name

    addressed = [(known_as(teacher), ledger_name(teacher)) for teacher in teachers]
    rows = plan(problems, config, addressed, seed=recipe.seed, ledger=recipe.ledger, attempts=attempts)
    return [{"stage": stage, **row} for row in rows]


async def buy(
    recipe: Recipe, problems: list[Problem], config: SampleConfig, out: Path, *, run: str, stage: str = "sample",
    counts: Mapping[tuple[str, str], int] | None = None, teachers: Sequence[TeacherConfig] | None = None,
    attempts: Attempts | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Sample from teachers into a file, through the ledger, and return the counts.

    Args:
        run: What the budget is counted over, also across resumptions: the run directory, or the file written.
        teachers: Those to ask; `None`: all of the recipe.
        attempts: (problem id, kind) -> a wrong attempt that is to be corrected; only these are asked for.
    """
    from potstill.rationales.sampling import sample_to_file
    from potstill.teachers.ledger import Ledger, default_ledger_path
    from potstill.teachers.reaching import reachable

    asked = require_teachers(recipe) if teachers is None else teachers
    async with AsyncExitStack() as stack:
        addressed = [await stack.enter_async_context(reachable(teacher)) for teacher in asked]
        path = recipe.ledger or default_ledger_path()
        buys = any(teacher.replay is None for teacher in asked)
        ledger = stack.enter_context(Ledger(path)) if buys else None
        return await sample_to_file(
            problems,
            addressed,
            config,
            out,
            ledger=ledger,
            budget=recipe.budget,
            seed=recipe.seed,
            run=run,
            stage=stage,
            counts=counts,
            attempts=attempts,
        )


def plan_support(recipe: Recipe, problems: Sequence[Problem]) -> list[dict[str, Any]]:
    """Return what the support test would request at most: one short reply for every chain of thought."""
    reader, config = require_reader(recipe), recipe.filter.support
    if reader is None or config is None:
        return []
    ways = [way for way in recipe.sample.ways if parse_way(way).kind == "cot"]
    count = len(problems) * len(ways) * recipe.sample.n
    usage = {"prompt_tokens": count * READING_TOKENS, "completion_tokens": count * config.max_tokens}
    money = None if reader.price is None else round(money_for(usage, reader.charged), 4)
    row = {"stage": "support, at most", "teacher": reader.author, "problems": len(problems), "rationales": 0}
    row |= {"in_ledger": 0, "requests": count, "prompt_tokens": usage["prompt_tokens"]}
    return [{**row, "max_completion_tokens": usage["completion_tokens"], "max_money": money}]


def buy_support(recipe: Recipe, rationales: Iterable[Rationale], out: Path, *, run: str) -> dict[str, Any]:
    """Have the masked reasoning of rationales read, through the ledger, into a file; return the counts.

    The file is written whole, at the end: what was bought before a kill is in the ledger.
    """
    reader = require_reader(recipe)
    assert reader is not None, "called where filter.support is set"
    rows, meter = asyncio.run(_read_masked(recipe, reader, [r for r in rationales if can_be_read(r)], run))
    write_atomic(out, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    names = {True: "supported", False: "unsupported", None: "support_unread"}
    found = Counter(names[row["supported"]] for row in rows)
    say("filter", f"{found['supported']} of {len(rows)} rationales support their answer, as {reader.author} reads them")
    return {"read": len(rows), **found, "support_requests": meter.sent, "support_money": round(meter.money, 6)}


async def _read_masked(
    recipe: Recipe, reader: TeacherConfig, rationales: Sequence[Rationale], run: str
) -> tuple[list[dict[str, Any]], Meter]:
    """Return one row for each rationale, in order, and what was sent."""
    from potstill.teachers.ledger import Ledger, default_ledger_path
    from potstill.teachers.reaching import reachable

    config = recipe.filter.support
    assert config is not None, "called where filter.support is set"
    async with AsyncExitStack() as stack:
        teacher_config, endpoint = await stack.enter_async_context(reachable(reader))
        ledger = stack.enter_context(Ledger(recipe.ledger or default_ledger_path()))
        purse = open_budget(recipe.budget, ledger, run)
        opening = open_teacher(
            teacher_config, ledger=ledger, budget=purse, seed=recipe.seed, endpoint=endpoint, run=run,
            on_event=lambda code, text: say("filter", text),
        )  # fmt: skip
        teacher = await stack.enter_async_context(opening)

        async def ask(rationale: Rationale) -> dict[str, Any]:
            messages = support_messages(rationale, about=recipe.problems.about, seed=recipe.seed)
            request = request_for(
                teacher_config, messages, temperature=config.temperature, max_tokens=config.max_tokens
            )
            completion = (await teacher.complete(request, [0]))[0]
            return {"rationale_id": rationale.id, **reading(completion, rationale), "author": reader.author}

        limit = 2 * teacher_config.max_concurrency + 8
        return [row async for row in map_ordered(ask, rationales, limit)], teacher.meter


def round_sample(recipe: Recipe, number: int) -> SampleConfig:
    """Return how the teacher of a round (numbered from 1) is asked."""
    config = recipe.rounds[number - 1]
    if config.by == "refresh":
        return recipe.sample.model_copy(update={"n": config.n or recipe.sample.n, "budget_by": "none"})
    own = {"template": config.template, "demonstrations": config.demonstrations, "n_demonstrations": None, "views": ()}
    kinds = kinds_of(recipe, number)
    return recipe.sample.model_copy(update={**own, "n": config.n or 1, "kinds": kinds, "budget_by": "none"})


def buy_all(recipe: Recipe, problems: list[Problem], out: Path, *, run: str) -> Mapping[str, Any]:
    """Sample as `sample` says, in one stage or, with `budget_by`, in two; return the counts."""
    if recipe.sample.budget_by == "pass_rate":
        return _buy_by_pass_rate(recipe, problems, out, run=run)
    if falls_back(recipe):
        return _buy_told(recipe, problems, out, run=run)
    return asyncio.run(buy(recipe, problems, recipe.sample, out, run=run))


def falls_back(recipe: Recipe) -> bool:
    """Whether views that are wrong without the answer are asked for again by telling it."""
    return bool(recipe.sample.views and recipe.sample.view_labels == "free_then_given" and _askable(recipe))


def _askable(recipe: Recipe) -> list[TeacherConfig]:
    """Return the teachers that write anything new: recorded rationales hold what they hold."""
    return [teacher for teacher in require_teachers(recipe) if teacher.replay is None and teacher.weight > 0]


def _buy_told(recipe: Recipe, problems: list[Problem], out: Path, *, run: str) -> dict[str, Any]:
    """Sample the views without the answer, verify, and ask as often as those were wrong again with the answer told.

    Resumes: the second plan depends on the first stage's rows alone, which a second call finds as they are.
    """
    from potstill.files import read_records
    from potstill.rationales.verification import verify

    first = asyncio.run(buy(recipe, problems, recipe.sample.unaided, out, run=run))
    ids = {p.id for p in problems if p.answer is not None}
    free = [
        r for r in read_records(out, Rationale) if r.view and r.problem_id in ids and not parse_way(way_of(r)).is_given
    ]
    judged = verify(free, problems, recipe.verify, sandbox=recipe.sandbox)
    right = Counter((r.problem_id, str(r.view)) for r in judged if r.verdict is not None and r.verdict.correct)
    counts = {
        (id_, way_name("cot", view, is_given=True)): max(0, recipe.sample.n - right[id_, view])
        for id_ in ids
        for view in recipe.sample.views
    }
    say("sample", f"{sum(counts.values())} of {len(free)} views are not right and are asked for with the answer told")
    answered = [p for p in problems if p.id in ids]
    second = asyncio.run(
        buy(recipe, answered, recipe.sample.told, out, run=run, counts=counts, teachers=_askable(recipe))
    )
    return {**_summed(first, second), "told": second["rationales"]}


def _summed(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Return the counts of two samplings together."""
    found = dict(first)
    for name, value in second.items():
        found[name] = _summed(found.get(name, {}), value) if isinstance(value, Mapping) else found.get(name, 0) + value
    return found


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
