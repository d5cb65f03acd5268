"""The section about one student with two skills: its paths and votes beside those of students with one skill each."""

from __future__ import annotations

from collections.abc import Mapping

from potstill.evaluation import tables
from potstill.evaluation.page import charts
from potstill.evaluation.page.excerpts import case_view
from potstill.evaluation.page.gathering import Facts
from potstill.evaluation.page.listings import DIFFERENCE_COLUMNS, difference_bounds, difference_row, listing
from potstill.evaluation.page.markup import Child, Html, element
from potstill.evaluation.page.naming import KINDS, section, split_words, system_words, tone, votes_of
from potstill.evaluation.page.predictions import two_ways
from potstill.evaluation.page.programs import Claim, outcomes, parts, program_claims
from potstill.evaluation.page.sections import caption
from potstill.evaluation.page.skills import Cast, Measured, best_single, cast_of, measure, paired
from potstill.evaluation.page.votes import choices, curves
from potstill.records import Score


def sections_of(facts: Facts, shown: int) -> list[Html | None]:
    """Return the sections about two skills; where no student has both, only the votes, if there are any.

    Args:
        shown: Problems whose chain of thought and program are shown side by side.
    """
    cast = cast_of(facts)
    if cast is None:
        drawn = curves(facts, {row.system: tone(facts, row.system) for row in tables.overall(facts.scores)})
        return [section("votes", "Votes over several paths", *drawn) if drawn else None]
    measured = measure(facts, cast)
    children: list[Child] = [
        element("p", _lead(facts, cast), class_="lead"),
        element("div", *_path_figures(facts, cast), class_="panels"),
        *_claim_tables(facts, cast, measured),
        *curves(facts, {name: _tone(cast, name) for name in _by_rank(cast)}),
        choices(facts, cast),
        *(parts(facts, cast, measured, name) for name in measured.parts),
        outcomes(facts, measured),
        element("p", f"Not computed: {measured.missing}", class_="lead") if measured.missing else None,
    ]
    return [section("skills", "Two skills", *children), _examples(facts, cast, shown)]


def _lead(facts: Facts, cast: Cast) -> str:
    return (
        f"The student “{system_words(facts, cast.main)}” can write a chain of thought or a program that is run. Own "
        "choice: the kind whose beginning the student itself finds likelier. Either right: where one of the two greedy "
        "paths is right, a bound on any choice and no answer. A program that fails casts no vote, and alone counts "
        "as not right."
    )


def _by_rank(cast: Cast) -> list[str]:
    """Return all systems, the main one last."""
    return [*cast.single, *cast.others, *cast.ensembles, cast.main]


def _tone(cast: Cast, name: str) -> str:
    if name == cast.main:
        return "main"
    return cast.single.get(name, "other" if name in cast.ensembles else "mid")


def _path_figures(facts: Facts, cast: Cast) -> list[Html]:
    """Return, per split and metric, every path of every system as a bar, grouped by path."""
    rows = {(r.system, r.path, r.split, r.metric): r for r in tables.overall(facts.scores)}
    columns = dict.fromkeys((r.split, r.metric) for r in rows.values() if r.system == cast.main)
    figures = []
    for split, metric in columns:
        if tables.voters(metric) is not None:
            continue
        found = {(system, path): row for (system, path, *column), row in rows.items() if column == [split, metric]}
        bars = [
            bar
            for path in ("cot", "pot", "routed", "surer", "oracle", "vote")
            for bar in _bars(facts, cast, path, found)
        ]
        title = split_words(split, metric)
        counted = max(row.n for row in found.values())
        words = f"Percent right with 95 % intervals; n = {counted:,}. Dashed: a bound, no answer of the student."
        chart = charts.bar_chart(bars, f"{title}: paths and votes", left=112, step=25)
        figures.append(element("figure", element("h3", title), chart, caption(facts, words)))
    return figures


def _bars(facts: Facts, cast: Cast, path: str, found: Mapping[tuple[str, str], Score]) -> list[charts.Bar]:
    """Return a group of bars: one path of all systems that have it."""
    headings = {
        "cot": "Chain of thought", "pot": "Program, run", "routed": "Own choice before writing",
        "surer": "The surer of two texts", "oracle": "Either right", "vote": _vote_heading(facts, cast),
    }  # fmt: skip
    bars: list[charts.Bar] = []
    for name in [cast.main] if path == "oracle" else _by_rank(cast):
        if row := found.get((name, path)):
            heading = "" if bars else headings[path]
            note = _own_count(facts, cast, name) if path == "vote" else ""
            shade = "bound" if path == "oracle" else _tone(cast, name)
            words = system_words(facts, name)
            bars.append(charts.Bar(words, row.value, row.low, row.high, shade, f"{name}, {path}", note, heading))
    return bars


