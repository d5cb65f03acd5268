"""Which examples meet in which training step: SCoTD's two loaders, seeded and a pure function of (epoch, step).

    one_per_problem   each visit of a problem draws from its kept rationales at random, so every problem weighs the same
    all               every example once per epoch, cut into groups that share a prompt

Where a problem has rationales of several kinds, a visit draws as many of each kind: every step holds both kinds of the
same problems, as the loss of Mixed Distillation asks for.

With `pairs_together` a problem and its counterfactuals are in the same step.

A curriculum (`curriculum`) orders the problems of each epoch, or lets them join one after another.

Several processes share each step: an item is then one process's share of a step, and what a step learns from does not
depend on how many there are.

A step's rows depend on nothing but the seed, the epoch and the step's number, so training resumes in mid-epoch without
replaying anything. Prompts of similar length meet, so that padding stays small. No tensors here: `sharing` collates.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from potstill.errors import ConfigError
from potstill.records import child_seed
from potstill.students.curriculum import Curriculum
from potstill.students.encoding import Encoded

POOL_STEPS = 16
"""Problems are sorted by prompt length within pools of so many steps: enough to pair lengths, too few to order an
epoch by length."""


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One example in one step."""

    example: Encoded
    weight: float
    """The example's own, times what makes up for a problem with fewer rationales than were asked for."""


