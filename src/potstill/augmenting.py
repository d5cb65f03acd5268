"""The stage `augment`: further training problems, bought, checked and counted, before anything is sampled for them.

    training problems ──reworded by a teacher─────────► paraphrases.jsonl ─┐
                      ──programs──► programs.jsonl ──run with new numbers──┼─► checks ─► augmented.jsonl, problems.jsonl
                      ──slips of the keyboard──────────────────────────────┘        └─► dropped.jsonl

What comes out are problems of their parents' split: they are sampled, verified, filtered and mixed like any other. Off
by default. Requests go through the ledger; programs are asked for as `sample` asks, so that a recipe that samples
programs anyway pays nothing for these.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from potstill.errors import ConfigError
from potstill.generators.augmentation import (
    Evaluated,
    Refused,
    common_names,
    noisy,
    reworded,
    varied,
    way_of_making,
)
from potstill.messages import say
from potstill.preflight import require_splits, require_teachers
from potstill.purchases import buy
from potstill.rationales.contamination import contaminated
from potstill.rationales.programs import find_program
from potstill.recipe.augmentation import AugmentConfig
from potstill.recipe.teachers import SampleConfig, TeacherConfig
from potstill.recipe.whole import Recipe
from potstill.records import Drop, Problem, Rationale, child_seed
from potstill.run import Run
from potstill.verdicts import read_verified, verify_file

FILES = ("augmented.jsonl", "paraphrases.jsonl", "programs.jsonl", "programs.verdicts.jsonl")


def require_sound_augmenting(recipe: Recipe) -> None:
    """Raise `ConfigError` unless the splits may be augmented and there is a teacher for what has to be asked."""
    config = table_of(recipe)
    tested = {*recipe.filter.decontaminate, *recipe.evaluate.splits, "dev"}
    if evaluated := tested & set(config.splits):
        message = (
            f"augment.splits: {min(evaluated)!r} is evaluated, and nothing made of its problems may be learnt from; "
            f"name training splits, such as {', '.join(recipe.sample.splits)}"
        )
        raise ConfigError(message)
    if unread := set(config.splits) - set(recipe.sample.splits):
        message = (
            f"augment.splits: {min(unread)!r} is not sampled; name some of sample.splits, "
            f"{', '.join(recipe.sample.splits)}"
        )
        raise ConfigError(message)
    if config.paraphrase:
        teacher_for(recipe, "paraphrase")
    if config.vary:
        teacher_for(recipe, "vary")


def teacher_for(recipe: Recipe, way: str) -> TeacherConfig:
    """Return who rewords, or writes the programs.

    Raises:
        ConfigError: There is no such teacher, or it can only repeat what was recorded.
    """
    wanted = table_of(recipe).teacher
    able = [t for t in require_teachers(recipe) if way == "vary" or t.replay is None]
    found = [t for t in able if wanted in (None, t.author)]
    if not found:
        names = ", ".join(t.author for t in able) or "none"
        asked = repr(wanted) if wanted else "a teacher"
        message = f"augment.{way}: {asked} must be one that can be asked; found: {names}; name one, or set {way}: 0"
        raise ConfigError(message)
    return found[0]


def table_of(recipe: Recipe) -> AugmentConfig:
    """Return the recipe's table `augment`."""
    assert recipe.augment is not None, "asked only where the recipe augments"
    return recipe.augment


def asked_for(recipe: Recipe, way: str) -> SampleConfig:
    """Return how paraphrases, or programs, are asked for."""
    config, sample = table_of(recipe), recipe.sample
    plain: dict[str, Any] = {"max_failed_frac": sample.max_failed_frac, "retry_failed": sample.retry_failed}
    if way == "paraphrase":
        return SampleConfig(n=config.paraphrase, template="paraphrase", **plain)
    if "pot" not in sample.kinds:
        return SampleConfig(n=config.programs, kinds=("pot",), template="zero_shot", **plain)
    return sample.model_copy(update={"n": config.programs, "kinds": ("pot",), "views": (), "budget_by": "none"})


