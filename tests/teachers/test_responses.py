"""What came back becomes choices, or a failure of one class."""

import json

import pytest

from potstill.teachers.base import CUT_BEFORE_TEXT
from potstill.teachers.responses import Choice, Failure, Reply, mean_logprob, read_response, read_usage

JSON = "application/json"


def answer(**choice):
    return json.dumps({"choices": [{"index": 0, "finish_reason": "stop", **choice}]}).encode()


def error(message, code=None):
    return json.dumps({"error": {"message": message, "code": code}}).encode()


@pytest.mark.parametrize(
    ("status", "content_type", "body", "kind", "code"),
    [
        (429, JSON, error("slow down"), "throttled", "http_429"),
        (503, JSON, error("overloaded"), "throttled", "http_503"),
        (529, JSON, b"", "throttled", "http_529"),
        (429, JSON, error("You exceeded your current quota", "insufficient_quota"), "user", "quota"),
        (500, JSON, error("oops"), "broken", "http_500"),
        (502, "text/html", b"<html><title>502</title></html>", "broken", "http_502"),
        (408, JSON, b"", "broken", "http_408"),
        (400, JSON, error("unknown parameter: 'foo'"), "user", "http_400"),
        (400, JSON, error("maximum context length is 4096 tokens", "context_length_exceeded"), "row", "context_length"),
        (400, JSON, error("triggering Azure's policy", "content_filter"), "row", "content_filter"),
        (401, JSON, error("bad key"), "user", "http_401"),
        (403, JSON, error("not allowed"), "user", "http_403"),
        (404, JSON, error("model not found"), "user", "http_404"),
        (302, "text/html", b"", "user", "http_302"),
        (200, "text/html", b"<html>gateway</html>", "broken", "not_json"),
        (200, JSON, b'{"choices": [{"mess', "broken", "malformed_json"),
        (200, JSON, b"", "broken", "malformed_json"),
        (200, JSON, b"\xff\xfe", "broken", "malformed_json"),
        (200, JSON, b"[" * 100_000, "broken", "malformed_json"),
        (200, JSON, b'{"choices": []}', "broken", "no_choices"),
        (200, JSON, b'{"choices": ["a"]}', "broken", "no_choices"),
        (200, JSON, b"[1]", "broken", "no_choices"),
        (200, JSON, b'{"error": {"message": "upstream", "code": 429}}', "throttled", "http_429"),
        (200, JSON, b'{"error": {"message": "upstream", "code": "x"}}', "broken", "http_500"),
    ],
)
def test_each_bad_answer_falls_in_its_class(status, content_type, body, kind, code):
    """Status first, content type next, the body last."""
    found = read_response(status, content_type, body)
    assert isinstance(found, Failure)
    assert (found.kind, found.code) == (kind, code)


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"message": {"content": "hi"}}, Choice("hi", "stop")),
        ({"text": "hi"}, Choice("hi", "stop")),
        ({"message": {"content": "hi"}, "finish_reason": "length"}, Choice("hi", "length")),
        ({"message": {"content": "hi"}, "finish_reason": None}, Choice("hi", "stop")),
        ({"message": {"content": None}}, Choice("", "empty", "null_content")),
        ({"message": {}}, Choice("", "empty", "null_content")),
        ({"message": {"content": " \n"}}, Choice(" \n", "empty", "empty_content")),
        ({"message": {"content": "x", "refusal": "I cannot"}}, Choice("x", "refused", "refusal: I cannot")),
        ({"message": {"content": "x"}, "finish_reason": "content_filter"}, Choice("x", "refused", "content_filter")),
        ({"message": {"content": "x"}, "finish_reason": "error"}, Choice("x", "error", "finish_reason_error")),
        (
            {"message": {"content": "", "reasoning_content": "hm"}, "finish_reason": "length"},
            Choice("", "empty", CUT_BEFORE_TEXT, "hm"),
        ),
        ({"message": {"content": "a", "reasoning": "hm"}}, Choice("a", "stop", None, "hm")),
        ({"message": {"content": "<think>t</think> a"}}, Choice("<think>t</think> a", "stop")),
        ({"message": {"content": [{"type": "text", "text": "a"}, {"text": "b"}]}}, Choice("ab", "stop")),
    ],
)
def test_a_choice_keeps_its_text_exactly_and_its_reason(choice, expected):
    """Nothing is trimmed; what is no answer says why."""
    found = read_response(200, JSON, answer(**choice))
    assert isinstance(found, Reply)
    assert found.choices == (expected,)


def test_choices_stand_in_the_order_of_their_index():
    """A server may send them in any order."""
    rows = [{"index": index, "message": {"content": str(index)}} for index in (2, 0, 1)]
    found = read_response(200, JSON, json.dumps({"choices": rows}).encode())
    assert [choice.text for choice in found.choices] == ["0", "1", "2"]


def test_log_probabilities_are_averaged_in_both_shapes():
    """Chat and completions differ; null in either gives none."""
    assert mean_logprob({"content": [{"logprob": -1.0}, {"logprob": -3.0}]}) == -2.0
    assert mean_logprob({"token_logprobs": [None, -1.0, -2.0]}) == -1.5
    assert mean_logprob({"content": None}) is None
    assert mean_logprob(None) is None


def test_usage_is_optional_and_keeps_what_is_reported():
    """Absent or malformed counts are none, never zero."""
    reported = {"prompt_tokens": 5, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 2}}
    assert read_usage(reported) == {"prompt_tokens": 5, "completion_tokens": 7, "cached_tokens": 2}
    assert read_usage(None) is None
    assert read_usage({"prompt_tokens": 5}) is None
    assert read_usage({"prompt_tokens": 5, "completion_tokens": -1}) is None
    assert read_usage({"prompt_tokens": 5, "completion_tokens": True}) is None
