"""The stage `counterfactual`: labelled problems get counterparts with another label, in a run or in files of their own.

    problems ──generate──► candidates.jsonl ──kept──► counterfactuals.jsonl, and among the problems of problems.jsonl

Everything is bought through the ledger; what came of every request is a line on disk and is not asked for again.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from potstill.errors import ConfigError
from potstill.evaluation.datasets import load_problems
from potstill.files import drop_torn_line, write_atomic
from potstill.generators.candidates import KEPT, Candidate, as_problem, read_candidates, write_candidates
from potstill.generators.choosing import ACCEPTED
from potstill.generators.counterfactuals import generate_to_file
from potstill.generators.editing import edit_messages
from potstill.generators.jury import family_of, jurors_for, jury_messages
from potstill.generators.screening import Embedder, Scorer
from potstill.generators.targets import COMPUTED, Task, asks, fitting, labels_of
from potstill.messages import say
from potstill.preflight import require_splits, require_teachers
from potstill.rationales.contamination import contaminated
from potstill.recipe.counterfactual import CounterfactualConfig
from potstill.recipe.problems import ProblemsConfig, SourceConfig
from potstill.recipe.teachers import TeacherConfig
from potstill.recipe.whole import Recipe
from potstill.records import Drop, Problem
from potstill.run import Run
from potstill.teachers.base import Message, money_for

FILES = ("counterfactuals.jsonl", "candidates.jsonl", "judgements/jury.jsonl")
JUDGED = "judged"
"""The split of what was judged and is not kept, with `counterfactual.for_review`."""
CHARACTERS_PER_TOKEN = 4


@dataclass(frozen=True, slots=True)
class Made:
    """What a generation leaves."""

    problems: list[Problem]
    """The counterfactuals that are kept."""
    judged: list[Problem]
    """What else the jury judged, where it is wanted for review."""
    candidates: list[Candidate]
    drops: list[Drop]
    counts: dict[str, Any]


def table_of(recipe: Recipe) -> CounterfactualConfig:
    """Return the recipe's table `counterfactual`, or its defaults."""
    return recipe.counterfactual or CounterfactualConfig()


def task_of(problems: ProblemsConfig) -> Task:
    """Return what a recipe tells of its kind of question."""
    return Task(problems.about, problems.editable, problems.definitions, problems.question)


def writer_of(recipe: Recipe) -> TeacherConfig:
    """Return who edits.

    Raises:
        ConfigError: There is no teacher of that name, or it can only repeat what was recorded.
    """
    return _named(recipe, "counterfactual.teacher", table_of(recipe).teacher)


def jurors_of(recipe: Recipe) -> list[TeacherConfig]:
    """Return who judges; errors as `writer_of`."""
    jury = table_of(recipe).jury
    unknown = [name for name in jury.families if name not in {teacher.author for teacher in recipe.teachers}]
    if unknown:
        _named(recipe, "counterfactual.jury.families", unknown[0])
    if jury.teachers:
        return [_named(recipe, "counterfactual.jury.teachers", name) for name in jury.teachers]
    return jurors_for(writer_of(recipe), recipe.teachers, jury.families)


def _named(recipe: Recipe, key: str, name: str | None) -> TeacherConfig:
    by_name = {teacher.author: teacher for teacher in require_teachers(recipe)}
    if name is not None and name not in by_name:
        message = f"{key}: {name!r} is no teacher of this recipe; it has {', '.join(by_name)}; name one of them"
        raise ConfigError(message)
    found = recipe.teachers[0] if name is None else by_name[name]
    if found.replay is not None:
        message = f"{key}: recorded rationales cannot be asked anything new; give base_url or local of a teacher"
        raise ConfigError(message)
    return found


def require_sound_counterfactuals(recipe: Recipe) -> None:
    """Raise unless the teachers, the models and the evaluation files of `counterfactual` can be used."""
    config = table_of(recipe)
    jurors_of(recipe)
    evaluation_problems(config)
    _opened_models(config)


def evaluation_problems(config: CounterfactualConfig) -> list[Problem]:
    """Return the problems of the files that `counterfactual.against` names."""
    return load_problems(SourceConfig(source=config.against, invalid="drop")) if config.against else []


def _opened_models(config: CounterfactualConfig) -> tuple[Scorer | None, Embedder | None]:
    """Open the models of `fluency` and `similarity`, where they are wanted."""
    scorer: Scorer | None = None
    embedder: Embedder | None = None
    if config.fluency is not None:
        from potstill.generators.fluency import open_scorer

        scorer = open_scorer(config.fluency.model)
    if config.similarity is not None:
        from potstill.rationales.embedding import embed, require_model

        key = "counterfactual.similarity.model"
        require_model(config.similarity.model, key)
        embedder = partial(embed, model=config.similarity.model, key=key)
    return scorer, embedder


