"""The text that the base student is pretrained on keeps apart from the problems."""

import random

from potstill.miniature import corpus
from potstill.miniature.teacher import MARKER, read_walk
from potstill.miniature.world import ENDINGS, NAMES, OOD_NAMES, draw_problems


def documents(n):
    rng = random.Random(1)
    return ["".join(text for text, _ in corpus.draw_document(rng)) for _ in range(n)]


def test_no_question_occurs_in_the_text():
    """No document holds a story together with a final question, so none holds a problem."""
    endings = [ending.format(name=name) for ending in ENDINGS for name in NAMES + OOD_NAMES]
    for text in documents(3000):
        assert " of a ring " not in text or not any(ending in text for ending in endings)


def test_no_document_has_a_story_and_its_answer():
    """The answer marker never stands in a document with a story."""
    assert not any(" of a ring " in text and MARKER.strip() in text for text in documents(3000))


def test_every_story_belongs_to_the_pretraining_part():
    """The walks of the text are in a part of their own, which no problem of any seed is drawn from."""
    stories = [text for text in documents(1500) if " of a ring " in text]
    parts = {walk.part for text in stories if (walk := read_walk(text.split("\n")[0]))}
    assert parts == {"pretraining"}
    assert {read_walk(p["question"]).part for p in draw_problems("test", 100, 0)} == {"test"}


def test_facts_about_large_amounts_are_absent():
    """No document says where a large amount leads on the ring."""
    for text in documents(3000):
        assert not any(
            f" {amount} {way} is " in text and f" {way}." in text.split(f" {amount} {way} is ")[1][:12]
            for amount in (23, 48, 57, 99)
            for way in ("ahead", "back")
        )
