"""Evolution with a real teacher: trees of rewritten instructions for many seeds at once, into a file that survives.

    seeds ──► World (teacher rewrites, gates, teacher judges) ──strategy──► one tree per seed ──► trees.jsonl

Every request goes through the ledger, and a search depends on nothing but its seed and the answers: so a search that
was killed is simply run again, takes every answer that was paid for from the ledger, and goes on where it stopped. A
finished tree is a line on disk. What is kept of the trees is `potstill.generators.selection`'s.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from potstill.errors import TooManyFailures
from potstill.files import Appender
from potstill.generators.asking import Failed, Reward, Scores, World
from potstill.generators.bandit import Outcomes
from potstill.generators.evolving import (
    Action,
    derive_messages,
    evolve_messages,
    load_actions,
    read_derived,
    read_evolved,
    request_for,
)
from potstill.generators.gates import WORD, evolved_gate
from potstill.generators.judging import Bench, Judge
from potstill.generators.nearness import Archive
from potstill.generators.search import search
from potstill.generators.selecting import PUBLISHED, TREE
from potstill.generators.sharing import Known, Shared
from potstill.generators.strategies import Budgeted, beam, best_of_n, random_evolution
from potstill.generators.trained_judge import TrainedJudge
from potstill.generators.treefiles import line_of, tree_from, tree_row
from potstill.generators.trees import Node, Tree
from potstill.messages import say
from potstill.recipe.generators import EvolveConfig
from potstill.recipe.teachers import BudgetConfig, TeacherConfig
from potstill.records import Drop, Problem, child_seed
from potstill.streams import Stream, map_concurrent, map_ordered
from potstill.teachers.base import Meter, Teacher, open_budget, open_teacher

if TYPE_CHECKING:
    from potstill.teachers.ledger import Ledger

Addressed = tuple[TeacherConfig, str | None]
"""A teacher and its name in the ledger's keys, where its address changes from run to run."""

NO_REPLY = ("refused", "empty", "error", "truncated", "unparseable")
"""Reasons of nodes whose call failed; `invalid` is not one: the teacher has answered that the action does not fit."""
FLAT_FRAC = 0.9
"""Fraction of votes that do not tell texts apart above which the judge is named."""
HOPELESS_CALLS = 100
"""Growing stops early only after so many calls."""


@dataclass(frozen=True, slots=True)
class Asked:
    """An open teacher, and how it is asked."""

    teacher: Teacher
    config: TeacherConfig


