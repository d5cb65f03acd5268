"""What a judge is worth: planted biases are found, and an honest judge has none."""

import importlib.util
import json
import random
from pathlib import Path

import pytest

from potstill.generators.calibration import Pair, agreement, length_bias, position_bias, repeatability

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


def judged(*, first=0.0, per_doubling=0.0, noise=0.3, questions=80, seed=1):
    """Return pairs of two writers in both orders, judged with planted biases, labelled by the truth."""
    rng, pairs = random.Random(seed), []
    for question in range(questions):
        truth = {"a": rng.gauss(5.5, 1), "b": rng.gauss(5, 1)}
        words = {"a": rng.randint(50, 400), "b": rng.randint(50, 400)}
        for kinds in (("a", "b"), ("b", "a")):
            scores = [
                truth[kind] + rng.gauss(0, noise) + (first if place == 0 else 0) + per_doubling * (words[kind] / 100)
                for place, kind in enumerate(kinds)
            ]
            label = 1 if truth[kinds[0]] > truth[kinds[1]] else -1
            lengths = (words[kinds[0]], words[kinds[1]])
            pairs.append(Pair(group=str(question), kinds=kinds, scores=tuple(scores), words=lengths, label=label))
    return pairs


def test_an_honest_judge_agrees_and_is_found_to_have_no_bias():
    """Intervals include zero."""
    pairs = judged()
    found = agreement(pairs)
    assert found["agreement"].value > 0.8
    assert found["agreement"].low < found["agreement"].value < found["agreement"].high
    assert found["kappa"].value == pytest.approx(2 * found["agreement"].value - 1, abs=0.1)
    points = position_bias(pairs)["points_for_first"]
    assert points.low < 0 < points.high
    slope = length_bias(pairs)
    assert slope.low < 0 < slope.high


def test_a_liking_for_the_first_place_is_found_in_points_and_in_changed_choices():
    """A swap tells it from quality."""
    found = position_bias(judged(first=0.8))
    assert found["points_for_first"].value == pytest.approx(0.8, abs=0.1)
    assert found["points_for_first"].low > 0
    assert found["changed_by_swap"].value > position_bias(judged())["changed_by_swap"].value


def test_a_liking_for_length_is_found():
    """Points per doubled length, the interval above zero."""
    assert length_bias(judged(per_doubling=0.5)).low > 0


def test_what_the_data_cannot_tell_is_not_told():
    """One order says nothing of position, no label nothing of agreement, no length nothing of length."""
    pairs = [Pair(group="q", kinds=("a", "b"), scores=(5, 4)), Pair(group="r", kinds=("a", "b"), scores=(5, 6))]
    values = [
        *position_bias(pairs).values(),
        *agreement(pairs).values(),
        length_bias(pairs),
        *repeatability(pairs).values(),
    ]
    assert [one.value for one in values] == [None] * 7


def test_a_judge_that_repeats_itself_has_an_intraclass_correlation_of_one():
    """And one that draws lots has about none."""
    same = [Pair(group=str(q), kinds=(other, "x"), scores=(3, q % 7)) for q in range(30) for other in "abc"]
    assert repeatability(same)["intraclass"].value == pytest.approx(1.0)
    assert repeatability(same)["moves_by"].value == 0
    rng = random.Random(2)
    lots = [Pair(group=str(q), kinds=(o, "x"), scores=(3, rng.random())) for q in range(60) for o in "abc"]
    assert abs(repeatability(lots)["intraclass"].value) < 0.3


def script(name):
    """Return a script as a module."""
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_script_reads_judgements_and_answers(tmp_path, capsys):
    """Rows without two scores are counted, lengths come from the answers."""
    rows = [
        {"question_id": f"q{n}", "model_a": "a", "model_b": "b", "scores": [n % 5, 3], "label": "a"} for n in range(9)
    ]
    rows.append({"question_id": "q9", "model_a": "a", "model_b": "b", "scores": None, "text": "Both!"})
    answers = [{"id": f"q{n}-{m}", "model": m, "answer": "w " * (n + 2)} for n in range(9) for m in "ab"]
    for name, data in (("judged", rows), ("answers", answers)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in data), encoding="utf-8")
    found = script("judge_calibration").main(
        ["--judged", str(tmp_path / "judged.jsonl"), "--answers", str(tmp_path / "answers.jsonl")]
    )
    assert found["agreement"].n == 9
    assert found["agreement"].value == pytest.approx(1 / 9)
    assert found["rows_without_scores"].value == 1
    assert "cannot be told from these data" in capsys.readouterr().out


def test_the_checks_without_a_model_count_what_they_find(tmp_path):
    """Every check has a row with its counts."""
    texts = [
        "Name two comets of this year",
        "Name two comets of this year",
        "Use at most 9 words to describe rain",
        "Sort the list below",
    ]
    path, seeds = tmp_path / "i.jsonl", tmp_path / "s.jsonl"
    path.write_text(
        "".join(json.dumps({"id": str(n), "question": t}) + "\n" for n, t in enumerate(texts)), encoding="utf-8"
    )
    seeds.write_text(json.dumps({"instruction": "Name two comets of this year"}) + "\n", encoding="utf-8")
    rows = script("instruction_checks").main(
        ["--instructions", str(path), "--seeds", str(seeds), "--against", str(seeds)]
    )
    said = {check.split(" ")[0]: words for check, words, _ in rows}
    assert said["gates"] == "3 passes, 1 not_self_contained"
    assert said["near-duplicates"] == "1 of 4"
    assert said["novelty"].endswith("2 repeat a seed")
    assert said["demands"].startswith("1 have one (1 words")
    assert said["contamination"] == "2 found"
