"""The OpenAI API's JSON shapes: completions, chunks of a stream, errors, the list of models."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

from potstill.miniature.answering import MARKER, Ask, Choice, prompt_tokens, token_texts

_CHUNK_TOKENS = 8
_ENCODE = json.JSONEncoder(ensure_ascii=False).encode  # json.dumps builds an encoder per call unless all is default


def error(
    message: str, kind: str = "invalid_request_error", *, code: str | None = None, param: str | None = None
) -> bytes:
    """Return the error shape."""
    return _dump({"error": {"message": message, "type": kind, "param": param, "code": code}})


def models(names: list[str]) -> bytes:
    """Return the list of models."""
    rows = [{"id": name, "object": "model", "created": 0, "owned_by": "potstill"} for name in names]
    return _dump({"object": "list", "data": rows})


def completion(
    ask: Ask,
    choices: list[Choice],
    ident: int,
    *,
    reasoning: bool,
    usage: bool,
    logprobs: bool,
    prompt: int | None = None,
    **more: Any,
) -> bytes:
    """Return a whole answer of either API.

    Args:
        prompt: The prompt's tokens (default: an estimate).
        more: Further fields of the answer.
    """
    make = _chat_choice if ask.api == "chat" else _plain_choice
    body: dict[str, Any] = _envelope(ask, ident, chunk=False)
    body["choices"] = [make(i, choice, reasoning, logprobs) for i, choice in enumerate(choices)]
    if usage:
        body["usage"] = usage_of(ask, choices, prompt)
    return _dump({**body, **more})


def stream(ask: Ask, choices: list[Choice], ident: int, *, usage: bool, done: bool) -> Iterator[bytes]:
    """Yield the events of a streamed answer, choice after choice."""
    envelope = _envelope(ask, ident, chunk=True)
    for index, choice in enumerate(choices):
        tokens = token_texts(choice.text or "")
        for start in range(0, len(tokens), _CHUNK_TOKENS):
            piece = "".join(tokens[start : start + _CHUNK_TOKENS])
            yield _event({**envelope, "choices": [_delta(ask, index, piece, None, first=start == 0)]})
        yield _event({**envelope, "choices": [_delta(ask, index, "", choice.finish, first=False)]})
    if usage and ask.include_usage:
        yield _event({**envelope, "choices": [], "usage": usage_of(ask, choices)})
    if done:
        yield b"data: [DONE]\n\n"


def usage_of(ask: Ask, choices: list[Choice], prompt: int | None = None) -> dict[str, int]:
    """Return the token counts; the prompt counts once however many choices were asked for."""
    prompt = prompt_tokens(ask) if prompt is None else prompt
    written = sum(choice.tokens for choice in choices)
    return {"prompt_tokens": prompt, "completion_tokens": written, "total_tokens": prompt + written}


def _envelope(ask: Ask, ident: int, *, chunk: bool) -> dict[str, Any]:
    if ask.api == "completions":
        kind, prefix = "text_completion", "cmpl"
    else:
        kind, prefix = ("chat.completion.chunk" if chunk else "chat.completion"), "chatcmpl"
    return {"id": f"{prefix}-{ident}", "object": kind, "created": int(time.time()), "model": ask.model}


def _chat_choice(index: int, choice: Choice, reasoning: bool, logprobs: bool) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": choice.text}
    if reasoning:
        message["reasoning_content"] = (choice.text or "").split(MARKER)[0]
    row: dict[str, Any] = {"index": index, "message": message, "finish_reason": choice.finish, "logprobs": None}
    if logprobs and (tokens := _token_logprobs(choice)):
        row["logprobs"] = {"content": [{"token": text, "logprob": x, "top_logprobs": []} for text, x in tokens]}
    return row


def _plain_choice(index: int, choice: Choice, reasoning: bool, logprobs: bool) -> dict[str, Any]:
    row: dict[str, Any] = {"index": index, "text": choice.text, "finish_reason": choice.finish, "logprobs": None}
    if logprobs and (tokens := _token_logprobs(choice)):
        texts, values = zip(*tokens, strict=True)
        row["logprobs"] = {"tokens": list(texts), "token_logprobs": list(values)}
    return row


def _token_logprobs(choice: Choice) -> list[tuple[str, float]]:
    if choice.token_logprobs or choice.logprob is None:
        return list(choice.token_logprobs)
    return [(text, choice.logprob) for text in token_texts(choice.text or "")]


def _delta(ask: Ask, index: int, piece: str, finish: str | None, *, first: bool) -> dict[str, Any]:
    if ask.api == "completions":
        return {"index": index, "text": piece, "finish_reason": finish, "logprobs": None}
    delta: dict[str, Any] = {"role": "assistant"} if first else {}
    if piece:
        delta["content"] = piece
    return {"index": index, "delta": delta, "finish_reason": finish, "logprobs": None}


def _event(body: dict[str, Any]) -> bytes:
    return b"data: " + _dump(body) + b"\n\n"


def _dump(body: dict[str, Any]) -> bytes:
    return _ENCODE(body).encode("utf-8", "replace")
