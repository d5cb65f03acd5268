"""Prose as answer checking sees it: sentences, folded words, and what kind of answer is wanted. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

_STOP = re.compile(r"[.!?\n](?:(?<=\n)|(?<!\\[.!?])(?=[\s*\"”)\]]*(?:\s[\"“(*$\\]*[A-Z0-9]|\s*$)))")
_ABBREVIATION = re.compile(r"(?:\b(?:Mr|Mrs|Ms|Dr|St|vs|No|Jr|Sr|approx|etc|e\.g|i\.e)|\s[ap]\.m)$")
_ARTICLE = re.compile(r"^(?:the|a|an)\s+(?=\w)")
_WORDLIKE = re.compile(r"\w")
_NEGATION = re.compile(
    r"\b(?:not|cannot|never|neither|nor|except|instead|rather|unlike|without|\w+n['’]t)\b", re.IGNORECASE
)
_NEGATION_STEMS = ("not", "never", "neither", "nor", "except", "instead", "rather", "unlike", "without", "n't", "n’t")


@dataclass(frozen=True, slots=True)
class Wanted:
    """The kind of answer that a problem asks for."""

    type: str
    options: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    question: str = ""
    """Helps to tell a result from a given number in a concluding sentence; may be empty."""


def sentences(text: str) -> list[str]:
    """Split prose into sentences and lines; decimals, initials and common abbreviations do not end one."""
    found, start = [], 0
    for match in _STOP.finditer(text):
        if match[0] == "." and _ABBREVIATION.search(text, max(0, match.start() - 8), match.start()):
            continue
        found.append(text[start : match.end()].strip())
        start = match.end()
    found.append(text[start:].strip())
    return [sentence for sentence in found if _WORDLIKE.search(sentence)]


def holds(text: str, stems: Iterable[str]) -> bool:
    """Whether any of the lower-case `stems` occurs in a text: the cheap question before a pattern that needs one."""
    lowered = text.lower()
    return any(stem in lowered for stem in stems)


def negates(text: str, end: int | None = None) -> bool:
    """Whether a negation stands in a text, before position `end` where one is given."""
    if not holds(text, _NEGATION_STEMS):
        return False
    return _NEGATION.search(text, 0, len(text) if end is None else end) is not None


@lru_cache(maxsize=4096)
def asked(question: str) -> str:
    """Return in lower case the last sentence of a question, which is what it asks for."""
    return last_sentence(question).lower()


def sentences_from_end(text: str) -> Iterator[str]:
    """Yield what `sentences` returns, from the last to the first."""
    end = len(text)
    for match in reversed(list(_STOP.finditer(text))):
        if match[0] == "." and _ABBREVIATION.search(text, max(0, match.start() - 8), match.start()):
            continue
        if _WORDLIKE.search(text, match.end(), end):
            yield text[match.end() : end].strip()
        end = match.end()
    if _WORDLIKE.search(text, 0, end):
        yield text[:end].strip()


def first_sentence(text: str) -> str:
    """Return the first sentence, or nothing."""
    parts = sentences(text)
    return parts[0] if parts else ""


def last_sentence(text: str) -> str:
    """Return the last sentence of the last 1,500 characters, or nothing."""
    return next(sentences_from_end(text[-1500:]), "")


def fold(text: str) -> str:
    """Return text for comparison: case, typographic quotes, a leading article, punctuation around it and spacing gone.

    A text that is nothing but punctuation keeps it.
    """
    folded = text if text.isascii() else text.replace("’", "'").replace("“", '"').replace("”", '"')
    folded = folded.replace("\\", "").casefold()
    folded = " ".join(folded.split()).strip(" .,;:!?\"'*`_")
    folded = _ARTICLE.sub("", folded)
    return folded or " ".join(text.split())


def mentions(text: str, phrase: str) -> bool:
    """Whether `phrase` occurs in `text` as whole words."""
    start = text.find(phrase)
    while start >= 0 and phrase:
        end = start + len(phrase)
        before = start == 0 or not (text[start - 1].isalnum() and phrase[0].isalnum())
        if before and (end == len(text) or not (text[end].isalnum() and phrase[-1].isalnum())):
            return True
        start = text.find(phrase, start + 1)
    return False
