"""The command line: exit codes, help, and the light start."""

import subprocess
import sys

import pytest

import potstill
from potstill.cli import VERBS, main


def test_help_and_import_need_no_heavy_package():
    """`import potstill` and `potstill --help` load neither torch nor an HTTP client nor pydantic."""
    code = (
        "import sys, potstill.cli\n"
        "try: potstill.cli.main(['--help'])\n"
        "except SystemExit as end: assert end.code == 0\n"
        "heavy = {'torch', 'transformers', 'aiohttp', 'pydantic', 'numpy', 'rich', 'datasets'} & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert all(verb in done.stdout for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(verb, capsys):
    """Each verb's help names the options that all verbs share."""
    with pytest.raises(SystemExit) as end:
        main([verb, "--help"])
    assert end.value.code == 0
    out = capsys.readouterr().out
    assert all(option in out for option in ("--recipe", "--run", "--set", "--limit", "--dry-run", "--json", "--quiet"))


@pytest.mark.parametrize("argv", [["frobnicate"], ["run", "--no-such-flag"], ["run", "r.yaml", "--limit", "0"]])
def test_wrong_usage_exits_with_2(argv, capsys):
    """Unknown verbs, flags and values are a matter of usage."""
    with pytest.raises(SystemExit) as end:
        main(argv)
    assert end.value.code == 2
    assert "usage: potstill" in capsys.readouterr().err


def test_no_verb_prints_help_and_exits_with_2(capsys):
    """Nothing asked for, nothing done."""
    assert main([]) == 2
    assert "verbs:" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["run", "nothing.yaml"], "recipe nothing.yaml: cannot be read"),
        (["run"], "run: no recipe given"),
        (["sample"], "sample: nothing to read; give --problems FILE"),
        (
            ["verify", "--problems", "nothing.jsonl", "--rationales", "nothing.jsonl", "--out", "v.jsonl"],
            "no such file",
        ),
        (["verify", "--rationales", "nothing.jsonl"], "verify: --problems is missing"),
        (["report"], "report: no run given"),
        (["evolve", "--problems", "a.jsonl"], "evolve: --base-url is missing; give --base-url URL and --model NAME"),
        (
            ["evolve", "--problems", "a.jsonl", "--base-url", "miniature", "--columns", "text"],
            "--columns 'text': expected KEY=VALUE pairs",
        ),
        (["counterfactual", "--problems", "a.jsonl"], "counterfactual: --base-url is missing"),
        (
            ["counterfactual", "--problems", "a.jsonl", "--base-url", "miniature", "--columns", "text"],
            "--columns 'text': expected KEY=VALUE pairs",
        ),
        (["counterfactual"], "counterfactual: nothing to read; give --problems FILE"),
        (["show", "nothing"], "nothing does not exist"),
        (["serve"], "serve: give either a student's folder or name, or --miniature"),
    ],
)
def test_a_users_error_exits_with_1_and_one_message(argv, message, capsys, tmp_path, monkeypatch):
    """One line on standard error, nothing on standard output, no traceback."""
    monkeypatch.chdir(tmp_path)
    assert main(argv) == 1
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""


def test_the_public_names_are_the_documented_ones():
    """Every name in `__all__` can be reached, and `run` stays a function even after its module is imported."""
    import importlib

    importlib.import_module("potstill.run")
    assert callable(potstill.run)
    assert all(hasattr(potstill, name) for name in potstill.__all__)
    assert set(dir(potstill)) == set(potstill.__all__)


def test_doctor_and_show_print_facts(capsys, tmp_path):
    """`doctor` names the versions; `show` counts a file's closed fields."""
    assert main(["doctor"]) == 0
    assert "python" in capsys.readouterr().out
    path = tmp_path / "r.jsonl"
    path.write_text('{"problem_id": "p", "kind": "cot", "text": "t", "finish": "length"}\n' * 3, encoding="utf-8")
    assert main(["show", str(path)]) == 0
    assert "finish" in (out := capsys.readouterr().out)
    assert "length 3" in out
