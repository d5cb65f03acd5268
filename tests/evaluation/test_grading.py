"""From verified predictions to marks: paths, denominators, what is missing."""

import math
from collections import Counter
from dataclasses import replace

import pytest

from potstill.errors import DataError
from potstill.evaluation.grading import grade
from potstill.recipe.evaluation import EvaluateConfig
from potstill.records import Problem, Rationale, Status, Verdict

SPLITS = EvaluateConfig(splits=("test", "ood", "contrast"))


def problems(n, split="test", **extra):
    return [Problem(id=f"{split}-{at}", question="q", answer="4", split=split, **extra) for at in range(n)]


def path(problem, status="CORRECT", *, kind="cot", index=0, answer="4", mark=None, logprob=None):
    id_ = f"r-{problem}-{kind}-{index}"
    verdict = Verdict(rationale_id=id_, status=Status(status), answer=None if status == "NO_ANSWER" else answer)
    meta = {} if mark is None else {"path": mark}
    return Rationale(
        id=id_, problem_id=problem, kind=kind, text="words", index=index, verdict=verdict, meta=meta, logprob=logprob
    )


@pytest.mark.parametrize(
    ("status", "mark"),
    [("CORRECT", 1.0), ("WRONG", 0.0), ("NO_ANSWER", 0.0), ("PROGRAM_FAILED", 0.0), ("UNVERIFIED", math.nan)],
)
def test_failures_of_the_author_are_not_right_and_ours_are_unscored(status, mark):
    """Only UNVERIFIED, our own failure, leaves the denominator."""
    marks = grade([path("test-0", status)], problems(1)).marks["test", "cot"]
    assert marks.right["test-0"] == pytest.approx(mark, nan_ok=True)
    assert marks.statuses == Counter([status])


def test_each_kind_of_text_is_a_path_of_its_own():
    """A greedy answer, chain of thought and program are graded apart; sampled texts only vote."""
    rows = [path("test-0", kind="answer"), path("test-0", "WRONG", kind="pot", mark="greedy", answer="9")]
    rows += [path("test-0", kind="cot", index=at, mark="sampled") for at in (1, 2, 3)]
    graded = grade(rows, problems(1))
    assert {key[1]: marks.right["test-0"] for key, marks in graded.marks.items()} == {
        "answer": 1.0,
        "pot": 0.0,
        "vote": 1.0,
    }


def test_the_majority_of_sampled_paths_decides_a_vote():
    """Two of three agree on the right answer; the greedy path is not asked."""
    rows = [path("test-0", "WRONG", answer="9", mark="greedy")]
    rows += [path("test-0", index=at, mark="sampled") for at in (1, 3)]
    rows += [path("test-0", "WRONG", index=2, answer="7", mark="sampled")]
    graded = grade(rows, problems(1))
    assert graded.marks["test", "vote"].right == {"test-0": 1.0}
    assert graded.marks["test", "cot"].right == {"test-0": 0.0}


def test_the_configured_rule_decides_a_tied_vote_and_ties_are_counted():
    """The first answer seen, or the likeliest."""
    rows = [
        path("test-0", "WRONG", index=1, answer="7", mark="sampled", logprob=-2.0),
        path("test-0", "CORRECT", index=2, mark="sampled", logprob=-0.5),
    ]
    first = grade(rows, problems(1), EvaluateConfig(tie="first")).marks["test", "vote"]
    likeliest = grade(rows, problems(1), EvaluateConfig(tie="logprob")).marks["test", "vote"]
    assert (first.right["test-0"], likeliest.right["test-0"]) == (0.0, 1.0)
    assert (first.ties, likeliest.ties) == (1, 1)


def test_a_vote_without_any_answer_is_not_right():
    """Texts without an answer cast no vote; nothing is left to be right."""
    rows = [path("test-0", "NO_ANSWER", index=at, mark="sampled") for at in (1, 2)]
    marks = grade(rows, problems(1)).marks["test", "vote"]
    assert marks.right == {"test-0": 0.0}
    assert marks.statuses == Counter(["NO_ANSWER"])


def test_a_single_sampled_path_is_no_vote():
    """A vote needs at least two paths."""
    graded = grade([path("test-0", mark="greedy"), path("test-0", index=1, mark="sampled")], problems(1))
    assert list(graded.marks) == [("test", "cot")]


