"""What is asked for of a problem, and written by it, under one name: a way is a kind of rationale and its view.

    cot                     a chain of thought
    cot/positive            one that says why the answer holds
    cot/negative            one that rules out every other answer
    cot/positive/given      the same, by an author who was told the answer (`meta["rationalised"]`)
    pot, answer             have no views

A way is part of a rationale's place, (problem, way, index): the two views of a problem are different rationales with
their own requests, prices and draws. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from potstill.records import Rationale

GIVEN = "given"


class Way(NamedTuple):
    """A way, taken apart."""

    kind: str
    view: str | None = None
    is_given: bool = False
    """Whether the author is told the answer."""


def way_name(kind: str, view: str | None = None, *, is_given: bool = False) -> str:
    """Return the name of a way.

    >>> way_name("cot", "negative", is_given=True)
    'cot/negative/given'
    """
    return "/".join([kind, *([view] if view else []), *([GIVEN] if view and is_given else [])])


def parse_way(name: str) -> Way:
    """Return a way's parts.

    >>> parse_way("cot/positive")
    Way(kind='cot', view='positive', is_given=False)
    """
    kind, *rest = name.split("/")
    return Way(kind, rest[0] if rest else None, is_given=GIVEN in rest[1:])


def ways_of(kinds: Sequence[str], views: Sequence[str], *, is_given: bool = False) -> tuple[str, ...]:
    """Return the ways of some kinds: a chain of thought once for each view, every other kind as it is.

    >>> ways_of(["cot", "pot"], ["positive", "negative"])
    ('cot/positive', 'cot/negative', 'pot')
    """
    found: list[str] = []
    for kind in kinds:
        found += [way_name(kind, view, is_given=is_given) for view in views] if kind == "cot" and views else [kind]
    return tuple(found)


def way_of(rationale: Rationale) -> str:
    """Return the way in which a rationale was written."""
    return way_name(rationale.kind, rationale.view, is_given=bool(rationale.meta.get("rationalised")))


def place_of(rationale: Rationale) -> tuple[str, str, int]:
    """Return (problem id, way, index): where a rationale stands, once."""
    return rationale.problem_id, way_of(rationale), rationale.index
