"""Contamination: which training problems are an evaluated problem again: copied, renumbered, extended or retold.

    families.related      same family: equal up to numbers, near-duplicates, derived, chains of those
    retold                the same facts in other words; a passage of the evaluated text; the same options

Retelling keeps what a problem is about and its numbers, so the test is whether both are shared; word order, sentence
form and function words do not matter. Every tie is a property of two texts alone: neither the size of a data set nor
its other rows move it. Pure.

Not found: translations, and retellings that change names, things and numbers at once. Thresholds were tuned on one half
of planted problems and measured on the other (`scripts/contamination_study.py`, docs/problems.md).
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from potstill.errors import shorten
from potstill.rationales.families import NEAR, mask, related
from potstill.rationales.numbers import numbers_in, plain, word_numbers_in
from potstill.records import Problem

SHARED_NUMBERS = 0.85
"""Dice coefficient of two bags of numbers, each weighted by `_weight`, from which on they are the same facts."""
SAME_STORY = ((0.35, 6.0), (0.45, 4.0))
"""(cosine of two sets of content words, total weight of the shared numbers) from which on, the facts being the same,
two texts are one story: what the numbers do not say, the words must. Two small numbers, or one of two digits, weigh
about 4."""
SHARED_OPTIONS_WORDS = 0.35
"""The cosine that suffices where two problems offer the same options."""
SHARED_WORDS_ALONE = 0.75
"""The cosine where neither text has numbers."""
SIMILAR = min(SHARED_OPTIONS_WORDS, SHARED_WORDS_ALONE, *(words for words, _ in SAME_STORY))
"""Less similar texts are not looked at."""
MIN_WORDS = 5
"""Content words below which words alone say too little."""
MIN_OPTIONS = 3
"""Fewer options, such as yes and no, are shared by problems that have nothing else in common."""
PASSAGE_WORDS = 8
SHARED_PASSAGES = 0.5
"""Share of an evaluated text's runs of `PASSAGE_WORDS` masked words that a training text may hold."""

_MULTIPLES = {"half": Fraction(1, 2), "twice": Fraction(2), "double": Fraction(2), "thrice": Fraction(3),
              "triple": Fraction(3), "dozen": Fraction(12)}  # fmt: skip
_MULTIPLE = re.compile(rf"\b(?:{'|'.join(_MULTIPLES)})\b", re.IGNORECASE)
_FUNCTION_WORDS = (
    "# a an the of in on at to for from by with and or but if then than as is are was were be been being has have had "
    "do does did will would can could should may might he she it they his her its their him them we our us you your i "
    "my me that this these those there here who whom which what when where how why many much more most less least some "
    "any each every all both other another into out up down over after before about not no so also only just per"
)
_EMPTY_WORDS = frozenset(_FUNCTION_WORDS.split())
_ENDINGS = (("ies", "y"), ("sses", "ss"), ("ing", ""), ("ed", ""), ("es", ""), ("s", ""))


def contaminated(train: Iterable[Problem], evaluated: Iterable[Problem], near: float = NEAR) -> dict[str, str]:
    """Return the training problems that are an evaluated one again: problem id -> which one, where, and by what tie.

    Demonstrations are checked the same way, given as problems.
    """
    train, evaluated = list(train), list(evaluated)
    found = related(train, evaluated, near)
    return found | retold([p for p in train if p.id not in found], evaluated)


def retold(train: Iterable[Problem], evaluated: Iterable[Problem]) -> dict[str, str]:
    """Return the training problems that tell an evaluated one in other words or hold a passage of it, as above.

    Problems that know their own family (`meta.family`) are left out: that is their only tie.
    """
    known = _Known([p for p in evaluated if not p.meta.get("family")])
    found: dict[str, str] = {}
    for problem in train:
        tie = None if problem.meta.get("family") else known.tie(problem)
        if tie is not None:
            other, reason = tie
            found[problem.id] = f"{other.id} in split {other.split}: {reason} ({shorten(other.question, 80)})"
    return found


def content_words(text: str) -> frozenset[str]:
    """Return the words that say what a text is about, endings cut off, without numbers.

    >>> sorted(content_words("Martha is knitting 3 hats for each of the boys."))
    ['boy', 'hat', 'knit', 'martha']
    """
    return frozenset(_stem(word) for word in mask(text).split() if word not in _EMPTY_WORDS)


def facts(text: str) -> Counter[Fraction]:
    """Return the numbers of a text, in figures or words, with how often each occurs; twice is 2, a dozen 12."""
    text = plain(text)
    spelled = [number.value for _, _, number in [*numbers_in(text), *word_numbers_in(text)]]
    return Counter([*spelled, *(_MULTIPLES[word.lower()] for word in _MULTIPLE.findall(text))])


