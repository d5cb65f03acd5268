"""Choose one answer from several paths: a majority over valid answers, with an explicit order of rules for ties.

An invalid answer (none was found, the program failed) casts no vote: it is never a string like any other. Answers are
counted in their normalised form, and those that are equal as answers (0.5 and 1/2) count together. Pure: paths come
verified, so that `verdict.answer` is normalised already.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from potstill.errors import DataError
from potstill.records import Rationale, Status

By = Literal["count", "likelihood"]
Tie = Literal["greedy", "logprob", "first"]
INVALID = frozenset({Status.NO_ANSWER, Status.PROGRAM_FAILED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Vote:
    """The outcome of a vote."""

    answer: str | None
    """`None`: no path had a valid answer."""
    support: float
    """Weight of the paths with this answer."""
    n_valid: int
    """Paths with any valid answer; only they vote."""
    n_paths: int
    margin: float
    """(support - support of the runner-up) / weight of all valid paths, in [0, 1]; 0 where nothing is valid."""
    tied: bool
    """Whether another answer had as much support, so that the tie rules decided."""
    winner: Rationale | None = None
    """The first path (or, by `logprob`, the most likely one) with this answer."""


def vote(
    rationales: Iterable[Rationale],
    *,
    by: By = "count",
    tie: Tie | Sequence[Tie] = ("first",),
    weights: Mapping[Any, float] | None = None,
    greedy: Iterable[Rationale] = (),
    equal: Callable[[str, str], bool | None] | None = None,
) -> Vote:
    """Return the valid answer with the most votes.

    Args:
        rationales: Verified paths of one problem, in the order in which ties are to be settled.
        by: What a path's vote counts: 1, or by `likelihood` the geometric mean of its tokens' probabilities.
        tie: Rules, one after another until one answer is left: `greedy`, the answer of more of the greedy paths;
            `logprob`, that with the highest mean log-probability of a path; `first`, that whose first path comes
            first (Li et al. 2023's code), which always decides and is implied at the end.
        weights: Kind -> what a vote of its paths counts; absent: 1.
        greedy: Verified greedy paths of the problem, for the rule of that name; they cast no vote.
        equal: Whether two answers are the same; `None`: as strings.

    Raises:
        DataError: By likelihood, and a path with an answer has no log-probability.

    Source: Li et al. 2023, arXiv:2306.14050, section 3 (self-consistency over sampled paths); the weighted vote over
        both kinds is Mixed Distillation's (Li Chenglin et al., Findings of EMNLP 2024; weights and tie rule unknown).
    Differs: in the former's code an output without an answer votes as an ordinary string; here it casts no vote.
    """
    paths = list(rationales)
    of_kind = {kind: float((weights or {}).get(kind, 1.0)) for kind in {path.kind for path in paths}}
    ballots = [
        (path, answer) for path in paths if (answer := valid_answer(path)) is not None and of_kind[path.kind] > 0
    ]
    weight = {id(path): of_kind[path.kind] * (_likelihood(path) if by == "likelihood" else 1) for path, _ in ballots}
    camps = _camps(ballots, equal)
    if not camps:
        return Vote(answer=None, support=0, n_valid=0, n_paths=len(paths), margin=0.0, tied=False)
    support = [round(math.fsum(weight[id(path)] for path in camp), 12) for camp in camps]
    leaders = [camp for camp, mine in zip(camps, support, strict=True) if mine == max(support)]
    rules = (tie,) if isinstance(tie, str) else tuple(tie)
    chosen = _settled(leaders, rules, list(greedy), equal)
    second = max((mine for camp, mine in zip(camps, support, strict=True) if camp is not chosen), default=0.0)
    return Vote(
        answer=valid_answer(chosen[0]),
        support=max(support),
        n_valid=len(ballots),
        n_paths=len(paths),
        margin=(max(support) - second) / (sum(support) or 1.0),
        tied=len(leaders) > 1,
        winner=max(chosen, key=_logprob) if "logprob" in rules else chosen[0],
    )


def _settled(
    leaders: list[list[Rationale]],
    rules: Sequence[Tie],
    greedy: Sequence[Rationale],
    equal: Callable[[str, str], bool | None] | None,
) -> list[Rationale]:
    """Apply the rules until one camp is left."""
    for rule in rules:
        if len(leaders) == 1 or rule == "first":
            break
        if rule == "greedy":
            voices = [answer for path in greedy if (answer := valid_answer(path)) is not None]
            marks = [float(sum(_same(valid_answer(camp[0]), voice, equal) for voice in voices)) for camp in leaders]
        else:
            marks = [max(_logprob(path) for path in camp) for camp in leaders]
        leaders = [camp for camp, mark in zip(leaders, marks, strict=True) if mark == max(marks)]
    return leaders[0]


def _same(one: str | None, other: str, equal: Callable[[str, str], bool | None] | None) -> bool:
    return one == other or (equal is not None and one is not None and equal(one, other) is True)


def valid_answer(path: Rationale) -> str | None:
    """Return the answer with which a verified path votes; `None`: it casts no vote.

    Raises:
        ValueError: The path has not been verified.
    """
    if path.verdict is None:
        message = f"vote: path {path.id} of problem {path.problem_id} has no verdict; verify it first"
        raise ValueError(message)
    return None if path.verdict.status in INVALID else path.verdict.answer


def _camps(
    ballots: Sequence[tuple[Rationale, str]], equal: Callable[[str, str], bool | None] | None
) -> list[list[Rationale]]:
    """Group paths by answer, in order of first appearance."""
    names: list[str] = []
    camps: list[list[Rationale]] = []
    for path, answer in ballots:
        for name, camp in zip(names, camps, strict=True):
            if _same(name, answer, equal):
                camp.append(path)
                break
        else:
            names.append(answer)
            camps.append([path])
    return camps


def _likelihood(path: Rationale) -> float:
    """Return the geometric mean of the probabilities of a path's tokens, in (0, 1]."""
    if path.logprob is None:
        message = (
            f"evaluate.vote_by: likelihood: path {path.id} of problem {path.problem_id} has no log-probability; every "
            "path needs one: ask an endpoint with logprobs: true, or vote by count"
        )
        raise DataError(message)
    return math.exp(path.logprob)


def _logprob(path: Rationale) -> float:
    return float("-inf") if path.logprob is None else path.logprob
