"""Curricula: what comes first, what joins when, and what is refused."""

from __future__ import annotations

import json
from itertools import chain, pairwise

import numpy as np
import pytest
from pydantic import ValidationError
from tiny_students import examples_of, save_student, sums

from potstill.errors import ConfigError, DataError
from potstill.pipeline import run_recipe
from potstill.recipe.students import CurriculumConfig, MixConfig, StudentConfig, TrainConfig
from potstill.recipe.whole import Recipe
from potstill.records import Example, Problem, Rationale, Status, Verdict
from potstill.students import training
from potstill.students.batching import Schedule
from potstill.students.curriculum import Curriculum, difficulties, plan, require_noted
from potstill.students.encoding import Encoded
from potstill.students.mixing import mix
from potstill.students.training import train


def rows_of(n_problems, n=3):
    """Problem k has targets of k + 2 tokens."""
    return [
        Encoded(f"{k}.{i}", str(k), "cot", 1.0, np.full(5, k, np.int32), np.full(k + 2, 1, np.int32))
        for k in range(n_problems)
        for i in range(n)
    ]


def schedule(rows, pace=None, loader="one_per_problem", seed=0, sign=1):
    difficulty = {row.group: sign * float(row.group) for row in rows}
    return Schedule(rows, loader=loader, problems_per_step=4, rationales_per_problem=2, seed=seed,
                    curriculum=Curriculum(difficulty, pace))  # fmt: skip


def groups_of(plan):
    return [sorted({int(row.example.group) for row in plan[step]}) for step in range(len(plan))]


@pytest.mark.parametrize("loader", ["one_per_problem", "all"])
def test_an_ordered_epoch_runs_from_easy_to_hard(loader):
    """Every problem in every epoch, each step no easier than the one before; the other way round on request."""
    steps = groups_of(schedule(rows_of(16), loader=loader))
    assert sorted({k for step in steps for k in step}) == list(range(16))
    assert [step[0] for step in steps] == sorted(step[0] for step in steps)
    assert all(first[-1] <= second[0] for first, second in pairwise(steps))
    assert groups_of(schedule(rows_of(16), sign=-1))[0] == [12, 13, 14, 15]


def test_a_paced_curriculum_lets_problems_join():
    """A fifth at first, all after the pace; then every epoch holds all of them as without a curriculum."""
    rows, pace = rows_of(40), 30
    plan_ = schedule(rows, pace)
    hardest = []
    for epoch in range(3):
        plan_.set_epoch(epoch)
        hardest += [step[-1] for step in groups_of(plan_)]
    assert max(hardest[:3]) < 12
    assert all(hard < 40 * (0.2 + 0.8 * at / pace) + 1 for at, hard in enumerate(hardest))
    assert max(hardest[20:30]) >= 32
    plain = Schedule(rows_of(40), loader="one_per_problem", problems_per_step=4, rationales_per_problem=2, seed=0)
    plan_.set_epoch(3)
    plain.set_epoch(3)
    assert sorted(chain(*groups_of(plan_))) == sorted(chain(*groups_of(plain))) == list(range(40))


@pytest.mark.parametrize("pace", [None, 50])
def test_a_step_depends_on_seed_epoch_and_number_alone(pace):
    """So a paced training resumes in mid-epoch without replaying anything."""

    def ids(plan_, step):
        return [row.example.id for row in plan_[step]]

    rows = rows_of(30, 5)
    whole = schedule(rows, pace)
    whole.set_epoch(2)
    expected = [ids(whole, step) for step in range(len(whole))]
    fresh = schedule(list(reversed(rows)) if pace else rows, pace)
    fresh.set_epoch(2)
    assert [row.split(".")[0] for row in ids(fresh, 3)] == [row.split(".")[0] for row in expected[3]]
    other = schedule(rows, pace, seed=1)
    other.set_epoch(2)
    assert [ids(other, step) for step in range(len(other))] != expected


def test_length_is_that_of_the_targets_and_hard_first_turns_it_round():
    """Problem k has k + 2 target tokens."""
    rows = rows_of(5)
    easy = plan(CurriculumConfig(by="length"), [], rows, pace=None)
    assert easy.difficulty == {str(k): k + 2 for k in range(5)}
    hard = plan(CurriculumConfig(by="length", order="hard_first"), [], rows, pace=None)
    assert hard.difficulty == {str(k): -k - 2 for k in range(5)}


def rationale(id, problem, status):
    verdict = Verdict(rationale_id=id, status=status, answer="7")
    text = f"Way {id}. The answer is 7."
    return Rationale(id=id, problem_id=problem.id, kind="cot", text=text, verdict=verdict, problem=problem)