def test_problems_without_a_prediction_are_counted_and_said(capsys):
    """One of forty is missing: unscored, never dropped."""
    rows = [path(f"test-{at}") for at in range(39)]
    marks = grade(rows, problems(40), system="my-arm").marks["test", "cot"]
    assert "my-arm, split test, path cot: 1 of 40 problems have no prediction" in capsys.readouterr().err
    assert marks.missing == 1
    assert math.isnan(marks.right["test-39"])
    assert len(marks.right) == 40


def test_too_many_missing_predictions_are_refused():
    """An unfinished inference is not scored as if it were whole."""
    rows = [path(f"test-{at}") for at in range(30)]
    with pytest.raises(DataError, match=r"10 of 40 problems have no prediction; at most 5% may be missing: finish"):
        grade(rows, problems(40))


def test_no_prediction_at_all_is_refused():
    """Predictions on other problems are the wrong file."""
    with pytest.raises(DataError, match="none of the 3 problems has a prediction"):
        grade([path("elsewhere-1")], problems(3))


def test_splits_that_the_problems_do_not_have_are_refused():
    """The message names the setting, and the splits that there are."""
    with pytest.raises(DataError, match=r"in the splits ood; splits found: train; set evaluate\.splits"):
        grade([path("train-0")], problems(2, "train"), EvaluateConfig(splits=("ood",)))


def test_without_splits_asked_for_a_file_of_any_split_is_graded():
    """A user's own file mostly names no split; the default still selects where it can."""
    both = [*problems(2, "train"), *problems(2)]
    assert {split for split, _ in grade([path("train-0"), path("train-1")], problems(2, "train")).marks} == {"train"}
    assert {split for split, _ in grade([path("test-0"), path("test-1")], both).marks} == {"test"}


def test_two_runs_in_one_are_refused():
    """Seeds pooled by accident would look like one run with fewer problems."""
    again = path("test-0", "WRONG")
    with pytest.raises(DataError, match="two predictions of kind cot and index 0"):
        grade([path("test-0"), Rationale(id="other", problem_id="test-0", kind="cot", text="", verdict=again.verdict)],
              problems(1))  # fmt: skip


def test_the_same_prediction_twice_counts_once():
    """A line repeated in a file is the same prediction."""
    assert grade([path("test-0"), path("test-0")], problems(1)).marks["test", "cot"].statuses == Counter(["CORRECT"])


def test_a_split_without_predictions_is_left_out():
    """A teacher may have been asked the test split only."""
    graded = grade([path("test-0")], [*problems(1), *problems(1, "ood")], SPLITS)
    assert list(graded.marks) == [("test", "cot")]


def test_families_hold_the_original_wherever_it_is():
    """Edits in the contrast split belong with their original in the test split."""
    edits = problems(2, "contrast", parent_id="test-0")
    graded = grade([path(p.id) for p in [*problems(2), *edits]], [*problems(2), *edits], SPLITS)
    assert graded.families("contrast", "cot") == {"test-0": ["test-0", "contrast-0", "contrast-1"]}
    assert graded.groups(["test-0", "test-1", "contrast-0"]) == ["test-0", "test-1", "test-0"]


def test_predictions_without_a_verdict_are_verified():
    """The same verification as the teacher's texts get."""
    rows = [
        Rationale(id="a", problem_id="n-0", kind="cot", text=" 2 + 2 = 4. So the answer is: 4"),
        Rationale(id="b", problem_id="n-1", kind="cot", text=" It is more. So the answer is: 5"),
    ]
    asked = [Problem(id=f"n-{at}", question="2 + 2?", answer="4", answer_type="number", split="test") for at in (0, 1)]
    assert grade(rows, asked).marks["test", "cot"].right == {"n-0": 1.0, "n-1": 0.0}


def both(problem, cot, pot, routes=(-0.2, -1.7)):
    """Return the greedy paths of both kinds with their answers; 4 is right."""
    rows = []
    for kind, answer, route in (("cot", cot, routes[0]), ("pot", pot, routes[1])):
        status = "PROGRAM_FAILED" if answer is None else "CORRECT" if answer == "4" else "WRONG"
        row = path(problem, status, kind=kind, answer=answer, mark="greedy")
        rows.append(replace(row, meta={**row.meta, "prefix_logprob": route}))
    return rows


