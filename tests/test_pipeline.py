"""The whole pipeline, as a user runs it: every stage real, on the miniature."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from potstill.cli import main
from potstill.errors import ConfigError
from potstill.files import read_records
from potstill.miniature.world import draw_problems
from potstill.pipeline import Pipeline
from potstill.recipe.reading import build_recipe
from potstill.records import Rationale, Verdict
from potstill.review import decisions
from potstill.run import Run
from potstill.teachers.ledger import summarise

RECIPES = Path(__file__).resolve().parents[1] / "recipes"
SMOKE = str(RECIPES / "smoke.yaml")


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    """One finished smoke run, shared by the tests that only read it."""
    folder = tmp_path_factory.mktemp("smoke")
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache")}
    command = [sys.executable, "-m", "potstill", "run", SMOKE, "--run", str(folder / "run"), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return folder / "run", json.loads(done.stdout), environment


def test_a_run_leaves_every_file_of_the_interface(smoke):
    """From the resolved recipe to the report."""
    folder, _, _ = smoke
    names = ["manifest.json", "recipe.yaml", "problems.jsonl", "rationales.jsonl", "verdicts.jsonl", "dropped.jsonl",
             "scores.json", "report.html", "students/scotd/config.json", "students/scotd/README.md",
             "students/scotd/model.safetensors", "students/scotd/tokenizer.json", "predictions/scotd.jsonl",
             "predictions/teacher.jsonl", "predictions/untrained.jsonl", "examples/scotd.jsonl"]  # fmt: skip
    assert [name for name in names if not (folder / name).exists()] == []


def test_every_number_adds_up(smoke):
    """24 problems times 4 samples of two kinds: each has a text and a verdict, and is kept or dropped with a reason."""
    folder, _, _ = smoke
    rationales = list(read_records(folder / "rationales.jsonl", Rationale))
    verdicts = list(read_records(folder / "verdicts.jsonl", Verdict))
    counts = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["stages"]
    assert Counter(Counter(r.problem_id for r in rationales).values()) == {8: 24}
    assert {v.rationale_id for v in verdicts} == {r.id for r in rationales}
    dropped = (folder / "dropped.jsonl").read_text(encoding="utf-8").splitlines()
    assert counts["filter"]["counts"]["kept"] + len(dropped) == 192
    assert all(json.loads(line)["reason"] for line in dropped)


def test_every_score_has_its_n_and_its_interval(smoke):
    """No number without what it takes to believe it; every system and path is there."""
    _, outcome, _ = smoke
    rows = outcome["scores"]
    assert all(row["low"] <= row["value"] <= row["high"] for row in rows if row["n"])
    assert {(row["value"], row["path"]) for row in rows if not row["n"]} <= {(None, "agreed")}  # kinds may never agree
    found = {(row["system"], row["path"], row["split"]) for row in rows if row["metric"] == "accuracy"}
    expected = {("untrained", "cot", "test"), ("answer_only", "answer", "test"), ("scotd", "cot", "test"),
                ("scotd", "vote", "test"), ("teacher", "cot", "test"), ("scotd", "cot", "contrast")}  # fmt: skip
    assert expected <= found
    assert {(c["a"], c["b"]) for c in outcome["comparisons"]} == {
        ("scotd", "answer_only"),
        ("mixed", "ensemble"),
    }
    compared = [c for c in outcome["comparisons"] if c["n"]]
    assert all(c["low"] <= c["difference"] <= c["high"] and 0 <= c["p"] <= 1 for c in compared)


def test_one_student_of_two_skills_is_scored_by_every_path(smoke):
    """Programs are executed; an ensemble is a vote and nothing else; the teacher answered once in each kind."""
    folder, outcome, _ = smoke
    rows = outcome["scores"]
    paths = {name: {row["path"] for row in rows if row["system"] == name} for name in ("mixed", "ensemble", "teacher")}
    assert paths["mixed"] - {"surer"} == {"cot", "pot", "routed", "vote", "oracle", "agreed"}
    margins = {row.meta.get("route_margin") for row in read_records(folder / "predictions" / "mixed.jsonl", Rationale)}
    assert ("surer" in paths["mixed"]) == bool(margins - {None})
    assert paths["ensemble"] == {"vote"}
    assert paths["teacher"] == {"cot", "pot", "oracle", "agreed"}
    assert not [v for v in read_records(folder / "verdicts.jsonl", Verdict) if v.status == "UNVERIFIED"]
    counts = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["stages"]["examples/mixed"]["counts"]
    assert counts["cot"] > 0 and counts["pot"] > 0


def test_a_second_run_does_nothing(smoke):
    """Nothing is asked, trained or written anew, except the report."""
    folder, first, environment = smoke
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()}
    command = [sys.executable, "-m", "potstill", "run", SMOKE, "--run", str(folder), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    changed = {p.name for p, stamp in before.items() if p.stat().st_mtime_ns != stamp}
    assert changed <= {"report.html", "report.md", "manifest.json", "recipe.yaml"}
    assert json.loads(done.stdout)["scores"] == first["scores"]


def test_a_changed_training_option_is_refused_then_redone_and_buys_nothing(smoke, tmp_path):
    """The message names what is invalid; the ledger shows no new request."""
    folder, _, environment = smoke
    ledger = Path(environment["XDG_CACHE_HOME"]) / "potstill" / "ledger.sqlite"
    requests = summarise(ledger)["requests"]
    command = [sys.executable, "-m", "potstill", "run", SMOKE, "--run", str(folder), "--until", "train"]
    command += ["--set", "train.max_steps=4"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 1
    assert "the recipe has changed since this run was made; that invalidates: students/" in done.stderr
    assert "students/scotd" in done.stderr
    assert "sample" not in done.stderr.split("invalidates:")[1].split(".")[0]
    again = subprocess.run([*command, "--force"], capture_output=True, text=True, check=False, env=environment)
    assert again.returncode == 0, again.stderr
    assert summarise(ledger)["requests"] == requests
    assert list(folder.glob("superseded/students-scotd-*"))


def run_smoke_sampling(tmp_path, run, *extra):
    """Run up to sampling, of one kind, in this process."""
    return main(["run", SMOKE, "--run", str(tmp_path / run), "--until", "sample", "--quiet",
                 "--set", "sample.kinds=[cot]", "--set", f"ledger={tmp_path / 'ledger.sqlite'}", *extra])  # fmt: skip


def test_only_what_changed_is_bought(tmp_path):
    """One row more buys one request; a system prompt buys all anew; an old request is never bought again."""
    rows = draw_problems("train", 21, seed=5)
    for n in (20, 21):
        text = "".join(json.dumps(row) + "\n" for row in rows[:n])
        (tmp_path / f"{n}.jsonl").write_text(text, encoding="utf-8")
    ledger = tmp_path / "ledger.sqlite"
    few = ["--set", "problems={source: FILE, split: null}", "--set", "sample.n=1", "--set", "teachers.n=1"]

    def requests(run, n, *extra):
        options = [word.replace("FILE", str(tmp_path / f"{n}.jsonl")) for word in few]
        assert run_smoke_sampling(tmp_path, run, *options, *extra) == 0
        return summarise(ledger)["requests"]

    assert requests("first", 20) == 20
    assert requests("again", 20) == 20
    assert requests("one more", 21) == 21
    assert requests("system", 20, "--set", "sample.system=Think well.") == 41
    assert requests("back", 21) == 41
    assert summarise(ledger)["duplicates"] == 0


def test_a_budget_stops_the_run_with_4_and_a_larger_one_resumes_it(tmp_path):
    """What was bought before the stop is used after it."""
    assert run_smoke_sampling(tmp_path, "run", "--set", "budget.tokens=1500", "--set", "teachers.max_tokens=100") == 4
    bought = summarise(tmp_path / "ledger.sqlite")["completions"]
    assert 0 < bought < 96
    assert (
        run_smoke_sampling(tmp_path, "run", "--set", "budget.tokens=1000000", "--set", "teachers.max_tokens=100") == 0
    )
    assert summarise(tmp_path / "ledger.sqlite")["completions"] == 96
    assert summarise(tmp_path / "ledger.sqlite")["duplicates"] == 0


def test_a_dry_run_writes_and_sends_nothing(tmp_path, capsys):
    """Requests, tokens and money are printed per stage; no run, no ledger."""
    ledger = tmp_path / "ledger.sqlite"
    code = main(["run", SMOKE, "--dry-run", "--json", "--run", str(tmp_path / "run"), "--set", f"ledger={ledger}"])
    plan = json.loads(capsys.readouterr().out)
    assert code == 0
    assert [(row["stage"], row["requests"], row["rationales"]) for row in plan] == [
        ("sample", 48, 192),
        ("evaluate", 64, 64),
    ]
    assert list(tmp_path.iterdir()) == []


def test_an_unreachable_endpoint_is_the_users_error_and_leaves_the_run_resumable(tmp_path, capsys):
    """One message that names the address; the same run goes on with the right one."""
    code = run_smoke_sampling(
        tmp_path, "run", "--set", "teachers.base_url=http://127.0.0.1:9/v1", "--set", "teachers.model=m"
    )
    message = capsys.readouterr().err
    assert (code, message.count("\n")) == (1, 1)
    assert "127.0.0.1:9" in message
    assert run_smoke_sampling(tmp_path, "run") == 0


@pytest.mark.parametrize("seed", range(3))
def test_a_run_killed_at_any_moment_resumes_without_losing_or_buying_twice(tmp_path, seed):
    """SIGKILL of the whole process group, twice, then the same command: one line per sample, no row lost."""
    ledger = tmp_path / "ledger.sqlite"
    sets = [f"ledger={ledger}", "problems.splits.train.limit=300", "sample.n=8", "sample.kinds=[cot]"]
    command = [sys.executable, "-m", "potstill", "run", SMOKE, "--run", str(tmp_path / "run"), "--until", "verify"]
    command += [word for value in sets for word in ("--set", value)]
    pause = random.Random(seed)
    for _ in range(2):
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
        time.sleep(0.6 + pause.random())
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rationales = list(read_records(tmp_path / "run" / "rationales.jsonl", Rationale))
    assert Counter(Counter(r.problem_id for r in rationales).values()) == {8: 300}
    assert len({r.id for r in rationales}) == 2400
    assert len(list(read_records(tmp_path / "run" / "verdicts.jsonl", Verdict))) == 2400
    assert summarise(ledger)["duplicates"] <= 2 * 32 * 4


def test_decisions_that_changed_are_not_called_a_changed_recipe(tmp_path):
    """What a run of reviewed rationales invalidates is blamed on the decisions, the recipe, or both."""
    recipe = build_recipe({"problems": {"source": "miniature"}, "filter": {"review": "exclude_rejected"}})
    other = recipe.model_copy(update={"filter": recipe.filter.model_copy(update={"keep": "all"})})

    def opened(recipe):
        with Run(tmp_path / "run") as files:
            return Pipeline(files, recipe, force=False)

    made = opened(recipe)
    with Run(tmp_path / "run") as files:
        for arm in made.arms:
            for stage, mark in arm.marks.items():
                (files.folder / "work").write_text("bought")
                files.begin(stage, mark, ["work"])
        files.describe("", review=made.reviewed)
    opened(recipe)
    decisions.append(
        tmp_path / "run", {"by": "Ada", "action": "reject", "stage": "rationales", "job": "", "record": "r"}
    )
    with pytest.raises(ConfigError, match=r"run: what people decided in review\.jsonl has changed since"):
        opened(recipe)
    with pytest.raises(ConfigError, match=r"run: the recipe and what people decided in review\.jsonl have changed"):
        opened(other)
    (tmp_path / "run" / "review.jsonl").unlink()
    with pytest.raises(ConfigError, match=r"run: the recipe has changed since"):
        opened(other)
