"""Mistakes that a later stage would meet are said before anything is bought."""

import json
import re
import shutil

import pytest
import torch

from potstill.arms import arms_of
from potstill.cli import main
from potstill.errors import ConfigError, StudentError
from potstill.miniature.embedded import MINIATURE
from potstill.pipeline import fingerprints
from potstill.preflight import require_endpoint, require_sound_arms, require_splits, require_student
from potstill.recipe.reading import parse_recipe
from potstill.recipe.students import StudentConfig
from potstill.students.loading import MINIATURE as BASE

PROBLEMS = "problems: {splits: {train: {source: q.jsonl}, test: {source: q2.jsonl}}}\n"
RECIPE = PROBLEMS + "sample: {n: 2, template: zero_shot}\nledger: l.db\nteachers: {base_url: 'URL', model: m}\n"


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, start in (("q", 0), ("q2", 50)):
        rows = [{"question": f"What is {i} + 1?", "answer": str(i + 1)} for i in range(start, start + 3)]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("train: {learning_rat: 0.1}", "train.learning_rat: .* did you mean learning_rate"),
        ("train: {learning_rate: high}", "train.learning_rate: got 'high'; expected a number"),
        ("mix: {prompt: 'Q: {qestion}'}", r"mix.prompt: .* it must contain {question}"),
        ("arms: {a: {train: {learning_rat: 1}}}", "train.learning_rat"),
        ("mix: {kinds: [answer]}", "infer.paths asks for cot, mix.kinds teaches answer; ask for what it learns"),
        ("budget: {money: 2}", "budget.money: set, but teacher.price is not"),
        ("sample: {n: 2, template: nope}", "template nope: not found"),
        ("sample: {n: 2, demonstrations: nope.jsonl}", "nope.jsonl: no such file"),
        ("evaluate: {splits: [test, tset]}", "evaluate.splits: 'tset' holds no problem; splits found: test, train"),
        ("sample: {n: 2, splits: [trian]}", "sample.splits: 'trian' holds no problem"),
        ("student: {model: ./nothing}", "student ./nothing: no such folder"),
        ("mix: {format: chat}", "mix.format is 'chat' but it has no chat template"),
        ("teachers: {base_url: 'URL'}", "teachers.model: this key is required"),
        ("teachers: {base_url: 'URL', model: m, api_key_env: NOT_SET}", "variable NOT_SET is not set"),
    ],
)
def test_a_mistake_of_a_later_stage_costs_nothing(here, teacher_server, change, message, capsys):
    """One message, exit 1, and not one request."""
    server = teacher_server()
    table = change.partition(":")[0]
    kept = "".join(line for line in RECIPE.splitlines(keepends=True) if not line.startswith(f"{table}:"))
    (here / "r.yaml").write_text((kept + change + "\n").replace("URL", server.base_url))
    assert main(["run", "r.yaml", "--run", "r", "--quiet"]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error
    assert re.search(message, error), error
    assert server.stats()["requests"] == 0
    assert not (here / "r" / "rationales.jsonl").exists()


@pytest.mark.parametrize(
    ("lacking", "message"),
    [("model.safetensors", "has no weights"), ("tokenizer*", "has no tokenizer"), ("*", "no config.json")],
)
def test_a_folder_that_is_no_student_is_said_with_what_it_lacks(tmp_path, lacking, message):
    """Without loading anything."""
    folder = tmp_path / "student"
    shutil.copytree(BASE, folder)
    for path in folder.glob(lacking):
        path.unlink()
    with pytest.raises(StudentError, match=message):
        require_student(StudentConfig(model=str(folder)))


def test_a_model_that_writes_no_text_is_no_student(tmp_path):
    """By its configuration alone."""
    folder = tmp_path / "student"
    shutil.copytree(BASE, folder)
    (folder / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(StudentError, match="type 'bert' writes no text; take a causal model"):
        require_student(StudentConfig(model=str(folder)))
    with pytest.raises(StudentError, match="student scratch: a model of type 'bert' writes no text"):
        require_student(StudentConfig(model="scratch", config={"model_type": "bert"}))
    with pytest.raises(ConfigError, match="'scratch' needs model_type"):
        require_student(StudentConfig(model="scratch"))


def test_what_is_right_passes():
    """The embedded student and teacher, a name on the hub, splits that are there."""
    require_student(StudentConfig(model="miniature"))
    require_student(StudentConfig(model="Qwen/Qwen2.5-0.5B"), is_chat=True)
    require_splits({"evaluate.splits": ["test"]}, ["train", "test"])
    require_endpoint(parse_recipe(f"problems: {{source: a}}\nteachers: {{base_url: {MINIATURE}}}"))


def test_a_plan_does_not_ask_for_the_machine_that_will_train(here):
    """A recipe for a GPU can be counted on a laptop; running it there is refused before anything is spent."""
    recipe = parse_recipe(RECIPE.replace("URL", "http://127.0.0.1:9/v1") + "train: {bf16: true, max_steps: 2}\n")
    arms = arms_of(recipe, fingerprints(recipe))
    require_sound_arms(arms, is_plan=True)
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="bf16"):
            require_sound_arms(arms)


def test_a_ledger_on_a_network_file_system_is_refused_for_a_cluster(tmp_path):
    """Its folders are shared; SQLite is not safe there."""
    from potstill.preflight import require_local_disk

    mounts = f"/dev/sda / ext4 rw 0 0\nserver:/x {tmp_path} nfs4 rw 0 0\n"
    with pytest.raises(ConfigError, match=r"network file system \(nfs4\).*--ledger FILE"):
        require_local_disk(str(tmp_path / "ledger.sqlite"), mounts)
    require_local_disk(str(tmp_path / "ledger.sqlite"), "/dev/sda / ext4 rw 0 0\n")
