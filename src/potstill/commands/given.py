"""What the options of a verb give: a recipe, a run to go on with, problems from a file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from potstill.errors import ConfigError
from potstill.recipe.problems import SourceConfig
from potstill.recipe.reading import build_recipe, read_recipe
from potstill.recipe.whole import Recipe

OF_ANY_SOURCE = {"columns", "answer_type", "labels", "invalid"}
"""What a recipe says of its problems that also holds for another file of them."""


def given(options: argparse.Namespace, *names: str) -> dict[str, Any]:
    """Return those of the named options that were given."""
    return {name: value for name in names if (value := getattr(options, name)) is not None}


def required(options: argparse.Namespace, name: str) -> str:
    """Return an option that is needed with the files given.

    Raises:
        ConfigError: It is missing.
    """
    value: str | None = getattr(options, name, None)
    if not value:
        message = f"{options.verb}: --{name} is missing; it is needed with the files given"
        raise ConfigError(message)
    return value


def recipe_of(options: argparse.Namespace, tables: dict[str, Any], *, method: str | None = None) -> Recipe:
    """Return the recipe given, or the defaults (of `method`), with the command's own options on top."""
    defaults = {} if method is None else {"method": method}
    data: dict[str, Any] = read_recipe(options.recipe) if options.recipe else defaults
    data.setdefault("problems", {"source": "given on the command line"})
    for name, table in tables.items():
        own = data.get(name) or {}
        if name == "teachers" and isinstance(own, list) and len(own) == 1:
            own = own[0]
        data[name] = {**own, **table} if isinstance(table, dict) and isinstance(own, dict) else table or own
    if "teachers" in data and not data["teachers"]:
        del data["teachers"]
    return build_recipe(data, options.set, options.recipe or "command line")


def require_asked(options: argparse.Namespace) -> None:
    """Raise unless something says whom to ask."""
    if options.recipe or any(pair.startswith("teachers.") for pair in options.set):
        return
    for name in ("base_url", "model"):
        if not getattr(options, name) and options.base_url != "miniature":
            flag = f"--{name.replace('_', '-')}"
            message = f"{options.verb}: {flag} is missing; give --base-url URL and --model NAME, or --recipe FILE"
            raise ConfigError(message)


def problems_of(options: argparse.Namespace, recipe: Recipe, **more: Any) -> list[Any]:
    """Return the problems of `--problems`, read as the recipe says; `more`: keys of the source over the recipe's."""
    from potstill.evaluation.datasets import load_problems

    own = recipe.problems.model_dump(include=OF_ANY_SOURCE if options.recipe else {*SourceConfig.model_fields})
    own["columns"] |= read_pairs(options.columns, "--columns", str) if options.columns else {}
    own |= {"source": required(options, "problems"), **given(options, "limit"), **more}
    return load_problems(SourceConfig(**own))


def recipe_to_run(stage: str, options: argparse.Namespace, first: str) -> str | Path:
    """Return the recipe given or, without one, that of the run directory to go on with.

    Args:
        first: The option that would name a file instead, for the message.

    Raises:
        ConfigError: There is neither.
    """
    if options.recipe is not None:
        return str(options.recipe)
    if options.run and (path := Path(options.run) / "recipe.yaml").exists():
        return path
    message = f"{stage}: nothing to read; give {first} FILE (and --out), or --recipe FILE --run DIR"
    raise ConfigError(message)


def read_pairs(text: str, flag: str, convert: type[Any]) -> dict[str, Any]:
    """Return the pairs of an option such as `cot=10,pot=10`.

    Raises:
        ConfigError: It is not of that form.
    """
    pairs = {}
    for part in text.split(","):
        key, separator, value = part.partition("=")
        if not separator or not key or not value or (convert is int and not value.isdigit()):
            message = f"{flag} {text!r}: expected KEY=VALUE pairs with commas between them"
            raise ConfigError(message)
        pairs[key.strip()] = convert(value.strip())
    return pairs
