"""What came back, read: a body becomes choices, or a failure of one class. Pure; the table of classes stands here.

429, 503, 529                            slow the whole client down, retry        throttled
408, 409, 425, other 5xx, broken 200     retry with backoff                       broken
a prompt that is refused or too long     recorded, this row only                  row
400, 401, 403, 404 and other 4xx, 3xx    the user's error, said once              user
the worker of a cluster that sent it died  sent again at once, by another one      lost
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from potstill.errors import shorten
from potstill.teachers.base import CUT_BEFORE_TEXT

THROTTLING = frozenset({429, 503, 529})
RETRIED = frozenset({408, 409, 425})
_CUT = frozenset({"length", "max_tokens", "max_output_tokens", "model_length"})
_BROKEN_OFF = frozenset({"error", "abort"})
_FILTERED = re.compile(r"content[_ ](filter|policy|management)|moderation|responsibleai|safety system|flagged", re.I)
_TOO_LONG = re.compile(
    r"context[_ ](length|window|size)|maximum (context|model|sequence) length|too (long|many tokens)|prompt is longer",
    re.I,
)
_QUOTA = re.compile(r"insufficient[_ ](quota|credit|funds|balance)|billing|exceeded your current quota", re.I)


@dataclass(frozen=True, slots=True)
class Choice:
    """One choice of a response, as it was read."""

    text: str
    finish: str
    reason: str | None = None
    reasoning_content: str | None = None
    logprob: float | None = None
    tokens: int | None = None
    """Its completion tokens, where they are known for each choice."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A response that holds choices."""

    choices: tuple[Choice, ...]
    usage: Mapping[str, int] | None
    """`None`: the server reported none."""


@dataclass(frozen=True, slots=True)
class Failure:
    """An attempt without an answer, and what its class of failure asks for."""

    kind: Literal["throttled", "broken", "row", "user", "unreachable", "lost"]
    code: str
    """A short code that is counted, such as http_500, malformed_json, timeout."""
    message: str = ""
    status: int | None = None
    wait_s: float | None = None
    """What the server asked to wait."""
    billed: bool = False
    """Whether it has been billed, or may have been."""
    received: int = 0
    """Bytes of a body that could not be read, for an estimate of what it cost."""


def read_response(status: int, content_type: str, body: bytes, *, wait_s: float | None = None) -> Reply | Failure:
    """Read a whole response: status first, then content type, and only then the body."""
    if status != 200:
        return read_refusal(status, content_type, body, wait_s)
    if "html" in content_type or "event-stream" in content_type:
        return Failure("broken", "not_json", f"got {content_type}", 200, billed=True, received=len(body))
    try:
        data = json.loads(body)
    except (ValueError, RecursionError) as cause:
        return Failure("broken", "malformed_json", shorten(cause, 80), 200, billed=True, received=len(body))
    if isinstance(data, dict) and isinstance(data.get("error"), dict) and not data.get("choices"):
        return read_refusal(_status_in(data["error"]), content_type, body, wait_s)
    return read_choices(data, len(body))


def read_refusal(status: int, content_type: str, body: bytes, wait_s: float | None) -> Failure:
    """Class a response that is not a 200."""
    message, code = error_text(body, content_type)
    said = f"{code} {message}"
    if status == 429 and _QUOTA.search(said):
        return Failure("user", "quota", message, status)
    if status in THROTTLING:
        return Failure("throttled", f"http_{status}", message, status, wait_s)
    if status >= 500 or status in RETRIED:
        return Failure("broken", f"http_{status}", message, status, wait_s)
    if status in (400, 403, 422) and _FILTERED.search(said):
        return Failure("row", "content_filter", message, status)
    if status in (400, 413, 422) and (_TOO_LONG.search(said) or status == 413):
        return Failure("row", "context_length", message, status)
    return Failure("user", f"http_{status}", message, status)


