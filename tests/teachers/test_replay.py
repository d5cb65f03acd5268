"""Recorded rationales, served again."""

import json

import pytest
from loopback_endpoints import asking

from potstill.errors import ConfigError, DataError
from potstill.recipe.teachers import TeacherConfig
from potstill.teachers.base import open_teacher
from potstill.teachers.replay import ReplayTeacher

ROWS = [
    {"question_id": "a", "kind": "cot", "text": "one", "teacher": "x", "sample": 0, "correct": True},
    {"question_id": "a", "kind": "pot", "text": "two", "teacher": "x", "sample": 0},
    {"question_id": "a", "kind": "cot", "text": "three", "teacher": "y", "sample": 0, "finish_reason": "length"},
    {"question_id": "b", "kind": "cot", "text": "", "teacher": "y", "sample": 0},
    {"problem_id": "c", "kind": "cot", "text": "", "author": "z", "finish": "refused", "reason": "content_filter"},
]


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "r.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return file


async def completions(teacher, problem, *indices, kind="cot"):
    return await teacher.complete(asking("q", problem_id=problem, kind=kind), indices)


async def test_the_recorded_rationales_of_a_problem_come_in_the_order_of_the_file(path):
    """Index i is the i-th of that problem and kind, with its own author and every column of its row."""
    teacher = ReplayTeacher(path)
    one, three = await completions(teacher, "a", 0, 1)
    assert (one.text, one.finish, one.author, one.index) == ("one", None, "x", 0)
    assert one.meta == {"sample": 0, "correct": True}
    assert (three.text, three.finish, three.author, three.index) == ("three", "length", "y", 1)
    assert [c.text for c in await completions(teacher, "a", 0, kind="pot")] == ["two"]


async def test_what_was_not_recorded_is_a_failure_with_its_reason(path):
    """Not an exception, and not another problem's text."""
    teacher = ReplayTeacher(path)
    (found,) = await completions(teacher, "a", 2)
    assert (found.text, found.finish, found.reason) == ("", "error", "not_recorded: 2 recorded for this problem")
    assert (await completions(teacher, "unknown", 0))[0].reason.startswith("not_recorded")
    assert teacher.meter.failures == {"error:not_recorded": 2}


async def test_recorded_failures_stay_failures(path):
    """An empty text is no answer; a recorded refusal keeps its reason."""
    teacher = ReplayTeacher(path)
    assert (await completions(teacher, "b", 0))[0].finish == "empty"
    refused = (await completions(teacher, "c", 0))[0]
    assert (refused.finish, refused.reason) == ("refused", "content_filter")


async def test_one_of_several_authors_can_be_chosen(path):
    """By the teacher's model name."""
    async with open_teacher(TeacherConfig(replay=str(path), model="y"), ledger=None) as teacher:
        assert teacher.author == "y"
        assert [c.text for c in await completions(teacher, "a", 0)] == ["three"]
    with pytest.raises(ConfigError, match=r"'nobody' wrote nothing in .*; authors there: x, y, z"):
        ReplayTeacher(path, author="nobody")


async def test_a_request_without_its_problem_is_our_error(path):
    """Replay cannot guess what is asked about."""
    with pytest.raises(DataError, match="names no problem"):
        await ReplayTeacher(path).complete(asking("q"), [0])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"kind": "cot", "text": "t"}', r"r.jsonl:1: a recorded rationale needs problem_id"),
        ('{"question_id": "a", "kind": "cot"}', "needs problem_id"),
        ('{"question_id": "a", "kind": "cot", "text": 3}', "field 'text' is int"),
        ("{", "not valid JSON"),
        ("", "the file is empty"),
    ],
)
def test_a_damaged_recording_is_refused_with_its_place(tmp_path, line, message):
    """File and line are named."""
    (tmp_path / "r.jsonl").write_text(line)
    with pytest.raises(DataError, match=message):
        ReplayTeacher(tmp_path / "r.jsonl")


async def test_several_files_are_one_recording(path, tmp_path):
    """A second file's rationales of a problem follow the first one's."""
    more = tmp_path / "more.jsonl"
    more.write_text(path.read_text())
    one, both = ReplayTeacher(path), ReplayTeacher([path, more])
    assert (one.available("a", "cot"), both.available("a", "cot")) == (2, 4)
