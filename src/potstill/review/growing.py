"""An evolved instruction with the tree that it grew in: what each step changed, how it was judged, what was kept."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from potstill.evaluation.page.markup import Child, Html, cut, element, join
from potstill.review import queries
from potstill.review.colouring import word_difference
from potstill.review.entries import node_id
from potstill.review.listing import tone, verdict_words
from potstill.review.store import Row, read_row

SHOWN = 300
"""Instructions of a tree that a page lists."""
CHARACTERS = 20_000
CHARACTERS_IN_TREE = 600


def instruction_body(whole: Mapping[str, Any]) -> Html:
    """Return an instruction as a difference to the one that it was made from, with its scores."""
    text, before = str(whole.get("text") or ""), whole.get("before")
    if not text.strip():
        return element("p", f"(no text: {whole.get('refused') or 'unknown'})", class_="written empty")
    text = cut(text, CHARACTERS)
    shown: Child = text if before is None else word_difference(cut(str(before), CHARACTERS), text)
    scores = {name: value for name, value in (whole.get("scores") or {}).items() if value is not None}
    votes = scores.pop("votes", None)
    said = [f"{name} {float(value):.2f}" for name, value in scores.items()]
    said += [f"mean of {votes:.0f} votes"] if votes else []
    said += [f"{whole['visits']} visits"] if whole.get("visits") else []
    return join(
        element("p", shown, class_="written difference"),
        element("p", " · ".join(said), class_="soft found") if said else None,
    )


def tree_view(folder: Path, index: sqlite3.Connection, row: Row) -> Html | None:
    """Return the tree of an instruction as nested lists, each with its action and verdict; the open one is marked."""
    nodes = read_row(folder, row["file"], row["start"], row["length"]).get("nodes") or []
    items = queries.tree_items(index, row["problem"], row["job"])
    if not nodes or not items:
        return None
    kept = _kept(folder, index, row["problem"])
    children: dict[int, list[int]] = {}
    for number, node in enumerate(nodes[:SHOWN]):
        if number and isinstance(node.get("parent"), int):
            children.setdefault(node["parent"], []).append(number)

    def branch(number: int, depth: int) -> list[Html]:
        entries, above = [], " ".join(str(nodes[number].get("text") or "").split())
        for child in children.get(number, []) if depth < 60 else []:
            if (item := items.get(child)) is None:
                continue
            below = branch(child, depth + 1)
            entries.append(
                element("li", _link(item, nodes[child], above, row, kept), element("ul", *below) if below else None)
            )
        return entries

    left = len(nodes) - SHOWN
    title = element("summary", f"Its tree: {len(nodes) - 1} rewritings, each as a change of the one above")
    more = element("p", f"{left} more are in the list.", class_="soft") if left > 0 else None
    root = element("li", cut(" ".join(str(nodes[0].get("text", "")).split()), 160), element("ul", *branch(0, 0)))
    return element("details", title, element("ul", root, class_="tree difference"), more, open="")


def tree_link(index: sqlite3.Connection, asked: Mapping[str, Any]) -> Html | None:
    """Return the way from a kept instruction among the problems to its place in the tree."""
    found = (asked.get("meta") or {}).get("evolution") if isinstance(asked.get("meta"), Mapping) else None
    if not isinstance(found, Mapping) or "root_id" not in found or "node" not in found:
        return None
    row = index.execute(
        "SELECT n FROM items INDEXED BY by_id WHERE id = ? AND stage = 'instructions' AND job = ''",
        (node_id(str(found["root_id"]), int(found["node"])),),
    ).fetchone()
    link = element("a", "Its place in the tree that it grew in", href=f"/item/{row['n']}") if row else None
    return element("p", link) if link else None


def _link(item: Row, node: Mapping[str, Any], before: str, here: Row, kept: set[int]) -> Html:
    text = " ".join(str(node.get("text") or "").split())[:CHARACTERS_IN_TREE]
    said = word_difference(before[:CHARACTERS_IN_TREE], text) if text else "(no text)"
    parts: list[Child] = [
        element("b", str(node.get("action") or ""), class_="soft"),
        " ",
        element("a", said, href=f"/item/{item['n']}", aria_current="true" if item["n"] == here["n"] else None),
        " ",
        element("span", verdict_words(item), class_=f"vote {tone(item)}"),
        element("mark", "kept") if item["number"] in kept else None,
    ]
    return join(*parts)


def _kept(folder: Path, index: sqlite3.Connection, seed: str) -> set[int]:
    """Return the numbers of a tree's instructions that became problems."""
    found = set()
    for _, row in queries.family(index, seed):
        made = (queries.text_of(folder, row).get("meta") or {}).get("evolution") or {}
        if "node" in made:
            found.add(int(made["node"]))
    return found
