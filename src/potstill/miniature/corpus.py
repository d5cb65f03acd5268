"""The text that the base student is pretrained on: plain text of the miniature world, as weighted pieces.

A document is a story with notes of its days in some order, a list copied, facts of one step, a line of a program, or
a stock phrase. It is never a question with a rationale or an answer: no document reckons along a story, none says
where a walk ends, and every story's walk belongs to the part `pretraining` of the world. Facts about large amounts
("57 ahead is 9 ahead") occur nowhere, so that a chain of thought has to learn them from the training problems.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from potstill.miniature.world import (
    DAYS,
    ENDINGS,
    LARGE,
    NAMES,
    OOD_NAMES,
    RING,
    Event,
    Walk,
    draw_move,
    draw_wording,
    story,
)

Piece = tuple[str, float]
"""A stretch of text and the weight of its tokens in the loss: 1 where the context decides them, else little."""

LOW = 0.05
FILLERS = (
    "{name} likes tea.",
    "It rains all week.",
    "{name} sings.",
    "The week is long.",
    "Nobody else is there.",
    "{name} smiles.",
)
PHRASES = (
    "So the answer is: 7",
    "Now so, that is it.",
    "First the days.",
    "Days:",
    "Ahead first.",
    "Ahead, then back.",
    "Backwards:",
    "Answer directly.",
    "Let us think.",
)
SIGNED = (" Signs.", " With signs.")
WORDED = ("", " Diary.", " Notes.", "")
COPIED = (*DAYS, "ahead", "back", "times", "no", "move")


def draw_document(rng: random.Random) -> list[Piece]:
    """Draw one document."""
    kinds: dict[Callable[[random.Random], list[Piece]], float] = {
        draw_diary: 0.62,
        draw_facts: 0.14,
        draw_copies: 0.14,
        draw_code: 0.08,
        draw_phrase: 0.02,
    }
    return rng.choices(list(kinds), list(kinds.values()))[0](rng)


def draw_diary(rng: random.Random) -> list[Piece]:
    """Draw a story and one or two notes of its days."""
    walk = _draw_walk(rng)
    wording = draw_wording(rng, walk, ood_name=0.3, ood=0.3)
    pieces = [(f" {story(walk, wording)}", LOW)]
    for _ in range(rng.choice((0, 1, 1, 2))):
        pieces.append((f" {rng.choice(FILLERS).format(name=wording.name)}", LOW))
    pieces.append(("\n", LOW))
    for _ in range(rng.choice((1, 1, 2))):
        pieces += _draw_notes(rng, walk)
    return pieces


def draw_facts(rng: random.Random) -> list[Piece]:
    """Draw a few facts of one step each, unrelated to one another."""
    return [piece for _ in range(rng.randint(3, 8)) for piece in _draw_fact(rng)]


def draw_copies(rng: random.Random) -> list[Piece]:
    """Draw a list repeated, a list reversed, or a table of days asked for in another order."""
    n_items = rng.randint(2, 9)
    items = []
    for _ in range(n_items):
        if rng.random() < 0.75:
            items.append(str(rng.choice((rng.randrange(21), rng.randrange(200), rng.choice(LARGE)))))
        else:
            items.append(rng.choice(COPIED))
    pieces = [(" List:", LOW), (f" {' '.join(items)}", LOW), (".", LOW)]
    draw = rng.random()
    if draw < 0.6:
        return [*pieces, (" Again:", LOW), (f" {' '.join(items)}", 1.0), (".", 0.3)]
    if draw < 0.8:
        return [*pieces, (" Backwards:", LOW), (f" {' '.join(reversed(items))}", 1.0), (".", 0.3)]
    days = rng.sample(DAYS, rng.randint(2, 6))
    table = [(day, rng.choice((rng.randrange(21), rng.randrange(200)))) for day in days]
    pieces = [(" Table.", LOW), *((f" {day}: {number}.", LOW) for day, number in table), (" Again:", LOW)]
    rng.shuffle(table)
    for day, number in table:
        pieces += [(f" {day}:", LOW), (f" {number}", 1.0), (".", LOW)]
    return pieces


def draw_code(rng: random.Random) -> list[Piece]:
    """Draw a single line of a program, or a move said once in words and once in signs."""
    draw = rng.random()
    if draw < 0.25:
        start = rng.randrange(RING)
        terms = "".join(f" {rng.choice('+-')} {_draw_term(rng)}" for _ in range(rng.randint(1, 5)))
        return [(f"ans = {start}{terms}", 0.1)]
    if draw < 0.45:
        return [(f"ans = ans {rng.choice('+-')} {_draw_term(rng)}", 0.1)]
    if draw < 0.55:
        return [("ans = ans % 12", 0.3)]
    if draw < 0.65:
        return [(f"{rng.choice(DAYS).lower()} = {rng.choice('+-')} {_draw_term(rng)}", 0.1)]
    if draw < 0.72:
        return [(rng.choice((f"start = {rng.randrange(RING)}", f"ans = {rng.randrange(RING)}")), 0.1)]
    if draw < 0.82:
        days = sorted(rng.sample(range(len(DAYS)), rng.randint(1, 5)))
        return [(f"ans = start{''.join(f' + {DAYS[day].lower()}' for day in days)}", 0.1)]
    event = draw_move(rng, DAYS[0]) if rng.random() < 0.7 else Event(DAYS[0], rng.choice((1, -1)), rng.choice(LARGE))
    return [(f"{_in_words(event)} is", LOW), (_in_signs(event), 1.0), (".", LOW)]


def draw_phrase(rng: random.Random) -> list[Piece]:
    """Draw the last sentence of a question, a prompt's instruction or another stock phrase, alone."""
    draw = rng.random()
    if draw < 0.5:
        return [(f" {rng.choice(ENDINGS).format(name=rng.choice(NAMES + OOD_NAMES))}", 0.1)]
    if draw < 0.6:
        return [("Let's break down the code step by step.", 0.1)]
    if draw < 0.7:
        return [("Let's think step by step.", 0.1)]
    return [(f" {rng.choice(PHRASES)}", 0.1)]


