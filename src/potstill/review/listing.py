"""The list of records with its filters."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from potstill.evaluation.page.markup import Child, Html, cut, element, join
from potstill.evaluation.page.naming import KINDS, STATUSES
from potstill.records import content_id
from potstill.review.frame import STAGE_WORDS, hidden
from potstill.review.queries import COUNTED, PAGE, REVIEWS, Filters, Found, text_of
from potstill.review.store import Row, read_row

EXCERPT = 260
LONGEST_LINE = 200_000
"""Bytes of a record that a list still reads; a longer one says so and is read when it is opened."""
FILTERS = {
    "status": "verdict",
    "kind": "kind",
    "author": "author",
    "job": "system",
    "source": "task",
    "split": "split",
    "dropped": "dropped as",
    "finish": "ended",
}
ORDER_WORDS = {
    "file": "as written",
    "next": "uncertain and disagreeing first",
    "calibration": "at random (calibration)",
    "shortest": "shortest first",
    "longest": "longest first",
    "costliest": "costliest first",
}
STATUS_WORDS = {name: words for name, _, words in STATUSES} | {
    "PASSED": "passed its judge", "LOW": "judged too low", "REFUSED": "refused by a rule", "UNJUDGED": "not judged",
}  # fmt: skip
JURY_WORDS = {"CORRECT": "confirmed", "WRONG": "not confirmed", "UNVERIFIED": "undecided"}
"""What a judge of problems, such as a jury, says of one."""
REVIEW_MARKS = {"accepted": "✓ accepted", "rejected": "✗ rejected", "edited": "✎ edited", "disputed": "⚑ disputed"}


def list_page(folder: Path, filters: Filters, found: Found, facets: Mapping[str, Mapping[str, int]]) -> Html:
    """Return the filters and one page of what passes them."""
    start = PAGE * (filters.page - 1)
    many = f"more than {COUNTED:,}" if found.count > COUNTED else f"{found.count:,}"
    said = f"{many} {'record' if found.count == 1 else 'records'}"
    if found.rows:
        said += f", {start + 1:,} to {start + len(found.rows):,} shown"
    rows = [row_view(folder, row, filters, number) for number, row in enumerate(found.rows, start=1)]
    nothing = element(
        "p", "Nothing passes these filters. ", element("a", "Take them off", href=f"/?stage={filters.stage}")
    )
    return join(
        element("h1", STAGE_WORDS[filters.stage]),
        filter_form(filters, facets),
        element("p", said, class_="soft count", role="status"),
        element("ol", *rows, class_="rows", start=start + 1) if rows else nothing,
        _pager(filters, found),
    )


def filter_form(filters: Filters, facets: Mapping[str, Mapping[str, int]]) -> Html:
    """Return the search field and a choice for each filter that divides this stage."""
    chosen = dict(filters.equals)
    search = element(
        "label", element("span", "search"), element("input", type="search", name="q", id="q", value=filters.words)
    )
    picks = [
        _pick(
            name,
            words,
            {
                value: f"{_value_words(name, value, filters.stage)} ({count:,})"
                for value, count in facets.get(name, {}).items()
            },
            chosen.get(name, ""),
        )
        for name, words in FILTERS.items()
        if len(facets.get(name, {})) > 1 or name in chosen
    ]
    reviews = {name: {"none": "undecided", "any": "decided"}.get(name, name) for name in REVIEWS}
    picks.append(_pick("review", "decision", reviews, filters.review))
    has_paths = filters.stage in ("rationales", "predictions")
    bounds = [("shortest", "words from", filters.shortest), ("longest", "to", filters.longest)]
    if has_paths:
        bounds += [("cheapest", "tokens from", filters.cheapest), ("dearest", "to", filters.dearest)]
    lengths = [
        element("label", element("span", words), element("input", type="number", name=name, min=0, value=value))
        for name, words, value in bounds
    ]
    ticks = [_tick("disputed", "answers disagree", filters.is_disputed)] if has_paths else []
    if filters.stage == "problems" and facets.get("status"):
        ticks = [
            _tick("judged", "judged", filters.is_judged),
            _tick("disputed", "judges disagree", filters.is_disputed),
        ]
    order = _pick("order", "order", ORDER_WORDS, filters.order, empty=False)
    button = element("button", "Show", type="submit")
    off = element("a", "all", href=f"/?stage={filters.stage}")
    return element(
        "form",
        hidden(stage=filters.stage),
        search,
        *picks,
        *lengths,
        *ticks,
        order,
        button,
        off,
        method="get",
        action="/",
        class_="filters",
        role="search",
    )


def row_view(folder: Path, row: Row, filters: Filters, number: int) -> Html:
    """Return one record of a list: what it is, how it begins, and its buttons."""
    whole = text_of(folder, row) if row["length"] <= LONGEST_LINE else {}
    text = str(whole.get("text") or whole.get("question") or whole.get("target") or "")
    if not whole:
        text = f"(a text of {row['length']:,} bytes; open it to read)"
    address = f"/item/{row['n']}{filters.address().removeprefix('/')}"
    link = element(
        "a", element("span", cut(" ".join(text.split()), EXCERPT) or "(no text)", class_="excerpt"), href=address
    )
    head = element("span", *facts(row), class_="about")
    return element(
        "li",
        head,
        link,
        decide_form(row, filters.address(), filters.order) if row["stage"] != "examples" else None,
        class_=f"row {tone(row)}",
        data_card=row["n"],
        tabindex="-1",
        aria_label=f"record {number}",
    )


def facts(row: Row, *, numbered: bool = True) -> list[Child]:
    """Return what is known about a record in a few words: verdict, author, kind, split, decision."""
    has_number = numbered and row["stage"] in ("rationales", "predictions")
    name = row["author"] if row["stage"] == "rationales" else row["job"]
    before = " (before training)" if row["stage"] == "predictions" and name == "untrained" else ""
    parts = [
        element("b", verdict_words(row), class_="mark") if row["status"] else None,
        element("span", name + before) if name else None,
        element("span", KINDS.get(row["kind"], (row["kind"],))[0]),
        element("span", f"no. {row['number']}") if has_number else None,
        element("span", f"{row['words']:,} words"),
        element("span", f"{row['tokens']:,} tokens") if row["tokens"] else None,
        element("span", row["split"]) if row["split"] else None,
        element("span", f"dropped: {row['dropped'].replace('_', ' ')}") if row["dropped"] else None,
        element("span", "judges disagree" if row["stage"] == "problems" else "answers disagree")
        if row["is_disputed"]
        else None,
    ]
    state = element("span", REVIEW_MARKS.get(row["review"], ""), class_=f"state {row['review']}", data_state=row["n"])
    return [*parts, state]


def verdict_words(row: Row) -> str:
    """Return a verdict in a reader's words."""
    mark = {"right": "✓ ", "wrong": "✗ "}.get(tone(row), "")
    answer = f": {cut(row['answer'], 40)}" if row["answer"] is not None else ""
    return f"{mark}{_status_words(row['status'], row['stage'])}{answer}"


