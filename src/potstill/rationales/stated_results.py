"""The number that a sentence states as its result. Pure.

A sentence is read only where it *states* one: "= 36", "which gives 36", "so 36 are left" after 36 was computed. A step
that is still to be done, a number that is only aimed at, an unfinished calculation or two results are none.
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise

from potstill.rationales.numbers import Number, numbers_in, plain, same, word_numbers_in
from potstill.rationales.prose import Wanted, asked, negates

Located = tuple[int, int, Number]

JOINED = re.compile(r"\s*(?:,|;|(?:[A-Za-z]+\s+){0,2}(?:,\s*)?(?:and|or|to)|-|/)\s*")
_ALTERNATIVE = re.compile(r"\s*(?:[A-Za-z]+\s*)?,?\s*(?:or|=|≈)\s*(?:about\s+)?")
_COMPUTED = re.compile(r"=\s*-?\$?\s*(-?\d[\d,]*(?:\.\d+)?)")
# Patterns for lower-case text: those that ignore case take three times as long.
_FIGURE = (
    r"\s*(?:us\s+|him\s+|her\s+|them\s+|you\s+|(?:an?|the)\s+(?:\w+\s+){0,4}of\s+|about\s+|approximately\s+|around\s+"
    r"|only\s+|now\s+|exactly\s+|just\s+|that\s+)*[-$€£(*]{0,3}(?=\d)"
)
_STRONG = re.compile(
    rf"""(?:=|≈|\b(?:to\s+get|gives?|(?<=,\s)giving|giving\s+(?=us|a)|yield(?:s|ing)?|results?\s+in|resulting\s+in|which\s+(?:is|equals|means|totals)
      |leav(?:es|ing)(?:\s+\w+)?(?:\s+with)?|left\s+with|(?:a|in)\s+total\s+of|a\s+(?:difference|savings?)\s+of|totals|totall?ing|amounts?\s+to
      |sums?\s+(?:up\s+)?to|adds?\s+up\s+to|(?:ends?|ending|ended)\s+up\s+with|(?:comes?|came)\s+(?:out\s+)?to
      |(?<!that\sis\s)equals?(?:\s+to)?|rounds?\s+(?:up\s+|down\s+)?to|simplifies\s+to|reduces\s+to))(?!\s*=){_FIGURE}""",
    re.VERBOSE,
)
WEAK_VERBS = (
    r"gets?|got|is|are|was|were|be|mak(?:es?|ing)|made|has|have|had|earn(?:s|ed)?|costs?|spent|spends?|needs?|pays?|paid"
    r"|takes?|took|saves?|saved|sold|sells?|buys?|bought|received?|receives|reach(?:es)?|worth|eats?|ate|owes?|left"
)
_WEAK = re.compile(rf"\b(?:{WEAK_VERBS}){_FIGURE}")
_STEP = r"add|subtract|multiply|divide|calculate|compute|sum|find|combine|determine|solve|perform"
_PROCEDURE = re.compile(
    rf"""\b(?:we|you|i|one|they|he|she|let's|let\s+us|to|then|simply|and)\s+
      (?:(?:would|then|now|needs?\s+to|can|could|should|must|will|also|first|simply|have\s+to|just|next|finally)\s+)*
      (?:{_STEP})(?:ed|d)?\b(?!\s+that\b)
    |\bwe\s+(?:\w+\s+)?(?:take|set|check|convert|use|know|start|began)\b
    |\b(?:adding|multiplying|dividing|subtracting|summing|finding|calculating|solving|performing|multiplied\s+by|divided\s+by)\b
    |\b(?:gives?|tells?|shows?|give)\s+(?:us\s+)?(?:the|how)\b(?!\s+\w+\s+of\s+\$?\d)|\bcalculations?\b""",
    re.VERBOSE,
)
_STEPS = (
    *("we", "add", "subtract", "multipl", "divid", "calculat", "comput", "sum", "find", "combin", "determin"),
    *("solv", "perform", "give", "tell", "show"),
)
"""One of these is in whatever the pattern matches."""
_REASON_FIRST = re.compile(
    r"^(?:(?:but|and|so|now|then)\s+)?(?:since|because|as|given|if|when|after)\b[^,]*,\s*(?!\d)", re.IGNORECASE
)
_REASON_AFTER = re.compile(r",?\s+(?:since|because|where|given\s+that|considering)\s[^,]*", re.IGNORECASE)
_ASIDE = re.compile(r"\s*\([^()]*\)")
_LISTING = re.compile(r",\s|\band\b|;")
_LEADS_ON = re.compile(r"\b(?:so|then|thus|therefore|total|leav\w+|which|to\s+get|giv\w+|is|and\s+(?:get|then))\b")
_OPEN_CALCULATION = re.compile(
    r"(?:\s*\(?[A-Za-z/]+\)?){0,4}\s*(?:[-+*/]|plus\b|minus\b|times\b|multiplied\b|divided\b)\s*(?:the\s+)?[($]*\d|[^.]*=|\s*[-+*/(]\s*$"
    r"|.*,\s*(?:plus|minus)\b.*\d"
)
_OPERATION = re.compile(r"[-+*/=(]|plus|minus|times|multiplied|divided")
_OPERATOR = 12
"""Characters before a number in which the operator that leads to it is looked for."""
_IN_CALCULATION = re.compile(r"(?:[\d)%]\s*[-+*/]|[A-Za-z]\s*[+*/])\s*[($]*$")
"""What stands before a number that still has to be added or multiplied: `1.5 * 100 * 2`."""
_MORE_THAN = re.compile(r"\s*more\s+than\b")
_MORE_WORD = re.compile(r"\b(?:more|farther|further|longer|greater|higher|difference|taller|older)\b")
_PART_OF = re.compile(r"\s*of\s+(?:the\s+)?\$?\d")
_SECOND_THOUGHT = re.compile(
    r"(?:\b(?:but|so|thus|i\.e|and\s+then|which|meaning|percentage)\b.*\d|\banother\b|\bor\b.*\d.*\b(?:each|per|apiece)\b)",
)
_PURPOSE = re.compile(
    r"\d.*\sto\s+(?:(?P<verb>(?:earn|save|afford|collect|raise)\s+)|(?:have\s+)?[a-z]+\s+)"
    r"(?:(?:a|the)\s+)?(?:total\s+of\s+|to\s+)?$",
)
"""What stands before a number that is only aimed at: "7 more weeks to save 60", "5 hours to earn 25"."""
_CONCLUDING = re.compile(
    r"^\W*(?:so|therefore|thus|hence|this means|that means|in total|in all|altogether)\b"
    r"|\b(?:left|remain\w*|in total|altogether)\W*$",
)
_LESS_WORD = re.compile(r"\b(?:less|fewer|lower|smaller|shorter|younger|cheaper|decrease\w*|los[est]\w*|below|under)\b")
_LESS_AFTER = re.compile(r"(?:\s+[A-Za-z]+){0,2}\s+(?:less|fewer|lower|smaller|shorter|younger|cheaper)\b")
_ONE_OF = re.compile(r"one\s+of\b")
_CLAUSE_END = re.compile(r"[,.;:=]\s")
_UNKNOWN = re.compile(
    r"\d\s*[xyznabckpqrtuvw]\b(?!\s*[a-z])|\b[xyznabckpqrtuvw]\s*[-+*/]\s*\d|\d\s*[-+*/]\s*[xyznabckpqrtuvw]\b"
)


def stated(text: str, wanted: Wanted, ending: str, *, signed: bool = False) -> str | None:
    """Return the number that a sentence states as its result; `None` where it states none, or where signs disagree.

    Signs are, in this order: a phrase of result directly before the number ("= 36", "which gives 36"); equality with
    the last value computed before ("= 36 ... so 36 are left"); a verb before the only number that is not the
    question's; being that number.

    Args:
        ending: The end of the text, made plain, in which the last computed value is looked for.
        signed: Refuse "15 less" where the question did not ask for less: its sign is not the gold's.
    """
    text = _ASIDE.sub("", _REASON_AFTER.sub("", _REASON_FIRST.sub("", text, count=1), count=1))
    found = numbers_in(text)
    chosen = _chosen(text, found, wanted, ending) if found else None
    if chosen is None or (signed and _reverses(text, found, chosen, wanted.question)):
        return None
    return _alone(text, found, chosen, wanted.question)


def last_step(text: str) -> int:
    """Return the position behind the last step that a sentence describes, 0 where it describes none."""
    lowered = text.lower()
    if not any(stem in lowered for stem in _STEPS):
        return 0
    return max((match.end() for match in _PROCEDURE.finditer(lowered)), default=0)


def _chosen(text: str, found: list[Located], wanted: Wanted, ending: str) -> Located | None:
    """Return the number that the signs point to, or nothing."""
    step = last_step(text)
    results = [item for item in found if not _aimed_at(text, item, wanted.question, found)]
    strong = _following(_STRONG, text, results)
    if strong and strong[-1][0] > step:
        return strong[-1] if _single_statement(text, strong) else None
    if step:
        return None
    spoken = _following(_WEAK, text, results)
    given = _given(wanted.question)
    verbs = [item for item in spoken if item[2].value not in given]
    new = [item for item in results if item[2].value not in given]
    computed = _last_computed(ending, results)
    if computed is not None:
        later = [item for item in spoken if computed not in spoken and item[0] > computed[0]]
        agreed = all(item[2].value == computed[2].value for item in (*(verbs or new), *later))
        sure = agreed and not _new_word(text, wanted.question) and not _denied(text, computed, wanted)
        return computed if sure else None
    chosen = verbs or new
    if not chosen and _CONCLUDING.search(text.lower()):
        chosen = found if len({number.value for *_, number in found}) == 1 and _WEAK.search(text.lower()) else []
    if given and len({number.value for *_, number in chosen}) == 1 and not _denied(text, chosen[0], wanted):
        return chosen[0]
    return None


def _aimed_at(text: str, item: Located, question: str, found: list[Located]) -> bool:
    """Whether a number is only the purpose of another: "7 more weeks to save a total of 60", "5 hours to earn 25"."""
    purpose = _PURPOSE.search(text.lower(), 0, item[0]) if " to " in text else None
    if purpose is None:
        return False
    given = _given(question) | _given_words(question)
    return purpose["verb"] is not None or (
        item[2].value in given and any(other[0] < item[0] and other[2].value not in given for other in found)
    )


def _denied(text: str, chosen: Located, wanted: Wanted) -> bool:
    """Whether a negation that the question does not hold stands before the number."""
    return negates(text, chosen[0]) and not negates(asked(wanted.question))


def _new_word(text: str, question: str) -> bool:
    """Whether a sentence holds a number in words that is not the question's."""
    words = [item for item in word_numbers_in(text) if not _ONE_OF.match(text.lower(), item[0])]
    given = _given(question) | _given_words(question)
    return any(item[2].value not in given for item in words)


def _reverses(text: str, found: list[Located], chosen: Located, question: str) -> bool:
    """Whether the result is, or is followed by, "15 less" where the question did not ask for less."""
    less = [item for item in found if _LESS_AFTER.match(text, item[1])]
    if not any(item[0] >= chosen[0] or item[2].value == chosen[2].value for item in less):
        return False
    return _LESS_WORD.search(asked(question)) is None


@lru_cache(maxsize=4096)
def _given(question: str) -> frozenset[Fraction]:
    return frozenset(number.value for *_, number in numbers_in(plain(question)))


@lru_cache(maxsize=4096)
def _given_words(question: str) -> frozenset[Fraction]:
    return frozenset(number.value for *_, number in word_numbers_in(question))


def _following(pattern: re.Pattern[str], text: str, found: list[Located]) -> list[Located]:
    """Return the numbers that directly follow a match; after the equals sign of an equation with an unknown, none."""
    chosen = []
    for match in pattern.finditer(text.lower()):
        if match[0][0] == "=" and _UNKNOWN.search(_CLAUSE_END.split(text[: match.start()])[-1]):
            continue
        chosen += [item for item in found if match.end() - 4 <= item[0] <= match.end()][-1:]
    return chosen


def _single_statement(text: str, strong: list[Located]) -> bool:
    """Whether all but the last of several results only lead up to it: not "10 red, 3 + 4 = 7 blue and 6 green"."""
    for before, after in pairwise(strong):
        between = text[before[1] : after[0]]
        if _LISTING.search(between) and not _LEADS_ON.search(between):
            return False
    return True


def _alone(text: str, found: list[Located], chosen: Located, question: str) -> str | None:
    """Return the chosen number unless the sentence goes on computing, or joins it to others that are not the same."""
    rest, before = text[chosen[1] :], text[max(0, chosen[0] - _OPERATOR) : chosen[0]]
    if (_OPERATION.search(rest) and _OPEN_CALCULATION.match(rest)) or _IN_CALCULATION.search(before):
        return None
    if _SECOND_THOUGHT.search(rest.lower()):
        return None
    if _MORE_THAN.match(rest) and not _MORE_WORD.search(asked(question)):
        return None
    if (chosen[2].percent or chosen[2].decimals is None) and _PART_OF.match(rest):
        return None
    index = end = found.index(chosen)
    while end + 1 < len(found) and _is_alternative(text, found[end], found[end + 1]):
        end += 1
    for left, right in ((index - 1, index), (end, end + 1)):
        if left >= 0 and right < len(found) and JOINED.fullmatch(text, found[left][1], found[right][0]):
            return None
    return text[chosen[0] : found[end][1]].strip()


def _is_alternative(text: str, left: Located, right: Located) -> bool:
    return _ALTERNATIVE.fullmatch(text, left[1], right[0]) is not None and same(left[2], right[2])


def _last_computed(ending: str, found: list[Located]) -> Located | None:
    computed = _COMPUTED.findall(ending)
    values = [Fraction(value.replace(",", "")) for value in computed[-1:]]
    return next((item for item in found if item[2].value in values), None)
