"""The pages of blind comparison and of the history of decisions."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from potstill.evaluation.page.gathering import read_recipe
from potstill.evaluation.page.markup import Html, cut, element, join
from potstill.evaluation.tables import p_value
from potstill.review import queries
from potstill.review.colouring import coloured
from potstill.review.comparing import QUESTION, QUESTIONS, Comparison, Pair
from potstill.review.detail import SHOWN_CHARACTERS
from potstill.review.frame import hidden
from potstill.review.listing import question_of


def comparisons_page(known: Sequence[str], made: Sequence[tuple[Comparison, int]]) -> Html:
    """Return the comparisons that were begun, and the form that begins one."""
    rows = [
        element(
            "li",
            element("a", f"{one.a} and {one.b}", href=f"/compare/{one.key}"),
            f" · {'both right' if one.only_right else 'random sample'} · seed {one.seed} · {count:,} judgements · ",
            element("a", "result", href=f"/compare/{one.key}/result"),
        )
        for one, count in made
    ]
    options = [element("option", name, value=name) for name in known]
    picks = [
        element("label", element("span", words), element("select", *options[at:], *options[:at], name=name))
        for at, (name, words) in enumerate((("a", "one source"), ("b", "the other")))
    ]
    right = element(
        "label",
        element("input", type="checkbox", name="only_right", value="1"),
        "only where both are right",
        class_="tick",
    )
    numbers = [
        element("label", element("span", words), element("input", type="number", name=name, value=value, min=low))
        for name, words, value, low in (("n", "pairs", 300, 1), ("seed", "seed", 0, 0))
    ]
    form = element(
        "form",
        *picks,
        *numbers,
        right,
        element("button", "Begin", type="submit"),
        method="post",
        action="/compare",
        class_="filters",
    )
    said = (
        "Two texts for one problem, without their authors: say which reasons better. Sides are drawn for each pair and "
        "rater. Several people can judge the same pairs."
    )
    begun = element("ul", *rows) if rows else element("p", "None was begun yet.", class_="soft")
    none = element("p", "This run holds fewer than two sources so far.", class_="soft") if len(known) < 2 else form
    return join(
        element("h1", "Compare blindly"), element("p", said, class_="lead"), none, element("h2", "Begun"), begun
    )


def pair_page(
    folder: Path,
    index: sqlite3.Connection,
    comparison: Comparison,
    pair: Pair,
    *,
    is_a_first: bool,
    done: int,
    total: int,
) -> Html:
    """Return one pair, its sources hidden."""
    problem = question_of(folder, queries.problem_item(index, pair.problem))
    sides = (pair.a, pair.b) if is_a_first else (pair.b, pair.a)
    texts = [_blind(folder, queries.item(index, n), words) for n, words in zip(sides, ("First", "Second"), strict=True)]
    buttons = [
        element("button", words, " ", element("kbd", key), type="submit", name="choice", value=choice, data_key=key)
        for words, choice, key in (
            ("The first is better", "first", "1"),
            ("The second is better", "second", "2"),
            ("No difference", "same", "0"),
        )
    ]
    address = f"/compare/{comparison.key}"
    form = element("form", hidden(problem=pair.problem), *buttons, method="post", action=address, class_="choices")
    asked = QUESTIONS.get(str(read_recipe(folder).get("method")), QUESTION)
    said = f"Pair {done + 1:,} of {total:,}. {asked}"
    result = element("a", "the result so far", href=f"{address}/result")
    return join(
        element("h1", "Compare"),
        element("p", said, class_="lead"),
        element(
            "p",
            cut(str(problem.get("question", "(the problem is not in problems.jsonl)")), SHOWN_CHARACTERS),
            class_="question",
        ),
        element("div", *texts, class_="pair"),
        form,
        element("p", "It is best not to look at ", result, " before you are done.", class_="soft"),
    )


def result_page(comparison: Comparison, result: Mapping[str, Any]) -> Html:
    """Return what the raters said so far."""
    title = element("h1", f"{comparison.a} and {comparison.b}")
    address = f"/compare/{comparison.key}"
    links = element(
        "p", element("a", "Judge pairs", href=address), " · ", element("a", "as JSON", href=f"{address}/result.json")
    )
    said = f"{result['judged_pairs']:,} of {result['pairs']:,} pairs judged by {len(result['raters'])} raters; " + (
        "only pairs whose answers are both right." if comparison.only_right else "a random sample of the problems."
    )
    if result["rate"] is None:
        return join(title, element("p", said, class_="lead"), *_judges(comparison, result["judges"]), links)
    alpha = (
        ""
        if result["alpha"] is None
        else f"Krippendorff's alpha {result['alpha']:.2f} over {result['alpha_pairs']:,} pairs with several raters. "
    )
    first = (
        ""
        if result["first_chosen"] is None
        else f"The text that stood first was chosen in {100 * result['first_chosen']:.0f} %."
    )
    rows = [
        (task or "all", part)
        for task, part in ({"": result} | (result["tasks"] if len(result["tasks"]) > 1 else {})).items()
    ]
    body = [
        element(
            "tr", element("th", name, scope="row"), *(element("td", cell, class_="number") for cell in _cells(part))
        )
        for name, part in rows
    ]
    names = ("task", f"prefer {comparison.a}", "95 % interval", "p", "pairs", comparison.a, comparison.b, "even")
    head = element(
        "tr", *(element("th", name, scope="col", class_="number" if at else None) for at, name in enumerate(names))
    )
    raters = [
        f"{name}: " + ", ".join(f"{_named(comparison, side)} {count}" for side, count in sorted(of.items()))
        for name, of in result["raters"].items()
    ]
    return join(
        title,
        element("p", said, class_="lead"),
        element("p", f"{100 * result['rate']:.1f} %", class_="figure"),
        element("p", f"prefer {comparison.a}; half of the pairs without a preference count for it. ", alpha, first),
        element("div", element("table", element("thead", head), element("tbody", *body)), class_="scroll"),
        element(
            "p", f"Interval: {result['by']}. p: exact sign test of the pairs against equal preference.", class_="soft"
        ),
        element("ul", *(element("li", one) for one in raters)),
        *_judges(comparison, result["judges"]),
        links,
    )


def _judges(comparison: Comparison, judges: Mapping[str, Any]) -> list[Html]:
    """Return what models said of the same pairs, and how far they agree with the people."""
    if not judges:
        return []
    body = [
        element(
            "tr",
            element("th", name, scope="row"),
            *(
                element("td", cell, class_="number")
                for cell in (*_cells(one)[:4], *_estimate(one["agreement"]), *_estimate(one["kappa"], 1, ""),
                             f"{100 * one['changed_by_swap']:.0f} %" if one["changed_by_swap"] is not None else "-")
            ),
        )
        for name, one in judges.items()
        if one["rate"] is not None
    ]  # fmt: skip
    names = ("", f"prefers {comparison.a}", "95 % interval", "p", "pairs", "agrees with people", "95 % interval",
             "kappa", "95 % interval", "changed by the order")  # fmt: skip
    head = element(
        "tr", *(element("th", name, scope="col", class_="number" if at else None) for at, name in enumerate(names))
    )
    said = (
        "Models that judged the same pairs, each in both orders; where the order decides, it is no difference. Agrees: "
        "of the pairs that people judged too, the share on which it says what most of them say; kappa: beyond chance."
    )
    table = element("table", element("thead", head), element("tbody", *body))
    region = element("div", table, class_="scroll", tabindex=0, role="region", aria_label="Models as judges")
    return [element("h2", "Models as judges"), element("p", said, class_="soft"), region]


def _estimate(part: Mapping[str, Any], scale: int = 100, unit: str = " %") -> tuple[str, str]:
    if part["value"] is None:
        return "-", ""
    digits = 1 if scale == 100 else 2
    low, high = (scale * part[name] for name in ("low", "high"))
    return f"{scale * part['value']:.{digits}f}{unit}", f"[{low:.{digits}f}, {high:.{digits}f}]"


def decisions_page(rows: Sequence[sqlite3.Row], reviewer: str, counts: Mapping[str, int]) -> Html:
    """Return the last decisions, each of the reviewer's own with a button that takes it back."""
    body = [_decision_row(row, reviewer) for row in rows]
    said = ", ".join(f"{count:,} {state}" for state, count in counts.items()) or "nothing was decided yet"
    head = element("tr", *(element("th", name, scope="col") for name in ("when (UTC)", "who", "what", "why", "")))
    table = element("div", element("table", element("thead", head), element("tbody", *body)), class_="scroll")
    return join(
        element("h1", "Decisions"),
        element("p", f"Records: {said}. All lines are kept in review.jsonl.", class_="lead"),
        table if body else None,
    )


