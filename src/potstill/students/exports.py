"""Write training examples in the formats of other trainers: one row per example, none left out.

    potstill       our own lines, everything kept
    trl            prompt and completion, whose loss is on the completion alone (texts, or messages in chat format)
    messages       whole conversations
    parquet        the columns of trl, and what identifies a row, as one Parquet file
    llamafactory   a folder with the lines and LLaMA-Factory's dataset_info.json: alpaca, or sharegpt in chat format

Only `potstill` and `parquet` carry weights; it is said where examples have some and the format does not.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from potstill.errors import ConfigError, DataError, boundary, require_extra, shorten
from potstill.files import write_atomic, write_records
from potstill.messages import say
from potstill.records import Example, to_dict

INFO = "dataset_info.json"
ROLES = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"}


def is_chat(example: Example) -> bool:
    """Whether an example was made for a chat template."""
    return example.meta.get("format") == "chat"


def trl_row(example: Example) -> dict[str, Any]:
    """Return prompt and completion: texts, or lists of messages in chat format."""
    if not is_chat(example):
        return {"prompt": example.prompt, "completion": example.target}
    user, assistant = messages_row(example)["messages"]
    return {"prompt": [user], "completion": [assistant]}


def messages_row(example: Example) -> dict[str, Any]:
    """Return the whole conversation; a thought is a field of its own, as templates of reasoning models read it."""
    assistant = {"role": "assistant", "content": example.target.strip()}
    if "reasoning_content" in example.meta:
        assistant["content"] = example.meta["text"]
        assistant["reasoning_content"] = example.meta["reasoning_content"]
    return {"messages": [{"role": "user", "content": example.prompt}, assistant]}


def llamafactory_row(example: Example) -> dict[str, Any]:
    """Return an alpaca row, or a conversation with the thought inside the content, where LLaMA-Factory looks for it."""
    if not is_chat(example):
        return {"instruction": example.prompt, "input": "", "output": example.target}
    roles = (("user", example.prompt), ("assistant", example.target.strip()))
    return {"messages": [{"role": role, "content": content} for role, content in roles]}


def parquet_row(example: Example) -> dict[str, Any]:
    """Return the columns of `trl`, and id, problem, kind, weight and rationale."""
    names = ("id", "group", "task", "weight", "rationale_id")
    return {**trl_row(example), **{name: getattr(example, name) for name in names}}


ROWS: dict[str, Callable[[Example], dict[str, Any]]] = {
    "potstill": to_dict,
    "trl": trl_row,
    "messages": messages_row,
    "llamafactory": llamafactory_row,
    "parquet": parquet_row,
}
"""Format name -> one example as a row of it."""


def export(examples: Iterable[Example], path: str | Path, format: str = "potstill", *, name: str = "potstill") -> int:
    """Write examples in one of the formats and return their number.

    Args:
        path: A file; of `llamafactory` the folder, whose other data sets are left as they are.
        name: What `llamafactory` calls the data set.

    Raises:
        ConfigError: The format is unknown, or `path` is not of its kind.
        DataError: It cannot be written, or the folder's dataset_info.json cannot be read.
    """
    require_format(format, path)
    examples, path = list(examples), Path(path)
    _tell_weights(examples, format)
    if format == "potstill":
        return write_records(path, examples)
    rows = [ROWS[format](example) for example in examples]
    if format == "parquet":
        write_atomic(path, parquet_bytes(rows, str(path)))
    elif format == "llamafactory":
        chat = any(is_chat(example) for example in examples)
        info = {**_known_sets(path / INFO), name: _described(f"{name}.jsonl", chat=chat)}
        write_atomic(path / f"{name}.jsonl", json_lines(rows))
        write_atomic(path / INFO, json.dumps(info, indent=2, ensure_ascii=False) + "\n")
    else:
        write_atomic(path, json_lines(rows))
    return len(rows)


def require_format(format: str, path: str | Path) -> None:
    """Raise `ConfigError` unless a format is known and a path can hold it."""
    if format not in ROWS:
        message = f"mix --format: got {format!r}; expected one of {', '.join(ROWS)}"
        raise ConfigError(message)
    ending = {"parquet": ".parquet", "llamafactory": ""}.get(format, Path(path).suffix)
    if Path(path).suffix != ending:
        wanted = "a folder" if format == "llamafactory" else f"a name that ends in {ending}"
        message = f"--out {path}: {format} is written into {wanted}; give one"
        raise ConfigError(message)


def json_lines(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return rows as lines of JSON; a row with a lone surrogate is written in escapes."""
    lines = []
    for row in rows:
        line = json.dumps(row, ensure_ascii=False)
        lines.append(line if _encodes(line) else json.dumps(row))
    return "".join(f"{line}\n" for line in lines)


def parquet_bytes(rows: Sequence[Mapping[str, Any]], where: str) -> bytes:
    """Return rows of equal keys as a Parquet file.

    Raises:
        MissingExtraError: pyarrow is not installed.
        DataError: There is none, or one holds what Parquet cannot (a lone surrogate).
    """
    require_extra("pyarrow", "train")
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not rows:
        message = f"{where}: there are no examples to write; a Parquet file takes its columns from the first"
        raise DataError(message)
    out = pa.BufferOutputStream()
    with boundary(DataError, f"{where}: these examples cannot be written as Parquet"):
        pq.write_table(pa.Table.from_pylist(rows), out)
    return bytes(out.getvalue().to_pybytes())


def _described(file_name: str, *, chat: bool) -> dict[str, Any]:
    """Return what LLaMA-Factory must know of a data set."""
    if chat:
        return {"file_name": file_name, "formatting": "sharegpt", "columns": {"messages": "messages"}, "tags": ROLES}
    columns = {"prompt": "instruction", "query": "input", "response": "output"}
    return {"file_name": file_name, "formatting": "alpaca", "columns": columns}


def _known_sets(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as cause:
        message = f"{path}: cannot be read ({shorten(cause, 80)}); correct it, or choose another --out folder"
        raise DataError(message) from cause
    if not isinstance(known, dict):
        message = f"{path}: expected a JSON object of data sets; correct it, or choose another --out folder"
        raise DataError(message)
    return known


def _tell_weights(examples: Sequence[Example], format: str) -> None:
    weighted = sum(example.weight != 1 for example in examples)
    if weighted and format not in ("potstill", "parquet"):
        say("mix", f"{weighted} of {len(examples)} examples have a weight that {format} does not carry")


def _encodes(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
