"""The dev split: greedy accuracy with its n, by the verifier that scores everything else."""

import pytest
from tiny_students import examples_of, save_student, sums

from potstill.errors import StudentError
from potstill.recipe.rationales import VerifyConfig
from potstill.recipe.students import InferConfig, MixConfig, StudentConfig, TrainConfig
from potstill.records import Problem
from potstill.students.loading import open_student
from potstill.students.selection import DevSplit
from potstill.students.training import train


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    """A student that knows four sums by heart."""
    folder = tmp_path_factory.mktemp("students")
    config = TrainConfig(max_steps=60, learning_rate=1e-2)
    student = StudentConfig(model=str(save_student(folder / "base")))
    return open_student(train(examples_of(sums(4), n=1), config, student=student, out=folder / "taught"))


def split(problems, paths=None, **verify):
    infer = InferConfig(paths=paths or {"cot": 5}, max_new_tokens=20)
    return DevSplit(problems=problems, infer=infer, verify=VerifyConfig(**verify), mix=MixConfig())


def test_accuracy_is_over_the_scored_problems_and_greedy(taught):
    """Three known sums, one with a wrong gold answer, one that cannot be scored."""
    wrong = Problem(id="w", question="0 plus 0", answer="7", answer_type="number")
    unlabelled = Problem(id="u", question="0 plus 0", answer_type="number")
    found = split([*sums(3), wrong, unlabelled]).score(taught)
    assert (found.accuracy, found.n, found.n_unscored, found.by_kind) == (0.75, 4, 1, {})


def test_several_kinds_are_scored_apart_too(taught):
    """Each kind is asked once."""
    found = split(sums(2), {"cot": 3, "answer": 1}).score(taught)
    assert (found.accuracy, found.n, found.by_kind) == (1.0, 4, {"cot": 1.0, "answer": 1.0})


def test_a_split_that_cannot_be_scored_is_refused(taught):
    """It could not choose anything."""
    unlabelled = Problem(id="u", question="0 plus 0", answer_type="number")
    with pytest.raises(StudentError, match="dev split: none of its 1 problems could be scored"):
        split([unlabelled]).score(taught)
