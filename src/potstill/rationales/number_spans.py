"""Numbers as final answers: at the start of a marked span, or in a sentence that states a result. Pure.

A concluding sentence is read only where it *states* a result. "Finally, we divide 780 by 10 to find how many each got"
describes a step and gives none, however many numbers it holds.
"""

from __future__ import annotations

import re
from itertools import pairwise

from potstill.rationales.numbers import numbers_in, parse_number, plain, word_numbers_in
from potstill.rationales.prose import Wanted, first_sentence, holds, negates, sentences_from_end
from potstill.rationales.stated_results import JOINED, WEAK_VERBS, last_step, stated

AMBIGUOUS = ""
_TAIL = 500
"""Characters at the end of a text in which its conclusion is looked for."""

_DIGIT = re.compile(r"\d")
_EQUALS = re.compile(
    r"=|≈|\b(?:which\s+(?:is|equals|gives|means)|(?:is\s+)?equal\s+to|equals|gives|for\s+a\s+total\s+of|totall?ing)\b"
)
_LEAD = re.compile(
    r"^[\s*_`:\"'“$\\\[{]*(?:(?:that|about|approximately|around|roughly|a\s+total\s+of|exactly|simply|therefore|just|only"
    r"|found\s+to\s+be)\s+)*",
    re.IGNORECASE,
)
_SUM = re.compile(
    r"[\s$]*\(*\s*\$?[\d.,]*\d\)*(?:\s*(?:[+*/x]|(?<=\s)-(?=\s))\s*\(*\s*\$?[\d.,]*\d\)*)+(?!\s*[-+*/=(]|\.?\w)"
)
_BRACKETED = re.compile(r"[\s$*]*\([\d\s.,+*/()-]+\)(?!\s*[-+*/=(\w])")
_WEAK_BEFORE = re.compile(rf"\b(?:{WEAK_VERBS}|gives?|leaves|leaving|of|only|exactly)\s+$", re.IGNORECASE)
_CROSS_CHECK = re.compile(r"\bconsistent\s+with\b", re.IGNORECASE)
_POINTS_BACK = re.compile(
    r"^(?:So,?\s+|Thus,?\s+)?(?:This|That|These|It)\s+(?:is|are|was|ensures|\w+\s+is)\b(?!.*\b(?:not|\w+n't)\b)",
    re.IGNORECASE,
)
_TERMINAL = re.compile(r"[.!?)\]}$\"'*`”%]\s*$")
_EQUATION_END = re.compile(r"=[^=]*\d[\d,.]*(?:\s*[A-Za-z°/]+){0,3}\s*$")
_QUOTES_GOLD = re.compile(r"\b(?:given|provided|expected|reference|listed)\s+(?:answer|solution)\b", re.IGNORECASE)
_FOREIGN = ("answer", "solution", "consistent")
_COMPARED = re.compile(
    r"\b(?:than|times|twice|half|as\s+\w+\s+as|minus|plus|between|at\s+least|at\s+most)\b|\s[-+*/]\s|\b[a-z]\s*[-+*/]",
    re.IGNORECASE,
)
_ORDINAL = re.compile(r"\b(\d+)(?:st|nd|rd|th)\b")


def pick_number(span: str, wanted: Wanted, body: str) -> str | None:
    """Return the number, list of numbers or calculation that a marked span holds."""
    text = plain(span).strip(" *_`:\"'\t")
    if parse_number(text) is not None:
        return text.rstrip(". ")
    text = first_sentence(text).rstrip(". ")
    parts = _EQUALS.split(text)
    if len(parts) > 1:
        text = next((part for part in reversed(parts) if _DIGIT.search(part)), text)
    calculation = _calculation(text)
    if calculation is not None:
        return calculation
    return (
        _at_start(text)
        or _only_figure(text)
        or stated(text, wanted, plain(body[-_TAIL:]))
        or _ordinal(text)
        or _one_word(text)
    )


def conclude_number(body: str, wanted: Wanted) -> tuple[str | None, str]:
    """Return (number, "") from the concluding sentence, or (None, reason)."""
    ending = plain(body[-_TAIL:])
    parts = sentences_from_end(ending)
    text = next(parts, "")
    while not _DIGIT.search(text) and _points_back(text) and (earlier := next(parts, None)):
        text = earlier
    if not _DIGIT.search(text):
        word = None if last_step(text) or text[-1:].isalnum() else _one_word(text, bare=False)
        return word, "" if word else "no_marker"
    if not _TERMINAL.search(text) and not _EQUATION_END.search(text):
        return None, "ambiguous"
    if holds(text, _FOREIGN) and (_QUOTES_GOLD.search(text) or _CROSS_CHECK.search(text)):
        return None, "ambiguous"
    answer = stated(text.rstrip(". :"), wanted, ending, signed=True)
    if answer is None and not numbers_in(text):
        answer = None if last_step(text) else _ordinal(text)
    return answer, "" if answer is not None else "ambiguous"


def _points_back(sentence: str) -> bool:
    return _POINTS_BACK.search(sentence) is not None and not last_step(sentence)


def _calculation(text: str) -> str | None:
    start = _LEAD.match(text)
    assert start is not None, "the lead may be empty"
    written = _BRACKETED.match(text) or _SUM.match(text, start.end())
    if written is None or parse_number(written[0]) is not None:
        return None
    # "65899 + 119, or 65918" and "(8 / 4) and (6 / 4)" state more than one value.
    return AMBIGUOUS if _DIGIT.search(text, written.end()) else written[0].strip()


def _at_start(text: str) -> str | None:
    """Return the number, or the list of numbers, that the text begins with."""
    start = _LEAD.match(text)
    assert start is not None, "the lead may be empty"
    found = numbers_in(text)
    if not found or found[0][0] > start.end() + 1:
        return None
    end = found[0][1]
    for (_, previous_end, _), (begin, this_end, _) in pairwise(found):
        if not JOINED.fullmatch(text, previous_end, begin):
            break
        end = this_end
    return text[found[0][0] : end].strip()


def _only_figure(text: str) -> str | None:
    """Return the one figure of a sentence that a marker points to: "Final answer: she earned $540 in two days"."""
    found = numbers_in(text)
    if len({number.value for *_, number in found}) != 1 or negates(text) or _COMPARED.search(text):
        return None
    return text[found[0][0] : found[0][1]].strip()


def _ordinal(text: str) -> str | None:
    found = set(_ORDINAL.findall(text))
    return found.pop() if len(found) == 1 else None


def _one_word(text: str, *, bare: bool = True) -> str | None:
    """Return the one number spelled out in a text: at its start where `bare`, else after a verb of result."""
    found = word_numbers_in(text)
    chosen = [item for item in found if (item[0] == 0 if bare else _WEAK_BEFORE.search(text, 0, item[0]))]
    if len({number.value for *_, number in found}) != 1 or not chosen:
        return None
    return text[chosen[0][0] : chosen[0][1]]
