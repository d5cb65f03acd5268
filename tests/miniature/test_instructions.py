"""The miniature's evolver, judge and gate for instructions."""

import random
from statistics import mean, pstdev

import pytest

from potstill.generators.actions import ACTIONS
from potstill.generators.trees import Node
from potstill.miniature.instruction_grammar import CLAUSES, read, seeds, worth
from potstill.miniature.instructions import Evolver, Judge, evolve, gate, instruction_world, judge

SEED = "Write a short guide to sourdough bread."
FLAWLESS = Evolver(fails=0, echoes=0, breaks=0, breaks_more=0, overdoes=0, waffles=0)


@pytest.mark.parametrize("action", ACTIONS)
def test_a_flawless_evolver_does_what_the_action_says(action):
    """Eleven actions add a clause of their kind; `new` writes another task."""
    text = evolve(SEED, action, random.Random(1), FLAWLESS)
    found = read(text)
    if action == "new":
        assert found.task != read(SEED).task
    else:
        assert [kind for kind, _ in found.clauses] == [action]
        assert text.startswith(SEED)
    assert not worth(text).broken


def test_the_evolver_errs_about_as_often_as_it_says():
    """Of many rewrites of one text: no text, the same text, broken texts, too much, nothing of weight."""
    texts = [evolve(SEED, "life", random.Random(number)) for number in range(3000)]
    share = {
        "fails": mean(not text for text in texts),
        "echoes": mean(text == SEED for text in texts),
        "breaks": mean(bool(text and worth(text).broken) for text in texts),
        "overdoes": mean(len(read(text).clauses) == 3 and not worth(text).broken for text in texts if text),
        "waffles": mean(read(text).vague == 1 for text in texts if text),
    }
    how = Evolver()
    assert share == pytest.approx({name: getattr(how, name) for name in share}, abs=0.02)


def test_the_gate_finds_broken_surfaces_and_not_what_takes_understanding():
    """Of the texts that pass, a few are broken all the same; of those refused for their surface, all are."""
    rng = random.Random(3)
    broken = passed = 0
    for text in seeds(200, 1):
        for _ in range(10):
            child = evolve(text, rng.choice(ACTIONS), rng)
            if child and not gate(child, text, text):
                passed += 1
                broken += bool(worth(child).broken)
            elif child and gate(child, text, text) in ("cut_off", "unparseable", "unanswerable", "not_self_contained"):
                assert worth(child).broken
    assert 0.005 < broken / passed < 0.06


@pytest.mark.parametrize("noise", [0.5, 1.5])
def test_the_judges_noise_is_that_of_the_sum(noise):
    """Its scores scatter around the truth with the given standard deviation, away from the ends of the scale."""
    text = f"{SEED} {'. '.join(CLAUSES[kind][0] for kind in ('skills', 'life', 'emotion'))}."
    how = Judge(noise=noise, per_ten_words=0, first=0, fails=0)
    sums = [sum(judge([text], random.Random(number), how)[0].values()) for number in range(2000)]
    true = worth(text)
    assert mean(sums) == pytest.approx(true.quality + true.coverage + true.complexity, abs=0.15)
    assert pstdev(sums) == pytest.approx(noise, rel=0.1)


def test_the_judge_likes_first_places_and_length():
    """The same text scores more in front, and a longer one more than its worth."""
    how = Judge(noise=0.0, fails=0)
    first, last = judge([SEED, SEED], random.Random(0), how)
    assert first["quality"] - last["quality"] == pytest.approx(how.first, abs=0.002)
    long = f"{SEED} {'. '.join(s for kind in ('goals', 'reasoning', 'skills') for s in CLAUSES[kind][:1])}."
    judged = judge([long], random.Random(0), how)[0]
    assert judged["complexity"] > worth(long).complexity
    assert judged["diversity"] == pytest.approx(worth(long).coverage)


def test_a_judgement_that_fails_is_none():
    """Never a number."""
    assert judge([SEED] * 3, random.Random(0), Judge(fails=1.0)) == [None] * 3


async def test_the_world_gives_equal_answers_to_equal_questions():
    """The same text, action and draw: the same child in every search; another draw, another child."""
    world, other = instruction_world(1), instruction_world(2)
    node = Node(text=SEED)
    first = [await world.expand(node, action, 0) for action in ACTIONS]
    assert first == [await world.expand(node, action, 0) for action in ACTIONS]
    assert first != [await world.expand(node, action, 1) for action in ACTIONS]
    assert first != [await other.expand(node, action, 0) for action in ACTIONS]
    assert await world.judge([SEED], 0) == await world.judge([SEED], 0) != await other.judge([SEED], 0)