def plan_counterfactuals(recipe: Recipe, problems: Sequence[Problem]) -> tuple[list[dict[str, Any]], int]:
    """Return the most that making counterfactuals of these problems would ask for, and how many may be kept.

    The jury's row takes every edit to pass the filters and every vote to be asked for.
    """
    from potstill.teachers.reaching import known_as

    config, task = table_of(recipe), task_of(recipe.problems)
    fit, _ = fitting(problems, config, task)
    writer, jurors = known_as(writer_of(recipe)), [known_as(juror) for juror in jurors_of(recipe)]
    wanted = list(asks(fit, config, seed=recipe.seed))
    edits = _Row(sum(_size(edit_messages(ask, task)) for ask in wanted), len(wanted))
    rows = [edits.shown("counterfactual", writer, config.max_tokens, len(fit))]
    for at, juror in enumerate(jurors):
        votes = len(range(at, config.jury.votes, len(jurors)))
        judged = sum(_vote_size(ask.problem, task) for ask in wanted)
        solved = [ask.problem for ask in wanted if ask.problem.answer_type == COMPUTED]
        originals = len({problem.id for problem in solved})
        row = _Row(judged * votes, len(wanted) * votes + originals)
        cap = config.jury.max_tokens if not solved else juror.max_tokens or config.jury.max_tokens
        rows.append(row.shown("jury, at most", juror, cap, len(fit)))
    groups = len({(ask.problem.id, ask.role, ask.target) for ask in wanted}) * config.per_target
    return rows, min(groups, int(config.ratio * len(fit)) * len(config.roles))


