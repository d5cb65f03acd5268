"""Rounds: the teacher refreshed on its own rationales, and a student's errors corrected, as a user runs them."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest

from potstill.arms import arms_of
from potstill.cli import main
from potstill.errors import ConfigError
from potstill.files import read_records
from potstill.pipeline import fingerprints
from potstill.purchases import scored_teachers
from potstill.recipe.reading import load_recipe, parse_recipe
from potstill.records import Example, Problem, Rationale, Verdict
from potstill.teachers.ledger import summarise

RECIPE = """
problems:
  splits:
    train: {source: miniature, split: train, limit: 8}
    test: {source: miniature, split: test, limit: 4}
teachers: TEACHERS
sample: {n: 3}
rounds: ROUNDS
filter: {keep: FILTER}
student: {model: miniature}
train: {max_steps: 12, learning_rate: 0.004, problems_per_step: 4, rationales_per_problem: 2}
infer: {max_new_tokens: 80}
evaluate: {bootstrap: 100, teacher: false}
arms:
  scotd: {mix: {rounds: 0}}
  refreshed: {}
ledger: LEDGER
"""
ENDPOINT = "{base_url: miniature, n: 3}"
LOCAL = "{local: miniature, name: own, max_tokens: 24}"


def write(folder, rounds, teachers=ENDPOINT, keep="correct"):
    """Write the recipe; returns its path."""
    text = RECIPE.replace("TEACHERS", teachers).replace("ROUNDS", rounds).replace("FILTER", keep)
    path = folder / "recipe.yaml"
    path.write_text(text.replace("LEDGER", str(folder / "ledger.db")))
    return path


def run(path, *options):
    """Run a recipe in this process; returns the run's folder."""
    folder = path.parent / "run"
    assert main(["run", str(path), "--run", str(folder), *options]) == 0
    return folder


def rows(folder, name, cls=Rationale):
    return list(read_records(folder / name, cls))


def counts(folder, stage):
    return json.loads((folder / "manifest.json").read_text())["stages"][stage]["counts"]


@pytest.fixture(scope="module")
def corrected(tmp_path_factory):
    """A run with one round of corrections, up to the training examples."""
    folder = tmp_path_factory.mktemp("errors")
    return run(write(folder, "[{by: errors, arm: scotd, n: 2}]"), "--until", "mix")


def test_a_students_errors_are_shown_to_the_teacher_and_corrected(corrected):
    """Only what was checked and found wrong, on training problems; the corrections are verified and learnt from."""
    paths = {row.id: row for row in rows(corrected, "predictions/round1.jsonl")}
    verdicts = {v.rationale_id: v.status.value for v in rows(corrected, "verdicts/round1.jsonl", Verdict)}
    train = {problem.id for problem in rows(corrected, "problems.jsonl", Problem) if problem.split == "train"}
    assert {path.problem_id for path in paths.values()} == train
    wrong = {pid for pid, path in paths.items() if verdicts[pid] == "WRONG" and path.finish == "stop"}
    corrections = rows(corrected, "rationales.round1.jsonl")
    assert wrong
    assert Counter(row.meta["corrects"] for row in corrections) == dict.fromkeys(wrong, 2)
    assert all(row.problem_id == paths[row.meta["corrects"]].problem_id for row in corrections)
    assert {row.author for row in corrections} == {"miniature-teacher"}
    right = {v.rationale_id for v in rows(corrected, "verdicts.round1.jsonl", Verdict) if v.correct}
    assert len(right) > len(corrections) / 2
    learnt = {name: {e.rationale_id for e in rows(corrected, f"examples/{name}.jsonl", Example)}
              for name in ("scotd", "refreshed", "round1")}  # fmt: skip
    assert learnt["scotd"] == learnt["round1"]
    assert learnt["refreshed"] == learnt["scotd"] | right


def test_a_second_run_of_a_finished_round_does_nothing(corrected):
    """No request, no training."""
    before = {p: p.stat().st_mtime_ns for p in corrected.rglob("*") if p.is_file()}
    run(corrected.parent / "recipe.yaml", "--until", "mix")
    changed = {p.name for p, stamp in before.items() if p.stat().st_mtime_ns != stamp}
    assert changed <= {"manifest.json", "recipe.yaml"}


def test_the_report_and_the_manifest_show_the_rounds(corrected):
    """How many paths were wrong, and how many corrections came out right."""
    found = counts(corrected, "sample/round1")
    assert found["wrong_paths"] * 2 == found["rationales"]
    assert main(["report", str(corrected)]) == 0
    page = (corrected / "report.html").read_text()
    assert (
        "<dt>Round 1</dt>" in page and f"a student&#x27;s errors, corrected: {found['rationales']} rationales" in page
    )


def test_a_round_changed_leaves_arms_without_it_alone(tmp_path):
    """The arm of the first sampling keeps its fingerprints; that of all rounds, and what comes after, does not."""
    marks = []
    for rounds in ("[{by: errors, n: 2}]", "[{by: errors, n: 3}]"):
        recipe = load_recipe(write(tmp_path, rounds))
        shared = fingerprints(recipe)
        marks.append({"sample/round1": shared["sample/round1"], "verify": shared["verify"]})
        for arm in arms_of(recipe, shared):
            marks[-1] |= arm.marks
    changed = {stage for stage in marks[0] if marks[0][stage] != marks[1][stage]}
    assert changed == {"sample/round1", "examples/refreshed", "students/refreshed", "predictions/refreshed"}


