"""The answer inside a marked span, or inside the concluding sentence, by type.

`pick` reads a span that follows a marker; `conclude` reads the end of a text that has none. Both return a piece of text
that `potstill.rationales.answers.normalise` understands, or nothing. Pure.
"""

from __future__ import annotations

from collections.abc import Callable

from potstill.rationales.choice_spans import conclude_choice, pick_choice
from potstill.rationales.expression_spans import conclude_expression, pick_expression
from potstill.rationales.number_spans import conclude_number, pick_number
from potstill.rationales.prose import Wanted
from potstill.rationales.word_spans import (
    conclude_label,
    conclude_text,
    conclude_yes_no,
    pick_label,
    pick_text,
    pick_yes_no,
)


def pick(span: str, wanted: Wanted, body: str) -> str | None:
    """Return the answer that a marked span begins with, or `None` when it holds none of the wanted type."""
    return _PICKERS[wanted.type](span, wanted, body)


def conclude(body: str, wanted: Wanted) -> tuple[str | None, str]:
    """Return (answer, "") from the concluding sentence, or (None, reason: no_marker or ambiguous)."""
    return _CONCLUDERS[wanted.type](body, wanted)


_PICKERS: dict[str, Callable[[str, Wanted, str], str | None]] = {
    "number": pick_number,
    "choice": pick_choice,
    "yesno": pick_yes_no,
    "label": pick_label,
    "expression": pick_expression,
    "text": pick_text,
}
_CONCLUDERS: dict[str, Callable[[str, Wanted], tuple[str | None, str]]] = {
    "number": conclude_number,
    "choice": conclude_choice,
    "yesno": conclude_yes_no,
    "label": conclude_label,
    "expression": conclude_expression,
    "text": conclude_text,
}