@dataclass(frozen=True, slots=True)
class _Row:
    characters: int
    requests: int

    def shown(self, stage: str, teacher: TeacherConfig, cap: int, n_problems: int) -> dict[str, Any]:
        usage = Counter(prompt_tokens=self.characters // CHARACTERS_PER_TOKEN, completion_tokens=self.requests * cap)
        return {
            "stage": stage,
            "teacher": teacher.author,
            "problems": n_problems,
            "requests": self.requests,
            "prompt_tokens": usage["prompt_tokens"],
            "max_completion_tokens": usage["completion_tokens"],
            "max_money": None if teacher.price is None else round(money_for(usage, teacher.price), 4),
        }


def _size(messages: Sequence[Message]) -> int:
    return sum(len(str(message["content"])) for message in messages)


def _vote_size(problem: Problem, task: Task) -> int:
    """Return about how many characters one vote on an edit of a problem is asked with."""
    if problem.answer_type == COMPUTED:
        return len(problem.question) + 400
    return _size(jury_messages(problem, task, list(labels_of(problem))))


def counterfactual_files(
    recipe: Recipe, problems: Sequence[Problem], candidates: Path, *, run: str, evaluated: Sequence[Problem] = ()
) -> Made:
    """Make the counterfactuals that are missing and choose from all; resumes where an earlier call was stopped.

    Args:
        candidates: The file of all candidates.
        run: What the budget is counted over.
        evaluated: What repeats one of these problems is left out, as is what repeats one of `counterfactual.against`.

    Raises:
        ConfigError: The problems have no field that may be edited, or no label that is aimed at.
        TooManyFailures, BudgetError, TeacherError: Finished candidates are kept, the same call resumes.
    """
    config, task = table_of(recipe), task_of(recipe.problems)
    evaluated = [*evaluated, *evaluation_problems(config)]
    fit, drops = fitting(problems, config, task)
    fit, tainted = _uncontaminated(fit, evaluated)
    drops += tainted
    if drops:
        say("counterfactual", f"{len(drops)} of {len(problems)} problems are left out ({_reasons(drops)})")
    _tell_jury(recipe)
    candidates.parent.mkdir(parents=True, exist_ok=True)
    if candidates.exists():
        drop_torn_line(candidates)
    known = {one.id: one for one in read_candidates(candidates)}
    found, counts = asyncio.run(_generate(recipe, fit, candidates, run, known, evaluated))
    write_candidates(candidates, found)
    by_id = {problem.id: problem for problem in fit}
    kept = [_problem(by_id, one, task) for one in found if one.reason == KEPT]
    judged = [_problem(by_id, one, task) for one in found if one.jury and one.reason != KEPT]
    drops += [
        Drop(stage="counterfactual", id=one.id, reason=one.reason, detail=one.detail)
        for one in found
        if one.reason != KEPT
    ]
    counts = {"problems": len(problems), "edited": len(fit), **counts}
    own = _ids(problems)
    left_out = Counter(drop.reason for drop in drops if drop.id in own)
    counts |= {f"left_out_{reason}": n for reason, n in sorted(left_out.items())}
    say("counterfactual", f"{counts['kept']} kept of {counts['candidates']} edits of {len(fit)} problems")
    return Made(kept, judged if config.for_review else [], found, drops, counts)


def _ids(problems: Sequence[Problem]) -> set[str]:
    return {problem.id for problem in problems}


def _problem(problems: dict[str, Problem], candidate: Candidate, task: Task) -> Problem:
    found = as_problem(problems[candidate.problem_id], candidate, task.form)
    assert found is not None, "what is judged was put together before"
    return found


def _uncontaminated(problems: Sequence[Problem], evaluated: Sequence[Problem]) -> tuple[list[Problem], list[Drop]]:
    """Return the problems that repeat no evaluation problem: nothing is bought for what could not be learnt from."""
    own = _ids(problems)
    tainted = contaminated(problems, [problem for problem in evaluated if problem.id not in own]) if evaluated else {}
    drops = [Drop(stage="counterfactual", id=id_, reason="contaminated", detail=why) for id_, why in tainted.items()]
    return [problem for problem in problems if problem.id not in tainted], drops


def _tell_jury(recipe: Recipe) -> None:
    writer, jurors = writer_of(recipe), jurors_of(recipe)
    families = table_of(recipe).jury.families
    if writer in jurors:
        say("counterfactual", f"{writer.author} judges its own edits: give a teacher of another family for the jury")
    elif all(family_of(juror, families) == family_of(writer, families) for juror in jurors):
        say("counterfactual", f"all jurors are of the writer's family, {family_of(writer, families)}: they err alike")


async def _generate(
    recipe: Recipe,
    problems: Sequence[Problem],
    candidates: Path,
    run: str,
    known: dict[str, Candidate],
    evaluated: Sequence[Problem],
) -> tuple[list[Candidate], dict[str, Any]]:
    from potstill.teachers.ledger import Ledger, default_ledger_path
    from potstill.teachers.reaching import reachable

    config = table_of(recipe)
    scorer, embedder = _opened_models(config)
    async with AsyncExitStack() as stack:
        reached = {}
        for one in (writer_of(recipe), *jurors_of(recipe)):
            if one.author not in reached:
                reached[one.author] = await stack.enter_async_context(reachable(one))
        ledger = stack.enter_context(Ledger(recipe.ledger or default_ledger_path()))
        return await generate_to_file(
            problems, reached[writer_of(recipe).author], [reached[one.author] for one in jurors_of(recipe)], config,
            task_of(recipe.problems), candidates, ledger=ledger, budget=recipe.budget, seed=recipe.seed, run=run,
            known=known, evaluated=evaluated, sandbox=recipe.sandbox, scorer=scorer, embedder=embedder,
        )  # fmt: skip


def counterfactual_run(
    files: Run, recipe: Recipe, problems: Sequence[Problem], *, label: str
) -> tuple[dict[str, Problem], dict[str, Any]]:
    """Make counterfactuals of a run's problems into its files; return all problems by id, and the counts."""
    config = table_of(recipe)
    require_splits({"counterfactual.splits": config.splits}, {problem.split for problem in problems})
    edited = [problem for problem in problems if problem.split in config.splits]
    evaluated = [
        problem for problem in problems
        if problem.split in recipe.filter.decontaminate and problem.split not in config.splits
    ]  # fmt: skip
    made = counterfactual_files(recipe, edited, files.path("candidates.jsonl"), run=label, evaluated=evaluated)
    files.write("counterfactuals.jsonl", made.problems)
    earlier = [drop for drop in files.read("dropped.jsonl", Drop) if drop.stage == "evolve"]
    files.write("dropped.jsonl", [*earlier, *made.drops])
    write_atomic(files.path("judgements/jury.jsonl"), "".join(_claims(made)))
    set_aside = [replace(problem, split=JUDGED) for problem in made.judged]
    rows = list({problem.id: problem for problem in [*set_aside, *made.problems]}.values())
    rows = [*problems, *rows]
    files.write("problems.jsonl", rows)
    return {problem.id: problem for problem in rows}, made.counts


def _claims(made: Made) -> list[str]:
    """Return a line for each item that was judged and can be looked at: what the jury says of its label."""
    judged = {(one.problem_id, one.field, one.text, one.new): one for one in made.candidates if one.jury}
    lines = []
    for problem in {problem.id: problem for problem in [*made.judged, *made.problems]}.values():
        told = problem.meta["counterfactual"]
        text = (problem.fields or {"question": problem.question})[told["field"]]
        one = judged[str(problem.parent_id), told["field"], text, told["to"]]
        is_accepted = one.reason in ACCEPTED
        row = {
            "problem_id": problem.id, "stage": "problems", "status": "CORRECT" if is_accepted else "WRONG",
            "answer": max(one.counts, key=lambda name: one.counts[name], default=None),
            "reason": "" if is_accepted else f"{one.reason}: {one.detail}",
        }  # fmt: skip
        lines.append(json.dumps(row) + "\n")
    return lines


def without_made(files: Run, problems: Mapping[str, Problem]) -> dict[str, Problem]:
    """Return a run's problems without those that an earlier pass of this stage made; `problems.jsonl` follows."""
    made = {problem.id for problem in files.read("counterfactuals.jsonl", Problem)}
    rest = {id_: problem for id_, problem in problems.items() if id_ not in made and problem.split != JUDGED}
    if len(rest) < len(problems):
        files.write("problems.jsonl", rest.values())
    return rest


def _reasons(drops: Sequence[Drop]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in Counter(drop.reason for drop in drops).most_common())
