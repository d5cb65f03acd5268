"""Which calls are made, and when failures have used up their budget."""

import pytest

from potstill.errors import BudgetError, TooManyFailures
from potstill.rationales.asking import HOPELESS_ROWS, Tally, jobs, load_asking
from potstill.recipe.teachers import SampleConfig, TeacherConfig
from potstill.records import Problem, Rationale

PROBLEMS = [Problem(id=f"p{i}", question=f"q{i}") for i in range(3)]


def asking(per_request=1, **config):
    return load_asking(TeacherConfig(base_url="http://localhost", n=per_request), SampleConfig(**config))


def row(finish="stop", problem="p0"):
    return Rationale(id="r", problem_id=problem, kind="cot", text="", finish=finish, reason="because")


def test_indices_are_asked_for_in_chunks_of_the_teachers_n():
    """Five draws with two choices per request are chunks of 2, 2 and 1, kind by kind."""
    found = jobs(PROBLEMS[:1], asking(2, n=5, kinds=("cot", "answer")), (), Tally(0.05, None))
    chunks = ((0, 1), (2, 3), (4,))
    assert [(job.kind, job.indices) for job in found] == [(k, part) for k in ("cot", "answer") for part in chunks]


def test_what_is_done_is_not_asked_for_again():
    """Only the missing indices, packed together; the tally knows of the others."""
    done = {("p0", "cot", 1), ("p1", "cot", 0), ("p1", "cot", 1), ("p1", "cot", 2)}
    tally = Tally(0.05, None)
    found = list(jobs(PROBLEMS, asking(2, n=3), done, tally))
    assert [(job.problem.id, job.indices) for job in found] == [("p0", (0, 2)), ("p2", (0, 1)), ("p2", (2,))]
    assert tally.rows_before == 4


def test_nothing_is_started_after_a_stop():
    """The jobs end where the tally says stop."""
    tally = Tally(0.05, None)
    stream = jobs(PROBLEMS, asking(n=2), (), tally)
    next(stream)
    tally.stopped_by = BudgetError("reached")
    assert list(stream) == []
    with pytest.raises(BudgetError, match="reached"):
        tally.finish()


@pytest.mark.parametrize(
    ("failed", "rows", "limit", "is_too_many"),
    [(0, 100, 0.0, False), (1, 100, 0.0, True), (5, 100, 0.05, False), (6, 100, 0.05, True), (9, 9, 1.0, False)],
)
def test_the_limit_is_a_fraction_of_all_rows(failed, rows, limit, is_too_many):
    """Exactly the limit is allowed; the verdict falls at the end."""
    tally = Tally(limit, rows)
    for number in range(rows):
        tally.count(row("error" if number < failed else "stop"))
    assert tally.stopped_by is None
    if is_too_many:
        with pytest.raises(TooManyFailures, match=f"{failed} of {rows} rows have no text"):
            tally.finish()
    else:
        tally.finish()


def test_rows_of_an_earlier_sampling_count_too():
    """Retrying one failed row of a hundred and failing again is one in a hundred; kept failures count as failures."""
    tally = Tally(0.05, 100, rows_before=99)
    tally.count(row("error"))
    tally.finish()
    tally = Tally(0.05, 100, failed_before=5, rows_before=99)
    tally.count(row("error"))
    with pytest.raises(TooManyFailures, match="6 of 100"):
        tally.finish()


@pytest.mark.parametrize(
    ("planned", "n_problems", "share", "is_early"),
    [
        (None, 31, 1.0, True),
        (1_000, 31, 1.0, True),
        (10_000, 31, 1.0, False),
        (None, 10, 1.0, False),
        (None, 31, 0.4, False),
    ],
)
def test_it_stops_early_only_where_going_on_is_hopeless(planned, n_problems, share, is_early):
    """Most rows failed, of many problems, and the allowed number is certainly used up."""
    tally = Tally(0.05, planned)
    for number in range(4 * HOPELESS_ROWS):
        finish = "refused" if number % 10 < 10 * share else "stop"
        tally.count(row(finish, f"p{number % n_problems}"))
    assert (tally.stopped_by is not None) == is_early
