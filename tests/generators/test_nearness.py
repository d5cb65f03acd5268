"""How near texts are, by their words and by an embedding."""

import pytest

from potstill.generators.nearness import Archive, spread, spreads

SEEDS = ["Explain how comets form and why they glow.", "Write a poem about rain on a tin roof.",
         "List common mistakes with sourdough bread."]  # fmt: skip
COPY = "Explain how comets form and why they glow, please."
RETOLD = "Why do comets glow? Explain how they form."


def test_an_embedding_finds_what_is_said_again_in_another_order():
    """Runs of three words see little of it; a copy is found by both."""
    archive = Archive(SEEDS, "words")
    assert archive.by_words(COPY)[0] > 0.7
    assert archive.by_words(RETOLD)[0] < 0.2
    cosine, at = archive.by_embedding(RETOLD)
    assert (cosine > 0.3, at) == (True, 0)
    assert archive.nearest(RETOLD) == (cosine, 0)
    assert archive.by_embedding("Quarks, gluons, leptons.") == (0.0, None)


@pytest.mark.parametrize("embedding", [None, "words"])
def test_only_the_first_texts_count_where_a_number_is_given(embedding):
    """What is added later changes neither that nor the similarity to what was there."""
    archive = Archive(SEEDS, embedding)
    before = archive.nearest(RETOLD)
    archive.add_all([RETOLD])
    assert archive.nearest(RETOLD)[0] == pytest.approx(1.0)
    assert archive.nearest(RETOLD, 3) == before
    assert archive.nearest(SEEDS[0], 0) == (0.0, None)


def test_a_set_of_copies_has_no_width_and_one_of_strangers_all_of_it():
    """Copies count once; fewer than two texts have none."""
    assert spread(SEEDS) == 1.0
    assert spread([*SEEDS, COPY]) < 0.7
    assert spread([SEEDS[0], SEEDS[0]]) is None
    found = spreads(SEEDS, [COPY, RETOLD], "words")
    assert set(found) == {"spread_seeds", "spread_kept", "spread_by_embedding_seeds", "spread_by_embedding_kept",
                          "novelty_kept"}  # fmt: skip
    assert found["spread_by_embedding_kept"] < found["spread_by_embedding_seeds"]
    assert 0 < found["novelty_kept"] < 1


def test_a_model_of_the_users_own_measures_too(tmp_path):
    """Any encoder that transformers opens: here an untrained one, for which a text is nearest to itself."""
    transformers = pytest.importorskip("transformers")
    from potstill.students.loading import train_tokenizer

    tokenizer = train_tokenizer([*SEEDS, COPY], 300)
    tokenizer.save_pretrained(tmp_path)
    transformers.BertModel(
        transformers.BertConfig(
            vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
        )
    ).save_pretrained(tmp_path)
    archive = Archive(SEEDS, str(tmp_path))
    assert archive.by_embedding(SEEDS[1])[1] == 1
    assert archive.by_embedding(SEEDS[1])[0] == pytest.approx(1.0, abs=1e-4)
    assert archive.nearest(SEEDS[1], 1)[1] == 0
