"""A judged share, corrected for the judge's errors."""

import numpy as np
import pytest

from potstill.evaluation.correcting import Errors, corrected
from potstill.evaluation.statistics import wilson


def test_a_judge_without_errors_changes_nothing():
    """The value stays, and the interval is hardly wider than its own."""
    found = corrected(0.7, 0.66, 0.74, Errors(5000, 0, 0, 5000))
    assert found.value == 0.7
    assert (found.low, found.high) == pytest.approx((0.66, 0.74), abs=0.005)


def test_known_errors_are_taken_out():
    """Of 60 % that are right, a judge with recall 0.9 and false alarms 0.2 calls 62 % right."""
    found = corrected(0.62, 0.6, 0.64, Errors(540, 80, 60, 320))
    assert found.value == pytest.approx(0.6)
    assert found.low < 0.6 < found.high


@pytest.mark.parametrize("errors", [Errors(5, 0, 2, 0), Errors(0, 4, 0, 9), Errors(5, 5, 5, 5)])
def test_what_cannot_be_corrected_is_not(errors):
    """Without a rejected text, without an accepted one, or where the judge does not tell them apart."""
    assert corrected(0.5, 0.4, 0.6, errors) is None


def test_the_interval_holds_the_truth_as_often_as_it_says():
    """Simulated: 100 reviewed texts, 300 scored ones; 95 % within what 300 repeats can tell."""
    rng = np.random.default_rng(5)
    truth, recall, alarms, held, repeats = 0.6, 0.92, 0.25, 0, 300
    for _ in range(repeats):
        right = rng.binomial(100, truth)
        both, false = rng.binomial(right, recall), rng.binomial(100 - right, alarms)
        called = rng.binomial(300, truth * recall + (1 - truth) * alarms)
        low, high, _ = wilson(called, 300)
        found = corrected(called / 300, low, high, Errors(both, false, right - both, 100 - right - false))
        held += found.low <= truth <= found.high
    assert 0.925 <= held / repeats <= 0.99, held / repeats
