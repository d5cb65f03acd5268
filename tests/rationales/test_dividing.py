"""Who of several teachers writes which sample."""

from collections import Counter

import pytest

from potstill.rationales.dividing import Division
from potstill.records import Problem

PROBLEMS = [Problem(id=f"p{i}", question="q") for i in range(120)]


def counts(weights, n, problems=PROBLEMS, kind="cot", **options):
    division = Division(problems, weights, **options)
    return [Counter(division.turns(problem.id, kind, n)) for problem in problems]


@pytest.mark.parametrize("weights", [(1, 1), (2, 1), (0.7, 0.3), (5, 3, 2), (1, 0, 3), (9, 1)])
@pytest.mark.parametrize("n", [1, 4, 30])
def test_each_problem_gets_its_samples_and_each_teacher_its_share(weights, n):
    """Exactly n a problem; each teacher within two of its share of them, and of all problems within one percent."""
    found = counts(weights, n)
    assert {each.total() for each in found} == {n}
    for teacher, weight in enumerate(weights):
        share = weight / sum(weights)
        assert all(abs(each[teacher] - n * share) < 2 for each in found)
        assert abs(sum(each[teacher] for each in found) / (n * len(found)) - share) <= 0.01


def test_what_a_weight_leaves_over_goes_round():
    """One sample each, two to one: every third problem is the second teacher's."""
    second = {kind: [each[1] for each in counts((2, 1), 1, kind=kind)] for kind in ("cot", "pot")}
    assert sum(second["cot"]) == sum(second["pot"]) == 40
    assert all(sum(second["cot"][at : at + 3]) == 1 for at in range(118))


def test_more_samples_or_problems_leave_earlier_turns_as_they_are():
    """What was bought stays wanted."""
    few, many = Division(PROBLEMS[:50], (3, 2)), Division(PROBLEMS, (3, 2))
    for problem in PROBLEMS[:50]:
        assert many.turns(problem.id, "cot", 30)[:7] == few.turns(problem.id, "cot", 7)


def test_the_seed_decides_who_begins():
    """And nothing else of the shares."""
    first = [tuple(Division(PROBLEMS, (1, 1), seed=seed).turns("p0", "cot", 2)) for seed in range(8)]
    assert set(first) == {(0, 1), (1, 0)}


def test_a_teachers_indices_are_its_turns():
    """Together they are all of a problem's samples."""
    division = Division(PROBLEMS, (1, 1, 2))
    parts = [division.indices(teacher, "p7", "pot", 9) for teacher in range(3)]
    assert sorted(index for part in parts for index in part) == list(range(9))
