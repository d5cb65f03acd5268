"""The script that writes problems and rationales from annotated equations: nothing of it is taken on trust."""

import gzip
import importlib.util
import json
import random
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from potstill import load_problems, verify
from potstill.records import Rationale

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "write_equation_rationales.py"
QUESTIONS = [
    ("Mia has {} shells . She finds {} more shells . How many shells does Mia have ?", "+ number0 number1", 3, 12),
    ("Otto baked {} cakes . He gave {} cakes to Mia . How many cakes are left ?", "- number0 number1", 15, 6),
    ("There are {} rows with {} chairs each . How many chairs are there ?", "* number0 number1", 7, 8),
    ("Otto shares {} stamps among {} friends . How many stamps does each get ?", "/ number0 number1", 24, 6),
    ("Today Mia had {} dollars , then Otto gave her {} more . A kite costs {} dollars . How many kites can she buy ?",
     "/ + number0 number1 number2", 20, 10, 6),
    ("After Otto lost {} marbles he had {} marbles . How many dozen had he ?", "/ + number0 number1 12.0", 4, 20),
    ("Nora sold {} maps , Emil {} maps . How many more maps did Emil sell than Nora ?", "- number1 number0", 8, 19),
]  # fmt: skip


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("write_equation_rationales", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["write_equation_rationales"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def rows(script):
    """Return annotated rows; the last question is a test question."""
    found = []
    for at, (text, equation, *numbers) in enumerate(QUESTIONS):
        numbers = [str(number) for number in numbers]
        words = [script.symbol(word) for word in equation.split()]
        answer = script.plain(script.value(words, numbers)[-1][3])
        row = {"id": f"q{at}", "question": text.format(*numbers), "answer": answer, "numbers": numbers}
        split = "test" if at == len(QUESTIONS) - 1 else "train"
        found.append({**row, "gold_equation_prefix": equation, "split": split})
    return found


def written(script, folder, found, *options):
    """Run the script on rows; return its two files as rows."""
    source = folder / "questions.jsonl.gz"
    source.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in found).encode()))
    sys.argv = ["write", "--questions", str(source), "--out", str(folder), *options]
    script.main()
    return [list(map(json.loads, (folder / f"{name}.jsonl").read_text().splitlines()))
            for name in ("problems", "rationales")]  # fmt: skip


def test_every_rationale_reaches_its_answer(script, tmp_path, monkeypatch):
    """Chains of thought state the answer that was computed anew, and programs run to it."""
    monkeypatch.setattr(sys, "argv", [])
    _, texts = written(script, tmp_path, rows(script), "--variants", "12")
    problems = load_problems(str(tmp_path / "problems.jsonl"))
    paths = [
        Rationale(id=f"{at}", problem_id=row["problem_id"], kind=row["kind"], text=row["text"])
        for at, row in enumerate(texts)
    ]
    statuses = {path.verdict.status.value for path in verify(paths, problems) if path.verdict is not None}
    assert len(paths) > 40
    assert statuses == {"CORRECT"}


def test_no_equation_of_a_test_question_is_read(script, tmp_path, monkeypatch):
    """With other equations on the test questions the files are the same, byte for byte; they have no rationales."""
    monkeypatch.setattr(sys, "argv", [])
    found = rows(script)
    problems, texts = written(script, tmp_path, found)
    found[-1] = {**found[-1], "gold_equation_prefix": "* number0 number0"}
    assert written(script, tmp_path, found) == [problems, texts]
    asked = {row["id"] for row in problems if row["split"] != "train"}
    assert asked >= {"q6"}
    assert not asked & {row["problem_id"] for row in texts}


def test_variants_stay_in_their_family_and_split(script, tmp_path, monkeypatch):
    """A variant never leaves the split of the question that it was made of."""
    monkeypatch.setattr(sys, "argv", [])
    problems, _ = written(script, tmp_path, rows(script), "--variants", "4")
    splits, families = {}, {}
    for row in problems:
        own = row["id"].partition(".")[0]
        splits.setdefault(own, set()).add(row["split"])
        families.setdefault(own, set()).add(row.get("family"))
    assert all(len(found) == 1 for found in [*splits.values(), *families.values()])


def test_what_stands_beside_or_among_changes_no_answer_but_the_asked_one(script):
    """Quantities that are put in move the equation's positions; asked of the others, it takes theirs."""
    tasks = script.divided(rows(script))[0]
    stock = replace(script.Stock.of(tasks), things=("shells", "cakes", "stamps", "pears"), tasks=tuple(tasks[1:2]))
    task = tasks[0]
    seen = set()
    for seed in range(60):
        new = script.with_others_beside(task, stock, random.Random(seed))
        asked = "shells" if new.words[-5] == "shells" or "shells" in new.words[new.asked_from :] else "other"
        used = [int(word) for word in new.equation if word.isdigit()]
        following = [script.followed(new).get(new.places[at]) for at in used]
        assert all((thing in ("shells", "more")) == (asked == "shells") for thing in following[:1])
        seen.add((asked, len(new.numbers)))
        among = script.with_sentences_among(task, stock, random.Random(seed))
        assert [among.numbers[int(w)] for w in among.equation if w.isdigit()] == ["3", "12"]
    assert {count for _, count in seen} >= {3}


def test_numbers_stay_possible(script):
    """Other quantities keep a difference positive and a quotient whole."""
    tasks = script.divided(rows(script))[0]
    for task in (tasks[1], tasks[3]):
        for seed in range(20):
            new = script.with_numbers(task, None, random.Random(seed))
            result = script.value(new.equation, new.numbers)[-1][3]
            assert result > 0
            assert result.denominator == 1


def test_equations_are_written_as_python(script):
    """One expression or one line for each step, constants as they are."""
    equation = [script.symbol(word) for word in QUESTIONS[5][1].split()]
    assert script.infix(iter(equation)) == "(A + B) / 12"
    assert script.stepwise(equation) == ["step1 = A + B", "ans = step1 / 12"]


def test_quantities_are_named_in_order_and_listed_by_size(script):
    """The largest comes first in the list, whatever it is called."""
    task = script.Task("t", script.words_of("Joan has 3 cats , and 12.5 dogs ?"), (), "0")
    assert script.named(task) == "joan has A cats and B dogs ? [ B=12.5 A=3 ]"


def test_a_name_is_what_is_only_written_with_a_capital(script):
    """The beginning of a sentence says nothing, nor does a question in lower case."""
    text = "Today Joan has cats . How many ?"
    assert script.capitals(text.split()) == (["joan"], ["has", "cats", "many"])
    assert script.capitals(text.lower().split()) == ([], [])
