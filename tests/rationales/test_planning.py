"""The plan of a sampling, held against what a real server then counts."""

import asyncio

from potstill.rationales.planning import plan
from potstill.rationales.sampling import sample_to_file
from potstill.recipe.teachers import PriceConfig, SampleConfig, TeacherConfig
from potstill.records import Problem
from potstill.teachers.ledger import Ledger

PROBLEMS = [Problem(id=f"p{i}", question=f"What is {i} + 1?", answer=f"{i + 1}") for i in range(20)]
ZERO_SHOT = SampleConfig(n=3, template="zero_shot")


def teacher_of(server, **changes):
    return TeacherConfig(**{"base_url": server.base_url, "model": "m", "api_key_env": None, "seed": 7, **changes})


def buy(teachers, ledger, config=ZERO_SHOT):
    async def run():
        with Ledger(ledger) as books:
            await sample_to_file(PROBLEMS, teachers, config, ledger.with_name("out.jsonl"), ledger=books)

    asyncio.run(run())


def test_a_plan_says_what_will_be_bought(teacher_server, tmp_path):
    """Requests as they are then sent; what the ledger holds is free; money only with a price."""
    server, ledger = teacher_server(), tmp_path / "ledger.db"
    teacher = teacher_of(server, n=2, max_tokens=100, price=PriceConfig(input=1.0, output=2.0))
    [before] = plan(PROBLEMS, ZERO_SHOT, teacher, ledger=ledger)
    assert not ledger.exists()
    buy(teacher, ledger)
    assert (before["rationales"], before["in_ledger"], before["requests"]) == (60, 0, 40)
    assert before["requests"] == server.stats()["requests"]
    assert before["max_completion_tokens"] == 6_000
    assert before["max_money"] == round((before["prompt_tokens"] + 2 * 6_000) / 1e6, 4)
    [after] = plan(PROBLEMS, ZERO_SHOT.model_copy(update={"n": 4}), teacher, ledger=ledger)
    assert (after["in_ledger"], after["requests"]) == (60, 20)
    [free] = plan(PROBLEMS, ZERO_SHOT, teacher.model_copy(update={"price": None}), ledger=ledger)
    assert (free["requests"], free["max_money"]) == (0, None)


def test_several_teachers_have_a_row_each(teacher_server, tmp_path):
    """Each at its own share, price and choices per request; one of weight 0 has none."""
    server, ledger = teacher_server(), tmp_path / "ledger.db"
    cheap = teacher_of(server, model="cheap", weight=2)
    dear = teacher_of(server, model="dear", price=PriceConfig(output=1.0), max_tokens=50)
    idle = teacher_of(server, model="idle", weight=0)
    rows = plan(PROBLEMS, ZERO_SHOT, [(one, None) for one in (cheap, dear, idle)], ledger=ledger)
    assert [(row["teacher"], row["rationales"], row["requests"]) for row in rows] == [
        ("cheap", 40, 40),
        ("dear", 20, 20),
    ]
    assert [row["max_money"] for row in rows] == [None, 0.001]
    buy([(cheap, None), (dear, None)], ledger)
    after = plan(PROBLEMS, ZERO_SHOT, [(cheap, None), (dear, None)], ledger=ledger)
    assert [(row["in_ledger"], row["requests"]) for row in after] == [(40, 0), (20, 0)]
