"""Evolution with a teacher: many trees at once, failures counted, kills survived, nothing paid for twice."""

import json
import random
import re

import pytest

from potstill.errors import BudgetError, ConfigError, TooManyFailures
from potstill.generators.evolution import Asked, begin, derive, evolve, fit_seeds, grow_to_file
from potstill.generators.treefiles import read_trees
from potstill.instructions import known_trees
from potstill.miniature import instruction_teacher
from potstill.miniature.instruction_grammar import seeds
from potstill.recipe.generators import EvolveConfig
from potstill.recipe.students import StudentConfig, TrainConfig
from potstill.recipe.teachers import BudgetConfig, TeacherConfig
from potstill.records import Problem, problem_from
from potstill.streams import collect
from potstill.students.judged import Judged
from potstill.students.scorers import train_scorer
from potstill.teachers.base import Completion
from potstill.teachers.fakes import FakeTeacher
from potstill.teachers.ledger import Ledger, summarise

SEEDS = [problem_from({"question": text}) for text in seeds(5, 4)]
SMALL = EvolveConfig(calls=8, per_seed=2)


def spoken(request, index):
    """Answer as the miniature's teacher does."""

    text = request.messages[-1]["content"]
    return instruction_teacher.write(text, random.Random(f"{index}{text}"))


def misbehaving(how):
    """Return a teacher that judges well and rewrites as `how` says."""

    def write(request, index):
        text = request.messages[-1]["content"]
        found = instruction_teacher.REWRITE.search(text)
        return how(found["text"]) if found else spoken(request, index)

    return FakeTeacher(write)


def shape(problems):
    """Return what must not depend on timing."""
    return [(p.id, p.parent_id, p.meta["evolution"]["value"]) for p in problems]


async def test_seeds_come_back_as_better_problems_in_their_order():
    """Every one names its parent; values rise; the same call gives the same, however many run at once."""
    found = await collect(evolve(SEEDS, FakeTeacher(spoken), SMALL, seed=1))
    again = await collect(evolve(SEEDS, FakeTeacher(spoken), SMALL.model_copy(update={"at_once": 1}), seed=1))
    assert shape(found) == shape(again)
    known = {p.id for p in [*SEEDS, *found]}
    assert {p.parent_id for p in found} <= known
    assert {p.meta["evolution"]["root_id"] for p in found} == {p.id for p in SEEDS}
    assert all(p.answer is None for p in found)


@pytest.mark.parametrize("strategy", ["beam", "tree", "published", "random", "best_of_n"])
async def test_every_strategy_makes_the_calls_that_it_is_given(strategy):
    """The published one may stop earlier."""
    teacher = FakeTeacher(spoken)
    await collect(evolve(SEEDS[:2], teacher, SMALL.model_copy(update={"strategy": strategy})))
    texts = [request.messages[-1]["content"] for request, _ in teacher.calls]
    calls = sum("Change to apply" in text for text in texts)
    assert calls == 16 if strategy != "published" else 0 < calls <= 16


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        (lambda text: "I rewrote it for you, and better!", "unparseable"),
        (lambda text: Completion(text="", finish="empty", reason="empty"), "empty"),
        (lambda text: Completion(text='{"status": "ok", "instruc', finish="length"), "truncated"),
    ],
)
async def test_an_evolver_that_gives_no_instruction_ends_the_stage_with_the_counts(how, reason):
    """Prose, nothing, half an answer: each a named failure, and too many of them an error."""
    with pytest.raises(TooManyFailures, match=rf"40 of 40 calls brought no instruction \(40 {reason}\)"):
        await collect(evolve(SEEDS, misbehaving(how), SMALL))


async def test_an_evolver_that_echoes_gives_nothing_and_no_error():
    """The gate refuses copies; that the seed could not be improved is a result."""
    echo = misbehaving(lambda text: json.dumps({"status": "ok", "instruction": text}))
    assert await collect(evolve(SEEDS, echo, SMALL)) == []


