"""Difficulty-aware sampling: who gets the samples of the second stage."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from potstill.files import read_records
from potstill.pipeline import run_recipe
from potstill.rationales.budgeting import pass_counts, second_stage
from potstill.rationales.verification import verify
from potstill.records import Problem, Rationale, Status, Verdict

SMOKE = Path(__file__).resolve().parents[2] / "recipes" / "smoke.yaml"


def counted(*pairs):
    return {(f"p{i}", "cot"): pair for i, pair in enumerate(pairs)}


def test_only_problems_in_between_get_more():
    """Solved always or never in the first stage: as many as they have."""
    wanted = second_stage(counted((4, 4), (0, 4), (2, 4), (0, 0)), n=30, n_first=4, n_most=120)
    assert wanted == {("p0", "cot"): 4, ("p1", "cot"): 4, ("p2", "cot"): 108, ("p3", "cot"): 4}


def test_the_harder_of_two_gets_more_so_that_right_ones_level_out():
    """Twice the samples at half the (smoothed) pass rate."""
    wanted = second_stage(counted((5, 8), (2, 8)), n=30, n_first=8, n_most=200)
    easy, hard = wanted["p0", "cot"], wanted["p1", "cot"]
    assert abs(easy * 0.6 - hard * 0.3) < 1
    assert 57 <= easy + hard <= 60


def test_one_problem_cannot_take_everything():
    """`n_most` binds; what is left over stays unspent."""
    wanted = second_stage(counted((1, 4), (4, 4), (4, 4)), n=30, n_first=4, n_most=60)
    assert wanted["p0", "cot"] == 60


@given(
    st.lists(st.integers(0, 8).flatmap(lambda s: st.tuples(st.integers(0, s), st.just(s))), min_size=1, max_size=30),
    st.integers(8, 40),
)
def test_the_budget_is_never_exceeded_and_nothing_is_taken_back(pairs, n):
    """Whatever the first stage found; and the plan is the same however the problems are ordered."""
    counts = counted(*pairs)
    wanted = second_stage(counts, n=n, n_first=8, n_most=4 * n)
    assert sum(wanted.values()) <= len(pairs) * n
    assert min(wanted.values()) >= 8
    assert second_stage(dict(reversed(counts.items())), n=n, n_first=8, n_most=4 * n) == wanted


def test_rows_that_could_not_be_checked_count_in_neither_number():
    """A failure of ours is not the teacher's."""
    statuses = [Status.CORRECT, Status.WRONG, Status.NO_ANSWER, Status.UNVERIFIED]
    rows = [
        Rationale(id=s, problem_id="p", kind="cot", text="x", verdict=Verdict(rationale_id=s, status=s))
        for s in statuses
    ]
    assert pass_counts(rows) == {("p", "cot"): (1, 3)}


def test_a_run_samples_in_two_stages_and_a_second_call_buys_nothing(tmp_path):
    """12 problems of two kinds: those solved sometimes have more rationales, and the budget is kept."""
    overrides = [
        "problems.splits.train.limit=12", "sample.n=6", "sample.n_first=3", "sample.budget_by=pass_rate",
        f"ledger={tmp_path / 'ledger.sqlite'}",
    ]  # fmt: skip
    for _ in range(2):
        run_recipe(SMOKE, tmp_path / "run", overrides=overrides, until="verify", force=True)
    problems = {p.id: p for p in read_records(tmp_path / "run" / "problems.jsonl", Problem)}
    rationales = list(read_records(tmp_path / "run" / "rationales.jsonl", Rationale))
    counts = Counter((r.problem_id, r.kind) for r in rationales)
    first = pass_counts(verify([r for r in rationales if r.index < 3], problems))
    between = {key for key, (right, scored) in first.items() if 0 < right < scored}
    assert {key for key, count in counts.items() if count > 3} == between != set()
    assert counts.total() <= 24 * 6
    assert max(counts.values()) > 6
    assert len(counts) == 24
