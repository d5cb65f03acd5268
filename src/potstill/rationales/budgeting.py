"""Difficulty-aware sampling: who gets the samples of a second stage, when a first one has shown pass rates.

    n_first samples of every problem → verdicts → `second_stage` → more samples of the problems in between

Plain sampling of n each fills a training set with the problems that are easy for the teacher. Here a problem that the
first stage solved always, or never, gets no more; the others share what that saves, the more the lower their pass rate,
so that the numbers of right samples level out. The budget in all is that of n each, or less. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from potstill.rationales.ways import way_of
from potstill.records import Rationale, Status

Key = tuple[str, str]
"""Problem id and way: kind, and view where it has one."""
_STEPS = 60
"""Halvings when the common number of right samples is searched: finer than one sample in any budget."""


def pass_counts(rationales: Iterable[Rationale]) -> dict[Key, tuple[int, int]]:
    """Return (right, scored) of each problem and kind; rows that could not be checked count in neither."""
    counts: dict[Key, tuple[int, int]] = {}
    for rationale in rationales:
        key = (rationale.problem_id, way_of(rationale))
        right, scored = counts.get(key, (0, 0))
        verdict = rationale.verdict
        if verdict is not None and verdict.status is not Status.UNVERIFIED:
            right, scored = right + verdict.correct, scored + 1
        counts[key] = (right, scored)
    return counts


def second_stage(counts: Mapping[Key, tuple[int, int]], *, n: int, n_first: int, n_most: int) -> dict[Key, int]:
    """Return how many samples each problem and kind has after the second stage; never more than n each in all.

    Args:
        counts: (right, scored) in the first stage; see `pass_counts`.
        n: The budget: samples that each would have had.
        n_first: Samples of each in the first stage, at most n.
        n_most: Samples of one problem at most.

    Source: Tong et al. 2024 (DART-Math), arXiv:2407.13690 (more trials for harder problems).
    Differs: DART-Math samples until each problem has its number of right ones; here the trials are planned once, at the
        budget of plain sampling, from a pass rate of (right + 1) / (scored + 2), and problems that were never solved
        get none.
    """
    wanted = dict.fromkeys(counts, n_first)
    rates = {key: (right + 1) / (scored + 2) for key, (right, scored) in counts.items() if 0 < right < scored}
    spare = len(counts) * (n - n_first)
    if not rates or spare <= 0:
        return wanted
    low, high = 0.0, float(n_most)
    for _ in range(_STEPS):
        middle = (low + high) / 2
        fits = sum(_more(rate, middle, n_first, n_most) for rate in rates.values()) <= spare
        low, high = (middle, high) if fits else (low, middle)
    return wanted | {key: n_first + _more(rate, low, n_first, n_most) for key, rate in rates.items()}


def _more(rate: float, right: float, n_first: int, n_most: int) -> int:
    """Return how many more samples it takes until `right` right ones are expected."""
    return max(0, min(math.floor(right / rate), n_most) - n_first)
