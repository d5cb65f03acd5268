"""A problem shown field by field, as those see it who edit it, label it or argue about it.

    Item:                        Item:
    premise: A dog runs.         <<<
    hypothesis: It is asleep.    What is 3 + 4?
                                 >>>

The block holds the problem and nothing that was said about it: no label, no origin. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def render_item(fields: Mapping[str, str], question: str, choices: Sequence[str] = ()) -> str:
    """Return the block: the fields by name, verbatim, and the choices below; without fields the question as asked.

    Args:
        question: With its choices, where it has any.
        choices: Lines such as "(a) bank", shown below fields.

    >>> render_item({"premise": "A dog runs.", "hypothesis": "It is asleep."}, "")
    'Item:\\npremise: A dog runs.\\nhypothesis: It is asleep.'
    """
    if not fields:
        return f"Item:\n<<<\n{question}\n>>>"
    return "\n".join(["Item:", *(f"{name}: {text}" for name, text in fields.items()), *choices])
