"""The stage verbs on plain files: options, messages, and what is left on disk."""

import json
from pathlib import Path

import pytest

from potstill.cli import main
from potstill.files import read_records
from potstill.records import Rationale, Verdict


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(name, *rows):
    Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def sums(*, question="question", answer="answer"):
    return [{question: f"What is {i} + 1?", answer: str(i + 1)} for i in range(4)]


def test_columns_of_other_names_are_mapped_alike_in_every_verb(here, teacher_server):
    """Rows without ids get the same ones each time, so rationales and verdicts find their problems."""
    server = teacher_server()
    write("q.jsonl", *sums(question="text", answer="label"))
    mapped = ["--problems", "q.jsonl", "--columns", "question=text,answer=label", "--quiet"]
    asked = ["--base-url", server.base_url, "--model", "m", "--n", "2", "--ledger", "l.db", "--out", "r.jsonl"]
    assert main(["sample", *mapped, *asked]) == 0
    assert main(["verify", "--rationales", "r.jsonl", *mapped, "--out", "v.jsonl"]) == 0
    assert {verdict.status.value for verdict in read_records("v.jsonl", Verdict)} <= {"CORRECT", "WRONG"}
    assert main(["mix", "--rationales", "r.jsonl", *mapped, "--out", "e.jsonl", "--set", "filter.keep=all"]) == 0


def test_rows_that_do_not_fit_are_left_out_where_the_user_says_so(here, capsys):
    """The message of the error names the setting; the setting works."""
    rows = [{"id": str(i), "question": "q?", "answer": a, "answer_type": "number"} for i, a in enumerate(["1", "x"])]
    write("q.jsonl", *rows)
    write("r.jsonl", {"problem_id": "0", "kind": "cot", "text": "So the answer is: 1"})
    argv = ["verify", "--rationales", "r.jsonl", "--problems", "q.jsonl", "--out", "v.jsonl"]
    assert main(argv) == 1
    assert "--set problems.invalid=drop" in capsys.readouterr().err
    assert main([*argv, "--set", "problems.invalid=drop"]) == 0


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["sample", "--problems", "q.jsonl", "--model", "m"], "sample: --base-url is missing"),
        (["sample", "--problems", "q.jsonl", "--base-url", "http://127.0.0.1:9/v1"], "sample: --model is missing"),
        (
            ["sample", "--problems", "q.jsonl", "--base-url", "http://127.0.0.1:9/v1", "--model", "m"],
            "sample: --out is missing",
        ),
        (["train", "--examples", "e.jsonl"], "train: --student is missing"),
        (["infer", "--problems", "q.jsonl", "--student", "http://127.0.0.1:9/v1"], "infer: --model is missing"),
        (["verify", "--rationales", "r.jsonl", "--problems", "q.jsonl", "--out", "v.csv"], "ends in .jsonl"),
    ],
)
def test_what_is_missing_is_named_by_its_flag(here, argv, message, capsys):
    """One line, before anything is asked or written."""
    write("q.jsonl", *sums())
    write("e.jsonl", {"id": "e", "prompt": "p", "target": "t", "task": "cot", "group": "g"})
    write("r.jsonl", {"problem_id": "0", "kind": "cot", "text": "t"})
    assert main([*argv, "--quiet"]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert sorted(path.name for path in here.iterdir()) == ["e.jsonl", "q.jsonl", "r.jsonl"]


def test_refused_and_empty_rows_are_asked_again_on_demand(here, teacher_server, capsys):
    """Exit 3 names the setting; `--retry-failed` sets it."""
    server = teacher_server(p_empty=1.0)
    write("q.jsonl", *sums())
    asked = ["--base-url", server.base_url, "--model", "m", "--n", "2", "--ledger", "l.db", "--out", "r.jsonl"]
    argv = ["sample", "--problems", "q.jsonl", *asked, "--quiet"]
    assert main(argv) == 3
    assert "sample.retry_failed=true" in capsys.readouterr().err
    server.config(p_empty=0.0)
    assert main(argv) == 3
    assert main([*argv, "--retry-failed"]) == 0
    assert [row.finish for row in read_records("r.jsonl", Rationale)] == ["stop"] * 8


def test_a_recipe_with_a_list_of_one_teacher_takes_the_options_too(here, teacher_server):
    """`teachers:` may be a table or a list; options go over either."""
    server = teacher_server()
    write("q.jsonl", *sums())
    (here / "r.yaml").write_text(
        f"problems: {{source: q.jsonl}}\nteachers: [{{base_url: '{server.base_url}', model: a}}]\n"
        "sample: {n: 1, template: zero_shot}\nledger: l.db\n"
    )
    argv = ["sample", "--recipe", "r.yaml", "--problems", "q.jsonl", "--model", "b", "--out", "r.jsonl", "--quiet"]
    assert main(argv) == 0
    assert {row.author for row in read_records("r.jsonl", Rationale)} == {"b"}


def test_a_dry_run_trains_asks_and_writes_nothing(here, capsys):
    """It counts what would be done."""
    write("q.jsonl", *sums())
    write("e.jsonl", {"id": "e", "prompt": "p", "target": "t", "task": "cot", "group": "g"})
    assert main(["train", "--examples", "e.jsonl", "--student", "miniature", "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"stage": "train", "examples": 1, "problems": 1}
    assert (
        main(["infer", "--problems", "q.jsonl", "--student", "miniature", "--dry-run", "--json", "--paths", "cot=3"])
        == 0
    )
    assert json.loads(capsys.readouterr().out) == {"stage": "infer", "problems": 4, "paths": 16}
    assert sorted(path.name for path in here.iterdir()) == ["e.jsonl", "q.jsonl"]
