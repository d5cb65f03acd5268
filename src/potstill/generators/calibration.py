"""What a judge is worth: agreement with labels, the pull of position and length, and whether it repeats itself.

Works on judged pairs of any source: two scores, who was shown first, how long the two texts are, and, where somebody
labelled them, which is better. Everything has an interval from resampling whole groups (questions), since pairs about
one question are not independent. Pure; `scripts/judge_calibration.py` runs it on files.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from potstill.records import child_seed


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One judgement of two texts."""

    group: str
    """What both answer; resampled as a whole."""
    kinds: tuple[str, str]
    """Who wrote the first and the second: pairs of the same two are compared among themselves."""
    scores: tuple[float, float]
    """Of the first and of the second as they were shown."""
    words: tuple[int, int] | None = None
    label: int | None = None
    """1: the first is better, -1: the second, 0: neither; `None`: nobody said."""

    @property
    def choice(self) -> int:
        """Which the judge prefers: 1 the first, -1 the second, 0 neither."""
        return (self.scores[0] > self.scores[1]) - (self.scores[0] < self.scores[1])


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its interval; `None` where there is nothing to estimate it from."""

    value: float | None
    low: float | None
    high: float | None
    n: int
    """Pairs (or texts) it is made of."""


def estimated(
    rows: Sequence[Any], statistic: Callable[[Sequence[Any]], float | None], *, resamples: int = 1000
) -> Estimate:
    """Return a statistic of rows that have a `group`, with a 95 % interval over resampled groups."""
    groups: dict[str, list[Any]] = defaultdict(list)
    for row in rows:
        groups[row.group].append(row)
    value, names = statistic(rows) if rows else None, sorted(groups)
    if value is None:
        return Estimate(None, None, None, len(rows))
    rng = np.random.default_rng(child_seed("calibration", len(rows), names[:3]))
    drawn = []
    for _ in range(resamples):
        picked = rng.integers(0, len(names), len(names))
        found = statistic([row for at in picked for row in groups[names[at]]])
        drawn += [] if found is None else [found]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Estimate(value, float(low), float(high), len(rows))


def agreement(pairs: Iterable[Pair]) -> dict[str, Estimate]:
    """Return the share of labelled pairs on which the judge says what the label says, and kappa beyond chance."""
    labelled = [pair for pair in pairs if pair.label is not None]
    return {"agreement": estimated(labelled, _share_agreeing), "kappa": estimated(labelled, _kappa)}


def position_bias(pairs: Iterable[Pair]) -> dict[str, Estimate]:
    """Return the points that being shown first is worth, and how often a swap changes the choice.

    Only pairs that were judged in both orders say anything: a judge may prefer the first because it is better.
    """
    both = [turn for turns in _by_texts(pairs).values() for turn in _turns(turns)]
    return {
        "points_for_first": estimated(both, lambda rows: _mean([row.gap for row in rows])),
        "changed_by_swap": estimated(both, lambda rows: _mean([float(row.is_changed) for row in rows])),
    }


def length_bias(pairs: Iterable[Pair]) -> Estimate:
    """Return the points of difference that a text of twice the length gets, at equal writers.

    A regression of the score difference on the logarithm of the length ratio, with a mean of its own for each two
    writers, so that one who writes longer and better does not count. It still counts what is longer *because* it is
    better; an interval that excludes 0 is a reason to look, not a proof of bias.
    """
    rows = [pair for pair in pairs if pair.words is not None and min(pair.words) > 0]
    return estimated(rows, _slope)


def repeatability(pairs: Iterable[Pair]) -> dict[str, Estimate]:
    """Return how far the score of one text moves with the text beside it: the mean difference of two judgements of it,
    and the intraclass correlation (1: it never moves).
    """
    seen: dict[tuple[str, str], list[float]] = defaultdict(list)
    for pair in pairs:
        for kind, score in zip(pair.kinds, pair.scores, strict=True):
            seen[pair.group, kind].append(score)
    texts = [_Text(group, tuple(scores)) for (group, _), scores in seen.items() if len(scores) > 1]
    return {
        "moves_by": estimated(texts, lambda rows: _mean([_spread(row.scores) for row in rows])),
        "intraclass": estimated(texts, _intraclass),
    }


@dataclass(frozen=True, slots=True)
class _Text:
    """The scores that one text got, each beside another one."""

    group: str
    scores: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class _Turn:
    """One pair in both orders."""

    group: str
    gap: float
    is_changed: bool


def _by_texts(pairs: Iterable[Pair]) -> dict[tuple[str, frozenset[str]], list[Pair]]:
    found: dict[tuple[str, frozenset[str]], list[Pair]] = defaultdict(list)
    for pair in pairs:
        found[pair.group, frozenset(pair.kinds)].append(pair)
    return found


def _turns(pairs: Sequence[Pair]) -> list[_Turn]:
    """Return each judgement of one order beside one of the other."""
    one = [pair for pair in pairs if pair.kinds == pairs[0].kinds]
    other = [pair for pair in pairs if pair.kinds == pairs[0].kinds[::-1] != pairs[0].kinds]
    return [
        _Turn(a.group, (a.scores[0] - a.scores[1] + b.scores[0] - b.scores[1]) / 2, a.choice != -b.choice)
        for a, b in zip(one, other, strict=False)
    ]


def _share_agreeing(pairs: Sequence[Pair]) -> float | None:
    return _mean([float(pair.choice == pair.label) for pair in pairs])


def _kappa(pairs: Sequence[Pair]) -> float | None:
    observed = _share_agreeing(pairs)
    if observed is None:
        return None
    n = len(pairs)
    chance = sum(
        sum(pair.choice == side for pair in pairs) * sum(pair.label == side for pair in pairs) for side in (-1, 0, 1)
    ) / (n * n)  # fmt: skip
    return None if chance == 1 else (observed - chance) / (1 - chance)


def _slope(pairs: Sequence[Pair]) -> float | None:
    """Return points per doubling, writers' means taken out; order of showing does not matter."""
    gaps: dict[frozenset[str], list[tuple[float, float]]] = defaultdict(list)
    for pair in pairs:
        assert pair.words is not None, "the caller has kept pairs with lengths"
        sign = 1 if pair.kinds[0] <= pair.kinds[1] else -1
        ratio = math.log2(pair.words[0] / pair.words[1])
        gaps[frozenset(pair.kinds)].append((sign * ratio, sign * (pair.scores[0] - pair.scores[1])))
    parts = [np.asarray(own) - np.mean(own, axis=0) for own in gaps.values()]
    x, y = np.concatenate(parts).T if parts else (np.zeros(0), np.zeros(0))
    weight = float(x @ x)
    return float(x @ y) / weight if weight > 0 else None


def _intraclass(texts: Sequence[_Text]) -> float | None:
    """Return ICC(1) of unequal groups, by one-way analysis of variance."""
    counts = np.array([len(text.scores) for text in texts], dtype=float)
    total, n = counts.sum(), len(texts)
    if n < 2 or total <= n:
        return None
    means = np.array([np.mean(text.scores) for text in texts])
    grand = float((means * counts).sum() / total)
    between = float((counts * (means - grand) ** 2).sum()) / (n - 1)
    within = sum(float(((np.asarray(t.scores) - m) ** 2).sum()) for t, m in zip(texts, means, strict=True))
    within /= total - n
    size = (total - (counts**2).sum() / total) / (n - 1)
    bottom = between + (size - 1) * within
    return None if bottom <= 0 else (between - within) / float(bottom)


def _spread(scores: Sequence[float]) -> float:
    """Return the mean absolute difference of two of the scores."""
    gaps = [abs(a - b) for at, a in enumerate(scores) for b in scores[at + 1 :]]
    return sum(gaps) / len(gaps)


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
