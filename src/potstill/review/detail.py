"""One record with all that belongs to it: its problem, the other texts of the problem, the votes, the family."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from potstill.evaluation.page.markup import Child, Html, cut, element, join
from potstill.evaluation.page.naming import KINDS
from potstill.review import folding, queries
from potstill.review.colouring import coloured, word_difference
from potstill.review.frame import hidden
from potstill.review.growing import instruction_body, tree_link, tree_view
from potstill.review.listing import decide_form, facts, question_of, seal, tone, verdict_words
from potstill.review.lossmarks import example_body
from potstill.review.pairs import claims_view, difference_view, family_view
from potstill.review.store import Row

SHOWN_CHARACTERS = 20_000
"""Characters of the record itself; the rest is one link away."""
BESIDE_CHARACTERS = 1_600
"""Characters of each text beside it."""
BESIDE_ORIGINALS = 12
"""Texts of the problem that this one was made from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What the pieces of one page share."""

    folder: Path
    index: sqlite3.Connection
    address: str
    """Of this page."""
    after: str
    """Where a decision on the record itself leads."""
    order: str
    is_whole: bool = False
    """Whether a long text is shown to its end."""


def detail_page(shown: Shown, row: sqlite3.Row) -> Html:
    """Return a record's page."""
    problem = row if row["stage"] == "problems" else queries.problem_item(shown.index, row["problem"])
    asked = question_of(shown.folder, problem)
    main = None if row["stage"] == "problems" else _card(shown, row, is_main=True)
    return join(
        element("h1", _title(row)),
        _problem_view(shown, problem, asked, row),
        main,
        tree_view(shown.folder, shown.index, row) if row["stage"] == "instructions" else None,
        _examples(shown, row),
        *(_beside(shown, row, stage) for stage in ("rationales", "predictions")),
        _of_original(shown, problem),
    )


def _title(row: Row) -> str:
    words = {
        "problems": "Problem",
        "rationales": "Rationale",
        "predictions": "Prediction",
        "examples": "Training example",
        "instructions": "Evolved instruction",
    }
    return words[row["stage"]] + (
        f" {row['number']}" if row["stage"] in ("rationales", "predictions", "instructions") else ""
    )


def _problem_view(shown: Shown, problem: sqlite3.Row | None, asked: Mapping[str, Any], row: sqlite3.Row) -> Html:
    if problem is None or not asked:
        said = f"Its problem ({row['problem']}) is not in problems.jsonl."
        return element("p", said, class_="notice")
    parent = queries.problem_item(shown.index, problem["parent"]) if problem["parent"] else None
    gold = (
        element("span", f"gold answer: {cut(str(asked.get('answer')), 200)}", class_="gold")
        if asked.get("answer") is not None
        else None
    )
    options = [element("li", cut(str(option), 400)) for option in asked.get("options") or ()]
    question = element("p", cut(str(asked.get("question", "")), SHOWN_CHARACTERS), gold, class_="question")
    about = " · ".join(part for part in (problem["source"], problem["split"], problem["kind"], problem["id"]) if part)
    link = element("a", "the whole problem", href=f"/item/{problem['n']}") if row["stage"] != "problems" else None
    decide = _decision(shown, row) if row["stage"] == "problems" else None
    return element(
        "section",
        element("p", about, " ", link, class_="soft"),
        question,
        element("ol", *options, type="a", class_="options") if options else None,
        difference_view(shown.folder, asked, parent),
        claims_view(shown.index, problem),
        tree_link(shown.index, asked),
        family_view(shown.folder, shown.index, problem) if row["stage"] != "instructions" else None,
        _votes(shown.index, problem["id"], asked.get("answer")),
        decide,
        data_card=row["n"] if row["stage"] == "problems" else None,
        class_="problem",
    )


def _votes(index: sqlite3.Connection, problem: str, gold: Any) -> Html | None:
    """Return how often each answer was given, for each author and kind."""
    rows = queries.votes(index, problem)
    if not rows:
        return None
    body: list[Html] = []
    for (job, kind), group in groupby(rows, key=lambda row: (row["job"], row["kind"])):
        of = list(group)
        total = sum(row["count"] for row in of)
        answers = [
            element("span", f"{_answer(row)} ", element("b", f"{row['count']}×"), class_=f"vote {tone(row)}")
            for row in of
        ]
        name = element("th", f"{job or 'teacher'}, {KINDS.get(kind, (kind,))[0]}", scope="row")
        body.append(element("tr", name, element("td", total, class_="number"), element("td", *answers)))
    said = "How often each answer was given" + (
        f"; the gold answer is {cut(str(gold), 60)}" if gold is not None else ""
    )
    head = element("tr", *(element("th", word, scope="col") for word in ("by", "texts", "answers")))
    table = element("table", element("caption", said), element("thead", head), element("tbody", *body), class_="votes")
    return element("div", table, class_="scroll", tabindex=0, role="region", aria_label="Votes")


