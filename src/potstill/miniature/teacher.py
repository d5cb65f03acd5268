"""The procedural teacher: reads a question of the miniature world, writes one of many rationales, is sometimes wrong.

It knows nothing but the text it is given: the walk is parsed from the question's sentences, as a model would read it.
It misreads some problems, slips in some steps, and now and then forgets to say the answer; in programs likewise
(`programs`). Its chains of thought are frozen to the byte: the pretrained student was tuned with them.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, replace

from potstill.miniature.programs import PROGRAM_STYLES, write_program
from potstill.miniature.world import DAYS, LARGE, RING, Event, Walk

MISREADS = 0.06
"""Fraction of problems read wrongly at temperature 1."""
SLIPS = 0.02
"""Fraction of reckoned steps that come out wrong at temperature 1."""
FORGETS = 0.015
"""Fraction of rationales without an answer at temperature 1."""
STYLES = {"chain": 0.45, "recap": 0.2, "ahead": 0.15, "reverse": 0.2}
LEADS = {
    "chain": ("Let us think.", "Let us think.", ""),
    "recap": ("First the days.", "Days:"),
    "ahead": ("Ahead first.", "Ahead, then back."),
    "reverse": ("In reverse:", "Backwards:"),
}
MARKER = " So the answer is: "
UNREAD = "I cannot tell from this text which square is reached."

_DAY = re.compile(rf"\b({'|'.join(DAYS)})\b")
_START = re.compile(r"\bsquare (\d+)\b")
_ONLY = re.compile(rf"\bOnly (ahead|back|{'|'.join(DAYS)}):")
_MOVE = re.compile(r"(?:(\d+) (?:times|jumps of) )?(\d+) (ahead|forward|back|backward)\b")


def write(question: str, rng: random.Random, *, kind: str = "cot", temperature: float = 1.0) -> str:
    """Write a rationale for `question`: a chain of thought, with kind `pot` a program, with `answer` the bare answer.

    The temperature scales how often it errs and how freely it chooses a style: at 0 it has one style, and whether it
    misreads depends on the question alone. A text that is no problem of this world gets a general answer.
    """
    walk = read_walk(question)
    if walk is None:
        return UNREAD
    walk = restricted(walk, question)
    if temperature <= 0:
        rng = random.Random(question)
    errs = min(temperature, 2.0) if temperature > 0 else 0.5
    if rng.random() < MISREADS * errs:
        walk = _misread(walk, rng)
    if kind == "pot":
        style = _draw_style(rng, temperature, PROGRAM_STYLES)
        return write_program(walk, rng, style=style, slips=SLIPS * errs, forgets=rng.random() < FORGETS * errs)
    pen = _Pen(rng, slips=SLIPS * errs, is_plain=temperature <= 0, start=walk.start)
    style = _draw_style(rng, temperature, STYLES)
    rationale = pen.rationale(walk, style)
    forgets = rng.random() < FORGETS * errs
    if kind == "answer":
        return f"{pen.square}"
    return rationale if forgets else f"{rationale}{MARKER}{pen.square}"


def read_walk(text: str) -> Walk | None:
    """Return the walk that the sentences of a problem tell, or `None` where they tell none."""
    start = _START.search(text)
    if start is None:
        return None
    events = []
    for sentence in _ONLY.split(text[start.end() :])[0].split("."):
        day, move = _DAY.search(sentence), _MOVE.search(sentence)
        if day is None:
            continue
        if move is None:
            events.append(Event(day[1], 0, 0))
            continue
        times, amount, way = move.groups()
        events.append(Event(day[1], -1 if way.startswith("back") else 1, int(amount), int(times or 1)))
    if not any(event.sign for event in events):
        return None
    return Walk(int(start[1]) % RING, tuple(events))


def restricted(walk: Walk, question: str) -> Walk:
    """Return the part of a walk that counts, where a question says so: `Only ahead:`, `Only back:`, `Only Tuesday:`."""
    said = _ONLY.search(question)
    if said is None:
        return walk
    sign = {"ahead": 1, "back": -1}.get(said[1])
    return replace(walk, events=tuple(e for e in walk.events if (e.day == said[1] if sign is None else e.sign == sign)))


def _draw_style(rng: random.Random, temperature: float, styles: dict[str, float]) -> str:
    if temperature <= 0:
        return max(styles, key=styles.__getitem__)
    return rng.choices(list(styles), [weight ** (1 / max(temperature, 0.05)) for weight in styles.values()])[0]


def _misread(walk: Walk, rng: random.Random) -> Walk:
    at = rng.randrange(len(walk.events))
    event, draw = walk.events[at], rng.random()
    if not event.sign:
        wrong = replace(event, sign=1, amount=rng.randint(1, 9))
    elif draw < 0.4:
        wrong = replace(event, sign=-event.sign)
    elif draw < 0.7:
        wrong = replace(event, amount=max(1, event.amount + rng.choice((-1, 1))))
    else:
        wrong = replace(event, sign=0)
    return Walk(walk.start, (*walk.events[:at], wrong, *walk.events[at + 1 :]))


@dataclass(slots=True)
class _Pen:
    """Writes one rationale and keeps the square reached so far."""

    rng: random.Random
    slips: float
    is_plain: bool
    start: int
    square: int = 0

    def rationale(self, walk: Walk, style: str) -> str:
        self.square = walk.start
        events = _ordered(walk.events, style)
        if style == "ahead" or self._chance(0.5):
            events = [event for event in events if event.sign]
        parts = [self._one_of(LEADS[style]), self._one_of((f"Start at {walk.start}.", f"The start is {walk.start}."))]
        if style == "recap":
            recaps = [(event.day, *self._recap(event)) for event in events]
            parts += [f"{text}." for _, text, _ in recaps]
            parts += [self._one_of(("So", "Now")), *(f"{day}: {self._step(*move)}." for day, _, move in recaps if move)]
        else:
            for event in events:
                text, move = self._recap(event)
                parts.append(f"{text}, {self._step(*move)}." if move else f"{text}.")
        return " ".join(part for part in parts if part)

    def _recap(self, event: Event) -> tuple[str, tuple[int, int] | None]:
        """Say what a day brings; return also its sign and its number of squares, `None` for an idle day."""
        if not event.sign:
            return f"{event.day}: no move", None
        way = _way(event.sign)
        if event.times > 1:
            squares = self._reckon(event.times * event.amount)
            return f"{event.day}: {event.times} times {event.amount} {way} is {squares} {way}", (event.sign, squares)
        if event.amount >= LARGE.start:
            squares = self._reckon(event.amount % RING) % RING
            return f"{event.day}: {event.amount} {way} is {squares} {way}", (event.sign, squares)
        return f"{event.day}: {event.amount} {way}", (event.sign, event.amount)

    def _step(self, sign: int, squares: int) -> str:
        before, self.square = self.square, self._reckon((self.square + sign * squares) % RING) % RING
        return f"{before} and {squares} {_way(sign)} is {self.square}"

    def _reckon(self, right: int) -> int:
        if self.rng.random() >= self.slips:
            return right
        return max(0, right + self.rng.choice((-2, -1, 1, 2)))

    def _chance(self, fraction: float) -> bool:
        return not self.is_plain and self.rng.random() < fraction

    def _one_of(self, texts: tuple[str, ...]) -> str:
        return texts[0] if self.is_plain else self.rng.choice(texts)


def _ordered(events: tuple[Event, ...], style: str) -> list[Event]:
    if style == "reverse":
        return list(reversed(events))
    if style == "ahead":
        return sorted(events, key=lambda event: -event.sign)
    return list(events)


def _way(sign: int) -> str:
    return "ahead" if sign > 0 else "back"
