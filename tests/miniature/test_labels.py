"""The labels world: labels follow from facts; the cue goes with them in training, against them out of distribution."""

import json
from collections import Counter
from importlib.resources import files

import pytest

from potstill.miniature.labels import LABELS, SPLITS, Entry, Item, draw_contrast, draw_items, draw_problems, read
from potstill.miniature.pretraining import TOKEN

ITEM = Item("Amy", "yes", (Entry("Monday", "walks", 3, "ahead"), Entry("Friday", "reads", 9, "pages")), "Monday",
            "goes", "ahead")  # fmt: skip


def test_the_label_follows_from_the_facts_alone():
    """Same way: yes; other way: no; something idle, or nothing, on that day: none."""
    assert ITEM.label == "yes"
    assert Item(ITEM.name, "yes", ITEM.entries, "Monday", "goes", "back").label == "no"
    assert Item(ITEM.name, "yes", ITEM.entries, "Friday", "goes", "back").label == "none"
    assert Item(ITEM.name, "yes", ITEM.entries, "Sunday", "goes", "back").label == "none"
    assert Item(ITEM.name, "no", ITEM.entries, "Monday", "goes", "ahead").label == "yes"


@pytest.mark.parametrize("split", SPLITS)
def test_a_problem_is_read_back_from_its_question_and_from_its_fields(split):
    """What a teacher reads is what was drawn."""
    for item in draw_items(split, 40, 3):
        assert read(f"Q: {item.question}\nA:") == item
        assert read(f"Task: x\nItem:\ndiary: {item.diary}\nnote: {item.note}\n\nReasoning:") == item
    assert read("Amy stands on square 3. On Monday Amy walks 3 ahead.") is None


def test_the_cue_holds_in_training_and_is_turned_round_out_of_distribution():
    """Nine of ten agree in train, extra, dev and test, one of ten out of distribution; labels are level everywhere."""
    agreeing = {}
    for split in SPLITS:
        rows = draw_problems(split, 300, 1)
        agreeing[split] = sum(row["meta"]["cue_agrees"] for row in rows) / len(rows)
        assert set(Counter(row["answer"] for row in rows).values()) == {100}
    assert all(0.85 < agreeing[split] < 0.95 for split in ("train", "extra", "dev", "test"))
    assert 0.05 < agreeing["ood"] < 0.15


def test_splits_share_no_facts_and_fewer_are_a_prefix_of_more():
    """No problem of one split can be in another, whatever the seed."""
    parts = {split: {item.part for item in draw_items(split, 80, seed)} for split in SPLITS for seed in (0, 1)}
    assert parts == {split: {"test" if split == "ood" else split} for split in SPLITS}
    assert draw_problems("train", 20, 5) == draw_problems("train", 50, 5)[:20]
    assert draw_problems("train", 20, 5) != draw_problems("train", 20, 6)
    with pytest.raises(ValueError, match="expected one of train"):
        draw_problems("valid", 1, 0)


def test_contrast_items_change_the_label_by_one_field_and_keep_the_cue():
    """Two of each parent, one for each other label, of several kinds."""
    parents = draw_items("test", 60, 2)
    rows = draw_contrast(60, 2)
    kinds = Counter(row["meta"]["edit"] for row in rows)
    assert len(rows) == 120
    assert len(kinds) >= 5
    for row in rows:
        parent, item = parents[row["parent_index"]], read(row["question"])
        assert item.label == row["answer"] != parent.label
        assert item.cue == parent.cue
        assert (row["fields"]["diary"] == parent.diary) != (row["fields"]["note"] == parent.note)
    assert {row["answer"] for row in rows[:2]} == set(LABELS) - {parents[0].label}


def test_every_word_is_one_that_the_base_student_knows():
    """Nothing of this world is an unknown token."""
    import re

    text = files("potstill.miniature").joinpath("base/tokenizer.json").read_text(encoding="utf-8")
    vocabulary = json.loads(text)["model"]["vocab"]
    for row in [*draw_problems("train", 200, 0), *draw_contrast(60, 0)]:
        words = re.findall(TOKEN, f"Q: {row['question']}\nA:".replace(" ", "▁"))
        assert [word for word in words if word not in vocabulary] == []
