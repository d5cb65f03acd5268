"""Requests, their keys, and how teachers are opened."""

from dataclasses import fields

import pytest

from potstill.errors import ConfigError
from potstill.recipe.teachers import BudgetConfig, PriceConfig, TeacherConfig
from potstill.teachers.base import Request, endpoint_id, money_for, open_teacher, public_url, with_extra_body

URL = "http://h:1/v1"
BASE = {
    "model": "m",
    "messages": ({"role": "system", "content": "s"}, {"role": "user", "content": "q"}),
    "prompt": None,
    "temperature": 1.0,
    "top_p": 0.9,
    "max_tokens": 10,
    "stop": ("\n",),
    "seed": 1,
    "logprobs": False,
    "extra": {"reasoning_effort": "low"},
    "problem_id": "p",
    "kind": "cot",
}
CHANGED = {
    "model": "m2",
    "messages": ({"role": "system", "content": "S"}, {"role": "user", "content": "q"}),
    "prompt": "q",
    "temperature": 0.5,
    "top_p": 0.8,
    "stop": ("\n\n",),
    "seed": 2,
    "logprobs": True,
    "extra": {"reasoning_effort": "high"},
}
NOT_IN_KEY = {"max_tokens": 20, "problem_id": "p2", "kind": "pot"}


@pytest.mark.parametrize("name", CHANGED)
def test_every_field_that_can_change_a_text_changes_the_key(name):
    """A stale answer is never served after a change: not of the system message, not of a provider's own field."""
    assert Request(**BASE).key(URL) != Request(**{**BASE, name: CHANGED[name]}).key(URL)


@pytest.mark.parametrize("name", NOT_IN_KEY)
def test_the_cap_and_what_is_not_sent_are_outside_the_key(name):
    """The cap has its own rule, and the problem's id is never sent."""
    assert Request(**BASE).key(URL) == Request(**{**BASE, name: NOT_IN_KEY[name]}).key(URL)


def test_every_field_of_a_request_is_in_one_of_the_two_lists():
    """A field added later cannot be forgotten in the key."""
    assert {f.name for f in fields(Request)} == set(CHANGED) | set(NOT_IN_KEY)


def test_the_endpoint_is_part_of_the_key():
    """Two servers that offer a model of one name are two teachers."""
    assert Request(**BASE).key(URL) != Request(**BASE).key("http://h:2/v1")


def test_a_cap_under_another_name_is_the_cap_and_not_in_the_key():
    """`max_completion_tokens` replaces `max_tokens`."""
    request = Request(**{**BASE, "extra": {"max_completion_tokens": 7}})
    assert request.cap == 7
    assert request.key(URL) == Request(**{**BASE, "extra": {"max_completion_tokens": 9}}).key(URL)


def test_each_index_has_its_own_seed():
    """An honest server repeats itself for an equal seed, so no two draws may share one."""
    seeds = [Request(**BASE).seed_of(index) for index in range(30)]
    assert len(set(seeds)) == 30
    assert Request(**{**BASE, "seed": None}).seed_of(3) is None


def test_extra_body_reaches_the_request_and_its_own_fields_win():
    """The teacher's further fields are in the key, as they are in the body."""
    config = TeacherConfig(base_url=URL, extra_body={"a": 1, "reasoning_effort": "high"})
    assert with_extra_body(Request(**BASE), config).extra == {"a": 1, "reasoning_effort": "low"}


def test_credentials_are_in_no_name_of_an_endpoint(monkeypatch):
    """A key that is rotated buys nothing again, and is written nowhere."""
    monkeypatch.setenv("PASS", "secret")
    config = TeacherConfig(
        base_url="https://user:${PASS}@h:8/v1/?api-key=${PASS}", headers={"X-Api-Key": "${PASS}", "X-Route": "b"}
    )
    assert endpoint_id(config) == '["https://h:8/v1",{"x-route":"b"}]'
    assert public_url("http://[::1]:80/v1") == "http://[::1]:80/v1"


def test_a_malformed_address_is_a_configuration_error():
    """The message shows what was given and an example."""
    with pytest.raises(ConfigError, match=r"teacher.base_url: got .*localhost:8000/v1"):
        public_url("http://[bad/v1")


def test_money_counts_cached_tokens_at_their_own_price():
    """Prices are per million tokens."""
    usage = {"prompt_tokens": 1_000_000, "cached_tokens": 400_000, "completion_tokens": 500_000}
    assert money_for(usage, PriceConfig(input=2.0, cached_input=0.5, output=4.0)) == pytest.approx(1.2 + 0.2 + 2.0)
    assert money_for(usage, PriceConfig(input=2.0, output=4.0)) == pytest.approx(4.0)
    assert money_for(usage, None) == 0.0


async def test_a_budget_in_money_needs_a_price():
    """A limit that could never be reached is refused."""
    config = TeacherConfig(base_url=URL, api_key_env=None)
    with pytest.raises(ConfigError, match=r"budget.money: set, but teacher.price is not"):
        async with open_teacher(config, ledger=None, budget=BudgetConfig(money=1.0)):
            pass
