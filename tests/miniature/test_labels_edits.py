"""Edits of the labels world: what is declared is what changes, and every label can be reached."""

import random

from potstill.generators.edits import Draft, apply
from potstill.miniature.labels import LABELS, draw_items
from potstill.miniature.labels_edits import edits, recued, rewritten

ITEMS = draw_items("train", 40, 4)


def applied(item, edit):
    """Return the item's fields with a declared edit made as the library makes it."""
    fields = {"diary": item.diary, "note": item.note}
    return fields | {edit.field: apply(fields[edit.field], Draft(edit.field, ((edit.old, edit.new),)))}


def test_a_declared_span_makes_the_edited_text():
    """Of every edit, of the exchanged cue and of the rewritten diary."""
    rng = random.Random(0)
    for item in ITEMS:
        target = next(label for label in LABELS if label not in (item.label, item.cue))
        for edit in [*edits(item)[::3], recued(item, target), rewritten(item, target, rng)]:
            assert applied(item, edit) == {"diary": edit.after.diary, "note": edit.after.note}


def test_every_other_label_is_reached_and_the_cue_stays():
    """By several kinds of edit, among them some that keep the label."""
    for item in ITEMS:
        found = edits(item)
        assert {edit.after.label for edit in found} == set(LABELS)
        assert {edit.after.cue for edit in found} == {item.cue}
    assert len({edit.kind for item in ITEMS for edit in edits(item)}) == 7


def test_an_exchanged_cue_changes_no_label_and_a_rewritten_diary_does():
    """One misses the label, the other reaches it with hardly a word kept."""
    rng = random.Random(1)
    for item in ITEMS:
        target = next(label for label in LABELS if label not in (item.label, item.cue))
        assert recued(item, target).after.label == item.label
        assert recued(item, target).after.cue == target
        assert rewritten(item, target, rng).after.label == target
