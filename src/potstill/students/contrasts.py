"""Label-only rows for the pair margin: a problem's own label and that of its counterfactual, after the same prompt.

    rows of a step ──with_contrasts──► + label-only rows, weight 0 ──► nll [N] ──losses.pair_margin──► one number

They continue prompts that are read anyway, so they cost a few tokens each, and they carry no loss of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from potstill.students.batching import Row
from potstill.students.encoding import Encoded


class Contrasts(NamedTuple):
    """What the margin must know of the label-only rows, which are the last ones of a step."""

    lengths: list[int]
    """Target tokens of each of the C rows."""
    pairs: list[tuple[int, int]]
    """M times (the right one, a wrong one), counted among the label-only rows."""


def with_contrasts(rows: Sequence[Row]) -> tuple[list[Row], Contrasts]:
    """Return a step's rows with the label-only rows of its pairs behind them, and which of these are compared.

    A problem that is one of a pair brings its own label once and each other label of its pair once, however many rows
    it has in the step.
    """
    seen: set[str] = set()
    added: list[Row] = []
    pairs: list[tuple[int, int]] = []
    for row in rows:
        example = row.example
        if not example.contrast or example.group in seen:
            continue
        seen.add(example.group)
        right = len(added)
        added += [Row(_label_only(example, place), 0.0) for place in range(len(example.contrast))]
        pairs += [(right, right + place) for place in range(1, len(example.contrast))]
    return [*rows, *added], Contrasts([len(row.example.target) for row in added], pairs)


def _label_only(example: Encoded, place: int) -> Encoded:
    name = f"{example.id}/{place}"
    return Encoded(name, example.group, "answer", 0.0, example.prompt, example.contrast[place])
