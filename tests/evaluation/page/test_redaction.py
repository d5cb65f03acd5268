"""What may grant access is not shown."""

import pytest

from potstill.evaluation.page.redaction import public, public_command


def test_header_values_and_keys_are_left_out_and_names_stay():
    """The reader sees that a header was sent, not what it was; settings that only sound alike are shown."""
    recipe = {
        "teachers": [{"headers": {"X-Any": "v1"}, "api_key_env": "MY_KEY", "max_tokens": 512, "stop": ["\n"]}],
        "options": {"access_token": "t", "password": "p"},
        "proxy": "http://me:pass@proxy:8080",
    }
    assert public(recipe) == {
        "teachers": [{"headers": {"X-Any": "(not shown)"}, "api_key_env": "MY_KEY", "max_tokens": 512, "stop": ["\n"]}],
        "options": {"access_token": "(not shown)", "password": "(not shown)"},
        "proxy": "http://(not shown)@proxy:8080",
    }


@pytest.mark.parametrize(
    ("part", "shown"),
    [
        ("teachers.0.headers.Authorization=Bearer x", "teachers.0.headers.Authorization=(not shown)"),
        ("sample.n=5", "sample.n=5"),
        ("--base-url=https://a:b@host/v1", "--base-url=https://(not shown)@host/v1"),
        ("--api-key-env", "--api-key-env"),
    ],
)
def test_a_command_line_is_shown_without_secrets(part, shown):
    """Overrides on the command line are as private as the recipe."""
    assert public_command(["potstill", part]) == ["potstill", shown]
