"""How near a text is to those seen: by its words, or by an embedding; the nearer of the two counts.

    seeds, then the texts of finished trees ──add──► Archive ──nearest(text, among the first n)──► similarity in [0, 1]

Runs of three words find what is copied; an embedding finds what is said again in other words. Without a model the
embedding is TF-IDF of words and word pairs, weighed once on the seeds, so that a similarity does not change with what
is added later. A set is described by the mean distance of its texts to their nearest neighbours.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from potstill.generators.archives import Seen
from potstill.generators.gates import trigrams
from potstill.rationales.embedding import embed
from potstill.rationales.families import mask
from potstill.records import content_id

WORDS = "words"
"""The embedding that needs no model."""
KEY = "evolve.embedding"
DRAWN = 500
"""Texts of a set that its width is measured on."""


class Archive:
    """A growing list of texts, each with a number, and the nearest of the first so many to another text."""

    def __init__(self, texts: Iterable[str] = (), embedding: str | None = None) -> None:
        """Begin with some texts.

        Args:
            embedding: `None`: runs of three words alone; `words`: TF-IDF beside them; else a model's folder or name.
        """
        texts = list(texts)
        self._runs = Seen()
        self._space: _Weighed | _Model | None = None
        if embedding is not None:
            self._space = _Weighed(texts) if embedding == WORDS else _Model(embedding)
        self.add_all(texts)

    def __len__(self) -> int:
        return len(self._runs.texts)

    @property
    def texts(self) -> list[str]:
        """The texts, in the order in which they were added."""
        return self._runs.texts

    def add_all(self, texts: Sequence[str]) -> None:
        """Remember some texts."""
        for text in texts:
            self._runs.add(text)
        if self._space is not None and texts:
            self._space.add_all(texts)

    def nearest(self, text: str, among: int | None = None) -> tuple[float, int | None]:
        """Return the largest similarity to one of the first `among` texts, and its number; (0, `None`) with nothing."""
        found = self._runs.nearest(text, among)
        if self._space is not None:
            found = max(found, self._space.nearest(text, among), key=lambda pair: pair[0])
        return found

    def by_words(self, text: str) -> tuple[float, int | None]:
        """Return the largest share of common runs of three words, and whose it is."""
        return self._runs.nearest(text)

    def by_embedding(self, text: str) -> tuple[float, int | None]:
        """Return the largest cosine, and whose it is; (0, `None`) without an embedding."""
        return (0.0, None) if self._space is None else self._space.nearest(text, None)


class _Weighed:
    """TF-IDF vectors as an index from term to weights; document frequencies are those of the first texts."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._frequency = Counter(term for text in texts for term in _terms(text))
        self._documents = len(texts)
        self._holders: dict[str, list[tuple[int, float]]] = defaultdict(list)
        self._count = 0

    def add_all(self, texts: Sequence[str]) -> None:
        for text in texts:
            for term, weight in self._vector(text).items():
                self._holders[term].append((self._count, weight))
            self._count += 1

    def nearest(self, text: str, among: int | None) -> tuple[float, int | None]:
        shared: dict[int, float] = defaultdict(float)
        for term, weight in self._vector(text).items():
            held = self._holders.get(term, ())
            for number, other in held if among is None else held[: bisect_left(held, (among, 0.0))]:
                shared[number] += weight * other
        best = min(shared, key=lambda number: (-round(shared[number], 12), number), default=None)
        return (0.0, None) if best is None else (min(1.0, shared[best]), best)

    def _vector(self, text: str) -> dict[str, float]:
        found = {
            term: (1 + math.log(count)) * math.log((2 + self._documents) / (1 + self._frequency[term]))
            for term, count in _terms(text).items()
        }
        norm = math.sqrt(sum(weight * weight for weight in found.values()))
        return {term: weight / norm for term, weight in found.items() if norm > 0}


class _Model:
    """Unit vectors of a model that the recipe names."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._vectors: Any = None

    def add_all(self, texts: Sequence[str]) -> None:
        new = embed(texts, self._model, KEY)
        self._vectors = new if self._vectors is None else np.concatenate([self._vectors, new])

    def nearest(self, text: str, among: int | None) -> tuple[float, int | None]:
        if self._vectors is None or not len(self._vectors[:among]):
            return 0.0, None
        cosines = self._vectors[:among] @ embed([text], self._model, KEY)[0]
        at = int(np.argmax(cosines))
        return max(0.0, min(1.0, float(cosines[at]))), at


def spreads(seeds: Sequence[str], kept: Sequence[str], embedding: str | None = None) -> dict[str, float]:
    """Return how wide two sets are, by runs of three words and by the embedding, and how new the second one is.

    `novelty_kept` is the mean distance of a kept text to its nearest seed, by runs of three words.
    """
    found: dict[str, float | None] = {}
    for space in dict.fromkeys((None, embedding)):
        name = "spread" if space is None else "spread_by_embedding"
        found |= {f"{name}_seeds": spread(seeds, space), f"{name}_kept": spread(kept, space)}
    seen = Seen(seeds)
    if seeds and kept:
        found["novelty_kept"] = 1 - float(np.mean([seen.nearest(text)[0] for text in kept]))
    return {name: round(value, 4) for name, value in found.items() if value is not None}


def spread(texts: Sequence[str], embedding: str | None = None) -> float | None:
    """Return the mean distance of each text to its nearest neighbour among the others; `None` for fewer than two.

    0: every text has a copy; 1: none has anything in common with another. Of more than 500 texts a hash draws 500, so
    sets of one size can be compared, and of other sizes beyond it.
    """
    drawn = sorted(dict.fromkeys(texts), key=lambda text: content_id("spread", text))[:DRAWN]
    if len(drawn) < 2:
        return None
    if embedding is not None:
        vectors = embed(drawn, None if embedding == WORDS else embedding, KEY)
        cosines = vectors @ vectors.T
        np.fill_diagonal(cosines, 0)
        return 1 - float(np.clip(cosines.max(axis=1), 0, 1).mean())
    runs = [trigrams(text) for text in drawn]
    nearest = [
        max(len(own & other) / len(own | other) for at, other in enumerate(runs) if at != number)
        for number, own in enumerate(runs)
    ]
    return 1 - float(np.mean(nearest))


def _terms(text: str) -> Counter[str]:
    words = mask(text).split()
    return Counter([*words, *(f"{a} {b}" for a, b in pairwise(words))])
