"""Predictions into a file: interrupted ones are taken up again, and a student trained anew is asked anew."""

import os

import pytest
from tiny_students import save_student, sums

from potstill.errors import DataError
from potstill.files import read_records
from potstill.recipe.students import InferConfig, MixConfig
from potstill.recipe.teachers import TeacherConfig
from potstill.records import Rationale
from potstill.students import predicting
from potstill.students.inference import infer
from potstill.students.predicting import infer_to_file

CONFIG = InferConfig(paths={"cot": 2}, max_new_tokens=4, batch_tokens=30)


def keys(rows):
    return sorted((row.problem_id, row.index) for row in rows)


def interrupted(monkeypatch, after):
    """Let the student be interrupted after so many paths."""

    def stopping(*args, **options):
        for number, row in enumerate(infer(*args, **options)):
            if number == after:
                raise KeyboardInterrupt
            yield row

    monkeypatch.setattr(predicting, "infer", stopping)


def watched(monkeypatch):
    """Note how many paths each asking is told to be done already."""
    asked = []
    monkeypatch.setattr(predicting, "infer", lambda *a, **o: asked.append(len(o["done"])) or infer(*a, **o))
    return asked


def test_an_interrupted_file_is_taken_up_where_it_ended(tmp_path, monkeypatch):
    """No path is written twice, none is lost, and nothing but the output is left."""
    student, out, problems = str(save_student(tmp_path / "tiny")), tmp_path / "out.jsonl", sums(3)
    interrupted(monkeypatch, 4)
    with pytest.raises(KeyboardInterrupt):
        infer_to_file(problems, student, CONFIG, out, mix=MixConfig())
    assert not out.exists()
    (partial,) = tmp_path.glob(".out.jsonl.*.partial.jsonl")
    assert len(list(read_records(partial, Rationale))) == 4
    asked = watched(monkeypatch)
    assert infer_to_file(problems, student, CONFIG, out, mix=MixConfig()) == 9
    assert asked == [4]
    assert keys(read_records(out, Rationale)) == [(p.id, i) for p in problems for i in range(3)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.jsonl", "tiny"]


def test_a_student_that_was_trained_anew_is_another_one(tmp_path, monkeypatch):
    """Half a file of the old student's paths is not continued with the new one's."""
    student, out, problems = str(save_student(tmp_path / "tiny")), tmp_path / "out.jsonl", sums(2)
    interrupted(monkeypatch, 3)
    with pytest.raises(KeyboardInterrupt):
        infer_to_file(problems, student, CONFIG, out, mix=MixConfig())
    os.utime(tmp_path / "tiny" / "model.safetensors", (1, 1))
    asked = watched(monkeypatch)
    infer_to_file(problems, student, CONFIG, out, mix=MixConfig())
    assert asked == [0]


def test_an_endpoints_answers_are_kept_where_a_ledger_is_named(teacher_server, tmp_path):
    """The second asking buys nothing."""
    server = teacher_server()
    student = TeacherConfig(base_url=server.base_url, model="m", api_key_env=None)
    for name in ("a.jsonl", "b.jsonl"):
        infer_to_file(sums(2), student, CONFIG, tmp_path / name, mix=MixConfig(), ledger=tmp_path / "ledger.db")
    assert server.stats()["billed_completions"] == 6
    first, second = (list(read_records(tmp_path / name, Rationale)) for name in ("a.jsonl", "b.jsonl"))
    assert sorted(row.text for row in first) == sorted(row.text for row in second)


def test_two_processes_do_not_write_one_file(tmp_path, monkeypatch):
    """The second is told so."""
    student, out = str(save_student(tmp_path / "tiny")), tmp_path / "out.jsonl"

    def meanwhile(*args, **options):
        with pytest.raises(DataError, match="another process is writing this file"):
            infer_to_file(sums(1), student, CONFIG, out, mix=MixConfig())
        return iter(())

    monkeypatch.setattr(predicting, "infer", meanwhile)
    infer_to_file(sums(1), student, CONFIG, out, mix=MixConfig())
