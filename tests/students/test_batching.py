"""Schedules: who meets in a step, how problems weigh, and that a step needs no history."""

from collections import Counter, defaultdict

import numpy as np
import pytest

from potstill.errors import ConfigError
from potstill.students.batching import Schedule
from potstill.students.encoding import Encoded


def rows_of(counts, lengths=None):
    """Return rows of problems with the given numbers of rationales."""
    rows = []
    for number, count in enumerate(counts):
        prompt = np.full(lengths[number] if lengths else 5, number, np.int32)
        rows += [
            Encoded(f"{number}.{k}", str(number), "cot", 1.0, prompt, np.array([1, 2], np.int32)) for k in range(count)
        ]
    return rows


def schedule(rows, **changes):
    settings = {"loader": "one_per_problem", "problems_per_step": 4, "rationales_per_problem": 3, "seed": 0}
    return Schedule(rows, **{**settings, **changes})


def all_steps(plan):
    return [plan[i] for i in range(len(plan))]


def weights_by_problem(steps):
    total = defaultdict(float)
    for step in steps:
        for row in step:
            total[row.example.group] += row.weight
    return total


def test_every_problem_weighs_the_same_however_many_rationales_it_keeps():
    """SCoTD's rule: each visit of a problem counts as many draws, by repetition in weight where it has fewer."""
    plan = schedule(rows_of([1, 2, 3, 9, 30, 4, 5, 2]))
    total = Counter()
    for epoch in range(10):
        plan.set_epoch(epoch)
        total.update(weights_by_problem(all_steps(plan)))
    assert total == pytest.approx({str(n): 30.0 for n in range(8)})


def test_a_visit_draws_without_replacement_and_every_rationale_in_the_long_run():
    """Uniformly: 400 visits of 3 among 12 rationales."""
    plan = schedule(rows_of([12] * 4))
    drawn = Counter()
    for epoch in range(400):
        plan.set_epoch(epoch)
        for step in all_steps(plan):
            ids = [row.example.id for row in step]
            assert len(ids) == len(set(ids)) == 12
            drawn.update(ids)
    counts = np.array(list(drawn.values()))
    assert len(counts) == 48
    assert abs(counts - 100).max() < 45


def test_the_last_step_is_filled_with_second_visits():
    """A smaller last step would weigh its problems more; who visits twice changes with the epoch."""
    plan = schedule(rows_of([3] * 10))
    twice = set()
    for epoch in range(20):
        plan.set_epoch(epoch)
        steps = all_steps(plan)
        groups = [{row.example.group for row in step} for step in steps]
        assert [len(found) for found in groups] == [4, 4, 4]
        twice |= {name for name, count in Counter(name for found in groups for name in found).items() if count == 2}
    assert len(twice) == 10


def test_fewer_problems_than_a_step_holds_make_one_smaller_step():
    """Two problems, steps of four."""
    assert [len(step) for step in all_steps(schedule(rows_of([3, 3])))] == [6]


def test_the_loader_all_visits_every_example_once_per_epoch():
    """In groups of at most the set number of rationales, which share a prompt."""
    rows = rows_of([1, 2, 3, 9, 7])
    plan = schedule(rows, loader="all")
    for epoch in range(3):
        plan.set_epoch(epoch)
        steps = all_steps(plan)
        assert sorted(row.example.id for step in steps for row in step) == sorted(row.id for row in rows)
        assert {row.weight for step in steps for row in step} == {1.0}
        for step in steps:
            assert len(step) <= 12
    assert len({len(step) for step in steps}) > 1


@pytest.mark.parametrize("loader", ["one_per_problem", "all"])
def test_a_step_depends_on_seed_epoch_and_number_alone(loader):
    """So training resumes in mid-epoch without replaying anything."""
    rows = rows_of([5] * 30)

    def ids(plan, step):
        return [row.example.id for row in plan[step]]

    plan = schedule(rows, loader=loader)
    plan.set_epoch(2)
    expected = [ids(plan, step) for step in range(len(plan))]
    fresh = schedule(rows, loader=loader)
    fresh.set_epoch(2)
    assert ids(fresh, 5) == expected[5]
    assert ids(fresh, 1) == expected[1]
    fresh.set_epoch(3)
    assert [ids(fresh, step) for step in range(len(fresh))] != expected
    other = schedule(rows, loader=loader, seed=1)
    other.set_epoch(2)
    assert [ids(other, step) for step in range(len(other))] != expected


def test_every_epoch_has_as_many_steps():
    """The Trainer asks once."""
    plan = schedule(rows_of([7] * 13), loader="all")
    lengths = set()
    for epoch in range(5):
        plan.set_epoch(epoch)
        lengths.add(len(plan))
    assert lengths == {10}


