"""A world of letters: an action is appended to the text, and scores are drawn from a hash of it."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter

from potstill.generators.asking import World

ACTIONS = ("a", "b", "c", "d", "e", "f")


def number(*parts):
    """Return a number in [0, 1) that belongs to `parts`."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:4], "big") / 2**32


def score(text):
    """Return three scores between 1 and 6; the longer a text, the better on average."""
    better = 0.3 * min(len(text), 6)
    return {t: round(1 + 1.6 * number(t, text) + better, 3) for t in ("quality", "diversity", "complexity")}


class ToyWorld:
    """Answers, counts what was asked, and can be slow, uneven or broken."""

    def __init__(self, *, jitter=False, fails_after=None, unjudged=0.1, empty=0.08, refuses=0.1):
        self.asked = Counter()
        self.jitter = jitter
        self.fails_after = fails_after
        self.unjudged = unjudged
        self.empty = empty
        self.refuses = refuses
        self.now = 0
        self.peak = 0

    async def expand(self, node, action, draw):
        await self._live(("expand", node.text, action, draw))
        if number("empty", node.text, action, draw) < self.empty:
            return []
        return [node.text + action + "'" * draw]

    async def judge(self, texts, attempt):
        await self._live(("judge", tuple(texts), attempt))
        return [None if number("judge", text, attempt) < self.unjudged else score(text) for text in texts]

    def gate(self, text, parent, root):
        return "ugly" if number("gate", text) < self.refuses else ""

    @property
    def world(self):
        return World(expand=self.expand, judge=self.judge, gate=self.gate)

    async def _live(self, question):
        if self.fails_after is not None and sum(self.asked.values()) >= self.fails_after:
            raise ConnectionError("the endpoint is gone")
        self.asked[question] += 1
        self.now += 1
        self.peak = max(self.peak, self.now)
        try:
            for _ in range(1 + int(5 * number(question)) if self.jitter else 1):
                await asyncio.sleep(0)
        finally:
            self.now -= 1
