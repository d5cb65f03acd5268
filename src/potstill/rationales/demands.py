"""Demands of an instruction that a program can check: how long, in which form, with or without what.

Reads the instruction's own words and nothing else, so a demand that is worded otherwise is not found, and one that is
found can be checked without any model. A response that keeps every demand may still be wrong in everything else.

Source: the kinds are those of IFEval, Zhou et al. 2023, arXiv:2311.07911. Differs: they are read from the text, not
given beside it; a demand's own words are the only evidence.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

_NUMBERS = {
    "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10,
    "a single": 1,
}  # fmt: skip
_N = rf"(?P<n>\d[\d,]*|{'|'.join(_NUMBERS)})"
_UNIT = (
    r"(?P<unit>words?|sentences?|bullet points?|paragraphs?)"
    r"(?!\s+(?:or phrases\s+)?(?:be\s+)?(?:in|with)\s+(?:all|capital|the output))"  # words in all capitals
)
_LEAST = re.compile(rf"\b(?:at least|no less than|no fewer than|a minimum of|minimum)\s+{_N}\s+{_UNIT}\b", re.I)
_OVER = re.compile(rf"\b(?:more than|over)\s+{_N}\s+{_UNIT}\b", re.I)
_PLUS = re.compile(rf"(?P<n>\d[\d,]*)\+\s*{_UNIT}\b", re.I)
_MOST = re.compile(
    rf"\b(?:at most|no more than|not more than|up to|a maximum of|maximum|within)\s+{_N}\s+{_UNIT}\b", re.I
)
_UNDER = re.compile(rf"\b(?:less than|fewer than|under|below)\s+{_N}\s+{_UNIT}\b", re.I)
_OR_LESS = re.compile(rf"\b{_N}\s+{_UNIT}\s+or\s+(?:less|fewer)\b", re.I)
_EXACTLY = re.compile(rf"\b(?:exactly|precisely)\s+{_N}\s+{_UNIT}\b", re.I)
_NO_LESS = re.compile(r"\b(?:no|not)\s+(?:less|fewer|more)\s+than\b", re.I)
_BULLET = re.compile(r"^\s*(?:[-*+\u2022]|\d+[.)])\s+\S", re.MULTILINE)
_NUMBERED = re.compile(r"^\s*\d+[.)]\s+\S", re.MULTILINE)
_ROW = re.compile(r"^.*\|.*$", re.MULTILINE)
_FENCE = re.compile(r"^\s*```\w*\n(.*?)\n?```\s*$", re.DOTALL)
_SENTENCE_END = re.compile(r"[.!?\u3002\uff01\uff1f]+(?=[\s\"')\]]|$)")

Check = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class Demand:
    """One thing that an instruction demands of its response."""

    name: str
    """Such as words >= 300, json, no commas."""
    is_met: Check
    """response -> whether it keeps it"""


def demands(instruction: str) -> list[Demand]:
    """Return what a program can check of a response, in the order of kinds."""
    found = [*_counts(instruction), *_forms(instruction)]
    return list({demand.name: demand for demand in found}.values())


def unmet(instruction: str, response: str) -> list[str] | None:
    """Return the names of the demands that a response breaks; `None` where there is none to check.

    >>> unmet("Explain comets. Use at most 3 words.", "A comet is ice and dust.")
    ['words <= 3']
    """
    wanted = demands(instruction)
    return [demand.name for demand in wanted if not demand.is_met(response)] if wanted else None


def _counts(text: str) -> Iterator[Demand]:
    rules = ((_LEAST, ">=", 0), (_PLUS, ">=", 0), (_OVER, ">=", 1), (_MOST, "<=", 0), (_OR_LESS, "<=", 0),
             (_UNDER, "<=", -1), (_EXACTLY, "=", 0))  # fmt: skip
    for pattern, relation, shift in rules:
        for match in pattern.finditer(text):
            if pattern in (_OVER, _UNDER) and _NO_LESS.search(text[max(0, match.start() - 5) : match.end()]):
                continue  # "no less than 80 words" is another rule's
            unit = match["unit"].lower().rstrip("s").replace(" point", "")
            yield _counted(unit, relation, _number(match["n"]) + shift)


def _counted(unit: str, relation: str, wanted: int) -> Demand:
    def is_met(response: str) -> bool:
        count = _MEASURES[unit](response)
        return count >= wanted if relation == ">=" else count <= wanted if relation == "<=" else count == wanted

    return Demand(f"{unit}s {relation} {wanted}", is_met)


def _forms(text: str) -> Iterator[Demand]:
    for name, (pattern, is_met) in _FORMS.items():
        if pattern.search(text):
            yield Demand(name, is_met)


def _number(text: str) -> int:
    return _NUMBERS.get(text.lower()) or int(text.replace(",", ""))


def _is_json(response: str) -> bool:
    fenced = _FENCE.match(response)
    try:
        json.loads(fenced[1] if fenced else response)
    except (ValueError, RecursionError):
        return False
    return True


def _sentences(response: str) -> int:
    return len(_SENTENCE_END.findall(response.strip())) or bool(response.strip())


_MEASURES: dict[str, Callable[[str], int]] = {
    "word": lambda response: len(response.split()),
    "sentence": _sentences,
    "bullet": lambda response: len(_BULLET.findall(response)),
    "paragraph": lambda response: len([p for p in re.split(r"\n\s*\n", response) if p.strip()]),
}
_ALL_LOWER = (
    r"\b(?:all|entirely|only)\s+(?:in\s+)?lower\s?-?case|\blower\s?-?case letters only\b|\bno capital letters\b"
)
_ALL_UPPER = (
    r"(?<!words in )(?<!words with )(?<!phrases in )(?<!words be in )(?<!should be in )(?<!those )"
    r"\b(?:all|entirely|only)\s+(?:in\s+)?(?:upper\s?-?case|capital letters|caps)\b"
)
_NO_COMMAS = r"\b(?:no|(?:without|avoid)(?: using)?(?: any)?|not (?:use|include|contain)(?: any)?)\s+commas\b"
_FORMS: dict[str, tuple[re.Pattern[str], Check]] = {
    "json": (
        re.compile(r"\b(?:in|as|a|valid)\s+(?:a\s+)?(?:valid\s+)?JSON\b(?!\s+(?:file|parser|schema))", re.I),
        _is_json,
    ),
    "numbered list": (
        re.compile(r"\b(?:as|in|with|use)\s+(?:the form of\s+)?a numbered list\b", re.I),
        lambda response: len(_NUMBERED.findall(response)) >= 2,
    ),
    "table": (
        re.compile(r"\b(?:answer|reply|respond|present|format|arrange)\w*\b[^.]{0,40}\b(?:as|in) a table\b", re.I),
        lambda response: len(_ROW.findall(response)) >= 2,
    ),
    "no commas": (
        re.compile(_NO_COMMAS, re.I),
        lambda response: "," not in response,
    ),
    "no lists": (
        re.compile(r"\b(?:without|do not use)(?: any)? (?:bullet(?:ed)? )?(?:lists|bullet points)\b", re.I),
        lambda response: not _BULLET.search(response),
    ),
    "lower case": (re.compile(_ALL_LOWER, re.I), lambda response: not any(c.isupper() for c in response)),
    "upper case": (re.compile(_ALL_UPPER, re.I), lambda response: not any(c.islower() for c in response)),
    "in quotes": (
        re.compile(r"\bwrap(?:ped)?\b[^.]{0,60}\b(?:with|in(?:side)?) double quot(?:ation|e)", re.I),
        lambda response: len(response.strip()) > 1 and response.strip()[0] == response.strip()[-1] == '"',
    ),
}  # fmt: skip
