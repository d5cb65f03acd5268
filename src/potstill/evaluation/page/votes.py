"""Votes in a report: accuracy against the number of paths, which kind wins, and where both kinds agree."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from potstill.evaluation import tables
from potstill.evaluation.grading import ABSTAINED
from potstill.evaluation.page import charts
from potstill.evaluation.page.gathering import Facts
from potstill.evaluation.page.listings import listing, number_table, score_cell
from potstill.evaluation.page.markup import Child, Html, element
from potstill.evaluation.page.naming import KINDS, split_words, system_words, votes_of
from potstill.evaluation.page.sections import caption
from potstill.evaluation.page.skills import Cast, vote_row
from potstill.records import Score


def curves(facts: Facts, tones: Mapping[str, str]) -> list[Html]:
    """Return accuracy against the number of paths that vote: a figure per split, and the numbers.

    Args:
        tones: The systems in the order in which they are listed, each with its tone in the style sheet.
    """
    counts = sorted({count for row in facts.scores if (count := tables.voters(row.metric))})
    if not counts:
        return []
    splits = list(dict.fromkeys(row.split for row in tables.overall(facts.scores) if tables.voters(row.metric)))
    markers = dict(zip(tones, ("circle", "square", "triangle", "diamond") * len(tones), strict=False))
    rows: list[tuple[Child, dict[int, Score]]] = []
    figures = []
    for split in splits:
        found = {name: _by_count(facts, name, split, counts) for name in tones}
        lines = [
            charts.Line(system_words(facts, name), _points(by_count), tones[name], markers[name])
            for name, by_count in found.items() if len(by_count) > 1
        ]  # fmt: skip
        rows += [(split_words(split), {}), *((system_words(facts, n), by) for n, by in found.items() if by)]
        if lines:
            figures.append(_curve_figure(facts, split_words(split), lines))
    words = "Percent right by vote, with 95 % intervals, against the number of paths; of two kinds, half of each."
    table = number_table(words, rows, "{} paths")
    return [
        element("h3", "The vote against the number of paths", class_="part"),
        element("div", *figures, class_="panels"),
        element("details", element("summary", "The numbers behind these curves"), table),
    ]


def _by_count(facts: Facts, system: str, split: str, counts: Sequence[int]) -> dict[int, Score]:
    every = sorted({*counts, *([count] if (count := votes_of(facts, system)) else [])})
    return {count: row for count in every if (row := vote_row(facts, system, split, count)) and row.value is not None}


def _points(by_count: Mapping[int, Score]) -> tuple[charts.Point, ...]:
    return tuple(charts.Point(count, row.value or 0.0, row.low, row.high) for count, row in by_count.items())


def _curve_figure(facts: Facts, title: str, lines: Sequence[charts.Line]) -> Html:
    points = [point for line in lines for point in line.points]
    low = min(p.y if p.low is None else p.low for p in points)
    high = max(p.y if p.high is None else p.high for p in points)
    step = 1 if high - low < 0.45 else 2  # tenths
    ticks = [tenths / 10 for tenths in range(step * math.floor(10 * low / step), math.ceil(10 * high) + step, step)]
    chart = charts.line_chart(
        lines, f"{title}: vote against paths", x_label="paths that vote (log scale)",
        x_ticks=sorted({point.x for point in points}), log_x=True, y_label="% right", y_ticks=ticks,
    )  # fmt: skip
    words = "95 % intervals; points of one number are set apart so that they can be read."
    return element("figure", element("h4", title), chart, caption(facts, words))


def choices(facts: Facts, cast: Cast) -> Html | None:
    """Return which kind is chosen and wins votes, and how often both kinds agree and are then right."""
    rows = [r for r in tables.overall(facts.scores) if (r.system, r.metric) == (cast.main, "accuracy")]
    stacks = [
        (f"{words}, {split_words(r.split)}", _kind_parts(r))
        for path, words in (("routed", "own choice"), ("surer", "the surer text"), ("vote", "vote won by"))
        for r in rows if r.path == path and r.meta.get("kinds")
    ]  # fmt: skip
    agreed = [r for r in rows if r.path == "agreed"]
    shares = None
    if stacks:
        title = "Which kind the student takes"
        words = (
            "Over all problems and seeds: the kind that the student chooses, and the kind of the path that stands for "
            "the winning answer of a vote."
        )
        figure = charts.share_chart(stacks, title)
        shares = element("figure", element("h3", title, class_="part"), figure, caption(facts, words))
    if shares is None and not agreed:
        return None
    return element("div", shares, _agreement(agreed) if agreed else None, class_="panels")


def _kind_parts(row: Score) -> list[charts.Part]:
    kinds = row.meta["kinds"]
    return [charts.Part(KINDS[kind][0], int(kinds[kind]), kind) for kind in ("cot", "pot") if kind in kinds]


def _agreement(rows: Sequence[Score]) -> Html:
    body = []
    for row in rows:
        statuses = Counter({name: int(count) for name, count in (row.meta.get("statuses") or {}).items()})
        asked = statuses.total()
        covered = f"{100 * (asked - statuses[ABSTAINED]) / asked:.1f}" if asked else "-"
        name = element("th", split_words(row.split), scope="row")
        count = element("td", f"{asked - statuses[ABSTAINED]:,} of {asked:,}", class_="number")
        body.append(element("tr", name, element("td", covered, class_="number"), score_cell(row), count))
    words = (
        "Answer only where the greedy chain of thought and the greedy program give the same answer, abstain elsewhere: "
        "how often that is (coverage, of all problems and seeds), and how often it is then right."
    )
    table = listing(words, ("", "coverage, %", "% right there", "answers"), body, first_number=1)
    return element("div", element("h3", "Where both agree", class_="part"), table)