def test_mixing_notes_pass_rates_of_all_samples_and_fields():
    """1 - the share of right ones, unscored rows left out; wrong samples count although they are not learnt."""
    of = Problem(id="p", question="What?", answer="7", answer_type="number", meta={"grade": "4"})
    statuses = [Status.CORRECT, Status.WRONG, Status.CORRECT, Status.NO_ANSWER, Status.UNVERIFIED]
    rows = [rationale(str(i), of, status) for i, status in enumerate(statuses)]
    assert {e.meta["difficulty"] for e in mix(rows, MixConfig(), difficulty="pass_rate")} == {0.5}
    assert {e.meta["difficulty"] for e in mix(rows, MixConfig(), difficulty="grade")} == {4.0}
    assert all("difficulty" not in e.meta for e in mix(rows, MixConfig()))
    assert difficulties("pass_rate", [of], rows) == {"p": 0.5}


def test_problems_without_a_difficulty_come_in_the_middle():
    """Where some have it; where none has, it is refused with what to do."""
    examples = [Example(id=str(k), prompt="", target="x", task="cot", group=str(k), meta=meta) for k, meta in
                enumerate([{"difficulty": 1}, {}, {"difficulty": 9}])]  # fmt: skip
    found = plan(CurriculumConfig(by="grade"), examples, rows_of(3), pace=None)
    assert found.difficulty == {"0": 1.0, "1": 5.0, "2": 9.0}
    with pytest.raises(ConfigError, match="'grade' is noted in none of the training examples; mix them with"):
        plan(CurriculumConfig(by="grade"), [], rows_of(3), pace=None)


def test_a_field_that_no_row_has_is_refused_with_those_there_are():
    """One message with the fields that could be meant."""
    problems = [Problem(id=str(i), question="?", meta={"grade": i, "topic": "a"}) for i in range(3)]
    require_noted("grade", problems)
    fields = "use length, pass_rate, loss or one of their fields: grade"
    with pytest.raises(DataError, match=f"'grad' is a number in the meta of none of 3 training problems; {fields}$"):
        require_noted("grad", problems)
    with pytest.raises(DataError, match="pass_rate needs gold answers; none of 3 problems has one"):
        require_noted("pass_rate", problems)


def test_a_run_refuses_such_a_field_before_it_samples(tmp_path):
    """Nothing is bought."""
    recipe = Recipe.model_validate(
        {
            "problems": {"source": "miniature", "split": "train", "limit": 4},
            "teachers": {"base_url": "http://127.0.0.1:9/v1", "model": "m"},
            "train": {"curriculum": {"by": "grade"}},
        }
    )
    with pytest.raises(DataError, match=r"train\.curriculum\.by: 'grade' is a number in the meta of none of 4"):
        run_recipe(recipe, tmp_path / "run")
    assert not (tmp_path / "run" / "rationales.jsonl").exists()


def test_a_pace_needs_the_loader_that_visits_problems():
    """The other visits every example once per epoch."""
    with pytest.raises(ValidationError, match="use pace: epoch or loader: one_per_problem"):
        TrainConfig(loader="all", curriculum=CurriculumConfig(by="length", pace=10))


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return save_student(tmp_path_factory.mktemp("students") / "base")


def run(base, out, **changes):
    settings = {"max_steps": 6, "learning_rate": 5e-3, "problems_per_step": 4, "rationales_per_problem": 2, **changes}
    train(examples_of(sums(12)), TrainConfig(**settings), student=StudentConfig(model=str(base)), out=out)
    return json.loads((out / "training.json").read_text())


def test_a_student_is_trained_by_the_loss_it_had_before(base, tmp_path):
    """Losses are measured on the untrained student; another order gives another curve, the same order the same."""
    easy = {"by": "loss", "pace": "linear"}
    first = run(base, tmp_path / "a", curriculum=easy)
    again = run(base, tmp_path / "b", curriculum=easy)
    turned = run(base, tmp_path / "c", curriculum={**easy, "order": "hard_first"})
    assert first["curriculum"] == {"by": "loss", "order": "easy_first", "pace": "linear"}
    assert first["curve"] == again["curve"] != turned["curve"]


def test_padded_rows_and_shared_prompts_measure_the_same_losses(base, tmp_path, monkeypatch):
    """The order does not depend on how the student is fed."""
    kept = []
    measure = training.losses
    monkeypatch.setattr(training, "losses", lambda *a, **k: kept.append(measure(*a, **k)) or kept[-1])
    for shared in (True, False):
        run(base, tmp_path / str(shared), curriculum={"by": "loss"}, shared_prompt=shared, max_steps=1)
    first, second = kept
    assert len(first) == 12
    assert first == pytest.approx(second, rel=1e-4)
