"""The embedded teacher's voice: each prompt goes to the world that it is about, everything else to the ring's."""

from __future__ import annotations

import random

from potstill.miniature import instruction_teacher, labels_teacher, rewording, teacher


def write(question: str, rng: random.Random, *, kind: str = "cot", temperature: float = 1.0) -> str:
    """Write the reply to any prompt; all chance comes from `rng`."""
    if kind == "reworded":
        return rewording.reword(question, rng)
    said = labels_teacher.write(question, rng, kind=kind, temperature=temperature)
    if said is None:
        said = instruction_teacher.write(question, rng, temperature=temperature)
    return teacher.write(question, rng, kind=kind, temperature=temperature) if said is None else said