def _answer(row: Row) -> str:
    return (
        cut(row["answer"], 40)
        if row["answer"] != ""
        else verdict_words({**dict(row), "answer": None}) or "not verified"
    )


def _card(shown: Shown, row: sqlite3.Row, *, is_main: bool = False) -> Html:
    """Return one text with what verification found and its buttons."""
    whole = queries.text_of(shown.folder, row)
    limit = SHOWN_CHARACTERS if is_main else BESIDE_CHARACTERS
    limit = 1 << 40 if is_main and shown.is_whole else limit
    text = str(whole.get("text") if "text" in whole else whole.get("target", ""))
    rest = None
    if len(text) > limit:
        address = f"/item/{row['n']}?whole=1"
        rest = element("p", element("a", f"Show all {len(text):,} characters", href=address))
    view = element("span", f"view: {cut(str(whole['view']), 80)}") if whole.get("view") else None
    number = None if is_main else element("a", f"no. {row['number']}", href=f"/item/{row['n']}")
    head = element("h3" if not is_main else "h2", number, view, *facts(row, numbered=is_main), class_="about")
    if row["stage"] == "examples":
        body = example_body(shown.folder, row["job"], whole, limit)
    else:
        body = instruction_body(whole) if row["stage"] == "instructions" else _body(row, whole, text, limit)
    return element(
        "article",
        head,
        body,
        rest,
        _found(shown, row),
        _edit(shown, row),
        _decision(shown, row, is_main=is_main) if row["stage"] != "examples" else None,
        class_=f"side {tone(row)}" + (" main" if is_main else ""),
        data_card=row["n"],
        tabindex="-1",
        aria_label=_title(row),
    )


def _body(row: Row, whole: Mapping[str, Any], text: str, limit: int) -> Html:
    thought = whole.get("reasoning_content")
    parts: list[Child] = []
    if thought:
        title = element("summary", f"What it thought first ({len(str(thought)):,} characters)")
        parts.append(element("details", title, element("p", cut(str(thought), limit), class_="written")))
    if not text.strip():
        reason = f": {cut(str(whole['reason']), 200)}" if whole.get("reason") else ""
        parts.append(element("p", f"(no text{reason})", class_="written empty"))
    elif row["kind"] == "pot":
        parts.append(element("pre", element("code", _program(text, limit)), class_="program", tabindex=0))
    else:
        parts.append(element("p", cut(text, limit), class_="written"))
    return join(*parts)


def _program(text: str, limit: int) -> Html:
    shown = cut(text, limit)
    return coloured(shown) if len(text) <= limit else join(coloured(text[:limit]), shown[limit:])


def _found(shown: Shown, row: sqlite3.Row) -> Html | None:
    """Return what verification said, in its words: of a program also what running it gave."""
    verdict = queries.verdict_of(shown.folder, row)
    if not verdict:
        return None
    said = [str(verdict.get(key)) for key in ("reason", "detail") if verdict.get(key)]
    gave = (
        f"running it gave {verdict.get('answer')}" if row["kind"] == "pot" and verdict.get("answer") is not None else ""
    )
    words = " · ".join(part for part in (verdict_words(row), gave, *said) if part)
    return element("p", cut(words, 600), class_="soft found")


def _edit(shown: Shown, row: sqlite3.Row) -> Html | None:
    """Return the edit that stands, as a difference to what the model wrote."""
    if row["review"] not in ("edited", "disputed"):
        return None
    made = [
        d for d in folding.decisions_on(shown.index, (row["stage"], row["job"], row["id"])) if d["action"] == "edit"
    ]
    if not made:
        return None
    before = str(queries.text_of(shown.folder, row).get("text", ""))
    after = cut(str(made[-1].get("text", "")), SHOWN_CHARACTERS)
    difference = element("p", word_difference(cut(before, SHOWN_CHARACTERS), after), class_="written difference")
    said = {"status": made[-1].get("status", ""), "answer": made[-1].get("answer"), "stage": row["stage"]}
    verdict = verdict_words(said)
    title = element("h3", f"As edited by {made[-1].get('by')}" + (f": {verdict}" if verdict else ""))
    return element("div", title, difference)


