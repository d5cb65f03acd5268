"""Numbers as final answers: at the start of a marked span, or in a sentence that states a result. Pure.

A concluding sentence is read only where it *states* a result. "Finally, we divide 780 by 10 to find how many each got"
describes a step and gives none, however many numbers it holds.
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise

from potstill.rationales.numbers import Number, numbers_in, parse_number, plain, same, word_numbers_in
from potstill.rationales.prose import NEGATION, Wanted, first_sentence, last_sentence, sentences

Located = tuple[int, int, Number]
AMBIGUOUS = ""
_TAIL = 500
"""Characters at the end of a text in which its conclusion is looked for."""

_EQUALS = re.compile(
    r"=|≈|\b(?:which\s+(?:is|equals|gives|means)|(?:is\s+)?equal\s+to|equals|gives|for\s+a\s+total\s+of|totall?ing)\b"
)
_LEAD = re.compile(
    r"^[\s*_`:\"'“$\\\[{]*(?:(?:that|about|approximately|around|roughly|a\s+total\s+of|exactly|simply|therefore|just|only"
    r"|found\s+to\s+be)\s+)*",
    re.IGNORECASE,
)
_JOINED = re.compile(r"\s*(?:,|;|(?:[A-Za-z]+\s+){0,2}(?:,\s*)?(?:and|or|to)|-|/)\s*")
_ALTERNATIVE = re.compile(r"\s*(?:[A-Za-z]+\s*)?,?\s*(?:or|=|≈)\s*(?:about\s+)?")
_SUM = re.compile(
    r"[\s$]*\(*\s*\$?[\d.,]*\d\)*(?:\s*(?:[+*/x]|(?<=\s)-(?=\s))\s*\(*\s*\$?[\d.,]*\d\)*)+(?!\s*[-+*/=(]|\.?\w)"
)
_BRACKETED = re.compile(r"[\s$*]*\([\d\s.,+*/()-]+\)(?!\s*[-+*/=(\w])")
_COMPUTED = re.compile(r"=\s*-?\$?\s*(-?\d[\d,]*(?:\.\d+)?)")
_FIGURE = (
    r"\s*(?:us\s+|him\s+|her\s+|them\s+|you\s+|(?:an?|the)\s+(?:\w+\s+){0,4}of\s+|about\s+|approximately\s+|around\s+"
    r"|only\s+|now\s+|exactly\s+|just\s+|that\s+)*[-$€£(*]{0,3}(?=\d)"
)
_STRONG = re.compile(
    rf"""(?:=|≈|\b(?:to\s+get|gives?|(?<=,\s)giving|giving\s+(?=us|a)|yield(?:s|ing)?|results?\s+in|resulting\s+in|which\s+(?:is|equals|means|totals)
      |leav(?:es|ing)(?:\s+\w+)?(?:\s+with)?|left\s+with|(?:a|in)\s+total\s+of|totals|totall?ing|amounts?\s+to
      |sums?\s+(?:up\s+)?to|adds?\s+up\s+to|(?:ends?|ending|ended)\s+up\s+with|(?:comes?|came)\s+(?:out\s+)?to
      |equals?(?:\s+to)?|rounds?\s+(?:up\s+|down\s+)?to|simplifies\s+to|reduces\s+to))(?!\s*=){_FIGURE}""",
    re.VERBOSE | re.IGNORECASE,
)
_WEAK_VERBS = (
    r"gets?|got|is|are|was|were|be|mak(?:es?|ing)|made|has|have|had|earn(?:s|ed)?|costs?|spent|spends?|needs?|pays?|paid"
    r"|takes?|took|saves?|saved|sold|sells?|buys?|bought|received?|receives|reach(?:es)?|worth|eats?|ate|owes?|left"
)
_WEAK = re.compile(rf"\b(?:{_WEAK_VERBS}){_FIGURE}", re.IGNORECASE)
_WEAK_BEFORE = re.compile(rf"\b(?:{_WEAK_VERBS}|gives?|leaves|leaving|of|only|exactly)\s+$", re.IGNORECASE)
_STEP = r"add|subtract|multiply|divide|calculate|compute|sum|find|combine|determine|solve|perform"
_PROCEDURE = re.compile(
    rf"""\b(?:we|you|I|one|they|he|she|let's|let\s+us|to|then|simply|and)\s+
      (?:(?:would|then|now|needs?\s+to|can|could|should|must|will|also|first|simply|have\s+to|just|next|finally)\s+)*
      (?:{_STEP})(?:ed|d)?\b(?!\s+that\b)
    |\bwe\s+(?:\w+\s+)?(?:take|set|check|convert|use|know|start|began)\b
    |\b(?:adding|multiplying|dividing|subtracting|summing|finding|calculating|solving|performing|multiplied\s+by|divided\s+by)\b
    |\b(?:gives?|tells?|shows?|give)\s+(?:us\s+)?(?:the|how)\b(?!\s+\w+\s+of\s+\$?\d)|\bcalculations?\b""",
    re.VERBOSE | re.IGNORECASE,
)
_REASON_FIRST = re.compile(
    r"^(?:(?:But|And|So|Now|Then)\s+)?(?:since|because|as|given|if|when|after)\b[^,]*,\s*(?!\d)", re.IGNORECASE
)
_REASON_AFTER = re.compile(r",?\s+(?:since|because|where|given\s+that|considering)\s[^,]*", re.IGNORECASE)
_ASIDE = re.compile(r"\s*\([^()]*\)")
_OPEN_CALCULATION = re.compile(
    r"(?:\s*\(?[A-Za-z/]+\)?){0,4}\s*(?:[-+*/]|plus\b|minus\b|times\b|multiplied\b|divided\b)\s*(?:the\s+)?[($]*\d|[^.]*=|\s*[-+*/(]\s*$|\s*more\s+than\b"
)
_SECOND_THOUGHT = re.compile(r"(?:\b(?:but|so|thus|i\.e\.|and\s+then|which|meaning)\b.*\d|\banother\b)", re.IGNORECASE)
_POINTS_BACK = re.compile(
    r"^(?:So,?\s+|Thus,?\s+)?(?:This|That|These|It)\s+(?:is|are|was|\w+\s+is)\b(?!.*\b(?:not|\w+n't)\b)", re.IGNORECASE
)
_CONCLUDING = re.compile(
    r"^\W*(?:so|therefore|thus|hence|this means|that means|in total|in all|altogether)\b"
    r"|\b(?:left|remain\w*|in total|altogether)\W*$",
    re.IGNORECASE,
)
_TERMINAL = re.compile(r"[.!?)\]}$\"'*`”%]\s*$")
_EQUATION_END = re.compile(r"=[^=]*\d[\d,.]*(?:\s*[A-Za-z°/]+){0,3}\s*$")
_LESS_WORD = re.compile(
    r"\b(?:less|fewer|lower|smaller|shorter|younger|cheaper|decrease\w*|los[est]\w*|below|under)\b", re.IGNORECASE
)
_LESS = re.compile(r"\d(?:\s+[A-Za-z]+){0,2}\s+(?:less|fewer|lower|smaller|shorter|younger|cheaper)\b")
_QUOTES_GOLD = re.compile(r"\b(?:given|provided|expected|reference|listed)\s+(?:answer|solution)\b", re.IGNORECASE)
_COMPARED = re.compile(
    r"\b(?:than|times|twice|half|as\s+\w+\s+as|minus|plus|between|at\s+least|at\s+most)\b|\s[-+*/]\s|\b[a-z]\s*[-+*/]",
    re.IGNORECASE,
)
_ORDINAL = re.compile(r"\b(\d+)(?:st|nd|rd|th)\b")
_UNKNOWN = re.compile(
    r"\d\s*[xyznabckpqrtuvw]\b(?!\s*[a-z])|\b[xyznabckpqrtuvw]\s*[-+*/]\s*\d|\d\s*[-+*/]\s*[xyznabckpqrtuvw]\b"
)


def pick_number(span: str, wanted: Wanted, body: str) -> str | None:
    """Return the number, list of numbers or calculation that a marked span holds."""
    text = plain(span).strip(" *_`:\"'\t")
    if parse_number(text) is not None:
        return text.rstrip(". ")
    text = first_sentence(text).rstrip(". ")
    parts = _EQUALS.split(text)
    if len(parts) > 1:
        text = next((part for part in reversed(parts) if re.search(r"\d", part)), text)
    calculation = _calculation(text)
    if calculation is not None:
        return calculation
    return _at_start(text) or _only_figure(text) or stated(text, wanted, body) or _ordinal(text) or _one_word(text)


def conclude_number(body: str, wanted: Wanted) -> tuple[str | None, str]:
    """Return (number, "") from the concluding sentence, or (None, reason)."""
    parts = sentences(plain(body[-_TAIL:]))
    while len(parts) > 1 and not re.search(r"\d", parts[-1]) and _points_back(parts[-1]):
        parts.pop()
    text = parts[-1] if parts else ""
    if not re.search(r"\d", text):
        word = None if _PROCEDURE.search(text) or text[-1:].isalnum() else _one_word(text, bare=False)
        return word, "" if word else "no_marker"
    if not _TERMINAL.search(text) and not _EQUATION_END.search(text):
        return None, "ambiguous"
    if _QUOTES_GOLD.search(text) or _reverses(text, wanted.question):
        return None, "ambiguous"
    answer = stated(text.rstrip(". :"), wanted, body)
    if answer is None and not numbers_in(text):
        answer = None if _PROCEDURE.search(text) else _ordinal(text)
    return answer, "" if answer is not None else "ambiguous"


def _reverses(text: str, question: str) -> bool:
    """Whether a conclusion says "15 less" where the question did not ask for less: its sign is not the gold's."""
    return _LESS.search(text) is not None and _LESS_WORD.search(last_sentence(question)) is None


def _points_back(sentence: str) -> bool:
    return _POINTS_BACK.search(sentence) is not None and not _PROCEDURE.search(sentence)


def stated(text: str, wanted: Wanted, body: str) -> str | None:
    """Return the number that a sentence states as its result; `None` where it states none, or where signs disagree.

    Signs are, in this order: a phrase of result directly before the number ("= 36", "which gives 36"); equality with
    the last value computed in the body ("= 36 ... so 36 are left"); a verb before the only number that is not the
    question's; being that number.
    """
    text = _ASIDE.sub("", _REASON_AFTER.sub("", _REASON_FIRST.sub("", text, count=1), count=1))
    found = numbers_in(text)
    if not found:
        return None
    last_step = max((match.end() for match in _PROCEDURE.finditer(text)), default=0)
    strong = _following(_STRONG, text, found)
    if strong and strong[-1][0] > last_step:
        return _alone(text, found, strong[-1]) if _single_statement(text, strong) else None
    if last_step:
        return None
    given = _given(wanted.question)
    verbs = [item for item in _following(_WEAK, text, found) if item[2].value not in given]
    computed = _last_computed(body, found)
    if computed is not None:
        others = verbs or [item for item in found if item[2].value not in given]
        agreed = all(item[2].value == computed[2].value for item in others) and not word_numbers_in(text)
        return _alone(text, found, computed) if agreed and not NEGATION.search(text, 0, computed[0]) else None
    new = [item for item in found if item[2].value not in given]
    chosen = verbs or new
    if not chosen and _CONCLUDING.search(text):
        chosen = found if len({number.value for *_, number in found}) == 1 and _WEAK.search(text) else []
    if given and len({number.value for *_, number in chosen}) == 1 and not NEGATION.search(text, 0, chosen[0][0]):
        return _alone(text, found, chosen[0])
    return None


@lru_cache(maxsize=4096)
def _given(question: str) -> frozenset[Fraction]:
    return frozenset(number.value for *_, number in numbers_in(plain(question)))


def _following(pattern: re.Pattern[str], text: str, found: list[Located]) -> list[Located]:
    """Return the numbers that directly follow a match; after the equals sign of an equation with an unknown, none."""
    chosen = []
    for match in pattern.finditer(text):
        if match[0][0] == "=" and _UNKNOWN.search(re.split(r"[,.;:=]\s", text[: match.start()])[-1]):
            continue
        chosen += [item for item in found if match.end() - 4 <= item[0] <= match.end()][-1:]
    return chosen


def _single_statement(text: str, strong: list[Located]) -> bool:
    """Whether all but the last of several results only lead up to it: not "10 red, 3 + 4 = 7 blue and 6 green"."""
    for before, after in pairwise(strong):
        between = text[before[1] : after[0]]
        if re.search(r",\s|\band\b|;", between) and not re.search(
            r"\b(?:so|then|thus|therefore|total|leav\w+|which|to\s+get|giv\w+|is|and\s+(?:get|then))\b", between
        ):
            return False
    return True


def _alone(text: str, found: list[Located], chosen: Located) -> str | None:
    """Return the chosen number unless the sentence goes on computing, or joins it to others that are not the same."""
    rest = text[chosen[1] :]
    if _OPEN_CALCULATION.match(rest) or _SECOND_THOUGHT.search(rest):
        return None
    index = end = found.index(chosen)
    while end + 1 < len(found) and _is_alternative(text, found[end], found[end + 1]):
        end += 1
    for left, right in ((index - 1, index), (end, end + 1)):
        if left >= 0 and right < len(found) and _JOINED.fullmatch(text, found[left][1], found[right][0]):
            return None
    return text[chosen[0] : found[end][1]].strip()


def _is_alternative(text: str, left: Located, right: Located) -> bool:
    return _ALTERNATIVE.fullmatch(text, left[1], right[0]) is not None and same(left[2], right[2])


def _last_computed(body: str, found: list[Located]) -> Located | None:
    computed = _COMPUTED.findall(plain(body[-_TAIL:]))
    values = [Fraction(value.replace(",", "")) for value in computed[-1:]]
    return next((item for item in found if item[2].value in values), None)


def _calculation(text: str) -> str | None:
    start = _LEAD.match(text)
    assert start is not None, "the lead may be empty"
    written = _BRACKETED.match(text) or _SUM.match(text, start.end())
    if written is None or parse_number(written[0]) is not None:
        return None
    # "65899 + 119, or 65918" and "(8 / 4) and (6 / 4)" state more than one value.
    return AMBIGUOUS if re.search(r"\d", text[written.end() :]) else written[0].strip()


def _at_start(text: str) -> str | None:
    """Return the number, or the list of numbers, that the text begins with."""
    start = _LEAD.match(text)
    assert start is not None, "the lead may be empty"
    found = numbers_in(text)
    if not found or found[0][0] > start.end() + 1:
        return None
    end = found[0][1]
    for (_, previous_end, _), (begin, this_end, _) in pairwise(found):
        if not _JOINED.fullmatch(text, previous_end, begin):
            break
        end = this_end
    return text[found[0][0] : end].strip()


def _only_figure(text: str) -> str | None:
    """Return the one figure of a sentence that a marker points to: "Final answer: she earned $540 in two days"."""
    found = numbers_in(text)
    if len({number.value for *_, number in found}) != 1 or NEGATION.search(text) or _COMPARED.search(text):
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