@dataclass(slots=True)
class Growth:
    """One growing of many trees: who is asked, by which rules, and what has been counted."""

    evolver: Asked
    judge: Judge | TrainedJudge
    config: EvolveConfig
    actions: Mapping[str, Action]
    seed: int
    archive: Archive
    """The seeds and the texts of finished trees: what novelty is measured against."""
    shared: Shared
    """What the trees of earlier seeds have found."""
    calls: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    """Calls that brought no reply, by reason."""

    async def tree(self, problem: Problem) -> Tree:
        """Return the finished tree of one seed."""
        known = await self.shared.before(problem.id)
        own = child_seed(self.seed, problem.id)
        tree = await grow_one(
            problem.question, self.world(known), self.config, tuple(self.actions), own, earlier=known.outcomes
        )
        # What a file gives back: values rounded, so that a resumed run selects from the very same numbers.
        found = tree_from(tree_row(problem.id, replace(tree, after=known.mark)))[1]
        self.shared.tell(problem.id, found)
        return found

    def world(self, known: Known) -> World:
        """Return what a search asks; `known`: what it may know of other trees."""

        async def judge(texts: Sequence[str], attempt: int) -> Sequence[Scores | None]:
            found = await self.judge(texts, attempt)
            return found if not self.config.scores_novelty else self._with_novelty(texts, found, known)

        return World(expand=self._expand, judge=judge, gate=self._gate)

    def count(self, tree: Tree) -> None:
        """Count the calls of a tree, and those that brought no reply.

        Raises:
            TooManyFailures: They are so many that going on is hopeless.
        """
        self.calls += tree.calls
        self.failed.update(node.refused for node in tree.nodes if node.refused in NO_REPLY)
        if self.calls >= HOPELESS_CALLS:
            self.require_replies()

    def require_replies(self) -> None:
        """Raise `TooManyFailures` where more calls than allowed brought no reply."""
        if self.failed.total() <= self.config.max_failed_frac * self.calls:
            return
        found = ", ".join(f"{count} {reason}" for reason, count in self.failed.most_common())
        message = (
            f"evolve: {self.failed.total()} of {self.calls} calls brought no instruction ({found}); "
            f"evolve.max_failed_frac allows {self.config.max_failed_frac:.0%}; look at the replies in the ledger, ask "
            "another model, or raise the limit: what was bought is kept"
        )
        raise TooManyFailures(message)

    async def _expand(self, node: Node, action: str, draw: int) -> list[str] | Failed:
        completion = (await self.evolver.teacher.complete(self.request(node.text, action), [draw]))[0]
        found = read_evolved(completion)
        return found if isinstance(found, Failed) else [found]

    def request(self, text: str, action: str) -> Any:
        """Return what asks for one rewriting."""
        config = self.config
        messages = evolve_messages(text, self.actions[action], config.added_words)
        return request_for(self.evolver.config, messages, temperature=config.temperature, max_tokens=config.max_tokens)

    def _with_novelty(
        self, texts: Sequence[str], found: Sequence[Scores | None], known: Known
    ) -> Sequence[Scores | None]:
        return [
            scores
            if scores is None
            else {**scores, "novelty": 1 + 5 * (1 - self.archive.nearest(text, known.texts)[0])}
            for text, scores in zip(texts, found, strict=True)
        ]

    def _gate(self, text: str, parent: str, root: str) -> str:
        return evolved_gate(text, parent, root, max_growth=self.config.max_growth)


async def grow_one(
    text: str,
    world: World,
    config: EvolveConfig,
    actions: tuple[str, ...],
    seed: int,
    *,
    earlier: Outcomes | None = None,
) -> Tree:
    """Return the tree that one strategy grows from a text; `earlier`: what actions did in other trees."""
    learnt: dict[str, Any] = {"learns_actions": config.learns_actions, "earlier": dict(earlier or {})}
    reward = Reward(weights=config.weights, floors=config.floors)
    if config.strategy in ("tree", "published"):
        rules = TREE if config.strategy == "tree" else PUBLISHED
        rules = replace(rules, actions=actions, reward=reward)
        if config.strategy == "tree":
            rules = replace(rules, terminal_depth=config.depth, **learnt)
        return await search(text, world, rules, calls=config.calls, seed=seed)
    given = Budgeted(world=world, calls=config.calls, seed=seed, actions=actions, reward=reward)
    if config.strategy == "random":
        return await random_evolution(text, given, depth=config.depth)
    if config.strategy == "best_of_n":
        return await best_of_n(text, given)
    return await beam(text, replace(given, **learnt), width=config.width, branch=config.branch, depth=config.depth)


def fit_seeds(problems: Sequence[Problem], config: EvolveConfig) -> tuple[list[Problem], list[Drop]]:
    """Return the seeds that can be evolved, and why others cannot."""
    fitting, drops = list[Problem](), list[Drop]()
    for problem in problems:
        words = len(WORD.findall(problem.question))
        if not words:
            drops.append(Drop(stage="evolve", id=problem.id, reason="seed_without_words"))
        elif words > config.max_seed_words:
            detail = f"{words} words, at most {config.max_seed_words} (evolve.max_seed_words)"
            drops.append(Drop(stage="evolve", id=problem.id, reason="seed_too_long", detail=detail))
        else:
            fitting.append(problem)
    return fitting, drops


