"""What has been seen: the nearest of many texts, exactly, by runs of three words.

Seeds, kept instructions and evaluation texts are asked the same question: how much of this text is there already?
Similar in meaning but not in words is not found; `potstill.rationales.contamination` looks further, at more cost.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable

from potstill.generators.gates import trigrams


class Seen:
    """A growing set of texts with an index of their trigrams."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self.texts: list[str] = []
        self._sizes: list[int] = []
        self._holders: dict[tuple[str, ...], list[int]] = defaultdict(list)
        for text in texts:
            self.add(text)

    def add(self, text: str) -> None:
        """Remember a text."""
        own = trigrams(text)
        for run in own:
            self._holders[run].append(len(self.texts))
        self.texts.append(text)
        self._sizes.append(len(own))

    def nearest(self, text: str, among: int | None = None) -> tuple[float, int | None]:
        """Return the largest Jaccard similarity in [0, 1] to a text seen, and its number; (0, `None`) with nothing.

        Args:
            among: Only the first so many count; `None`: all.
        """
        own = trigrams(text)
        shared: Counter[int] = Counter()
        for run in own:
            held = self._holders.get(run, ())
            shared.update(held if among is None else held[: bisect_left(held, among)])
        best, at = 0.0, None
        for number, count in shared.items():
            share = count / (len(own) + self._sizes[number] - count)
            if share > best or (share == best and at is not None and number < at):
                best, at = share, number
        return best, at
