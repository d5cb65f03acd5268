"""Read a recipe from YAML, with `--set table.key=value` on top, and write it back.

Nothing here opens an endpoint or a data set: a recipe that loads may still name a model that does not exist.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from potstill.errors import ConfigError, shorten
from potstill.methods import with_defaults
from potstill.recipe.environment import interpolated
from potstill.recipe.explaining import validated
from potstill.recipe.tasks import with_task
from potstill.recipe.whole import Recipe


def load_recipe(path: str | Path, overrides: Iterable[str] = ()) -> Recipe:
    """Read a recipe file, apply `table.key=value` overrides, validate.

    Raises:
        ConfigError: The file cannot be read, is not YAML, or a key or value is not allowed.
    """
    return build_recipe(read_recipe(path), overrides, where=str(path))


def read_recipe(path: str | Path) -> dict[str, Any]:
    """Return a recipe file's raw tables, not yet validated; errors as `load_recipe`."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as cause:
        message = f"recipe {path}: cannot be read ({shorten(cause)}); give the path of a YAML file"
        raise ConfigError(message) from cause
    return parse_tables(text, str(path))


def parse_recipe(text: str, overrides: Iterable[str] = (), where: str = "recipe") -> Recipe:
    """Validate recipe text; errors as `load_recipe`."""
    return build_recipe(parse_tables(text, where), overrides, where)


def parse_tables(text: str, where: str) -> dict[str, Any]:
    """Return the raw tables of recipe text; a key that is given twice is refused, where YAML takes the last."""
    try:
        data = yaml.load(text, Loader=_DistinctKeys)
    except yaml.MarkedYAMLError as cause:
        mark = cause.problem_mark
        at = f"{where}:{mark.line + 1}:{mark.column + 1}" if mark is not None else where
        message = f"{at}: not valid YAML: {shorten(cause.problem or cause)}; correct the file"
        raise ConfigError(message) from cause
    except yaml.YAMLError as cause:
        message = f"{where}: not valid YAML: {shorten(cause)}; correct the file"
        raise ConfigError(message) from cause
    if not isinstance(data, dict):
        found = "nothing" if data is None else type(data).__name__
        message = f"{where}: found {found}; expected tables such as problems, teachers, sample"
        raise ConfigError(message)
    return data


class _DistinctKeys(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen and isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, f"key {key.value!r} occurs twice", key.start_mark)
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


def build_recipe(data: dict[str, Any], overrides: Iterable[str] = (), where: str = "recipe") -> Recipe:
    """Validate raw tables with overrides on top; errors as `load_recipe`."""
    for override in overrides:
        apply_override(data, override)
    data = with_defaults(with_task(data))
    teachers = data.get("teachers")
    interpolated(teachers, where)
    return validated(Recipe, {**interpolated(data, where), **({"teachers": teachers} if teachers else {})}, where)


def apply_override(data: dict[str, Any], override: str) -> None:
    """Set one `table.key=value` in raw recipe data; the value is read as YAML."""
    key, separator, raw = override.partition("=")
    if not separator or not key.strip():
        message = f"--set {shorten(override)!r}: expected table.key=value, for example sample.n=5"
        raise ConfigError(message)
    try:
        value = yaml.safe_load(raw)
    except yaml.YAMLError as cause:
        message = f"--set {shorten(override)!r}: the value is not valid YAML; quote it"
        raise ConfigError(message) from cause
    node: Any = data
    parts = key.strip().split(".")
    for depth, part in enumerate(parts[:-1]):
        if isinstance(node, list):
            node = _list_item(node, part, override)
            continue
        if node.get(part) is None:
            node[part] = {}
        node = node[part]
        if not isinstance(node, dict | list):
            message = f"--set {shorten(override)!r}: '{'.'.join(parts[: depth + 1])}' is a value, not a table"
            raise ConfigError(message)
    if isinstance(node, list):
        message = (
            f"--set {shorten(override)!r}: '{'.'.join(parts[:-1])}' is a list; name an item, e.g. teachers.0.model"
        )
        raise ConfigError(message)
    node[parts[-1]] = value


def dump_recipe(recipe: Recipe) -> str:
    """Return the resolved recipe as YAML, every default spelled out."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _list_item(node: list[Any], part: str, override: str) -> Any:
    if part.isdigit() and int(part) < len(node):
        return node[int(part)]
    message = f"--set {shorten(override)!r}: '{part}' is not an item of a list of {len(node)}"
    raise ConfigError(message)
