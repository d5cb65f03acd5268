"""The stage `evolve`: seed instructions become evolved ones, in a run or in files of their own.

    seeds ──grow──► trees.jsonl ──choose──► evolved.jsonl          actions.json says with which actions

Everything is bought through the ledger; finished trees are lines on disk and are not grown again.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from potstill.errors import ConfigError
from potstill.evaluation.datasets import load_problems
from potstill.files import drop_torn_line, write_atomic
from potstill.generators.evolution import fit_seeds, grow_to_file
from potstill.generators.evolving import Action, load_actions
from potstill.generators.judging import load_rubrics
from potstill.generators.nearness import WORDS, spreads
from potstill.generators.planning import Plan, plan_evolution
from potstill.generators.selection import choose, strategies_of
from potstill.generators.sharing import counted_before, marks_of
from potstill.generators.trained_judge import TrainedJudge, scorer_mark
from potstill.generators.treefiles import read_trees, write_trees
from potstill.generators.trees import Tree
from potstill.messages import say
from potstill.preflight import require_splits, require_teachers
from potstill.rationales.embedding import require_model
from potstill.recipe.generators import EvolveConfig
from potstill.recipe.problems import SourceConfig
from potstill.recipe.teachers import TeacherConfig
from potstill.recipe.whole import Recipe
from potstill.records import Drop, Problem, content_id
from potstill.run import Run


@dataclass(frozen=True, slots=True)
class Evolved:
    """What an evolution leaves: the instructions kept, what was left out and why, and the counts."""

    problems: list[Problem]
    drops: list[Drop]
    counts: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Places:
    """The files of one evolution."""

    trees: Path
    actions: Path
    """The actions of the search, and the mark of what decides its trees."""


def evolving_teachers(recipe: Recipe) -> list[TeacherConfig]:
    """Return who rewrites and, where it is another one, who judges.

    Raises:
        ConfigError: There is no teacher of that name, or it can only repeat what was recorded.
    """
    config = table_of(recipe)
    by_name = {teacher.author: teacher for teacher in require_teachers(recipe)}
    found: list[TeacherConfig] = []
    for key, name in (("evolve.teacher", config.teacher), ("evolve.judge.teacher", config.judge.teacher)):
        if name is not None and name not in by_name:
            message = f"{key}: {name!r} is no teacher of this recipe; it has {', '.join(by_name)}; name one of them"
            raise ConfigError(message)
        default = found[0] if found else recipe.teachers[0]
        found.append(default if name is None else by_name[name])
        if found[-1].replay is not None:
            message = f"{key}: recorded rationales cannot be asked anything new; give base_url or local of a teacher"
            raise ConfigError(message)
    return found[:1] if found[0] == found[1] else found


def table_of(recipe: Recipe) -> EvolveConfig:
    """Return the recipe's table `evolve`, or its defaults."""
    return recipe.evolve or EvolveConfig()


def require_sound_evolving(recipe: Recipe) -> None:
    """Raise unless the teachers, the actions, the rubrics and the evaluation files of `evolve` can be used."""
    evolving_teachers(recipe)
    config = table_of(recipe)
    load_actions(config, [""] * config.derive)
    load_rubrics(config)
    if config.judge.scorer is not None:
        TrainedJudge(config)
    evaluation_problems(config)
    if config.embedding not in (None, WORDS):
        require_model(config.embedding, "evolve.embedding")


def evaluation_problems(config: EvolveConfig) -> list[Problem]:
    """Return the problems of the files that `evolve.against` names."""
    return load_problems(SourceConfig(source=config.against, invalid="drop")) if config.against else []


def plan_evolve(recipe: Recipe, seeds: Sequence[Problem]) -> Plan:
    """Return what evolving these seeds would ask for at most."""
    from potstill.teachers.reaching import known_as

    config = table_of(recipe)
    fitting, _ = fit_seeds(seeds, config)
    teachers = [known_as(teacher) for teacher in evolving_teachers(recipe)]
    plan = plan_evolution(fitting, teachers, config, seed=recipe.seed)
    for name in config.compare:
        rival = plan_evolution(fitting, teachers, table_of(_with_strategy(recipe, name)), seed=recipe.seed)
        plan.rows.extend({**row, "stage": f"{row['stage']} ({name})"} for row in rival.rows)
        if config.keep_compared:
            plan.kept.extend(rival.kept)
    return plan


