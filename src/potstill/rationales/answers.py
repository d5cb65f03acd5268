"""Final answers: extract → normalise → equal, by type; pure and table-tested.

    text ──extract──► "$1,234.50" ──normalise──► Answer("1234.5") ──equal──► True | False | None

Exact by design: no tolerance, no judge, no model. `None` from `extract` means that the text states no answer, from
`normalise` that a piece of text is no answer of that type, from `equal` that the exact rules do not decide
(expressions only). Finding the place in the text is `potstill.rationales.extraction`'s work, numbers and mathematics
are read by `numbers` and `expressions`. Not covered: unit conversion, rounding to fewer digits, paraphrase.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from potstill.rationales import expressions
from potstill.rationales.algebra import parse
from potstill.rationales.choice_spans import folded_options, folded_texts, letters, own_labels
from potstill.rationales.expressions import Form
from potstill.rationales.extraction import find
from potstill.rationales.numbers import Number, numbers_in, parse_number, plain, render, same
from potstill.rationales.polynomials import NotAlgebra
from potstill.rationales.prose import Wanted, fold

_YES_NO = {"yes": "yes", "true": "yes", "no": "no", "false": "no"}
_DATE = re.compile(r"\s*\d+/\d+/\d+\s*")
_SPELLED = re.compile(r"[^\W\d_](?:[\s,-]+[^\W\d_]){2,}")
"""A word spelled letter by letter: g s s e."""
_CALCULATION = re.compile(r"[\s$\d.,+*/x()-]+")


@dataclass(frozen=True, slots=True)
class Answer:
    """A final answer in normal form."""

    text: str
    """Canonical: two answers with the same text are the same vote. Numbers as `72`, `1.5` or `2/3`, choices as `(b)`,
    yes/no as `yes`, labels as in the label set."""
    numbers: tuple[Number, ...] = ()
    form: Form | None = None


def extract(
    text: str,
    answer_type: str,
    *,
    options: tuple[str, ...] = (),
    labels: tuple[str, ...] = (),
    question: str = "",
    truncated: bool = False,
) -> str | None:
    """Return the piece of `text` that states its final answer, as written; `None` when it states none.

    >>> extract("3 + 4 = 7 apples. So the answer is: 7\\n\\nQ: next", "number")
    '7'
    """
    wanted = Wanted(answer_type, options, labels, question)
    return find(text, wanted, truncated=truncated).span


def normalise(
    text: str, answer_type: str, options: tuple[str, ...] = (), labels: tuple[str, ...] = ()
) -> Answer | None:
    """Return the normal form of an answer, or `None` when `text` is no answer of that type.

    >>> normalise("$1,234.50", "number").text
    '1234.5'
    >>> normalise("B) cart", "choice", ("boat", "cart")).text
    '(b)'
    """
    if answer_type == "number":
        return _number(text)
    if answer_type == "choice":
        return _choice(text, options)
    if answer_type == "yesno":
        word = _YES_NO.get(fold(text))
        return Answer(word) if word else None
    if answer_type == "label":
        return _label(text, labels)
    if answer_type == "expression":
        form = expressions.read(text)
        return Answer(form.text, form=form) if form is not None and form.text else None
    return _text(text)


def equal(a: Answer | str | None, b: Answer | str | None, answer_type: str) -> bool | None:
    """Whether two answers are the same; `None` when the exact rules do not decide, or one is no answer of that type."""
    a = normalise(a, answer_type) if isinstance(a, str) else a
    b = normalise(b, answer_type) if isinstance(b, str) else b
    if a is None or b is None:
        return None
    if a.text == b.text:
        return True
    if answer_type == "expression":
        return expressions.same(a.form, b.form) if a.form is not None and b.form is not None else None
    if a.numbers and b.numbers:
        return _same_numbers(a.numbers, b.numbers)
    return False


def _same_numbers(a: tuple[Number, ...], b: tuple[Number, ...]) -> bool:
    """Whether two answers hold the same numbers in any order; one number given twice ("1/4 or 25%") is one."""
    if all(same(x, y) for numbers in (a, b) for x in numbers for y in numbers):
        return any(same(x, y) for x in a for y in b)
    left = list(b)
    for number in a:
        match = next((other for other in left if same(number, other)), None)
        if match is None:
            return False
        left.remove(match)
    return not left


def _number(text: str) -> Answer | None:
    number = parse_number(text)
    if number is not None:
        return Answer(number.text, numbers=(number,))
    written = plain(text)
    if _DATE.fullmatch(written):
        return None
    if _CALCULATION.fullmatch(written) and re.search(r"[-+*/x]", written):
        try:
            value = parse(re.sub(r"[$,]", "", written).replace("x", "*")).constant
        except NotAlgebra:
            value = None
        if value is not None:
            return Answer(render(value), numbers=(Number(value, decimals=None),))
    found = tuple(number for *_, number in numbers_in(written))
    if not found:
        return None
    if all(same(found[0], number) for number in found[1:]):
        return Answer(found[0].text, numbers=found)
    return Answer(", ".join(sorted(number.text for number in found)), numbers=found)


def _choice(text: str, options: tuple[str, ...]) -> Answer | None:
    """Return the letter of the option that `text` is: its letter, its own label, or its text if no other has it."""
    written = fold(text)
    hits = [i for i, option in enumerate(folded_options(options)) if option == written]
    hits = hits or [i for i, label in enumerate(own_labels(options)) if label == written]
    if not hits:
        letter = re.fullmatch(r"\(?\s*([a-z])\s*[).:]?(?:\s+.*)?", written)
        if letter is not None and letter[1].upper() in letters(options) and (len(written) <= 4 or options):
            following = fold(re.sub(r"^\W*[A-Za-z]\W*", "", text, count=1))
            if not following or following == folded_texts(options)[ord(letter[1]) - ord("a")]:
                return Answer(f"({letter[1]})")
    hits = hits or [i for i, option in enumerate(folded_texts(options)) if option == written]
    return Answer(f"({letters(options)[hits[0]].lower()})") if len(hits) == 1 else None


def _label(text: str, labels: tuple[str, ...]) -> Answer | None:
    folded = fold(text)
    for label in labels:
        if fold(label) == folded:
            return Answer(label)
    return None if labels or not folded else Answer(folded)


def _text(text: str) -> Answer | None:
    unwrapped = re.sub(r"\\(?:text|mbox|textbf)\{([^{}]*)\}", r"\1", text)
    number = parse_number(unwrapped)
    folded = re.sub(r"\b([ap])\.\s?m\b\.?", r"\1m", fold(unwrapped))
    if not folded.strip():
        return None
    if _SPELLED.fullmatch(folded):
        folded = re.sub(r"[\s,-]", "", folded)
    return Answer(folded, numbers=(number,) if number is not None else ())
