"""Which kind a student takes: the margin between chains of thought and programs, fitted on a development split."""

from dataclasses import replace

import pytest

from potstill.records import Rationale, Status, Verdict
from potstill.students.routing import fit_margin, surer


def text(problem, kind, logprob, right):
    status = {True: Status.CORRECT, False: Status.WRONG, None: Status.UNVERIFIED}[right]
    verdict = Verdict(rationale_id="r", status=status)
    return Rationale(id="r", problem_id=problem, kind=kind, text="", logprob=logprob, verdict=verdict)


def pair(lead, cot, pot):
    """Return both greedy texts of a problem, the chain of thought `lead` nats per token ahead."""
    return [text("p", "cot", lead - 0.5, cot), text("p", "pot", -0.5, pot)]


def test_the_margin_divides_where_most_are_right():
    """Here chains of thought are right when they lead by more than -0.2, programs below."""
    pairs = [pair(-0.4, False, True), pair(-0.3, False, True), pair(-0.1, True, False), pair(0.2, True, False)]
    assert fit_margin(pairs) == pytest.approx(-0.2)


def test_one_kind_may_always_be_the_better_one():
    """The margin then lies beyond every lead that was seen, and is a number that JSON can hold."""
    low = fit_margin([pair(0.1, True, False), pair(-0.3, True, False)])
    high = fit_margin([pair(0.1, False, True), pair(-0.3, False, True)])
    assert low < -0.3
    assert high > 0.1


def test_problems_that_say_nothing_do_not_move_the_margin():
    """Both right, both wrong: they lie anywhere."""
    telling = [pair(-0.4, False, True), pair(0.2, True, False)]
    silent = [pair(lead / 10, right, right) for lead in range(-9, 9) for right in (True, False)]
    margin = fit_margin([*telling, *silent])
    assert -0.4 < margin < 0.2


@pytest.mark.parametrize(
    "paths",
    [
        [],
        [pair(0.1, True, True)],
        [[text("p", "cot", -0.1, True)]],
        [[text("p", "cot", -0.1, True), text("p", "pot", None, False)]],
        [[text("p", "cot", -0.1, True), text("p", "pot", -0.1, None)]],
    ],
    ids=["none", "no difference", "one kind", "no log-probability", "unscored"],
)
def test_without_evidence_there_is_no_margin(paths):
    """Nothing is made up, and no text is then called the surer."""
    assert fit_margin(paths) is None


def test_a_kind_that_is_missing_leaves_no_choice():
    """One text is no choice, and texts without a margin are not compared."""
    both = pair(0.1, True, False)
    assert surer(both) is None
    marked = [replace(row, meta={"route_margin": 0.0}) for row in both]
    assert surer(marked[:1]) is None
    assert surer(marked) is marked[0]
