"""The script that votes over recorded paths: whose path is what, and what its figures count."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from potstill.records import Problem, Rationale, Status, Verdict

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "vote_study.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("vote_study", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["vote_study"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def pool(script, **answers):
    """Return a pool in which every voter (`cot_a`, `pot_b`) gives one digit per question; the gold answer is 1."""
    things = ["apples", "books", "coins", "dogs", "eggs", "forks"]
    questions = {f"q{i}": Problem(id=f"q{i}", question=t, answer="1") for i, t in enumerate(things)}
    paths = [path(voter, f"q{at}", digit) for voter, row in answers.items() for at, digit in enumerate(row)]
    return script.Pool.of(paths, questions)


def path(voter, question, digit):
    id_ = f"{question}/{voter}"
    status = {"1": Status.CORRECT, "-": Status.NO_ANSWER}.get(digit, Status.WRONG)
    verdict = Verdict(rationale_id=id_, status=status, answer=None if digit == "-" else digit)
    return Rationale(id=id_, problem_id=question, kind=voter[:3], text="", author=voter, verdict=verdict)


def test_what_was_said_apart_belongs_to_the_path(script):
    """A second answer that the recordings hold apart is part of the text; each draw of one model is a voter."""
    row = {"question_id": "q", "kind": "cot", "teacher": "t", "sample": 0, "text": "3 + 4", "answer_completion": " 7."}
    assert script.path_of(row).text == "3 + 4\nTherefore, the answer is 7."
    draws = [script.path_of({**row, "kind": "pot", "style": "sc_x", "sample": n}) for n in (0, 1)]
    assert [draw.author for draw in draws] == ["t pot sc_x #00", "t pot sc_x #01"]


def test_a_vote_counts_valid_answers_and_weights(script):
    """Two against one win; a failed path is silent; the weight of programs can turn the vote."""
    held = pool(script, cot_a="222222", cot_b="22222-", pot_c="111111")
    assert held.voted(["cot_a", "cot_b", "pot_c"]).tolist()[:5] == [0] * 5
    assert held.voted(["cot_a", "cot_b", "pot_c"], {"pot": 3.0}).tolist() == [1] * 6
    assert held.voted(["cot_b", "pot_c"])[5] == 1


def test_the_gate_answers_where_both_kinds_agree(script):
    """Coverage is the share of agreement, accuracy that of the answered ones."""
    held = pool(script, cot_a="1112--", pot_b="11222-")
    found = script.gated(held)["majorities"]
    assert (found["coverage"], found["right"]) == (0.5, pytest.approx(2 / 3, abs=1e-4))


def test_the_weight_is_chosen_on_other_families(script):
    """What is right by a weight that its own half chose is never reported as chosen."""
    held = pool(script, cot_a="121212", cot_b="121212", pot_c="212121")
    found = script.weighed(held)
    half = np.array([script.child_seed("half", group) % 2 for group in held.groups])
    assert {0, 1} == set(half)
    votes = {row["pot"]: held.voted(["cot_a", "cot_b", "pot_c"], {"pot": row["pot"]}) for row in found["by_weight"]}
    parts = [votes[found[f"chosen_on_half_{1 - side}"]][half == side] for side in (0, 1)]
    assert found["chosen"]["right"] == pytest.approx(np.concatenate(parts).mean(), abs=1e-4)


def test_a_committee_is_drawn_once(script):
    """No two draws hold the same voters; where there are few committees, all are taken."""
    held = pool(script, cot_a="1", cot_b="1", cot_c="1", pot_d="1", pot_e="1")
    found = script.committees(held, {"cot": 1, "pot": 1}, 4)
    assert len({tuple(one) for one in found}) == len(found) == 4
    assert len(script.committees(held, {"cot": 2}, 20)) == 3
