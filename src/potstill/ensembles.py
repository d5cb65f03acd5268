"""An ensemble: several students' sampled paths, put together to vote as one system.

It is what Mixed Distillation's one student is measured against: two students of one skill each, at an equal total
number of paths (Li Chenglin et al., Findings of EMNLP 2024, abstract). Nothing is trained or asked: paths that exist
are chosen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from potstill.errors import ConfigError
from potstill.records import Rationale

Runs = Mapping[int | None, Sequence[Rationale]]
"""Training seed -> predictions."""
Members = Mapping[str, Mapping[Any, int]]
"""System -> kind -> how many of its sampled paths vote."""


def assemble(
    name: str, members: Mapping[str, Mapping[str, int]], systems: Mapping[str, Runs]
) -> dict[int | None, list[Rationale]]:
    """Return the paths of an ensemble per seed: the first sampled ones of each member, and its greedy ones.

    Greedy paths cast no vote; they are there for the tie rule of that name, as in a single student's vote.

    Args:
        members: System -> kind -> how many of its sampled paths vote.

    Raises:
        ConfigError: A member is no system of this run, or has too few paths of a kind.
    """
    missing = sorted(set(members) - set(systems))
    if missing:
        message = f"arms.{name}.ensemble: no arm is named {missing[0]!r}; arms of this run: {', '.join(systems)}"
        raise ConfigError(message)
    shared = [seed for seed in systems[next(iter(members))] if all(seed in systems[member] for member in members)]
    return {seed: _of_seed(name, members, {member: systems[member][seed] for member in members}) for seed in shared}


def _of_seed(name: str, members: Members, predictions: Mapping[str, Sequence[Rationale]]) -> list[Rationale]:
    paths: list[Rationale] = []
    taken: Counter[str] = Counter()
    for member, wanted in members.items():
        for kind, count in wanted.items():
            own = [path for path in predictions[member] if path.kind == kind]
            chosen = [path for path in own if 1 <= path.index <= count]
            _require(f"arms.{name}.ensemble.{member}.{kind}", chosen, own, count)
            paths += [replace(path, index=path.index + taken[kind]) for path in chosen]
            paths += [path for path in own if path.index == 0 and not taken[kind]]
            taken[kind] += count
    return paths


def _require(where: str, chosen: Iterable[Rationale], own: Iterable[Rationale], count: int) -> None:
    """Raise unless every problem has its paths: a vote of fewer would not be the comparison that it claims to be."""
    have = Counter(path.problem_id for path in chosen)
    fewest = min((have[path.problem_id] for path in own), default=0)
    if fewest < count:
        message = (
            f"{where}: asks for {count} sampled paths a problem, found {fewest} of at least one problem; raise that "
            f"arm's infer.paths to at least {max(count, 2)}"
        )
        raise ConfigError(message)
