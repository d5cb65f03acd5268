"""Augmentation: a training problem in other words, with slips of the keyboard, or with other numbers and names.

What is made here is a problem like any other, with `parent_id`, its way in `meta.augmentation`, and an answer that is
its parent's or, where the numbers are others, what several verified programs compute for the new ones. Whatever cannot
be made soundly gives a reason instead. Pure: programs are run by the caller, and asking a teacher is his, too.

Ours, of no paper: DC-CoT (arXiv:2505.18759) compares ways of augmenting; renumbering with the answer recomputed is that
of symbolic templates (GSM-Symbolic, arXiv:2410.05229), here without templates.
"""

from __future__ import annotations

import ast
import random
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import pairwise
from typing import Any

from potstill.errors import shorten
from potstill.rationales.contamination import facts
from potstill.rationales.families import NEAR, mask
from potstill.records import Problem, content_id

TRIES = 12
"""Draws of new numbers before a problem is given up."""
MIN_PROGRAMS = 2
"""Verified programs that must agree: one alone may be right by chance."""
SHORTEST, LONGEST = 0.5, 2.0
"""Bounds of a rewording's length in words, as parts of its parent's."""
STALE = ("gold_solution", "definitions", "equation")
"""Of a parent's meta: what other numbers make wrong."""

_NUMBER = re.compile(r"(?<![\w.,/:$#-])\d+(?:\.\d+)?(?![\w%]|[.,:/-]\d)|(?<=[$€£])\d+(?:\.\d+)?(?![\w%]|[.,:/-]\d)")
_CAPITAL = re.compile(r"[A-Z][a-z]{2,}")
_TYPED = re.compile(r"[a-z]{4,}")
_CALENDAR = """
    january february march april may june july august september october november december monday tuesday wednesday
    thursday friday saturday sunday christmas halloween easter"""
_DATES = frozenset(_CALENDAR.split())


@dataclass(frozen=True, slots=True)
class Refused:
    """Why nothing was made, as a word that is counted, and what was found."""

    reason: str
    detail: str = ""


def derived(parent: Problem, question: str, way: str, number: int, **changes: Any) -> Problem:
    """Return a problem made of another: a new id, the parent's split, source and family, its own way in the meta."""
    meta = {**parent.meta, "augmentation": {"by": way, "number": number}}
    if way == "vary":
        meta = {name: value for name, value in meta.items() if name not in STALE}
    own = content_id("augmented", way, parent.id, number, question, changes.get("answer", parent.answer))
    return replace(parent, id=own, question=question, parent_id=parent.id, meta=meta, **changes)


def way_of_making(problem: Problem) -> str | None:
    """Return how a problem was made of another; `None`: it was given."""
    found = problem.meta.get("augmentation")
    return str(found["by"]) if isinstance(found, Mapping) else None


# In other words


def reworded(parent: Problem, text: str, number: int) -> Problem | Refused:
    """Return a teacher's rewording as a problem, unless it visibly asks something else."""
    text = re.sub(r"^(?:Q|Question|Rewritten problem)\s*:\s*", "", text.strip().strip('"').strip())
    words, before = len(text.split()), len(parent.question.split())
    if not text or not SHORTEST * before <= words <= LONGEST * before:
        return Refused("paraphrase_length", f"{words} words, of {before}")
    if facts(text) != facts(parent.question):
        return Refused("paraphrase_numbers", shorten(text))
    if "?" in parent.question and "?" not in text:
        return Refused("paraphrase_asks_nothing", shorten(text))
    if mask(text) == mask(parent.question):
        return Refused("paraphrase_same", shorten(text))
    return derived(parent, text, "paraphrase", number)


# With slips of the keyboard


def noisy(parent: Problem, number: int, frac: float, rng: random.Random) -> Problem | Refused:
    """Return a problem with slips in a share of its lower-case words; numbers, names and options stay."""
    spans = [match.span() for match in _TYPED.finditer(parent.question) if not _says_number(match[0])]
    if not spans:
        return Refused("noise_no_word")
    text = parent.question
    for start, end in sorted(rng.sample(spans, max(1, round(frac * len(spans)))), reverse=True):
        text = text[:start] + _slip(text[start:end], rng) + text[end:]
    if text == parent.question or facts(text) != facts(parent.question):
        return Refused("noise_numbers", shorten(text))
    return derived(parent, text, "noise", number)


