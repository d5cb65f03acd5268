"""The edit-only probe: can the new label be told from what was changed alone?

    (original, edited) ──diff──► removed and inserted tokens ──linear model, cross-validated──► AUC with its interval

A counterfactual pool in which "not" always makes a contradiction teaches that word, and not the task. The probe sees
the changed tokens and nothing else; where it tells the new label well, the edits themselves betray it, and the pool
wants other kinds of edits. It cannot say whether that is unfair: in sentiment the changed words are the sentiment.

Source: ours (docs/counterfactual.md); after the hypothesis-only baselines of NLI (Poliak et al. 2018) and Joshi and He
    2022, arXiv:2107.00753.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from potstill.generators.edits import tokens
from potstill.records import Problem, child_seed

WARN_ABOVE = 0.75
FOLDS, RESAMPLES = 5, 400
FEWEST_PAIRS, FEWEST_OF_LABEL = 20, 5
MOST_TOKENS = 2000
_PENALTY, _STEPS = 1.0, 150
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What the probe found."""

    auc: float
    """Mean over labels of one-against-the-rest AUC, out of fold; 0.5: the edits say nothing of the label."""
    low: float
    high: float
    n: int
    """Edited problems."""
    labels: Mapping[str, int]
    """New label -> how many."""
    telling: Sequence[tuple[str, str, float]] = field(default=())
    """(token, label, weight): what speaks most for a label; + was inserted, - was removed."""

    @property
    def warns(self) -> bool:
        """Whether the edits betray the label."""
        return self.auc > WARN_ABOVE


def probe(pairs: Iterable[tuple[Problem, Problem]], *, confidence: float = 0.95, seed: int = 0) -> Probe | str:
    """Return how well the changed tokens tell the new label, or why that cannot be found out.

    Args:
        pairs: (original, counterfactual); all edits of one original are in one fold.
    """
    rows = [(old.id, str(new.answer), changed(old, new)) for old, new in pairs if old.answer != new.answer]
    counts = Counter(label for _, label, _ in rows)
    labels = sorted(label for label, count in counts.items() if count >= FEWEST_OF_LABEL)
    rows = [row for row in rows if row[1] in labels]
    groups = len({pair for pair, _, _ in rows})
    if len(labels) < 2 or groups < FEWEST_PAIRS:
        return (
            f"{groups} originals with edits to {len(labels)} labels; the probe needs {FEWEST_PAIRS} originals and two "
            f"labels of {FEWEST_OF_LABEL} edits each"
        )
    matrix, names = _features([bag for _, _, bag in rows])
    folds = np.array([child_seed("probe", seed, pair) % FOLDS for pair, _, _ in rows])
    truth = np.array([[label == wanted for wanted in labels] for _, label, _ in rows], float)
    scores = np.full(truth.shape, np.nan)
    for fold in np.unique(folds):
        inside = folds != fold
        for column in range(len(labels)):
            weights = fit(matrix[inside], truth[inside, column])
            scores[~inside, column] = matrix[~inside] @ weights[:-1] + weights[-1]
    low, high = _interval(scores, truth, [pair for pair, _, _ in rows], confidence, seed)
    return Probe(
        auc=_mean_auc(scores, truth), low=low, high=high, n=len(rows), labels={name: counts[name] for name in labels},
        telling=_telling(matrix, truth, names, labels),
    )  # fmt: skip


def pairs_of(problems: Iterable[Problem], splits: Sequence[str]) -> list[tuple[Problem, Problem]]:
    """Return (original, edit with another answer) of the problems of some splits."""
    known = {problem.id: problem for problem in problems}
    edited = [p for p in known.values() if p.parent_id in known and p.split in splits and "augmentation" not in p.meta]
    pairs = [(known[str(p.parent_id)], p) for p in edited]
    return [(old, new) for old, new in pairs if None not in (old.answer, new.answer) and old.answer != new.answer]