def _decision_row(row: sqlite3.Row, reviewer: str) -> Html:
    what = json.loads(row["row"])
    action = f"{row['action']}{' (undone)' if row['undone'] else ''}"
    link = element("a", f"{action} {row['stage']}", href=f"/item/{row['n']}") if row["n"] is not None else action
    can_undo = row["by"] == reviewer and not row["undone"] and row["action"] not in ("undo", "compare")
    undo = element(
        "form", hidden(undoes=row["id"], next="/decisions"), element("button", "Undo"), method="post", action="/undo"
    )
    cells = (
        str(row["at"])[:19].replace("T", " "),
        row["by"],
        link,
        cut(str(what.get("reason") or ""), 200),
        undo if can_undo else None,
    )
    return element("tr", *(element("td", cell) for cell in cells))


def _blind(folder: Path, row: sqlite3.Row, words: str) -> Html:
    text = cut(str(queries.text_of(folder, row).get("text", "")).strip(), SHOWN_CHARACTERS)
    is_program = row["kind"] == "pot"
    body = (
        element("pre", element("code", coloured(text)), class_="program")
        if is_program
        else element("p", text, class_="written")
    )
    return element("article", element("h2", words), body, class_="side", tabindex="-1", aria_label=words)


def _cells(part: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        f"{100 * part['rate']:.1f} %",
        f"[{100 * part['low']:.1f}, {100 * part['high']:.1f}]",
        p_value(part["p"]),
        f"{part['judged_pairs']:,}",
        *(f"{part[name]:,}" for name in ("a_preferred", "b_preferred", "undecided")),
    )


def _named(comparison: Comparison, side: str) -> str:
    return {"a": comparison.a, "b": comparison.b}.get(side, "no difference")
