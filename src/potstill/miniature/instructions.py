"""The miniature's evolver, judge and gate for instructions: text in, text out, each sometimes wrong.

The evolver applies one of the twelve actions, and now and then it returns the text as it was, adds too much, says
nothing of weight, or breaks the instruction. The judge sees the truth through noise, and likes length and first
places. The gate is deterministic and sees the surface only. All chance comes from the `rng` that is passed in, or, in
`instruction_world`, from (seed, text, action, draw): equal questions get equal answers in every search.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from potstill.generators.asking import World
from potstill.generators.gates import surface_gate
from potstill.generators.trees import Node
from potstill.miniature.instruction_grammar import (
    CLAUSES,
    DOMAINS,
    KNOWN_TERMS,
    UNKNOWABLE,
    VAGUE,
    VERBS,
    Instruction,
    Task,
    read,
    render,
    word_limits,
    worth,
)  # fmt: skip

LOW_NOISE, HIGH_NOISE = 0.5, 1.5
"""Standard deviation of the judged sum of three terms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evolver:
    """How often the evolver errs: fractions of its calls, drawn in this order."""

    fails: float = 0.02
    """Returns no text."""
    echoes: float = 0.06
    """Returns the text as it was."""
    breaks: float = 0.05
    """Breaks it, of a text without clauses."""
    breaks_more: float = 0.025
    """In addition per clause that is there already."""
    overdoes: float = 0.08
    """Adds two more clauses of any kind."""
    waffles: float = 0.08
    """Adds a sentence that says nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """How the judge is wrong, in points of the scale from 1 to 6."""

    noise: float = LOW_NOISE
    """Standard deviation of the sum of its three scores."""
    per_ten_words: float = 0.06
    """Added to quality and complexity per ten words beyond twenty."""
    first: float = 0.15
    """Added to every term of the first of several texts, falling to nothing at the last."""
    fails: float = 0.01
    """Fraction of texts without a judgement."""
    sees_broken: float = 1.5
    """What a broken text loses in judged quality: it is scored, not found out."""


def evolve(text: str, action: str, rng: random.Random, evolver: Evolver = Evolver()) -> str:
    """Apply an action to an instruction and return the new text; empty where the evolver fails.

    A text that is no task of this world comes back as it was.
    """
    found, draw = read(text), rng.random()
    if found.task is None or draw < evolver.fails:
        return "" if found.task else text
    draw -= evolver.fails
    if draw < evolver.echoes:
        return text
    draw -= evolver.echoes
    breaks = evolver.breaks + evolver.breaks_more * len(found.clauses)
    if draw < breaks:
        return _break(text, rng)
    draw -= breaks
    if draw < evolver.overdoes:
        for kind in (action, *rng.sample(list(CLAUSES), 2)):
            text = _apply(read(text), text, kind, rng)
        return text
    if draw < evolver.overdoes + evolver.waffles:
        return f"{text} {rng.choice(VAGUE)}."
    return _apply(found, text, action, rng)


def judge(texts: Sequence[str], rng: random.Random, how: Judge = Judge()) -> list[dict[str, float] | None]:
    """Return quality, diversity and complexity of each text on the scale from 1 to 6; `None`: no judgement.

    The noise of a text comes from `rng`, in the order of the texts; its place in the list shifts all three terms.
    """
    return [judge_one(text, place / max(1, len(texts) - 1), len(texts), rng, how) for place, text in enumerate(texts)]


def judge_one(text: str, place: float, count: int, rng: random.Random, how: Judge) -> dict[str, float] | None:
    """Return the judgement of one of `count` texts; `place` is 0 for the first and 1 for the last."""
    if rng.random() < how.fails:
        return None
    true, spread = worth(text), how.noise / 3**0.5
    long = how.per_ten_words * max(0, len(text.split()) - 20) / 10
    early = how.first * (1 - place) if count > 1 else 0.0
    terms = {
        "quality": true.quality - (how.sees_broken if true.broken else 0.0) + long,
        "diversity": true.coverage,
        "complexity": true.complexity + long,
    }
    return {name: round(min(6.0, max(1.0, value + early + rng.gauss(0, spread))), 3) for name, value in terms.items()}


def gate(text: str, parent: str, root: str) -> str:
    """Return why a text is refused: its surface, a first sentence that is no task, or word limits that exclude each
    other. Contradictions of form and questions that nobody can answer pass: no rule of this kind finds them.
    """
    reason = surface_gate(text, parent, root)
    if reason:
        return reason
    found = read(text)
    least, most = word_limits(found)
    if found.task is None or found.unknown:
        return "unparseable"
    return "unanswerable" if least > most else ""


def instruction_world(seed: int, *, evolver: Evolver | None = None, how: Judge | None = None) -> World:
    """Return the world as a search asks it: without a server, without latency."""
    evolver, how = evolver or Evolver(), how or Judge()

    async def expand(node: Node, action: str, draw: int) -> list[str]:
        text = evolve(node.text, action, random.Random(f"{seed}\0{draw}\0{action}\0{node.text}"), evolver)
        return [text] if text else []

    async def ask_judge(texts: Sequence[str], attempt: int) -> list[Mapping[str, float] | None]:
        last = max(1, len(texts) - 1)
        return [
            judge_one(text, place / last, len(texts), random.Random(f"{seed}\1{attempt}\1{text}"), how)
            for place, text in enumerate(texts)
        ]

    return World(expand=expand, judge=ask_judge, gate=gate)


def _apply(found: Instruction, text: str, action: str, rng: random.Random) -> str:
    assert found.task is not None, "the caller has read a task"
    if action == "new":
        topic = rng.choice([topic for topic in DOMAINS[found.task.domain] if topic != found.task.topic])
        kinds = rng.sample(list(CLAUSES), min(len(found.clauses), len(CLAUSES)))
        task = Task(found.task.domain, topic, rng.randrange(len(VERBS)))
        return render(task.text, [_clause(kind, task, rng) for kind in kinds])
    clause = _clause(action, found.task, rng)
    old = [sentence for kind, sentence in found.clauses if kind == action]
    if action.endswith("_format") and old and rng.random() < 0.7:
        return text.replace(f" {old[0]}.", f" {clause}.", 1)
    return f"{text} {clause}."


def _clause(kind: str, task: Task, rng: random.Random) -> str:
    if kind == "domain" and rng.random() < 0.7:
        return f"Use the term {rng.choice(KNOWN_TERMS[task.domain])} correctly"
    return rng.choice(CLAUSES[kind])


def _break(text: str, rng: random.Random) -> str:
    way = rng.choice(("cut", "dangling", "talk", "limits", "unknowable", "unknowable", "forms"))
    if way == "cut":
        return text[: max(1, int(len(text) * rng.uniform(0.4, 0.9)))].rstrip(". ") + " and then"
    if way == "dangling":
        return (
            f"{text} {rng.choice(('Use the figure below', 'Refer to the attached file', 'Continue the text above'))}."
        )
    if way == "talk":
        return f"Sure, here is the rewritten prompt. {text}"
    if way == "limits":
        return f"{text} Use at least 300 words. Use at most 80 words."
    if way == "forms":
        return f"{text} {'. '.join(rng.sample(CLAUSES['output_format'], 2))}."
    return f"{text} {rng.choice(UNKNOWABLE)}. {rng.choice(CLAUSES[rng.choice(list(CLAUSES))])}."
