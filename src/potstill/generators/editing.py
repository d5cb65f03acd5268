"""What asks a teacher for an edit: the item, its label, the label that is wanted, a kind of edit, a budget of words.

Pure but for the file of words, `templates/editing.yaml`. Replies are read in `potstill.generators.edits`.
"""

from __future__ import annotations

import json
import math

from potstill.generators.edits import fields_of, tokens
from potstill.generators.evolving import read_template
from potstill.generators.targets import COMPUTED, Ask, Task, labels_of
from potstill.rationales.items import render_item
from potstill.records import Problem
from potstill.teachers.base import Message

SHORT = 60
"""Tokens of the editable text below which a reply also spells out the edited field, so that both can be compared."""


def edit_messages(ask: Ask, task: Task) -> tuple[Message, ...]:
    """Return what asks for one edit."""
    words = read_template("editing")
    problem, editable = ask.problem, task.editable_of(ask.problem)
    content = words["frame"].format(
        task=task.about or "Answer the question about the item.",
        labels=_labels(problem, task),
        item=item_block(problem),
        label=_named(problem, str(problem.answer)),
        goal=words["goals"][_goal(ask)].format(target=_named(problem, ask.target or str(problem.answer))),
        fields=", ".join(editable),
        name=ask.kind,
        kind=words["kinds"][ask.kind],
        words=word_budget(problem, editable),
        reply=_reply(problem, editable),
    )
    return ({"role": "system", "content": words["system"]}, {"role": "user", "content": content})


def item_block(problem: Problem) -> str:
    """Return the texts of an item as it is shown to whoever edits or judges it."""
    return render_item(problem.fields, problem.question)


def word_budget(problem: Problem, editable: list[str]) -> int:
    """Return how many words an edit may change: a seventh of a long text, a third of a short one."""
    fields = fields_of(problem)
    n_words = max(len(fields[name].split()) for name in editable)
    return max(3, math.ceil(0.15 * n_words)) if n_words >= 30 else max(2, math.ceil(0.35 * n_words))


def _goal(ask: Ask) -> str:
    if ask.problem.answer_type == COMPUTED:
        return "number" if ask.role == "counterfactual" else "number_invariant"
    return ask.role


def _named(problem: Problem, label: str) -> str:
    """Return a label as it is told; of a choice with the option's text."""
    text = labels_of(problem).get(label, "") if problem.answer_type == "choice" else ""
    return f"{label} {text}" if text else label


def _labels(problem: Problem, task: Task) -> str:
    labels = labels_of(problem, task.definitions)
    if not labels:
        return "Answer: a number"
    if problem.answer_type == "choice":
        shown = [f"{label} {text}" for label, text in labels.items()]
        return "\n".join(["Choices (they stay as they are):", *shown])
    return "\n".join(["Labels:", *(label_line(label, meaning) for label, meaning in labels.items())])


def label_line(label: str, meaning: str) -> str:
    """Return one label as a line of a prompt."""
    return f"- {label}: {meaning}" if meaning else f"- {label}"


def _reply(problem: Problem, editable: list[str]) -> str:
    reply: dict[str, object] = {"status": "ok", "edits": [{"field": editable[0], "old": "...", "new": "..."}]}
    if max(len(tokens(fields_of(problem)[name])) for name in editable) < SHORT:
        reply["edited"] = "the whole edited field"
    return json.dumps(reply)
