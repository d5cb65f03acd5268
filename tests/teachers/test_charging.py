"""What requests cost, reported or estimated."""

from potstill.recipe.teachers import PriceConfig
from potstill.teachers.charging import Costs, shared
from potstill.teachers.responses import Choice, Failure, Reply

HEAD = "x" * 400


def reply(*texts, usage=None):
    return Reply(tuple(Choice(text, "stop") for text in texts), usage)


def test_reported_counts_are_taken_as_they_are():
    """Nothing is estimated then."""
    usage = Costs(None).usage(HEAD, reply("a", usage={"prompt_tokens": 3, "completion_tokens": 9}), 1)
    assert usage == {"prompt_tokens": 3, "completion_tokens": 9}


def test_absent_counts_are_estimated_and_marked():
    """Four bytes a token."""
    usage = Costs(None).usage(HEAD, reply("a" * 40, "b" * 2), 2)
    assert usage == {"prompt_tokens": 100, "completion_tokens": 11, "estimated": 1}


def test_a_broken_answer_that_was_billed_is_charged():
    """By what answers usually take; by its bytes before any was seen."""
    costs, broken = Costs(None), Failure("broken", "malformed_json", billed=True, received=200)
    assert costs.usage(HEAD, broken, 2) == {"prompt_tokens": 100, "completion_tokens": 50, "estimated": 1}
    costs.usage(HEAD, reply("a", usage={"prompt_tokens": 90, "completion_tokens": 30}), 1)
    assert costs.usage(HEAD, broken, 2)["completion_tokens"] == 60
    assert costs.usage(HEAD, Failure("broken", "http_500"), 1) == {}


def test_a_reservation_is_not_below_what_is_used():
    """The cap bounds the completion; the prompt is bounded by half its bytes until the server has counted once."""
    costs = Costs(PriceConfig(input=1.0, output=10.0))
    tokens, money = costs.at_most(HEAD, 3, 50)
    assert tokens == 216 + 150
    assert money == (216 * 1.0 + 150 * 10.0) / 1e6
    costs.usage(HEAD, reply("a", usage={"prompt_tokens": 100, "completion_tokens": 5}), 1)
    assert costs.at_most(HEAD, 1, 50)[0] == 126 + 50
    assert costs.at_most(HEAD, 1, None)[0] > 4096


def test_shares_of_a_request_sum_to_the_whole():
    """The prompt is paid once, by the first."""
    choices = reply("a" * 10, "b" * 100, "").choices
    shares = shared({"prompt_tokens": 7, "cached_tokens": 2, "completion_tokens": 31}, choices)
    assert sum(share["prompt_tokens"] for share in shares) == 7
    assert sum(share["completion_tokens"] for share in shares) == 31
    assert shares[0]["cached_tokens"] == 2
    assert all(share["estimated"] == 1 for share in shares)
    assert shared({"prompt_tokens": 7, "completion_tokens": 3}, choices[:1]) == [
        {"prompt_tokens": 7, "completion_tokens": 3}
    ]