def _vote_heading(facts: Facts, cast: Cast) -> str:
    count = votes_of(facts, cast.main)
    return f"Vote over {count} paths" if count else "Vote"


def _own_count(facts: Facts, cast: Cast, name: str) -> str:
    """Return how many paths a system votes over, where it is not as many as the main student's."""
    count = votes_of(facts, name)
    return f"({count})" if count is not None and count != votes_of(facts, cast.main) else ""


def _claim_tables(facts: Facts, cast: Cast, measured: Measured) -> list[Html]:
    """Return the comparisons that the method is about: those of the first split open, the others folded."""
    splits = list(dict.fromkeys(row.split for row in tables.overall(facts.scores)))
    found = {split: claims for split in splits if (claims := _claims(facts, cast, measured, split))}
    if not found:
        return []
    bounds = difference_bounds([pair for claims in found.values() for _, pair in claims])
    bodies = {split: [difference_row(name, pair, bounds) for name, pair in claims] for split, claims in found.items()}
    first, *others = bodies
    said = (
        f"{split_words(first)}: differences in percentage points on the same problems, 95 % intervals, paired tests. "
        "Grey: the interval includes zero."
    )
    opened = listing(said, DIFFERENCE_COLUMNS, bodies[first], first_number=1, wide=(3,))
    shown = [element("h3", "What the method claims", class_="part"), opened]
    if others:
        rows = []
        for split in others:
            title = element("th", split_words(split), colspan=6, scope="rowgroup")
            rows += [element("tr", title, class_="group"), *bodies[split]]
        folded = listing("The same on the other splits.", DIFFERENCE_COLUMNS, rows, first_number=1, wide=(3,))
        shown.append(element("details", element("summary", "The same on the other splits"), folded))
    return shown


def _claims(facts: Facts, cast: Cast, measured: Measured, split: str) -> list[Claim]:
    words = {name: system_words(facts, name) for name in _by_rank(cast)}
    main = words[cast.main]
    scored = {(p.b, p.path): p for p in facts.comparisons if (p.a, p.split, p.metric) == (cast.main, split, "accuracy")}
    wanted = [(name, "vote", f"{_vote_heading(facts, cast)}: {main} − {words[name]}") for name in cast.ensembles]
    best = best_single(facts, cast, split)
    if best is not None and votes_of(facts, best.system) == votes_of(facts, cast.main):
        said = f"{_vote_heading(facts, cast)}: {main} − {words[best.system]}, the best of one kind"
        wanted.append((best.system, "vote", said))
    for name, kind in cast.single.items():
        wanted.append((name, kind, f"{KINDS[kind][0]}: {main} − {words[name]}"))
    claims: list[Claim] = [(said, scored[name, path]) for name, path, said in wanted if (name, path) in scored]
    return [*claims, *program_claims(facts, cast, measured, split), *_choice_claims(facts, cast, measured, split)]


def _choice_claims(facts: Facts, cast: Cast, measured: Measured, split: str) -> list[Claim]:
    """Return the difference between the student's own choice and always taking the better kind."""
    rows = {r.path: r.value or 0.0 for r in tables.overall(facts.scores)
            if (r.system, r.split, r.metric) == (cast.main, split, "accuracy")}  # fmt: skip
    better = max(("cot", "pot"), key=lambda path: rows.get(path, 0.0))
    chosen = (("routed", "Own choice"), ("surer", "The surer text"))
    pairs = [(said, paired(measured, (cast.main, path), (cast.main, better), split)) for path, said in chosen]
    always = f"always {KINDS[better][0]}: {system_words(facts, cast.main)}"
    return [(f"{said} − {always}", pair) for said, pair in pairs if pair]


def _examples(facts: Facts, cast: Cast, shown: int) -> Html | None:
    """Return what the student wrote for the same problems: its chain of thought beside its program."""
    counts, cases = two_ways(facts.folder, cast.main, shown) if shown else ({}, [])
    if not cases:
        return None
    said = (
        f"Of {sum(counts.values()):,} test problems both are right on {counts['both']:,}, only the chain of thought on "
        f"{counts['chain']:,}, only the program on {counts['program']:,}, neither on {counts['neither']:,} (greedy "
        "paths, first seed). Picked by a hash within each kind, not by eye. Programs are shown as written; the answer "
        "is what running them gave."
    )
    heads = {"program": "Only the program is right", "chain": "Only the chain of thought is right",
             "neither": "Neither is right", "both": "Both are right"}  # fmt: skip
    views = [case_view(case, heads[case.heading], ("chain of thought", "program")) for case in cases]
    return section("ways", "The same problem, two ways", element("p", said, class_="lead"), *views)