def _says_number(word: str) -> bool:
    return bool(facts(word))


def _slip(word: str, rng: random.Random) -> str:
    """Return a word with two letters swapped, one left out, or one typed twice; the first one stays."""
    at = rng.randrange(1, len(word) - 1)
    before, here, after = word[:at], word[at], word[at + 1 :]
    kind = rng.choice(("swapped", "doubled", "left out"))
    if kind == "swapped" and here != after[0]:
        return before + after[0] + here + after[1:]
    return before + 2 * here + after if kind == "doubled" else before + after


# With other numbers and names


@dataclass(frozen=True, slots=True)
class Spot:
    """A number of a question that every program holds once, and where."""

    text: str
    span: tuple[int, int]
    places: tuple[tuple[int, int], ...]
    """For each program, the constant's place in its UTF-8 bytes."""


def varied(
    parent: Problem,
    programs: Sequence[str],
    number: int,
    rng: random.Random,
    *,
    answer_of: Callable[[str], str | None],
    names: Sequence[str] = (),
) -> Problem | Refused:
    """Return a problem with other numbers and names, its answer what all programs say for them.

    Args:
        programs: Verified ones: each was run and gave the parent's gold answer.
        answer_of: Runs a program; `None` where it has no answer.
        names: What names are exchanged for; none: they stay.
    """
    if parent.answer_type != "number" or parent.answer is None or parent.meta.get("definitions"):
        return Refused("vary_no_number", f"answer_type {parent.answer_type}")
    if len(programs) < MIN_PROGRAMS:
        return Refused("vary_no_programs", f"{len(programs)} verified programs, {MIN_PROGRAMS} needed")
    spots = shared_numbers(parent.question, programs)
    if not spots:
        return Refused("vary_no_spot", "no number of the question stands in every program exactly once")
    found = _renumbered(parent, programs, spots, rng, answer_of)
    if isinstance(found, Refused):
        return found
    question, answer = found
    question = _renamed(question, names, rng)
    return derived(parent, question, "vary", number, answer=answer)


def shared_numbers(question: str, programs: Sequence[str]) -> list[Spot]:
    """Return the numbers from 2 on that stand once in the question and, as a constant, once in every program.

    Nought and one stay: other numbers in their place make another sentence.

    >>> [spot.text for spot in shared_numbers("3 bags of 4 and 4 more", ["ans = 3 * 4 + 4"])]
    ['3']
    """
    matches = list(_NUMBER.finditer(question))
    counts = Counter(Fraction(match[0]) for match in matches)
    held = [constants(program) for program in programs]
    spots = []
    for match in matches:
        value = Fraction(match[0])
        places = [own.get(value, []) for own in held]
        if value > 1 and counts[value] == 1 and all(len(own) == 1 for own in places):
            spots.append(Spot(match[0], match.span(), tuple(own[0] for own in places)))
    return spots


def constants(program: str) -> dict[Fraction, list[tuple[int, int]]]:
    """Return each number of a program -> its places in the UTF-8 bytes; nothing where the program cannot be read."""
    try:
        tree = ast.parse(program)
    except (SyntaxError, ValueError):
        return {}
    starts = [0]
    for line in program.encode().splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    found: dict[Fraction, list[tuple[int, int]]] = defaultdict(list)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and type(node.value) in (int, float) and node.end_col_offset is not None:
            text = ast.get_source_segment(program, node) or ""
            if re.fullmatch(r"\d+(?:\.\d+)?", text):
                at = starts[node.lineno - 1]
                found[Fraction(text)].append((at + node.col_offset, at + node.end_col_offset))
    return found