def _decision(shown: Shown, row: sqlite3.Row, *, is_main: bool = True) -> Html:
    after = shown.after if is_main else shown.address
    made = folding.decisions_on(shown.index, (row["stage"], row["job"], row["id"]))
    said = [
        f"{one.get('by')}: {one['action']}" + (f" ({cut(str(one['reason']), 200)})" if one.get("reason") else "")
        for one in made
    ]
    words = element("p", "; ".join(said), class_="soft") if said else None
    return join(words, decide_form(row, after, shown.order if is_main else "", reason=True))


def _examples(shown: Shown, row: sqlite3.Row) -> Html | None:
    """Return the way from an example to its rationale."""
    if row["stage"] != "examples" or not row["parent"]:
        return None
    found = shown.index.execute(
        "SELECT n FROM items INDEXED BY by_id WHERE id = ? AND stage = 'rationales'", (row["parent"],)
    ).fetchone()
    return (
        element("p", element("a", "The rationale that it was made from", href=f"/item/{found['n']}")) if found else None
    )


def _beside(shown: Shown, row: sqlite3.Row, stage: str) -> Html | None:
    """Return the other texts of the problem side by side."""
    rows: Sequence[sqlite3.Row] = queries.of_problem(shown.index, row["problem"], stage)
    others = [other for other in rows if other["n"] != row["n"]]
    if not others:
        return None
    if stage == "predictions":
        others.sort(key=lambda other: other["number"] > 0)  # the greedy texts of all systems first, before beside after
    words = {"rationales": "What the teacher wrote", "predictions": "What students and teacher answered"}[stage]
    more = (
        element("p", f"The first {queries.SIBLINGS} are shown.", class_="soft")
        if len(rows) == queries.SIBLINGS
        else None
    )
    title = element("h2", f"{words} ({len(others)} beside)")
    return element("section", title, more, *_by_view(shown, others))


def _by_view(shown: Shown, rows: Sequence[sqlite3.Row]) -> list[Html]:
    """Return texts side by side, those of one view (arguing for the answer, against the others) under its name."""
    views: dict[str, list[Html]] = {}
    for row in rows:
        view = str(queries.text_of(shown.folder, row).get("view") or "") if row["stage"] == "rationales" else ""
        views.setdefault(view, []).append(_card(shown, row))
    return [
        join(element("h3", f"view: {cut(view, 80)}") if view else None, element("div", *cards, class_="sides"))
        for view, cards in sorted(views.items())
    ]


def _of_original(shown: Shown, problem: sqlite3.Row | None) -> Html | None:
    """Return what the teacher wrote for the problem that this one was made from."""
    if problem is None or not problem["parent"]:
        return None
    rows = queries.of_problem(shown.index, problem["parent"], "rationales")[:BESIDE_ORIGINALS]
    if not rows:
        return None
    return element("section", element("h2", "What the teacher wrote for the original"), *_by_view(shown, rows))


def edit_page(folder: Path, index: sqlite3.Connection, row: sqlite3.Row, after: str, text: str | None = None) -> Html:
    """Return the form in which a rationale is rewritten; what the model wrote stays as it is."""
    made = folding.decisions_on(index, (row["stage"], row["job"], row["id"]))
    edits = [str(one.get("text", "")) for one in made if one["action"] == "edit"]
    if text is None:
        text = edits[-1] if edits else str(queries.text_of(folder, row).get("text", ""))
    said = "Characters that cannot be seen are spelled out. What the model wrote stays as it is."
    area = element("textarea", "\n", text, name="text", id="text", rows=18, spellcheck="true")
    return join(
        element("h1", "Edit a rationale"),
        element("p", said, class_="soft"),
        element(
            "form",
            hidden(n=row["n"], seal=seal(row), next=after),
            element("label", "Text", area),
            element("label", "why ", element("input", type="text", name="reason", maxlength=500)),
            element("button", "Save the edit", type="submit", name="action", value="edit"),
            element("a", "Cancel", href=after, class_="button"),
            method="post",
            action="/decide",
            class_="edit",
        ),
    )
