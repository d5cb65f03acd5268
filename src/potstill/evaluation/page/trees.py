"""Search trees in a report: a few of them, foldable node by node, and how the best judged value grows with the calls.

A node shows its action, its scores, its visits, and what it changed of its parent. Which trees are shown a hash of the
seed's id decides, not their values.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from potstill.errors import DataError
from potstill.evaluation.page import charts
from potstill.evaluation.page.gathering import Facts, rows_of
from potstill.evaluation.page.listings import listing
from potstill.evaluation.page.markup import Child, Html, cut, element, join
from potstill.evaluation.page.naming import section
from potstill.records import child_seed

SHOWN_TREES = 4
SHOWN_NODES = 80
"""Nodes of one tree; a larger one says how many are left out."""
CHARACTERS = 1200
_WORD = re.compile(r"\s+|\w+|[^\w\s]")
Row = Mapping[str, Any]


def search_trees(facts: Facts) -> Html | None:
    """Return the section on the searches of a run; `None` where there was none."""
    rows = tree_rows(facts.folder / "trees.jsonl")
    if not rows:
        return None
    said = [element("p", _lead(facts, rows), class_="lead")]
    evolve = facts.recipe.get("evolve") or {}
    rivals = {str(name): tree_rows(facts.folder / f"trees/{name}.jsonl") for name in evolve.get("compare") or ()}
    figure = growth_figure({str(evolve.get("strategy", "search")): rows, **rivals})
    shown = drawn(rows)[:SHOWN_TREES]
    kept = {(str(m["root_id"]), int(m["node"])) for m in _kept(facts.folder)}
    trees = [tree_details(row, kept, is_open=number == 0) for number, row in enumerate(shown)]
    panels = element("div", figure, actions_table(rows), class_="panels")
    heading = element("h3", f"{len(shown)} of {len(rows)} searches, node by node", class_="part")
    beside = [part for name, others in rivals.items() if others for part in beside_it(name, others)]
    return section("trees", "Instructions that evolved", *said, panels, heading, *trees, *beside)


def drawn(rows: Iterable[Row]) -> list[Row]:
    """Return trees in an order that the seeds' ids decide: the same seeds come first for every strategy."""
    return sorted(rows, key=lambda row: child_seed("shown tree", row.get("seed_id")))


def beside_it(name: str, rows: Sequence[Row]) -> list[Html]:
    """Return one search of a compared strategy, that of the first seed shown."""
    heading = element("h3", f"{naming_of(name)}, the same seed", class_="part")
    return [heading, tree_details(drawn(rows)[0], set(), is_open=False)]


def naming_of(strategy: str) -> str:
    """Return a strategy's name in words.

    >>> naming_of("best_of_n")
    'Best of n'
    """
    return strategy.replace("_", " ").capitalize()


def tree_rows(path: Path) -> list[Row]:
    """Return the trees of a file; none where there is no file.

    Raises:
        DataError: A line is no tree.
    """
    rows: list[Row] = list(rows_of(path))
    for row in rows:
        nodes = row.get("nodes")
        if not isinstance(nodes, list) or not nodes or not all(isinstance(node, Mapping) for node in nodes):
            message = f"{path}: the line of seed {row.get('seed_id')!r} is no tree; remove it, and it is grown anew"
            raise DataError(message)
    return rows


def growth_figure(arms: Mapping[str, Sequence[Row]]) -> Html | None:
    """Return the best judged value against the calls made, one line per arm: the mean over seeds."""
    tones = ("main", "ood", "contrast", "other", "base")
    markers = ("circle", "square", "triangle", "diamond", "circle")
    lines = []
    for (name, rows), tone, marker in zip(arms.items(), tones, markers, strict=False):
        points = [charts.Point(call, value) for call, value in growth(rows)]
        if len(points) > 1:
            lines.append(charts.Line(name, tuple(points), tone, marker))
    if not lines:
        return None
    ys = [point.y for line in lines for point in line.points]
    chart = charts.line_chart(
        lines, "Best judged value against calls", x_label="rewriting calls per seed",
        x_ticks=charts.nice_ticks([0, max(point.x for line in lines for point in line.points)], most=5),
        y_label="best judged value", y_ticks=charts.nice_ticks([min(ys), max(ys)], most=5), as_percent=False,
    )  # fmt: skip
    words = (
        "Mean over seeds of the best judged value so far, seed included. It is the value that the search itself "
        "follows: more calls find texts that the judge overrates, too."
    )
    return element("figure", element("h3", "Growth with the calls"), chart, element("figcaption", words))


def growth(rows: Sequence[Row]) -> list[tuple[int, float]]:
    """Return (calls, mean over trees of the best value among the nodes of the first so many calls)."""
    curves = [curve for row in rows if (curve := _best_by_call(row["nodes"]))]
    if not curves:
        return []
    longest = max(map(len, curves))
    # A tree that stopped earlier keeps its best.
    return [(call, fmean(curve[min(call, len(curve) - 1)] for curve in curves)) for call in range(longest)]