async def test_a_judge_that_talks_leaves_everything_without_a_value(tmp_path):
    """No number is made up: nothing is kept, and the judgements are counted as missing."""
    talker = FakeTeacher(lambda request, index: "They are all lovely, 11 out of 10.")
    found = await collect(evolve(SEEDS, FakeTeacher(spoken), SMALL, judge=talker))
    assert found == []
    plain = TeacherConfig(base_url="")
    growth = await begin(Asked(FakeTeacher(spoken), plain), Asked(talker, plain), SMALL, SEEDS)
    tree = await growth.tree(SEEDS[0])
    assert tree.root.value is None
    assert growth.judge.bench.faults["unparseable"] >= growth.judge.bench.votes > 0


async def test_actions_are_derived_from_the_seeds_in_one_call_or_left_out_after_three():
    """What the teacher says becomes actions of the search."""
    config = SMALL.model_copy(update={"derive": 3})
    teacher = FakeTeacher(spoken)
    asked = Asked(teacher, TeacherConfig(base_url=""))
    growth = await begin(asked, asked, config, SEEDS)
    assert [growth.actions[f"task_{n}"].method for n in (1, 2, 3)] == list(instruction_teacher.RULES[:3])
    assert len(teacher.calls) == 1
    talker = FakeTeacher(lambda request, index: "Why not make them longer?")
    assert await derive(Asked(talker, TeacherConfig(base_url="")), config, ["a"]) == []
    assert [indices for _, indices in talker.calls] == [(0,), (1,), (2,)]


async def test_novelty_is_measured_against_the_seeds():
    """It is one of the scores where the recipe weighs it; a seed is not new."""
    config = SMALL.model_copy(update={"weights": {"quality": 1.0, "novelty": 1.0}})
    asked = Asked(FakeTeacher(spoken), TeacherConfig(base_url=""))
    growth = await begin(asked, asked, config, SEEDS)
    tree = await growth.tree(SEEDS[0])
    assert tree.root.scores["novelty"] == 1.0
    assert max(node.scores["novelty"] for node in tree.nodes if node.scores) > 2


def test_seeds_that_cannot_be_evolved_are_named():
    """Without words, or of 50 kB."""
    bad = [Problem(id="marks", question="?!"), Problem(id="long", question="word " * 10_000)]
    fitting, drops = fit_seeds([*SEEDS, *bad], SMALL)
    assert fitting == SEEDS
    assert [(drop.id, drop.reason) for drop in drops] == [("marks", "seed_without_words"), ("long", "seed_too_long")]


def addressed(server):
    """Return the served teacher, as a stage is given it."""
    return TeacherConfig(base_url=server.base_url, model="m", seed=0, max_concurrency=8), "miniature-test"


async def test_what_was_bought_before_a_stop_is_not_bought_again(teacher_server, tmp_path):
    """A budget ends the growing in the middle of trees; a larger one goes on, and every answer is there once."""
    server = teacher_server(canned=0)
    out = tmp_path / "trees.jsonl"
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        with pytest.raises(BudgetError):
            await grow_to_file(
                SEEDS, [addressed(server)], SMALL, out, ledger=ledger, budget=BudgetConfig(tokens=15_000), run="r"
            )
        before = summarise(tmp_path / "ledger.sqlite")["completions"]
        known = dict(read_trees(out))
        await grow_to_file(SEEDS, [addressed(server)], SMALL, out, ledger=ledger, run="r", known=known)
    assert before > 0
    assert len(known) < len(SEEDS) == len(dict(read_trees(out)))
    with Ledger(tmp_path / "other.sqlite") as ledger:
        await grow_to_file(SEEDS, [addressed(server)], SMALL, tmp_path / "whole.jsonl", ledger=ledger)
    assert dict(read_trees(out)) == dict(read_trees(tmp_path / "whole.jsonl"))
    assert summarise(tmp_path / "ledger.sqlite")["duplicates"] == 0
    assert summarise(tmp_path / "ledger.sqlite")["completions"] == summarise(tmp_path / "other.sqlite")["completions"]


