"""Worked examples before a question: whose they are in training, and what stands before an unseen task's."""

import json

import pytest

from potstill.errors import ConfigError, DataError
from potstill.recipe.explaining import validated
from potstill.recipe.students import InferConfig, MixConfig
from potstill.records import Problem, Rationale, Status, Verdict
from potstill.students.inference import plan_asks
from potstill.students.mixing import mix

PROBLEMS = [
    Problem(id=f"{task}{n}", question=f"Which {task} is {n}?", answer=f"{n}", answer_type="number", meta={"task": task})
    for task in ("cat", "dog")
    for n in range(4)
]


def rationale(problem, index):
    verdict = Verdict(rationale_id=f"{problem.id}.{index}", status=Status.CORRECT, answer=problem.answer)
    text = f"Way {index} of {problem.id}. So the answer is: {problem.answer}"
    return Rationale(id=f"{problem.id}.{index}", problem_id=problem.id, kind="cot", text=text, index=index,
                     verdict=verdict, problem=problem)  # fmt: skip


ROWS = [rationale(problem, index) for problem in PROBLEMS for index in range(3)]


def test_each_question_stands_behind_others_of_its_own_task():
    """Two of them, worked in full, never itself; all targets of a problem share them, so it is still read once."""
    examples = mix(ROWS, MixConfig(shots=2), problems=PROBLEMS)
    assert len(examples) == len(ROWS) == len({example.id for example in examples})
    for problem in PROBLEMS:
        (prompt,) = {example.prompt for example in examples if example.group == problem.id}
        *shown, own = prompt.split("\n\n")
        assert own == f"Q: {problem.question}\nA:"
        asked = [text.split("?")[0] for text in shown]
        assert len(set(asked)) == 2 and f"Q: {problem.question[:-1]}" not in asked
        assert all(text.startswith(f"Q: Which {problem.meta['task']}") for text in shown)
        assert all("\nA: Way " in text and " So the answer is: " in text for text in shown)


def test_the_same_seed_shows_the_same_and_another_does_not():
    """Whatever the order of the rationales."""

    def prompts(rows, seed):
        return sorted(example.prompt for example in mix(rows, MixConfig(shots=1), problems=PROBLEMS, seed=seed))

    assert prompts(ROWS, 0) == prompts(ROWS[::-1], 0)
    assert prompts(ROWS, 0) != prompts(ROWS, 1)


def test_answers_alone_are_shown_without_reasoning():
    """As MetaICL trains."""
    examples = mix(ROWS, MixConfig(shots=1, kinds=("answer",)), problems=PROBLEMS)
    assert len(examples) == len(PROBLEMS)
    assert not any("Way" in example.prompt for example in examples)
    assert all(example.prompt.count(" So the answer is: ") == 1 for example in examples)


def test_too_few_problems_to_show_are_an_error():
    """It says which number to lower."""
    with pytest.raises(DataError, match=r"mix.shots: 4 asked for, and a task has 3 other problems"):
        mix(ROWS, MixConfig(shots=4), problems=PROBLEMS)


@pytest.mark.parametrize("other", [{"format": "chat"}, {"prefixes": {"cot": "x"}}, {"prompts": {"cot": "{question}"}}])
def test_shots_have_one_prompt_in_plain_text(other):
    """Other forms are refused."""
    with pytest.raises(ConfigError, match="worked examples stand in format: plain with one prompt"):
        validated(MixConfig, {"shots": 1, **other}, "mix")


@pytest.fixture
def shown(tmp_path):
    """Two worked examples of an unseen task."""
    rows = [{"question": f"Which bird is {n}?", "rationale": f"Count to {n}.", "answer": str(n)} for n in (7, 8)]
    path = tmp_path / "birds.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_an_unseen_task_is_asked_behind_its_worked_examples(shown):
    """In the form that the student learnt; other splits are asked as ever."""
    problems = [
        Problem(id="b", question="Which bird is 9?", split="unseen"),
        Problem(id="c", question="Which cat?", split="test"),
    ]
    config = InferConfig(demonstrations={"unseen": shown}, paths={"cot": 1, "answer": 1})
    asks = {(ask.problem.id, ask.kind): ask.prompt for ask in plan_asks(problems, config, MixConfig())}
    assert asks["b", "cot"] == (
        "Q: Which bird is 7?\nA: Count to 7. So the answer is: 7\n\n"
        "Q: Which bird is 8?\nA: Count to 8. So the answer is: 8\n\nQ: Which bird is 9?\nA:"
    )
    assert asks["b", "answer"].startswith("Q: Which bird is 7?\nA: So the answer is: 7\n\n")
    assert asks["c", "cot"] == "Q: Which cat?\nA:"
    one = InferConfig(demonstrations={"unseen": shown}, n_demonstrations=1)
    assert next(iter(plan_asks(problems, one, MixConfig()))).prompt.count("Q:") == 2


def test_a_file_that_holds_too_few_is_named(shown, tmp_path):
    """And so is one that is missing."""
    with pytest.raises(DataError, match=r"infer.demonstrations.unseen: .*holds 2, and infer.n_demonstrations is 3"):
        list(plan_asks([], InferConfig(demonstrations={"unseen": shown}, n_demonstrations=3), MixConfig()))
    with pytest.raises(DataError, match=r"nowhere\.jsonl"):
        list(plan_asks([], InferConfig(demonstrations={"unseen": str(tmp_path / "nowhere.jsonl")}), MixConfig()))
