"""Deterministic gates: what is refused before anything is scored, so that a broken text cannot win by being complex.

A gate returns a short reason, which is counted, or nothing. These look at the surface of a text only: they cannot see
that a request contradicts itself or asks for what nobody can know.

Source: Evol-Instruct's elimination of copied template words and texts without new information, WizardLM, Xu et al.
2023, arXiv:2304.12244. Differs: no model is asked, and every reason is counted by itself.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from functools import lru_cache

TALK = re.compile(
    r"#\s*(?:given|rewritten|created)\s+prompt|\b(?:given|rewritten) prompt\b|^\s*(?:sure|certainly|here is|here's)\b",
    re.IGNORECASE,
)
DANGLING = re.compile(
    r"\b(?:(?:figure|table|text|passage|image|code|list|data) (?:below|above)|(?:following|attached) "
    r"(?:figure|table|text|passage|image|code|list|file|data)|see (?:below|above)|attached)\b[^:]*(?P<data>:?)",
    re.IGNORECASE,
)
ENDS = (".", "?", "!", '"', "'", ")", "]", "}", "`", "|", "。", "？", "！", ":")
WORD = re.compile(r"\w+")
_OPEN_END = re.compile(
    r"(?:[,;(-]|\b(?:and|or|but|then|the|an?|of|to|with|for|from|by|in|on|at|that|which|who|your|is|are|as))\Z",
    re.IGNORECASE,
)
FEW_LETTERS = 10
"""With fewer letters a text's script is not known."""


def surface_gate(
    text: str, parent: str, root: str, *, max_growth: float = 4.0, free_words: int = 40, min_new: int = 2
) -> str:
    """Return why `text` is refused as a rewrite of `parent`; empty: it passes.

    Args:
        max_growth: Words allowed, as a multiple of the root's, beyond `free_words`.
        min_new: Word trigrams that the parent does not have; fewer make a near-copy.
    """
    if not text.strip():
        return "empty"
    if TALK.search(text):
        return "talks_of_rewriting"
    if is_cut_off(text):
        return "cut_off"
    if any(not found["data"] for found in DANGLING.finditer(text)):
        return "not_self_contained"
    if len(WORD.findall(text)) > max_growth * len(WORD.findall(root)) + free_words:
        return "too_long"
    if len(trigrams(text) - trigrams(parent)) < min_new:
        return "near_copy"
    return ""


def evolved_gate(text: str, parent: str, root: str, *, max_growth: float = 4.0) -> str:
    """Return why `text` is refused as a rewrite by a model; empty: it passes.

    The surface gate, with two differences. A closing mark may be missing (it is, in 15 % of real instructions) unless
    the last word shows that something follows. And most letters must be of the seed's script: a change between
    languages of one script is not found.
    """
    closed = text if is_left_open(text) or text.rstrip().endswith(ENDS) else f"{text.rstrip()}."
    reason = surface_gate(closed, parent, root, max_growth=max_growth) if text.strip() else "empty"
    return reason or ("other_script" if is_other_script(text, root) else "")


def is_left_open(text: str) -> bool:
    """Whether a text ends in a comma, a dash, or a word that something must follow."""
    return bool(_OPEN_END.search(text.rstrip()))


def is_other_script(text: str, root: str) -> bool:
    """Whether most letters of a text are of another script than most letters of its seed."""
    own, wanted = script_of(text), script_of(root)
    return bool(own and wanted) and own != wanted


@lru_cache(maxsize=1024)
def script_of(text: str) -> str:
    """Return the script of most letters, such as LATIN or CJK; empty where there are fewer than ten.

    >>> script_of("Explain comets to a friend."), script_of("Объясни кометы другу."), script_of("42")
    ('LATIN', 'CYRILLIC', '')
    """
    counts = Counter(_script(letter) for letter in text if letter.isalpha())
    return counts.most_common(1)[0][0] if counts.total() >= FEW_LETTERS else ""


@lru_cache(maxsize=4096)
def _script(letter: str) -> str:
    found = unicodedata.name(letter, "UNKNOWN").split()[0]
    return "CJK" if found in ("HIRAGANA", "KATAKANA", "CJK") else found


def is_cut_off(text: str) -> bool:
    """Whether the text stops in the middle: no closing mark at its end, or a bracket or quote left open."""
    text = text.rstrip()
    is_open = any(text.count(left) != text.count(right) for left, right in ("()", "[]", "{}"))
    return is_open or text.count('"') % 2 == 1 or not text.endswith(ENDS)


@lru_cache(maxsize=4096)
def trigrams(text: str) -> frozenset[tuple[str, ...]]:
    """Return the text's runs of three words, lower case; of a shorter text the text itself."""
    words = WORD.findall(text.lower())
    return frozenset(tuple(words[at : at + 3]) for at in range(max(1, len(words) - 2)))
