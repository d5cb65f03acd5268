"""Two views of one problem, one answer: what both say, or else what the student was surer of.

A student that learnt to argue for an answer and against the others can be asked for both. Where the two texts end in
the same answer it is taken; where they do not, that with the higher mean log-probability of its answer's own tokens,
not of the whole text: negative views are longer and name every label, whichever is right.

Source: ours (docs/counterfactual.md). What Feng et al. (EMNLP 2024) do at inference is not known to us.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from potstill.records import Rationale
from potstill.students.rendering import answer_span
from potstill.students.voting import valid_answer

if TYPE_CHECKING:
    from potstill.students.decoding import Path


def joined(paths: Sequence[Rationale]) -> Rationale | None:
    """Return the greedy path whose answer is taken, of verified ones, one of each view; `None`: there is none.

    One that states no answer has no say. Without log-probabilities of the answers those of the whole texts decide, and
    without those the first path.
    """
    able = [path for path in paths if valid_answer(path) is not None]
    if len({valid_answer(path) for path in able}) < 2:
        return next(iter(able or paths), None)
    if all("answer_logprob" in path.meta for path in able):
        return max(able, key=lambda path: float(path.meta["answer_logprob"]))
    if all(path.logprob is not None for path in able):
        return max(able, key=lambda path: float(path.logprob or 0.0))
    return able[0]


def answer_logprob(path: Path, tokenizer: Any) -> float | None:
    """Return the mean log-probability of the tokens that state a path's answer, in nats; `None`: it states none."""
    span = answer_span(tokenizer.decode(path.ids, skip_special_tokens=True))
    if span is None or len(path.logprobs) < len(path.ids):
        return None
    start, end = span
    ends = [len(tokenizer.decode(path.ids[:count], skip_special_tokens=True)) for count in range(len(path.ids) + 1)]
    own = [path.logprobs[i] for i in range(len(path.ids)) if ends[i + 1] > start and ends[i] < end]
    return sum(own) / len(own) if own else None
