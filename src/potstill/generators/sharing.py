"""What the trees of other seeds have found, shared so that a tree depends on its place among the seeds and not on time.

    place 0 … k - after ──finished──► outcomes of actions, texts seen ──► the tree at place k

A tree at place k knows the trees of all places up to k - after and of no other, whichever happen to be finished: so
the same seeds in the same order give the same trees at any concurrency and after any kill. It waits for those it has
to know; with `after` at least the number of trees that grow at once that is seldom.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from potstill.generators.bandit import Outcomes, outcomes
from potstill.generators.nearness import Archive
from potstill.generators.trees import Tree, living
from potstill.records import content_id


@dataclass(frozen=True, slots=True)
class Known:
    """What one tree may know."""

    outcomes: Outcomes = field(default_factory=dict)
    """Wins and losses by action in the trees before it."""
    texts: int = 0
    """How many texts of the archive stood there."""
    mark: str = ""
    """Of the seeds whose trees these were; empty: none."""


class Shared:
    """The finished trees of one evolution, in the order of their seeds."""

    def __init__(self, seed_ids: Sequence[str], after: int | None, archive: Archive | None = None) -> None:
        """Begin with nothing known.

        Args:
            after: How many places back a tree begins to count for others; `None`: nothing is shared.
            archive: Gets the living texts of finished trees, in the order of their seeds.
        """
        self._after = after
        self._archive = archive
        self._places = {seed_id: place for place, seed_id in enumerate(seed_ids)}
        self._marks = marks_of(seed_ids)
        self._early: dict[int, Tree] = {}
        self._found = [Known(texts=0 if archive is None else len(archive))]
        self._grew = asyncio.Event()

    def tell(self, seed_id: str, tree: Tree) -> None:
        """Count a finished tree as soon as all before it are finished."""
        if self._after is None:
            return
        self._early[self._places[seed_id]] = tree
        while (done := len(self._found) - 1) in self._early:
            tree = self._early.pop(done)
            if self._archive is not None:
                self._archive.add_all([node.text for node in living(tree) if node.parent is not None])
            texts = 0 if self._archive is None else len(self._archive)
            self._found.append(Known(outcomes(tree, self._found[-1].outcomes), texts, self._marks[done + 1]))
        self._grew.set()
        self._grew = asyncio.Event()

    async def before(self, seed_id: str) -> Known:
        """Return what the tree of a seed may know, as soon as it is there."""
        wanted = self.counted_before(self._places[seed_id])
        while len(self._found) <= wanted:
            await self._grew.wait()
        return self._found[wanted]

    def counted_before(self, place: int) -> int:
        """Return how many trees count for the one at a place."""
        return counted_before(place, self._after)


def counted_before(place: int, after: int | None) -> int:
    """Return how many trees, from the first on, the tree at a place knows."""
    return 0 if after is None else max(0, place - after + 1)


def marks_of(seed_ids: Sequence[str]) -> list[str]:
    """Return the mark of the first 0, 1, 2 … seeds: empty, then a hash of their ids in order."""
    marks = [""]
    for seed_id in seed_ids:
        marks.append(content_id("earlier seeds", marks[-1], seed_id))
    return marks
