"""`Execution`: the fine word and the status that the interface fixes."""

import pytest

from potstill.sandbox.execution import COARSE, OUTCOMES, execution, hash_program, to_row

KEYS = ["id", "status", "answer", "error", "stdout", "engine", "isolation", "cpu_ms", "code_hash"]


@pytest.mark.parametrize("word", COARSE)
def test_every_word_has_a_status_of_the_interface(word):
    """Finer words map onto the eight statuses."""
    assert execution(word).status in OUTCOMES


@pytest.mark.parametrize("word", ["syntax", "recursion", "import", "forbidden"])
def test_the_error_text_begins_with_the_word_that_the_status_does_not_say(word):
    """`error: forbidden: …` tells a refusal from a mistake."""
    result = execution(word, error="why")
    assert (result.status, result.error) == ("error", f"{word}: why")


def test_a_row_has_the_keys_of_the_interface():
    """One line of `potstill exec`."""
    row = to_row("a", execution("ok", answer="1", engine="monty", cpu_ms=1.23456))
    assert list(row) == KEYS
    assert (row["id"], row["status"], row["answer"], row["error"], row["cpu_ms"]) == ("a", "ok", "1", None, 1.235)


def test_the_code_hash_is_the_texts_own():
    """Same text, same hash; a lone surrogate has one too."""
    assert hash_program("ans = 1") == hash_program("ans = 1") != hash_program("ans = 2")
    assert hash_program("\ud800").startswith("sha256:")
