"""Actions in words: what asks a model to rewrite an instruction, and what its reply says.

    text + action ──► messages ──► teacher ──► reply ──► a new text, or why there is none

Pure but for the YAML files: the built-in one holds the frame and the published twelve kinds of action; a user's own
adds actions or replaces them by name. Replies are read strictly: prose around an object is passed over, prose instead
of one is a failure that is counted, never an instruction.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from potstill.errors import ConfigError, shorten
from potstill.generators.asking import Failed
from potstill.recipe.generators import EvolveConfig
from potstill.recipe.teachers import TeacherConfig
from potstill.records import child_seed
from potstill.teachers.base import Completion, Message, Request

TEMPLATES = Path(__file__).parent / "templates"
SHOWN_SEEDS = 12
"""Seeds that actions are derived from: a hash chooses them."""
SHOWN_CHARACTERS = 600
"""Of each of them."""


@dataclass(frozen=True, slots=True)
class Action:
    """One way to change an instruction."""

    name: str
    method: str
    """An imperative clause."""


@cache
def read_template(name: str) -> Mapping[str, Any]:
    """Return one of the built-in files of words."""
    found: Mapping[str, Any] = yaml.safe_load((TEMPLATES / f"{name}.yaml").read_text(encoding="utf-8"))
    return found


def load_actions(config: EvolveConfig, derived: Sequence[str] = ()) -> dict[str, Action]:
    """Return the actions that a search may use, by name: the twelve, a user's own, those derived from the seeds.

    Raises:
        ConfigError: The user's file cannot be read or is of another form, or `use` names an action that is not there.
    """
    texts: dict[str, str] = dict(read_template("evolving")["actions"])
    if config.actions is not None:
        texts |= read_words(config.actions, "actions")
    texts |= {f"task_{number}": method for number, method in enumerate(derived, 1)}
    unknown = [name for name in config.use if name not in texts]
    if unknown:
        message = f"evolve.use: {unknown[0]!r} is no action; known: {', '.join(texts)}; name one, or add it to a file"
        raise ConfigError(message)
    return {
        name: Action(name, text.strip().rstrip(".")) for name, text in texts.items() if name in (config.use or texts)
    }


def read_words(path: str, table: str) -> dict[str, str]:
    """Return {name: text} of a user's YAML file; errors as `load_actions`."""
    try:
        data = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as cause:
        message = f"evolve: {path}: cannot be read ({shorten(cause, 100)}); give the path of a YAML file"
        raise ConfigError(message) from cause
    words = data.get(table) if isinstance(data, dict) and set(data) == {table} else None
    if not isinstance(words, dict) or not words or not all(_is_text(k) and _is_text(v) for k, v in words.items()):
        message = (
            f"evolve: {path}: found {shorten(repr(data), 100)}; expected one table '{table}' of names and texts, such "
            f"as {table}: {{short_name: what it says}}"
        )
        raise ConfigError(message)
    return words


def evolve_messages(text: str, action: Action, words: int) -> tuple[Message, ...]:
    """Return what asks for one rewriting."""
    frame: str = read_template("evolving")["frame"]
    return _chat("evolving", frame.format(text=text, name=action.name, method=action.method, words=words))


def derive_messages(seeds: Sequence[str], count: int, seed: int) -> tuple[Message, ...]:
    """Return what asks for actions that suit the seeds: a dozen of them, drawn by seed, are shown."""
    drawn = random.Random(child_seed(seed, "derive")).sample(list(seeds), min(SHOWN_SEEDS, len(seeds)))
    texts = "\n".join(f"- <<<{text[:SHOWN_CHARACTERS]}>>>" for text in drawn)
    return _chat("evolving", read_template("evolving")["derive"].format(texts=texts, count=count))


def request_for(
    config: TeacherConfig, messages: Sequence[Message], *, temperature: float | None, max_tokens: int
) -> Request:
    """Return the request that carries these messages to a teacher; for plain completions as one text."""
    is_chat = config.api != "completions"
    prompt = "\n\n".join(str(message["content"]) for message in messages) + "\n"
    return Request(
        model=config.model,
        messages=tuple(messages) if is_chat else (),
        prompt=None if is_chat else prompt,
        temperature=config.temperature if temperature is None else temperature,
        top_p=config.top_p,
        max_tokens=max_tokens,
        stop=config.stop,
        seed=config.seed,
        extra=dict(config.extra_body),
    )


def read_evolved(completion: Completion) -> str | Failed:
    """Return the new instruction of a reply, or why there is none."""
    if failure := failure_of(completion):
        return failure
    found = read_object(completion.text)
    if found is None or found.get("status") not in ("ok", "invalid"):
        return Failed("unparseable")
    if found["status"] == "invalid":
        return Failed("invalid")
    text = found.get("instruction")
    if not isinstance(text, str):
        return Failed("unparseable")
    return text.strip() or Failed("empty")


def read_derived(completion: Completion, count: int) -> list[str] | Failed:
    """Return the actions of a reply, at most `count`, or why there are none."""
    if failure := failure_of(completion):
        return failure
    found = read_object(completion.text)
    rules = found.get("actions") if found is not None else None
    if not isinstance(rules, list) or not rules or not all(_is_text(rule) for rule in rules):
        return Failed("unparseable")
    return list(dict.fromkeys(" ".join(rule.split()) for rule in rules))[:count]


def failure_of(completion: Completion) -> Failed | None:
    """Return why a completion cannot hold a reply: refused, empty, error or truncated."""
    if completion.failed:
        return Failed(str(completion.finish))
    return Failed("truncated") if completion.finish == "length" else None


def read_object(text: str) -> dict[str, Any] | None:
    """Return the first JSON object of a text; `None` where there is none, or one of its keys is given twice."""
    at = text.find("{")
    if at < 0:
        return None
    try:
        found, _ = json.JSONDecoder(object_pairs_hook=_distinct, strict=False).raw_decode(text[at:])
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _distinct(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    pairs = list(pairs)
    found = dict(pairs)
    if len(found) < len(pairs):
        message = "a key is given twice"
        raise ValueError(message)
    return found


def _chat(template: str, text: str) -> tuple[Message, ...]:
    return ({"role": "system", "content": read_template(template)["system"]}, {"role": "user", "content": text})


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())
