"""A model in this process as a teacher: real weights, tiny and random, through a real ledger."""

import shutil
import sys
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "students"))

from tiny_students import make_tokenizer, save_student

from potstill.errors import ConfigError
from potstill.recipe.teachers import TeacherConfig
from potstill.students.decoding import Path as Continuation
from potstill.students.loading import open_student
from potstill.teachers.base import Request, open_teacher
from potstill.teachers.ledger import Ledger
from potstill.teachers.local import ledger_name, reply_of, settled
from potstill.teachers.reaching import known_as, reachable

TEMPLATE = "{% for m in messages %}{{ m.content }} and {% endfor %}So"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A student folder that was made elsewhere."""
    return save_student(tmp_path_factory.mktemp("models") / "tiny")


@asynccontextmanager
async def opened(folder, ledger=None, **changes):
    async with (
        reachable(TeacherConfig(local=str(folder), **changes)) as (config, name),
        open_teacher(config, ledger=ledger, endpoint=name) as teacher,
    ):
        yield teacher


def asking(number, **changes):
    return Request(**{"model": "tiny", "prompt": f"Q: {number} plus 2 A:", "max_tokens": 12, "seed": 1, **changes})


async def texts(folder, requests, indices, **options):
    """Ask one after another; returns the completions of each request."""
    async with opened(folder, **options) as teacher:
        return [await teacher.complete(request, indices) for request in requests]


async def test_a_sample_is_the_same_whatever_it_is_written_with(folder):
    """Its seed is its own: alone, among others, in another order; without a seed in the request, too."""
    for seed in (1, None):
        requests = [asking(number, seed=seed) for number in range(3)]
        together = await texts(folder, requests, range(5))
        assert len({c.text for row in together for c in row}) == 15
        [alone] = await texts(folder, requests[1:2], [3, 1])
        assert [c.text for c in alone] == [together[1][3].text, together[1][1].text]


async def test_what_was_written_once_is_never_written_again(folder, tmp_path):
    """A second teacher finds it in the ledger and loads no model; more samples are written beside the old ones."""
    with Ledger(tmp_path / "ledger.db") as ledger:
        [first] = await texts(folder, [asking(1)], range(3), ledger=ledger)
        async with opened(folder, ledger) as teacher:
            again = await teacher.complete(asking(1), range(3))
            assert teacher._wire._loaded is None
            assert [c.text for c in again] == [c.text for c in first]
            more = await teacher.complete(asking(1), range(5))
            assert (teacher.meter.from_ledger, teacher.meter.completions) == (6, 2)
        assert [c.text for c in more[:3]] == [c.text for c in first]
        assert ledger.spent("none") == {"tokens": 0, "money": 0.0}


async def test_tokens_are_counted_exactly_and_each_text_has_its_log_probability(folder):
    """The prompt once for all samples of it; a text at the cap ended by length; nothing costs anything."""
    async with opened(folder) as teacher:
        found = await teacher.complete(asking(7, max_tokens=4), range(6))
        assert teacher.meter.money == 0
    assert [c.usage["prompt_tokens"] for c in found] == [5, 0, 0, 0, 0, 0]
    assert all(c.usage["completion_tokens"] <= 4 and "estimated" not in c.usage for c in found)
    assert "length" in {c.finish for c in found} <= {"length", "stop", "empty"}
    assert all(c.usage["completion_tokens"] == 4 for c in found if c.finish == "length")
    assert all(c.logprob < 0 for c in found)


async def test_a_text_ends_before_its_stop_text(folder):
    """As an endpoint would cut it."""
    [whole] = await texts(folder, [asking(3, max_tokens=30)], range(8))
    text = max((c.text for c in whole), key=len)
    word = text.split()[3]
    [cut] = await texts(folder, [asking(3, max_tokens=30, stop=(word,))], range(8))
    for before, after in zip(whole, cut, strict=True):
        assert after.text == before.text.partition(word)[0]
        if word in before.text and after.text.strip():
            assert after.finish == "stop"


async def test_temperature_zero_is_the_greedy_text(folder):
    """Every sample of it the same."""
    [found] = await texts(folder, [asking(4, temperature=0.0)], range(3))
    assert len({c.text for c in found}) == 1


async def test_a_prompt_beyond_the_context_is_that_rows_failure(folder):
    """The others are answered."""
    long = asking(1, prompt="Q: " + "1 plus " * 100 + "A:")
    failed, good = await texts(folder, [long, asking(1)], [0])
    assert (failed[0].finish, failed[0].reason.partition(":")[0]) == ("error", "context_length")
    assert good[0].finish in ("stop", "length")


async def test_a_chat_template_is_used_where_there_is_one(folder, tmp_path):
    """Its text is what is read; without one the API is plain completions, whatever the recipe leaves open."""
    assert settled(TeacherConfig(local=str(folder))).api == "completions"
    chatty = tmp_path / "chatty"
    shutil.copytree(folder, chatty)
    tokenizer = make_tokenizer()
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(chatty)
    assert settled(TeacherConfig(local=str(chatty))).api == "chat"
    assert settled(TeacherConfig(local=str(chatty), api="completions")).api == "completions"
    messages = ({"role": "user", "content": "1 plus 2"},)
    [[chat]] = await texts(chatty, [asking(0, prompt=None, messages=messages, temperature=0.0)], [0])
    [[plain]] = await texts(folder, [asking(0, prompt="1 plus 2 and So", temperature=0.0)], [0])
    assert (chat.text, chat.usage) == (plain.text, plain.usage)


def test_a_model_is_known_by_its_content(folder, tmp_path):
    """A copy is the same teacher, one with other weights is not; a name on the hub is known by itself."""
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    assert ledger_name(str(copy)) == ledger_name(str(folder))
    other = save_student(tmp_path / "other", seed=1)
    assert ledger_name(str(other)) != ledger_name(str(folder))
    assert ledger_name("org/model") == "local:org/model"


def test_what_is_no_model_is_said_before_it_is_asked():
    """With the key of the recipe."""
    with pytest.raises(ConfigError, match=r"teachers\.local: \./nothing: no such folder"):
        known_as(TeacherConfig(local="./nothing"))
    with pytest.raises(ValueError, match="one source, here base_url and local"):
        TeacherConfig(local="miniature", base_url="http://h/v1")
    with pytest.raises(ValueError, match="'reasoning_effort' means nothing to a local model"):
        TeacherConfig(local="miniature", extra_body={"reasoning_effort": "low"})


def test_the_author_is_the_folders_name(folder):
    """Or what the recipe calls it."""
    assert known_as(TeacherConfig(local=str(folder))).author == "tiny"
    assert known_as(TeacherConfig(local=str(folder), name="mine")).author == "mine"


def test_a_thought_whose_marks_are_special_tokens_is_kept_apart_from_the_answer(folder):
    """Decoded without its marks it would stand in the rationale, as text that was meant for the reader."""
    loaded = open_student(str(folder))
    tokenizer = make_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<think>", "</think>"]})
    ids = tuple(tokenizer("<think> 1 </think> 2")["input_ids"])
    path = Continuation(ids, "stop", -0.1, len(ids))
    (choice,) = reply_of([path], 3, replace(loaded, tokenizer=tokenizer), asking(1)).choices
    assert (choice.reasoning_content.strip(), choice.text.strip()) == ("1", "2")
