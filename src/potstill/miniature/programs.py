"""Programs of the procedural teacher: a walk written as a few lines of Python that leave the square in `ans`.

One style is likeliest by far: with three equally likely ones a student's greedy style swings from step to step, and
what it has learnt of none is enough (docs/log.md). That style names each move by its day, the key under which the
pretrained student reads a story. Every word is in the student's vocabulary, one token each with the space before it.
"""

from __future__ import annotations

import random

from potstill.miniature.world import RING, Event, Walk

PROGRAM_STYLES = {"days": 0.8, "steps": 0.12, "line": 0.08}


def write_program(walk: Walk, rng: random.Random, *, style: str, slips: float, forgets: bool) -> str:
    """Write a program in a style of `PROGRAM_STYLES` that computes where a walk ends.

    Args:
        slips: Fraction of moves that are written down wrongly; the sums are Python's and are never wrong.
        forgets: Leave out the line without which there is no answer: no `ans` at all, or one without its first value.

    >>> walk = Walk(9, (Event("Monday", 1, 30), Event("Friday", -1, 4, 2)))
    >>> print(write_program(walk, random.Random(0), style="days", slips=0, forgets=False))
    start = 9
    monday = + 30
    friday = - 2 * 4
    ans = start + monday + friday
    ans = ans % 12
    """
    moves = [(event.day.lower(), _term(event, rng, slips)) for event in walk.events if event.sign]
    last = f"ans = ans % {RING}"
    if style == "days":
        named = [f"start = {walk.start}", *(f"{day} = {term}" for day, term in moves)]
        return "\n".join(named if forgets else [*named, " + ".join(["ans = start", *(day for day, _ in moves)]), last])
    if style == "steps":
        steps = [f"ans = {walk.start}", *(f"ans = ans {term}" for _, term in moves), last]
        return "\n".join(steps[1:] if forgets else steps)
    return "\n".join([last] if forgets else [" ".join([f"ans = {walk.start}", *(term for _, term in moves)]), last])


def _term(event: Event, rng: random.Random, slips: float) -> str:
    amount = event.amount
    if rng.random() < slips:
        amount = max(1, amount + rng.choice((-2, -1, 1, 2)))
    times = f"{event.times} * " if event.times > 1 else ""
    return f"{'+' if event.sign > 0 else '-'} {times}{amount}"
