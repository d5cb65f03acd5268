"""The tables of a report: all scores, paired comparisons, what became of the rationales."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby

from potstill.evaluation import tables
from potstill.evaluation.grading import ABSTAINED, BOUNDS
from potstill.evaluation.page import charts
from potstill.evaluation.page.gathering import Facts
from potstill.evaluation.page.markup import Child, Html, element, join
from potstill.evaluation.page.naming import (
    KINDS,
    main_system,
    minus,
    path_words,
    section,
    share,
    split_words,
    system_of,
    system_words,
)
from potstill.evaluation.statistics import Paired
from potstill.records import Comparison, Score

TEXT_COLUMNS = ("ended after",)
DIFFERENCE_COLUMNS = ("", "points", "95 % interval", "", "p", "n")
OPEN_ROWS = 8
"""Longer tables of detail are folded away."""


def score_table(facts: Facts) -> Html | None:
    """Return every score over all seeds, with n, unscored rows and interval; votes by number of paths stand apart."""
    rows = [row for row in tables.overall(facts.scores) if tables.voters(row.metric) is None]
    if not rows:
        return None
    body: list[Html] = []
    for (split, metric), group in groupby(rows, key=lambda r: (r.split, r.metric)):
        title = element("th", split_words(split, metric), colspan=8, scope="rowgroup")
        body.append(element("tr", title, class_="group"))
        for system, of_system in groupby(group, key=lambda r: r.system):
            body += _score_rows(facts, system, list(of_system))
    by = "; ".join(sorted({row.by for row in rows if row.by}))
    said = (
        f"Intervals: {by}. n counts distinct problems, families for consistency, pairs for sensitivity. "
        "No answer: none found, or the program failed; counted as not right."
    )
    if any(row.path in BOUNDS for row in rows):
        said += " Either right: a bound, no answer of the student. Where both agree: it abstains elsewhere."
    names = ("system", "path", "% right", "95 % interval", "n", "unscored", "no answer", "seeds")
    return section("scores", "All scores", listing(said, names, body, first_number=2, wide=(5, 6, 7)))


def comparisons(facts: Facts) -> Html | None:
    """Return the paired differences, each with interval, p, n and test, grouped by pair; a long list is folded."""
    pairs = facts.comparisons
    if not pairs:
        return None
    tests = "; ".join(sorted({pair.test for pair in pairs}))
    words = f"Differences in percentage points on the same problems. Tests: {tests}."
    if len(pairs) > 1:
        words += f" p-values are not corrected for the {len(pairs)} comparisons. Grey: the interval includes zero."
    shown = pairs
    if len(pairs) > tables.MOST_COMPARISONS:
        shown = [pair for pair in pairs if (pair.split, pair.metric) == (pairs[0].split, "accuracy")]
    rest = [pair for pair in pairs if pair not in shown]
    more = None
    if rest:
        title = element("summary", f"{len(rest)} more, on other splits and metrics")
        more = element("details", title, comparison_table(facts, rest, "The other splits and metrics."))
    return section("pairs", "Paired comparisons", comparison_table(facts, shown, words), more)


def comparison_table(facts: Facts, pairs: Sequence[Comparison], words: str) -> Html:
    """Return a table of paired differences, grouped by pair of systems."""
    bounds = difference_bounds(pairs)
    body: list[Html] = []
    for (a, b), group in groupby(pairs, key=lambda pair: (pair.a, pair.b)):
        title = f"{system_words(facts, a)} − {system_words(facts, b)}"
        body.append(element("tr", element("th", title, colspan=6, scope="rowgroup"), class_="group"))
        for pair in group:
            paths = dict.fromkeys(str(pair.meta.get(key) or pair.path) for key in ("path_a", "path_b"))
            said = element("span", f"  {' / '.join(map(path_words, paths))}", class_="soft")
            body.append(difference_row(join(split_words(pair.split, pair.metric), said), pair, bounds))
    return listing(words, DIFFERENCE_COLUMNS, body, first_number=1, wide=(3,))


def difference_bounds(found: Sequence[Comparison | Paired]) -> tuple[float, float]:
    """Return the ends of a scale on which all of the differences fit."""
    return min(-0.05, *(pair.low for pair in found)), max(0.05, *(pair.high for pair in found))


def difference_row(name: Child, pair: Comparison | Paired, bounds: tuple[float, float]) -> Html:
    """Return a paired difference as a row of `DIFFERENCE_COLUMNS`; grey where its interval includes zero."""
    is_clear = pair.low > 0 or pair.high < 0
    shade = "base" if not is_clear else "main" if pair.difference > 0 else "ood"
    drawn = charts.interval_cell(pair.difference, pair.low, pair.high, bounds=bounds, tone=shade)
    measured = (minus(tables.signed(pair.difference)), minus(tables.signed_interval(pair.low, pair.high)))
    return element(
        "tr",
        element("th", name, scope="row"),
        *(element("td", number, class_="number") for number in measured),
        element("td", drawn, class_="drawn wide"),
        *(element("td", number, class_="number") for number in (tables.p_value(pair.p), f"{pair.n:,}")),
        class_=None if is_clear else "unclear",
    )


def _score_rows(facts: Facts, system: str, rows: Sequence[Score]) -> list[Html]:
    """Return a system's rows, one per path, under one name."""
    words = system_words(facts, system)
    raw = None if words == system else element("span", f"  {system}", class_="soft")
    name = element("th", words, raw, scope="rowgroup" if len(rows) > 1 else "row", rowspan=len(rows))
    strong = "strong" if system == main_system(facts) else None
    return [
        element("tr", None if at else name, element("td", path_words(row.path), class_="soft"), *_score_cells(row),
                class_=strong)
        for at, row in enumerate(rows)
    ]  # fmt: skip