def test_a_student_of_two_skills_is_also_graded_by_the_one_that_it_chooses():
    """Routed: the kind whose prefix is likelier. The oracle is right where either is."""
    rows = [*both("test-0", "4", "9"), *both("test-1", "9", "4"), *both("test-2", "9", "4", routes=(-3.0, -0.1))]
    graded = grade(rows, problems(3))
    right = {key[1]: list(marks.right.values()) for key, marks in graded.marks.items()}
    assert right["routed"] == [1.0, 0.0, 1.0]
    assert right["oracle"] == [1.0, 1.0, 1.0]
    assert graded.marks["test", "routed"].kinds == Counter(cot=2, pot=1)


def test_the_surer_text_is_taken_by_the_margin_that_the_student_learnt():
    """A chain of thought that leads by more than the margin; programs are likelier by nature."""
    rows = []
    for pid, cot, pot in (("test-0", -0.11, -0.10), ("test-1", -0.30, -0.10)):
        for row, logprob in zip(both(pid, "4", "9"), (cot, pot), strict=True):
            rows.append(replace(row, logprob=logprob, meta={**row.meta, "route_margin": -0.05}))
    marks = grade(rows, problems(2)).marks["test", "surer"]
    assert list(marks.right.values()) == [1.0, 0.0]
    assert marks.kinds == Counter(cot=1, pot=1)


def test_agreement_abstains_instead_of_guessing():
    """Where the kinds differ, or a program failed, nothing is answered: unscored, and counted."""
    rows = [*both("test-0", "4", "4"), *both("test-1", "9", "4"), *both("test-2", "9", "9"), *both("test-3", "4", None)]
    marks = grade(rows, problems(4)).marks["test", "agreed"]
    assert list(marks.right.values()) == pytest.approx([1.0, math.nan, 0.0, math.nan], nan_ok=True)
    assert marks.statuses == Counter(CORRECT=1, WRONG=1, ABSTAINED=2)


def test_a_student_that_never_chose_has_no_routed_path():
    """Paths without prefixes, or of one kind."""
    rows = [path("test-0", kind=kind, mark="greedy") for kind in ("cot", "pot")]
    assert {key[1] for key in grade(rows, problems(1)).marks} == {"cot", "pot", "oracle", "agreed"}


def test_the_vote_is_also_taken_over_fewer_paths():
    """As many of each kind; a number that the kinds do not divide, or that was not sampled, is left out."""
    rows = []
    for at in (1, 2, 3):
        rows.append(path("test-0", "WRONG", index=at, answer="9", mark="sampled"))
        rows.append(path("test-0", "CORRECT", kind="pot", index=at, mark="sampled", logprob=-0.1))
    config = EvaluateConfig(curve=(2, 3, 4, 8), tie="logprob")
    graded = grade(rows, problems(1), config)
    assert {key[1] for key in graded.marks} == {"vote", "vote@2", "vote@4"}
    assert graded.marks["test", "vote@2"].right == {"test-0": 1.0}
    assert graded.marks["test", "vote"].kinds == Counter(pot=1)
    heavier = EvaluateConfig(vote_weights={"cot": 1.5})
    assert grade(rows, problems(1), heavier).marks["test", "vote"].right == {"test-0": 0.0}


def test_a_vote_may_weigh_paths_by_their_likelihood():
    """`evaluate.vote_by`: two doubtful wrong paths lose to a sure right one."""
    doubtful = [path("test-0", "WRONG", index=at, answer="9", mark="sampled", logprob=-2.0) for at in (1, 2)]
    rows = [*doubtful, path("test-0", "CORRECT", index=3, mark="sampled", logprob=-0.1)]
    found = {
        by: grade(rows, problems(1), EvaluateConfig(vote_by=by)).marks["test", "vote"] for by in ("count", "likelihood")
    }
    assert [marks.right["test-0"] for marks in found.values()] == [0.0, 1.0]


def test_one_unmarked_text_of_each_kind_is_no_vote():
    """As of a teacher that was asked once for each."""
    rows = [path("test-0", kind="cot"), path("test-0", kind="pot")]
    assert ("test", "vote") not in grade(rows, problems(1)).marks
