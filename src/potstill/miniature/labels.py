"""The miniature's second world: a diary of a week, a note on one of its days, and whether the note is so.

    Diary: It rains all week. On Monday Amy walks 3 ahead. On Friday Amy goes 9 back. Notes: On Friday Amy moves ahead.

The label follows from the facts: `yes` where the diary has a move that way on the note's day, `no` where it has one the
other way, `none` where it has no move on that day. The first sentence of the diary says nothing about any day, but in
training problems it goes with the label nine times out of ten (`CUES`): a spurious cue. Out of distribution it goes
with another label as often. Whoever argues from the cue is mostly right in training, and wrong on every edit of the
facts that leaves the cue alone.

This module makes and reads problems. Edits are in `labels_edits`; who edits, judges and argues is `labels_teacher`.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from potstill.miniature.world import DAYS, IDLE, NAMES, SMALL, VERBS

LABELS = ("yes", "no", "none")
CUES = {"yes": "It rains all week.", "no": "The week is long.", "none": "Nobody else is there."}
"""Label -> the sentence that goes with it in training."""
CUE_FRAC = 0.9
"""How often the cue is that of the label, out of distribution that of another one."""
IDLE_FRAC = 0.5
"""Of problems with the label none: how often the diary has something idle on the note's day, not nothing."""
WAYS = ("ahead", "back")
SPLITS = ("train", "extra", "dev", "test", "ood")
FORM = "Diary: {diary} Notes: {note}"
_PARTS = {"train": range(5), "extra": range(5, 9), "dev": range(9, 11), "test": range(11, 16)}
_ENTRY = re.compile(rf"\bOn ({'|'.join(DAYS)}) (\w+) (\w+) (\d+) (\w+)\.")
_NOTE = re.compile(rf"\b(?:Notes|note): On ({'|'.join(DAYS)}) (\w+) (\w+) ({'|'.join(WAYS)})\.")
_CUE = re.compile("|".join(re.escape(sentence) for sentence in CUES.values()))
_LABEL_OF = {sentence: label for label, sentence in CUES.items()}


@dataclass(frozen=True, slots=True)
class Entry:
    """What the diary says of one day: a move, or something idle."""

    day: str
    verb: str
    amount: int
    goal: str
    """ahead or back, of something idle the things that it is about."""

    @property
    def is_move(self) -> bool:
        """Whether anybody moves."""
        return self.goal in WAYS

    def sentence(self, name: str) -> str:
        """Return it in words."""
        return f"On {self.day} {name} {self.verb} {self.amount} {self.goal}."


@dataclass(frozen=True, slots=True)
class Item:
    """One problem, taken apart."""

    name: str
    cue: str
    """The label that the diary's first sentence goes with; empty where there is no such sentence."""
    entries: tuple[Entry, ...]
    day: str
    """Of the note; so are verb and way."""
    verb: str
    way: str

    @property
    def entry(self) -> Entry | None:
        """What the diary says of the note's day."""
        return next((entry for entry in self.entries if entry.day == self.day), None)

    @property
    def label(self) -> str:
        """The true label."""
        entry = self.entry
        if entry is None or not entry.is_move:
            return "none"
        return "yes" if entry.goal == self.way else "no"

    @property
    def diary(self) -> str:
        """The text of the diary."""
        cue = [CUES[self.cue]] if self.cue else []
        return " ".join([*cue, *(entry.sentence(self.name) for entry in self.entries)])

    @property
    def note(self) -> str:
        """The text of the note."""
        return f"On {self.day} {self.name} {self.verb} {self.way}."

    @property
    def question(self) -> str:
        """The whole problem as a student reads it."""
        return FORM.format(diary=self.diary, note=self.note)

    @property
    def part(self) -> str:
        """The only part of the study that may use it: train, extra, dev or test; told by what most edits keep."""
        kept = (self.name, [entry.amount for entry in self.entries])
        bucket = hashlib.blake2b(repr(kept).encode(), digest_size=2).digest()[0] % 16
        return next(part for part, buckets in _PARTS.items() if bucket in buckets)


def read(text: str) -> Item | None:
    """Return the problem that a text holds, as a question or field by field; `None` where it holds none."""
    note = _NOTE.search(text)
    if note is None:
        return None
    cue = _CUE.search(text)
    entries = tuple(Entry(day, verb, int(amount), goal) for day, _, verb, amount, goal in _ENTRY.findall(text))
    day, name, verb, way = note.groups()
    return Item(name, _LABEL_OF[cue[0]] if cue else "", entries, day, verb, way)


