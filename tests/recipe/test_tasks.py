"""Tasks are data: each one that comes with the package is sound, and a file of one's own is checked as strictly."""

import json
from pathlib import Path

import pytest

from potstill.errors import ConfigError, DataError
from potstill.evaluation.datasets import load_splits
from potstill.files import read_records
from potstill.pipeline import run_recipe
from potstill.rationales.asking import load_asking
from potstill.rationales.prompts import load_demonstrations
from potstill.rationales.verification import check
from potstill.recipe.reading import parse_recipe
from potstill.recipe.tasks import load_task, task_names
from potstill.recipe.teachers import TeacherConfig
from potstill.records import Problem, Rationale, Verdict

SHIPPED = task_names()
MINE = """
about: Is a sentence of a lease about rent?
answer_type: label
labels: [rent, other]
question: "Clause: {clause}"
demonstrations: shown.jsonl
"""
SHOWN = {"question": "Clause: The tenant pays monthly.", "rationale": "Paying monthly is rent.", "answer": "rent"}


def sample_of(name):
    """Return the recipe of a task over its own sample, and the rows of that."""
    task = load_task(name)
    text = f"task: {name}\nproblems: {{splits: {{train: {{source: {task.sample}}}}}}}\nteachers: {{replay: r.jsonl}}"
    return parse_recipe(text), [json.loads(line) for line in Path(task.sample).read_text("utf-8").splitlines()]


def test_the_tasks_of_the_package_cover_the_kinds_of_knowledge():
    """Mathematics, commonsense, several hops, dates, causes, inference, sentiment."""
    assert SHIPPED == ["causal", "commonsense", "multi_hop", "nli", "school_maths", "sentiment", "temporal"]


@pytest.mark.parametrize("name", SHIPPED)
def test_every_gold_answer_of_a_sample_is_accepted_and_every_other_is_not(name):
    """The gold self-check: an answer behind its rationale is CORRECT where it is the gold answer, else WRONG."""
    recipe, rows = sample_of(name)
    problems = load_splits(recipe.problems)["train"]
    assert len(problems) == len(rows) >= 4
    for problem, row in zip(problems, rows, strict=True):
        for other in problems:
            text = f"{row['rationale']} So the answer is: {row['answer']}"
            verdict = check(Rationale(id="r", problem_id=other.id, kind="cot", text=text), other, recipe.verify)
            same = problem.answer == other.answer
            assert verdict.status == ("CORRECT" if same else "WRONG"), (problem.question, other.answer, verdict)


@pytest.mark.parametrize("name", SHIPPED)
def test_every_demonstration_ends_in_an_answer_of_the_tasks_type(name):
    """Read by the same rules; and none of them is a problem of the sample."""
    recipe, _ = sample_of(name)
    asked = {problem.question for problem in load_splits(recipe.problems)["train"]}
    shown = load_demonstrations(recipe.sample.demonstrations)
    assert len(shown) >= 4
    for demonstration in shown:
        problem = Problem(id="d", question=demonstration.question, answer=demonstration.answer.strip("()"),
                          answer_type=recipe.problems.answer_type, options=demonstration.options,
                          labels=recipe.problems.labels)  # fmt: skip
        text = f"{demonstration.rationale} So the answer is: {demonstration.answer}"
        assert check(Rationale(id="r", problem_id="d", kind="cot", text=text), problem, recipe.verify).correct
        assert demonstration.question not in asked


@pytest.mark.parametrize("name", SHIPPED)
def test_the_teacher_is_shown_the_question_in_the_tasks_form(name):
    """Demonstrations first, then the problem with all of its columns and choices."""
    recipe, _ = sample_of(name)
    problem = load_splits(recipe.problems)["train"][0]
    asking = load_asking(TeacherConfig(base_url="http://127.0.0.1:9/v1", model="m"), recipe.sample, seed=0)
    prompt = json.dumps([dict(m) for m in asking.request(problem, "cot").messages], ensure_ascii=False)
    assert prompt.count("So the answer is: ") >= 4
    for part in (*problem.fields.values(), *problem.options):
        assert part in prompt


