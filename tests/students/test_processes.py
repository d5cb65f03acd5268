"""Training by several processes is the training by one: gloo on this machine's cores."""

import json
import multiprocessing
import os
import shutil
import socket
import subprocess
import sys

import pytest
from safetensors.torch import load_file
from tiny_students import examples_of, save_student, sums

from potstill.files import write_records
from potstill.recipe.students import StudentConfig, TrainConfig
from potstill.students.training import train

SETTINGS = {"max_steps": 6, "learning_rate": 0.005, "problems_per_step": 4, "rationales_per_problem": 2,
            "logging_steps": 1, "save_steps": 2, "lr_scheduler_type": "constant"}  # fmt: skip


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return save_student(tmp_path_factory.mktemp("students") / "base")


def learn(base, out, environment=None, dies_after=None):
    """Train in this process, as one of several where the environment says so."""
    os.environ.update(environment or {})
    if dies_after is not None:
        from potstill.students.trainer import ProgressLines

        ProgressLines.on_save = lambda self, args, state, *rest, **named: (
            os._exit(9) if state.global_step >= dies_after else None
        )
    train(examples_of(sums(12)), TrainConfig(**SETTINGS), student=StudentConfig(model=str(base)), out=out)


def learn_together(base, out, count, **options):
    """Train in `count` processes that talk to each other; returns their exit codes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(count)}
    fork = multiprocessing.get_context("fork")
    processes = []
    for rank in range(count):
        own = {**common, "RANK": str(rank), "LOCAL_RANK": str(rank)} if count > 1 else {}
        processes.append(fork.Process(target=learn, args=(base, out, own), kwargs=options))
        processes[-1].start()
    for process in processes:
        process.join()
    return [process.exitcode for process in processes]


def record(folder):
    return json.loads((folder / "training.json").read_text(encoding="utf-8"))


def curve(folder):
    return [point["loss"] for point in record(folder)["curve"]]


def difference(one, other):
    first, second = (load_file(folder / "model.safetensors") for folder in (one, other))
    return max(float((first[name] - second[name]).abs().max()) for name in first)


def test_two_processes_learn_what_one_does(base, tmp_path):
    """The same loss at every step, and the same weights but for the order of sums."""
    assert learn_together(base, tmp_path / "one", 1) == [0]
    assert learn_together(base, tmp_path / "two", 2) == [0, 0]
    assert (record(tmp_path / "one")["steps"], record(tmp_path / "two")["steps"]) == (6, 6)
    assert curve(tmp_path / "two") == pytest.approx(curve(tmp_path / "one"), rel=1e-4)
    assert difference(tmp_path / "one", tmp_path / "two") < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 2)])
def test_a_training_goes_on_with_another_number_of_processes(base, tmp_path, before, after):
    """Killed after its second checkpoint, it ends as an undisturbed one does."""
    learn_together(base, tmp_path / "whole", 1)
    assert learn_together(base, tmp_path / "cut", before, dies_after=4) == [9] * before
    assert not (tmp_path / "cut" / "training.json").exists()
    assert learn_together(base, tmp_path / "cut", after) == [0] * after
    assert curve(tmp_path / "cut") == pytest.approx(curve(tmp_path / "whole"), rel=1e-4)
    assert difference(tmp_path / "whole", tmp_path / "cut") < 1e-4


@pytest.mark.slow
def test_torchrun_starts_the_command(base, tmp_path):
    """`torchrun -m potstill train` writes one student."""
    write_records(tmp_path / "examples.jsonl", examples_of(sums(12)))
    verb = ["-m", "potstill", "train", "--examples", str(tmp_path / "examples.jsonl"), "--student", str(base), "--out",
            str(tmp_path / "two"), "--quiet"]  # fmt: skip
    settings = [word for name, value in SETTINGS.items() for word in ("--set", f"train.{name}={value}")]
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run([sys.executable, *launch, *verb, *settings], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    learn_together(base, tmp_path / "one", 1)
    assert curve(tmp_path / "two") == pytest.approx(curve(tmp_path / "one"), rel=1e-4)
    shutil.rmtree(tmp_path / "two")
