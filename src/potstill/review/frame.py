"""What every page of the review has: head, navigation, who reviews, and what is known about the run so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from potstill.evaluation.page.markup import Child, Html, element, join

STAGE_WORDS = {
    "rationales": "Rationales",
    "predictions": "Predictions",
    "examples": "Training examples",
    "problems": "Problems",
    "instructions": "Instructions",
}
KEYS = (
    ("j, k", "next, previous"),
    ("a", "accept"),
    ("r", "reject"),
    ("e", "edit"),
    ("u", "undo my last decision"),
    ("w", "say why, before deciding"),
    ("Enter", "open"),
    ("1 to 9", "go to a text of this page; in a comparison: the first, the second is better, 0 no difference"),
    ("/", "search"),
    ("l", "back to the list"),
    ("?", "this help"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What a page knows beside its own content."""

    run: str
    reviewer: str
    path: str
    """Where to come back to after giving a name or undoing."""
    sizes: Mapping[str, int]
    notices: tuple[str, ...] = ()
    here: str = ""
    """The entry of the navigation that is shown."""
    links: Mapping[str, str] = field(default_factory=dict)
    """Where keys lead: previous, next, list, edit."""


def page(view: View, title: str, *main: Child) -> Html:
    """Return a whole document."""
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", f"{title} · {view.run} · potstill review"),
        element("link", rel="icon", href="data:,"),
        element("link", rel="stylesheet", href="/static/style.css"),
        element("script", src="/static/review.js", defer=""),
    )
    links = {f"data_{name}": address for name, address in view.links.items()}
    body = element(
        "body",
        element("a", "Skip to the content", class_="skip", href="#content"),
        _header(view),
        element("main", *(element("p", said, class_="notice") for said in view.notices), *main, id="content"),
        element("p", "", id="said", role="status", aria_live="polite"),
        _help(),
        **links,
    )
    return Html("<!doctype html>\n" + element("html", head, body, lang="en"))


def error_page(view: View, message: str) -> Html:
    """Return a page that says what went wrong and what to do."""
    back = element("p", element("a", "Back to the list", href="/"))
    return page(view, "Not done", element("h1", "Not done"), element("p", message, class_="notice", role="alert"), back)


def hidden(**values: str | int) -> Html:
    """Return hidden fields of a form."""
    return join(*(element("input", type="hidden", name=name, value=str(value)) for name, value in values.items()))


def _header(view: View) -> Html:
    entries = [
        _entry(view, name, f"/?stage={name}", words, view.sizes.get(name, 0))
        for name, words in STAGE_WORDS.items() if view.sizes.get(name) or name == "rationales"
    ]  # fmt: skip
    entries += [
        _entry(view, name, f"/{name}", name.capitalize(), None) for name in ("compare", "calibration", "decisions")
    ]
    run = element("p", element("a", "potstill review", href="/"), " · ", view.run, class_="eyebrow")
    return element(
        "header", element("div", run, _reviewer(view), class_="top"), element("nav", *entries, aria_label="Review")
    )


def _entry(view: View, name: str, address: str, words: str, count: int | None) -> Html:
    said = element("span", f" {count:,}", class_="soft") if count is not None else None
    return element("a", words, said, href=address, aria_current="page" if view.here == name else None)


def _reviewer(view: View) -> Html:
    name = element(
        "input", type="text", name="name", id="name", value=view.reviewer, maxlength=60, autocomplete="name", size=14,
        placeholder="your name",
    )  # fmt: skip
    label = element("label", "Reviewing as ", name)
    button = element("button", "Save" if view.reviewer else "Begin", type="submit")
    undo = element("button", "Undo my last", type="submit", formaction="/undo", id="undo") if view.reviewer else None
    shade = "reviewer" if view.reviewer else "reviewer asked"
    return element("form", hidden(next=view.path), label, button, undo, method="post", action="/name", class_=shade)


def _help() -> Html:
    rows = [element("div", element("dt", element("kbd", keys)), element("dd", words)) for keys, words in KEYS]
    close = element("form", element("button", "Close"), method="dialog")
    title = element("h2", "Keys", id="keys-title")
    return element(
        "dialog", title, element("dl", *rows, class_="keys-list"), close, id="keys", aria_labelledby="keys-title"
    )
