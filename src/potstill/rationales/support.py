"""The support test: does a rationale, without its answer, still say which answer it is for?

    rationale ──mask──► reasoning without the answer's sentence, labels masked ──a reader──► label, or none

A rationale that was written towards a given label may end in the right one and support nothing. A reader that sees the
masked reasoning alone must recover the label. Who reads, and what that costs, is `potstill.purchases`' work; which
rationales are left out, `filtering`'s. Only problems with a closed set of answers can be read so. Pure.

Source: ours (docs/counterfactual.md). That rationales may not support their answer: SCOTT (Wang et al. 2023,
    arXiv:2305.01879).
"""

from __future__ import annotations

import random
import re
from typing import Any

from potstill.generators.evolving import read_object
from potstill.rationales.answers import equal, normalise
from potstill.rationales.mentions import without_answer
from potstill.records import Problem, Rationale, child_seed
from potstill.teachers.base import Completion, Message

OPENING = "Which label does this reasoning support?"
MASK = "___"
_ASKING = (
    OPENING + " You see the reasoning alone: words that name a label are masked as " + MASK + ", and where it says the "
    "answer it was cut.\n{task}Labels: {labels}\nReasoning:\n<<<\n{reasoning}\n>>>\nReply with one JSON object only: "
    '{{"label": one of the labels, or null, "none": true if it supports none of them}}'
)


def answers_of(problem: Problem) -> list[str]:
    """Return the closed set of a problem's answers; empty where there is none."""
    if problem.answer_type == "choice":
        return [f"({chr(97 + i)}) {option}" for i, option in enumerate(problem.options)]
    return ["yes", "no"] if problem.answer_type == "yesno" else list(problem.labels)


def masked(text: str, problem: Problem) -> str:
    """Return the reasoning of a text, without the sentence that states the answer and every word that names a label.

    >>> masked("It rises, so down is out. So the answer is: up", Problem(id="p", question="q", labels=("up", "down")))
    'It rises, so ___ is out.'
    """
    forms: list[str] = []
    for answer in answers_of(problem):
        letter, _, rest = answer.partition(" ")
        forms += [letter, rest] if problem.answer_type == "choice" else [answer]
    reasoning = without_answer(text)
    for form in sorted(filter(None, forms), key=len, reverse=True):
        edges = (r"(?<!\w)", r"(?!\w)")
        reasoning = re.sub(re.escape(form).join(edges), MASK, reasoning, flags=re.IGNORECASE)
    return reasoning


def support_messages(rationale: Rationale, *, about: str = "", seed: int = 0) -> tuple[Message, ...]:
    """Return what the reader is asked: a function of the masked reasoning and the label set alone.

    Args:
        about: One sentence on the task.
        seed: Shuffles the labels, so that their order tells nothing.
    """
    problem = _problem(rationale)
    reasoning, labels = masked(rationale.text, problem), answers_of(problem)
    random.Random(child_seed("support", seed, reasoning)).shuffle(labels)
    task = f"Task: {about}\n" if about else ""
    return ({"role": "user", "content": _ASKING.format(task=task, labels=", ".join(labels), reasoning=reasoning)},)


def reading(completion: Completion, rationale: Rationale) -> dict[str, Any]:
    """Return what a reply says, as it is kept: `label`, `supported` (`None`: it could not be read) and `reason`."""
    found = None if completion.failed else read_object(completion.text)
    if found is None:
        reason = completion.reason or completion.finish or "failed" if completion.failed else "unparseable"
        return {"label": None, "supported": None, "reason": str(reason)}
    said, problem = found.get("label"), _problem(rationale)
    if found.get("none") is True or said is None:
        return {"label": None, "supported": False, "reason": "none"}
    answer = normalise(str(said), problem.answer_type, problem.options, problem.labels)
    if answer is None:
        return {"label": None, "supported": None, "reason": "no_such_label"}
    gold = normalise(str(problem.answer), problem.answer_type, problem.options, problem.labels)
    is_same = gold is not None and equal(answer, gold, problem.answer_type) is True
    return {"label": answer.text, "supported": is_same, "reason": "" if is_same else "another_label"}


def can_be_read(rationale: Rationale) -> bool:
    """Whether the test applies: a chain of thought for a problem with a known answer out of a closed set."""
    problem = rationale.problem
    known = problem is not None and problem.answer is not None and len(answers_of(problem)) > 1
    return known and rationale.kind == "cot"


def _problem(rationale: Rationale) -> Problem:
    assert rationale.problem is not None, "only rationales with their problem are read (`can_be_read`)"
    return rationale.problem
