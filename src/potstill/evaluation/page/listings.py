"""The tables of a report: all scores, paired comparisons, what became of the rationales."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby

from potstill.evaluation import tables
from potstill.evaluation.page import charts
from potstill.evaluation.page.gathering import Facts
from potstill.evaluation.page.markup import Html, element
from potstill.evaluation.page.naming import main_system, minus, section, share, split_words, system_of, system_words
from potstill.records import Comparison, Score

TEXT_COLUMNS = ("ended after", "path")
OPEN_ROWS = 8
"""Longer tables of detail are folded away."""


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
    said = (
        f"Intervals: {by}. n counts distinct problems, or families for consistency. "
        "No answer: none found, or the program failed; counted as not right."
    )
    names = ("system", "path", "% right", "95 % interval", "n", "unscored", "no answer", "seeds")
    return section("scores", "All scores", _table(said, names, body, first_number=2, wide=(1, 5, 6, 7)))


def comparisons(facts: Facts) -> Html | None:
    """Return the paired differences, each with interval, p, n and test, grouped by pair."""
    pairs = facts.comparisons
    if not pairs:
        return None
    bounds = min(-0.05, *(pair.low for pair in pairs)), max(0.05, *(pair.high for pair in pairs))
    body: list[Html] = []
    for (a, b), group in groupby(pairs, key=lambda pair: (pair.a, pair.b)):
        title = f"{system_words(facts, a)} − {system_words(facts, b)}"
        body.append(element("tr", element("th", title, colspan=7, scope="rowgroup"), class_="group"))
        body += [_comparison_row(pair, bounds) for pair in group]
    tests = "; ".join(sorted({pair.test for pair in pairs}))
    words = f"Differences in percentage points on the same problems. Tests: {tests}."
    if len(pairs) > 1:
        words += f" p-values are not corrected for the {len(pairs)} comparisons. Grey: the interval includes zero."
    names = ("", "points", "95 % interval", "", "p", "n", "path")
    return section("pairs", "Paired comparisons", _table(words, names, body, first_number=1, wide=(3, 6)))


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
    cells = [
        element("td", value, class_=_classes("number", at > 2))
        for at, value in enumerate((*numbers, str(row.meta.get("seeds", 1))))
    ]
    strong = "strong" if row.system == main_system(facts) else None
    return element("tr", name, element("td", row.path, class_="wide"), *cells, class_=strong)


def _comparison_row(pair: Comparison, bounds: tuple[float, float]) -> Html:
    is_clear = pair.low > 0 or pair.high < 0
    shade = "base" if not is_clear else "main" if pair.difference > 0 else "ood"
    drawn = charts.interval_cell(pair.difference, pair.low, pair.high, bounds=bounds, tone=shade)
    paths = dict.fromkeys(str(pair.meta.get(key) or pair.path) for key in ("path_a", "path_b"))
    measured = (minus(tables.signed(pair.difference)), minus(tables.signed_interval(pair.low, pair.high)))
    sure = (tables.p_value(pair.p), f"{pair.n:,}")
    return element(
        "tr",
        element("th", split_words(pair.split, pair.metric), scope="row"),
        *(element("td", number, class_="number") for number in measured),
        element("td", drawn, class_="drawn wide"),
        *(element("td", number, class_="number") for number in sure),
        element("td", " / ".join(paths), class_="soft nowrap wide"),
        class_=None if is_clear else "unclear",
    )


def drop_table(facts: Facts) -> Html:
    """Return what became of the rationales: dropped by reason, kept, and what each system was trained on."""
    flow = facts.funnel
    if not flow.has_drops:
        return element("p", "The filter has not run yet.", class_="lead")
    rows = [("dropped: " + reason.replace("_", " "), count) for reason, count in flow.dropped.most_common(12)]
    body = [_count_row(name, count, share(count, flow.sampled)) for name, count in [*rows, ("kept", flow.kept)]]
    if flow.trained:
        body.append(element("tr", element("th", "Training examples", colspan=3, scope="rowgroup"), class_="group"))
    for name, counts in _one_per_system(flow.trained).items():
        words = f"{system_words(facts, name)}, {counts.get('problems', 0):,} problems"
        body.append(_count_row(words, counts.get("examples", 0), ""))
    said = "What became of the rationales, and the training examples of each system (first seed)."
    return _table(said, ("", "rationales", "share"), body, first_number=1)


def training_table(facts: Facts) -> Html | None:
    """Return how far each student was trained, on how much, and why it stopped."""
    body = []
    for job in sorted(facts.trainings, key=_job_order(facts)):
        record = facts.trainings[job].record
        numbers = [record.get(name) for name in ("problems", "steps", "best_step", "target_tokens_seen", "cpu_s")]
        cells = [element("td", f"{n:,.0f}" if isinstance(n, int | float) else "-", class_="number") for n in numbers]
        words = system_words(facts, system_of(job))
        seed = element("span", job.removeprefix(system_of(job)).replace(".seed", " seed "), class_="soft")
        ended = element("td", str(record.get("ended") or ""), class_="wide soft")
        body.append(element("tr", element("th", words, seed, scope="row"), *cells, ended))
    if not body:
        return None
    said = "Tokens: targets that carried loss, over all steps. The best step is the one whose weights are kept."
    names = ("", "problems", "steps", "best step", "tokens seen", "CPU s", "ended after")
    table = _table(said, names, body, first_number=1, wide=(6,))
    if len(body) <= OPEN_ROWS:
        return table
    return element("details", element("summary", f"How far each of the {len(body)} students was trained"), table)


def n_table(by_column: Mapping[tuple[str, str], Sequence[tuple[int, Score]]]) -> Html:
    """Return the numbers behind accuracy against N: a row per split and metric, a column per N."""
    sizes = sorted({n for pairs in by_column.values() for n, _ in pairs})
    body = []
    for (split, metric), pairs in by_column.items():
        cells = []
        for size in sizes:
            row = next((row for n, row in pairs if n == size), None)
            bounds = element("small", tables.interval(row.low, row.high), class_="below") if row else None
            cells.append(element("td", tables.percent(row.value) if row else "-", bounds, class_="number"))
        body.append(element("tr", element("th", split_words(split, metric), scope="row"), *cells))
    return _table("Percent right, with 95 % intervals.", ("", *(f"N = {n}" for n in sizes)), body, first_number=1)


def _job_order(facts: Facts) -> Callable[[str], tuple[int, int, str]]:
    rank = {system: at for at, system in enumerate(tables.in_order(map(system_of, facts.trainings)))}
    return lambda job: (rank[system_of(job)], len(job), job)


def _one_per_system(trained: dict[str, dict[str, int]]) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for job, counts in trained.items():
        found.setdefault(system_of(job), counts)
    return {name: found[name] for name in tables.in_order(found)}


def _table(
    words: str, names: Sequence[str], body: Sequence[Html], *, first_number: int, wide: Sequence[int] = ()
) -> Html:
    """Return a table that scrolls by itself where it is too wide; columns in `wide` are left out on a phone."""
    last = len(names) - (names[-1] in TEXT_COLUMNS)
    head = [
        element("th", name, scope="col", class_=_classes("number" if first_number <= at < last else "", at in wide))
        for at, name in enumerate(names)
    ]
    table = element("table", element("thead", element("tr", *head)), element("tbody", *body), aria_label=words)
    region = element("div", table, class_="scroll", tabindex=0, role="region", aria_label=words)
    return element("div", element("p", words, class_="caption"), region, class_="listing")


def _classes(name: str, is_wide: bool) -> str | None:
    return " ".join(part for part in (name, "wide" if is_wide else "") if part) or None


def _count_row(name: str, count: int, part: str) -> Html:
    numbers = [element("td", value, class_="number") for value in (f"{count:,}", part)]
    return element("tr", element("th", name, scope="row"), *numbers)
