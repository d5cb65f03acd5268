"""The miniature's teacher for instructions reads prompts as they are sent, and answers what is asked."""

import json
import random

import pytest

from potstill.generators.evolving import Action, derive_messages, evolve_messages, read_object
from potstill.generators.judging import judge_messages, load_rubrics
from potstill.miniature import speaking, teacher
from potstill.miniature.instruction_grammar import CLAUSES, read, render, seeds, worth
from potstill.miniature.instruction_teacher import answer, write
from potstill.rationales.demands import demands, unmet
from potstill.recipe.generators import EvolveConfig

TEXTS = seeds(40, 1)


def content(messages):
    """Return what the user says."""
    return messages[-1]["content"]


def test_a_rewriting_adds_what_the_action_asks_for_and_errs_now_and_then():
    """The reply is the form that is asked for, with a status."""
    found = [
        read_object(write(content(evolve_messages(text, Action("skills", "add a skill"), 20)), random.Random(text)))
        for text in TEXTS
    ]
    assert {one["status"] for one in found} <= {"ok", "invalid"}
    new = [one["instruction"] for one in found if one["status"] == "ok"]
    assert sum("skills" in dict(read(text).clauses) for text in new) > 25
    assert any(text in TEXTS for text in new)


def test_an_action_that_this_world_does_not_know_is_taken_for_one_that_it_does():
    """So a user's own actions, and derived ones, do something."""
    reply = write(content(evolve_messages(TEXTS[0], Action("pirate", "talk so"), 20)), random.Random(3))
    assert len(read(read_object(reply)["instruction"]).clauses) > len(read(TEXTS[0]).clauses)


def test_a_judgement_follows_the_truth_with_noise():
    """Every text has its scores under its number, unless one is left out."""
    config = EvolveConfig()
    better = render(TEXTS[0].split(".")[0], [CLAUSES["reasoning"][0], CLAUSES["skills"][0], CLAUSES["goals"][0]])
    texts = [TEXTS[0], better]
    rows = [
        json.loads(write(content(judge_messages(texts, load_rubrics(config))), random.Random(seed)))
        for seed in range(60)
    ]
    judged = [row for row in rows if len(row) == 2]
    assert 50 < len(judged) <= 60
    assert set(judged[0]["1"]) == {"quality", "diversity", "complexity"}
    means = [sum(row[key]["complexity"] for row in judged) / len(judged) for key in ("1", "2")]
    assert means[1] - means[0] == pytest.approx(worth(better).complexity - worth(texts[0]).complexity, abs=0.5)


def test_derived_actions_are_as_many_as_asked_for():
    """As an object with a list."""
    assert len(json.loads(write(content(derive_messages(TEXTS, 4, 1)), random.Random(1)))["actions"]) == 4


def test_an_answer_keeps_what_the_instruction_demands_unless_it_forgets():
    """Lengths and forms are those that a program checks."""
    task = TEXTS[0].split(".")[0]
    for kind in ("constraints", "output_format"):
        for sentence in CLAUSES[kind]:
            instruction = read(render(task, [sentence]))
            said = answer(instruction, random.Random(1))
            assert not unmet(render(task, [sentence]), said), sentence
    assert sum(len(demands(f"{task}. {sentence}.")) for sentence in CLAUSES["constraints"]) == 4
    forgetful = answer(read(render(task, ["Answer as a numbered list"])), random.Random(1), forgets=1.0)
    assert unmet(render(task, ["Answer as a numbered list"]), forgetful) == ["numbered list"]


def test_what_is_not_about_instructions_goes_to_the_other_half():
    """Letter for letter as before."""
    question = "Ann begins on square 3. On Monday she jumps 2 ahead. Which square is reached?"
    assert write(question, random.Random(1)) is None
    assert speaking.write(question, random.Random(1)) == teacher.write(question, random.Random(1))
    assert speaking.write("Who are you?", random.Random(1)) == teacher.UNREAD
    assert speaking.write(TEXTS[0], random.Random(1)).startswith("This is about")
