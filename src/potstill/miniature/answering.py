"""From a request's body to the choices of its answer: question read, text written, cut, counted.

A text is a function of (prompt, seed, index). Without a seed the server's own takes its place, together with how often
the prompt has been asked for, so that equal requests give different texts and a run can be repeated.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from potstill.errors import shorten

_TOKEN = re.compile(r"\s*\S+")
_PAD = "One step follows from the one before it. "
MARKER = " So the answer is: "
_REWORDING = re.compile("the problem below in other words")
_PROGRAM = re.compile(r"\b(?:python|program|code)\b", re.IGNORECASE)
_QUESTION_END = re.compile(r"\nA:|\n# Python|\nLet's ")


class Writer(Protocol):
    """What writes an answer to a question."""

    def __call__(self, question: str, rng: random.Random, *, kind: str = "cot", temperature: float = 1.0) -> str:
        """Return the text; all chance comes from `rng`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What a request body asks for, checked."""

    api: str
    """chat or completions."""
    model: str
    prompt: str
    """The whole prompt as one text, roles included: what makes two requests the same."""
    question: str
    kind: str
    """reworded where the prompt asks for other words; pot where it speaks of Python, a program or code; else cot."""
    n: int
    seed: int | None
    temperature: float
    max_tokens: int | None
    stop: tuple[str, ...]
    logprobs: bool
    stream: bool
    include_usage: bool
    messages: tuple[Mapping[str, str], ...] = ()
    """Roles and contents of a chat, in order."""
    top_p: float = 1.0


@dataclass(frozen=True, slots=True)
class Choice:
    """One written text; `text` is `None` where the content is withheld."""

    text: str | None
    finish: str
    tokens: int
    logprob: float | None = None
    """Of every token, where `token_logprobs` does not say it of each."""
    token_logprobs: tuple[tuple[str, float], ...] = ()


class BodyError(ValueError):
    """The body is JSON but not a request of this API; `param` names the field, `code` the reason by the API's word."""

    def __init__(self, message: str, param: str | None = None, *, code: str | None = None) -> None:
        super().__init__(message)
        self.param = param
        self.code = code


def read_ask(body: Any, api: str) -> Ask:
    """Check a decoded request body and return what it asks for.

    Raises:
        BodyError: A field is missing or of the wrong type.
    """
    if not isinstance(body, Mapping):
        message = "the body must be a JSON object"
        raise BodyError(message)
    messages = _messages(body) if api == "chat" else ()
    prompt, last = _chat_prompt(messages) if api == "chat" else _plain_prompt(body)
    options = body.get("stream_options")
    return Ask(
        api=api,
        model=_field(body, "model", str, ""),
        prompt=prompt,
        question=read_question(last),
        kind="reworded" if _REWORDING.search(prompt) else "pot" if _PROGRAM.search(prompt) else "cot",
        n=_at_least_one(body, "n") or 1,
        seed=_field(body, "seed", int, None),
        temperature=float(_field(body, "temperature", (int, float), 1.0)),
        max_tokens=_at_least_one(body, "max_completion_tokens") or _at_least_one(body, "max_tokens"),
        stop=_stops(body.get("stop")),
        logprobs=bool(body.get("logprobs")),
        stream=bool(body.get("stream")),
        include_usage=isinstance(options, Mapping) and bool(options.get("include_usage")),
        messages=messages,
        top_p=float(_field(body, "top_p", (int, float), 1.0)),
    )


def read_question(text: str) -> str:
    """Return the question that a prompt ends with: after its last `Q:`, up to what follows it (`A:`, `# Python`)."""
    at = text.rfind("\nQ:")
    if at >= 0:
        text = text[at + 3 :]
    elif text.startswith("Q:"):
        text = text[2:]
    return _QUESTION_END.split(text, maxsplit=1)[0].strip()


def write_choices(ask: Ask, writer: Writer, *, seed: str, count: int, fault: str | None = None) -> list[Choice]:
    """Write `count` choices, cut at the stop strings and at `max_tokens`; `seed` stands in where none was sent."""
    seed = seed if ask.seed is None else str(ask.seed)
    return [_choice(ask, writer, seed, index, fault) for index in range(count)]