def evolve(
    seeds: Sequence[Problem],
    teacher: Teacher | TeacherConfig,
    config: EvolveConfig | None = None,
    *,
    judge: Teacher | TeacherConfig | None = None,
    evaluated: Sequence[Problem] = (),
    seed: int = 0,
) -> Stream[Problem]:
    """Return a stream of evolved instructions: problems with `parent_id`, and under `meta.evolution` how they came.

    Args:
        teacher: Who rewrites; a configuration is opened with the user's ledger.
        judge: Who scores; `None`: the teacher.
        evaluated: What repeats one of these problems is left out.

    Raises (when read):
        TooManyFailures: More calls than `config.max_failed_frac` brought no reply.
        BudgetError, TeacherError: As `Teacher.complete` says.

    Source: IDEA-MCTS, Li et al. 2024, arXiv:2410.10392.
    Differs: the default strategy is a beam, which measured best (docs/idea_mcts.md); prompts and rubrics are ours.
    """
    config = config or EvolveConfig()
    return Stream(lambda: _evolve(list(seeds), teacher, judge or teacher, config, list(evaluated), seed))


async def _evolve(
    seeds: list[Problem],
    teacher: Teacher | TeacherConfig,
    judge: Teacher | TeacherConfig,
    config: EvolveConfig,
    evaluated: list[Problem],
    seed: int,
) -> AsyncIterator[Problem]:
    from potstill.generators.selection import choose

    fitting, _ = fit_seeds(seeds, config)
    async with AsyncExitStack() as stack:
        evolver = await opened(stack, teacher, seed)
        judging = evolver if judge is teacher else await opened(stack, judge, seed)
        growth = await begin(evolver, judging, config, fitting, seed=seed)
        trees: list[tuple[Problem, Tree]] = []
        async with aclosing(map_ordered(growth.tree, fitting, config.at_once)) as grown:  # type: ignore[type-var]
            async for tree in grown:
                growth.count(tree)
                trees.append((fitting[len(trees)], tree))
        growth.require_replies()
    for problem in choose(trees, config, evaluated=evaluated, seed=seed).problems:
        yield problem


async def opened(stack: AsyncExitStack, teacher: Teacher | TeacherConfig, seed: int) -> Asked:
    """Return an open teacher; a configuration is opened with the user's ledger."""
    if not isinstance(teacher, TeacherConfig):
        return Asked(teacher, TeacherConfig(base_url="", model=teacher.author))
    from potstill.teachers.ledger import Ledger, default_ledger_path
    from potstill.teachers.reaching import reachable

    config, endpoint = await stack.enter_async_context(reachable(teacher))
    ledger = stack.enter_context(Ledger(default_ledger_path()))
    opening = open_teacher(config, ledger=ledger, seed=seed, endpoint=endpoint)
    return Asked(await stack.enter_async_context(opening), config)


async def begin(
    evolver: Asked,
    judge: Asked,
    config: EvolveConfig,
    seeds: Sequence[Problem],
    *,
    seed: int = 0,
    derived: Sequence[str] | None = None,
    known: Mapping[str, Tree] | None = None,
) -> Growth:
    """Return what grows trees, its actions settled: asked of the teacher where the recipe says so.

    Args:
        derived: The actions that were derived before; `None`: ask.
        known: Seed id -> its tree, where there is one already: others may learn from it.
    """
    if derived is None:
        derived = await derive(evolver, config, [problem.question for problem in seeds], seed=seed)
    archive = Archive([problem.question for problem in seeds] if config.scores_novelty else (), config.embedding)
    shared = Shared([p.id for p in seeds], config.shares, archive if config.scores_novelty else None)
    for seed_id, tree in (known or {}).items():
        shared.tell(seed_id, tree)
    return Growth(
        evolver=evolver,
        judge=TrainedJudge(config) if config.judge.scorer else Judge(judge.teacher, judge.config, config, seed=seed),
        config=config,
        actions=load_actions(config, derived),
        seed=seed,
        archive=archive,
        shared=shared,
    )


async def derive(evolver: Asked, config: EvolveConfig, seeds: Sequence[str], *, seed: int = 0) -> list[str]:
    """Return the actions that the teacher derives from the seeds; none where three replies in a row say none."""
    if not config.derive or not seeds:
        return []
    messages = derive_messages(seeds, config.derive, seed)
    request = request_for(evolver.config, messages, temperature=config.temperature, max_tokens=config.max_tokens)
    reasons = []
    for draw in range(3):
        found = read_derived((await evolver.teacher.complete(request, [draw]))[0], config.derive)
        if not isinstance(found, Failed):
            return found
        reasons.append(found.reason)
    say("evolve", f"no actions could be derived from the seeds ({', '.join(reasons)}); going on with the others")
    return []