def _renumbered(
    parent: Problem, programs: Sequence[str], spots: Sequence[Spot], rng: random.Random,
    answer_of: Callable[[str], str | None],
) -> tuple[str, str] | Refused:  # fmt: skip
    """Return a question with other numbers, and its answer: as whole as the parent's, negative only where that is."""
    old = _plain(str(parent.answer))
    taken = {match[0] for match in _NUMBER.finditer(parent.question)}
    last = Refused("vary_no_answer", "no draw of numbers gave an answer like the parent's")
    for _ in range(TRIES):
        new = _other_numbers(spots, taken, rng)
        if new is None:
            return Refused("vary_no_spot", "no other numbers of this size are free")
        answers = {answer_of(_with(program, spots, at, new)) for at, program in enumerate(programs)}
        if len(answers) > 1:
            last = Refused("vary_disagree", f"the programs say {shorten(sorted(map(str, answers)))}")
            continue
        value = _plain(answers.pop() or "")
        if value is None or old is None or (value < 0) != (old < 0) or (value.denominator > 1) > (old.denominator > 1):
            continue
        text = parent.question
        for spot, shown in sorted(zip(spots, new, strict=True), key=lambda pair: pair[0].span, reverse=True):
            text = text[: spot.span[0]] + shown + text[spot.span[1] :]
        return text, str(value) if value.denominator == 1 else f"{float(value):.6g}"
    return last


def _other_numbers(spots: Sequence[Spot], taken: set[str], rng: random.Random) -> list[str] | None:
    """Return as many different new numbers, none of which the question holds; `None` where there are not so many.

    Each has as many digits as its old one and lies between its half and its double.
    """
    new: list[str] = []
    for spot in spots:
        whole, _, part = spot.text.partition(".")
        old, digits = int(whole), len(whole)
        lowest, highest = max(2, old // 2, 10 ** (digits - 1)), min(2 * old, 10**digits - 1)
        end = "." + "".join(rng.choices("123456789", k=len(part))) if part else ""
        free = [
            text for n in range(lowest, min(highest, lowest + 999) + 1) if (text := f"{n}{end}") not in {*taken, *new}
        ]
        if not free:
            return None
        new.append(rng.choice(free))
    return new


def _with(program: str, spots: Sequence[Spot], at: int, new: Sequence[str]) -> str:
    text = program.encode()
    for spot, shown in sorted(zip(spots, new, strict=True), key=lambda pair: pair[0].places[at], reverse=True):
        start, end = spot.places[at]
        text = text[:start] + shown.encode() + text[end:]
    return text.decode()


def _plain(text: str) -> Fraction | None:
    try:
        return Fraction(text.strip().replace(",", ""))
    except (ValueError, ZeroDivisionError):
        return None


def common_names(problems: Iterable[Problem], at_least: int = 2) -> tuple[str, ...]:
    """Return the names of several problems: words with a capital within a sentence that are nowhere written small."""
    found: Counter[str] = Counter()
    small: set[str] = set()
    for problem in problems:
        words = problem.question.split()
        small.update(word.strip(".,?!").lower() for word in words if word[:1].islower())
        inner = {word.strip(".,?!") for before, word in pairwise(words) if before[-1] not in ".?!:"}
        found.update(word for word in inner if _CAPITAL.fullmatch(word))
    fitting = (word for word, count in found.items() if count >= at_least)
    return tuple(sorted(word for word in fitting if word.lower() not in small | _DATES))


def _renamed(question: str, names: Sequence[str], rng: random.Random) -> str:
    mine = sorted({word for word in re.findall(r"\w+", question) if word in set(names)})
    free = [name for name in names if name not in mine]
    if not mine or len(free) < len(mine):
        return question
    others = dict(zip(mine, rng.sample(free, len(mine)), strict=True))
    return re.sub(r"\w+", lambda match: others.get(match[0], match[0]), question)


# What must not be learnt


@dataclass(slots=True)
class Evaluated:
    """The evaluated problems, by their numbers: what an augmented problem must not become."""

    problems: Sequence[Problem]
    _by_numbers: dict[tuple[tuple[Fraction, int], ...], list[Problem]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for problem in self.problems:
            self._by_numbers.setdefault(_numbers(problem.question), []).append(problem)

    def tie(self, problem: Problem) -> str | None:
        """Return which evaluated problem this one has become: the same numbers in nearly the same words.

        Asked of every augmented problem beside the filter's own search, because a problem that brings its own family
        (the miniature's) is not compared by words there.
        """
        words = frozenset(mask(problem.question).split())
        for other in self._by_numbers.get(_numbers(problem.question), []):
            theirs = frozenset(mask(other.question).split())
            if len(words & theirs) >= NEAR * len(words | theirs):
                return f"{other.id} in split {other.split}: same numbers ({shorten(other.question, 80)})"
        return None


def _numbers(text: str) -> tuple[tuple[Fraction, int], ...]:
    return tuple(sorted(facts(text).items()))
