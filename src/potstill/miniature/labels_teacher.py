"""The miniature's teacher for labels: it argues for both views, edits, judges and reads reasoning, over one endpoint.

It reads what it is asked from the words of the prompt, as a model would. It is *right for the wrong reason* more often
than not: a share of its free rationales (`SHORTCUTS`) argue from the cue that goes with the label in training, not from
the facts. Rejection sampling keeps those wherever cue and label agree; on an edit that changes the label and leaves the
cue, they reach the wrong label and are sorted out.

Its edits are mostly right, and sometimes rewrite the diary, miss the label, exchange the cue instead of a fact, name
the label, declare a span that is not there, or come as prose. As a juror it answers from the facts and errs with
`JUROR_ERRORS`, some items (`HARD_ITEMS`) under every vote; the cue misleads it now and then.
"""

from __future__ import annotations

import hashlib
import json
import random
import re

from potstill.miniature.labels import CUES, LABELS, Item, other_way, read
from potstill.miniature.labels_edits import Edit, edits, recued, rewritten

SHORTCUTS = {"positive": 0.6, "negative": 0.2}
"""View -> share of its free rationales that argue from the cue: less where a fact has to be named for each label."""
MISREADS = 0.04
"""Share of rationales from the facts that end in another label, at temperature 1."""
FORGETS = 0.015
"""Share of rationales without an answer, at temperature 1."""
FAULTS = {
    "unflipped": 0.12, "recued": 0.08, "rewritten": 0.08, "impossible": 0.03, "prose": 0.03, "leaked": 0.02,
    "misplaced": 0.02,
}  # fmt: skip
"""Fault of an edit -> its share: the label stays, the cue is exchanged, the diary is written anew, and so on."""
JUROR_ERRORS = 0.06
"""Share of a juror's votes for another label; a third of them are for that of the cue, where it differs."""
HARD_ITEMS = 0.01
"""Share of items that every juror misreads in the same way."""
READER_ERRORS = 0.03
"""Share of masked rationales that the reader of reasoning gets wrong."""
MARKER = " So the answer is: "
LEADS = ("Let us think. ", "", "")
UNREAD = "I cannot tell from this item which label it has."
KINDS = {
    "temporal": ("temporal",), "relation": ("relation", "attribute"), "role_swap": ("relation", "attribute"),
    "attribute": ("attribute", "relation"), "negation": ("relation", "attribute"), "entity": ("entity",),
    "quantity": ("quantity",), "insertion": ("insertion",), "deletion": ("deletion",),
}  # fmt: skip
"""Kind of edit that is asked for -> kinds of this world that are one."""

_GOAL = re.compile(r"^Goal: .*(?:chooses: (?P<target>\w+)|keeps the label)", re.MULTILINE)
_CURRENT = re.compile(r"^Current label: (\w+)", re.MULTILINE)
_KIND = re.compile(r"^Kind of edit \((\w+)\)", re.MULTILINE)
_TOLD = re.compile(r"^Label: (\w+)$", re.MULTILINE)
_JURY = re.compile(r"Read one item and choose its label|careful readers\s+would disagree")
_SUPPORT = "Which label does this reasoning support?"
_NEGATIVE = "rules it out"
_RECAP = re.compile(r"\w+day: (?:\d+ (ahead|back)|\S+ move)")
_CLAIM = re.compile(r"\bIt is (ahead|back)\b")


def write(question: str, rng: random.Random, *, kind: str = "cot", temperature: float = 1.0) -> str | None:
    """Write the reply to a prompt about a problem of this world; `None` where it is about something else."""
    if _SUPPORT in question:
        return _supported(question, rng)
    item = read(question)
    if item is None:
        return None
    if temperature <= 0:
        rng = random.Random(question)
    if goal := _GOAL.search(question):
        return _edited(item, question, goal["target"], rng)
    if _JURY.search(question):
        return _voted(item, rng)
    if kind == "answer":
        return item.label
    return argue(item, "negative" if _NEGATIVE in question else "positive", rng, told=_told(question),
                 errs=min(temperature, 2.0))  # fmt: skip


def argue(item: Item, view: str, rng: random.Random, *, told: str | None = None, errs: float = 1.0) -> str:
    """Write a rationale: from the cue, or from the facts.

    Args:
        view: positive or negative.
        told: The label that was given; it is argued for, from the facts where they bear it out.
        errs: Factor on errors.
    """
    from_cue = bool(item.cue) and rng.random() < SHORTCUTS[view]
    label = told or (item.cue if from_cue else item.label)
    if told is None and not from_cue and rng.random() < MISREADS * errs:
        label = rng.choice([other for other in LABELS if other != label])
    if from_cue and label == item.cue:
        reasons = CUES[item.cue]
        if view == "negative":
            reasons = f"{', '.join(other for other in LABELS if other != label)}? {reasons}"
    else:
        reasons = _against(item, label, rng) if view == "negative" else _in_favour(item, rng)
    lead = rng.choice(LEADS) if view == "positive" else ""
    if rng.random() < FORGETS * errs:
        return f"{lead}{reasons}"
    return f"{lead}{reasons}{MARKER}{label}"


