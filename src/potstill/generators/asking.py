"""The counted calls of one search: the world is asked, or its record is read; every answer is written down once.

    World.expand ─► texts ─► gate ─► World.judge ─► scores ─► Node        one JSON row per call, in a file of the caller

A search is a function of its seed and of what its calls brought back, so the rows of its calls are all it takes to
resume it: replayed, they give the same tree, and no recorded call is made again. A row answers one question, whenever
it is asked: a larger budget changes which questions come and how many are judged together, not what was answered.
Nothing here opens a file.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from potstill.errors import DataError
from potstill.generators.trees import NO_TEXT, Node
from potstill.records import content_id

Row = dict[str, Any]
Record = Callable[[Row], None]
"""Called with the row of every call as soon as it has been answered: append it to a file."""
Scores = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Failed:
    """An evolver's call that brought no text."""

    reason: str
    """A short word that is counted, such as unparseable, invalid, refused."""


def refuse_nothing(text: str, parent: str, root: str) -> str:
    """Return no reason: the gate of a world without one."""
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What a search asks: two async functions, and a gate that costs no call."""

    expand: Callable[[Node, str, int], Awaitable[Sequence[str] | Failed]]
    """(node, action, draw) -> child texts; none, or why there is none: the action does not fit, or the evolver failed.
    `draw` counts how often this action was applied to this node before, so that equal questions may get different
    answers."""
    judge: Callable[[Sequence[str], int], Awaitable[Sequence[Scores | None]]]
    """(texts, attempt) -> scores by term, one per text in order; `None`: this judgement failed."""
    gate: Callable[[str, str, str], str] = refuse_nothing
    """(text, parent's text, root's text) -> the reason to refuse it; empty: it passes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reward:
    """How scores become one value, and which scores are refused.

    Source: IDEA-MCTS, Li et al. 2024, arXiv:2410.10392: v = quality + diversity + complexity, unweighted.
    """

    weights: Mapping[str, float] = field(default_factory=lambda: {"quality": 1.0, "diversity": 1.0, "complexity": 1.0})
    floors: Mapping[str, float] = field(default_factory=dict)
    """A text judged below one of these is refused, whatever its other scores are."""

    def value(self, scores: Scores | None) -> float | None:
        """Return the weighted sum; `None` where a term is missing."""
        if scores is None or any(term not in scores for term in self.weights):
            return None
        return sum(weight * scores[term] for term, weight in self.weights.items())

    def refusal(self, scores: Scores | None) -> str:
        """Return the reason why these scores are refused; empty: they are not."""
        low = [term for term, floor in self.floors.items() if scores is not None and scores.get(term, floor) < floor]
        return f"low_{low[0]}" if low else ""


class Asking:
    """The calls of one search; one on record is not made again."""

    def __init__(
        self, world: World, reward: Reward, text: str, mark: str, *,
        record: Record | None = None, recorded: Iterable[Row] = (),
    ) -> None:  # fmt: skip
        self._world = world
        self._reward = reward
        self._text = text
        self._record: Record = record or (lambda row: None)
        self.judged = 0
        self._known: dict[tuple[Any, ...], deque[Row]] = defaultdict(deque)
        if not self._read(recorded, mark):
            self._record({"call": "root", "step": 0, "slot": 0, "mark": mark, "text": text})

    async def root(self) -> Node:
        """Return the seed instruction as a judged node. The gates do not apply to it."""
        found = (await self.judge([Node(text=self._text)], 0))[0]
        return replace(found, refused="")

    async def expand(
        self, parent: Node, action: str, step: int, slot: int, draw: int, *, is_simulated: bool = False
    ) -> list[Node]:
        """Return the texts that one call brings, gated but not yet judged; a single node without text for none."""
        of = content_id(parent.text)
        row = self._take("expand", of, action, draw)
        if row is None:
            made = await self._world.expand(parent, action, draw)
            texts = [] if isinstance(made, Failed) else list(made)
            row = {
                "call": "expand",
                "step": step,
                "slot": slot,
                "of": of,
                "action": action,
                "draw": draw,
                "texts": texts,
            }
            if isinstance(made, Failed):
                row["failed"] = made.reason
            self._record(row)
        failed = row.get("failed") or NO_TEXT
        return [
            Node(
                text=text, action=action, step=step, slot=slot, is_simulated=is_simulated,
                refused=self._world.gate(text, parent.text, self._text) if text.strip() else failed,
            )
            for text in row["texts"] or [""]
        ]  # fmt: skip

    async def judge(self, nodes: Sequence[Node], attempt: int) -> list[Node]:
        """Return the nodes with their scores, siblings in one call; refused ones as they are.

        A judgement that failed is asked for once more; failing again it stays missing. `attempt` numbers the first
        call within its step and must leave room for the second.
        """
        waiting = [at for at, node in enumerate(nodes) if not node.refused]
        found = list(nodes)
        for number in (attempt, attempt + 1):
            if not waiting:
                break
            scores = await self._scores([nodes[at] for at in waiting], number)
            for at, score in zip(waiting, scores, strict=True):
                value, refused = self._reward.value(score), self._reward.refusal(score)
                found[at] = replace(nodes[at], scores=score, value=value, refused=refused)
            waiting = [at for at in waiting if found[at].value is None]
        return found

    async def _scores(self, nodes: Sequence[Node], attempt: int) -> Sequence[Scores | None]:
        step, again = nodes[0].step, attempt % 2
        of = content_id([node.text for node in nodes])
        row = self._take("judge", of, again)
        if row is None:
            scores = await self._world.judge([node.text for node in nodes], again)
            shown = [found if found is None else dict(found) for found in scores]
            row = {"call": "judge", "step": step, "slot": attempt, "of": of, "again": again, "scores": shown}
            self._record(row)
        self.judged += len(nodes)
        found: list[Scores | None] = row["scores"]
        if len(found) != len(nodes):
            message = f"step {step}: {len(found)} scores for {len(nodes)} texts; a judge returns one per text, or None"
            raise DataError(message)
        return found

    def _take(self, *question: Any) -> Row | None:
        """Return the next row on record that answers this question; `None`: it has to be asked."""
        rows = self._known.get(question)
        return rows.popleft() if rows else None

    def _read(self, recorded: Iterable[Row], mark: str) -> bool:
        """Keep the rows by the question that each answers; return whether there was a record."""
        rows = list(recorded)
        header = next((row for row in rows if row["call"] == "root"), None)
        if rows and (header is None or header["mark"] != mark):
            found = None if header is None else header["mark"]
            message = (
                f"the record is of another search (mark {found}, expected {mark}): its text, seed, strategy or "
                "settings differ; give the same ones, or start without the record"
            )
            raise DataError(message)
        for row in rows:
            if row["call"] == "expand":
                self._known["expand", row["of"], row["action"], row["draw"]].append(row)
            elif row["call"] == "judge":
                self._known["judge", row["of"], row["again"]].append(row)
        return bool(rows)


def mark_of(strategy: str, text: str, seed: int, settings: Any) -> str:
    """Return what a record is known by. The budget is not in it: a search may go on under a larger one."""
    return content_id("search", strategy, text, seed, settings)
