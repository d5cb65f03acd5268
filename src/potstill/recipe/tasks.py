"""A kind of question as data: a YAML file says what its fields are, how answers compare, and how it is shown.

A recipe names a task that comes with the package, or a file: `task: multi_hop`, `task: mine.yaml`. What the file says
lies beneath the recipe's own tables, so that every line of it can be overridden.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, model_validator

from potstill.errors import ConfigError, shorten
from potstill.recipe.explaining import validated
from potstill.recipe.table import Table
from potstill.records import AnswerType

SHIPPED = Path(__file__).resolve().parent.parent / "tasks"
ENDINGS = (".yaml", ".yml")


class Task(Table):
    """A task file."""

    about: str = Field(min_length=1)
    """One sentence: what is asked, and by which well-known data."""
    answer_type: AnswerType
    labels: tuple[str, ...] = ()
    """With `answer_type: label`: the closed set."""
    question: str | None = None
    """As `problems.question`: a text with {column}, where the question is spread over several columns."""
    columns: dict[str, str] = {}
    """As `problems.columns`."""
    editable: tuple[str, ...] = ()
    """As `problems.editable`: which columns of the question a counterfactual may edit."""
    definitions: dict[str, str] = {}
    """As `problems.definitions`: what each label means."""
    template: str = "scotd"
    """A built-in template's name, or a file beside this one."""
    demonstrations: str | None = None
    """A built-in set's name, or a JSONL file of {question, rationale, answer} beside this one."""
    system: str | None = None
    prompt: str | None = None
    """What the student sees (`mix.prompt`)."""
    sample: str | None = None
    """A few problems of the task, a file beside this one: for a first try, and to check gold answers."""

    @model_validator(mode="after")
    def _labels_fit_type(self) -> Task:
        if (self.answer_type == "label") != bool(self.labels):
            message = (
                f"labels: got {list(self.labels)} with answer_type: {self.answer_type}; label needs them, others none"
            )
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _words_fit_labels(self) -> Task:
        known = {"label": self.labels, "yesno": ("yes", "no")}.get(self.answer_type, ())
        unknown = [label for label in self.definitions if label not in known]
        if unknown:
            message = f"definitions: {unknown[0]!r} is no label of this task; labels: {', '.join(known) or 'none'}"
            raise ValueError(message)
        columns = re.findall(r"\{(\w+)\}", self.question or "{question}")
        unknown = [name for name in self.editable if name not in columns]
        if unknown:
            message = f"editable: {unknown[0]!r} is no column of the question; columns: {', '.join(columns)}"
            raise ValueError(message)
        return self

    def tables(self) -> dict[str, dict[str, Any]]:
        """Return the recipe tables that the task stands for, with only what it says."""
        problems = {"answer_type": self.answer_type, "labels": list(self.labels), "question": self.question}
        told = {"about": self.about, "editable": list(self.editable), "definitions": self.definitions}
        tables: dict[str, dict[str, Any]] = {
            "problems": {**problems, "columns": self.columns, **told},
            "sample": {"template": self.template, "demonstrations": self.demonstrations, "system": self.system},
            "mix": {"prompt": self.prompt},
        }
        return {name: {key: value for key, value in table.items() if value} for name, table in tables.items()}


def task_names() -> list[str]:
    """Return the names of the tasks that come with the package."""
    return sorted(path.stem for path in SHIPPED.glob("*.yaml"))


def load_task(name_or_path: str) -> Task:
    """Return a task of the package by name, or a file's; files that it names are then found wherever it is used.

    Raises:
        ConfigError: There is none, or it is not a valid task; the message names the key.
    """
    path = Path(name_or_path) if name_or_path.endswith(ENDINGS) else SHIPPED / f"{name_or_path}.yaml"
    where = f"task {name_or_path}"
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as cause:
        message = f"{where}: not found; give the path of a .yaml file or one of {', '.join(task_names())}"
        raise ConfigError(message) from cause
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as cause:
        message = f"{where}: cannot be read as YAML ({shorten(cause)})"
        raise ConfigError(message) from cause
    if not isinstance(data, dict):
        message = f"{where}: found {type(data).__name__}; expected keys such as about, answer_type, demonstrations"
        raise ConfigError(message)
    task = validated(Task, data, where)
    near = {key: _beside(path, value) for key in ("template", "demonstrations", "sample")
            if (value := getattr(task, key))}  # fmt: skip
    return task.model_copy(update=near)


def with_task(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return raw recipe tables with those of their task beneath them; a `task` that names no file is a name alone.

    Raises:
        ConfigError: As `load_task`; or the name is nearly that of a task of the package.
    """
    name = data.get("task")
    if not isinstance(name, str) or not _is_file(name):
        return dict(data)
    tables, merged = load_task(name).tables(), dict(data)
    for table, values in tables.items():
        own = data.get(table)
        if own is None or isinstance(own, Mapping):
            merged[table] = {**values, **(own or {})}
    return {**merged, "task": Path(name).stem}


def _is_file(name: str) -> bool:
    if name.endswith(ENDINGS) or name in task_names():
        return True
    if near := difflib.get_close_matches(name, task_names(), n=1, cutoff=0.8):
        message = f"task: got {name!r}; did you mean {near[0]!r}? A name of your own must not be that near to a task's"
        raise ConfigError(message)
    return False


def _beside(task: Path, name: str) -> str:
    """Return a file that stands beside the task's, or a built-in name as it is."""
    return str(task.parent / name) if re.search(r"\.\w+$", name) else name