@pytest.mark.parametrize("name", SHIPPED)
def test_a_task_runs_from_its_sample_to_a_scored_student(name, tmp_path, monkeypatch):
    """Every stage over the sample's own rationales: all verified, all learnt, every problem scored."""
    monkeypatch.chdir(tmp_path)
    recipe, rows = sample_of(name)
    problems = load_splits(recipe.problems)["train"]
    texts = [f" {row['rationale']} So the answer is: {row['answer']}" for row in rows]
    (tmp_path / "r.jsonl").write_text("".join(
        json.dumps({"question_id": problem.id, "kind": "cot", "text": text, "teacher": "us", "sample": 0}) + "\n"
        for problem, text in zip(problems, texts, strict=True)
    ))  # fmt: skip
    sample = load_task(name).sample
    (tmp_path / "r.yaml").write_text(
        f"task: {name}\nproblems: {{splits: {{train: {{source: {sample}}}}}}}\nteachers: {{replay: r.jsonl}}\n"
        "sample: {n: 1}\nstudent: {model: scratch, config: {model_type: llama, hidden_size: 16, intermediate_size: 16, "
        "num_hidden_layers: 1, num_attention_heads: 2, vocab_size: 300}}\n"
        "train: {max_steps: 1, max_length: 1024}\ninfer: {max_new_tokens: 4}\n"
        "evaluate: {splits: [train], bootstrap: 100, teacher: false}\n"
    )
    outcome = run_recipe("r.yaml", tmp_path / "run")
    verdicts = list(read_records(tmp_path / "run" / "verdicts.jsonl", Verdict))
    assert [v.status for v in verdicts] == ["CORRECT"] * len(rows)
    (score,) = [s for s in outcome.scores if s.path == "cot" and s.metric == "accuracy" and s.seed is None]
    assert (score.task, score.n) == (name, len(rows))


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A task of one's own, used from another folder."""
    folder = tmp_path / "tasks"
    folder.mkdir()
    (folder / "lease.yaml").write_text(MINE)
    (folder / "shown.jsonl").write_text(json.dumps(SHOWN) + "\n")
    (tmp_path / "clauses.jsonl").write_text(json.dumps({"clause": "No dogs.", "answer": "other"}) + "\n")
    monkeypatch.chdir(tmp_path)
    return folder / "lease.yaml"


RECIPE = "task: tasks/lease.yaml\nproblems: {source: clauses.jsonl}\nteachers: {replay: r.jsonl}\n"


def test_a_task_of_ones_own_brings_its_files_along(mine):
    """They are found beside it, wherever the recipe lies; scores carry its name."""
    recipe = parse_recipe(RECIPE)
    (problem,) = load_splits(recipe.problems)["train"]
    assert (recipe.task, problem.question, problem.fields) == ("lease", "Clause: No dogs.", {"clause": "No dogs."})
    assert load_demonstrations(recipe.sample.demonstrations)[0].answer == "rent"


def test_what_the_recipe_says_lies_over_the_task(mine):
    """Key by key."""
    recipe = parse_recipe(RECIPE + "sample: {demonstrations: nli}\nmix: {prompt: 'Clause? {question}'}\n")
    assert (recipe.sample.demonstrations, recipe.sample.template) == ("nli", "scotd")
    assert recipe.problems.labels == ("rent", "other")
    assert recipe.mix.prompt == "Clause? {question}"


def test_a_question_that_was_put_together_is_not_put_together_again(mine, tmp_path):
    """A problem of ours is read as it stands."""
    (problem,) = load_splits(parse_recipe(RECIPE).problems)["train"]
    row = {"id": problem.id, "question": problem.question, "fields": dict(problem.fields), "answer": "other"}
    (tmp_path / "clauses.jsonl").write_text(json.dumps(row) + "\n")
    assert load_splits(parse_recipe(RECIPE).problems)["train"][0].question == problem.question


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("answer_type: label\n", ""), "task tasks/lease.yaml: answer_type: this key is required"),
        (("labels: [rent, other]\n", ""), "labels: got .* with answer_type: label; label needs them"),
        (("about", "abuot"), "abuot: unknown key; did you mean 'about'"),
        (("question:", "question: ["), "cannot be read as YAML"),
    ],
)
def test_a_task_file_with_a_mistake_is_refused(mine, change, message):
    """One message that names the file and the key."""
    mine.write_text(MINE.replace(*change, 1))
    with pytest.raises(ConfigError, match=message):
        parse_recipe(RECIPE)


def test_a_misspelt_task_is_not_taken_for_a_name(mine):
    """While a name of one's own, far from any task's, is a name in the scores."""
    with pytest.raises(ConfigError, match="did you mean 'multi_hop'"):
        parse_recipe(RECIPE.replace("tasks/lease.yaml", "multihop"))
    with pytest.raises(ConfigError, match=r"task nowhere\.yaml: not found; .* causal, commonsense"):
        parse_recipe(RECIPE.replace("tasks/lease.yaml", "nowhere.yaml"))
    assert parse_recipe(RECIPE.replace("tasks/lease.yaml", "leases of 2026")).task == "leases of 2026"


def test_a_demonstration_without_an_answer_is_said_before_anything_is_asked(mine):
    """With its file and line."""
    (mine.parent / "shown.jsonl").write_text(json.dumps({"question": "Clause: x"}) + "\n")
    recipe = parse_recipe(RECIPE)
    with pytest.raises(DataError, match=r"shown.jsonl.*1.*answer: this key is required"):
        load_asking(recipe.teachers[0], recipe.sample, seed=0)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            {"claus": "No dogs.", "answer": "other"},
            "problems.question names column 'clause'; found columns answer",
        ),
        ({"clause": " ", "answer": "other"}, "column 'clause', a part of the question, is ' '; expected a text"),
    ],
)
def test_a_row_that_lacks_a_part_of_its_question_is_named(mine, tmp_path, row, message):
    """With the columns that were found."""
    (tmp_path / "clauses.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(DataError, match=message):
        load_splits(parse_recipe(RECIPE).problems)