def augment_run(run: Run, recipe: Recipe, problems: Sequence[Problem], *, label: str) -> dict[str, Any]:
    """Make the augmented problems of a run, write them beside the given ones, and return the counts.

    Args:
        problems: The given ones, of all splits.
        label: The run's name in the ledger.
    """
    config = table_of(recipe)
    require_splits({"augment.splits": config.splits}, {p.split for p in problems})
    parents = [p for p in problems if p.split in config.splits]
    evaluated = [p for p in problems if p.split in {*recipe.filter.decontaminate, *recipe.evaluate.splits}]
    made: list[Problem] = []
    drops: list[Drop] = []
    counts: dict[str, Any] = {"parents": len(parents)}
    sources = {"paraphrase": _paraphrases, "vary": _variants, "noise": _copies}
    for way, source in sources.items():
        if getattr(config, way):
            found = list(source(run, recipe, parents, label, counts))
            made += [one for _, one in found if isinstance(one, Problem)]
            drops += [_drop(parent, way, one) for parent, one in found if isinstance(one, Refused)]
    kept, more = checked(made, problems, evaluated, named=recipe.filter.decontaminate)
    drops += more
    counts |= Counter(str(way_of_making(p)) for p in kept)
    counts |= {f"dropped_{reason}": n for reason, n in sorted(Counter(d.reason for d in drops).items())}
    earlier = [drop for drop in run.read("dropped.jsonl", Drop) if drop.stage in ("evolve", "counterfactual")]
    run.write("dropped.jsonl", [*earlier, *drops])
    run.write("augmented.jsonl", kept)
    run.write("problems.jsonl", [*problems, *kept])
    say("augment", f"{len(kept)} problems made of {len(parents)}; {len(drops)} left out")
    return counts


def checked(
    made: Sequence[Problem], given: Sequence[Problem], evaluated: Sequence[Problem], *, named: Sequence[str]
) -> tuple[list[Problem], list[Drop]]:
    """Return the problems that may be learnt from, and why the others may not.

    A problem is left out that has become an evaluated one, or whose parent is one by the filter's rules, or that says
    what another problem says already.

    Args:
        named: `filter.decontaminate`: splits whose relatives are left out; of other evaluated splits, only what has
            become one of their problems is.
    """
    ties = contaminated([*given_of(made, given), *made], [p for p in evaluated if p.split in named])
    tested = Evaluated(evaluated)
    seen = {" ".join(p.question.split()) for p in given}
    kept, drops = list[Problem](), list[Drop]()
    for problem in made:
        text = " ".join(problem.question.split())
        tie = ties.get(problem.id) or ties.get(problem.parent_id or "") or tested.tie(problem)
        if tie:
            drops.append(Drop(stage="augment", id=problem.id, reason="augmented_contaminated", detail=tie))
        elif text in seen:
            drops.append(Drop(stage="augment", id=problem.id, reason="augmented_duplicate"))
        else:
            seen.add(text)
            kept.append(problem)
    return kept, drops


def given_of(made: Sequence[Problem], given: Sequence[Problem]) -> list[Problem]:
    """Return the parents of what was made."""
    wanted = {problem.parent_id for problem in made}
    return [problem for problem in given if problem.id in wanted]


Found = Iterator[tuple[Problem, Problem | Refused]]


