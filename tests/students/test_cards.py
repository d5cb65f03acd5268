"""Student folders: whole or not there, with a card that invents nothing."""

import pytest
from safetensors.torch import load_file
from tiny_students import save_student

from potstill.students.cards import model_card, read_record, write_student
from potstill.students.loading import open_student

RECORD = {
    "base": "base", "problems": 3, "steps": 20, "ended": "all steps", "best_step": 10, "target_tokens_seen": 900,
    "shared_prompt": True, "seed": 4, "prompt": "Q: {question}\nA:", "format": "plain",
    "dev": [{"step": 10, "accuracy": 0.5, "n": 40}, {"step": 20, "accuracy": 0.5, "n": 40}],
    "audit": {"examples": 9, "overlong": 0, "tasks": {"cot": 9}, "stop_token": "</s>"},
}  # fmt: skip


def test_the_card_says_what_the_student_was_made_from():
    """Facts that are given are shown as they are; what is zero or unknown is left out."""
    card = model_card("mine", RECORD, {"teacher": "big-1", "data_set": "svamp"})
    for row in (
        "| Base | base |",
        "| Training examples | 9 (9 cot) of 3 problems |",
        "| Steps | 20 (all steps) |",
        "| Chosen checkpoint | step 10 |",
        "| Teacher | big-1 |",
        "| Data set | svamp |",
        "| Seed | 4 |",
    ):
        assert row in card
    assert "too long" not in card
    assert card.startswith("---\nlibrary_name: transformers\n")


def test_accuracy_stands_in_the_card_only_where_it_was_measured():
    """With its n, the step, and the word that it served for a choice."""
    assert "on the 40 development answers that chose the checkpoint: 0.500 at step 10" in model_card("m", RECORD, {})
    card = model_card("m", {**RECORD, "dev": [], "best_step": None}, {})
    assert "Not measured in training" in card
    assert "| Chosen checkpoint | the last |" in card


def test_the_folder_appears_whole_and_replaces_an_older_one(tmp_path):
    """What a kill left in the workshop does not matter."""
    loaded = open_student(save_student(tmp_path / "base"))
    out, workshop = tmp_path / "out", tmp_path / ".out.partial"
    (workshop / "student").mkdir(parents=True)
    (workshop / "student" / "half").write_text("")
    out.mkdir()
    (out / "old").write_text("")
    write_student(out, loaded, loaded.model, RECORD, {}, workshop=workshop)
    assert {path.name for path in out.iterdir()} >= {
        "model.safetensors",
        "tokenizer.json",
        "README.md",
        "training.json",
    }
    assert not (out / "old").exists()
    assert not (out / "half").exists()
    assert read_record(out) == RECORD
    assert set(load_file(out / "model.safetensors")) == set(load_file(tmp_path / "base" / "model.safetensors"))


@pytest.mark.parametrize("text", [None, "{", "[]"])
def test_a_record_that_cannot_be_read_is_none(tmp_path, text):
    """Then the student is trained again."""
    if text is not None:
        (tmp_path / "training.json").write_text(text)
    assert read_record(tmp_path) is None
