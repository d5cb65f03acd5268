"""The embedded teacher's voice: what is about instructions goes to one of its halves, everything else to the other."""

from __future__ import annotations

import random

from potstill.miniature import instruction_teacher, teacher


def write(question: str, rng: random.Random, *, kind: str = "cot", temperature: float = 1.0) -> str:
    """Write the reply to any prompt; all chance comes from `rng`."""
    said = instruction_teacher.write(question, rng, temperature=temperature)
    return teacher.write(question, rng, kind=kind, temperature=temperature) if said is None else said