def evolve_files(
    recipe: Recipe, seeds: Sequence[Problem], places: Places, *, run: str, evaluated: Sequence[Problem] = ()
) -> Evolved:
    """Grow the trees that are missing and choose from all of them; resumes where an earlier call was stopped.

    Args:
        run: What the budget is counted over.
        evaluated: What repeats one of these problems is left out, as is what repeats one of `evolve.against`.

    Raises:
        ConfigError: The files are of an evolution by other rules.
        TooManyFailures, BudgetError, TeacherError: Finished trees are kept, the same call resumes.
    """
    config = table_of(recipe)
    fitting, drops = fit_seeds(seeds, config)
    places.trees.parent.mkdir(parents=True, exist_ok=True)
    if drops:
        say("evolve", f"{len(drops)} of {len(seeds)} seeds are left out ({_reasons(drops)})")
    mark, derived = _mark(recipe, seeds), _read_actions(places, recipe, seeds)
    if places.trees.exists():
        drop_torn_line(places.trees)
    known = known_trees(read_trees(places.trees), [problem.id for problem in fitting], config)

    def keep_actions(actions: Mapping[str, Action]) -> None:
        new = [action.method for name, action in actions.items() if name.startswith("task_")]
        texts = {name: action.method for name, action in actions.items()}
        found = {"mark": mark, "derived": new, "actions": texts}
        write_atomic(places.actions, json.dumps(found, indent=1, ensure_ascii=False) + "\n")

    counts = asyncio.run(_grow(recipe, fitting, places, run, known=known, derived=derived, on_actions=keep_actions))
    grown = {**dict(read_trees(places.trees)), **known}
    trees = [(problem, grown[problem.id]) for problem in fitting]
    write_trees(places.trees, [(problem.id, tree) for problem, tree in trees])
    choice = choose(trees, config, evaluated=[*evaluated, *evaluation_problems(config)], seed=recipe.seed)
    drops += choice.drops
    width = spreads([p.question for p in fitting], [p.question for p in choice.problems], config.embedding)
    found = {
        "seeds": len(seeds),
        "kept": len(choice.problems),
        **width,
        **_tree_counts([tree for _, tree in trees]),
        **counts,
    }
    found |= {f"dropped_{reason}": count for reason, count in sorted(Counter(d.reason for d in drops).items())}
    say("evolve", _summary(found, [tree for _, tree in trees], choice.problems))
    return Evolved(choice.problems, drops, found)


def is_evolved(problem: Problem) -> bool:
    """Whether a problem came out of an evolution."""
    return bool(strategies_of(problem))


def evolve_run(
    files: Run, recipe: Recipe, problems: Sequence[Problem], *, label: str
) -> tuple[dict[str, Problem], dict[str, Any]]:
    """Evolve the seeds among a run's problems into its files; return all problems by id, and the counts.

    `evolved.jsonl` holds what is kept, `problems.jsonl` that beside the given problems, `trees.jsonl` the searches.
    """
    config = table_of(recipe)
    require_splits({"evolve.splits": config.splits}, {problem.split for problem in problems})
    seeds = [problem for problem in problems if problem.split in config.splits]
    evaluated = [problem for problem in problems if problem.split in recipe.filter.decontaminate]
    places = Places(files.path("trees.jsonl"), files.path("actions.json"))
    found = evolve_files(recipe, seeds, places, run=label, evaluated=evaluated)
    for name in config.compare:
        say("evolve", f"for comparison: {name}")
        rival = Places(files.path(f"trees/{name}.jsonl"), files.path(f"trees/{name}.json"))
        other = evolve_files(_with_strategy(recipe, name), seeds, rival, run=label, evaluated=evaluated)
        found.counts[f"compared_{name}"] = other.counts
        if config.keep_compared:
            found = replace(found, problems=merged(found.problems, other.problems), drops=[*found.drops, *other.drops])
    files.write("evolved.jsonl", found.problems)
    files.write("dropped.jsonl", found.drops)
    if not config.keep_seeds:
        ids = {problem.id for problem in seeds}
        problems = [replace(problem, split="seeds") if problem.id in ids else problem for problem in problems]
    rows = [*problems, *found.problems]
    files.write("problems.jsonl", rows)
    return {problem.id: problem for problem in rows}, found.counts


def merged(ours: Sequence[Problem], theirs: Sequence[Problem]) -> list[Problem]:
    """Return the instructions of both, one that both have once, under the names of both strategies."""
    found = {problem.id: problem for problem in ours}
    for problem in theirs:
        if (same := found.get(problem.id)) is not None:
            evolution = same.meta["evolution"]
            names = [*strategies_of(same), *strategies_of(problem)]
            meta = {**same.meta, "evolution": {**evolution, "strategies": list(dict.fromkeys(names))}}
            found[problem.id] = replace(same, meta=meta)
        else:
            found[problem.id] = problem
    return list(found.values())


def written_files(config: EvolveConfig) -> list[str]:
    """Return the files that an evolution leaves in a run."""
    rivals = [f"trees/{name}.json{end}" for name in config.compare for end in ("l", "")]
    return ["evolved.jsonl", "trees.jsonl", "actions.json", *rivals]


