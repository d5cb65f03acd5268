"""A trained scorer as judge of instructions: no requests, no votes, the same answer to the same text.

It scores every text by itself, so there is no order to shuffle; a text that is longer than the model reads is a missing
judgement, counted as such. What it is worth stands in its folder (`potstill.students.scorers`).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from potstill.errors import ConfigError
from potstill.generators.asking import Scores
from potstill.generators.judging import Bench, plain
from potstill.recipe.generators import EvolveConfig


class TrainedJudge:
    """A scorer that is asked as `potstill.generators.judging.Judge` is."""

    def __init__(self, config: EvolveConfig) -> None:
        """Open the scorer that the recipe names.

        Raises:
            StudentError: Its folder cannot be read.
            ConfigError: It has not learnt a term that counts.
        """
        from potstill.students.scorers import Scorer

        folder = str(config.judge.scorer)
        self.bench = Bench()
        self._scorer: Any = Scorer(folder)
        self._terms = config.judged_terms
        missing = [term for term in self._terms if term not in self._scorer.terms]
        if missing:
            message = (
                f"evolve.judge.scorer: {folder} scores {', '.join(self._scorer.terms)}; evolve.weights or floors need "
                f"{missing[0]!r}, too: leave it out of them, or train a scorer on it"
            )
            raise ConfigError(message)
        self._turn = asyncio.Lock()

    async def __call__(self, texts: Sequence[str], attempt: int) -> list[Scores | None]:
        """Return the scores of each text; `None`: it is too long."""
        async with self._turn:
            found = await asyncio.to_thread(self._scorer.scores, [plain(text) for text in texts])
        self.bench.votes += 1
        self.bench.faults.update("too_long" for one in found if one is None)
        if len(found) >= 3:
            self.bench.groups += 1
            self.bench.flat += None not in found and all(one == found[0] for one in found)
        return [None if one is None else {term: one[term] for term in self._terms} for one in found]


def scorer_mark(config: EvolveConfig) -> str:
    """Return what tells one trained scorer from another; empty without one."""
    if config.judge.scorer is None:
        return ""
    return str(json.loads((Path(config.judge.scorer) / "scorer.json").read_text(encoding="utf-8"))["fingerprint"])
