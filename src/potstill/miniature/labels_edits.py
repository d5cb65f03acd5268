"""Edits of a problem of the labels world: all small changes to one of its sentences, and the label that each gives.

An edit is known by the sentence that it replaces and by what it puts there, as an editor declares it. Pure but for
what is drawn from the given generator of chance.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace

from potstill.miniature.labels import CUES, WAYS, Entry, Item, draw_entry, other_way
from potstill.miniature.world import DAYS, SMALL

IDLE_WORDS = ("reads", "pages")
MOVE_VERB = "walks"


@dataclass(frozen=True, slots=True)
class Edit:
    """One change of one field."""

    kind: str
    """temporal, relation, attribute, entity, quantity, insertion or deletion."""
    field: str
    """diary or note."""
    old: str
    new: str
    after: Item


def edits(item: Item) -> list[Edit]:
    """Return every small edit of a problem, whatever label it leads to; the cue is never touched."""
    return [*_of_note(item), *_of_entries(item), *_insertions(item)]


def _of_note(item: Item) -> Iterator[Edit]:
    for day in DAYS:
        if day != item.day:
            yield _noted("temporal", item, replace(item, day=day))
    yield _noted("relation", item, replace(item, way=other_way(item.way)))


def _noted(kind: str, item: Item, after: Item) -> Edit:
    return Edit(kind, "note", item.note, after.note, after)


def _of_entries(item: Item) -> Iterator[Edit]:
    taken = {entry.day for entry in item.entries}
    for at, entry in enumerate(item.entries):
        if entry.is_move:
            yield _entered("attribute", item, at, replace(entry, goal=other_way(entry.goal)))
            yield _entered("entity", item, at, replace(entry, verb=IDLE_WORDS[0], goal=IDLE_WORDS[1]))
        else:
            for way in WAYS:
                yield _entered("entity", item, at, replace(entry, verb=MOVE_VERB, goal=way))
        for amount in SMALL:
            if amount != entry.amount:
                yield _entered("quantity", item, at, replace(entry, amount=amount))
        for day in DAYS:
            if day not in taken:
                yield _entered("temporal", item, at, replace(entry, day=day))
        if len(item.entries) > 1:
            yield _entered("deletion", item, at, None)


def _entered(kind: str, item: Item, at: int, entry: Entry | None) -> Edit:
    entries = (*item.entries[:at], *([entry] if entry else []), *item.entries[at + 1 :])
    new = entry.sentence(item.name) if entry else ""
    return Edit(kind, "diary", item.entries[at].sentence(item.name), new, replace(item, entries=entries))


def _insertions(item: Item) -> Iterator[Edit]:
    """Say something of the note's day where the diary says nothing."""
    if item.entry is not None:
        return
    last = item.entries[-1].sentence(item.name)
    for amount, way in itertools.product(SMALL, WAYS):
        entry = Entry(item.day, MOVE_VERB, amount, way)
        new = f"{last} {entry.sentence(item.name)}"
        yield Edit("insertion", "diary", last, new, replace(item, entries=(*item.entries, entry)))


def recued(item: Item, target: str) -> Edit:
    """Return the edit of one who takes the cue for the reason: its sentence alone is exchanged, the facts stay."""
    old = CUES[item.cue] if item.cue else item.entries[0].sentence(item.name)
    new = CUES[target] if item.cue else f"{CUES[target]} {old}"
    return Edit("attribute", "diary", old, new, replace(item, cue=target))


def rewritten(item: Item, target: str, rng: random.Random) -> Edit:
    """Return the edit of one who writes the diary anew: the label is right, hardly a word is kept."""
    others = rng.sample([day for day in DAYS if day != item.day], 3)
    entries = [draw_entry(rng, day) for day in others]
    if target != "none":
        way = item.way if target == "yes" else other_way(item.way)
        entries.append(replace(draw_entry(rng, item.day), goal=way))
    after = replace(item, cue="", entries=tuple(sorted(entries, key=lambda entry: DAYS.index(entry.day))))
    return Edit("insertion", "diary", item.diary, after.diary, after)