class Schedule:
    """The steps of each epoch. `len` is the number of steps of the current epoch; item i is a list of rows."""

    def __init__(
        self, rows: Sequence[Encoded], *, loader: str, problems_per_step: int, rationales_per_problem: int, seed: int,
        curriculum: Curriculum | None = None, pairs_together: bool = False, shares: int = 1,
    ) -> None:  # fmt: skip
        self._shares = shares
        self._loader = loader
        self._problems_per_step = problems_per_step
        self._rationales_per_problem = rationales_per_problem
        self._seed = seed
        self._groups = _grouped(rows)
        self._pairs_together = pairs_together
        self._curriculum = curriculum
        if curriculum is not None:
            self._groups.sort(key=lambda group: (curriculum.difficulty[group[0].group], group[0].group))
        self._epoch = -1
        self._steps: list[list[list[Encoded]]] = []
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Arrange the steps of an epoch; the Trainer calls it at each beginning."""
        if epoch == self._epoch:
            return
        self._epoch = epoch
        rng = np.random.default_rng(child_seed("schedule", self._seed, epoch))
        if self._pairs_together:
            parts = self._groups if self._loader == "one_per_problem" else self._chunks(rng)
            self._steps = _paired(parts, self._problems_per_step, rng)
            return
        if self._loader == "one_per_problem":
            parts = self._groups
            order = _filled(rng.permutation(len(parts)), self._problems_per_step, rng)
        else:
            parts = self._chunks(rng)
            order = rng.permutation(len(parts))
        if self._curriculum is not None and self._curriculum.pace is None:
            self._steps = _in_order(parts, order, self._problems_per_step, self._curriculum)
            return
        self._steps = _arranged([parts[i] for i in order], self._problems_per_step, rng)

    @property
    def n_steps(self) -> int:
        """The steps of the epoch, each counted once."""
        return len(self._steps)

    def __len__(self) -> int:
        return len(self._steps) * self._shares

    def __getitem__(self, item: int) -> list[Row]:
        step, share = divmod(item, self._shares)
        return self._rows(step) if self._shares == 1 else divided(self._rows(step), self._shares)[share]

    def _rows(self, step: int) -> list[Row]:
        parts = self._joined(step) or self._steps[step]
        if self._loader == "all":
            return [Row(example, example.weight) for part in parts for example in part]
        rng = np.random.default_rng(child_seed("draw", self._seed, self._epoch, step))
        return [row for part in parts for own in _by_task(part) for row in self._drawn(own, rng)]

    def _joined(self, step: int) -> list[list[Encoded]]:
        """Return problems drawn from those that have joined by this step; none when all have."""
        if self._curriculum is None or self._curriculum.pace is None:
            return []
        share = self._curriculum.share(self._epoch * len(self._steps) + step)
        if share >= 1:
            return []
        count = max(self._problems_per_step, math.ceil(share * len(self._groups)))
        if count >= len(self._groups):
            return []
        rng = np.random.default_rng(child_seed("joined", self._seed, self._epoch, step))
        picks = np.sort(rng.choice(count, size=self._problems_per_step, replace=False))
        return [self._groups[pick] for pick in picks]

    def _drawn(self, group: list[Encoded], rng: np.random.Generator) -> list[Row]:
        """Draw without replacement; a problem with too few rationales makes up for it in weight.

        Repeating k rationales until there are R has the same expected gradient as weighing each of them R / k, at a
        fraction of the cost.
        """
        wanted = self._rationales_per_problem
        if len(group) <= wanted:
            return [Row(example, example.weight * wanted / len(group)) for example in group]
        picks = rng.choice(len(group), size=wanted, replace=False, shuffle=False)
        return [Row(group[pick], group[pick].weight) for pick in picks]

    def _chunks(self, rng: np.random.Generator) -> list[list[Encoded]]:
        """Cut every group into parts of at most `rationales_per_problem`, differently in each epoch."""
        size = self._rationales_per_problem
        chunks = []
        for group in self._groups:
            order = rng.permutation(len(group))
            chunks += [[group[i] for i in order[at : at + size]] for at in range(0, len(group), size)]
        return chunks


def _paired(parts: Sequence[list[Encoded]], per_step: int, rng: np.random.Generator) -> list[list[list[Encoded]]]:
    """Arrange an epoch so that the members of a pair meet: never apart, also where that leaves a step a place short.

    Where examples come in parts of a problem, the first parts of all members meet, then the second ones. A pair of more
    problems than a step has is a step of its own.
    """
    units = _units(parts)
    drawn = [units[i] for i in rng.permutation(len(units))]
    pool = per_step * POOL_STEPS
    ordered = [unit for at in range(0, len(drawn), pool) for unit in sorted(drawn[at : at + pool], key=_prompt_length)]
    steps = _packed(ordered, per_step)
    return [steps[i] for i in rng.permutation(len(steps))]


def _units(parts: Sequence[list[Encoded]]) -> list[list[list[Encoded]]]:
    """Return the parts that belong together: the k-th one of every problem of a pair."""
    turns: dict[str, int] = {}
    units: dict[tuple[str, int], list[list[Encoded]]] = {}
    for part in parts:
        first = part[0]
        turn = turns[first.group] = turns.get(first.group, -1) + 1
        units.setdefault((first.pair or first.group, turn), []).append(part)
    return list(units.values())


def _packed(units: Sequence[list[list[Encoded]]], per_step: int) -> list[list[list[Encoded]]]:
    """Fill steps with whole units in order; what does not fit any more waits, and a smaller one nearby goes before."""
    waiting = deque(units)
    steps: list[list[list[Encoded]]] = []
    while waiting:
        step: list[list[Encoded]] = []
        passed: list[list[list[Encoded]]] = []
        while waiting and len(step) < per_step and len(passed) < POOL_STEPS:
            unit = waiting.popleft()
            if not step or len(step) + len(unit) <= per_step:
                step += unit
            else:
                passed.append(unit)
        waiting.extendleft(reversed(passed))
        steps.append(step)
    return steps


def _prompt_length(unit: list[list[Encoded]]) -> int:
    return len(unit[0][0].prompt)


def divided(rows: Sequence[Row], shares: int) -> list[list[Row]]:
    """Divide a step's rows over processes, so that each reads about as many tokens, and a prompt has one reader.

    The members of a pair stay together. Rows of one prompt do unless there are fewer prompts than processes.

    Raises:
        ConfigError: There are too few rows.
    """
    units: dict[str | int, list[Row]] = {}
    for row in rows:
        units.setdefault(row.example.pair or id(row.example.prompt), []).append(row)
    parts = list(units.values())
    while len(parts) < shares:
        most = max(parts, key=lambda part: 0 if part[0].example.pair else len(part), default=[])
        if len(most) < 2 or most[0].example.pair:
            message = (
                f"train: a step of {len(rows)} rows cannot be shared by {shares} processes; raise problems_per_step, "
                "or train with fewer"
            )
            raise ConfigError(message)
        parts.remove(most)
        parts += [most[: len(most) // 2], most[len(most) // 2 :]]
    found: list[list[Row]] = [[] for _ in range(shares)]
    load = [0] * shares
    for part in sorted(parts, key=_tokens, reverse=True):
        lightest = load.index(min(load))
        found[lightest] += part
        load[lightest] += _tokens(part)
    return found


def _tokens(rows: Sequence[Row]) -> int:
    """Return the tokens that rows take: each prompt is read once."""
    prompts = {id(row.example.prompt): len(row.example.prompt) for row in rows}
    return sum(prompts.values()) + sum(len(row.example.target) for row in rows)


def _in_order(
    parts: list[list[Encoded]], drawn: np.ndarray, per_step: int, curriculum: Curriculum
) -> list[list[list[Encoded]]]:
    """Arrange an epoch from its first problem to its last; equally difficult ones in the order drawn."""
    order = sorted(drawn.tolist(), key=lambda i: curriculum.difficulty[parts[i][0].group])
    return [[parts[i] for i in order[at : at + per_step]] for at in range(0, len(order), per_step)]


def _grouped(rows: Sequence[Encoded]) -> list[list[Encoded]]:
    groups: dict[str, list[Encoded]] = {}
    for row in rows:
        groups.setdefault(row.group, []).append(row)
    return list(groups.values())


def _by_task(group: Sequence[Encoded]) -> list[list[Encoded]]:
    """Divide a problem's rows by kind, in an order that does not depend on theirs."""
    tasks: dict[str, list[Encoded]] = {}
    for row in group:
        tasks.setdefault(row.task, []).append(row)
    return [tasks[task] for task in sorted(tasks)]


def _filled(order: np.ndarray, per_step: int, rng: np.random.Generator) -> np.ndarray:
    """Fill the last step with a second visit of problems drawn at random.

    A smaller last step would weigh its problems more, because every step counts the same.
    """
    missing = -len(order) % per_step
    if missing == 0 or len(order) < per_step:
        return order
    leftover = order[-(per_step - missing) :]
    others = np.setdiff1d(order, leftover)
    return np.concatenate([order, rng.choice(others, size=missing, replace=False)])


def _arranged(shuffled: list[list[Encoded]], per_step: int, rng: np.random.Generator) -> list[list[list[Encoded]]]:
    """Let parts of similar prompt length meet in a step, and shuffle the steps."""
    steps = []
    for at in range(0, len(shuffled), per_step * POOL_STEPS):
        pool = sorted(shuffled[at : at + per_step * POOL_STEPS], key=lambda part: len(part[0].prompt))
        steps += [pool[i : i + per_step] for i in range(0, len(pool), per_step)]
    return [steps[i] for i in rng.permutation(len(steps))]