def test_prompts_of_similar_length_meet():
    """Padding of prompts stays below a tenth although lengths differ up to fivefold."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(20, 100, 256).tolist()
    plan = schedule(rows_of([1] * 256, lengths))
    padded = real = 0
    for step in all_steps(plan):
        found = [len(row.example.prompt) for row in step]
        padded, real = padded + max(found) * len(found), real + sum(found)
    assert padded / real < 1.1


def test_a_visit_draws_as_many_of_each_kind():
    """Both kinds of the same problems meet in a step; the rarer kind makes up for it in weight."""
    prompt = np.array([1, 2], np.int32)
    rows = [
        Encoded(f"{number}{task}{k}", str(number), task, 1.0, prompt, np.array([1, 2], np.int32))
        for number in range(4)
        for task, count in (("pot", 1), ("cot", 9))
        for k in range(count)
    ]
    for step in all_steps(schedule(rows)):
        assert Counter(row.example.task for row in step) == {"cot": 12, "pot": 4}
        weights = defaultdict(float)
        for row in step:
            weights[row.example.task] += row.weight
        assert weights == {"cot": 12.0, "pot": 12.0}


def pairs_of(sizes, n=2, lengths=None):
    """Rows of units: each an original with so many problems beside it, n rationales each."""
    rows = []
    for unit, size in enumerate(sizes):
        for member in range(size):
            group = f"{unit}.{member}"
            prompt = np.full(lengths[unit] if lengths else 5, unit, np.int32)
            pair = "" if member == 0 else f"{unit}.0"
            rows += [
                Encoded(f"{group}.{k}", group, "cot", 1.0, prompt, np.array([1, 2], np.int32), pair) for k in range(n)
            ]
    return rows


def steps_of_problems(plan):
    return [list(dict.fromkeys(row.example.group for row in step)) for step in all_steps(plan)]


@pytest.mark.parametrize("loader", ["one_per_problem", "all"])
def test_the_members_of_a_pair_are_in_one_step(loader):
    """In every epoch; every problem comes as often as without; steps are full but for places that nothing fits into."""
    sizes = [2, 2, 1, 3, 1, 2, 2, 1, 1, 2, 4, 2]
    plan = schedule(pairs_of(sizes, n=5), loader=loader, pairs_together=True)
    plain = schedule(pairs_of(sizes, n=5), loader=loader)
    seen = []
    for epoch in range(5):
        plan.set_epoch(epoch)
        steps = steps_of_problems(plan)
        units = [Counter(group.partition(".")[0] for group in step) for step in steps]
        assert all(count == sizes[int(unit)] for step in units for unit, count in step.items())
        assert all(len(step) <= 4 for step in steps)
        assert sum(map(len, steps)) >= 0.9 * 4 * (len(steps) - 1)
        seen.append(steps)
    rows = Counter(row.example.id for step in all_steps(plan) for row in step)
    assert len(rows) == (sum(sizes) * 3 if loader == "one_per_problem" else sum(sizes) * 5)
    assert {row.example.group for step in all_steps(plain) for row in step} == {g for step in steps for g in step}
    assert seen[0] != seen[1]


def test_a_pair_larger_than_a_step_is_a_step_of_its_own():
    """It is never cut."""
    steps = steps_of_problems(schedule(pairs_of([6, 1, 1]), pairs_together=True))
    assert sorted(len(step) for step in steps) == [2, 6]


def test_pairs_of_similar_length_meet():
    """Padding stays small, as without pairs."""
    lengths = [5, 50] * 32
    plan = schedule(pairs_of([2] * 64, lengths=lengths), pairs_together=True)
    mixed = [step for step in all_steps(plan) if len({len(row.example.prompt) for row in step}) > 1]
    assert len(mixed) <= 1


def test_a_step_of_pairs_needs_no_history():
    """The same seed, epoch and step give the same rows."""
    first, second = (schedule(pairs_of([2] * 9), pairs_together=True) for _ in range(2))
    for plan in (first, second):
        plan.set_epoch(3)
    second[0]
    assert [row.example.id for row in first[2]] == [row.example.id for row in second[2]]


def test_processes_share_a_step_without_changing_what_it_learns_from():
    """Every row of every step is in one share, prompts are not divided, and the shares read about as many tokens."""
    rows = rows_of([9, 2, 30, 4, 5, 1, 12, 3] * 4, lengths=[40, 5, 12, 60, 8, 33, 20, 15] * 4)
    whole, shared = schedule(rows, problems_per_step=8), schedule(rows, problems_per_step=8, shares=2)
    assert (shared.n_steps, len(shared)) == (len(whole), 2 * len(whole))
    loads = []
    for step in range(len(whole)):
        first, second = shared[2 * step], shared[2 * step + 1]
        key = Counter((row.example.id, row.weight) for row in [*first, *second])
        assert key == Counter((row.example.id, row.weight) for row in whole[step])
        assert {row.example.group for row in first}.isdisjoint(row.example.group for row in second)
        loads.append(sorted(tokens(part) for part in (first, second)))
    assert sum(low for low, _ in loads) > 0.85 * sum(high for _, high in loads)


def tokens(rows):
    return sum({row.example.group: len(row.example.prompt) for row in rows}.values()) + sum(
        len(row.example.target) for row in rows
    )


def test_a_step_of_fewer_prompts_than_processes_divides_them():
    """And one of fewer rows is refused, with what to change."""
    plan = schedule(rows_of([4]), problems_per_step=1, rationales_per_problem=4, shares=3)
    assert sorted(len(plan[i]) for i in range(3)) == [1, 1, 2]
    few = schedule(rows_of([2]), problems_per_step=1, shares=3)
    with pytest.raises(ConfigError, match="raise problems_per_step"):
        few[0]