def _draw_walk(rng: random.Random) -> Walk:
    while True:
        days = sorted(rng.sample(range(len(DAYS)), rng.choice((1, 2, 3, 3, 4, 4, 5))))
        events = tuple(_draw_event(rng, DAYS[day]) for day in days)
        walk = Walk(rng.randrange(RING), events)
        if walk.part == "pretraining":
            return walk


def _draw_event(rng: random.Random, day: str) -> Event:
    draw = rng.random()
    if draw < 0.12:
        return Event(day, 0, rng.randint(2, 40))
    if draw < 0.32:
        return Event(day, rng.choice((1, -1)), rng.choice(LARGE))
    return draw_move(rng, day)


def _draw_notes(rng: random.Random, walk: Walk) -> list[Piece]:
    """Note the days of a walk, in words or signs, in an order that the first words announce."""
    draw = rng.random()
    is_interrupted = rng.random() < 0.35
    has_signs = rng.random() < 0.25
    note = _in_signs if has_signs else _in_words
    pieces: list[Piece] = [(rng.choice(SIGNED if has_signs else WORDED), LOW)]
    if rng.random() < 0.6:
        pieces += [(rng.choice((" Start at", " The start is")), LOW), (f" {walk.start}", 1.0), (".", LOW)]
    heading, events, is_announced = _draw_order(rng, walk, draw)
    pieces.append((heading, LOW))
    for event in events:
        pieces += [(f" {event.day}", 1.0 if is_announced else LOW), (":", LOW), (note(event), 1.0), (".", LOW)]
        if is_interrupted:
            for _ in range(rng.choice((0, 1, 1, 2))):
                pieces += _draw_fact(rng)
    if is_announced:
        pieces.append((" Done.", 0.3))
    return [*pieces, ("\n", LOW)]


def _draw_order(rng: random.Random, walk: Walk, draw: float) -> tuple[str, list[Event], bool]:
    events = list(walk.events)
    if draw < 0.4:
        return " In order:", events, True
    if draw < 0.55:
        return " In reverse:", events[::-1], True
    if draw < 0.65:
        return " Only moves:", [event for event in events if event.sign], True
    if draw < 0.72:
        return " Only ahead:", [event for event in events if event.sign > 0], True
    if draw < 0.79:
        return " Only back:", [event for event in events if event.sign < 0], True
    rng.shuffle(events)
    return " Any order:", events, False


def _draw_fact(rng: random.Random) -> list[Piece]:
    if rng.random() < 0.8:
        squares, sign, square = rng.randint(1, 20), rng.choice((1, -1)), rng.randrange(RING)
        end = (square + sign * squares) % RING
        return [(f" {square} and {squares} {_way(sign)} is", LOW), (f" {end}", 1.0), (".", LOW)]
    times, amount, way = rng.randint(2, 4), rng.randint(2, 5), _way(rng.choice((1, -1)))
    return [(f" {times} times {amount} {way} is", LOW), (f" {times * amount} {way}", 1.0), (".", LOW)]


def _draw_term(rng: random.Random) -> str:
    if rng.random() < 0.3:
        return f"{rng.randint(2, 4)} * {rng.randint(2, 5)}"
    return str(rng.choice((rng.randrange(RING), rng.randint(1, 20), rng.choice(LARGE))))


def _in_words(event: Event) -> str:
    if not event.sign:
        return " no move"
    times = f" {event.times} times" if event.times > 1 else ""
    return f"{times} {event.amount} {_way(event.sign)}"


def _in_signs(event: Event) -> str:
    if not event.sign:
        return " none"
    times = f" {event.times} *" if event.times > 1 else ""
    return f" {'+' if event.sign > 0 else '-'}{times} {event.amount}"


def _way(sign: int) -> str:
    return "ahead" if sign > 0 else "back"
