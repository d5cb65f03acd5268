"""What the value of a program says as the answer of a problem: a float without its noise, one item out of its list.

A program answers with `str(value)`, not in prose, so its answer is read on its own terms before the common forms of
`potstill.rationales.answers` apply. Pure. Not done: no option is chosen for being nearest, and nothing is rounded to
the gold answer's digits beyond the rule for visible floats (docs/verification.md).
"""

from __future__ import annotations

import math
import re
from dataclasses import replace
from decimal import Decimal

from potstill.rationales.answers import Answer, equal, normalise
from potstill.rationales.extraction import find
from potstill.rationales.numbers import parse_number, same
from potstill.rationales.prose import Wanted

NOISE = 1e-12
"""Relative error up to which a float is taken for the shorter decimal next to it: 17.999999999999996 is 18."""
_FLOAT_DIGITS, _SURE, _FULL = 17, 15, 10
"""A double has at most 17 significant digits, of which 15 are sure; noise around zero has at least 10, 1.6e-19 two."""
_FLOAT = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
_ONE_ITEM = re.compile(r"(?:array|Matrix|FiniteSet|frozenset)?[(\[{]+([^()\[\]{}]*)[)\]}]+")
_COLLECTIONS = frozenset({"list", "tuple", "set", "frozenset", "ndarray", "dict", "FiniteSet", "Tuple", "str", None})
"""Kinds of value whose text may be brackets around one item; tier 1 of the sandbox names no kind at all."""
_TEXTS = frozenset({"str", None})
"""Kinds of value that may be a sentence; a number of any other kind is the value itself, not one named in it."""
_FORMULA = re.compile(r"\d\s*[*/^+-]\s*[A-Za-z_]|[A-Za-z_]\s*(?:[*/^]|[+-]\s+\d)")
_WITH_LETTERS = re.compile(r"\d\s*[*/^+]\s*[A-Za-z]\b|[A-Za-z]\s*[*/^+]\s*\d|[A-Za-z]\s[+-]\s")
"""A formula among options, "M + N / 4", is not the number in it; "4 km/hr" is."""
_NUMBERS = re.compile(r"[(\[]?[-\d.,\s]*\d[-\d.,\s]*[)\]]?")
_LETTERED = re.compile(r"\(?[A-Za-z]\s*[).:]\s*")


def read_value(text: str, kind: str | None, wanted: Wanted) -> Answer | None:
    """Return a program's answer in the normal form of the wanted type, or `None` when it is no answer of that type.

    Args:
        text: `str(value)`, or the last line that the program printed.
        kind: The value's type by name (int, float, str, list, Rational ...); `None`: not known.

    >>> read_value("17.999999999999996", "float", Wanted("number")).text
    '18'
    >>> read_value("[5]", "list", Wanted("number")).text
    '5'
    >>> read_value("True", "bool", Wanted("yesno")).text
    'yes'
    """
    text = denoised(_unwrapped(text.strip(), kind))
    if wanted.type == "number":
        return _number(text, kind, wanted)
    if wanted.type == "choice":
        return _choice(text, kind, wanted)
    if wanted.type == "expression":
        return normalise(_mathematical(text, kind), "expression")
    return normalise(text, wanted.type, wanted.options, wanted.labels) or _said(text, kind, wanted)


def denoised(text: str) -> str:
    """Return a float's text without the noise of binary arithmetic; other text as it is.

    A decimal of at most nine places that is as good as equal takes its place; else the digits past the fifteenth go,
    which the order of the operations decides.

    >>> denoised("17.999999999999996"), denoised("66.66666666666667"), denoised("0.5")
    ('18', '66.6666666666667', '0.5')
    """
    if _FLOAT.fullmatch(text) is None or not 0 < _digits(text) <= _FLOAT_DIGITS:
        return text
    value = float(text)
    if not math.isfinite(value):
        return text
    for decimals in range(10):
        near = round(value, decimals)
        if abs(value - near) <= NOISE * max(1.0, abs(value)) and (near or not value or _digits(text) >= _FULL):
            return format(Decimal(repr(near)), "f").removesuffix(".0")
    return format(Decimal(format(value, f".{_SURE}g")), "f") if _digits(text) > _SURE else text


