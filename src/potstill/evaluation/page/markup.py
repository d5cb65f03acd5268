"""Build HTML in which text is escaped unless it was built here: nothing a model wrote can become markup.

    element("td", "a < b", class_="number")   ->  <td class="number">a &lt; b</td>

Nothing here renders Markdown or interprets a text in any other way.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from html import escape

VOID = frozenset({"br", "hr", "meta", "link", "input", "line", "rect", "circle", "path", "polyline", "polygon", "col"})
_TAG_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9]*\Z")
_UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_DIRECTION = re.compile(r"[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


class Html(str):
    """Markup that is safe to put into a page as it is."""

    __slots__ = ()


Child = str | int | float | None | Iterable["Child"]


def text(value: object) -> Html:
    """Return a text, escaped; characters that are invisible, turn the line around or pile up cannot do so."""
    return Html(escape(visible(str(value)), quote=True))


def visible(value: str) -> str:
    """Return a text whose characters can all be seen: invisible ones, and those that turn the line, are spelled out."""
    shown = _UNSEEN.sub("\N{REPLACEMENT CHARACTER}", _thinned(value))
    return _DIRECTION.sub(lambda match: f"[U+{ord(match[0]):04X}]", shown)


def join(*children: Child) -> Html:
    """Return the children one after another: markup as it is, everything else as text, `None` as nothing."""
    parts: list[str] = []
    for child in children:
        if isinstance(child, Html):
            parts.append(child)
        elif isinstance(child, str | int | float):
            parts.append(text(child))
        elif child is not None:
            parts.append(join(*child))
    return Html("".join(parts))


def element(tag: str, *children: Child, **attributes: str | float | None) -> Html:
    """Return one element. `class_` names a Python keyword, underscores become hyphens, `None` leaves one out."""
    assert _TAG_NAME.match(tag), f"not a tag name: {tag!r}"
    spelled = (
        f' {name.rstrip("_").replace("_", "-")}="{_attribute(value)}"'
        for name, value in attributes.items()
        if value is not None
    )
    opening = f"<{tag}{''.join(spelled)}"
    if tag in VOID and not children:
        return Html(opening + "/>")  # inside SVG an unclosed <line> would swallow what follows
    return Html(f"{opening}>{join(*children)}</{tag}>")


def cut(value: str, limit: int) -> str:
    """Return a text of at most `limit` characters, and how many were left out."""
    if len(value) > limit:
        return f"{value[:limit]} … ({len(value) - limit:,} more characters)"
    return value


def _thinned(value: str, most: int = 4) -> str:
    """Return a text with at most `most` combining marks in a row; more would cover the lines around it."""
    if value.isascii():
        return value
    kept: list[str] = []
    run = 0
    for character in value:
        run = run + 1 if unicodedata.combining(character) else 0
        if run <= most:
            kept.append(character)
    return "".join(kept)


def _attribute(value: str | float) -> str:
    return f"{value:.6g}" if isinstance(value, float) else text(value)
