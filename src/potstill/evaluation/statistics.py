"""Intervals and paired tests for accuracies: pure numpy, seeded, no files.

Marks are 1 (right), 0 (not right) or NaN (unscored), in matrices of shape (seeds S, problems N). Two things vary when
an experiment is repeated, the training seed and the drawn problems, so both are resampled (`hierarchical_bootstrap`).
Nothing here knows what a problem is, and nothing corrects for having looked at several comparisons unless `holm` is
called.

Source: the Wilson interval: Wilson 1927. The paired difference for one seed: Newcombe 1998, Statistics in Medicine
17:2635, method 10. Resampling rows and columns of a crossed design: Owen 2007, The pigeonhole bootstrap, Annals of
Applied Statistics 1(2). Holm 1979, Scandinavian Journal of Statistics 6.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Matrix = NDArray[np.float64]
CHUNK_CELLS = 2_000_000
"""Cells of resampling weights held at once (16 MB)."""


class Interval(NamedTuple):
    """The bounds of an interval, and how they were made."""

    low: float
    high: float
    by: str


class Paired(NamedTuple):
    """The difference a - b on the problems that both have scored."""

    difference: float
    low: float
    high: float
    p: float
    n: int
    """Problems scored in both."""
    test: str


def wilson(right: float, n: int, confidence: float = 0.95) -> Interval:
    """Return the Wilson score interval of a proportion; it keeps its coverage near 0 and 1 and for small `n`."""
    if n < 1:
        message = f"wilson: n is {n}; an interval needs at least one scored problem"
        raise ValueError(message)
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share = right / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    low = 0.0 if right <= 0 else max(0.0, centre - half)
    high = 1.0 if right >= n else min(1.0, centre + half)
    return Interval(low, high, "wilson")


def seed_mean(marks: ArrayLike) -> float:
    """Return the mean over seeds of each seed's mean over its scored problems; NaN when nothing is scored."""
    matrix = _matrix(marks)
    kept = matrix[~np.isnan(matrix).all(axis=1)]
    return float(np.nanmean(kept, axis=1).mean()) if len(kept) else math.nan


def bootstrap(
    marks: ArrayLike,
    groups: Sequence[Hashable] | None = None,
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Return the percentile interval of a mean over problems (whole groups of them where `groups` is given)."""
    return hierarchical_bootstrap(
        np.asarray(marks, float).reshape(1, -1), groups, confidence=confidence, resamples=resamples, seed=seed
    )


def hierarchical_bootstrap(
    marks: ArrayLike,
    groups: Sequence[Hashable] | None = None,
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Return the percentile interval of `seed_mean`: seeds, then problems, resampled with replacement.

    All seeds of a resample see the same problems, as in the experiment. With one seed only the problems vary.

    Args:
        marks: Shape (S, N), NaN for unscored.
        groups: N labels; problems of one label (an original and its perturbations) are drawn together.
    """
    matrix = _matrix(marks)
    means = _resampled(matrix, _weights(matrix, groups, resamples, seed), _generator(seed, 1))
    if np.isnan(means).all():
        message = f"bootstrap: none of the {matrix.size} marks is scored; an interval needs at least one"
        raise ValueError(message)
    units = len(set(groups)) if groups is not None else matrix.shape[1]
    if np.nanmin(means) == np.nanmax(means):
        # All resamples agree (everything right, or nothing): the bootstrap would claim certainty.
        low, high, _ = wilson(seed_mean(matrix) * units, units, confidence)
        return Interval(low, high, "wilson (bootstrap without spread)")
    low, high = np.nanquantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(low), float(high), _bootstrap_name(len(matrix), groups is not None))


def mcnemar(a_only: int, b_only: int) -> float:
    """Return the exact two-sided p of McNemar's test: are the problems that only one system solves evenly split?"""
    discordant = a_only + b_only
    tail = sum(math.comb(discordant, k) for k in range(min(a_only, b_only) + 1))
    # Integers throughout: 2.0**-n underflows above 1074 discordant problems.
    return min(1.0, 2 * tail / (1 << discordant)) if discordant else 1.0


def newcombe(both: int, a_only: int, b_only: int, neither: int, confidence: float = 0.95) -> Interval:
    """Return the interval of a paired difference of two proportions (Newcombe's method 10)."""
    n = both + a_only + b_only + neither
    share_a, share_b = (both + a_only) / n, (both + b_only) / n
    low_a, high_a, _ = wilson(both + a_only, n, confidence)
    low_b, high_b, _ = wilson(both + b_only, n, confidence)
    phi = _corrected_phi(both, a_only, b_only, neither)
    below = _hypot_correlated(share_a - low_a, high_b - share_b, phi)
    above = _hypot_correlated(high_a - share_a, share_b - low_b, phi)
    difference = share_a - share_b
    return Interval(max(-1.0, difference - below), min(1.0, difference + above), "newcombe paired")