def _paraphrases(run: Run, recipe: Recipe, parents: list[Problem], label: str, counts: dict[str, Any]) -> Found:
    teachers = [teacher_for(recipe, "paraphrase")]
    out = run.path("paraphrases.jsonl")
    bought = asyncio.run(
        buy(recipe, parents, asked_for(recipe, "paraphrase"), out, run=label, stage="augment", teachers=teachers)
    )
    counts |= {f"paraphrase_{name}": value for name, value in bought.items()}
    by_id = {p.id: p for p in parents}
    rows = [row for row in run.read("paraphrases.jsonl", Rationale) if row.problem_id in by_id]
    for row in sorted(rows, key=lambda r: (r.problem_id, r.index)):
        parent = by_id[row.problem_id]
        if row.finish != "stop":
            yield parent, Refused("paraphrase_unfinished", f"finish {row.finish}: {row.reason or ''}")
        else:
            yield parent, reworded(parent, row.text, row.index)


def _variants(run: Run, recipe: Recipe, parents: list[Problem], label: str, counts: dict[str, Any]) -> Found:
    parents = [p for p in parents if p.answer_type == "number" and p.answer is not None]
    teachers = [teacher_for(recipe, "vary")]
    out, verdicts = run.path("programs.jsonl"), "programs.verdicts.jsonl"
    bought = asyncio.run(
        buy(recipe, parents, asked_for(recipe, "vary"), out, run=label, stage="augment", teachers=teachers)
    )
    counts |= {f"programs_{name}": value for name, value in bought.items()}
    by_id = {p.id: p for p in parents}
    verify_file(run, recipe, "programs.jsonl", verdicts, by_id)
    sound: dict[str, list[str]] = defaultdict(list)
    for row in read_verified(run, by_id, "programs.jsonl", verdicts):
        if row.verdict is not None and row.verdict.correct and (found := find_program(row.text).programs):
            sound[row.problem_id].append(found[0])
    names = common_names(parents)
    answer_of = _runner(recipe)
    for parent in parents:
        for number in range(table_of(recipe).vary):
            rng = random.Random(child_seed(recipe.seed, "vary", parent.id, number))
            yield parent, varied(parent, sound[parent.id], number, rng, answer_of=answer_of, names=names)


def _runner(recipe: Recipe) -> Callable[[str], str | None]:
    from potstill.sandbox.running import run_program

    @cache
    def answer_of(program: str) -> str | None:
        return run_program(program, recipe.sandbox).answer

    return answer_of


def _copies(run: Run, recipe: Recipe, parents: list[Problem], label: str, counts: dict[str, Any]) -> Found:
    config = table_of(recipe)
    for parent in parents:
        for number in range(config.noise):
            rng = random.Random(child_seed(recipe.seed, "noise", parent.id, number))
            yield parent, noisy(parent, number, config.noise_frac, rng)


def _drop(parent: Problem, way: str, refused: Refused) -> Drop:
    return Drop(stage="augment", id=parent.id, reason=refused.reason, detail=refused.detail, meta={"way": way})


def is_augmented(problem: Problem) -> bool:
    """Whether a problem was made of another by this stage."""
    return way_of_making(problem) is not None


def stand_ins(recipe: Recipe, parents: Sequence[Problem]) -> list[Problem]:
    """Return as many problems as augmentation makes at most, for a plan of what sampling them would cost."""
    config = table_of(recipe)
    count = config.paraphrase + config.noise + config.vary
    own = [p for p in parents if p.split in config.splits]
    return [replace(p, id=f"{p.id}+{number}", parent_id=p.id) for p in own for number in range(count)]


def planned_askings(recipe: Recipe) -> Iterator[tuple[str, SampleConfig, TeacherConfig]]:
    """Yield what augmenting asks for: the stage's name in a plan, how, and whom."""
    config = table_of(recipe)
    if config.paraphrase:
        yield "augment paraphrases", asked_for(recipe, "paraphrase"), teacher_for(recipe, "paraphrase")
    if config.vary:
        yield "augment programs", asked_for(recipe, "vary"), teacher_for(recipe, "vary")


def made_by(problems: Mapping[str, Problem]) -> dict[str, str]:
    """Return problem id -> how it was made, of the augmented ones."""
    return {p.id: way for p in problems.values() if (way := way_of_making(p))}