def _digits(text: str) -> int:
    """Return the number of significant digits of a float's text; 0 for an integer."""
    if "." not in text and "e" not in text.lower():
        return 0
    return len(re.split("[eE]", text)[0].replace(".", "").lstrip("-0")) or 1


def _unwrapped(text: str, kind: str | None) -> str:
    """Return the only item of a collection, as solvers give it: `[5]`, `(5,)`, `{x: 5}`; several stay together."""
    if kind not in _COLLECTIONS:
        return text
    match = _ONE_ITEM.fullmatch(text)
    if match is None:
        return text
    item = match[1].strip().removesuffix(",")
    if "," in item:
        return text
    return item.rpartition(":")[2].strip().strip("'\"")


def _number(text: str, kind: str | None, wanted: Wanted) -> Answer | None:
    if parse_number(text) is None and re.search("[A-Za-z]", text):
        return _said(text, kind, wanted)
    answer = _several(text) or normalise(text, "number")
    if answer is not None and "/" in answer.text and _FLOAT.fullmatch(text):
        # As a fraction it would no longer be seen to be a float, which equals its exact value and its roundings.
        return replace(answer, text=text)
    return answer


def _several(text: str) -> Answer | None:
    """Read a pair or a list of numbers, in their order; `(6, -12)` is no difference."""
    items = [parse_number(item) for item in text.strip("()[] ").split(",")] if "," in text else []
    numbers = tuple(item for item in items if item is not None)
    if len(numbers) < max(2, len(items)) or parse_number(text) is not None:
        return None
    if all(same(numbers[0], other) for other in numbers[1:]):
        return Answer(numbers[0].text, numbers=numbers)
    return Answer(", ".join(sorted(number.text for number in numbers)), numbers=numbers)


def _said(text: str, kind: str | None, wanted: Wanted) -> Answer | None:
    """Read an answer that was printed in a sentence ("The answer is 5 apples"), not one taken out of a formula."""
    if kind not in _TEXTS or _FORMULA.search(text):
        return None
    span = find(text, wanted, bare=True).span
    return None if span is None else normalise(span, wanted.type, wanted.options, wanted.labels)


def _choice(text: str, kind: str | None, wanted: Wanted) -> Answer | None:
    """Return the option that is meant: by letter, by text, or as the only one that has the value."""
    answer = normalise(text, "choice", wanted.options)
    if answer is not None:
        return answer
    own = [_LETTERED.sub("", option, count=1) for option in wanted.options]
    hits = [at for at, option in enumerate(own) if _has_numbers(option, text)]
    if not hits and _FORMULA.search(text):
        formula = normalise(_mathematical(text, kind), "expression")
        hits = [at for at, option in enumerate(own) if equal(option, formula, "expression") is True]
    if not hits and re.search("[A-Za-z]{2}", text):
        return _said(text, kind, wanted)
    return Answer(f"({chr(97 + hits[0])})") if len(hits) == 1 else None


def _has_numbers(option: str, text: str) -> bool:
    """Whether an option has the numbers of a value, in their order: "$23.00" that of 23, "62, 34" those of a pair."""
    if (parse_number(text) is None and not _NUMBERS.fullmatch(text)) or _WITH_LETTERS.search(option):
        return False
    numbers, own = _several(text) or normalise(text, "number"), _several(option) or normalise(option, "number")
    if numbers is None or own is None or not len(numbers.numbers) == len(own.numbers) > 0:
        return False
    return all(same(a, b) for a, b in zip(own.numbers, numbers.numbers, strict=True))


def _mathematical(text: str, kind: str | None) -> str:
    """Return a value of Python or SymPy in the signs of mathematics: powers with ^, a list without its brackets."""
    if kind in ("list", None) and text.startswith("[") and text.endswith("]"):
        text = text[1:-1]
    return text.replace("**", "^")
