"""Intervals and paired tests, against numbers worked by hand and against simulation."""

import math

import numpy as np
import pytest

from potstill.evaluation import statistics


@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    [
        (0, 10, 0.0, 0.2775),
        (10, 10, 0.7225, 1.0),
        (5, 10, 0.2366, 0.7634),
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_gives_the_published_intervals(right, n, low, high):
    """Newcombe 1998 (Statistics in Medicine 17:857), table I, method 3; the first three by hand."""
    found = statistics.wilson(right, n)
    assert (round(found.low, 4), round(found.high, 4)) == (low, high)


def test_wilson_refuses_an_empty_denominator():
    """A proportion of nothing has no interval."""
    with pytest.raises(ValueError, match="n is 0"):
        statistics.wilson(0, 0)


def test_a_value_over_seeds_is_the_mean_of_the_seeds_values():
    """Seeds weigh the same, however many of their marks are scored."""
    marks = [[1, 1, 0, 0], [1, math.nan, math.nan, math.nan]]
    assert statistics.seed_mean(marks) == pytest.approx((0.5 + 1.0) / 2)
    assert math.isnan(statistics.seed_mean([[math.nan, math.nan]]))


def test_the_bootstrap_of_one_seed_is_close_to_the_normal_interval():
    """With 400 independent marks both are about 1.96 standard errors wide."""
    marks = np.array([1.0] * 240 + [0.0] * 160)
    found = statistics.bootstrap(marks, resamples=4000)
    half = 1.96 * math.sqrt(0.6 * 0.4 / 400)
    assert found.low == pytest.approx(0.6 - half, abs=0.006)
    assert found.high == pytest.approx(0.6 + half, abs=0.006)
    assert found.by == "bootstrap (problems)"


def test_the_bootstrap_is_the_same_for_the_same_seed_and_not_for_another():
    """Nothing in an interval depends on when it is made."""
    marks = np.array([[1, 0, 1, 1, 0, 1, 0, 0, 1, 1.0]])
    assert statistics.hierarchical_bootstrap(marks, seed=3) == statistics.hierarchical_bootstrap(marks, seed=3)
    long = np.tile(marks, (1, 20))
    assert statistics.hierarchical_bootstrap(long, seed=3) != statistics.hierarchical_bootstrap(long, seed=4)


def test_chunks_do_not_change_a_bootstrap(monkeypatch):
    """Large inputs are resampled in pieces; the pieces are the same resamples."""
    marks = np.random.default_rng(0).random((3, 50)).round()
    whole = statistics.hierarchical_bootstrap(marks, resamples=200)
    monkeypatch.setattr(statistics, "CHUNK_CELLS", 500)
    pieces = statistics.hierarchical_bootstrap(marks, resamples=200)
    assert abs(pieces.low - whole.low) < 0.03
    assert abs(pieces.high - whole.high) < 0.03


def test_everything_right_does_not_give_a_certain_interval():
    """A bootstrap without spread would claim certainty; Wilson on the units stands in for it."""
    found = statistics.hierarchical_bootstrap(np.ones((3, 40)))
    assert (round(found.low, 3), found.high) == (0.912, 1.0)
    assert "wilson" in found.by


def test_groups_are_drawn_whole():
    """Twenty identical members of a group carry the information of one."""
    marks = np.repeat([1.0, 0.0, 1.0, 1.0, 0.0, 1.0, 0.0, 1.0], 20)
    groups = [at // 20 for at in range(160)]
    alone, grouped = statistics.bootstrap(marks), statistics.bootstrap(marks, groups)
    assert grouped.high - grouped.low > 3 * (alone.high - alone.low)


def test_unscored_marks_are_in_no_mean():
    """NaN takes a mark out of its seed's mean; a matrix without any mark is refused."""
    marks = [1.0, 1.0, 0.0, math.nan, math.nan]
    assert statistics.seed_mean(marks) == pytest.approx(2 / 3)
    with pytest.raises(ValueError, match="none of the 2 marks"):
        statistics.bootstrap([math.nan, math.nan])


@pytest.mark.parametrize(("seeds", "n", "seed_spread"), [(1, 100, 0.0), (3, 150, 0.3), (5, 200, 0.1), (5, 200, 0.5)])
def test_intervals_cover_the_truth_about_as_often_as_they_say(seeds, n, seed_spread):
    """Seeds and problems both vary between repetitions of an experiment; 95 % intervals cover in 90 to 99.5 %."""
    draw = np.random.default_rng([seeds, n, int(10 * seed_spread)])
    truth = _true_accuracy(seed_spread)
    repeats = 240
    covered = 0
    for repeat in range(repeats):
        marks = _draw(draw, seeds, draw.normal(0, 2, n), seed_spread)
        found = statistics.hierarchical_bootstrap(marks, resamples=300, seed=repeat)
        covered += found.low <= truth <= found.high
    assert 0.90 <= covered / repeats <= 0.995


@pytest.mark.parametrize(("seeds", "seed_spread"), [(1, 0.0), (3, 0.3), (5, 0.5)])
def test_equal_systems_are_rarely_called_different(seeds, seed_spread):
    """At a level of 0.05 at most about one comparison in twelve of equal systems is below it."""
    draw = np.random.default_rng([seeds, 99])
    repeats, called = 240, 0
    for repeat in range(repeats):
        items = draw.normal(0, 2, 150)
        pair = [_draw(draw, seeds, items, seed_spread) for _ in range(2)]
        called += statistics.compare_marks(*pair, resamples=300, seed=repeat).p < 0.05
    assert called / repeats <= 0.085


def test_mcnemar_is_the_exact_binomial_test():
    """By hand: 2 (C(10,0) + C(10,1) + C(10,2)) / 2^10 = 112 / 1024."""
    assert statistics.mcnemar(8, 2) == pytest.approx(112 / 1024)
    assert statistics.mcnemar(2, 8) == statistics.mcnemar(8, 2)
    assert statistics.mcnemar(5, 5) == 1.0
    assert statistics.mcnemar(0, 0) == 1.0
    assert 0.0 < statistics.mcnemar(1500, 700) < 1e-60


def test_the_paired_interval_is_newcombes():
    """By hand for 36 both, 12 and 2 one only, 0 neither: difference 0.2, phi 0 (ad - bc is negative: -0.0857)."""
    found = statistics.newcombe(36, 12, 2, 0)
    low_a, high_a, _ = statistics.wilson(48, 50)
    low_b, high_b, _ = statistics.wilson(38, 50)
    phi = -24 / math.sqrt(48 * 2 * 38 * 12)
    below = math.sqrt((0.96 - low_a) ** 2 - 2 * phi * (0.96 - low_a) * (high_b - 0.76) + (high_b - 0.76) ** 2)
    above = math.sqrt((high_a - 0.96) ** 2 - 2 * phi * (high_a - 0.96) * (0.76 - low_b) + (0.76 - low_b) ** 2)
    assert found.low == pytest.approx(0.2 - below)
    assert found.high == pytest.approx(0.2 + above)


def test_without_a_difference_the_paired_interval_is_not_a_point():
    """Two systems that agree on all 50 problems have not been shown to be equal."""
    found = statistics.newcombe(30, 0, 0, 20)
    assert found.low < -0.01
    assert found.high > 0.01


def test_one_seed_each_is_compared_by_mcnemar():
    """Ten problems: a alone right on 6, b alone on 1."""
    a = [1, 1, 1, 1, 1, 1, 1, 0, 0, 0]
    b = [1, 0, 0, 0, 0, 0, 0, 1, 0, 0]
    found = statistics.compare_marks(a, b)
    assert found.difference == pytest.approx(0.5)
    assert found.p == pytest.approx(2 * (1 + 7) / 2**7)
    assert (found.n, found.test) == (10, "exact McNemar; interval Newcombe")


def test_several_seeds_are_compared_by_the_paired_bootstrap():
    """p and interval agree on whether zero is inside, and p never claims more than the resamples can show."""
    draw = np.random.default_rng(4)
    items = draw.normal(0, 2, 120)
    a, b = _draw(draw, 3, items + 3, 0.1), _draw(draw, 3, items, 0.1)
    found = statistics.compare_marks(a, b, resamples=500)
    assert found.difference == pytest.approx(a.mean() - b.mean())
    assert found.low > 0
    assert found.p == pytest.approx(2 / 501)
    assert found.test == "paired hierarchical bootstrap (3 seeds x problems)"
    back = statistics.compare_marks(b, a, resamples=500)
    assert back.difference == pytest.approx(-found.difference)


def test_resamples_that_all_agree_do_not_pass_for_certainty():
    """Nothing right in either system, or everything in one: wide intervals, and p of a sign test on the families."""
    groups = [at // 2 for at in range(16)]
    none = statistics.compare_marks(np.zeros(16), np.zeros(16), groups)
    assert (none.difference, none.p) == (0.0, 1.0)
    assert none.low < -0.2
    assert none.high > 0.2
    all_of_it = statistics.compare_marks(np.ones(16), np.zeros(16), groups)
    assert all_of_it.difference == 1.0
    assert all_of_it.low < 0.7
    assert all_of_it.p == pytest.approx(2 / 2**8)


def test_only_problems_scored_in_both_are_compared():
    """An unscored problem leaves both sides of a paired comparison."""
    found = statistics.compare_marks([1, 1, math.nan, 0], [0, 1, 1, math.nan])
    assert (found.n, found.difference) == (2, 0.5)
    with pytest.raises(ValueError, match="no problem is scored in both"):
        statistics.compare_marks([1, math.nan], [math.nan, 1])


def test_systems_on_different_problems_are_refused():
    """A paired comparison needs the same columns."""
    with pytest.raises(ValueError, match="a has 2 problems and b 3"):
        statistics.compare_marks([1, 0], [1, 0, 1])


def test_a_group_is_right_when_all_of_it_is():
    """A wrong member decides; without one, an unscored member leaves the group open."""
    marks = [[1, 1, 1, 0, 1, math.nan, 0, math.nan]]
    whole, names = statistics.group_marks(marks, ["a", "a", "b", "b", "c", "c", "d", "d"])
    assert names == ["a", "b", "c", "d"]
    np.testing.assert_array_equal(whole, [[1, 0, math.nan, 0]])


def test_holm_steps_down():
    """By hand: 0.01 x 3, then 0.03 x 2, then 0.04 raised to the one before."""
    assert statistics.holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert statistics.holm([]) == []


def _draw(draw, seeds, items, seed_spread):
    strength = 1.0 + draw.normal(0, seed_spread, seeds)[:, None] + items[None, :]
    return (draw.random(strength.shape) < 1 / (1 + np.exp(-strength))).astype(float)


def _true_accuracy(seed_spread):
    draw = np.random.default_rng(1)
    strength = 1.0 + draw.normal(0, seed_spread, 400_000) + draw.normal(0, 2, 400_000)
    return float((1 / (1 + np.exp(-strength))).mean())