def compare_marks(
    a: ArrayLike,
    b: ArrayLike,
    groups: Sequence[Hashable] | None = None,
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Paired:
    """Compare two systems on the same problems; columns must correspond.

    One seed each and independent problems: exact McNemar test, Newcombe's paired interval. Otherwise the paired
    hierarchical bootstrap: problems (or groups) are resampled for both systems together, seeds for each by itself.
    """
    first, second = _shared_columns(_matrix(a), _matrix(b))
    keep = np.flatnonzero(~np.isnan(first).all(axis=0) & ~np.isnan(second).all(axis=0))
    if not len(keep):
        message = "compare: no problem is scored in both systems; give predictions on the same problems"
        raise ValueError(message)
    first, second = first[:, keep], second[:, keep]
    kept_groups = None if groups is None else [groups[at] for at in keep.tolist()]
    if kept_groups is not None and len(set(kept_groups)) == len(kept_groups):
        kept_groups = None
    if len(first) == len(second) == 1 and kept_groups is None:
        return _compare_once(first[0] > 0.5, second[0] > 0.5, confidence)
    return paired_bootstrap(first, second, kept_groups, confidence=confidence, resamples=resamples, seed=seed)


def paired_bootstrap(
    a: ArrayLike,
    b: ArrayLike,
    groups: Sequence[Hashable] | None = None,
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Paired:
    """Return the difference of `seed_mean`s with its percentile interval and two-sided p.

    p is twice the smaller share of resampled differences on either side of 0, counting the observed one, so it agrees
    with the interval and is never below 2 / (resamples + 1).
    """
    first, second = _matrix(a), _matrix(b)
    weights = _weights(first, groups, resamples, seed)
    spread = _resampled(first, weights, _generator(seed, 1)) - _resampled(second, weights, _generator(seed, 2))
    spread = spread[~np.isnan(spread)]
    if spread.min() == spread.max():
        return _compare_without_spread(first, second, weights.drawn.shape[1], confidence)
    below, above = int((spread <= 0).sum()), int((spread >= 0).sum())
    p = min(1.0, 2 * (min(below, above) + 1) / (len(spread) + 1))
    low, high = np.quantile(spread, [(1 - confidence) / 2, (1 + confidence) / 2])
    difference = seed_mean(first) - seed_mean(second)
    name = "paired " + _bootstrap_name(max(len(first), len(second)), groups is not None)
    return Paired(difference, float(low), float(high), p, first.shape[1], name)


def group_marks(marks: ArrayLike, groups: Sequence[Hashable]) -> tuple[Matrix, list[Hashable]]:
    """Return whether each group is fully right: shape (S, groups), and the groups in order of appearance.

    A group with a wrong member is 0 whatever else is unscored; with none wrong but one unscored it is NaN.
    """
    matrix = _matrix(marks)
    names = list(dict.fromkeys(groups))
    place = {name: column for column, name in enumerate(names)}
    columns = np.array([place[group] for group in groups])
    whole = np.ones((len(matrix), len(names)))
    for row, out in zip(list(matrix), list(whole), strict=True):
        out[columns[np.isnan(row)]] = np.nan
        out[columns[row < 1]] = 0.0
    return whole, names


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for having made all of these comparisons (Holm's step-down)."""
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    adjusted, running = [0.0] * len(p_values), 0.0
    for rank, at in enumerate(order):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[at]))
        adjusted[at] = running
    return adjusted


def _matrix(marks: ArrayLike) -> Matrix:
    matrix = np.asarray(marks, dtype=np.float64)
    if matrix.ndim == 1:
        matrix = matrix.reshape(1, -1)
    if matrix.ndim != 2 or matrix.size == 0:
        message = f"marks have shape {matrix.shape}; expected (seeds, problems), neither of them empty"
        raise ValueError(message)
    return matrix


def _shared_columns(a: Matrix, b: Matrix) -> tuple[Matrix, Matrix]:
    if a.shape[1] != b.shape[1]:
        message = f"a has {a.shape[1]} problems and b {b.shape[1]}; a paired comparison needs the same ones"
        raise ValueError(message)
    return a, b


def _generator(seed: int, stream: int) -> np.random.Generator:
    return np.random.default_rng([seed, stream])


class _Weights(NamedTuple):
    """How often each unit was drawn: (resamples, units), and the unit of every column."""

    drawn: NDArray[np.int32]
    unit_of: NDArray[np.int64]


def _weights(matrix: Matrix, groups: Sequence[Hashable] | None, resamples: int, seed: int) -> _Weights:
    names = {name: at for at, name in enumerate(dict.fromkeys(groups))} if groups is not None else None
    columns = matrix.shape[1]
    unit_of = np.arange(columns) if names is None else np.array([names[group] for group in groups or ()])
    if len(unit_of) != columns:
        message = f"{len(unit_of)} groups for {columns} problems; give one group per problem"
        raise ValueError(message)
    units = int(unit_of.max()) + 1
    rng, drawn = _generator(seed, 0), np.empty((resamples, units), np.int32)
    step = max(1, CHUNK_CELLS // units)
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        picks = rng.integers(0, units, (rows, units)) + np.arange(rows)[:, None] * units
        drawn[start : start + rows] = np.bincount(picks.ravel(), minlength=rows * units).reshape(rows, units)
    return _Weights(drawn, unit_of)


def _resampled(matrix: Matrix, weights: _Weights, rng: np.random.Generator) -> Matrix:
    """Return `seed_mean` of every resample; NaN where a resample holds nothing scored."""
    seeds, units, resamples = len(matrix), weights.drawn.shape[1], len(weights.drawn)
    sums, counts = np.zeros((units, seeds)), np.zeros((units, seeds))
    np.add.at(sums, weights.unit_of, np.nan_to_num(matrix).T)
    np.add.at(counts, weights.unit_of, (~np.isnan(matrix)).T.astype(float))
    # S - 1 of S seeds: with so few, drawing S would understate their variance by (S - 1) / S (Rao and Wu 1988).
    picks = rng.integers(0, seeds, (resamples, max(1, seeds - 1)))
    out = np.empty(resamples)
    step = max(1, CHUNK_CELLS // units)
    for start in range(0, resamples, step):
        drawn = weights.drawn[start : start + step].astype(np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            means = (drawn @ sums) / (drawn @ counts)
        chosen = np.take_along_axis(means, picks[start : start + step], axis=1)
        scored = (~np.isnan(chosen)).sum(axis=1)
        with np.errstate(invalid="ignore"):
            out[start : start + step] = np.nansum(chosen, axis=1) / scored
    return out


def _bootstrap_name(seeds: int, grouped: bool) -> str:
    items = "groups" if grouped else "problems"
    return f"hierarchical bootstrap ({seeds} seeds x {items})" if seeds > 1 else f"bootstrap ({items})"


def _compare_once(a: NDArray[np.bool_], b: NDArray[np.bool_], confidence: float) -> Paired:
    both, neither = int((a & b).sum()), int((~a & ~b).sum())
    a_only, b_only = int((a & ~b).sum()), int((~a & b).sum())
    low, high, _ = newcombe(both, a_only, b_only, neither, confidence)
    difference = (a_only - b_only) / len(a)
    return Paired(difference, low, high, mcnemar(a_only, b_only), len(a), "exact McNemar; interval Newcombe")


def _compare_without_spread(a: Matrix, b: Matrix, units: int, confidence: float) -> Paired:
    """Compare where all resamples agree, which must not pass for certainty: as `units` independent problems."""
    share_a, share_b = seed_mean(a), seed_mean(b)
    low_a, high_a, _ = wilson(share_a * units, units, confidence)
    low_b, high_b, _ = wilson(share_b * units, units, confidence)
    difference = share_a - share_b
    low = difference - math.hypot(share_a - low_a, high_b - share_b)
    high = difference + math.hypot(high_a - share_a, share_b - low_b)
    p = 1.0 if difference == 0 else mcnemar(units, 0)
    name = "sign test; interval Newcombe (bootstrap without spread)"
    return Paired(difference, max(-1.0, low), min(1.0, high), p, a.shape[1], name)


def _corrected_phi(both: int, a_only: int, b_only: int, neither: int) -> float:
    margins = (both + a_only) * (b_only + neither) * (both + b_only) * (a_only + neither)
    if margins == 0:
        return 0.0
    n, product = both + a_only + b_only + neither, both * neither - a_only * b_only
    corrected = max(product - n / 2, 0.0) if product > 0 else float(product)
    return corrected / math.sqrt(margins)


def _hypot_correlated(x: float, y: float, phi: float) -> float:
    return math.sqrt(max(0.0, x * x - 2 * phi * x * y + y * y))