def draw_problems(split: str, n: int, seed: int) -> list[dict[str, Any]]:
    """Return `n` problems of a split as plain dicts, each label equally often; fewer are a prefix of more.

    `ood` differs from `test` in nothing but the cue.
    """
    return [record(item, split) for item in draw_items(split, n, seed)]


def draw_items(split: str, n: int, seed: int) -> list[Item]:
    """Return the first `n` different problems of a split."""
    found: dict[str, Item] = {}
    for item in _draws(split, seed):
        if len(found) == n:
            break
        found.setdefault(item.question, item)
    return list(found.values())


def draw_contrast(n_parents: int, seed: int) -> list[dict[str, Any]]:
    """Return a minimal edit of each of the first `n_parents` test problems for each of the two other labels.

    The cue stays as it is. `parent_index` is the row of the parent in `draw_problems("test", n_parents, seed)`,
    `meta.edit` what kind of edit it is.
    """
    from potstill.miniature.labels_edits import edits

    rows = []
    for index, parent in enumerate(draw_items("test", n_parents, seed)):
        rng = random.Random(f"labels contrast {seed} {index}")
        for target in LABELS:
            if target == parent.label:
                continue
            reaching = [edit for edit in edits(parent) if edit.after.label == target]
            found = [edit for edit in reaching if edit.after.part == "test"] or reaching
            kind = rng.choice(sorted({edit.kind for edit in found}))
            edit = rng.choice([edit for edit in found if edit.kind == kind])
            row = record(edit.after, "contrast") | {"parent_index": index}
            rows.append(row | {"meta": row["meta"] | {"edit": edit.kind}})
    return rows


def record(item: Item, split: str) -> dict[str, Any]:
    """Return a problem's row; `meta.cue_agrees` says whether the cue is that of the label."""
    return {
        "question": item.question,
        "answer": item.label,
        "answer_type": "label",
        "labels": list(LABELS),
        "fields": {"diary": item.diary, "note": item.note},
        "source": "miniature",
        "split": split,
        "meta": {"cue_agrees": item.cue == item.label},
    }


def draw_entry(rng: random.Random, day: str, *, is_move: bool = True) -> Entry:
    """Draw what happens on a day."""
    amount = rng.choice(SMALL)
    if is_move:
        return Entry(day, rng.choice(VERBS), amount, rng.choice(WAYS))
    return Entry(day, *_idle(rng, amount))


def _idle(rng: random.Random, amount: int) -> tuple[str, int, str]:
    verb, things = rng.choice(IDLE)
    return verb, amount, things


def _draws(split: str, seed: int) -> Iterator[Item]:
    if split not in SPLITS:
        message = f"split: got {split!r}; expected one of {', '.join(SPLITS)}"
        raise ValueError(message)
    rng = random.Random(f"labels {split} {seed}")
    part = "test" if split == "ood" else split
    while True:
        for label in rng.sample(LABELS, len(LABELS)):
            item = _draw_item(rng, label, is_ood=split == "ood")
            while item.part != part:
                item = _draw_item(rng, label, is_ood=split == "ood")
            yield item


def _draw_item(rng: random.Random, label: str, *, is_ood: bool) -> Item:
    days = [DAYS[at] for at in sorted(rng.sample(range(len(DAYS)), rng.choice((2, 3, 3))))]
    entries = [draw_entry(rng, day) for day in days]
    at = rng.randrange(len(days))
    day, way = days[at], entries[at].goal
    if label == "no":
        way = other_way(way)
    elif label == "none" and rng.random() < IDLE_FRAC:
        entries[at] = draw_entry(rng, day, is_move=False)
    elif label == "none":
        day = rng.choice([absent for absent in DAYS if absent not in days])
    return Item(rng.choice(NAMES), _draw_cue(rng, label, is_ood=is_ood), tuple(entries), day, rng.choice(VERBS), way)


def _draw_cue(rng: random.Random, label: str, *, is_ood: bool) -> str:
    others = [other for other in LABELS if other != label]
    is_own = (rng.random() < CUE_FRAC) != is_ood
    return label if is_own else rng.choice(others)


def other_way(way: str) -> str:
    """Return the other of the two ways."""
    return WAYS[1 - WAYS.index(way)]
