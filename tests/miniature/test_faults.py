"""The knobs and the draws."""

from collections import Counter

import pytest

from potstill.errors import ConfigError
from potstill.miniature.faults import Knobs, TokenBucket, draw_fault


def test_faults_come_as_often_as_asked():
    """Over many bodies each fault has its share, and the rest has none."""
    knobs = Knobs(p_429=0.1, p_drop=0.05, slow=0.03)
    drawn = [draw_fault(knobs, str(i), 0) for i in range(10_000)]
    counts = Counter(fault for fault, _ in drawn)
    assert set(counts) == {"429", "drop", None}
    assert 900 < counts["429"] < 1100
    assert 400 < counts["drop"] < 600
    assert 200 < sum(slow_s == 2.0 for _, slow_s in drawn) < 400


def test_a_draw_depends_on_seed_body_and_attempt_only():
    """So a run can be repeated, whatever order its requests arrive in, and a retry may succeed."""
    knobs = Knobs(p_500=0.5)
    attempts = [draw_fault(knobs, "body", i) for i in range(50)]
    assert attempts == [draw_fault(knobs, "body", i) for i in range(50)]
    assert {fault for fault, _ in attempts} == {"500", None}
    assert attempts != [draw_fault(Knobs(p_500=0.5, seed=1), "body", i) for i in range(50)]
    assert attempts != [draw_fault(knobs, "other", i) for i in range(50)]


def test_the_bucket_lets_a_burst_through_and_then_the_rate():
    """Two at once, then one every tenth of a second."""
    bucket = TokenBucket()
    waits = [bucket.take(10.0, 2.0, at) for at in (0.0, 0.0, 0.0, 0.05, 0.1, 0.1)]
    assert waits == pytest.approx([0.0, 0.0, 0.1, 0.05, 0.0, 0.1])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"latancy": 1.0}, "did you mean latency"),
        ({"latency": "1"}, "expected float"),
        ({"latency": -1.0}, "expected float"),
        ({"latency": float("nan")}, "expected float"),
        ({"usage": 1}, "expected bool"),
        ({"n_mode": "maybe"}, "expected one of honour, ignore, reject"),
        ({"p_429": 0.6, "p_500": 0.6}, "sum to 1.2"),
        ({"slow": 2.0}, "a fraction"),
    ],
)
def test_a_wrong_knob_is_refused(changes, message):
    """The message names the knob and what is allowed."""
    with pytest.raises(ConfigError, match=message):
        Knobs().changed(changes)


def test_a_whole_number_serves_as_a_time():
    """`{"latency": 1}` is what people write."""
    assert Knobs().changed({"latency": 1}).latency == 1.0