def _status_words(status: str, stage: str) -> str:
    words = JURY_WORDS if stage == "problems" else STATUS_WORDS
    return words.get(status, status)


def tone(row: Row) -> str:
    """Return the style sheet's word for a record's verdict."""
    return {"CORRECT": "right", "PASSED": "right", "WRONG": "wrong", "LOW": "wrong"}.get(row["status"], "")


def decide_form(row: Row, address: str, order: str = "", reason: bool = False) -> Html:
    """Return the buttons that accept and reject a record; a decision made in the random order counts as calibration."""
    queue = "calibration" if order == "calibration" else ""
    why = element("label", "why ", element("input", type="text", name="reason", maxlength=500)) if reason else None
    edit = element("a", "Edit", href=f"/item/{row['n']}/edit?next={_quoted(address)}", class_="button")
    can_edit = row["stage"] == "rationales"
    return element(
        "form",
        hidden(n=row["n"], seal=seal(row), next=address, queue=queue),
        why,
        element("button", "Accept", type="submit", name="action", value="accept"),
        element("button", "Reject", type="submit", name="action", value="reject"),
        edit if can_edit else None,
        method="post",
        action="/decide",
        class_="decide",
    )


def seal(row: Row) -> str:
    """Return a short hash of a record's id: a decision must be on the record that the page showed."""
    return content_id(row["stage"], row["job"], row["id"])


def question_of(folder: Path, problem: Row | None) -> dict[str, Any]:
    """Return a problem's own record; empty where it is not known."""
    return {} if problem is None else read_row(folder, problem["file"], problem["start"], problem["length"])


def _pager(filters: Filters, found: Found) -> Html:
    last = (min(found.count, COUNTED) + PAGE - 1) // PAGE
    before = (
        element("a", "Previous page", href=filters.address(page=filters.page - 1), rel="prev")
        if filters.page > 1
        else None
    )
    is_more = filters.page < last or (found.count > COUNTED and len(found.rows) == PAGE)
    after = element("a", "Next page", href=filters.address(page=filters.page + 1), rel="next") if is_more else None
    return element("nav", before, " ", after, class_="pager", aria_label="Pages")


def _pick(name: str, words: str, values: Mapping[str, str], chosen: str, *, empty: bool = True) -> Html:
    options = [element("option", "any", value="")] if empty else []
    named = {**values, **({chosen: chosen} if chosen and chosen not in values else {})}
    options += [
        element("option", said, value=value, selected="" if value == chosen else None) for value, said in named.items()
    ]
    return element("label", element("span", words), element("select", *options, name=name))


def _tick(name: str, words: str, is_on: bool) -> Html:
    box = element("input", type="checkbox", name=name, value="1", checked="" if is_on else None)
    return element("label", box, words, class_="tick")


def _value_words(name: str, value: str, stage: str) -> str:
    if name == "status":
        return _status_words(value, stage)
    if name == "job" and stage == "instructions":
        return value
    return KINDS[value][1] if name == "kind" and value in KINDS else cut(value, 40)


def _quoted(address: str) -> str:
    from urllib.parse import quote

    return quote(address, safe="")
