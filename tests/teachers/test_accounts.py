"""What `potstill show LEDGER` prints."""

import pytest

from potstill.errors import DataError
from potstill.teachers.accounts import Reader, summarise
from potstill.teachers.base import Completion
from potstill.teachers.ledger import Attempt, Labels, Ledger


def attempt(indices, outcome="ok", *, key="k", billed=True, cap=10):
    usage = {"prompt_tokens": 10, "completion_tokens": 5, **({} if outcome == "ok" else {"estimated": 1})}
    return Attempt(
        key=key, cap=cap, indices=indices, outcome=outcome, billed=billed, usage=usage if billed else {}, money=0.25
    )


def completion(index, finish="stop", reason=None):
    return Completion(text="t", finish=finish, reason=reason, index=index)


async def test_totals_duplicates_and_reasons_are_counted(tmp_path):
    """A completion paid for three times is two duplicates; those after a broken answer are told apart."""
    path, labels = tmp_path / "l", Labels(None, "http://h/v1", "m")
    with Ledger(path) as ledger:
        await ledger.store(attempt([0, 1]), [completion(0), completion(1)], labels)
        ledger.note(attempt([2], "malformed_json"), labels)
        await ledger.store(attempt([2]), [completion(2, "refused", "refusal: no")], labels)
        await ledger.store(attempt([0]), [completion(0)], labels)
        await ledger.store(attempt([0], cap=20), [completion(0)], labels)
        ledger.note(attempt([3], "http_500", billed=False), labels)
        await ledger.store(attempt([3], "", billed=False), [completion(3, "error", "http_500: oops")], labels)
    facts = summarise(path)
    expected = {
        "requests": 6, "billed_requests": 5, "prompt_tokens": 50, "completion_tokens": 25, "tokens": 75,
        "money": 1.5, "estimated_requests": 1, "completions": 3, "duplicates": 2, "duplicates_after_broken_answers": 1,
        "finish": {"stop": 3, "refused": 1, "error": 1}, "failures": {"error:http_500": 1, "refused:refusal": 1},
        "failed_attempts": {"malformed_json": 1, "http_500": 1}, "models": {"m": 6}, "endpoints": {"http://h/v1": 6},
    }  # fmt: skip
    assert {name: facts[name] for name in expected} == expected


def test_a_missing_file_is_an_error_to_show_and_empty_to_plan_with(tmp_path):
    """A dry run makes no ledger."""
    with pytest.raises(DataError, match="no such file"):
        summarise(tmp_path / "absent")
    with Reader(tmp_path / "absent") as reader:
        assert reader.have("k", [0], 10) == set()
        assert reader.spent("run") == {"tokens": 0, "money": 0.0}
    assert list(tmp_path.iterdir()) == []


def test_a_ledger_without_purchases_shows_zeros(tmp_path):
    """Nothing is null."""
    with Ledger(tmp_path / "l"):
        pass
    facts = summarise(tmp_path / "l")
    assert (facts["requests"], facts["money"], facts["duplicates"]) == (0, 0.0, 0)


def test_a_file_that_is_no_ledger_cannot_be_shown(tmp_path):
    """The message says what it is not."""
    (tmp_path / "text").write_text("text")
    with pytest.raises(DataError, match="not a readable ledger"):
        summarise(tmp_path / "text")
