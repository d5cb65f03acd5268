"""The miniature world: word problems about a walk on a ring of 12 squares, drawn from a seed.

A walk has a start square and one event per weekday: a move by an amount, jumps, or something idle that moves nobody.
The weekday is the unique key of an event, which a rationale and a program look up. Every walk belongs, by a hash of
its numbers, to one part: pretraining text, training, development or test problems. So no seed and no split can ever
put the walk of a test problem into the text that the base student was pretrained on, or into training.

This module makes problems. It writes no rationale (`teacher.py`) and no pretraining text (`corpus.py`).
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

RING = 12
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
NAMES = (
    "Amy", "Ben", "Cora", "Dan", "Eva", "Finn", "Gita", "Hugo", "Ines", "Jon",
    "Kira", "Leo", "Mona", "Nils", "Olga", "Pia", "Quin", "Rosa", "Sam", "Tess",
)  # fmt: skip
OOD_NAMES = ("Uma", "Vera", "Will", "Yara")
VERBS = ("walks", "goes", "moves")
OOD_VERBS = ("strides", "runs")
AHEAD = ("ahead", "forward")
BACK = ("back", "backward")
IDLE = (("eats", "plums"), ("reads", "pages"), ("sells", "cards"), ("plays", "songs"), ("counts", "birds"))
STARTS = ("stands on", "starts on", "waits on")
ENDINGS = (
    "Which square does {name} reach?",
    "Where is {name} at the end?",
    "On which square does {name} stop?",
)
MOVES = ("On {day} {name} {verb} {amount} {way}.", "On {day} it is {amount} {way} for {name}.")
JUMPS = (
    "On {day} {name} jumps {times} times {amount} {way}.",
    "On {day} {name} makes {times} jumps of {amount} {way}.",
)
IDLES = "On {day} {name} {verb} {amount} {things}."
OOD_MOVE = "{name} {verb} {amount} {way} on {day}."
OOD_JUMP = "{name} jumps {times} times {amount} {way} on {day}."
SMALL = range(1, 16)
LARGE = range(21, 100)
SPLITS = ("train", "dev", "test", "ood")
LARGE_FRAC = 0.2
IDLE_FRAC = 0.25
_BUCKETS = {"pretraining": range(8), "train": range(8, 11), "dev": range(11, 13), "test": range(13, 16)}


@dataclass(frozen=True, slots=True)
class Event:
    """What one weekday brings: a move of `times` x `amount` squares, or, with `sign` 0, something idle."""

    day: str
    sign: int
    """1 ahead, -1 back, 0 idle."""
    amount: int
    times: int = 1

    @property
    def is_large(self) -> bool:
        """Whether this moves by an amount whose place on the ring no pretraining text states."""
        return self.sign != 0 and self.amount in LARGE


@dataclass(frozen=True, slots=True)
class Walk:
    """A start square and the events of a week, in order."""

    start: int
    events: tuple[Event, ...]

    @property
    def end(self) -> int:
        """The square reached."""
        return (self.start + sum(e.sign * e.times * e.amount for e in self.events)) % RING

    @property
    def part(self) -> str:
        """The only part of the study that may use this walk: pretraining, train, dev or test."""
        moves = tuple((e.day, e.sign, e.amount, e.times) for e in self.events if e.sign)
        bucket = hashlib.blake2b(repr((self.start, moves)).encode(), digest_size=2).digest()[0] % 16
        return next(part for part, buckets in _BUCKETS.items() if bucket in buckets)


@dataclass(frozen=True, slots=True)
class Wording:
    """The choices that turn a walk into sentences."""

    name: str
    start: str
    patterns: tuple[str, ...]
    """One sentence pattern per event."""
    ending: str


def draw_problems(split: str, n: int, seed: int) -> list[dict[str, Any]]:
    """Return `n` problems of a split as plain dicts; fewer problems of the same seed are a prefix of more.

    `train`, `dev` and `test` have two to four moves. `ood` has four or five, people whom no training problem names,
    and sentence patterns and verbs that none contains.
    """
    found: dict[str, dict[str, Any]] = {}
    for walk, wording in _draws(split, seed):
        if len(found) == n:
            break
        text = question(walk, wording)
        found.setdefault(text, _record(text, walk, split=split))
    return list(found.values())


def draw_contrast(n_parents: int, seed: int, *, per_parent: int = 2) -> list[dict[str, Any]]:
    """Return minimal edits of the first `n_parents` test problems, `per_parent` each, that change the answer.

    An edit changes one amount, one direction or the start square. `parent_index` is the row of the parent in
    `draw_problems("test", n_parents, seed)`, `parent_question` its text, `meta.edit` what was changed.
    """
    parents: dict[str, tuple[Walk, Wording]] = {}
    for walk, wording in _draws("test", seed):
        if len(parents) == n_parents:
            break
        parents.setdefault(question(walk, wording), (walk, wording))
    rows = []
    for index, (parent, (walk, wording)) in enumerate(parents.items()):
        rng = random.Random(f"contrast {seed} {index}")
        for edit, edited in _edits(walk, rng)[:per_parent]:
            row = _record(question(edited, wording), edited, split="contrast")
            row |= {"parent_index": index, "parent_question": parent, "meta": row["meta"] | {"edit": edit}}
            rows.append(row)
    return rows


def draw_move(rng: random.Random, day: str) -> Event:
    """Draw a move by a small amount, or jumps."""
    sign = rng.choice((1, -1))
    if rng.random() < 0.3:
        return Event(day, sign, rng.randint(2, 5), rng.randint(2, 4))
    return Event(day, sign, rng.choice(SMALL))


def draw_wording(rng: random.Random, walk: Walk, *, ood_name: float = 0.0, ood: float = 0.0) -> Wording:
    """Draw a wording; the name and each pattern are out of distribution with these probabilities."""
    name = rng.choice(OOD_NAMES if rng.random() < ood_name else NAMES)
    patterns = tuple(_draw_pattern(rng, event, ood) for event in walk.events)
    return Wording(name, rng.choice(STARTS), patterns, rng.choice(ENDINGS))


def story(walk: Walk, wording: Wording) -> str:
    """Return the walk in sentences, without the final question."""
    sentences = [f"{wording.name} {wording.start} square {walk.start} of a ring numbered 0 to 11."]
    for event, pattern in zip(walk.events, wording.patterns, strict=True):
        way, other_way = BACK if event.sign < 0 else AHEAD
        words = {"day": event.day, "name": wording.name, "amount": event.amount, "times": event.times}
        sentences.append(pattern.format(**words, way0=way, way1=other_way))
    return " ".join(sentences)


def question(walk: Walk, wording: Wording) -> str:
    """Return the whole problem as a student reads it."""
    return f"{story(walk, wording)} {wording.ending.format(name=wording.name)}"


def _draws(split: str, seed: int) -> Iterator[tuple[Walk, Wording]]:
    if split not in SPLITS:
        message = f"split: got {split!r}; expected one of {', '.join(SPLITS)}"
        raise ValueError(message)
    rng = random.Random(f"{split} {seed}")
    is_ood = split == "ood"
    part = "test" if is_ood else split
    while True:
        n_moves = rng.choice((4, 5) if is_ood else (2, 3, 3, 4))
        has_large = rng.random() < LARGE_FRAC
        walk = _draw_walk(rng, n_moves=n_moves, has_large=has_large)
        while walk.part != part:
            walk = _draw_walk(rng, n_moves=n_moves, has_large=has_large)
        yield walk, draw_wording(rng, walk, ood_name=float(is_ood), ood=0.5 * is_ood)


def _draw_walk(rng: random.Random, *, n_moves: int, has_large: bool) -> Walk:
    n_idle = int(rng.random() < IDLE_FRAC)
    days = sorted(rng.sample(range(len(DAYS)), n_moves + n_idle))
    events = [draw_move(rng, DAYS[day]) for day in days]
    if n_idle:
        at = rng.randrange(len(events))
        events[at] = Event(events[at].day, 0, rng.randint(2, 40))
    if has_large:
        at = rng.choice([at for at, event in enumerate(events) if event.sign])
        events[at] = Event(events[at].day, events[at].sign, rng.choice(LARGE))
    return Walk(rng.randrange(RING), tuple(events))


def _draw_pattern(rng: random.Random, event: Event, ood: float) -> str:
    if not event.sign:
        verb, things = rng.choice(IDLE)
        return IDLES.replace("{verb}", verb).replace("{things}", things)
    is_ood = rng.random() < ood
    way = f"{{way{rng.randrange(2)}}}"
    if event.times > 1:
        pattern = OOD_JUMP if is_ood else rng.choice(JUMPS)
    else:
        pattern = OOD_MOVE if is_ood else rng.choice(MOVES)
        pattern = pattern.replace("{verb}", rng.choice(OOD_VERBS if is_ood else VERBS))
    return pattern.replace("{way}", way)


def _edits(walk: Walk, rng: random.Random) -> list[tuple[str, Walk]]:
    edits = [("start", replace(walk, start=start)) for start in range(RING)]
    for at, event in enumerate(walk.events):
        if not event.sign:
            continue
        edits.append(("direction", _with_event(walk, at, replace(event, sign=-event.sign))))
        amounts = LARGE if event.is_large else SMALL if event.times == 1 else range(2, 6)
        edits += [("amount", _with_event(walk, at, replace(event, amount=amount))) for amount in amounts]
    kept = [(edit, edited) for edit, edited in edits if edited.part == "test" and edited.end != walk.end]
    rng.shuffle(kept)
    kinds = [edit for edit, _ in kept]
    turns = [kinds[:at].count(edit) for at, edit in enumerate(kinds)]
    return [kept[at] for at in sorted(range(len(kept)), key=turns.__getitem__)]


def _with_event(walk: Walk, at: int, event: Event) -> Walk:
    return replace(walk, events=(*walk.events[:at], event, *walk.events[at + 1 :]))


def _record(text: str, walk: Walk, *, split: str) -> dict[str, Any]:
    return {
        "question": text,
        "answer": str(walk.end),
        "answer_type": "number",
        "source": "miniature",
        "split": split,
        "meta": {
            "n_moves": sum(1 for event in walk.events if event.sign),
            "has_large": any(event.is_large for event in walk.events),
        },
    }
