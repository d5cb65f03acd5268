"""Where rows come from: files, folders, Hugging Face `datasets`, the embedded miniature.

Yields rows as their source has them; what a row means is decided in `potstill.evaluation.datasets`. A source that is
not a file or folder here is asked of the Hugging Face hub, which is the only thing here that may use the network.
"""

from __future__ import annotations

import glob
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from potstill.errors import DataError, boundary, require_extra, shorten
from potstill.files import read_rows
from potstill.recipe.problems import SourceConfig
from potstill.records import content_id, problem_from

Row = tuple[str, dict[str, Any]]
"""(`file:line`, row); a row that came from a named split holds it under `split`."""
MINIATURE = "miniature"
MINIATURE_SIZES = {"train": 400, "dev": 100, "test": 300, "ood": 100, "contrast": 200}
LABELS_SIZES = {"train": 120, "extra": 120, "dev": 100, "test": 300, "ood": 300, "contrast": 400}
INSTRUCTIONS = ("instructions", "instructions_test")
INSTRUCTION_SIZE = 40
_SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet")
_SAVED = ("dataset_info.json", "state.json", "dataset_dict.json")


def read_source(config: SourceConfig) -> Iterator[Row]:
    """Yield the rows of all sources of a table, those of `split` only where the source itself has splits.

    Raises:
        DataError: A source is missing, cannot be read, or has no such split.
    """
    names = [config.source] if isinstance(config.source, str) else list(config.source)
    for name in names:
        yield from _read_one(name, config)


def title(config: SourceConfig) -> str:
    """Return the short name of a source, the `source` of problems that bring none."""
    first = config.source if isinstance(config.source, str) else config.source[0]
    return Path(first).name.split(".")[0].strip("*") or first


def _read_one(name: str, config: SourceConfig) -> Iterator[Row]:
    path = Path(name)
    if name == MINIATURE:
        yield from _read_miniature(config)
    elif path.is_dir():
        yield from _read_folder(path, config)
    elif path.is_file():
        yield from read_rows(path)
    elif "*" in name or "?" in name:
        yield from _read_files(_matching(name))
    elif any(suffix in _SUFFIXES for suffix in path.suffixes) or path.is_absolute() or name.startswith("."):
        message = f"{name}: no such file or folder; give the path of one (paths are relative to the current folder)"
        raise DataError(message)
    else:
        yield from _read_hub(name, config)


def _matching(pattern: str) -> list[Path]:
    paths = [Path(p) for p in sorted(glob.glob(pattern, recursive=True))]  # noqa: PTH207 - patterns may be absolute
    if not paths:
        message = f"{pattern}: no file matches; check the pattern (paths are relative to the current folder)"
        raise DataError(message)
    return paths


def _read_files(paths: Iterable[Path]) -> Iterator[Row]:
    for path in paths:
        yield from read_rows(path)


def _read_folder(folder: Path, config: SourceConfig) -> Iterator[Row]:
    if any((folder / name).is_file() for name in _SAVED):
        require_extra("datasets", "datasets")
        import datasets

        with boundary(DataError, f"{folder}: not a data set folder that `datasets` can load"):
            loaded = datasets.load_from_disk(str(folder))
        yield from _read_loaded(loaded, str(folder), config.split)
        return
    by_split = _files_by_split(folder)
    if not by_split:
        message = f"{folder}: no data files in this folder; expected {', '.join(_SUFFIXES)} or a saved data set"
        raise DataError(message)
    for split in _wanted(list(by_split), config.split, str(folder)):
        for where, row in _read_files(by_split[split]):
            yield where, {**row, "split": split}


def _files_by_split(folder: Path) -> dict[str, list[Path]]:
    """Return the data files of a folder by split, read off the names: train.jsonl, data/test-00000-of-00002.parquet."""
    found: dict[str, list[Path]] = {}
    for path in sorted([*folder.glob("*"), *folder.glob("data/*")]):
        suffixes = [s.lower() for s in path.suffixes if s.lower() != ".gz"]
        if path.is_file() and suffixes and suffixes[-1] in _SUFFIXES:
            split = path.name.split(".")[0].split("-")[0]
            found.setdefault(split, []).append(path)
    return found