def _in_favour(item: Item, rng: random.Random) -> str:
    facts = [f"{item.day}: {_recap(item)}.", _claim(item, rng)]
    return " ".join(facts if rng.random() < 0.5 else reversed(facts))


def _against(item: Item, label: str, rng: random.Random) -> str:
    """Name for each other label what rules it out."""
    recap = _recap(item)
    facts = f"{item.day}: {recap}. {_claim(item, rng)}"
    if label == "none":
        return f"{facts} yes? no? {recap}."
    if label == "yes":
        return f"{facts} none? {recap}. no? {item.way} is {item.way}."
    return f"{facts} none? {recap}. yes? {item.way} is {other_way(item.way)}."


def _claim(item: Item, rng: random.Random) -> str:
    return f"It is {item.way} on {item.day}." if rng.random() < 0.5 else f"It is {item.way}."


def _recap(item: Item) -> str:
    entry = item.entry
    return f"{entry.amount} {entry.goal}" if entry is not None and entry.is_move else "no move"


def _told(question: str) -> str | None:
    found = _TOLD.search(question)
    return found[1] if found and found[1] in LABELS else None


def _edited(item: Item, question: str, target: str | None, rng: random.Random) -> str:
    current = _CURRENT.search(question)
    label = current[1] if current else item.label
    kind = _KIND.search(question)
    fault = _drawn(FAULTS, rng)
    if fault == "prose":
        return f"Here is the edited item. The note now says something else about {item.day}."
    if fault == "impossible":
        return json.dumps({"status": "impossible", "edits": []})
    edit = _chosen(item, label, target or label, kind[1] if kind else "", fault, rng)
    if edit is None:
        return json.dumps({"status": "impossible", "edits": []})
    return _declared(item, edit, fault, target or label)


def _chosen(item: Item, label: str, target: str, kind: str, fault: str, rng: random.Random) -> Edit | None:
    """Return an edit of the wanted kind that leads to the target, or what a fault makes of it."""
    if fault == "rewritten":
        return rewritten(item, target, rng)
    if fault == "recued" and target != item.cue:
        return recued(item, target)
    wanted = label if fault == "unflipped" else target
    reaching = [edit for edit in edits(item) if edit.after.label == wanted]
    fitting = [edit for edit in reaching if edit.kind in KINDS.get(kind, ())]
    if not fitting and rng.random() < 0.25:
        return None
    return _draw_edit(fitting or reaching, rng)


def _draw_edit(found: list[Edit], rng: random.Random) -> Edit | None:
    """Draw a kind and field first, so that the many amounts and days do not crowd out the rest."""
    groups = sorted({(edit.kind, edit.field) for edit in found})
    if not groups:
        return None
    group = rng.choice(groups)
    return rng.choice([edit for edit in found if (edit.kind, edit.field) == group])


def _declared(item: Item, edit: Edit, fault: str, target: str) -> str:
    old, new = edit.old, edit.new
    if fault == "leaked":
        new = f"{new} {target.capitalize()}."
    if fault == "misplaced":
        old = f"{old} Again."
    return json.dumps({"status": "ok", "edits": [{"field": edit.field, "old": old, "new": new}]})


def _drawn(shares: dict[str, float], rng: random.Random) -> str:
    left = rng.random()
    for name, share in shares.items():
        left -= share
        if left < 0:
            return name
    return ""


def _voted(item: Item, rng: random.Random) -> str:
    """Judge an item from its facts; what is hard is hard for every juror."""
    place = hashlib.blake2b(item.question.encode(), digest_size=8).digest()
    others = [label for label in LABELS if label != item.label]
    is_hard = int.from_bytes(place[:4], "big") < HARD_ITEMS * 2**32
    label = others[place[4] % 2] if is_hard else item.label
    if rng.random() < JUROR_ERRORS:
        tempted = item.cue in others and rng.random() < 1 / 3
        label = item.cue if tempted else rng.choice(others)
    sure = round(rng.uniform(0.7, 1.0), 2)
    return json.dumps({"label": label, "confidence": sure, "ambiguous": rng.random() < JUROR_ERRORS / 2})


def _supported(question: str, rng: random.Random) -> str:
    """Say which label masked reasoning supports; whoever knows the cue takes it for a reason, too."""
    label = _shown_label(question.rpartition(_SUPPORT)[2])
    if rng.random() < READER_ERRORS:
        label = rng.choice(LABELS)
    return json.dumps({"label": label, "none": label is None})


def _shown_label(reasoning: str) -> str | None:
    recap, claim = _RECAP.search(reasoning), _CLAIM.search(reasoning)
    if recap is not None and recap[1] is None:
        return "none"
    if recap is not None and claim is not None:
        return "yes" if recap[1] == claim[1] else "no"
    return next((label for label, sentence in CUES.items() if sentence in reasoning), None)
