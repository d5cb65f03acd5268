"""Programs in a report: why they failed, and where running them beats a chain of thought."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from potstill.evaluation import tables
from potstill.evaluation.page import charts
from potstill.evaluation.page.gathering import Facts
from potstill.evaluation.page.listings import (
    DIFFERENCE_COLUMNS,
    difference_bounds,
    difference_row,
    listing,
    score_cell,
)
from potstill.evaluation.page.markup import Html, element
from potstill.evaluation.page.naming import SHORT_PATHS, path_words, split_words, system_words
from potstill.evaluation.page.sections import caption
from potstill.evaluation.page.skills import Cast, Measured, outcome, paired
from potstill.evaluation.statistics import Paired
from potstill.records import Comparison, Score

Claim = tuple[str, Comparison | Paired]
"""What is compared, in words, and the difference."""
PROPERTIES = {"has_large": ("small numbers only", "with large numbers")}
"""Property of problems -> a reader's words where it is false, and where it is true."""
OUTCOMES = {
    "ran": "gave an answer",
    "error": "raised an error",
    "timeout": "ran out of time",
    "memory": "ran out of memory",
    "output_limit": "wrote too much",
    "no_answer": "ended without an answer",
    "crashed": "ended the interpreter",
    "unsupported": "not supported by the sandbox (unscored)",
    "truncated": "cut off at the token limit",
    "no_program": "no program in the text",
    "unreadable": "an answer of another type",
}


def program_claims(
    facts: Facts, cast: Cast, measured: Measured, split: str, only: Sequence[str] | None = None
) -> list[Claim]:
    """Return the difference between programs and chains of thought, between students of one skill and inside one."""
    by_kind = {kind: name for name, kind in reversed(list(cast.single.items()))}
    pairs = [((cast.main, "pot"), (cast.main, "cot"), f"PoT − CoT, both by {system_words(facts, cast.main)}")]
    if {"cot", "pot"} <= set(by_kind):
        said = f"PoT − CoT, one skill each: {_first_word(facts, by_kind['pot'])} − {_first_word(facts, by_kind['cot'])}"
        pairs.insert(0, ((by_kind["pot"], "pot"), (by_kind["cot"], "cot"), said))
    found = [(said, paired(measured, a, b, split, only=only)) for a, b, said in pairs]
    return [(said, pair) for said, pair in found if pair is not None]


def parts(facts: Facts, cast: Cast, measured: Measured, name: str) -> Html:
    """Return accuracy on problems with and without a property: bars and differences, and all of it as a table."""
    words = PROPERTIES.get(name, (f"not {name.replace('_', ' ')}", name.replace("_", " ")))
    splits = list(dict.fromkeys(row.split for row in tables.overall(measured.parts[name][True])))
    figures = [_part_figure(facts, cast, measured, name, split, words) for split in splits]
    claims = {
        (split, value): program_claims(facts, cast, measured, split, _having(measured, name, value))
        for split in splits for value in (True, False)
    }  # fmt: skip
    return element(
        "div",
        element("h3", f"{words[1].capitalize()}, and {words[0]}", class_="part"),
        element("div", *figures, class_="panels"),
        _part_claims(claims, words),
        element(
            "details",
            element("summary", "The numbers behind these bars, with n"),
            _part_table(facts, measured, name, splits, words),
        ),
    )


def _part_figure(facts: Facts, cast: Cast, measured: Measured, name: str, split: str, words: tuple[str, str]) -> Html:
    bars = [
        bar for value in (True, False)
        for bar in _part_bars(facts, cast, measured.parts[name][value], split, words[value])
    ]  # fmt: skip
    title = split_words(split)
    chart = charts.bar_chart(bars, f"{title}: {words[1]}, and {words[0]}", left=112, step=25)
    said = caption(facts, "Percent right with 95 % intervals, greedy paths.")
    return element("figure", element("h4", title), chart, said)


