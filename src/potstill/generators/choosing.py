"""Which candidates are kept: the best of each problem and target, under caps that keep the pool from teaching a trick.

    accepted candidates ──best of (problem, target, role)──caps by edit signature, negation, ratio──► kept

Pure. A pool in which half of the edits insert `not` teaches `not`, so edits of one signature (kind, words out, words
in) and negations have a share at most (Joshi and He 2022, arXiv:2107.00753: too little diversity of edits is why
counterfactual data fails out of distribution). Every candidate that is left out has a reason.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from potstill.generators.candidates import KEPT, Candidate
from potstill.generators.filters import is_negation, signature
from potstill.recipe.counterfactual import CounterfactualConfig
from potstill.records import Problem, child_seed

ACCEPTED = (KEPT, "not_best", "signature_cap", "negation_cap", "over_ratio")
"""Reasons of candidates that the jury has accepted."""
FREE = 3
"""So many edits of one signature are allowed in any pool, however small."""
Group = tuple[str, str, str]
"""Role, problem id, target."""


def worth(candidate: Candidate) -> float:
    """Return how good an accepted candidate is: votes for the target, less what it changes and what it costs to read.

    Source: ours; the weights are those of our reference design (docs/counterfactual.md).
    """
    metrics = candidate.metrics
    cost = 0.5 * metrics.get("distance", 0.0) + 0.2 * max(0.0, metrics.get("delta_nll", 0.0))
    return metrics.get("agreement", 0.0) - cost


def choose(
    candidates: Sequence[Candidate], problems: Mapping[str, Problem], config: CounterfactualConfig, *, seed: int = 0
) -> list[Candidate]:
    """Return all candidates in order, those that were not refused with reason `kept`, or why they are not kept.

    Reasons: not_best, signature_cap, negation_cap, over_ratio.
    """
    groups: dict[Group, list[Candidate]] = defaultdict(list)
    for candidate in candidates:
        if not candidate.reason:
            target = candidate.new if problems[candidate.problem_id].answer_type != "number" else ""
            groups[candidate.role, candidate.problem_id, target].append(candidate)
    decided: dict[str, str] = {}
    for role in config.roles:
        own = {group: members for group, members in groups.items() if group[0] == role}
        decided |= _of_role(own, problems, config, decided, candidates, seed)
    return [replace(one, reason=decided.get(one.id, one.reason)) for one in candidates]


def _of_role(
    groups: Mapping[Group, Sequence[Candidate]],
    problems: Mapping[str, Problem],
    config: CounterfactualConfig,
    before: Mapping[str, str],
    candidates: Sequence[Candidate],
    seed: int,
) -> dict[str, str]:
    """Return candidate id -> reason for the groups of one role."""
    sizes = _sizes(candidates, before)
    most = math.floor(config.ratio * len(problems) + 1e-9)
    pool = min(most, len(groups) * config.per_target)
    caps = _Caps(config, pool)
    decided: dict[str, str] = {}
    for group in _in_turn(groups, seed):
        taken = 0
        for one in sorted(groups[group], key=lambda c: _rank(c, sizes)):
            reason = "not_best" if taken >= config.per_target else caps.refusal(one, problems)
            if not reason and caps.kept >= most:
                reason = "over_ratio"
            decided[one.id] = reason or KEPT
            if not reason:
                taken += 1
                caps.count(one, problems)
    return decided


def _sizes(candidates: Sequence[Candidate], decided: Mapping[str, str]) -> dict[str, float]:
    """Return problem id -> token edits of its kept counterfactual, which its invariant is to match."""
    return {one.problem_id: one.metrics.get("edits", 0.0) for one in candidates if decided.get(one.id) == KEPT}


def _rank(candidate: Candidate, sizes: Mapping[str, float]) -> tuple[float, float, str]:
    """Sort the best first; an invariant by how near its size is to that of the counterfactual of its problem."""
    size = candidate.metrics.get("edits", 0.0)
    is_paired = candidate.role == "invariant" and candidate.problem_id in sizes
    gap = abs(size - sizes[candidate.problem_id]) if is_paired else 0.0
    return gap, -worth(candidate), candidate.id


def _in_turn(groups: Mapping[Group, Sequence[Candidate]], seed: int) -> list[Group]:
    """Return the groups so that each pair (label, target) comes in turn: a cap then leaves the pairs even."""
    by_pair: dict[tuple[str, str], list[Group]] = defaultdict(list)
    for group in sorted(groups, key=lambda g: child_seed(seed, "group", *g)):
        by_pair[groups[group][0].old, group[2]].append(group)
    turns = sorted(
        (turn, pair, group) for pair, members in by_pair.items() for turn, group in enumerate(members)
    )  # fmt: skip
    return [group for _, _, group in turns]


class _Caps:
    """What the kept pool may hold of one kind of edit."""

    def __init__(self, config: CounterfactualConfig, pool: int) -> None:
        self.kept = 0
        self._most = max(FREE, math.ceil(config.signature_frac * pool))
        self._most_negations = max(FREE, math.ceil(config.negation_frac * pool))
        self._signatures: Counter[tuple[str, str, str]] = Counter()
        self._negations = 0

    def refusal(self, candidate: Candidate, problems: Mapping[str, Problem]) -> str:
        """Return why one more edit of this kind is too many; empty: it is not."""
        case = candidate.case(problems[candidate.problem_id])
        if self._signatures[signature(case)] >= self._most:
            return "signature_cap"
        return "negation_cap" if is_negation(case) and self._negations >= self._most_negations else ""

    def count(self, candidate: Candidate, problems: Mapping[str, Problem]) -> None:
        """Count a kept edit."""
        case = candidate.case(problems[candidate.problem_id])
        self.kept += 1
        self._signatures[signature(case)] += 1
        self._negations += is_negation(case)
