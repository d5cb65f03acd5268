"""Which answers a text speaks of: a negative view must say something of every wrong one. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from potstill.rationales.answers import normalise
from potstill.records import Problem, Rationale

_CLOSING = re.compile(r"[^.!?\n]*\banswer\b\W*(?:is|:|=)[^\n]*\s*$", re.IGNORECASE)
_WORD = re.compile(r"\w+")


def unmentioned(rationale: Rationale) -> list[str]:
    """Return the wrong answers of a rationale's problem that its reasoning does not name; none without a closed set.

    A label is named by its words, a choice by its letter in parentheses or the words of its text, in any case. The
    sentence that states the answer does not count.
    """
    problem = rationale.problem
    if problem is None or problem.answer is None:
        return []
    said = without_answer(rationale.text)
    return [name for name, forms in wrong_answers(problem) if not any(_names(said, form) for form in forms)]


def wrong_answers(problem: Problem) -> list[tuple[str, tuple[str, ...]]]:
    """Return each wrong answer of a closed set, and the forms by which it is named."""
    if problem.answer_type == "choice":
        letters = [(f"({chr(97 + i)})", option) for i, option in enumerate(problem.options)]
        right = normalise(problem.answer or "", "choice", problem.options, ())
        return [(letter, (letter, text)) for letter, text in letters if right is None or right.text != letter]
    names: Sequence[str] = ("yes", "no") if problem.answer_type == "yesno" else problem.labels
    gold = normalise(problem.answer or "", problem.answer_type, (), problem.labels)
    return [(name, (name,)) for name in names if gold is None or gold.text.casefold() != name.casefold()]


def without_answer(text: str) -> str:
    """Return a text without the sentence at its end that states the answer.

    >>> without_answer("It rises, so down is out. So the answer is: up")
    'It rises, so down is out.'
    """
    return _CLOSING.sub("", text.strip()).strip()


def _names(text: str, form: str) -> bool:
    """Whether a text holds the words of a form in a row, whatever lies between them; a letter with its parentheses."""
    if re.fullmatch(r"\([a-z]\)", form):
        return form in text.casefold()
    words = [re.escape(word) for word in _WORD.findall(form)]
    return bool(words) and re.search(r"\b" + r"\W+".join(words) + r"\b", text, re.IGNORECASE) is not None
