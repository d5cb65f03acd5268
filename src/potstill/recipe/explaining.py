"""Say in one or two sentences what is wrong with a recipe."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from potstill.errors import ConfigError, shorten

Model = TypeVar("Model", bound=BaseModel)


def validated(model: type[Model], data: dict[str, Any], where: str) -> Model:
    """Return the data as a table of type `model`.

    Raises:
        ConfigError: A key or value is not allowed; it says which, and the nearest known key.
    """
    try:
        return model.model_validate(data)
    except ValidationError as cause:
        raise ConfigError(_explain(model, cause, where)) from cause


def _explain(root: type[BaseModel], error: ValidationError, where: str) -> str:
    """Say in one or two sentences what the first problem is, with the nearest key for an unknown one."""
    errors, total = error.errors(), error.error_count()
    # A misspelt key is also a missing one: the misspelling is what helps.
    first = next((found for found in errors if found["type"] == "extra_forbidden"), errors[0])
    location = ".".join(str(part) for part in first["loc"] if part != "[key]")
    where = f"{where}: {location}" if location else where
    more = f" (and {total - 1} more)" if total > 1 else ""
    if first["type"] == "extra_forbidden":
        known = _known_keys(root, first["loc"][:-1])
        near = difflib.get_close_matches(str(first["loc"][-1]), known, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"known keys: {', '.join(sorted(known))}"
        return f"{where}: unknown key; {hint}{more}"
    if first["type"] == "missing":
        return f"{where}: this key is required{more}"
    if first["type"] in ("model_type", "dict_type"):
        return f"{where}: got {shorten(repr(first['input']), 80)}; expected a table of keys{more}"
    reason = first["msg"].removeprefix("Value error, ")
    found = "" if isinstance(first["input"], Mapping) else f"got {shorten(repr(first['input']), 80)}; "
    return f"{where}: {found}{reason}{more}"


def _known_keys(root: type[BaseModel], location: tuple[Any, ...]) -> list[str]:
    """Return the keys of the table at `location`; items of lists and of free tables are passed through."""
    model = root
    for part in location:
        if part in model.model_fields:
            model = next(_tables(model.model_fields[part].annotation), model)
    return [*model.model_fields]


def _tables(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _tables(argument)
