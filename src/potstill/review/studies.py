"""The pages of blind comparison, calibration and the history of decisions."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from potstill.evaluation.page.markup import Html, cut, element, join
from potstill.evaluation.page.naming import KINDS
from potstill.evaluation.tables import p_value
from potstill.review import queries
from potstill.review.calibrating import WANTED_HALF_WIDTH
from potstill.review.colouring import coloured
from potstill.review.comparing import QUESTION, Comparison, Pair
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
    said = f"Pair {done + 1:,} of {total:,}. {QUESTION}"
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
        return join(title, element("p", said, class_="lead"), links)
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
        links,
    )


def calibration_page(rows: Sequence[Mapping[str, Any]], skipped: int, stages: Sequence[str]) -> Html:
    """Return how far the verifier can be believed, and where to go on."""
    body = [
        element(
            "tr",
            element("th", f"{row['stage']}, {KINDS.get(row['kind'], ('', row['kind']))[1] or 'all'}", scope="row"),
            element("td", row["n"], class_="number"),
            *_measure(row["precision"]),
            *_measure(row["recall"]),
        )
        for row in rows
    ]
    names = ("", "reviewed", "precision", "95 % interval", "more", "recall", "95 % interval", "more")
    head = element(
        "tr", *(element("th", name, scope="col", class_="number" if at else None) for at, name in enumerate(names))
    )
    said = (
        "Accept a text whose reasoning and answer are right, reject it otherwise. Precision: of what the verifier "
        "calls right, the share that people accept. Recall: of what people accept, the share that it calls right. "
        f"More: how many further records of that order make the interval ± {100 * WANTED_HALF_WIDTH:.0f} points wide."
    )
    links = [
        element(
            "li",
            element(
                "a", f"Go on with the random sample of {stage}", href=f"/?stage={stage}&order=calibration&review=none"
            ),
        )
        for stage in stages
    ]
    links += [
        element(
            "li",
            element(
                "a",
                f"The {stage} whose answers are uncertain or disagree, first (not for calibration)",
                href=f"/?stage={stage}&order=next&review=none",
            ),
        )
        for stage in stages
    ]
    left = {
        name: sum(row["left_out"].get(name, 0) for row in rows if row["kind"])
        for name in ("edited", "disputed", "unchecked")
    }
    out = ", ".join(f"{count} {name}" for name, count in left.items() if count)
    passed = (
        f"{skipped} records of the random order were passed over: the sample is not random until they are decided. "
        if skipped
        else ""
    )
    table = element("div", element("table", element("thead", head), element("tbody", *body)), class_="scroll")
    return join(
        element("h1", "Calibration"),
        element("p", said, class_="lead"),
        table if rows else element("p", "Nothing of the random sample was decided yet.", class_="soft"),
        element("p", passed, f"Left out: {out}." if out else "", class_="soft"),
        element("ul", *links),
        element("p", element("a", "as JSON", href="/calibration.json")),
    )


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


def _measure(part: Mapping[str, Any]) -> list[Html]:
    if part["value"] is None:
        cells = ["-", "", "-"]
    else:
        cells = [
            f"{100 * part['value']:.1f} %",
            f"[{100 * part['low']:.1f}, {100 * part['high']:.1f}]",
            f"{part['more']:,}",
        ]
    return [element("td", cell, class_="number") for cell in cells]
