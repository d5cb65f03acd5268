"""Choose one answer from several paths: a majority over valid answers, with an explicit rule for ties.

An invalid answer (none was found, the program failed) casts no vote: it is never a string like any other. Answers are
counted in their normalised form, and those that are equal as answers (0.5 and 1/2) count together. Pure: paths come
verified, so that `verdict.answer` is normalised already.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from potstill.records import Rationale, Status

Tie = Literal["first", "logprob"]
INVALID = frozenset({Status.NO_ANSWER, Status.PROGRAM_FAILED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Vote:
    """The outcome of a vote."""

    answer: str | None
    """`None`: no path had a valid answer."""
    support: int
    """Paths with this answer."""
    n_valid: int
    """Paths with any valid answer; only they vote."""
    n_paths: int
    margin: float
    """(support - support of the runner-up) / n_valid, a fraction in [0, 1]; 0 where nothing is valid."""
    tied: bool
    """Whether another answer had as many votes, so that the tie rule decided."""
    winner: Rationale | None = None
    """The first path (in the order of the tie rule) with this answer."""


def vote(
    rationales: Iterable[Rationale], *, tie: Tie = "first", equal: Callable[[str, str], bool | None] | None = None
) -> Vote:
    """Return the most frequent valid answer.

    Args:
        rationales: Verified paths of one problem, in the order in which ties are to be settled.
        tie: `first`: the answer whose first path comes first (Li et al. 2023's code); `logprob`: the answer with the
            highest mean log-probability of a path.
        equal: Whether two answers are the same; `None`: as strings.

    Source: Li et al. 2023, arXiv:2306.14050, section 3 (self-consistency over sampled paths).
    Differs: in the authors' code an output without an answer votes as an ordinary string; here it casts no vote.
    """
    paths = list(rationales)
    ballots = [(path, answer) for path in paths if (answer := valid_answer(path)) is not None]
    camps = _camps(ballots, equal)
    if not camps:
        return Vote(answer=None, support=0, n_valid=0, n_paths=len(paths), margin=0.0, tied=False)
    most = max(len(camp) for camp in camps)
    leaders = [camp for camp in camps if len(camp) == most]
    chosen = leaders[0] if tie == "first" else max(leaders, key=_likelihood)
    second = max((len(camp) for camp in camps if camp is not chosen), default=0)
    winner = chosen[0] if tie == "first" else max(chosen, key=lambda path: _logprob(path))
    return Vote(
        answer=valid_answer(chosen[0]),
        support=most,
        n_valid=len(ballots),
        n_paths=len(paths),
        margin=(most - second) / len(ballots),
        tied=len(leaders) > 1,
        winner=winner,
    )


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
            if name == answer or (equal is not None and equal(name, answer) is True):
                camp.append(path)
                break
        else:
            names.append(answer)
            camps.append([path])
    return camps


def _likelihood(camp: Sequence[Rationale]) -> float:
    return max(_logprob(path) for path in camp)


def _logprob(path: Rationale) -> float:
    return float("-inf") if path.logprob is None else path.logprob
