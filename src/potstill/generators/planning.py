"""What an evolution would ask, before anything is asked: the real strategy on a stand-in world that costs nothing.

The stand-in rewrites by adding words and judges by a hash; a fifth of its texts is refused and one judgement in a
hundred is missing, as is usual. So the rewriting calls are the most that can be made, and what is judged is an
estimate; a hard limit is the recipe's `budget`.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from potstill.generators.asking import World
from potstill.generators.evolution import grow_one
from potstill.generators.evolving import Action, derive_messages, evolve_messages, load_actions
from potstill.generators.judging import judge_messages, load_rubrics
from potstill.generators.selection import Grown, choose
from potstill.generators.trees import Node
from potstill.rationales.planning import CHARACTERS_PER_TOKEN
from potstill.recipe.generators import EvolveConfig
from potstill.recipe.teachers import TeacherConfig
from potstill.records import Problem, child_seed
from potstill.teachers.base import money_for

REFUSED, UNJUDGED = 0.2, 0.01
"""Fractions of texts in the stand-in world."""
TRIED_SEEDS = 16
"""Seeds, evenly spaced, whose searches are acted out; the others are taken to cost the same."""


@dataclass(slots=True)
class Plan:
    """What would be asked for."""

    rows: list[dict[str, Any]]
    kept: list[Problem]
    """Stand-ins for the instructions that would be kept of the seeds tried."""
    scale: float
    """All seeds by seeds tried."""


@dataclass(slots=True)
class _Asked:
    """Requests and characters of the prompts of one teacher."""

    requests: int = 0
    characters: int = 0

    def add(self, messages: Sequence[Mapping[str, Any]]) -> None:
        self.requests += 1
        self.characters += sum(len(str(message["content"])) for message in messages)


@dataclass(slots=True)
class _StandIn:
    """A world that answers at once and counts what it is asked."""

    config: EvolveConfig
    actions: Mapping[str, Action]
    rubrics: Mapping[str, str]
    evolver: _Asked = field(default_factory=_Asked)
    judge: _Asked = field(default_factory=_Asked)

    @property
    def world(self) -> World:
        return World(expand=self._expand, judge=self._judge, gate=_gate)

    async def _expand(self, node: Node, action: str, draw: int) -> list[str]:
        self.evolver.add(evolve_messages(node.text, self.actions[action], self.config.added_words))
        count = max(1, round(0.75 * self.config.added_words))
        return [f"{node.text} {' '.join(f'w{child_seed(node.text, action, draw, at)}' for at in range(count))}."]

    async def _judge(self, texts: Sequence[str], attempt: int) -> list[Mapping[str, float] | None]:
        for _ in range(self.config.judge.votes):
            self.judge.add(judge_messages(texts, self.rubrics))
        # Below the published stop at a sum of 10, so that no search ends early.
        return [
            None
            if attempt == 0 and _drawn(text, "judged") < UNJUDGED
            else {term: 2.6 + 0.25 * _drawn(text, term) for term in self.config.weights}
            for text in texts
        ]


def _gate(text: str, parent: str, root: str) -> str:
    return "refused" if _drawn(text, "gate") < REFUSED else ""


def _drawn(*parts: str) -> float:
    """Return a number in [0, 1) that belongs to `parts`."""
    return child_seed(*parts) / 2**31


def plan_evolution(
    seeds: Sequence[Problem], teachers: Sequence[TeacherConfig], config: EvolveConfig, *, seed: int = 0
) -> Plan:
    """Return requests, tokens and money of rewriting and judging; what the ledger holds is not deducted.

    Args:
        teachers: Who rewrites and, where another one does, who judges.
    """
    tried = [seeds[at * len(seeds) // TRIED_SEEDS] for at in range(TRIED_SEEDS)] if len(seeds) > TRIED_SEEDS else seeds
    actions, rubrics = load_actions(config, [""] * config.derive), load_rubrics(config)
    stand_in, grown = _StandIn(config.model_copy(update={"floors": {}}), actions, rubrics), list[Grown]()
    for problem in tried:
        own = child_seed(seed, problem.id)
        tree = asyncio.run(grow_one(problem.question, stand_in.world, stand_in.config, tuple(actions), own))
        grown.append((problem, tree))
    scale = len(seeds) / max(1, len(tried))
    judged = _row("judge", teachers[-1], stand_in.judge, config.judge.max_tokens, len(seeds), scale)
    rows = [
        _row("evolve", teachers[0], stand_in.evolver, config.max_tokens, len(seeds), scale),
        *([] if config.judge.scorer else [judged]),
    ]
    if config.derive:
        asked = _Asked()
        asked.add(derive_messages([problem.question for problem in seeds], config.derive, seed))
        rows.insert(0, _row("derive", teachers[0], asked, config.max_tokens, len(seeds), 1.0))
    kept = choose(grown, stand_in.config, seed=seed).problems
    return Plan(rows, kept if config.most is None else kept[: max(1, round(config.most / scale))], scale)


def _row(stage: str, teacher: TeacherConfig, asked: _Asked, cap: int, n_seeds: int, scale: float) -> dict[str, Any]:
    requests = round(asked.requests * scale)
    usage = Counter(
        prompt_tokens=round(asked.characters * scale) // CHARACTERS_PER_TOKEN, completion_tokens=requests * cap
    )
    return {
        "stage": stage,
        "teacher": teacher.author,
        "problems": n_seeds,
        "requests": requests,
        "prompt_tokens": usage["prompt_tokens"],
        "max_completion_tokens": usage["completion_tokens"],
        "max_money": None if teacher.price is None else round(money_for(usage, teacher.price), 4),
    }
