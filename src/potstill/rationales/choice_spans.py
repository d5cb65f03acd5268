"""Choices as final answers: a letter, an option's own label, or the text or number of exactly one option. Pure.

`""` stands for a span that names several options, or a letter beside another option's text: contradictory, not absent.
"""

from __future__ import annotations

import re
from functools import lru_cache

from potstill.rationales.numbers import numbers_in, plain
from potstill.rationales.prose import Wanted, first_sentence, fold, last_sentence, mentions, negates, sentences

AMBIGUOUS = ""

_OPTION_LABEL = re.compile(
    r"^\s*(?:\(?[A-Za-z]\s?[).:]|\(?[A-Za-z]\)|(?:Answer|Option|Solution|Choice|Ending)\s?\d+\s*:)\s*"
)
_OWN_LABEL = re.compile(r"\s*([A-Za-z]+\s?\d+)\s*:")
_START_LETTER = re.compile(
    r"""^[\s*_`:"'“$\\\[{<]*(?:that\s+)?
    (?:(?:the|most\s+likely|likely|probably|clearly|definitely|simply)\s+)*(?:(?:option|choice|letter|answer)\s*)?(?:\\text\{)?[\s*_]*
    (?:\(\s*(?P<inner>[A-Za-z])\s*\)|(?P<bare>[A-Z])(?=[\s).:,*}\\"'$>]|$)|(?P<low>[a-z])(?=[).:]))""",
    re.VERBOSE | re.IGNORECASE,
)
_LETTER_IN = re.compile(
    r"\(\s*([A-Za-z])\s*\)|\b(?:[Oo]ption|[Cc]hoice|[Aa]nswer)\s+([A-Z])\b|(?:^|\s)([B-HJ-Z]|(?<=\bis\s)[AI]|(?<=\bbe\s)[AI])(?=[.,)>]?$)"
)
_REASON = re.compile(r"\b(?:because|since|as|not|which|rather|while|but)\b|\.\s")
_LISTED = re.compile(r"(?:,|\band\b|\bor\b|/|&)\s*\(([A-Za-z])\)|\s*(?:,|and|or|/|&)\s*([A-Z])\b(?![a-z'])")
_CONCLUDES = re.compile(
    r"^(?:[\W_]*)(?:so|therefore|thus|hence|in conclusion|at the end|this leaves|that leaves)\b"
    r"|\b(?:answer|most likely)\b",
    re.IGNORECASE,
)
_TERMINAL = re.compile(r"[.!?\"'*`”]\s*$")
_CONDITIONAL = re.compile(r"^\W*(?:but\s+|however,?\s+)?if\b", re.IGNORECASE)
_EITHER = re.compile(r"\b[A-Z]\s*,?\s*(?:or|and)\s+[A-Z]\b")


def option_text(option: str) -> str:
    """Return an option without its own label: "A)oil", "(b) oil", "Answer1: oil" -> "oil"."""
    return _OPTION_LABEL.sub("", option, count=1).strip()


def own_label(option: str) -> str:
    """Return the folded label of an option such as "Answer1: oil", or nothing."""
    label = _OWN_LABEL.match(option)
    return fold(label[1]) if label else ""


def letters(options: tuple[str, ...]) -> str:
    """Return the letters that name `options`; without options any letter may be one."""
    return "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[: len(options) or 26]


def pick_choice(span: str, wanted: Wanted, body: str) -> str | None:
    """Return the option that a marked span names, as its letter; `AMBIGUOUS` when it names several."""
    del body
    options = wanted.options
    text = re.sub(r"\\text(?:bf)?\{([^{}]*)\}", r"\1", span).strip()
    if len(text) == 1 and text.isalpha() and text.upper() in letters(options):
        return f"({text.lower()})"
    exact = _exact_option(text, options)
    if exact is not None:
        return exact
    sentence = first_sentence(text) or text
    start = _START_LETTER.match(text)
    if start is not None and not (start["bare"] or "A").islower():
        letter = (start["inner"] or start["bare"] or start["low"]).upper()
        if letter in letters(options) and _is_letter(text, start, options):
            rest = text[start.end() :].split("\n")[0]
            return AMBIGUOUS if _contradicts(rest, letter, options) or _lists(rest, letter) else f"({letter.lower()})"
    letter = _mentioned_letter(sentence, options)
    return letter if letter is not None else _mentioned_option(sentence, options)


