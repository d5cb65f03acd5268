"""Embeddings of texts: words weighed against each other without any model, or a model that the recipe names.

The default needs no download: TF-IDF of the words and word pairs of the texts compared, numbers masked, so that what
all of them say counts for little. A named model is opened by `sentence-transformers` where it is installed, else by
`transformers` with the mean of its last hidden states.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from itertools import pairwise

import numpy as np

from potstill.errors import ConfigError, MissingExtraError, boundary
from potstill.rationales.families import mask

BATCH = 32
KEY = "mix.select.embedding"


def embed(texts: Sequence[str], model: str | None = None, key: str = KEY) -> np.ndarray:
    """Return one unit vector per text [N, D].

    Args:
        key: What of a recipe names the model, for messages.

    Raises:
        MissingExtraError: A model is named and nothing that could open it is installed.
        ConfigError: The model cannot be opened.
    """
    vectors = _opened(model, key)(texts) if model is not None else _weighed(texts)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(norms > 0, norms, 1.0))


def require_model(model: str | None, key: str = KEY) -> None:
    """Open the model that a recipe names, so that one that is absent is found before anything is spent."""
    if model is not None:
        _opened(model, key)


def _weighed(texts: Sequence[str]) -> np.ndarray:
    """Return TF-IDF vectors over the words and word pairs of these texts; a term of all of them keeps a little."""
    counts = [_terms(text) for text in texts]
    frequency = Counter(term for own in counts for term in own)
    places = {term: at for at, term in enumerate(sorted(frequency))}
    vectors = np.zeros((len(texts), max(1, len(places))))
    for row, own in enumerate(counts):
        for term, count in own.items():
            vectors[row, places[term]] = (1 + np.log(count)) * np.log((1 + len(texts)) / frequency[term])
    return vectors


def _terms(text: str) -> Counter[str]:
    words = mask(text).split()
    return Counter([*words, *(f"{a} {b}" for a, b in pairwise(words))])


@lru_cache(maxsize=1)
def _opened(model: str, key: str) -> Callable[[Sequence[str]], np.ndarray]:
    where = f"{key}: model {model!r} cannot be opened; name a folder or a downloaded model, or leave "
    if find_spec("sentence_transformers") is not None:
        with boundary(ConfigError, where + "the line out to compare words"):
            return _by_sentence_transformers(model)
    if find_spec("transformers") is None or find_spec("torch") is None:
        message = (
            f"{key}: {model!r} needs a library that is not installed; pip install 'potstill[train]' or "
            "pip install sentence-transformers, or leave the line out to compare words"
        )
        raise MissingExtraError(message)
    with boundary(ConfigError, where + "the line out to compare words"):
        return _by_transformers(model)


def _by_sentence_transformers(model: str) -> Callable[[Sequence[str]], np.ndarray]:
    opened = import_module("sentence_transformers").SentenceTransformer(model)
    return lambda texts: np.asarray(opened.encode(list(texts), batch_size=BATCH, show_progress_bar=False))


def _by_transformers(model: str) -> Callable[[Sequence[str]], np.ndarray]:
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    encoder = AutoModel.from_pretrained(model).eval()

    def encode(texts: Sequence[str]) -> np.ndarray:
        found = []
        for at in range(0, len(texts), BATCH):
            batch = tokenizer(list(texts[at : at + BATCH]), padding=True, truncation=True, return_tensors="pt")
            batch.pop("token_type_ids", None)
            with torch.inference_mode():
                states_BTD = encoder(**batch).last_hidden_state
            mask_BT1 = batch["attention_mask"].unsqueeze(-1).to(states_BTD.dtype)
            found.append(((states_BTD * mask_BT1).sum(1) / mask_BT1.sum(1)).float().numpy())
        return np.concatenate(found)

    return encode
