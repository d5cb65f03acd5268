"""Students trained by processes on several nodes, and what happens when one of them dies.

Slow: `python -m pytest tests/scale -m slow`.
"""

import json
import os
import shutil
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from potstill import engines
from potstill.pipeline import run_recipe
from potstill.recipe.reading import load_recipe
from potstill.recipe.scale import RayConfig
from potstill.scale.cluster import Cluster

pytestmark = pytest.mark.slow
SMOKE = Path(__file__).resolve().parents[2] / "recipes" / "smoke.yaml"
SETTINGS = ["arms={scotd: {}}", "evaluate.compare=[]", "train.max_steps=12", "train.save_steps=2", "train.eval_steps=2",
            "train.lr_scheduler_type=constant"]  # fmt: skip


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """A run whose examples are there, and its student trained by one process."""
    folder = tmp_path_factory.mktemp("mixed")
    recipe = load_recipe(SMOKE, [*SETTINGS, f"ledger={folder}/ledger.sqlite"])
    run_recipe(recipe, folder / "run", until="mix")
    shutil.copytree(folder / "run", folder / "one")
    run_recipe(recipe, folder / "one", until="train")
    return recipe, folder


def record(folder):
    return json.loads((folder / "students" / "scotd" / "training.json").read_text(encoding="utf-8"))


def curve(folder):
    return [point["loss"] for point in record(folder)["curve"]]


@pytest.fixture
def on_two(nodes):
    """An engine whose students are trained by two processes."""
    with Cluster(RayConfig(address=nodes.address, num_cpus=0.5, processes=2, start_s=120)) as opened:
        yield opened


def test_a_student_trained_on_two_nodes_is_that_of_one_process(mixed, on_two, tmp_path):
    """The same loss at every step, from the same recipe."""
    recipe, folder = mixed
    shutil.copytree(folder / "run", tmp_path / "run")
    with engines.using(on_two):
        run_recipe(recipe.model_copy(update={"engine": "ray"}), tmp_path / "run", until="train")
    assert curve(tmp_path / "run") == pytest.approx(curve(folder / "one"), rel=1e-3)
    counts = json.loads((tmp_path / "run" / "manifest.json").read_text(encoding="utf-8"))["stages"]["students/scotd"]
    assert counts["counts"]["processes"] == 2


def test_a_training_whose_process_dies_goes_on_from_its_checkpoint(mixed, on_two, tmp_path, capsys):
    """The loss of the whole course is that of an undisturbed one."""
    recipe, folder = mixed
    shutil.copytree(folder / "run", tmp_path / "run")
    checkpoints = tmp_path / "run" / "students" / ".scotd.partial" / "checkpoints"

    titles = {}

    def kill():
        nonlocal titles
        while not list(checkpoints.glob("checkpoint-*/trainer_state.json")):
            time.sleep(0.02)
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # it has ended meanwhile
                title = (process / "cmdline").read_bytes().rstrip(b"\0 ")
                titles |= {title: int(process.name)} if title.startswith(b"ray::") else {}
        os.kill(next(pid for title, pid in titles.items() if b"Rank" in title), signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    with engines.using(on_two):
        run_recipe(recipe.model_copy(update={"engine": "ray"}), tmp_path / "run", until="train")
    killer.join()
    assert any(b"Rank" in title for title in titles), titles
    assert "goes on from the last checkpoint" in capsys.readouterr().err
    assert curve(tmp_path / "run") == pytest.approx(curve(folder / "one"), rel=1e-3)
