"""The sections of a report on several runs: each a table or a chart with a column, or a line, for every run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from potstill.evaluation import tables
from potstill.evaluation.markdown import cost_cells, failure_rows, funnel_rows, score_groups
from potstill.evaluation.page import charts
from potstill.evaluation.page.failures import failure_examples
from potstill.evaluation.page.listings import (
    DIFFERENCE_COLUMNS,
    difference_bounds,
    difference_row,
    listing,
    score_cell,
)
from potstill.evaluation.page.markup import Child, Html, cut, element, join
from potstill.evaluation.page.naming import (
    path_words,
    samples_per_problem,
    section,
    split_words,
    system_words,
)
from potstill.evaluation.page.sections import PERCENT_TICKS
from potstill.evaluation.page.trees import growth, tree_rows
from potstill.evaluation.runs import Beside, Side
from potstill.records import Score

TONES = ("main", "ood", "contrast", "family", "other", "base")
MARKERS = ("circle", "square", "triangle", "diamond")
OPEN_PAIRS, OPEN_KEYS = 24, 30
"""Longer tables are folded from there on."""


def sections_of(beside: Beside) -> list[Html | None]:
    """Return the sections in the order of the page."""
    return [
        _runs(beside),
        _paired(beside),
        *_scores(beside),
        _curves(beside),
        _table_section("funnel", "Funnel", beside, funnel_rows([side.summary for side in beside.sides])),
        _failures(beside),
        _table_section("cost", "Cost", beside, cost_cells([side.summary for side in beside.sides])),
        _recipe(beside),
        _repeat(beside),
    ]


def _runs(beside: Beside) -> Html:
    body = [
        _row(side.name, side.summary["method"], side.main, str(side.summary["began"] or "")[:16],
             str(side.summary["revision"] or ""), ", ".join(f"{n:,} {split}" for split, n in side.facts.splits.items()),
             is_text=True)
        for side in beside.sides
    ]  # fmt: skip
    said = f"The first run, {beside.sides[0].name}, is the one that the others are compared with."
    names = ("run", "method", "main system", "began", "revision", "problems")
    return section("runs", "The runs", listing(said, names, body, first_number=9))


def _paired(beside: Beside) -> Html:
    """Return the paired differences; of many those of the main systems and accuracy on the first split are open."""
    notes = [element("p", note, class_="notice") for note in beside.notes]
    pairs = beside.comparisons
    if not pairs:
        return section("pairs", "Paired comparisons", *notes)
    shared = ", ".join(f"{pair[0]}: {pair[1]:,}" for pair in dict.fromkeys(_shared(p.meta) for p in pairs))
    tests = "; ".join(sorted({pair.test for pair in pairs}))
    words = (
        f"Differences in percentage points on problems that both runs were scored on (shared with {shared}). Tests: "
        f"{tests}. p-values are not corrected for the {len(pairs)} comparisons. Grey: the interval includes zero."
    )
    bounds = difference_bounds(pairs)
    rows = []
    for pair in pairs:
        said = element("span", f"  {split_words(pair.split, pair.metric)}, {path_words(pair.path)}", class_="soft")
        rows.append(difference_row(join(f"{pair.a} − {pair.b}", said), pair, bounds))
    opened = listing(words, DIFFERENCE_COLUMNS, rows[:OPEN_PAIRS], first_number=1, wide=(3,))
    more = None
    if len(rows) > OPEN_PAIRS:
        rest = listing("The other pairs.", DIFFERENCE_COLUMNS, rows[OPEN_PAIRS:], first_number=1, wide=(3,))
        more = element("details", element("summary", f"{len(rows) - OPEN_PAIRS} more"), rest)
    return section("pairs", "Paired comparisons", opened, more, *notes)


def _shared(meta: Any) -> tuple[str, int]:
    return str(meta["run_a"]), int(meta["shared_problems"])


def _scores(beside: Beside) -> list[Html]:
    """Return a table for every task, split and metric: a row for each system and path, a column for each run."""
    tables_of: dict[str, list[Html]] = {}
    names = [side.name for side in beside.sides]
    for (task, split, metric), rows in score_groups(beside).items():
        facts = beside.sides[0].facts
        body = [
            element(
                "tr",
                element("th", system_words(facts, system), element("span", f"  {path_words(path)}", class_="soft"),
                        scope="row"),
                *(score_cell(cell, with_n=True) for cell in cells),
            )
            for (system, path), cells in rows.items()
        ]  # fmt: skip
        words = f"{split_words(split, metric)}, percent with 95 % intervals."
        tables_of.setdefault(task, []).append(listing(words, ("", *names), body, first_number=1))
    return [
        section(f"scores{number or ''}", f"Scores: {task}", *found)
        for number, (task, found) in enumerate(tables_of.items())
    ]


def _curves(beside: Beside) -> Html | None:
    """Return accuracy against N and against the paths that vote, and growth against calls, a line for each run."""
    figures = [
        _figure(beside, "Accuracy against N", "rationales sampled per problem", _against_n),
        _figure(beside, "Vote against the number of paths", "paths that vote, main system", _against_paths),
        _figure(beside, "Best judged value against calls", "rewriting calls per seed", _against_calls, percent=False),
    ]
    return section("curves", "Curves", element("div", *figures, class_="panels")) if any(figures) else None


def _figure(
    beside: Beside, title: str, x_label: str, read: Callable[[Side], list[charts.Point]], *, percent: bool = True
) -> Html | None:
    lines = []
    for at, side in enumerate(beside.sides):
        points = read(side)
        if len(points) > 1:
            tone, marker = TONES[at % len(TONES)], MARKERS[at % len(MARKERS)]
            lines.append(charts.Line(side.name, tuple(points), tone, marker))
    if not lines:
        return None
    every = [point for line in lines for point in line.points]
    xs = sorted({point.x for point in every})
    ticks = xs if len(xs) <= 6 else charts.nice_ticks([0, xs[-1]], most=5)
    chart = charts.line_chart(
        lines, title, x_label=x_label, x_ticks=ticks, y_label="% right, test" if percent else "best judged value",
        y_ticks=PERCENT_TICKS if percent else charts.nice_ticks([point.y for point in every], most=5),
        as_percent=percent,
    )  # fmt: skip
    return element("figure", element("h3", title), chart, element("figcaption", "One line per run."))


def _against_n(side: Side) -> list[charts.Point]:
    found = {}
    for row in _test_rows(side):
        n = samples_per_problem(side.facts, row.system)
        if n and (row.path, row.metric) == ("cot", "accuracy"):
            found[n] = _point(n, row)
    return [found[n] for n in sorted(found)]


def _against_paths(side: Side) -> list[charts.Point]:
    rows = [(tables.voters(row.metric), row) for row in _test_rows(side) if row.system == side.main]
    return [_point(n, row) for n, row in sorted((n, row) for n, row in rows if n is not None)]


def _against_calls(side: Side) -> list[charts.Point]:
    return [charts.Point(call, value) for call, value in growth(tree_rows(side.facts.folder / "trees.jsonl"))]


def _test_rows(side: Side) -> list[Score]:
    rows = [row for row in tables.overall(side.facts.scores) if row.value is not None]
    first = next((row.split for row in rows), "test")
    return [row for row in rows if row.split == first]


def _point(x: float, row: Score) -> charts.Point:
    return charts.Point(x, row.value or 0.0, row.low, row.high)


def _table_section(name: str, title: str, beside: Beside, rows: Sequence[tuple[str, ...]]) -> Html | None:
    names = ("", *(side.name for side in beside.sides))
    body = [_row(*row) for row in rows]
    return section(name, title, listing(f"{title} of each run.", names, body, first_number=1)) if body else None


def _failures(beside: Beside) -> Html | None:
    """Return why the main systems' greedy predictions are not right, with an example of each run's reports."""
    rows = failure_rows([side.summary for side in beside.sides], [side.main for side in beside.sides])
    if not rows:
        return None
    names = ("", *(f"{side.name}: {system_words(side.facts, side.main)}" for side in beside.sides))
    said = "Greedy predictions of each run's main system that are not right, first seed, all evaluated splits."
    table = listing(said, names, [_row(*row) for row in rows], first_number=1)
    return section("failures", "Failures by reason", table, *_examples(beside))


def _examples(beside: Beside) -> list[Html]:
    found = []
    for side in beside.sides:
        views = failure_examples(side.facts, 2)
        if views:
            found += [element("h3", f"Examples of {side.name}", class_="part"), *views]
    return found


def _recipe(beside: Beside) -> Html:
    names = ("key", *(side.name for side in beside.sides))
    body = [_row(key, *(cut(str(value), 200) for value in values), is_text=True) for key, values in beside.recipe]
    said = f"Keys of the resolved recipes that differ; {beside.same_keys} further keys are the same."
    if not body:
        return section("recipe", "What differs in the recipes", element("p", f"Nothing differs. {said}"))
    shown = [listing(said, names, body[:OPEN_KEYS], first_number=9)]
    if len(body) > OPEN_KEYS:
        rest = listing("The other keys.", names, body[OPEN_KEYS:], first_number=9)
        shown.append(element("details", element("summary", f"{len(body) - OPEN_KEYS} more"), rest))
    return section("recipe", "What differs in the recipes", *shown)


def _repeat(beside: Beside) -> Html:
    children: list[Child] = []
    for side in beside.sides:
        children += [element("h3", side.name), element("pre", "\n".join(side.summary["repeat"]))]
    said = "Each run's recipe.yaml, with every default spelled out, is in its folder."
    return section("repeat", "How to repeat them", element("p", said), *children)


def _row(name: str, *cells: str, is_text: bool = False) -> Html:
    shade = None if is_text else "number"
    return element("tr", element("th", name, scope="row"), *(element("td", cell, class_=shade) for cell in cells))