@dataclass(frozen=True, slots=True)
class _Told:
    """What is compared of one problem."""

    words: frozenset[str]
    numbers: Counter[Fraction]
    weight: float
    options: frozenset[str]

    @staticmethod
    def of(problem: Problem) -> _Told:
        numbers = facts(problem.question)
        options = frozenset(" ".join(option.casefold().split()) for option in problem.options)
        return _Told(content_words(problem.question), numbers, _total(numbers), options)


class _Known:
    """The evaluated problems, indexed by content word and by passage."""

    def __init__(self, evaluated: Sequence[Problem]) -> None:
        self._problems = evaluated
        self._told = [_Told.of(p) for p in evaluated]
        self._sizes = np.array([max(1, len(told.words)) for told in self._told], dtype=np.float64)
        self._by_word = _posted(told.words for told in self._told)
        passages = [_passages(p.question) for p in evaluated]
        self._n_passages = [len(own) for own in passages]
        self._by_passage = _posted(passages)

    def tie(self, problem: Problem) -> tuple[Problem, str] | None:
        """Return the evaluated problem that this one is again, and what says so; the most similar one, if several."""
        return self._retelling(_Told.of(problem)) or self._passage(problem)

    def _retelling(self, told: _Told) -> tuple[Problem, str] | None:
        shared = np.zeros(len(self._problems))
        for word in told.words:
            if word in self._by_word:
                shared[self._by_word[word]] += 1
        similar = shared / np.sqrt(self._sizes * max(1, len(told.words)))
        for at in np.argsort(-similar, kind="stable"):
            if similar[at] < SIMILAR:
                return None
            reason = _same(told, self._told[at], float(similar[at]))
            if reason:
                return self._problems[at], reason
        return None

    def _passage(self, problem: Problem) -> tuple[Problem, str] | None:
        counts: Counter[int] = Counter()
        for passage in _passages(problem.question):
            counts.update(int(at) for at in self._by_passage.get(passage, ()))
        for at, count in counts.most_common(1):
            if count >= SHARED_PASSAGES * self._n_passages[at]:
                share = count / self._n_passages[at]
                return self._problems[at], f"{share:.0%} of its runs of {PASSAGE_WORDS} words are repeated"
        return None


def _same(told: _Told, other: _Told, similar: float) -> str:
    """Return what makes two stories of similar words one, or an empty text."""
    if len(told.options) >= MIN_OPTIONS and told.options == other.options and similar >= SHARED_OPTIONS_WORDS:
        return f"same options, word cosine {similar:.2f}"
    if not told.numbers and not other.numbers:
        is_one = similar >= SHARED_WORDS_ALONE and min(len(told.words), len(other.words)) >= MIN_WORDS
        return f"retold, word cosine {similar:.2f}" if is_one else ""
    shared = _total(told.numbers & other.numbers)
    if 2 * shared < SHARED_NUMBERS * (told.weight + other.weight):
        return ""
    is_one = any(similar >= words and shared >= weight for words, weight in SAME_STORY)
    return f"same numbers in similar words, word cosine {similar:.2f}" if is_one else ""


def _weight(number: Fraction) -> float:
    """Weigh a number by what it says: large ones are rarer (their frequency falls about as 1 / x)."""
    return 1 + math.log1p(abs(float(number)))


def _total(numbers: Counter[Fraction]) -> float:
    return sum(_weight(number) * count for number, count in numbers.items())


def _passages(text: str) -> frozenset[tuple[str, ...]]:
    words = mask(text).split()
    return frozenset(tuple(words[i : i + PASSAGE_WORDS]) for i in range(len(words) - PASSAGE_WORDS + 1))


def _posted(sets: Iterable[frozenset[str]] | Iterable[frozenset[tuple[str, ...]]]) -> dict[object, np.ndarray]:
    """Return for each member the rows that hold it."""
    rows: dict[object, list[int]] = defaultdict(list)
    for at, members in enumerate(sets):
        for member in members:
            rows[member].append(at)
    return {member: np.array(held, dtype=np.int64) for member, held in rows.items()}


def _stem(word: str) -> str:
    """Cut common English endings; crude, but the same for both texts."""
    word = re.sub(r"['’]s?$", "", word)
    for ending, instead in _ENDINGS:
        if word.endswith(ending) and len(word) >= len(ending) + 3 and not word.endswith("ss"):
            word = word[: -len(ending)] + instead
            break
    if len(word) > 3 and word[-1] == word[-2]:
        word = word[:-1]
    return word[:-1] if len(word) > 3 and word.endswith("e") else word
