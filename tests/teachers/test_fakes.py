"""The public fake teacher."""

import pytest
from loopback_endpoints import asking

from potstill.errors import BudgetError
from potstill.teachers.base import Completion
from potstill.teachers.fakes import FakeTeacher


async def test_a_queue_is_served_in_order_and_its_end_is_a_failure():
    """Calls are kept."""
    teacher = FakeTeacher(["a", Completion(text="", finish="refused", reason="no")])
    found = await teacher.complete(asking("q"), [4, 5, 6])
    assert [(c.text, c.finish, c.index) for c in found] == [("a", "stop", 4), ("", "refused", 5), ("", "error", 6)]
    assert teacher.calls == [(asking("q"), (4, 5, 6))]
    assert teacher.meter.completions == 3


async def test_a_function_answers_by_request_and_index_and_may_raise():
    """An exception that it returns is raised."""
    teacher = FakeTeacher(lambda request, index: f"{request.messages[0]['content']}{index}", author="f")
    assert [c.text for c in await teacher.complete(asking("q"), [0, 1])] == ["q0", "q1"]
    assert teacher.author == "f"
    with pytest.raises(BudgetError, match="spent"):
        await FakeTeacher([BudgetError("spent")]).complete(asking("q"), [0])
    await teacher.aclose()
    assert teacher.is_closed