def canned_writer(characters: int, wrong: float) -> Writer:
    """Return a writer of answers of about `characters` characters that costs next to nothing; see `canned_number`."""

    def write(question: str, rng: random.Random, *, kind: str = "cot", temperature: float = 1.0) -> str:
        right = canned_number(question)
        number = right + rng.randint(1, 9) if temperature > 0 and rng.random() < wrong else right
        end = f"{number}" if kind == "answer" else f"That makes {number}.{MARKER}{number}"
        return (_PAD * (max(0, characters - len(end)) // len(_PAD)) + end)[-max(characters, len(end)) :]

    return write


def canned_number(question: str) -> int:
    """Return the number that a canned answer to `question` gives when it is right."""
    return int.from_bytes(hashlib.blake2b(question.encode("utf-8", "surrogatepass"), digest_size=2).digest(), "big")


def _choice(ask: Ask, writer: Writer, seed: str, index: int, fault: str | None) -> Choice:
    # At temperature 0 every index is the same greedy text, as with a real model.
    draw = f"{ask.prompt}\0{seed}\0{index}" if ask.temperature > 0 else ask.prompt
    digest = hashlib.blake2b(draw.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    rng = random.Random(int.from_bytes(digest, "big"))
    text = writer(ask.question, rng, kind=ask.kind, temperature=ask.temperature)
    if ask.api == "completions":
        # A model goes on where the prompt ends: after "A:" its first token carries the space.
        text = text.lstrip() if ask.prompt[-1:].isspace() else " " + text.lstrip()
    text, finish = _cut_at_stop(text, ask.stop), "stop"
    tokens, limit = len(text.split()), ask.max_tokens
    if fault == "length":
        limit = min(limit or tokens, tokens // 2)
    if limit is not None and tokens > limit:
        text, tokens, finish = "".join(token_texts(text)[:limit]), limit, "length"
    logprob = round(-0.05 - 0.4 * rng.random(), 4) if ask.logprobs else None
    return Choice(None if fault == "empty" else text, finish, tokens, logprob)


def token_texts(text: str) -> list[str]:
    """Split a text into its tokens, words with the space before them: counting them costs next to nothing."""
    return _TOKEN.findall(text)


def _cut_at_stop(text: str, stops: tuple[str, ...]) -> str:
    ends = [at for stop in stops if (at := text.find(stop)) >= 0]
    return text[: min(ends)] if ends else text


def _messages(body: Mapping[str, Any]) -> tuple[Mapping[str, str], ...]:
    given = body.get("messages")
    if not isinstance(given, list) or not given:
        message = "'messages' must be a list of at least one message"
        raise BodyError(message, "messages")
    for entry in given:
        if not isinstance(entry, Mapping) or not isinstance(entry.get("role"), str):
            message = "each of 'messages' needs a 'role' and a 'content'"
            raise BodyError(message, "messages")
    return tuple({"role": entry["role"], "content": _content(entry.get("content"))} for entry in given)


def _chat_prompt(messages: tuple[Mapping[str, str], ...]) -> tuple[str, str]:
    asked = [entry["content"] for entry in messages if entry["role"] == "user"]
    return "\n".join(f"{entry['role']}: {entry['content']}" for entry in messages), asked[-1] if asked else ""


def _content(content: Any) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, Mapping))
    message = "a message's 'content' must be a string or a list of parts"
    raise BodyError(message, "messages")


def _plain_prompt(body: Mapping[str, Any]) -> tuple[str, str]:
    prompt = body.get("prompt")
    if not isinstance(prompt, str):
        message = "'prompt' must be one string; lists of prompts are not served"
        raise BodyError(message, "prompt")
    return prompt, prompt


def _stops(stop: Any) -> tuple[str, ...]:
    stops = (stop,) if isinstance(stop, str) else tuple(stop or ())
    if not all(isinstance(item, str) and item for item in stops):
        message = "'stop' must be a string or a list of strings"
        raise BodyError(message, "stop")
    return stops


def _at_least_one(body: Mapping[str, Any], name: str) -> int | None:
    value = _field(body, name, int, None)
    if value is not None and value < 1:
        message = f"'{name}' is {value}; expected at least 1"
        raise BodyError(message, name)
    return value  # type: ignore[no-any-return]


def _field(body: Mapping[str, Any], name: str, kind: type | tuple[type, ...], default: Any) -> Any:
    value = body.get(name)
    if value is None:
        return default
    if not isinstance(value, kind) or isinstance(value, bool):
        message = f"'{name}' is {shorten(repr(value), 40)}, of the wrong type"
        raise BodyError(message, name)
    return value


def prompt_tokens(ask: Ask) -> int:
    """Return the prompt's size in tokens, estimated at four characters each."""
    return len(ask.prompt) // 4 + 1
