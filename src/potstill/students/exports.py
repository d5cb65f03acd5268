"""Export training examples in the formats of other trainers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from potstill.errors import ConfigError
from potstill.files import write_atomic, write_records
from potstill.records import Example, to_dict


def _trl(example: Example) -> dict[str, Any]:
    if example.meta.get("format") != "chat":
        return {"prompt": example.prompt, "completion": example.target}
    user, assistant = _messages(example)["messages"]
    return {"prompt": [user], "completion": [assistant]}


def _messages(example: Example) -> dict[str, Any]:
    assistant = {"role": "assistant", "content": example.target.strip()}
    if "reasoning_content" in example.meta:
        assistant["content"] = example.meta["text"]
        assistant["reasoning_content"] = example.meta["reasoning_content"]
    return {"messages": [{"role": "user", "content": example.prompt}, assistant]}


EXPORTS: dict[str, Callable[[Example], dict[str, Any]]] = {"potstill": to_dict, "trl": _trl, "messages": _messages}
"""Format name -> one example as a row of it; `trl` is prompt-completion, whose loss is on the completion alone."""


def export(examples: Iterable[Example], path: str | Path, format: str = "potstill") -> int:
    """Write examples as JSON lines in one of the `EXPORTS` formats and return their number."""
    if format not in EXPORTS:
        message = f"mix --format: got {format!r}; expected one of {', '.join(EXPORTS)}"
        raise ConfigError(message)
    if format == "potstill":
        return write_records(path, examples)
    lines = [json.dumps(EXPORTS[format](example), ensure_ascii=False) + "\n" for example in examples]
    write_atomic(path, "".join(lines))
    return len(lines)
