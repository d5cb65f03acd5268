"""Programs with colours, and texts with their differences: spans around text that stays text."""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from keyword import kwlist

from potstill.evaluation.page.markup import Child, Html, element, join

COLOURED_CHARACTERS = 20_000
"""Longer programs are shown without colours."""
COMPARED_WORDS = 2_000
"""Longer texts are shown one after the other instead of as a difference."""
_TOKEN = re.compile(
    r"(?P<comment>#[^\n]*)"
    r"|(?P<string>(?:\b[rRbBfFuU]{1,2})?(?:'''[\s\S]*?(?:'''|\Z)|\"\"\"[\s\S]*?(?:\"\"\"|\Z)|'(?:\\.|[^'\\\n])*'?|\"(?:\\.|[^\"\\\n])*\"?))"
    r"|(?P<number>\b\d[\w.]*)"
    rf"|(?P<keyword>\b(?:{'|'.join(kwlist)})\b)"
    r"|(?P<builtin>\b(?:print|range|len|sum|min|max|int|float|str|abs|round|sorted|list|dict|set|enumerate|zip|map)\b(?=\())"
)


def coloured(program: str) -> Html:
    """Return a Python program as markup whose text is the program, letter for letter."""
    if len(program) > COLOURED_CHARACTERS:
        return join(program)
    parts: list[Child] = []
    at = 0
    for match in _TOKEN.finditer(program):
        parts += [program[at : match.start()], element("span", match[0], class_=f"t-{match.lastgroup}")]
        at = match.end()
    return join(*parts, program[at:])


def word_difference(before: str, after: str) -> Html:
    """Return the later text with the words that came in as `<ins>` and those that went as `<del>`."""
    old, new = _words(before), _words(after)
    if len(old) + len(new) > COMPARED_WORDS:
        return join(element("del", before), element("br"), element("ins", after))
    parts: list[Child] = []
    for tag, i1, i2, j1, j2 in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if tag == "equal":
            parts.append("".join(new[j1:j2]))
            continue
        parts += [element("del", "".join(old[i1:i2])) if i1 < i2 else None]
        parts += [element("ins", "".join(new[j1:j2])) if j1 < j2 else None]
    return join(*parts)


def _words(text: str) -> list[str]:
    """Return words, white space and other characters as pieces that join to the text."""
    return re.findall(r"\w+|\s+|[^\w\s]", text)