def actions_table(rows: Iterable[Row]) -> Html:
    """Return what each action came to: calls, texts that passed, and how often they were worth more than before."""
    found: dict[str, list[int]] = {}
    for row in rows:
        nodes = row["nodes"]
        for node in nodes[1:]:
            calls = found.setdefault(str(node["action"]), [0, 0, 0])
            above = nodes[node["parent"]]["value"]
            is_alive = not node["refused"] and node["value"] is not None
            calls[0] += 1
            calls[1] += is_alive
            calls[2] += is_alive and above is not None and node["value"] > above
    body = [
        element("tr", element("th", name, scope="row"), *(element("td", count, class_="number") for count in counts))
        for name, counts in sorted(found.items(), key=lambda pair: -pair[1][2] / max(1, pair[1][0]))
    ]
    words = (
        "Rewriting calls by action: how many texts passed gates and judge, how many are worth more than their parent."
    )
    return listing(words, ("action", "calls", "passed", "better"), body, first_number=1)


def tree_details(row: Row, kept: set[tuple[str, int]], *, is_open: bool) -> Html:
    """Return one tree, folded but for the first."""
    nodes = row["nodes"]
    root, shown = nodes[0], {node["id"] for node in nodes[:SHOWN_NODES]}
    mine = {node for seed_id, node in kept if seed_id == str(row.get("seed_id"))}
    counts = f"{row['calls']} calls, stopped: {row['stop'] or 'running'}"
    said = element("small", f"value {_number(root['value'])}; {counts}")
    summary = element("summary", cut(str(root["text"]), 120), " ", said)
    left = len(nodes) - len(shown)
    more = element("p", f"{left} more nodes are in trees.jsonl.", class_="soft") if left > 0 else None
    seed = element(
        "p", element("strong", "seed"), " ", _scores(root), element("br"), cut(str(root["text"]), CHARACTERS)
    )
    branches = _children(nodes, root, shown, mine)
    return element("details", summary, seed, branches, more, class_="search", open="" if is_open else None)


def _children(nodes: Sequence[Row], node: Row, shown: set[int], kept: set[int]) -> Html | None:
    below = [nodes[at] for at in node["children"] if at in shown]
    if not below:
        return None
    return element("ul", *(_node(nodes, child, shown, kept) for child in below), class_="search-tree")


def _node(nodes: Sequence[Row], node: Row, shown: set[int], kept: set[int]) -> Html:
    is_refused = bool(node["refused"]) or node["value"] is None
    value = _number(node["value"]) if not is_refused else node["refused"] or "not judged"
    facts: list[Child] = [element("strong", str(node["action"])), " ", value]
    facts += [" ", element("mark", "kept")] if node["id"] in kept else []
    facts += [" simulated"] if node["is_simulated"] else []
    text: Child = difference(str(nodes[node["parent"]]["text"]), str(node["text"])) if node["text"] else "no text"
    inner = [
        element("summary", *facts),
        element("p", _scores(node), element("br") if node["scores"] else None, text),
        _children(nodes, node, shown, kept),
    ]
    return element("li", element("details", *inner, open=None if is_refused or node["depth"] > 1 else ""))


def difference(before: str, after: str) -> Html:
    """Return the new text with what was added marked, and what was taken away struck out, word by word."""
    old, new = _WORD.findall(before[:CHARACTERS]), _WORD.findall(after[:CHARACTERS])
    parts: list[Child] = []
    for tag, i, j, k, m in difflib.SequenceMatcher(a=old, b=new, autojunk=False).get_opcodes():
        if tag in ("replace", "delete"):
            parts.append(element("del", "".join(old[i:j])))
        if tag in ("replace", "insert"):
            parts.append(element("ins", "".join(new[k:m])))
        if tag == "equal":
            parts.append("".join(new[k:m]))
    if len(after) > CHARACTERS:
        parts.append(f" … ({len(after) - CHARACTERS:,} more characters)")
    return join(*parts)


def _lead(facts: Facts, rows: Sequence[Row]) -> str:
    counts = ((facts.manifest.get("stages") or {}).get("evolve") or {}).get("counts") or {}
    nodes = sum(len(row["nodes"]) - 1 for row in rows)
    alive = sum(not n["refused"] and n["value"] is not None for row in rows for n in row["nodes"][1:])
    kept = f" {counts['kept']:,} instructions were kept." if "kept" in counts else ""
    calls = sum(int(row["calls"]) for row in rows)
    passed = f"{nodes:,} texts, of which {alive:,} passed gates and judge."
    return f"{len(rows):,} seeds, {calls:,} rewriting calls: {passed}{kept}"


def _best_by_call(nodes: Sequence[Row]) -> list[float]:
    """Return the best value after 0, 1, 2 … calls; a call is known by its step and its place in it."""
    best = nodes[0]["value"]
    curve, last = ([] if best is None else [float(best)]), (0, 0)
    for node in sorted(nodes[1:], key=lambda node: (node["step"], node["slot"], node["id"])):
        if not node["refused"] and node["value"] is not None:
            best = node["value"] if best is None else max(best, node["value"])
        if best is None:
            continue
        if (node["step"], node["slot"]) == last and curve:
            curve[-1] = float(best)
        else:
            curve.append(float(best))
        last = (node["step"], node["slot"])
    return curve


def _scores(node: Row) -> str:
    scores = node["scores"] or {}
    shown = [f"{name} {_number(value)}" for name, value in scores.items() if name != "votes"]
    visits = [f"{node['visits']} visits"] if node["visits"] else []
    return ", ".join([*shown, *visits])


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _kept(folder: Path) -> Iterable[Row]:
    for row in rows_of(folder / "evolved.jsonl"):
        found = (row.get("meta") or {}).get("evolution")
        if found:
            yield found
