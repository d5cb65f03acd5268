"""Programs of the procedural teacher: a walk written as a few lines of Python that leave the square in `ans`.

One style is likeliest by far: with three equally likely ones a student's greedy style swings from step to step, and
what it has learnt of none is enough (docs/log.md). That style names the day of each move in a comment before it: the
key under which the pretrained student reads a story. Every word is in the student's vocabulary, one token each with the
space before it.
"""

from __future__ import annotations

import random

from potstill.miniature.world import RING, Event, Walk

PROGRAM_STYLES = {"noted": 0.85, "steps": 0.15}


def write_program(walk: Walk, rng: random.Random, *, style: str, slips: float, forgets: bool) -> str:
    """Write a program in a style of `PROGRAM_STYLES` that computes where a walk ends.

    Args:
        slips: Fraction of moves that are written down wrongly; the sums are Python's and are never wrong.
        forgets: Leave out the first line, without which `ans` has no value and the program fails.

    >>> walk = Walk(9, (Event("Monday", 1, 30), Event("Friday", -1, 4, 2)))
    >>> print(write_program(walk, random.Random(0), style="noted", slips=0, forgets=False))
    ans = 9
     # Monday
    ans = ans + 30
     # Friday
    ans = ans - 2 * 4
    ans = ans % 12
    """
    lines = [] if forgets else [f"ans = {walk.start}"]
    for event in walk.events:
        if event.sign:
            lines += [f" # {event.day}"] if style == "noted" else []
            lines.append(f"ans = ans {_term(event, rng, slips)}")
    return "\n".join([*lines, f"ans = ans % {RING}"]).strip()


def _term(event: Event, rng: random.Random, slips: float) -> str:
    amount = event.amount
    if rng.random() < slips:
        amount = max(1, amount + rng.choice((-2, -1, 1, 2)))
    times = f"{event.times} * " if event.times > 1 else ""
    return f"{'+' if event.sign > 0 else '-'} {times}{amount}"