def conclude_choice(body: str, wanted: Wanted) -> tuple[str | None, str]:
    """Return (letter, "") where the last sentence concludes in favour of exactly one option, or (None, reason)."""
    parts = sentences(body[-1500:])
    if len(body) < 200 and len(parts) == 1:
        short = pick_choice(body, wanted, body)
        if short:
            return short, ""
    last = last_sentence(body)
    if not _CONCLUDES.search(last) or not _TERMINAL.search(last) or _CONDITIONAL.match(last):
        return None, "no_marker"
    answer = _mentioned_letter(last, wanted.options)
    if answer is None:
        answer = _mentioned_option(last, wanted.options, at_end=True)
    return answer or None, "" if answer else "no_marker"


def _is_letter(text: str, start: re.Match[str], options: tuple[str, ...]) -> bool:
    """Whether a bare capital is a letter and not the article or pronoun that a sentence begins with."""
    if (start["bare"] or "").upper() not in ("A", "I"):
        return True
    rest = text[start.end() :].lstrip("*_`\"'")
    if not rest.strip() or not rest[0].isspace():
        return True
    own = ord(start["bare"].upper()) - ord("A")
    if own < len(options) and fold(rest.lstrip(" .):-")).startswith(fold(option_text(options[own]))):
        return True
    return re.match(r"(?:because|since|as|and|is)\b|\(", rest.strip()) is not None


def _contradicts(rest: str, letter: str, options: tuple[str, ...]) -> bool:
    """Whether the text beside the letter is exactly another option's."""
    index = ord(letter) - ord("A")
    if not options or not rest.strip():
        return False
    texts = folded_texts(options)
    own, written = texts[index], fold((first_sentence(rest) or rest).strip(" ).,:-*_"))
    return bool(written) and written in texts and own != written


def _lists(rest: str, letter: str) -> bool:
    """Whether other letters are listed beside the first, before any reason is given."""
    stop = _REASON.search(rest)
    before = rest[: stop.start()] if stop else rest
    listed = {(a or b).upper() for a, b in _LISTED.findall(before)}
    return bool(listed - {letter})


@lru_cache(maxsize=16384)
def folded_texts(options: tuple[str, ...]) -> tuple[str, ...]:
    """Return the folded text of each option, without its own label."""
    return tuple(fold(option_text(option)) for option in options)


@lru_cache(maxsize=16384)
def own_labels(options: tuple[str, ...]) -> tuple[str, ...]:
    """Return the own label of each option, or nothing."""
    return tuple(map(own_label, options))


@lru_cache(maxsize=16384)
def folded_options(options: tuple[str, ...]) -> tuple[str, ...]:
    """Return each option folded as it is written."""
    return tuple(map(fold, options))


def _exact_option(text: str, options: tuple[str, ...]) -> str | None:
    written = fold(text.strip(" \n\t$*"))
    hits = [
        i
        for i, spellings in enumerate(zip(folded_texts(options), folded_options(options), strict=True))
        if written in spellings
    ]
    if not hits and options and own_labels(options)[0]:
        said = fold(first_sentence(text))
        hits = [i for i, label in enumerate(own_labels(options)) if mentions(said, label)]
    return f"({letters(options)[hits[0]].lower()})" if len(hits) == 1 else None


def _mentioned_letter(sentence: str, options: tuple[str, ...]) -> str | None:
    found = {(a or b or c).upper() for a, b, c in _LETTER_IN.findall(sentence.rstrip(" .*_`\"'"))}
    found &= set(letters(options))
    if len(found) > 1 or _EITHER.search(sentence):
        return AMBIGUOUS
    return f"({found.pop().lower()})" if found and not negates(sentence) else None


def _mentioned_option(sentence: str, options: tuple[str, ...], *, at_end: bool = False) -> str | None:
    """Return the one option whose text, or whose number, occurs in the sentence, where `at_end` as its last words."""
    if not options or negates(sentence):
        return None
    folded, texts = fold(sentence), folded_texts(options)
    hits = [i for i, text in enumerate(texts) if text and mentions(folded, text)]
    hits = [i for i in hits if not any(texts[i] != texts[j] and texts[i] in texts[j] for j in hits)]
    if at_end and not all(folded.endswith(texts[i]) for i in hits):
        return None
    if not hits:
        hits = _same_number(sentence, options)
    return f"({letters(options)[hits[0]].lower()})" if len(hits) == 1 else None


def _same_number(sentence: str, options: tuple[str, ...]) -> list[int]:
    text = plain(sentence).rstrip(". ")
    if "=" in text:
        text = text.rsplit("=", 1)[1]
    written = {number.value for *_, number in numbers_in(text)}
    if len(written) != 1:
        return []
    found = [numbers_in(plain(option_text(option))) for option in options]
    return [i for i, numbers in enumerate(found) if len(numbers) == 1 and numbers[0][2].value in written]
