"""Numbers in prose and in LaTeX, read exactly: text in, `Fraction` out.

The lowest part of answer checking (`potstill.rationales.answers`). Pure. Nothing is rounded: `0.1` is one tenth, a
half-written number is no number, and what is not understood is `None`. Not covered: units of measure are dropped, not
converted ("50 cents" is 50), and clock times, dates and ordinals are not numbers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
)
_WORDS = {word: value for value, word in enumerate((_ONES + " eighteen nineteen").split())}
_TENS = {
    word: 10 * value
    for value, word in enumerate(["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"], 2)
}
_SCALES = {"hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_VULGAR = {"½": "1/2", "⅓": "1/3", "⅔": "2/3", "¼": "1/4", "¾": "3/4", "⅕": "1/5", "⅙": "1/6", "⅛": "1/8", "⅜": "3/8"}
_MAX_EXPONENT = 400
"""Larger powers of ten are no answers; refusing them keeps `Fraction` small."""


@dataclass(frozen=True, slots=True)
class Number:
    """One number as it was written."""

    value: Fraction
    percent: bool = False
    """Whether a percent sign or word followed; `value` is the figure before it."""
    decimals: int | None = 0
    """Digits after the point; `None` for a fraction or a computed value."""

    @property
    def text(self) -> str:
        """The one spelling of this value: digits, a finite decimal, or a fraction in lowest terms."""
        return render(self.value)


_FLOAT_DECIMALS = 10
"""Two numbers that are both written this long are floats, and floats differ in their last digits."""
_CLOCK = re.compile(r"(\d{1,2}):00(?:\s*[ap]\.?m\.?)?|(\d{1,2})\s*[ap]\.?m\.?", re.IGNORECASE)
_DIGITS = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d{1,2}(?:,\d{2})+,\d{3}(?!\d)|\d+)"
_TOKEN = re.compile(
    rf"""(?=[-$€£¥.\d])(?<![A-Za-z0-9_.^\\])(?<!\d:)(?<!\d/)(?P<sign>-\s?(?=[$€£¥.\d]))?(?:[$€£¥]\s?)?(?P<inner>-(?=[.\d]))?
    (?:(?P<whole>\d+)(?:\ |-|\ and\ )(?P<mixed>\d+/\d+)(?![\d/])
      |(?P<top>{_DIGITS}(?:\.\d+)?)\s?/\s?(?P<bottom>\d+(?:\.\d+)?)(?![\d/,.]*[\d/])
      |(?P<plain>{_DIGITS}(?:\.\d+)?|\.\d+)
       (?:(?:\s?(?:x|\*|·)\s?10\s?\^\s?[{{(]?(?P<power>-?\d+)[)}}]?)|[eE](?P<e>[+-]?\d+)(?![\w]))?)
    (?!\d|/\d|:\d|(?:st|nd|rd|th)\b|\.\d|\s?[ap]\.?m\b)
    (?P<percent>\s?%|\s(?:percent|per\ cent)\b)?(?:\s(?P<scale>hundred|thousand|million|billion|trillion)\b)?""",
    re.VERBOSE,
)
_PLAIN_INTEGER = re.compile(r"-?\d{1,15}")
_WORD_NUMBER = re.compile(
    rf"\b(?:{'|'.join([*_TENS, *_WORDS, 'hundred'])})"
    rf"(?:(?:-|\s+|\s+and\s+)(?:{'|'.join([*_TENS, *_WORDS, *_SCALES])}))*\b",
    re.IGNORECASE,
)
_FIRST_WORDS = (*_TENS, *(word for word in _WORDS if not word.endswith("teen")), "teen", "hundred")
_CLEAN = re.compile(
    r"\\!|\\,(?=\d{3})|\\[()\[\]]|\\left|\\right|\*\*|__|\$\$|\u200b|\u2061|\\displaystyle|\\(?:bf|rm)\b|(?<=\d)\{,\}(?=\d)"
)
_TEXT_GROUP = re.compile(r"\\(?:text|mbox|textbf|mathrm|mathbf|textrm|textnormal|operatorname)\s*\{([^{}]*)\}")
_THIN = re.compile("(?<=\\d)[\u2009\u202f\u00a0](?=\\d{3})|(?<=\\d,)[\u2009\u202f\u00a0](?=\\d{3})")
_STRAY = re.compile(r"\\(?=[\d$])")
_X_BEFORE_DIGIT = re.compile(r"x\s*\$?\d")
_TIMES = re.compile(r"(?<=\d)\s*x\s*(?=\$?\d)")
_FRAC = re.compile(r"\\[dtc]?frac\s*(?:\{\s*(-?[\d.,]+)\s*\}|(\d))\s*(?:\{\s*([\d.,]+)\s*\}|(\d))")


def plain(text: str) -> str:
    """Return `text` with LaTeX, markdown and typographic spellings of numbers made plain."""
    if not text.isascii():
        text = _THIN.sub("", text)
        text = text.replace("−", "-").replace("×", "*").replace("\u00a0", " ").replace("\u202f", " ").replace("–", "-")
        for sign, fraction in _VULGAR.items():
            text = text.replace(sign, " " + fraction)
    if "\\" in text or "**" in text or "{" in text or "__" in text:
        text = text.replace("{,}", ",")
        text = _CLEAN.sub("", text)
        text = text.replace("\\$", "$").replace("\\%", "%").replace("\\times", "*").replace("\\cdot", "*")
        text = (
            text.replace("\\approx", "=")
            .replace("\\div", "/")
            .replace("\\ ", " ")
            .replace("~", " ")
            .replace("\\;", " ")
        )
        text = _TEXT_GROUP.sub(r" \1", text)
        text = _STRAY.sub("", _FRAC.sub(_plain_fraction, text))
    if "x" in text and _X_BEFORE_DIGIT.search(text):
        text = _TIMES.sub(" * ", text)
    return text


def _plain_fraction(match: re.Match[str]) -> str:
    top, bottom = match[1] or match[2], match[3] or match[4]
    return f" {top}/{bottom} "


def numbers_in(text: str) -> list[tuple[int, int, Number]]:
    """Return (start, end, number) of every figure in plain `text`, left to right; number words are not searched."""
    found = []
    for match in _TOKEN.finditer(text):
        number = _from_match(match)
        if number is not None:
            found.append((match.start(), match.end(), number))
    return found


def word_numbers_in(text: str) -> list[tuple[int, int, Number]]:
    """Return (start, end, number) of every number that is spelled out in words."""
    found: list[tuple[int, int, Number]] = []
    lowered = text.lower()
    if not any(word in lowered for word in _FIRST_WORDS):
        return found
    for match in _WORD_NUMBER.finditer(text):
        value = _word_value(match[0])
        if value is not None:
            found.append((match.start(), match.end(), Number(Fraction(value))))
    return found


def parse_number(text: str) -> Number | None:
    """Read a text that is one number and nothing else (sign, currency, percent and separators allowed)."""
    text = text.strip()
    if _PLAIN_INTEGER.fullmatch(text):
        return Number(Fraction(int(text)))
    text = plain(text).strip().rstrip(".").strip("$ ").strip()
    match = _TOKEN.fullmatch(text) or _TOKEN.fullmatch("$" + text)
    if match is not None:
        return _from_match(match)
    clock = _CLOCK.fullmatch(text)
    if clock is not None:
        return Number(Fraction(int(clock[1] or clock[2])))
    if text.startswith("+"):
        return parse_number(text[1:])
    word = _WORD_NUMBER.fullmatch(text)
    value = _word_value(text) if word else None
    return None if value is None else Number(Fraction(value))


def _from_match(match: re.Match[str]) -> Number | None:
    whole, top, body = match["whole"], match["top"], match["plain"]
    decimals: int | None = None
    if whole is not None:
        top_mixed, bottom_mixed = match["mixed"].split("/")
        if int(bottom_mixed) == 0:
            return None
        value = int(whole) + Fraction(int(top_mixed), int(bottom_mixed))
    elif top is not None:
        bottom = Fraction(match["bottom"])
        if bottom == 0:
            return None
        value = Fraction(top.replace(",", "")) / bottom
    else:
        value, decimals = _figure(body.replace(",", ""))
        exponent = int(match["power"] or match["e"] or 0)
        if abs(exponent) > _MAX_EXPONENT:
            return None
        if exponent:
            value, decimals = value * Fraction(10) ** exponent, None
    if match["scale"]:
        value *= _SCALES[match["scale"]]
    negative = _is_negative(match) != (match["inner"] is not None)
    return Number(-value if negative else value, match["percent"] is not None, decimals)


@lru_cache(maxsize=8192)
def _figure(digits: str) -> tuple[Fraction, int]:
    """Return the value of plain digits and how many of them are decimals."""
    if "." not in digits:
        return Fraction(int(digits)), 0
    return Fraction(digits), len(digits) - digits.index(".") - 1


def _is_negative(match: re.Match[str]) -> bool:
    """Whether the sign is one: the dash of "61 - 9" stands between two numbers."""
    sign = match["sign"]
    if sign is None:
        return False
    before = match.string[: match.start()].rstrip()
    return before[-1:] in ("", "=", "(", "[", ":", ",", "$", "*", "/", "≈") or (
        sign == "-" and not before[-1].isdigit()
    )


def _word_value(words: str) -> int | None:
    total = part = 0
    previous = ""
    for word in re.split(r"[\s-]+", words.lower()):
        if word == "and":
            continue
        if word in _TENS:
            if previous in _TENS or previous in _WORDS:
                return None
            part += _TENS[word]
        elif word in _WORDS:
            if previous in _WORDS or (previous in _TENS and not 1 <= _WORDS[word] <= 9):
                return None
            part += _WORDS[word]
        elif word == "hundred":
            part = max(part, 1) * 100
        else:
            total, part = total + max(part, 1) * _SCALES[word], 0
        previous = word
    return total + part


def render(value: Fraction) -> str:
    """Write a value in its one spelling: `72`, `1.5`, `-1/3`."""
    if value.denominator == 1:
        return str(value.numerator)
    rest, twos, fives = value.denominator, 0, 0
    while rest % 2 == 0:
        rest, twos = rest // 2, twos + 1
    while rest % 5 == 0:
        rest, fives = rest // 5, fives + 1
    places = max(twos, fives)
    if rest != 1 or places > 12:
        return f"{value.numerator}/{value.denominator}"
    digits = str(abs(value.numerator) * 10**places // value.denominator).rjust(places + 1, "0")
    return f"{'-' if value < 0 else ''}{digits[:-places]}.{digits[-places:]}"


def same(a: Number, b: Number) -> bool:
    """Whether two numbers are the same answer.

    Exact, with two concessions. A percent sign may be missing on one side ("50%" is 50, and also 0.5), and where one
    side is visibly a rounded float (six or more decimals, such as 0.6666666666666666) the other may be the exact value
    or a rounding of it to at least two decimals.
    """
    if a.value == b.value:
        return True
    if a.percent != b.percent and (a.value / 100 if a.percent else a.value) == (
        b.value / 100 if b.percent else b.value
    ):
        return True
    return _rounds_to(a, b) or _rounds_to(b, a)


def _rounds_to(rounded: Number, other: Number) -> bool:
    """Whether `rounded` is a float's spelling and `other` that value, exactly or rounded to two decimals or more."""
    if rounded.decimals is None or rounded.decimals < 6 or rounded.value == 0:
        return False
    if (other.decimals or 0) >= _FLOAT_DECIMALS <= rounded.decimals:
        return abs(rounded.value - other.value) <= Fraction(1, 10 ** (_FLOAT_DECIMALS - 1))
    places = rounded.decimals if other.decimals is None else min(rounded.decimals, other.decimals)
    if other.decimals is not None and other.decimals < 2:
        return False
    step = Fraction(1, 10**places)
    if places == rounded.decimals:
        return abs(rounded.value - other.value) <= step
    return abs(rounded.value - other.value) * 2 <= step