def _part_bars(facts: Facts, cast: Cast, rows: Sequence[Score], split: str, heading: str) -> list[charts.Bar]:
    """Return a group of bars: the greedy paths on the problems that have, or lack, a property."""
    found = {(row.system, row.path): row for row in rows if row.split == split}
    bars: list[charts.Bar] = []
    for name, path in [(n, p) for p in ("cot", "pot") for n in cast.students if (n, p) in found]:
        row = found[name, path]
        words = "" if bars else f"{heading[:1].upper()}{heading[1:]}, n = {row.n:,}"
        shade = "main" if name == cast.main else path if name in cast.single else "mid"
        label = _first_word(facts, name) + ("" if name in cast.single else f", {SHORT_PATHS[path]}")
        bars.append(charts.Bar(label, row.value, row.low, row.high, shade, f"{name}, {path}", heading=words))
    return bars


def _having(measured: Measured, name: str, value: bool) -> list[str]:
    return [pid for pid, held in measured.properties[name].items() if held is value]


def _part_claims(claims: Mapping[tuple[str, bool], Sequence[Claim]], words: tuple[str, str]) -> Html | None:
    """Return how much better programs are than chains of thought, with and without a property."""
    every = [pair for found in claims.values() for _, pair in found]
    if not every:
        return None
    bounds, body = difference_bounds(every), list[Html]()
    for (split, value), found in claims.items():
        title = element("th", f"{split_words(split)}, {words[value]}", colspan=6, scope="rowgroup")
        body += [element("tr", title, class_="group"), *(difference_row(said, pair, bounds) for said, pair in found)]
    said = "PoT − CoT on the same problems, in percentage points. Grey: the interval includes zero."
    return listing(said, DIFFERENCE_COLUMNS, body, first_number=1, wide=(3,))


def _part_table(facts: Facts, measured: Measured, name: str, splits: Sequence[str], words: tuple[str, str]) -> Html:
    rows = {(r.split, r.system, r.path, value): r for value, of in measured.parts[name].items() for r in of}
    body: list[Html] = []
    for split in splits:
        body.append(element("tr", element("th", split_words(split), colspan=3, scope="rowgroup"), class_="group"))
        for system, path in dict.fromkeys((key[1], key[2]) for key in rows if key[0] == split):
            cells = [score_cell(rows.get((split, system, path, value)), with_n=True) for value in (False, True)]
            said = element("span", f"  {path_words(path)}", class_="soft")
            body.append(element("tr", element("th", system_words(facts, system), said, scope="row"), *cells))
    return listing("Percent right, with 95 % intervals and n.", ("", *words), body, first_number=1)


def outcomes(facts: Facts, measured: Measured) -> Html | None:
    """Return what the programs came to, by system: how many gave an answer, and why the others did not."""
    teacher = facts.funnel.kinds.get("pot")
    by_system: dict[str, dict[str, Counter[str]]] = {}
    if teacher is not None and teacher.reasons:
        came_to = Counter[str]()
        for (status, reason), count in teacher.reasons.items():
            came_to[outcome(status, reason)] += count
        by_system["teacher, to train on"] = {"greedy": Counter(), "sampled": came_to}
    by_system |= {system_words(facts, name): counted for name, counted in measured.programs.items()}
    if not by_system:
        return None
    rows = [
        (name, way, counted[way])
        for name, counted in by_system.items() for way in ("greedy", "sampled") if counted[way]
    ]  # fmt: skip
    seen = sum((counted for _, _, counted in rows), Counter[str]())
    came = ["ran", *(one for one, _ in seen.most_common() if one != "ran")]
    body = [_outcome_row(name, way, counted, came) for name, way, counted in rows]
    said = (
        "All programs of all splits and seeds, by what came of running them, in percent. One that gave no answer "
        "counts as not right and casts no vote."
    )
    names = ("", "programs", *(OUTCOMES.get(one, one.replace("_", " ")) for one in came))
    title = element("h3", "What became of the programs", class_="part")
    return element("div", title, listing(said, names, body, first_number=1))


def _outcome_row(name: str, way: str, counted: Counter[str], came: Sequence[str]) -> Html:
    total = counted.total()
    said = element("th", name, element("span", f"  {way}", class_="soft"), scope="row")
    cells = [element("td", f"{100 * counted[one] / total:.1f}", class_="number") for one in came]
    return element("tr", said, element("td", f"{total:,}", class_="number"), *cells)


def _first_word(facts: Facts, name: str) -> str:
    """Return a system's words without its number of samples."""
    return system_words(facts, name).split(",")[0]
