"""The edit-only probe: a pool whose edits betray the label, and one whose edits do not."""

import random

import numpy as np
import pytest
from toy_labels import counterfactual, invariant, original

from potstill.evaluation.probing import Probe, auc, changed, fit, pairs_of, probe
from potstill.records import Problem

WORDS = [f"w{i}" for i in range(12)]


def pool(n, *, tells, labels=("a", "b"), seed=0):
    """n pairs; one word is exchanged, drawn by the new label or by chance."""
    rng, pairs = random.Random(seed), []
    for number in range(n):
        label = labels[number % len(labels)]
        words = WORDS[labels.index(label) :: len(labels)] if tells else WORDS
        old = Problem(id=f"p{number}", question=f"item {number} says before", answer=labels[(number + 1) % len(labels)])
        new = Problem(
            id=f"e{number}", question=f"item {number} says {rng.choice(words)}", answer=label, parent_id=old.id
        )
        pairs.append((old, new))
    return pairs


@pytest.mark.parametrize("labels", [("a", "b"), ("a", "b", "c")])
def test_edits_that_betray_the_label_are_found_out(labels):
    """And warned of; the words that tell it are named with their label."""
    found = probe(pool(120, tells=True, labels=labels))
    assert isinstance(found, Probe)
    assert found.auc > 0.95
    assert found.low > 0.75
    assert found.warns
    assert (found.n, sum(found.labels.values())) == (120, 120)
    token, label, _ = found.telling[0]
    assert WORDS.index(token[1:]) % len(labels) == labels.index(label)


def test_edits_that_say_nothing_of_the_label_are_not_warned_of():
    """At chance, with an interval that holds it."""
    found = probe(pool(240, tells=False))
    assert isinstance(found, Probe)
    assert found.low < 0.5 < found.high
    assert not found.warns


def test_too_few_pairs_are_said_to_be_too_few():
    """No number that nobody could believe."""
    assert "the probe needs 20 originals" in probe(pool(12, tells=True))
    assert "edits to 1 labels" in probe(pool(60, tells=True)[::2])


def test_only_what_was_changed_is_seen():
    """Field by field, removed and inserted tokens; an edit that keeps the label is no pair."""
    old = original(0)
    assert changed(old, counterfactual(old)) == ["-rises", "+falls"]
    problems = [old, counterfactual(old), invariant(old), original(1)]
    assert pairs_of(problems, ["train"]) == [(old, problems[1])]
    assert pairs_of(problems, ["test"]) == []


def test_auc_counts_ties_half_and_needs_both_classes():
    """By ranks."""
    assert auc(np.array([1.0, 1.0]), np.array([0.0, 1.0])) == 0.5
    assert np.isnan(auc(np.array([1.0, 2.0]), np.array([1.0, 1.0])))


def test_the_fitted_weights_are_where_the_gradient_vanishes():
    """Of the penalised loss, whose intercept is free."""
    rng = np.random.default_rng(0)
    rows = (rng.random((80, 6)) < 0.4).astype(float)
    truth = (rows[:, 0] + 0.3 * rng.random(80) > 0.6).astype(float)
    weights = fit(rows, truth)
    errors = 1 / (1 + np.exp(-(rows @ weights[:-1] + weights[-1]))) - truth
    assert np.abs(rows.T @ errors + weights[:-1]).max() < 0.05
    assert abs(errors.sum()) < 0.2