def _score_cells(row: Score) -> list[Html]:
    statuses = row.meta.get("statuses") or {}
    failed = sum(int(statuses.get(name, 0)) for name in ("NO_ANSWER", "PROGRAM_FAILED"))
    asked = sum(int(count) for name, count in statuses.items() if name != ABSTAINED)
    silent = f"{100 * failed / asked:.1f} %" if asked and row.metric == "accuracy" else ""
    bounds = tables.interval(row.low, row.high)
    numbers = (tables.percent(row.value), bounds, f"{row.n:,}", f"{row.n_unscored:,}", silent)
    return [
        element("td", value, class_=_classes("number", at > 2))
        for at, value in enumerate((*numbers, str(row.meta.get("seeds", 1))))
    ]


def drop_table(facts: Facts) -> Html:
    """Return what became of the rationales of each kind: dropped by reason, kept, and what each system learnt from."""
    flow = facts.funnel
    if not flow.has_drops:
        return element("p", "The filter has not run yet.", class_="lead")
    kinds = list(flow.kinds)
    reasons = [reason for reason, _ in sum((f.dropped for f in flow.kinds.values()), Counter[str]()).most_common(12)]
    body = []
    for reason in reasons:
        counts = [(of.dropped[reason], of.sampled) for of in flow.kinds.values()]
        body.append(count_row("dropped: " + reason.replace("_", " "), counts))
    body.append(count_row("kept", [(of.kept, of.sampled) for of in flow.kinds.values()]))
    if flow.trained:
        title = element("th", "Training examples", colspan=1 + 2 * len(kinds), scope="rowgroup")
        body.append(element("tr", title, class_="group"))
    for name, counted in _one_per_system(flow.trained).items():
        words = f"{system_words(facts, name)}, {counted.get('problems', 0):,} problems"
        alone = len(kinds) == 1
        body.append(count_row(words, [(counted.get("examples" if alone else kind, 0), 0) for kind in kinds]))
    said = "What became of the rationales, and the training examples of each system (first seed)."
    heads = [KINDS.get(kind, (kind, kind))[0] for kind in kinds] if len(kinds) > 1 else ["rationales"]
    return listing(said, ("", *(name for head in heads for name in (head, "share"))), body, first_number=1)


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
    table = listing(said, names, body, first_number=1, wide=(6,))
    if len(body) <= OPEN_ROWS:
        return table
    return element("details", element("summary", f"How far each of the {len(body)} students was trained"), table)


def n_table(by_column: Mapping[tuple[str, str], Sequence[tuple[int, Score]]]) -> Html:
    """Return the numbers behind accuracy against N: a row per split and metric, a column per N."""
    rows = [(split_words(*column), dict(pairs)) for column, pairs in by_column.items()]
    return number_table("Percent right, with 95 % intervals.", rows, "N = {}")


def number_table(words: str, rows: Sequence[tuple[Child, Mapping[int, Score]]], head: str) -> Html:
    """Return scores against a number, a column for each, intervals below the values; an empty mapping is a title."""
    sizes = sorted({n for _, scores in rows for n in scores})
    body = []
    for name, scores in rows:
        cells = [score_cell(scores.get(size)) for size in sizes]
        title = element("th", name, colspan=1 + len(sizes), scope="rowgroup")
        if scores:
            body.append(element("tr", element("th", name, scope="row"), *cells))
        else:
            body.append(element("tr", title, class_="group"))
    return listing(words, ("", *(head.format(size) for size in sizes)), body, first_number=1)


def score_cell(row: Score | None, *, with_n: bool = False) -> Html:
    """Return a score's value with its interval, and n where it is wanted, in small print below."""
    if row is None:
        return element("td", "-", class_="number")
    below = tables.interval(row.low, row.high) + (f", n {row.n:,}" if with_n else "")
    return element("td", tables.percent(row.value), element("small", below, class_="below"), class_="number")


def _job_order(facts: Facts) -> Callable[[str], tuple[int, int, str]]:
    rank = {system: at for at, system in enumerate(tables.in_order(map(system_of, facts.trainings)))}
    return lambda job: (rank[system_of(job)], len(job), job)


def _one_per_system(trained: dict[str, dict[str, int]]) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for job, counts in trained.items():
        found.setdefault(system_of(job), counts)
    return {name: found[name] for name in tables.in_order(found)}


def listing(
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


def count_row(name: str, counts: Sequence[tuple[int, int]]) -> Html:
    """Return a row of counts, each with its share of a total where there is one."""
    texts = [text for count, total in counts for text in (f"{count:,}", share(count, total) if total else "")]
    return element("tr", element("th", name, scope="row"), *(element("td", t, class_="number") for t in texts))