def error_text(body: bytes, content_type: str) -> tuple[str, str]:
    """Return (message, code) of an error body in any of the usual shapes; never more than a line of it."""
    text = body[:4000].decode("utf-8", "replace")
    if "html" in content_type:
        title = re.search(r"<title>(.*?)</title>", text, re.I | re.S)
        return shorten(title[1] if title else "an HTML page"), ""
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        return shorten(text), ""
    error = data.get("error", data) if isinstance(data, dict) else data
    if not isinstance(error, dict):
        return shorten(error), ""
    message = error.get("message") or error.get("detail") or error.get("error") or error
    codes = (error.get("code"), error.get("type"), error.get("param"))
    return shorten(message), " ".join(str(code) for code in codes if code)


def read_choices(data: Any, received: int) -> Reply | Failure:
    """Read the choices of a decoded 200; anything that is not of the API's shape is a broken answer."""
    choices = data.get("choices") if isinstance(data, dict) else None
    if not isinstance(choices, list) or not choices or not all(isinstance(choice, dict) for choice in choices):
        return Failure("broken", "no_choices", "the answer holds no choices", 200, billed=True, received=received)
    if all(isinstance(choice.get("index"), int) for choice in choices):
        choices.sort(key=lambda choice: choice["index"])
    return Reply(tuple(map(read_choice, choices)), read_usage(data.get("usage")))


def read_choice(choice: Mapping[str, Any]) -> Choice:
    """Read one choice of either API. Text is kept exactly; an absent one gets its reason."""
    message = choice.get("message")
    source = message if isinstance(message, dict) else choice
    content = source.get("content") if isinstance(message, dict) else choice.get("text")
    text = content if isinstance(content, str) else _joined(content)
    reasoning = source.get("reasoning_content") or source.get("reasoning")
    reasoning = reasoning if isinstance(reasoning, str) else None
    finish, reason = read_finish(choice.get("finish_reason"), source.get("refusal"), text, reasoning)
    return Choice(text or "", finish, reason, reasoning, mean_logprob(choice.get("logprobs")))


def read_finish(raw: Any, refusal: Any, text: str | None, reasoning: str | None) -> tuple[str, str | None]:
    """Return (finish, reason) in our words."""
    if isinstance(refusal, str) and refusal:
        return "refused", f"refusal: {shorten(refusal)}"
    if raw == "content_filter":
        return "refused", "content_filter"
    if raw in _BROKEN_OFF:
        return "error", f"finish_reason_{raw}"
    if not (text or "").strip():
        if raw in _CUT:
            return "empty", CUT_BEFORE_TEXT
        return "empty", "null_content" if text is None else "empty_content"
    return ("length" if raw in _CUT else "stop"), None


def mean_logprob(logprobs: Any) -> float | None:
    """Return the mean log-probability per token of a choice, from the chat or the completions shape."""
    if not isinstance(logprobs, dict):
        return None
    if isinstance(logprobs.get("content"), list):
        values = [token.get("logprob") for token in logprobs["content"] if isinstance(token, dict)]
    else:
        values = logprobs.get("token_logprobs") or []
    numbers = [value for value in values if isinstance(value, int | float)]
    return sum(numbers) / len(numbers) if numbers else None


def read_usage(usage: Any) -> dict[str, int] | None:
    """Return the token counts that a server reported; `None` if it reported none."""
    if not isinstance(usage, dict) or not _is_count(usage.get("completion_tokens")):
        return None
    counts = {"prompt_tokens": usage.get("prompt_tokens"), "completion_tokens": usage["completion_tokens"]}
    for name, table, field in (
        ("cached_tokens", "prompt_tokens_details", "cached_tokens"),
        ("reasoning_tokens", "completion_tokens_details", "reasoning_tokens"),
    ):
        details = usage.get(table)
        counts[name] = details.get(field) if isinstance(details, dict) else None
    return {name: value for name, value in counts.items() if _is_count(value)}


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _joined(content: Any) -> str | None:
    """Return the text of a content given as a list of parts."""
    if not isinstance(content, list):
        return None
    return "".join(part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str))


def _status_in(error: Mapping[str, Any]) -> int:
    """Return the status that an error inside a 200 carries; an unknown one counts as the server's own."""
    code = error.get("code")
    code = int(code) if isinstance(code, str) and code.isdigit() else code
    return code if isinstance(code, int) and 400 <= code < 600 else 500
