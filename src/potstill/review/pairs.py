"""A problem that was made from another: what was changed, word by word, who confirmed it, and its whole family."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from potstill.evaluation.page.markup import Html, cut, element, join
from potstill.review import queries
from potstill.review.colouring import word_difference
from potstill.review.listing import question_of, tone, verdict_words
from potstill.review.store import Row

SHOWN_CHARACTERS = 20_000


def difference_view(folder: Path, asked: Mapping[str, Any], parent: Row | None) -> Html | None:
    """Return what was changed of the problem that this one was made from: of each field, or of the question."""
    if parent is None:
        return None
    before = question_of(folder, parent)
    is_flipped = before.get("answer") != asked.get("answer")
    link = element("a", "the original", href=f"/item/{parent['n']}")
    said = element("span", "changed" if is_flipped else "the same", class_="soft")
    gold = join("gold answer: ", _changed(before.get("answer"), asked.get("answer")), " ", said)
    has_gold = before.get("answer") is not None or asked.get("answer") is not None
    return element(
        "div",
        element("h2", "Changed from ", link),
        *_changes(before, asked),
        _options(before, asked),
        element("p", gold, class_="difference") if has_gold else None,
    )


def _changes(before: Mapping[str, Any], asked: Mapping[str, Any]) -> list[Html]:
    """Return the difference of every field that both have, named; of problems without fields, of the question."""
    old, new = before.get("fields") or {}, asked.get("fields") or {}
    if not isinstance(old, Mapping) or not isinstance(new, Mapping) or not {*old} & {*new}:
        changed = _changed(before.get("question"), asked.get("question"))
        return [element("p", changed, class_="question difference")]
    rows = []
    for name in dict.fromkeys([*old, *new]):
        is_same = old.get(name) == new.get(name)
        note = element("span", " unchanged", class_="soft") if is_same else None
        body = cut(str(new.get(name, "")), SHOWN_CHARACTERS) if is_same else _changed(old.get(name), new.get(name))
        rows.append(join(element("dt", cut(str(name), 60), note), element("dd", body, class_="difference")))
    return [element("dl", *rows, class_="fields")]


def _options(before: Mapping[str, Any], asked: Mapping[str, Any]) -> Html | None:
    """Say where the options differ: a counterfactual must keep them."""
    old, new = list(before.get("options") or ()), list(asked.get("options") or ())
    if old == new:
        return None
    return element(
        "p", "options: ", _changed(" | ".join(map(str, old)), " | ".join(map(str, new))), class_="difference"
    )


def _changed(before: Any, after: Any) -> Html:
    texts = ("" if value is None else str(value) for value in (before, after))
    return word_difference(*(cut(text, SHOWN_CHARACTERS) for text in texts))


def claims_view(index: sqlite3.Connection, row: Row) -> Html | None:
    """Return what each judge that is not the verifier, such as a jury, said of a record."""
    claims = queries.claims_on(index, row["stage"], row["id"])
    if not claims:
        return None
    said = [
        element(
            "li",
            element("b", claim["judge"]),
            " ",
            element("span", verdict_words(dict(claim)), class_=f"vote {tone(claim)}"),
            element("span", f" {cut(claim['reason'], 200)}", class_="soft") if claim["reason"] else None,
        )
        for claim in claims
    ]
    return element("div", element("h2", "What judges said"), element("ul", *said))


def family_view(folder: Path, index: sqlite3.Connection, problem: Row) -> Html | None:
    """Return the tree of problems that this one belongs to, as nested lists."""
    nodes = queries.family(index, problem["id"])
    if len(nodes) < 2:
        return None

    def branch(at: int, depth: int) -> tuple[list[Html], int]:
        entries: list[Html] = []
        while at < len(nodes) and nodes[at][0] == depth:
            node = nodes[at][1]
            below, after = branch(at + 1, depth + 1)
            said = cut(" ".join(str(question_of(folder, node).get("question", "")).split()), 160)
            is_here = node["id"] == problem["id"]
            link = element("a", said or node["id"], href=f"/item/{node['n']}", aria_current="true" if is_here else None)
            entries.append(element("li", link, element("ul", *below) if below else None))
            at = after
        return entries, at

    title = element("summary", f"Its family: {len(nodes)} problems")
    return element(
        "details", title, element("ul", *branch(0, 0)[0], class_="tree"), open="" if len(nodes) < 12 else None
    )
