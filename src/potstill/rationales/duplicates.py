"""When two rationales of a problem are one: by text, nearly so, by equations, or as programs but for their names."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence

from potstill.rationales.families import similar_pairs
from potstill.rationales.programs import find_program
from potstill.rationales.ways import way_of
from potstill.recipe.rationales import SandboxConfig
from potstill.records import Rationale

_CALCULATOR = re.compile(r"<<([^<>]{1,200}=[^<>]{1,50})>>")
_NUMBER = r"[-(]*\s?[$€£]?\d[\d,]*(?:\.\d+)?\s?%?\)*"
_EQUATION = re.compile(rf"({_NUMBER}(?:\s?[-+*/x×÷·]\s?{_NUMBER})+)\s?=\s?({_NUMBER})")
_SIGNS = str.maketrans({"×": "*", "x": "*", "·": "*", "÷": "/", "$": None, "€": None, "£": None, ",": None, " ": None})

NEAR_TEXTS = 0.8
"""Jaccard similarity of two sets of runs of three words from which on two texts are nearly the same."""
REASONS = {
    "exact": ("duplicate", "the same text was kept already"),
    "near": ("near_duplicate", "nearly the same text was kept already"),
    "equations": ("same_equations", "a text with the same equations was kept already"),
    "renamed": ("same_program", "a program that differs only in names, layout or comments was kept already"),
}
"""Rule -> reason and detail of the drop."""


def equations(text: str) -> tuple[str, ...]:
    """Return the equations of a text in order, without spaces and currency signs.

    >>> equations("She has 3 + 4 = 7 and pays 7 x $2 = $14.")
    ('3+4=7', '7*2=14')
    """
    marked = _CALCULATOR.findall(text)
    found = marked or ["=".join(match.groups()) for match in _EQUATION.finditer(text)]
    return tuple(equation.translate(_SIGNS) for equation in found)


def keys(
    rationales: Sequence[Rationale], rules: Mapping[str, str], sandbox: SandboxConfig | None = None
) -> list[tuple[str, ...] | None]:
    """Return what two rationales share if they are one by their kind's rule; `None`: it is like no other.

    Rationales of different problems, kinds or read answers never share a key. A chain of thought without equations and
    a program that does not parse are compared by their text.

    Args:
        rules: Kind -> none, exact, near, equations or renamed.

    Source: the list of equations as a key is RFT's (Yuan et al. 2023, arXiv:2308.01825, and its code).
    Differs: the first of equal ones is kept, not the one farthest in edit distance from the others.
    """
    forms: dict[str, str | None] = {}
    if "renamed" in rules.values():
        from potstill.sandbox.renaming import canonical_forms

        programs = {
            rationale.id: found[0]
            for rationale in rationales
            if rules.get(rationale.kind) == "renamed" and (found := find_program(rationale.text).programs)
        }
        distinct = list(dict.fromkeys(programs.values()))
        named = dict(zip(distinct, canonical_forms(distinct, sandbox), strict=True)) if distinct else {}
        forms = {id_: named[program] for id_, program in programs.items()}
    forms |= _near([rationale for rationale in rationales if rules.get(rationale.kind) == "near"])
    return [_key(rationale, rules.get(rationale.kind, "none"), forms) for rationale in rationales]


def _near(rationales: Sequence[Rationale]) -> dict[str, str | None]:
    """Return each rationale's first near-duplicate of the same problem, kind and answer, chains included; or itself."""
    groups: dict[tuple[str, str, str], list[Rationale]] = defaultdict(list)
    for rationale in rationales:
        groups[rationale.problem_id, way_of(rationale), _answer(rationale)].append(rationale)
    first: dict[str, str | None] = {}
    for members in groups.values():
        heads = list(range(len(members)))
        runs = [_runs(member.text) for member in members]
        for i, j, _ in sorted(similar_pairs(runs, NEAR_TEXTS)):
            old, new = max(heads[i], heads[j]), min(heads[i], heads[j])
            heads = [new if head == old else head for head in heads]
        first |= {member.id: members[head].id for member, head in zip(members, heads, strict=True)}
    return first


def _runs(text: str) -> frozenset[str]:
    """Return the runs of three words of a text, numbers as they are: another number is another step."""
    words = text.casefold().split()
    return frozenset(" ".join(words[at : at + 3]) for at in range(max(1, len(words) - 2)))


def _answer(rationale: Rationale) -> str:
    return (rationale.verdict.answer if rationale.verdict is not None else None) or ""


def _key(rationale: Rationale, rule: str, forms: Mapping[str, str | None]) -> tuple[str, ...] | None:
    if rule == "none":
        return None
    answer = _answer(rationale)
    where = (rationale.problem_id, way_of(rationale))
    if rule == "equations" and (found := equations(rationale.text)):
        return (*where, answer, "equations", *found)
    if rule in ("near", "renamed") and (form := forms.get(rationale.id)):
        return (*where, answer, rule, form)
    return (*where, "text", " ".join(rationale.text.split()))