async def test_a_served_teacher_that_fails_now_and_then_costs_nothing_but_retries(teacher_server, tmp_path):
    """Errors of the transport are the teacher's business: the trees are those of a quiet endpoint."""
    trees = []
    for knobs in ({}, {"p_500": 0.1, "p_drop": 0.05, "p_429": 0.1, "retry_after": 0.01}):
        server = teacher_server(canned=0, **knobs)
        out = tmp_path / f"{len(trees)}.jsonl"
        with Ledger(tmp_path / f"{len(trees)}.sqlite") as ledger:
            counts = await grow_to_file(SEEDS[:3], [addressed(server)], SMALL, out, ledger=ledger)
        assert counts["calls"] == 24
        trees.append(dict(read_trees(out)))
    assert trees[0] == trees[1]
    assert re.fullmatch(r"sha256:[0-9a-f]{16}", next(iter(trees[0])))


async def test_trees_learn_from_those_before_them_and_depend_on_their_place_alone():
    """At any concurrency, and after any kill, the same trees; by themselves they are others."""
    config = SMALL.model_copy(update={"share_after": 2, "weights": {"quality": 1.0, "novelty": 1.0}})
    found = shape(await collect(evolve(SEEDS, FakeTeacher(spoken), config, seed=1)))
    at_once = config.model_copy(update={"at_once": 1})
    assert shape(await collect(evolve(SEEDS, FakeTeacher(spoken), at_once, seed=1))) == found
    alone = config.model_copy(update={"share_after": None})
    assert shape(await collect(evolve(SEEDS, FakeTeacher(spoken), alone, seed=1))) != found


async def test_a_finished_tree_stands_as_long_as_the_seeds_before_it_are_the_same(tmp_path):
    """Resumed from any of its trees an evolution goes on to the same ones; behind another seed they are grown anew."""
    config = SMALL.model_copy(update={"share_after": 2})
    asked = Asked(FakeTeacher(spoken), TeacherConfig(base_url=""))
    growth = await begin(asked, asked, config, SEEDS)
    whole = {seed.id: await growth.tree(seed) for seed in SEEDS}
    ids = [seed.id for seed in SEEDS]
    assert known_trees(whole.items(), ids, config) == whole
    some = dict(list(whole.items())[:3])
    resumed = await begin(asked, asked, config, SEEDS, known=some)
    assert [await resumed.tree(seed) for seed in SEEDS[3:]] == [whole[seed.id] for seed in SEEDS[3:]]
    moved = known_trees(whole.items(), ["another", *ids], config)
    assert list(moved) == ids[:1]
    assert known_trees(whole.items(), [*ids, "another"], config) == whole


async def test_a_trained_scorer_judges_in_place_of_a_teacher(tmp_path):
    """No request is spent on judging; a term that it has not learnt, and a teacher beside it, are refused."""
    pytest.importorskip("torch")
    rng = random.Random(3)
    rows = [Judged(texts=(text,), scores={"quality": rng.uniform(1, 6)}) for text in seeds(30, 8)]
    sizes = {"model_type": "bert", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
             "intermediate_size": 16, "vocab_size": 300}  # fmt: skip
    student = StudentConfig(model="scratch", config=sizes)
    quick = TrainConfig.model_validate({"max_steps": 2})
    folder = train_scorer(rows, quick, student=student, out=tmp_path / "scorer", threads=1)
    table = {"calls": 6, "judge": {"scorer": str(folder)}, "floors": {}}
    config = EvolveConfig.model_validate({**table, "weights": {"quality": 1.0}})
    teacher = FakeTeacher(spoken)
    found = await collect(evolve(SEEDS, teacher, config, seed=1))
    assert found and all(set(problem.meta["evolution"]["scores"]) == {"quality"} for problem in found)
    assert all("Change to apply" in request.messages[-1]["content"] for request, _ in teacher.calls)
    with pytest.raises(ConfigError, match=r"scores quality; evolve\.weights or floors need 'diversity', too"):
        await collect(evolve(SEEDS, teacher, EvolveConfig.model_validate(table)))
    with pytest.raises(ValueError, match="give scorer, or teacher and rubrics"):
        EvolveConfig.model_validate({"judge": {"scorer": "a", "teacher": "b"}})
