"""What a training problem is for: an original, an edit of one that has another label or the same, or one more original.

A problem and its edits are one pair (a group, where there are several edits), named by the original's id. Which of them
are learnt from, and with which targets, is what the control arms of a counterfactual study differ in. Pure.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from potstill.errors import DataError
from potstill.records import Problem, child_seed

EXTRA = "extra"
"""The split whose problems are the further originals."""


def role_of(problem: Problem, known: Mapping[str, Problem]) -> str:
    """Return original, counterfactual, invariant or extra.

    An edit says so itself (`meta.counterfactual`). One that people wrote has a parent and no word about it: it is a
    counterfactual, unless the parent is known and has the same answer. What was made of a problem in another way (an
    evolved instruction, an augmented problem) counts as an original.
    """
    said = problem.meta.get("counterfactual")
    if isinstance(said, Mapping):
        return str(said.get("role", "counterfactual"))
    if problem.split == EXTRA:
        return "extra"
    if problem.parent_id is None or problem.answer is None or "augmentation" in problem.meta:
        return "original"
    parent = known.get(problem.parent_id)
    return "invariant" if parent is not None and parent.answer == problem.answer else "counterfactual"


def pair_of(problem: Problem) -> str:
    """Return the id of the pair that a problem belongs to: its parent's, or its own."""
    return problem.parent_id or problem.id


def with_roles(
    problems: Mapping[str, Problem], wanted: Iterable[str] | None, every: Mapping[str, Problem]
) -> dict[str, Problem]:
    """Return the problems that have one of the wanted roles; `None`: all of them.

    Args:
        every: All problems, in which parents are looked up.
    """
    if wanted is None:
        return dict(problems)
    roles = set(wanted)
    return {id_: problem for id_, problem in problems.items() if role_of(problem, every) in roles}


def capped(problems: Mapping[str, Problem], ratio: float | None, every: Mapping[str, Problem], seed: int) -> set[str]:
    """Return the ids of counterfactuals beyond `ratio` of them for each original; which ones, the seed decides."""
    if ratio is None:
        return set()
    roles = {id_: role_of(problem, every) for id_, problem in problems.items()}
    room = int(ratio * sum(role in ("original", "extra") for role in roles.values()) + 1e-9)
    edits = [id_ for id_, role in roles.items() if role == "counterfactual"]
    return set(sorted(edits, key=lambda id_: (child_seed("ratio", seed, id_), id_))[room:])


def donors(problems: Iterable[Problem], seed: int) -> dict[str, str]:
    """Return, for each of some counterfactuals, another one with another label, whose target it is given.

    Each gives once where no label is held by more than half of them; else those of the rarer labels give several times.

    Raises:
        DataError: All have the same label, or there is none.

    Source: ours; the negative control of docs/counterfactual.md (labels shuffled among the pairs).
    """
    groups: dict[str, list[str]] = defaultdict(list)
    for problem in sorted(problems, key=lambda p: (child_seed("donors", seed, p.id), p.id)):
        groups[str(problem.answer)].append(problem.id)
    if len(groups) < 2:
        found = f"all {len(next(iter(groups.values())))} have the label {next(iter(groups))!r}" if groups else "none"
        message = f"mix.counterfactuals: shuffled needs counterfactuals of at least two labels; found: {found}"
        raise DataError(message)
    ordered = [id_ for label in sorted(groups) for id_ in groups[label]]
    shift = max(len(own) for own in groups.values())
    found_for: dict[str, str] = {}
    for label, own in groups.items():
        strangers = [id_ for other in sorted(groups) if other != label for id_ in groups[other]]
        for place, id_ in enumerate(own):
            turned = ordered[(ordered.index(own[0]) + place + shift) % len(ordered)]
            found_for[id_] = turned if turned not in own else strangers[place % len(strangers)]
    return found_for


def contrasts(problems: Iterable[Problem]) -> dict[str, list[str]]:
    """Return problem id -> the answers that the other members of its pair have and it has not; only of paired ones."""
    members: dict[str, list[Problem]] = defaultdict(list)
    for problem in problems:
        if problem.answer is not None:
            members[pair_of(problem)].append(problem)
    found: dict[str, list[str]] = {}
    for group in members.values():
        for problem in group:
            others = {str(other.answer) for other in group} - {str(problem.answer)}
            if others:
                found[problem.id] = sorted(others)
    return found
