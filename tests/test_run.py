"""The run directory: its lock, its manifest, and what a changed recipe invalidates."""

import json
import subprocess
import sys

import pytest

from potstill.errors import ConfigError, DataError
from potstill.records import Problem
from potstill.run import Run, chain


def test_two_processes_cannot_write_one_run(tmp_path):
    """The second is told that another one is writing."""
    with Run(tmp_path / "run"):
        code = f"from potstill.run import Run\nwith Run({str(tmp_path / 'run')!r}): pass"
        second = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "another process is writing this run" in second.stderr
    with Run(tmp_path / "run"):
        pass


def test_a_stage_is_done_only_for_the_configuration_it_ran_with(tmp_path):
    """The same fingerprint is done after a restart; another one is not."""
    with Run(tmp_path) as run:
        run.begin("sample", "one", ["rationales.jsonl"])
        assert not run.is_done("sample", "one")
        run.finish("sample", "one", {"rows": 3})
    with Run(tmp_path) as run:
        assert run.is_done("sample", "one")
        assert not run.is_done("sample", "two")
        assert run.manifest["stages"]["sample"]["counts"] == {"rows": 3}


def test_an_interrupted_stage_keeps_its_files_and_a_changed_one_sets_them_aside(tmp_path):
    """Nothing is deleted: what another configuration wrote moves to `superseded/`."""
    with Run(tmp_path) as run:
        run.begin("sample", "one", ["rationales.jsonl"])
        run.write("rationales.jsonl", [Problem(id="1", question="Q")])
    with Run(tmp_path) as run:
        run.begin("sample", "one", ["rationales.jsonl"])
        assert run.path("rationales.jsonl").exists()
        run.begin("sample", "two", ["rationales.jsonl"])
        assert not run.path("rationales.jsonl").exists()
    assert len(list(tmp_path.glob("superseded/*/rationales.jsonl"))) == 1


def test_a_changed_recipe_is_refused_unless_forced(tmp_path):
    """The message names the stages that would be redone."""
    with Run(tmp_path) as run:
        run.begin("sample", "one", ["rationales.jsonl"])
        run.write("rationales.jsonl", [Problem(id="1", question="Q")])
        run.require_fresh({"sample": "one", "verify": "x"}, force=False)
        with pytest.raises(ConfigError, match=r"that invalidates: sample\. Use --force"):
            run.require_fresh({"sample": "two"}, force=False)
        run.require_fresh({"sample": "two"}, force=True)


def test_what_cost_nothing_is_redone_without_force(tmp_path):
    """Scores and verdicts, and stages that have written nothing; a student, finished or half trained, is not."""
    marks = dict.fromkeys(("evaluate", "verify", "examples/a", "sample"), "one")
    with Run(tmp_path) as run:
        for stage, mark in marks.items():
            run.begin(stage, mark, [f"{stage}.jsonl"])
        run.write("evaluate.jsonl", [Problem(id="1", question="Q")])
        run.write("verify.jsonl", [Problem(id="1", question="Q")])
        run.path("sample.jsonl").touch()
        run.require_fresh(dict.fromkeys(marks, "two"), force=False)
        run.begin("students/a", "one", ["students/a"])
        run.require_fresh({"students/a": "two"}, force=False)
        (tmp_path / "students" / ".a.partial" / "checkpoints").mkdir(parents=True)
        (tmp_path / "students" / ".a.partial" / "checkpoints" / "weights").touch()
        with pytest.raises(ConfigError, match=r"that invalidates: evaluate, students/a\."):
            run.require_fresh({"evaluate": "two", "students/a": "two"}, force=False)


def test_a_damaged_or_foreign_manifest_is_refused(tmp_path):
    """A run of another schema is not guessed at."""
    (tmp_path / "manifest.json").write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match=r"manifest\.json: cannot be read"), Run(tmp_path):
        pass
    (tmp_path / "manifest.json").write_text(json.dumps({"schema_version": 99, "stages": {}}), encoding="utf-8")
    with pytest.raises(DataError, match=r"schema version 99; this potstill reads 1"), Run(tmp_path):
        pass


def test_a_fingerprint_covers_everything_before_it():
    """Changing an early stage changes every later mark, changing a late one no earlier mark."""
    first = chain([("a", 1), ("b", 2), ("c", 3)])
    assert chain([("a", 9), ("b", 2), ("c", 3)])["c"] != first["c"]
    changed = chain([("a", 1), ("b", 2), ("c", 9)])
    assert (changed["a"], changed["b"]) == (first["a"], first["b"])
    assert changed["c"] != first["c"]


def test_reading_cuts_off_a_torn_line_first(tmp_path):
    """A kill in the middle of a write costs that line only."""
    with Run(tmp_path) as run:
        run.write("problems.jsonl", [Problem(id="1", question="Q")])
        with run.path("problems.jsonl").open("a", encoding="utf-8") as out:
            out.write('{"id": "2", "ques')
        assert [p.id for p in run.read("problems.jsonl", Problem)] == ["1"]
        assert list(run.read("absent.jsonl", Problem)) == []


def test_a_folder_that_cannot_be_written_is_said():
    """The message names the folder and what to do."""
    with pytest.raises(DataError, match="cannot be written"), Run("/proc/potstill"):
        pass