async def grow_to_file(
    seeds: Sequence[Problem],
    teachers: Sequence[Addressed],
    config: EvolveConfig,
    out: Path,
    *,
    ledger: Ledger,
    budget: BudgetConfig | None = None,
    seed: int = 0,
    run: str | None = None,
    known: Mapping[str, Tree] | None = None,
    derived: Sequence[str] | None = None,
    on_actions: Callable[[Mapping[str, Action]], None] = lambda actions: None,
) -> dict[str, Any]:
    """Append the trees of all seeds that are not known yet to a file, each when it is finished; return the counts.

    Args:
        teachers: Who rewrites and, where another one does, who judges.
        run: Names the run in the ledger, for its budget.
        known: Seed id -> its tree, where there is one already.
        derived: The derived actions of an earlier call; `None`: none were asked for yet.
        on_actions: Told of the actions before the first tree.

    Raises:
        TooManyFailures, BudgetError, TeacherError: Finished trees are in the file; the same call resumes.
    """
    known = known or {}
    purse = open_budget(budget, ledger, run)
    async with AsyncExitStack() as stack:
        asked = []
        for one, endpoint in teachers:
            opening = open_teacher(
                one, ledger=ledger, budget=purse, seed=seed, endpoint=endpoint, run=run,
                on_event=lambda code, text: say("evolve", text),
            )  # fmt: skip
            asked.append(Asked(await stack.enter_async_context(opening), one))
        growth = await begin(asked[0], asked[-1], config, seeds, seed=seed, derived=derived, known=known)
        on_actions(growth.actions)
        for tree in known.values():
            growth.count(tree)
        await _grow_missing(growth, [p for p in seeds if p.id not in known], out)
        growth.require_replies()
        _name_flat(growth.judge.bench)
        return counts_of(growth, asked)


async def _grow_missing(growth: Growth, seeds: Sequence[Problem], out: Path) -> None:
    """Grow the trees of some seeds, several at a time, and append each when it is finished."""

    async def grown(problem: Problem) -> tuple[Problem, Tree]:
        return problem, await growth.tree(problem)

    done = 0
    with Appender(out) as appender:
        async with aclosing(map_concurrent(grown, seeds, growth.config.at_once)) as trees:  # type: ignore[type-var]
            async for problem, tree in trees:
                await asyncio.to_thread(appender.append_lines, [line_of(problem.id, tree)])
                growth.count(tree)
                done += 1
                if done % 50 == 0:
                    say("evolve", f"{done} of {len(seeds)} trees, {growth.calls} calls")


def _name_flat(bench: Bench) -> None:
    if bench.groups >= 20 and bench.flat > FLAT_FRAC * bench.groups:
        say(
            "evolve",
            f"the judge gave all texts of a group the same scores in {bench.flat} of {bench.groups} votes: it does not "
            "tell them apart, and the search is blind; ask another model, or give it other rubrics",
        )


def counts_of(growth: Growth, asked: Sequence[Asked]) -> dict[str, Any]:
    """Return what a growing has bought and what failed, for the manifest."""
    meter = sum((one.teacher.meter for one in asked), Meter())
    bench = growth.judge.bench
    counts: dict[str, Any] = {
        "calls": growth.calls,
        **{f"failed_{reason}": count for reason, count in sorted(growth.failed.items())},
        "votes": bench.votes,
        **{f"judgement_{reason}": count for reason, count in sorted(bench.faults.items())},
        "flat_votes": bench.flat,
        "requests": meter.sent,
        "from_ledger": meter.from_ledger,
        "prompt_tokens": meter.prompt_tokens,
        "completion_tokens": meter.completion_tokens,
        "money": round(meter.money, 6),
    }
    return counts
