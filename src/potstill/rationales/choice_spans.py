"""Choices as final answers: a letter, an option's own label, or the text or number of exactly one option. Pure."""

from __future__ import annotations

import re

from potstill.rationales.numbers import numbers_in, plain
from potstill.rationales.prose import NEGATION, Wanted, first_sentence, fold, last_sentence


def option_text(option: str) -> str:
    """Return an option without its own label: "A)oil", "(b) oil", "Answer1: oil" -> "oil"."""
    return _OPTION_LABEL.sub("", option, count=1).strip()


_OPTION_LABEL = re.compile(
    r"^\s*(?:\(?[A-Za-z]\s?[).:]|\(?[A-Za-z]\)|(?:Answer|Option|Solution|Choice|Ending)\s?\d+\s*:)\s*"
)
_START_LETTER = re.compile(
    r"^[\s*_`:\"'“$\\\[{]*(?:that\s+)?(?:(?:the\s+)?(?:option|choice|letter|answer)\s*)?(?:\\text\{)?[\s*_]*(?:\(\s*(?P<inner>[A-Za-z])\s*\)|(?P<bare>[A-Z])(?=[\s).:,*}\\\"'$]|$)|(?P<low>[a-z])(?=[).:]))"
)
_LETTER_IN = re.compile(r"\(\s*([A-Za-z])\s*\)|\b(?:option|choice|answer)\s+([A-Z])\b|(?:^|\s)([B-HJ-Z])(?=[.,)]?$)")


def letters(options: tuple[str, ...]) -> str:
    """Return the letters that name `options`; without options any letter may be one."""
    return "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[: len(options) or 26]


def pick_choice(span: str, wanted: Wanted, body: str) -> str | None:
    del body
    text = re.sub(r"\\text(?:bf)?\{([^{}]*)\}", r"\1", span).strip()
    if re.fullmatch(r"[a-z]", text) and text.upper() in letters(wanted.options):
        return f"({text})"
    exact = _exact_option(text, wanted.options)
    if exact is not None:
        return exact
    sentence = first_sentence(text) or text
    start = _START_LETTER.match(text)
    if start is not None:
        letter = (start["inner"] or start["bare"] or start["low"]).upper()
        if letter in letters(wanted.options) and _is_letter(text, start, wanted.options):
            rest = sentence[start.end() :]
            return None if _contradicts(rest, letter, wanted.options) or _more_letters(rest) else f"({letter.lower()})"
    return _mentioned_letter(sentence, wanted.options) or _mentioned_option(sentence, wanted.options)


def _is_letter(text: str, start: re.Match[str], options: tuple[str, ...]) -> bool:
    """Whether a bare capital is a letter and not the article or pronoun that a sentence begins with."""
    if start["bare"] not in ("A", "I"):
        return True
    rest = text[start.end() :].lstrip("*_`\"'")
    if not rest or not rest[0].isspace() or not rest.strip():
        return True
    following = rest.lstrip(" .):-")
    own = ord(start["bare"]) - ord("A")
    return bool(re.match(r"(?:because|since|as|and|is|\(|\n)", rest.strip())) or (
        own < len(options) and fold(following).startswith(fold(option_text(options[own])))
    )


def _contradicts(rest: str, letter: str, options: tuple[str, ...]) -> bool:
    """Whether the text beside the letter is exactly another option's."""
    if not options:
        return False
    written = fold(rest.strip(" ).:-*_"))
    texts = [fold(option_text(option)) for option in options]
    return bool(written) and written in texts and texts[ord(letter) - ord("A")] != written


def _more_letters(rest: str) -> bool:
    return re.match(r"\s*(?:,|and|or|/|&)\s*\(?[A-Z]\b", rest) is not None


def _exact_option(text: str, options: tuple[str, ...]) -> str | None:
    written = fold(re.sub(r"^[\s$*]+|[\s$*]+$", "", text))
    hits = [i for i, option in enumerate(options) if written in (fold(option), fold(option_text(option)))]
    if not hits:
        names = [re.match(r"\s*([A-Za-z]+\s?\d+)\s*:", option) for option in options]
        hits = [i for i, name in enumerate(names) if name and re.match(re.escape(name[1]) + r"\b", text, re.IGNORECASE)]
    return f"({letters(options)[hits[0]].lower()})" if len(hits) == 1 else None


def _mentioned_letter(sentence: str, options: tuple[str, ...]) -> str | None:
    found = {(a or b or c).upper() for a, b, c in _LETTER_IN.findall(sentence.rstrip(" .*_`\"'"))}
    found &= set(letters(options))
    return f"({found.pop().lower()})" if len(found) == 1 and not NEGATION.search(sentence) else None


def _mentioned_option(sentence: str, options: tuple[str, ...]) -> str | None:
    """Return the one option whose text, or whose number, occurs in the sentence."""
    if not options or NEGATION.search(sentence):
        return None
    folded = fold(sentence)
    texts = [fold(option_text(option)) for option in options]
    hits = [i for i, text in enumerate(texts) if text and re.search(rf"(?<!\w){re.escape(text)}(?!\w)", folded)]
    hits = [i for i in hits if not any(i != j and texts[i] != texts[j] and texts[i] in texts[j] for j in hits)]
    if not hits:
        hits = _same_number(sentence, options)
    return f"({letters(options)[hits[0]].lower()})" if len(hits) == 1 else None


def _same_number(sentence: str, options: tuple[str, ...]) -> list[int]:
    values = []
    for option in options:
        found = numbers_in(plain(option_text(option)))
        values.append(found[0][2].value if len(found) == 1 else None)
    text = plain(sentence).rstrip(". ")
    if "=" in text:
        text = text.rsplit("=", 1)[1]
    written = {number.value for *_, number in numbers_in(text)}
    return [i for i, value in enumerate(values) if value in written] if len(written) == 1 else []


def conclude_choice(body: str, wanted: Wanted) -> tuple[str | None, str]:
    last = last_sentence(body)
    if len(body) < 200 and (short := pick_choice(body, wanted, body)) is not None:
        return short, ""
    answer = _mentioned_letter(last, wanted.options) or _mentioned_option(last, wanted.options)
    return answer, "" if answer is not None else "no_marker"
