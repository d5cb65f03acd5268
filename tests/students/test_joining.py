"""Two views, one answer: agreement, the surer answer, and how sure that is."""

import pytest
from tiny_students import make_tokenizer, save_student

from potstill.evaluation.grading import grade
from potstill.recipe.evaluation import EvaluateConfig
from potstill.recipe.students import InferConfig, MixConfig, StudentConfig
from potstill.records import Problem, Rationale, Status, Verdict
from potstill.students.decoding import Path, Prompt, Settings, generate
from potstill.students.inference import infer, plan_asks
from potstill.students.joining import answer_logprob, joined
from potstill.students.loading import open_student

MIX = MixConfig(prompt="Q: {question} A:", prefixes={"positive": " plus", "negative": " of"})
ASKED = [
    Problem(id=f"p{i}", question=f"{i} plus 1", answer=str(i + 1), answer_type="number", split="test") for i in range(3)
]


def path(view, answer, logprob=None, sure=None, problem="p0"):
    status = Status.NO_ANSWER if answer is None else Status.CORRECT if answer == "1" else Status.WRONG
    name = f"{problem}.{view}"
    meta = {"path": "greedy"} | ({} if sure is None else {"answer_logprob": sure})
    return Rationale(id=name, problem_id=problem, kind="cot", view=view, text="t", logprob=logprob, meta=meta,
                     verdict=Verdict(rationale_id=name, status=status, answer=answer))  # fmt: skip


@pytest.mark.parametrize(
    ("positive", "negative", "taken"),
    [
        (("1", -9.0, -9.0), ("1", -0.1, -0.1), "positive"),
        (("1", -0.1, -2.0), ("2", -9.0, -1.0), "negative"),
        (("1", -0.1), ("2", -9.0), "positive"),
        (("1",), ("2",), "positive"),
        ((None, -0.1, -0.1), ("2", -9.0), "negative"),
        ((None,), (None,), "positive"),
    ],
)
def test_the_common_answer_is_taken_or_the_surer_one(positive, negative, taken):
    """By the answer's own tokens, else by the whole text, else the first; what states no answer has no say."""
    assert joined([path("positive", *positive), path("negative", *negative)]).view == taken
    assert joined([]) is None


def test_a_student_of_two_views_has_three_paths():
    """The positive view is its chain of thought, the negative one a path of its own, both together a third."""
    rows = [path("positive", "1"), path("negative", "2"), path("positive", "2", sure=-2.0, problem="p1"),
            path("negative", "1", sure=-1.0, problem="p1")]  # fmt: skip
    graded = grade(rows, [ASKED[0], ASKED[1]], EvaluateConfig())
    right = {name: list(marks.right.values()) for (_, name), marks in graded.marks.items()}
    assert right == {"cot": [1.0, 0.0], "negative": [0.0, 1.0], "views": [1.0, 1.0]}
    assert graded.marks["test", "views"].kinds == {"positive": 1, "negative": 1}


def test_both_views_are_asked_where_it_is_said_so_and_the_positive_one_otherwise():
    """Each begins with its own prefix over one prompt; a student without view tokens is asked as ever."""
    both = list(plan_asks(ASKED[:1], InferConfig(views=("positive", "negative")), MIX))
    assert [(ask.view, ask.prefix, ask.is_rival) for ask in both] == [
        ("positive", " plus", True),
        ("negative", " of", True),
    ]
    assert len({ask.prompt for ask in both}) == 1
    assert [ask.view for ask in plan_asks(ASKED[:1], InferConfig(), MIX)] == ["positive"]
    assert [ask.view for ask in plan_asks(ASKED[:1], InferConfig(), MixConfig())] == [None]
    done = {("p0", "cot/positive", 0)}
    assert [ask.view for ask in plan_asks(ASKED[:1], InferConfig(views=("positive", "negative")), MIX, done)] == [
        "negative"
    ]


def test_the_paths_of_two_views_are_two_rationales(tmp_path):
    """With ids and texts of their own."""
    student = save_student(tmp_path / "student")
    config = InferConfig(views=("positive", "negative"), max_new_tokens=8)
    rows = list(infer(ASKED, str(student), config, mix=MIX))
    assert {(row.problem_id, row.view) for row in rows} == {(p.id, v) for p in ASKED for v in ("positive", "negative")}
    assert len({row.id for row in rows}) == 6
    assert {row.view for row in infer(ASKED, str(student), InferConfig(max_new_tokens=8), mix=MIX)} == {"positive"}


def test_the_answers_tokens_are_those_after_the_marker():
    """Their mean; a text without a marker has none."""
    tokenizer = make_tokenizer()
    ids = tuple(tokenizer("3 plus 4 So the answer is: 7")["input_ids"])
    assert answer_logprob(Path(ids, "stop", -1.0, 9, (*range(len(ids)), 99.0)), tokenizer) == len(ids) - 1
    assert answer_logprob(Path(ids[:3], "stop", -1.0, 4, (1.0, 2.0, 3.0)), tokenizer) is None
    assert answer_logprob(Path(ids, "stop", -1.0, 9), tokenizer) is None


def test_kept_log_probabilities_are_those_of_the_mean(tmp_path):
    """One for each token that was written, the stop token included, also where others of the batch ended before."""
    loaded = open_student(StudentConfig(model=str(save_student(tmp_path / "student"))))
    prompts = [Prompt(loaded.tokenizer(text)["input_ids"], (None, 3)) for text in ("Q: 1 plus 2 A:", "Q: 3 A:", "A:")]
    settings = Settings(stop_ids=loaded.stop_ids, max_new_tokens=12, keeps_logprobs=True)
    paths = [one for _, written in generate(loaded.model, prompts, settings) for _, one in written]
    assert len(paths) == 6
    for one in paths:
        assert len(one.logprobs) == one.n_tokens
        assert sum(one.logprobs) / one.n_tokens == pytest.approx(one.logprob, abs=1e-5)