def _with_strategy(recipe: Recipe, name: str) -> Recipe:
    config = table_of(recipe).model_copy(update={"strategy": name, "compare": ()})
    return recipe.model_copy(update={"evolve": config})


async def _grow(
    recipe: Recipe, seeds: Sequence[Problem], places: Places, run: str, *, known: Mapping[str, Tree], **options: Any
) -> dict[str, Any]:
    from potstill.teachers.ledger import Ledger, default_ledger_path
    from potstill.teachers.reaching import reachable

    async with AsyncExitStack() as stack:
        addressed = [await stack.enter_async_context(reachable(one)) for one in evolving_teachers(recipe)]
        ledger = stack.enter_context(Ledger(recipe.ledger or default_ledger_path()))
        return await grow_to_file(
            seeds, addressed, table_of(recipe), places.trees, ledger=ledger, budget=recipe.budget, seed=recipe.seed,
            run=run, known=known, **options,
        )  # fmt: skip


def _mark(recipe: Recipe, seeds: Sequence[Problem]) -> str:
    """Return a hash of what decides the tree of a seed; the other seeds do so by novelty alone."""
    from potstill.teachers.reaching import ledger_name

    config = table_of(recipe)
    asked = [
        [one.base_url, one.model, one.temperature, one.top_p, one.seed, dict(one.extra_body), ledger_name(one)]
        for one in evolving_teachers(recipe)
    ]
    others = sorted(problem.id for problem in seeds) if "novelty" in config.weights else []
    scorer = [mark] if (mark := scorer_mark(config)) else []
    return content_id("evolve", config.growth_mark, asked, recipe.seed, others, *scorer)


def _read_actions(places: Places, recipe: Recipe, seeds: Sequence[Problem]) -> list[str] | None:
    """Return the actions derived by an earlier call; `None` before the first."""
    if not places.actions.exists():
        return None
    found = json.loads(places.actions.read_text(encoding="utf-8"))
    if found.get("mark") != _mark(recipe, seeds) and places.trees.exists():
        message = (
            f"{places.trees}: these trees were grown by other rules (strategy, calls, actions, judge or teacher); "
            "write to another place, or remove them to grow them anew (what was bought stays in the ledger)"
        )
        raise ConfigError(message)
    return list(found["derived"]) if found.get("mark") == _mark(recipe, seeds) else None


def known_trees(trees: Iterable[tuple[str, Tree]], seed_ids: Sequence[str], config: EvolveConfig) -> dict[str, Tree]:
    """Return the trees that stand as they are: of these seeds, without an error, and learnt from the same others."""
    marks = marks_of(seed_ids)
    learnt = {seed_id: marks[counted_before(place, config.shares)] for place, seed_id in enumerate(seed_ids)}
    found = {seed_id: tree for seed_id, tree in trees if seed_id in learnt and _is_whole(tree)}
    stale = {seed_id for seed_id, tree in found.items() if tree.after != learnt[seed_id]}
    if stale:
        say("evolve", f"{len(stale)} trees are grown anew: other seeds stand before theirs (evolve.share_after)")
    return {seed_id: tree for seed_id, tree in found.items() if seed_id not in stale}


def _is_whole(tree: Tree) -> bool:
    """Whether no call of a tree ended in an error: one that did is asked for again."""
    return all(node.refused != "error" for node in tree.nodes)


def _tree_counts(trees: Sequence[Tree]) -> dict[str, Any]:
    nodes = [node for tree in trees for node in tree.nodes[1:]]
    refused = Counter(node.refused for node in nodes if node.refused)
    unjudged = sum(not node.refused and node.value is None for node in nodes)
    return {
        "nodes": len(nodes),
        "alive": sum(node.is_alive for node in nodes),
        "judged": sum(tree.judged for tree in trees),
        **({"best_value": round(fmean(best), 3)} if (best := [t.high for t in trees if t.high is not None]) else {}),
        **{f"refused_{reason}": count for reason, count in sorted(refused.items())},
        **({"unjudged": unjudged} if unjudged else {}),
    }


def _summary(counts: Mapping[str, Any], trees: Sequence[Tree], kept: Sequence[Problem]) -> str:
    before = [tree.root.value for tree in trees if tree.root.value is not None]
    after = [p.meta["evolution"]["value"] for p in kept if p.meta["evolution"]["value"] is not None]
    values = f"; judged value {fmean(before):.2f} before, {fmean(after):.2f} after" if before and after else ""
    return f"{counts['seeds']} seeds, {counts['calls']} calls, {counts['kept']} instructions kept{values}"


def _reasons(drops: Sequence[Drop]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in Counter(drop.reason for drop in drops).most_common())