def test_a_refreshed_teacher_is_a_model_of_its_own(tmp_path):
    """Fine-tuned on its own kept texts under the prompts that it is asked with; it samples again, under a new name."""
    folder = run(write(tmp_path, "[{by: refresh, n: 2}, {by: refresh, n: 2}]", LOCAL, keep="all"), "--until", "filter")
    first = rows(folder, "rationales.jsonl")
    assert {row.author for row in first} == {"own"}
    for number in (1, 2):
        again = rows(folder, f"rationales.round{number}.jsonl")
        assert (len(again), {row.author for row in again}) == (16, {f"own@{number}"})
    assert len({row.request for row in first} | {row.request for row in again}) == 16  # other weights, other requests
    record = json.loads((folder / "students" / "teacher.round1" / "training.json").read_text())
    assert record["audit"]["examples"] <= len(first)
    known = summarise(tmp_path / "ledger.db")
    assert (known["money"], known["completions"] + known["finish"].get("empty", 0)) == (0, 24 + 16 + 16)
    kept = counts(folder, "filter")
    assert kept["kept"] + kept["dropped"] == 24 + 16 + 16


def test_a_refreshed_teacher_is_scored_beside_the_first(tmp_path):
    """Under its own name, from the run's folder; what it learnt from decides whether its answers still hold."""
    marks = []
    for steps in (2, 3):
        recipe = load_recipe(write(tmp_path, f"[{{by: refresh, train: {{max_steps: {steps}}}}}]", LOCAL))
        marks.append(fingerprints(recipe)["predictions/teacher.round1"])
    first, second = scored_teachers(recipe, folder=tmp_path)
    assert (first.system, first.teacher.local) == ("teacher", "miniature")
    assert (second.system, second.teacher.local) == ("own@1", str(tmp_path / "students" / "teacher.round1"))
    assert marks[0] != marks[1]


@pytest.mark.slow
def test_a_killed_round_goes_on_where_it_was(tmp_path):
    """SIGKILL while the student is trained, and while its paths are written; then no request twice."""
    path, folder = write(tmp_path, "[{by: errors, arm: scotd, n: 2}]"), tmp_path / "run"
    command = [sys.executable, "-m", "potstill", "run", str(path), "--run", str(folder), "--until", "filter"]
    for reached in (".round1.partial", "round1"):
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
        while not (folder / "students" / reached).exists() and process.poll() is None:
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    run(path, "--until", "filter")
    found = rows(folder, "rationales.round1.jsonl")
    assert (
        len({(row.problem_id, row.index) for row in found})
        == len(found)
        == counts(folder, "sample/round1")["rationales"]
    )
    assert summarise(tmp_path / "ledger.db")["duplicates"] == 0


@pytest.mark.parametrize(
    ("rounds", "teachers", "message"),
    [
        ("[{by: refresh}]", ENDPOINT, "by: refresh needs a local teacher .* found: none"),
        ("[{by: refresh, teacher: big}]", LOCAL, "'big' is not a local teacher .* found: own"),
        ("[{by: errors, arm: nobody}]", ENDPOINT, "got 'nobody'; arms with a student of their own: scotd, refreshed"),
        ("[{by: errors}]", "{replay: r.jsonl}", "by: errors needs a teacher that can be asked"),
        ("[{by: magic}]", ENDPOINT, "rounds.0.by: got 'magic'"),
    ],
)
def test_a_round_that_cannot_be_run_is_refused(rounds, teachers, message):
    """With what was found."""
    text = RECIPE.replace("TEACHERS", teachers).replace("ROUNDS", rounds).replace("FILTER", "all")
    with pytest.raises(ConfigError, match=message):
        parse_recipe(text)


@pytest.mark.parametrize(
    ("rounds", "teachers", "message"),
    [
        ("[{by: errors, template: zero_shot}]", ENDPOINT, "section 'cot' has no 'correction'"),
        ("[{by: refresh, train: {learning_rat: 1}}]", LOCAL, "did you mean learning_rate"),
        ("[{by: errors, demonstrations: nope.jsonl}]", ENDPOINT, "nope.jsonl: no such file"),
    ],
)
def test_what_a_round_lacks_is_said_before_anything_is_bought(tmp_path, capsys, rounds, teachers, message):
    """One message, no request."""
    path = write(tmp_path, rounds, teachers)
    assert main(["run", str(path), "--run", str(tmp_path / "run")]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert not (tmp_path / "run" / "rationales.jsonl").exists()


def test_a_dry_run_shows_what_a_round_takes_at_most(tmp_path, capsys):
    """A correction of every problem; a refreshed teacher's samples."""
    path = write(tmp_path, "[{by: errors, n: 2}]")
    assert main(["run", str(path), "--dry-run", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert [(row["stage"], row["rationales"], row["requests"]) for row in plan] == [
        ("sample", 24, 8),
        ("round 1", 16, 8),
    ]
    path = write(tmp_path, "[{by: refresh, n: 2}]", LOCAL)
    assert main(["run", str(path), "--dry-run", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert [(row["teacher"], row["rationales"]) for row in plan] == [("own", 24), ("own@1", 16)]