def changed(old: Problem, new: Problem) -> list[str]:
    """Return the tokens that an edit removed (-) and inserted (+), of the fields or of the question without them.

    >>> changed(Problem(id="a", question="It rises."), Problem(id="b", question="It falls."))
    ['-rises', '+falls']
    """
    found: list[str] = []
    for name in old.fields or {"question": ""}:
        a, b = (tokens(p.fields[name] if p.fields.get(name) else p.question) for p in (old, new))
        for tag, i, j, k, m in difflib.SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
            if tag != "equal":
                found += [f"-{token}" for token in a[i:j]] + [f"+{token}" for token in b[k:m]]
    return found


def fit(matrix: Floats, truth: Floats) -> Floats:
    """Return the weights of a logistic regression with an L2 penalty, the intercept last; accelerated descent."""
    rows = np.hstack([matrix, np.ones((len(matrix), 1))])
    step = 1.0 / (0.25 * _largest(rows) + _PENALTY)
    weights = previous = np.zeros(rows.shape[1])
    penalty = np.append(np.full(matrix.shape[1], _PENALTY), 0.0)
    for turn in range(_STEPS):
        ahead = weights + turn / (turn + 3) * (weights - previous)
        errors = 1 / (1 + np.exp(-np.clip(rows @ ahead, -30, 30))) - truth
        previous, weights = weights, ahead - step * (rows.T @ errors + penalty * ahead)
    return weights


def auc(scores: Floats, truth: Floats) -> float:
    """Return the probability that a member of the class scores above another row, ties counting half; NaN without both.

    >>> auc(np.array([0.1, 0.4, 0.35, 0.8]), np.array([0.0, 0.0, 1.0, 1.0]))
    0.75
    """
    members = truth > 0.5
    n_in, n_out = int(members.sum()), int((~members).sum())
    if not n_in or not n_out:
        return float("nan")
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]
    return float((ranks[members].sum() - n_in * (n_in + 1) / 2) / (n_in * n_out))


def _features(bags: Sequence[Sequence[str]]) -> tuple[Floats, list[str]]:
    """Return which of the tokens that two edits share each edit has [n, F], and their names."""
    spread = Counter(token for bag in bags for token in set(bag))
    names = [token for token, count in spread.most_common(MOST_TOKENS) if count > 1]
    place = {name: column for column, name in enumerate(names)}
    matrix = np.zeros((len(bags), len(names)))
    for row, bag in enumerate(bags):
        matrix[row, [place[token] for token in set(bag) if token in place]] = 1.0
    return matrix, names


def _largest(rows: Floats) -> float:
    """Return the largest eigenvalue of the rows' Gram matrix, by power iteration, a little above."""
    vector = np.ones(rows.shape[1])
    for _ in range(20):
        vector = rows.T @ (rows @ vector)
        vector /= np.linalg.norm(vector)
    return 1.05 * float(np.linalg.norm(rows @ vector) ** 2)


def _mean_auc(scores: Floats, truth: Floats) -> float:
    found = [auc(scores[:, column], truth[:, column]) for column in range(truth.shape[1])]
    return float(np.nanmean(found)) if not np.isnan(found).all() else float("nan")


def _interval(scores: Floats, truth: Floats, pairs: Sequence[str], confidence: float, seed: int) -> tuple[float, float]:
    """Return the percentile interval over resampled originals; the models stay as they are."""
    names = list(dict.fromkeys(pairs))
    members: dict[str, list[int]] = {name: [] for name in names}
    for row, pair in enumerate(pairs):
        members[pair].append(row)
    rng = np.random.default_rng(child_seed("probe interval", seed))
    drawn = []
    for _ in range(RESAMPLES):
        rows = [row for pick in rng.integers(len(names), size=len(names)) for row in members[names[pick]]]
        drawn.append(_mean_auc(scores[rows], truth[rows]))
    low, high = np.nanquantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def _telling(
    matrix: Floats, truth: Floats, names: Sequence[str], labels: Sequence[str], most: int = 12
) -> list[tuple[str, str, float]]:
    """Return the tokens that speak most for a label, fitted on all edits."""
    found: list[tuple[Any, ...]] = []
    for column, label in enumerate(labels):
        weights = fit(matrix, truth[:, column])[:-1]
        found += [(names[at], label, float(weights[at])) for at in np.argsort(-weights)[:most] if weights[at] > 0]
    ranked = sorted(found, key=lambda row: -row[2])
    return [(token, label, round(weight, 3)) for token, label, weight in ranked[:most]]
