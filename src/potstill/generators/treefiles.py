"""Trees on disk: one JSON line per seed in `trees.jsonl`, read back as the tree that was written."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from potstill.errors import DataError
from potstill.files import read_rows, write_atomic
from potstill.generators.trees import Node, Tree, to_rows

_NODE = tuple(field.name for field in fields(Node))


def tree_row(seed_id: str, tree: Tree) -> dict[str, Any]:
    """Return a tree as one JSON object, under the id of its seed."""
    counts = {"stop": tree.stop, "calls": tree.calls, "judged": tree.judged, "steps": tree.steps}
    learnt = {"after": tree.after} if tree.after else {}
    return {"seed_id": seed_id, **counts, **learnt, "low": tree.low, "high": tree.high, "nodes": to_rows(tree)}


def tree_from(row: Mapping[str, Any], where: str = "tree") -> tuple[str, Tree]:
    """Return the id of a seed and its tree.

    Raises:
        DataError: The row is not a tree.
    """
    try:
        nodes = tuple(Node(**{**_known(node), "children": tuple(node["children"])}) for node in row["nodes"])
        counts = {name: row[name] for name in ("stop", "calls", "judged", "steps", "low", "high")}
        return str(row["seed_id"]), Tree(nodes=nodes, after=row.get("after", ""), **counts)
    except (KeyError, TypeError) as cause:
        message = (
            f"{where}: not a tree ({cause}); expected what `potstill evolve` writes; remove the line to grow it anew"
        )
        raise DataError(message) from cause


def read_trees(path: Path) -> Iterator[tuple[str, Tree]]:
    """Yield the trees of a file; none where there is no file."""
    if path.exists() and path.stat().st_size:
        for where, row in read_rows(path):
            yield tree_from(row, where)


def write_trees(path: Path, trees: Iterable[tuple[str, Tree]]) -> None:
    """Replace a file of trees."""
    write_atomic(path, "".join(line_of(seed_id, tree) for seed_id, tree in trees))


def line_of(seed_id: str, tree: Tree) -> str:
    """Return a tree as a line of JSON with its line end."""
    return json.dumps(tree_row(seed_id, tree), ensure_ascii=True) + "\n"


def _known(node: Mapping[str, Any]) -> dict[str, Any]:
    return {name: node[name] for name in _NODE}
