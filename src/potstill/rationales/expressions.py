"""Mathematical answers in LaTeX or plain text: clean-up, structure, exact comparison.

`read` gives a `Form`: a tree of lists, tuples, intervals, sets, matrices and equations over polynomials and words.
`same` compares two forms and answers `None` where this module cannot decide; a second opinion
(`potstill.rationales.second_opinion`) may then be asked. Values are compared, not spellings: an unsimplified or
unfactored equal is equal. Units are dropped, degrees and percent signs too. Not covered: inequalities, functions of
several cases, physical quantities.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from potstill.rationales.algebra import parse
from potstill.rationales.latex import clean, repaired
from potstill.rationales.polynomials import NotAlgebra, Poly, difference, primitive

_ASSIGNED = re.compile(
    r"^\s*(?:\(?[A-Za-z](?:_\{?\w+\}?)?'?(?:\([a-z](?:,[a-z])*\)|(?:,\s*[a-z])*)\)?|[A-Z]{2,3})\s*(?:=|∈|≈)\s*(?=.)"
)
_UNITS = re.compile(
    r"(?<=[\d)}i])\s*(?:(?:square|cubic|per)\s+)?(?:(?!pi\b|sqrt|sin|cos|tan|log|ln\b|exp\b|and\b|or\b)[A-Za-z]{2,}(?:/[A-Za-z]+)?\.?(?:\s*\^\s*\{?[23]\}?)?(?:\s+|$))+$"
)
_SINGLE_UNIT = re.compile(r"(?<=\d)\s+(?:m|g|h|s|L|cm|km|mm)(?:\^\{?[23]\}?)?$")
_THOUSANDS = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?![\d])")
_WORD = re.compile(r"[A-Za-zÀ-ÿ][A-Za-zÀ-ÿ'’. -]*")
_FUNCTION = re.compile(r"(?:arc)?(?:sin|cos|tan|cot|sec|csc)|log|ln|exp|sqrt|pi")
_PROSE = re.compile(r"[A-Za-z]{3,}(?:\s+[A-Za-z]+){2,}|[A-Za-z]{12,}")
_BASE = re.compile(r"([0-9A-F]+)_\{?(\d{1,2})\}?")
_MIXED = re.compile(r"(?<![\w.)])(\d+)\s*\(\((\d+)\)/\((\d+)\)\)|(?<![\w.)])(\d+)\s+(\d+)/(\d+)(?![\w.])")
_RATIO = re.compile(r"\d+(?:\.\d+)?(?:\s*:\s*\d+(?:\.\d+)?)+")
_MATRIX = re.compile(r"\\begin\{([pbvBV]?matrix|array)\}(?:\{[lcr|]*\})?(.*?)\\end\{\1\}", re.DOTALL)
_PAIRS = {"(": ")", "[": "]", "{": "}"}


@dataclass(frozen=True, slots=True)
class Form:
    """One mathematical answer in structure."""

    kind: str
    """value, word, list, tuple, set, union, matrix, equation, ratio, base, unread."""
    items: tuple[Form, ...] = ()
    poly: Poly | None = None
    word: str = ""
    """Of a word, a ratio, a based numeral, the brackets of a tuple; the cleaned text of what is unread."""
    percent: bool = False

    @property
    def text(self) -> str:
        """The one spelling of this form: forms that are plainly equal have equal texts."""
        if self.poly is not None:
            return self.poly.text + (" = 0" if self.kind == "equation" else "")
        inner = [item.text for item in self.items]
        if self.kind in ("list", "set"):
            return ("{%s}" if self.kind == "set" else "%s") % ", ".join(sorted(inner))
        if self.kind == "union":
            return " ∪ ".join(inner)
        return f"{self.word[0]}{', '.join(inner)}{self.word[-1]}" if inner else self.word


@lru_cache(maxsize=8192)
def read(text: str) -> Form | None:
    """Read an answer; `None` when nothing is left of it after clean-up. Unbalanced braces are closed at the end."""
    matrix = _MATRIX.search(text)
    if matrix is not None:
        return _matrix(matrix)
    cleaned = clean(repaired(text))
    return _structured(cleaned) if cleaned else None


def is_whole(form: Form) -> bool:
    """Whether a form could be the answer of someone: not prose, nothing cut off, no program text."""
    if form.kind != "unread":
        return all(map(is_whole, form.items))
    word = form.word
    closed = all(word.count(left) == word.count(right) for left, right in ("()", "[]", "{}"))
    return closed and not re.search(r"\(,?\)|\"|\+$", word) and not _PROSE.search(word)


def same(a: Form, b: Form) -> bool | None:
    """Whether two forms are the same answer; `None` when this module cannot tell."""
    if a.kind == b.kind == "value":
        return _same_values(a, b)
    if {a.kind, b.kind} == {"value", "equation"}:
        return None
    if a.kind == b.kind and a.kind in ("list", "set"):
        return _same_unordered(a.items, b.items)
    if {a.kind, b.kind} <= {"list", "set"}:
        return _same_unordered(a.items, b.items)
    if a.kind == b.kind and a.kind in ("tuple", "union", "matrix"):
        return (
            (a.word == b.word or None) and _same_ordered(a.items, b.items) if a.kind != "tuple" else _same_tuples(a, b)
        )
    if {a.kind, b.kind} == {"list", "tuple"}:
        return _same_ordered(a.items, b.items)
    if "base" in (a.kind, b.kind):
        return _same_based(a, b)
    if a.kind == b.kind:
        return True if a.text == b.text else None if a.kind in ("unread", "equation") else False
    return None if "unread" in (a.kind, b.kind) or _mixed_words(a, b) else False


def _same_values(a: Form, b: Form) -> bool | None:
    assert a.poly is not None, "a value has a polynomial"
    assert b.poly is not None, "a value has a polynomial"
    if a.poly == b.poly:
        return True
    if a.percent != b.percent:
        x, y = a.poly.constant, b.poly.constant
        if x is not None and y is not None and (x / 100 if a.percent else x) == (y / 100 if b.percent else y):
            return True
    return None if a.poly.opaque or b.poly.opaque else False


def _same_tuples(a: Form, b: Form) -> bool | None:
    if a.word != b.word:
        return False
    return _same_ordered(a.items, b.items)


def _same_ordered(a: tuple[Form, ...], b: tuple[Form, ...]) -> bool | None:
    if len(a) != len(b):
        return False
    results = [same(x, y) for x, y in zip(a, b, strict=True)]
    return False if False in results else None if None in results else True


def _same_unordered(a: tuple[Form, ...], b: tuple[Form, ...]) -> bool | None:
    """Match items one to one. Undecided items make the whole undecided."""
    if len(a) != len(b):
        return False
    left, undecided = list(b), False
    for item in a:
        verdicts = [same(item, other) for other in left]
        if True in verdicts:
            left.pop(verdicts.index(True))
        elif None in verdicts:
            undecided = True
        else:
            return False
    return None if undecided else True


def _same_based(a: Form, b: Form) -> bool | None:
    """A numeral with a base equals itself, and the same digits without one."""
    if a.kind == b.kind:
        return a.word == b.word
    based, other = (a, b) if a.kind == "base" else (b, a)
    value = other.poly.constant if other.poly is not None else None
    return value is not None and str(value) == based.word.split("_")[0]


def _mixed_words(a: Form, b: Form) -> bool:
    return "word" in (a.kind, b.kind) and "value" in (a.kind, b.kind) and a.text == b.text


def _structured(text: str) -> Form | None:
    text = _without_wrapping(text)
    assigned = _ASSIGNED.match(text)
    if assigned is not None and not _top_level(text[assigned.end() :], "="):
        text = _without_wrapping(text[assigned.end() :].strip())
    if not text:
        return None
    if "∪" in text:
        return Form("union", tuple(_structured(part.strip()) or Form("word") for part in text.split("∪")))
    text = _THOUSANDS.sub(lambda match: match[0].replace(",", ""), text)
    if _encloses(text) and text[0] in "([⦃{":
        inside = _split(text[1:-1])
        if text[0] in "⦃{":
            return _collection("set", inside)
        if len(inside) > 1:
            items = tuple(_structured(part) or Form("word") for part in inside)
            return Form("tuple", items, word=text[0] + text[-1])
    parts = _split(re.sub(r"\s+(?:and|or)\s+", ",", text))
    if len(parts) > 1:
        return _collection("list", parts)
    if "±" in text:
        return _collection("list", [text])
    return _single(text)


def _collection(kind: str, parts: list[str]) -> Form:
    items: list[Form] = []
    for part in parts:
        spellings = [part.replace("±", "+", 1), part.replace("±", "-", 1)] if "±" in part else [part]
        items += [_structured(spelling.strip()) or Form("word") for spelling in spellings]
    return Form(kind, tuple(items))


def _single(text: str) -> Form:
    if _RATIO.fullmatch(text):
        return Form("ratio", word=re.sub(r"\s", "", text))
    based = _BASE.fullmatch(text)
    if based is not None:
        return Form("base", word=f"{based[1]}_{based[2]}")
    if _WORD.fullmatch(text) and re.search(r"[A-Za-z]{3}", text) and not _FUNCTION.search(text):
        return _words(text)
    percent = text.endswith("%")
    stripped = text.rstrip("% ") if percent else text
    sides = _top_level(stripped, "=")
    try:
        if len(sides) == 1:
            poly = primitive(difference(_poly(stripped[: sides[0]]), _poly(stripped[sides[0] + 1 :])))
            return Form("equation", poly=poly)
        if not sides:
            return Form("value", poly=_poly(stripped), percent=percent)
    except NotAlgebra:
        pass
    return _words(text)


def _poly(text: str) -> Poly:
    text = _SINGLE_UNIT.sub("", _UNITS.sub("", text)).strip()
    text = _MIXED.sub(lambda m: f"({m[1] or m[4]}+{m[2] or m[5]}/{m[3] or m[6]})", text)
    return parse(text.replace("{", "(").replace("}", ")"))


def _words(text: str) -> Form:
    bare = text.strip("(){}[]\"'“”‘’ ").strip()
    if _WORD.fullmatch(bare):
        return Form("word", word=" ".join(bare.casefold().rstrip(".").split()))
    return Form("unread", word=re.sub(r"\s", "", text))


def _matrix(match: re.Match[str]) -> Form:
    rows = [row for row in re.split(r"\\\\(?:\[[^\]]*\])?", match[2]) if row.strip()]
    items = tuple(
        Form("tuple", tuple(_structured(clean(cell)) or Form("word") for cell in row.split("&")), word="[]")
        for row in rows
    )
    return Form("matrix", items, word="[]")


def _without_wrapping(text: str) -> str:
    """Remove brackets that enclose one single thing: `(5)` but not `(1, 2)`, `(B)` but not `(a+b)(c+d)`."""
    text = text.strip()
    while len(text) > 2 and text[0] in "({" and _encloses(text) and len(_split(text[1:-1])) == 1 and "∪" not in text:
        text = text[1:-1].strip()
    return text


def _encloses(text: str) -> bool:
    """Whether the first bracket of `text` is closed by its last character."""
    if len(text) < 2 or text[0] not in "([{⦃" or text[-1] not in ")]}⦄":
        return False
    depth = 0
    for position, character in enumerate(text):
        depth += (character in "([{⦃") - (character in ")]}⦄")
        if depth == 0:
            return position == len(text) - 1
    return False


def _split(text: str) -> list[str]:
    """Split at the commas and semicolons that stand outside all brackets."""
    parts, start = [], 0
    for position in _top_level(text, ",;"):
        parts.append(text[start:position].strip())
        start = position + 1
    return [part for part in [*parts, text[start:].strip()] if part]


def _top_level(text: str, characters: str) -> list[int]:
    found, depth = [], 0
    for position, character in enumerate(text):
        if character in "([{⦃":
            depth += 1
        elif character in ")]}⦄":
            depth = max(0, depth - 1)
        elif depth == 0 and character in characters:
            found.append(position)
    return found
