"""Several teachers, one sampling: which of them writes which of a problem's samples. Pure.

    weights 2 : 1, five samples     problem 0   A B A A B
                                    problem 1   B A A B A
                                    problem 2   A A B A A

Each problem and kind gets exactly as many samples as were asked for. The turns come from one endless sequence in which
every stretch holds each teacher in proportion to its weight; a problem begins one turn later than the one before it, so
that what a weight leaves over goes round. A problem's turns depend on its place in the file, not on how many samples
it gets: more samples, a second stage or a problem that is added at the end leave the earlier turns as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice

from potstill.records import Problem, child_seed

STARTS = 997
"""Turns among which the seed chooses the first one of each kind."""


class Division:
    """The turns of several teachers over the problems of one sampling."""

    def __init__(self, problems: Iterable[Problem], weights: Sequence[float], *, seed: int = 0) -> None:
        """Lay out the turns.

        Args:
            problems: In the order of their file.
            weights: One for each teacher; at least one above 0.
        """
        self._place = {problem.id: place for place, problem in enumerate(problems)}
        self._weights = list(weights)
        self._turns: list[int] = []
        self._credits = [0.0] * len(self._weights)
        self._seed = seed

    def turns(self, problem_id: str, kind: str, count: int) -> list[int]:
        """Return, for each of a problem's first `count` samples, the number of the teacher that writes it."""
        start = child_seed("teachers", self._seed, kind) % STARTS + self._place[problem_id]
        self._grow(start + count)
        return list(islice(self._turns, start, start + count))

    def indices(self, teacher: int, problem_id: str, kind: str, count: int) -> list[int]:
        """Return which of a problem's first `count` samples a teacher writes."""
        return [index for index, turn in enumerate(self.turns(problem_id, kind, count)) if turn == teacher]

    def _grow(self, length: int) -> None:
        """Extend the sequence: at every turn all are credited their weight, and the one with the most pays for it."""
        total = sum(self._weights)
        while len(self._turns) < length:
            for teacher, weight in enumerate(self._weights):
                self._credits[teacher] += weight / total
            turn = max(range(len(self._weights)), key=lambda teacher: self._credits[teacher])
            self._credits[turn] -= 1
            self._turns.append(turn)
