"""The tables of a report: all scores, paired comparisons, what became of the rationales."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from potstill.evaluation import tables
from potstill.evaluation.page import charts
from potstill.evaluation.page.gathering import Facts
from potstill.evaluation.page.markup import Html, element
from potstill.evaluation.page.naming import main_system, minus, section, share, split_words, system_of, system_words
from potstill.records import Comparison, Score


def score_table(facts: Facts) -> Html | None:
    """Return every score over all seeds, with n, unscored rows and interval."""
    rows = tables.overall(facts.scores)
    if not rows:
        return None
    body: list[Html] = []
    for (split, metric), group in groupby(rows, key=lambda r: (r.split, r.metric)):
        body.append(
            element("tr", element("th", split_words(split, metric), colspan=8, scope="rowgroup"), class_="group")
        )
        body += [_score_row(facts, row) for row in group]
    by = "; ".join(sorted({row.by for row in rows if row.by}))
    said = element("caption", f"Intervals: {by}. n counts distinct problems, or families for consistency.")
    names = ("system", "path", "% right", "95 % interval", "n", "unscored", "no answer", "seeds")
    return section("scores", "All scores", _table(said, names, body, first_number=2))


def comparisons(facts: Facts) -> Html | None:
    """Return the paired differences, each with interval, p, n and test, grouped by pair."""
    pairs = facts.comparisons
    if not pairs:
        return None
    bounds = min(-0.05, *(pair.low for pair in pairs)), max(0.05, *(pair.high for pair in pairs))
    body: list[Html] = []
    for (a, b), group in groupby(pairs, key=lambda pair: (pair.a, pair.b)):
        names = f"{system_words(facts, a)} − {system_words(facts, b)}"
        body.append(element("tr", element("th", names, colspan=7, scope="rowgroup"), class_="group"))
        body += [_comparison_row(pair, bounds) for pair in group]
    tests = "; ".join(sorted({pair.test for pair in pairs}))
    words = f"Differences in percentage points on the same problems. Tests: {tests}."
    if len(pairs) > 1:
        words += f" p-values are not corrected for the {len(pairs)} comparisons. Grey: the interval includes zero."
    names = ("", "path", "", "points", "95 % interval", "p", "n")
    return section("pairs", "Paired comparisons", _table(element("caption", words), names, body, first_number=3))


def _score_row(facts: Facts, row: Score) -> Html:
    statuses = row.meta.get("statuses") or {}
    failed = sum(int(statuses.get(name, 0)) for name in ("NO_ANSWER", "PROGRAM_FAILED"))
    asked = sum(int(count) for count in statuses.values())
    silent = f"{100 * failed / asked:.1f} %" if asked and row.metric == "accuracy" else ""
    words = system_words(facts, row.system)
    name = element(
        "th", words, None if words == row.system else element("span", f"  {row.system}", class_="soft"), scope="row"
    )
    numbers = (
        tables.percent(row.value),
        tables.interval(row.low, row.high),
        f"{row.n:,}",
        f"{row.n_unscored:,}",
        silent,
    )
    cells = [element("td", value, class_="number") for value in (*numbers, str(row.meta.get("seeds", 1)))]
    strong = "strong" if row.system == main_system(facts) else None
    return element("tr", name, element("td", row.path), *cells, class_=strong)


def _comparison_row(pair: Comparison, bounds: tuple[float, float]) -> Html:
    is_clear = pair.low > 0 or pair.high < 0
    shade = "base" if not is_clear else "main" if pair.difference > 0 else "ood"
    drawn = charts.interval_cell(pair.difference, pair.low, pair.high, bounds=bounds, tone=shade)
    paths = dict.fromkeys(str(pair.meta.get(key) or pair.path) for key in ("path_a", "path_b"))
    numbers = (
        minus(tables.signed(pair.difference)),
        minus(tables.signed_interval(pair.low, pair.high)),
        tables.p_value(pair.p),
        f"{pair.n:,}",
    )
    return element(
        "tr",
        element("th", split_words(pair.split, pair.metric), scope="row"),
        element("td", " / ".join(paths), class_="soft nowrap"),
        element("td", drawn),
        *(element("td", number, class_="number") for number in numbers),
        class_=None if is_clear else "unclear",
    )


def drop_table(facts: Facts) -> Html:
    """Return what became of the rationales: dropped by reason, kept, and what each system was trained on."""
    flow = facts.funnel
    if not flow.has_drops:
        return element("p", "The filter has not run yet.", class_="lead")
    rows = [("dropped: " + reason.replace("_", " "), count) for reason, count in flow.dropped.most_common(12)]
    body = [_count_row(name, count, share(count, flow.sampled)) for name, count in [*rows, ("kept", flow.kept)]]
    body.append(element("tr", element("th", "Training examples", colspan=3, scope="rowgroup"), class_="group"))
    for name, counts in _one_per_system(flow.trained).items():
        words = f"{system_words(facts, name)}, {counts.get('problems', 0):,} problems"
        body.append(_count_row(words, counts.get("examples", 0), ""))
    said = element("caption", "What became of the rationales, and the training examples of each system (first seed).")
    return _table(said, ("", "rationales", "share"), body, first_number=1)


def _one_per_system(trained: dict[str, dict[str, int]]) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for job, counts in trained.items():
        found.setdefault(system_of(job), counts)
    return {name: found[name] for name in tables.in_order(found)}


def _table(caption: Html, names: Sequence[str], body: Sequence[Html], *, first_number: int) -> Html:
    head = [
        element("th", name, scope="col", class_="number" if at >= first_number else None)
        for at, name in enumerate(names)
    ]
    table = element("table", caption, element("thead", element("tr", *head)), element("tbody", *body))
    return element("div", table, class_="scroll", tabindex=0, role="region", aria_label="Table")


def _count_row(name: str, count: int, part: str) -> Html:
    numbers = [element("td", value, class_="number") for value in (f"{count:,}", part)]
    return element("tr", element("th", name, scope="row"), *numbers)
