"""Mathematical expressions as final answers: where one begins and ends in a marked span or a last sentence. Pure."""

from __future__ import annotations

import re
from itertools import pairwise

from potstill.rationales.numbers import numbers_in, plain
from potstill.rationales.prose import Wanted, first_sentence, last_sentence

_MATH = re.compile(r"\$\$(.+?)\$\$|\$([^$]+?)\$|\\\((.+?)\\\)|\\\[(.+?)\\\]", re.DOTALL)
_ENDING = re.compile(r"\s*(?:[A-Za-z]+\s*){0,3}")
_STATES = re.compile(r"(?:\b(?:is|are|be|equals|get|gives|obtain)|=)\s*(?:equal\s+to\s+)?$")
_PROSE = re.compile(r",?\s+(?:where|because|since|which|when|for|so|if|as)\b")


def pick_expression(span: str, wanted: Wanted, body: str) -> str | None:
    """Return the mathematics, or the plain text, that a marked span holds."""
    del wanted, body
    text = span.strip().strip("*").strip()
    found = list(_MATH.finditer(text))
    if found:
        return _result(_math(text, found))
    text = _PROSE.split(first_sentence(text) or text, maxsplit=1)[0]
    return _result(re.sub(r"^(?:that|simply|equal to)\s+", "", text).rstrip(". "))


def _math(text: str, found: list[re.Match[str]]) -> str:
    """Return the mathematics a span begins with, joined over "and", "or" and commas; else its last piece."""
    if re.search(r"[A-Za-z]{3}", text[: found[0].start()]):
        return _inside(found[-1])
    pieces = [text[: found[0].start()] + _inside(found[0])]
    for previous, match in pairwise(found):
        between = text[previous.end() : match.start()].strip()
        if between not in (",", "and", "or", ", and", ", or", ";"):
            break
        pieces.append(_inside(match))
    if len(pieces) == 1 and re.match(r"\s*(?:[\d(]|\\(?!text))", text[found[0].end() :]):
        return text
    return ", ".join(pieces)


def _inside(match: re.Match[str]) -> str:
    return next(group for group in match.groups() if group is not None)


def _result(text: str) -> str | None:
    """Return what stands after the last equals sign, unless the equation itself is the answer."""
    text = text.strip()
    sides = [side.strip() for side in re.split(r"(?<![<>\\!])=(?!=)|\\approx", text)]
    if len(sides) < 2 or sides[-1] in ("", "0"):
        return text or None
    if len(sides) == 2 and re.fullmatch(r"\(?[A-Za-z](?:[,_(\s]*\w*)*\)*", sides[0]):
        return text
    return sides[-1]


def conclude_expression(body: str, wanted: Wanted) -> tuple[str | None, str]:
    """Return (expression, "") that the last sentence ends with, or (None, reason)."""
    line = body.strip()
    if "\n" not in line and len(line.split()) <= 4:
        return pick_expression(line, wanted, body), ""
    last = last_sentence(line).rstrip("*. ")
    found = list(_MATH.finditer(last))
    if found and _ENDING.fullmatch(last[found[-1].end() :]):
        inside = _inside(found[-1])
        if "=" in inside or _STATES.search(last[: found[-1].start()]):
            return _result(inside), ""
    plain_last = plain(last)
    numbers = numbers_in(plain_last)
    if numbers and _ENDING.fullmatch(plain_last[numbers[-1][1] :]) and _STATES.search(plain_last[: numbers[-1][0]]):
        return plain_last[numbers[-1][0] : numbers[-1][1]].strip(), ""
    tail = last.rsplit("=", 1)[1].strip(" *$") if "=" in last else ""
    if tail and len(tail.split()) <= 4 and "$" not in tail:
        return tail, ""
    return None, "no_marker"
