"""Embeddings by a model that the recipe names."""

from __future__ import annotations

import numpy as np
from tiny_students import save_student

from potstill.rationales.embedding import embed
from potstill.rationales.selecting import select
from potstill.recipe.rationales import SelectConfig
from potstill.records import Rationale


def test_a_model_folder_gives_one_unit_vector_per_text_whatever_stands_beside_it(tmp_path):
    """The mean over a text's own tokens: padding of a longer neighbour does not count."""
    model = str(save_student(tmp_path / "model"))
    texts = ["1 plus 7", "1 plus 7 So the answer is: 8", "2 plus 2"]
    vectors = embed(texts, model)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1.0)
    assert np.allclose(embed(texts[:1], model)[0], vectors[0], atol=1e-5)
    assert not np.allclose(vectors[0], vectors[2])


def test_diverse_compares_by_the_model(tmp_path):
    """Copies of one text and another: two of them are one of each."""
    model = str(save_student(tmp_path / "model"))
    texts = ["1 plus 7 So the answer is: 8"] * 4 + ["A:"]
    rows = [Rationale(id=str(i), problem_id="p", kind="cot", text=text) for i, text in enumerate(texts)]
    config = SelectConfig(by="diverse", n=2, embedding=model)
    for seed in range(3):
        assert "4" in {r.id for r in select(rows, config, seed=seed)}
