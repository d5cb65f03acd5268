"""Options and gold answers as data sets spell them, brought into our one form.

Used by the loaders (`potstill.evaluation.datasets`). Pure. A gold answer that does not fit its options, labels or type
is an error that names the row; it is never guessed.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from potstill.errors import DataError, shorten
from potstill.rationales.answers import normalise

_NUMBER = re.compile(r"[-+]?[$€£]?\s?(?:\d[\d,]*(?:\.\d+)?|\.\d+)(?:\s?/\s?\d+)?\s?%?")
_YES_NO = {"yes": "yes", "no": "no", "true": "yes", "false": "no"}
_BRACKETED = re.compile(r"\(([A-Z])\)")
_LETTER = re.compile(r"\(?([A-Za-z])[).:]?")
_LABELLED = re.compile(r"\s*\(?([A-Za-z]|\d{1,2}|[A-Za-z]{3,10}\s?\d{1,2})\s?[).:]\s*(.*)", re.DOTALL)
_INLINE = re.compile(r"(?:^|(?<=\s))\(?([A-Z])\s?[).:]\s*")
_REMEDY = "correct the row, or leave such rows out with --set problems.invalid=drop"
LETTERS = "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True)
class Options:
    """Choice texts in order, and the name that the source gives each."""

    texts: tuple[str, ...] = ()
    names: tuple[str, ...] = ()


def parse_options(value: Any, where: str) -> Options:
    """Read options given as a list, a mapping (`{"A": ..}`, `{"text": [..], "label": [..]}`) or a text ("A) .. B) ..").

    >>> parse_options(["A)ignore", "B)enforce"], "row 1")
    Options(texts=('ignore', 'enforce'), names=('A', 'B'))

    Raises:
        DataError: It is none of these, or holds fewer than two options.
    """
    if isinstance(value, str):
        value = _from_text(value)
    if isinstance(value, Mapping):
        value = dict(value)
        if isinstance(value.get("text"), Sequence) and not isinstance(value["text"], str):
            options = Options(
                _strings(value["text"]), _strings(value.get("label") or LETTERS.upper()[: len(value["text"])])
            )
        else:
            options = Options(_strings(value.values()), _strings(value))
    elif isinstance(value, Sequence) and not isinstance(value, str):
        options = _unlabelled(_strings(value))
    else:
        options = Options()
    if not 2 <= len(options.texts) <= len(LETTERS) or len(options.names) != len(options.texts):
        message = (
            f"{where}: options are {shorten(repr(value), 80)}; expected 2 to 26 of them, as a list, as an object "
            '{"A": ..} or as text "A) .. B) .."'
        )
        raise DataError(message)
    return options


def choice(gold: str, options: Options, where: str, *, first_index: int | None = None) -> str:
    """Return the gold option as its letter, `(a)` for the first.

    Args:
        first_index: 0 or 1 where the source numbers its options.

    Raises:
        DataError: The answer is none of the options.
    """
    wanted = gold.strip()
    folded = [text.casefold().strip() for text in options.texts]
    names = [name.casefold().strip("().: ") for name in options.names]
    for spellings, spelling in ((folded, wanted.casefold()), (names, wanted.casefold().strip("().: "))):
        if spellings.count(spelling) == 1:
            return f"({LETTERS[spellings.index(spelling)]})"
    letter = _LETTER.fullmatch(wanted)
    place = LETTERS.index(letter[1].lower()) if letter else -1
    if first_index is not None and wanted.isdigit():
        place = int(wanted) - first_index
    if 0 <= place < len(options.texts):
        return f"({LETTERS[place]})"
    shown = "; ".join(f"({LETTERS[i]}) {shorten(text, 30)}" for i, text in enumerate(options.texts))
    message = f"{where}: answer {shorten(repr(gold), 80)} is none of the options: {shorten(shown)}; {_REMEDY}"
    raise DataError(message)


def index_base(golds: Sequence[str], sizes: Sequence[int]) -> int | None:
    """Return 0 or 1 when every gold answer is an index into its options and only one base fits; else `None`."""
    if not golds or not all(gold.strip().isdigit() for gold in golds):
        return None
    places = [int(gold) for gold in golds]
    fits = [
        base for base in (0, 1) if all(base <= place < size + base for place, size in zip(places, sizes, strict=True))
    ]
    return fits[0] if len(fits) == 1 else None


def final_gold(text: str) -> str:
    """Cut a worked solution to its final answer (GSM8K's `#### 72`, MATH's `\\boxed{}`); other text stays.

    >>> final_gold("48 + 24 = 72 clips. #### 72")
    '72'
    """
    if "####" in text:
        return text.rsplit("####", 1)[1].strip()
    start = text.rfind("\\boxed{")
    if start < 0:
        return text.strip()
    depth = 0
    for i in range(start + 6, len(text)):
        depth += {"{": 1, "}": -1}.get(text[i], 0)
        if depth == 0:
            return text[start + 7 : i].strip()
    return text.strip()


def as_gold(value: Any, where: str) -> str | None:
    """Return a gold answer of any JSON type as text; `None` for null, NaN and blank text."""
    if isinstance(value, list | tuple) and len(value) == 1:
        value = value[0]
    if value is None or isinstance(value, str):
        return (value or "").strip() or None
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, int | float):
        return str(int(value)) if float(value).is_integer() else str(value)
    message = f"{where}: answer is {shorten(repr(value), 80)}; expected one text or number; map another column"
    raise DataError(message)


def infer_type(golds: Sequence[str], *, has_options: bool, has_labels: bool) -> str:
    """Return the answer type of one source's rows where neither they nor the recipe say it.

    In this order: options -> choice; labels -> label; all yes/no or true/false -> yesno; all "(A)" -> choice; all
    numbers -> number; any LaTeX -> expression; else text.
    """
    if has_options:
        return "choice"
    if has_labels:
        return "label"
    if not golds:
        return "text"
    if all(gold.casefold() in _YES_NO for gold in golds):
        return "yesno"
    if all(_BRACKETED.fullmatch(gold) for gold in golds):
        return "choice"
    if all(_NUMBER.fullmatch(gold) for gold in golds):
        return "number"
    return "expression" if any("\\" in gold for gold in golds) else "text"


def typed_gold(gold: str, answer_type: str, labels: Sequence[str], where: str) -> str:
    """Return a gold answer in the form of its type, checked against it.

    Raises:
        DataError: A label outside the set, a yes/no answer that is neither, a number that is none.
    """
    if answer_type == "label":
        matches = [label for label in labels if label.casefold() == gold.casefold()]
        if not matches:
            message = (
                f"{where}: answer {shorten(repr(gold), 80)} is not among the labels {', '.join(labels)}; {_REMEDY}"
            )
            raise DataError(message)
        return matches[0]
    if answer_type == "yesno" and gold.casefold().rstrip(".") not in _YES_NO:
        message = (
            f"{where}: answer {shorten(repr(gold), 80)} is neither yes nor no; set problems.answer_type, or {_REMEDY}"
        )
        raise DataError(message)
    if answer_type == "yesno":
        return _YES_NO[gold.casefold().rstrip(".")]
    if answer_type == "number" and normalise(gold, "number") is None:
        message = f"{where}: answer {shorten(repr(gold), 80)} is not a number; set problems.answer_type, or {_REMEDY}"
        raise DataError(message)
    if answer_type == "choice" and _LETTER.fullmatch(gold):
        return f"({gold.strip('().: ').lower()})"
    return gold


def _from_text(text: str) -> Any:
    """Return the options that a text holds: JSON, or lettered in order from A."""
    if text.lstrip()[:1] in ("[", "{"):
        try:
            return json.loads(text)
        except ValueError:
            return text
    found = list(_INLINE.finditer(text))
    if len(found) < 2 or [m[1] for m in found] != list(LETTERS.upper()[: len(found)]):
        return text
    ends = [*(m.start() for m in found[1:]), len(text)]
    return {m[1]: text[m.end() : end].strip(" \t\n,;") for m, end in zip(found, ends, strict=True)}


def _unlabelled(texts: tuple[str, ...]) -> Options:
    """Take the labels off options that all have one, in order ("A)32400", "Answer2: wet palms")."""
    matches = [_LABELLED.fullmatch(text) for text in texts]
    names = tuple(match[1] for match in matches if match)
    if len(names) == len(texts) and _in_order(names):
        return Options(tuple(match[2].strip() for match in matches if match), names)
    return Options(texts, tuple(LETTERS.upper()[: len(texts)]))


def _in_order(names: Sequence[str]) -> bool:
    letters = [name.lower() for name in names]
    numbers = [int(re.sub(r"\D", "", name) or -1) for name in names]
    return letters == list(LETTERS[: len(names)]) or numbers in (
        list(range(len(names))), list(range(1, len(names) + 1)),
    )  # fmt: skip


def _strings(values: Any) -> tuple[str, ...]:
    return tuple(value.strip() if isinstance(value, str) else str(value) for value in values)
