"""`potstill exec`: one line per program, exit 0 though programs fail."""

import argparse
import json

import pytest
from tests.sandbox.conftest import needs_isolation

from potstill.cli import add_common
from potstill.commands import executing
from potstill.errors import ConfigError, DataError

ROWS = [{"id": "a", "program": "ans = 6 * 7"}, {"id": 2, "program": "1 / 0"}, {"program": "x = 1"}, {"id": "d"}]


def call(*argv):
    parser = argparse.ArgumentParser()
    add_common(parser)
    executing.add("exec", parser)
    options = parser.parse_args([*argv])
    return options.call(options)


@pytest.fixture
def programs(tmp_path):
    path = tmp_path / "programs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return str(path)


def test_each_program_has_its_line(programs, capsys, tmp_path):
    """In order, with the interface's keys; a row without a program is a result too."""
    needs_isolation()
    assert call(programs, "--workers", "1", "--cpu-s", "0.5") == 0
    printed = capsys.readouterr().out
    rows = [json.loads(line) for line in printed.splitlines()]
    assert [row["status"] for row in rows] == ["ok", "error", "no_answer", "error"]
    assert [row["id"] for row in rows] == ["a", 2, f"{programs}:3", "d"]
    assert (rows[0]["answer"], rows[1]["error"]) == ("42", "ZeroDivisionError: division by zero")
    assert call(programs, "--workers", "1", "--limit", "1", "--out", str(tmp_path / "out.jsonl")) == 0
    assert json.loads((tmp_path / "out.jsonl").read_text())["answer"] == "42"


def test_a_dry_run_runs_nothing(programs, capsys):
    """It counts."""
    assert call(programs, "--dry-run") == 0
    assert capsys.readouterr().out == "4 programs; nothing was run\n"


@pytest.mark.parametrize(
    ("argv", "match"),
    [
        (["--set", "sandbox.cpu_s=-1"], r"sandbox\.cpu_s: found -1; .*the settings are cpu_s"),
        (["--set", "sandbox.cpus=1"], r"sandbox\.cpus: "),
        (["--set", "sample.n=1"], "reads the sandbox's settings and the engine's only"),
        (["--set", "engine=spark"], "expected local or ray"),
        (["--set", "engine=ray", "--set", "ray.adress=x:1"], r"did you mean 'address'"),
    ],
)
def test_a_wrong_setting_is_named(argv, match, programs):
    """With what is allowed."""
    with pytest.raises(ConfigError, match=match):
        call(programs, *argv)


def test_a_missing_file_is_the_users_error(tmp_path):
    """As for every verb."""
    with pytest.raises(DataError, match="no such file"):
        call(str(tmp_path / "none.jsonl"))