def _read_hub(name: str, config: SourceConfig) -> Iterator[Row]:
    require_extra("datasets", "datasets")
    import datasets

    where = f"{name}: not a file or folder here, and `datasets` cannot load it"
    with boundary(DataError, where):
        loaded = datasets.load_dataset(name, split=config.split, **config.options)
    yield from _read_loaded(loaded, name, config.split)


def _read_loaded(loaded: Any, name: str, split: str | None) -> Iterator[Row]:
    """Yield the rows of a `datasets.Dataset`, which is the wanted split, or of that split of a `DatasetDict`."""
    if hasattr(loaded, "keys"):
        for part in _wanted(list(loaded), split, name):
            for number, row in enumerate(loaded[part], start=1):
                yield f"{name}[{part}:{number}]", {**_plain(row), "split": part}
        return
    own = {"split": split} if split is not None and "split" not in loaded.column_names else {}
    for number, row in enumerate(loaded, start=1):
        yield f"{name}[{number}]", {**_plain(row), **own}


def _plain(value: Any) -> Any:
    """Return a value that JSON can hold; a date or an image that `datasets` decoded becomes its text."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)


def _wanted(found: list[str], split: str | None, name: str) -> list[str]:
    if split is None:
        return found
    if split not in found:
        message = f"{name}: no split {split!r}; found {shorten(', '.join(found))}; set problems.split to one of them"
        raise DataError(message)
    return [split]


def _read_miniature(config: SourceConfig) -> Iterator[Row]:
    """Yield the problems of one of the miniature's worlds: `limit` of a split, or all in the sizes of `options`."""
    if config.split in INSTRUCTIONS:
        yield from _read_instructions(config)
        return
    world, known = _world(config)
    sizes = {**known, **{name: size for name, size in config.options.items() if name != "world"}}
    if set(sizes) - set(known) or config.split not in (None, *known):
        found = config.split if config.split not in (None, *known) else ", ".join(sizes)
        message = f"{MINIATURE}: got {found}; splits, and sizes in problems.options, are {', '.join(known)}"
        raise DataError(message)
    seed = config.seed or 0
    for split in [config.split] if config.split else known:
        size = config.limit if config.split and config.limit else sizes[split]
        if split != "contrast":
            rows = world.draw_problems(split, size, seed)
        else:
            rows = world.draw_contrast(-(-size // 2), seed)[:size]
            parents = world.draw_problems("test", -(-size // 2), seed)
            rows = [{**row, "parent_id": problem_from(parents[row["parent_index"]]).id} for row in rows]
        for number, row in enumerate(rows, start=1):
            yield f"{MINIATURE}[{split}:{number}]", _own_family(row, row["question"])


def _world(config: SourceConfig) -> tuple[ModuleType, dict[str, int]]:
    """Return what draws the problems, and the splits that there are with their usual sizes."""
    from potstill.miniature import labels, parts, world

    worlds = {"ring": (world, MINIATURE_SIZES), "labels": (labels, LABELS_SIZES), "parts": (parts, parts.SIZES)}
    name = config.options.get("world", "ring")
    if name not in worlds:
        message = f"{MINIATURE}: world {name!r} in problems.options; expected one of {', '.join(worlds)}"
        raise DataError(message)
    return worlds[name]


def _read_instructions(config: SourceConfig) -> Iterator[Row]:
    """Yield seed instructions of the miniature's other world, or, of other tasks, instructions to test students on."""
    from potstill.miniature.instruction_grammar import seeds, tests

    drawn = seeds if config.split == INSTRUCTIONS[0] else tests
    for number, text in enumerate(drawn(config.limit or INSTRUCTION_SIZE, config.seed or 0), start=1):
        yield f"{MINIATURE}[{config.split}:{number}]", _own_family({"question": text}, text)


def _own_family(row: dict[str, Any], text: str) -> dict[str, Any]:
    """Say that only the same text is the same problem: a generated world is made of one pattern with other numbers."""
    return {**row, "meta": {**row.get("meta", {}), "family": content_id(text)}}
