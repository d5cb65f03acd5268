"""Curricula: how hard each problem is, and how much of the training set has joined by a step. Pure, but for `losses`.

Difficulties come from the targets (length), from the teacher's samples (pass rate) or a field of the problems' meta
(both noted by `mixing` in each example), or from the student before training (loss). `batching` arranges the steps.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import TYPE_CHECKING, Any

from potstill.errors import ConfigError, DataError
from potstill.recipe.students import CurriculumConfig
from potstill.records import Example, Problem, Rationale

if TYPE_CHECKING:
    from potstill.students.encoding import Encoded

FIRST_SHARE = 0.2
"""Of the problems, that a paced curriculum begins with."""
OF_STUDENT = ("length", "loss")
"""Measured on what the student is trained on; everything else is noted in the examples when they are mixed."""


@dataclass(frozen=True, slots=True)
class Curriculum:
    """What comes first, and how fast the rest joins."""

    difficulty: Mapping[str, float]
    """Problem -> the later, the larger."""
    pace: int | None
    """Micro-batches after which all problems have joined; `None`: every epoch holds all, in order."""

    def share(self, step: int) -> float:
        """Return the share of the problems that have joined by a micro-batch, counted from 0 over all epochs."""
        return min(1.0, FIRST_SHARE + (1 - FIRST_SHARE) * step / self.pace) if self.pace else 1.0


def noted(config: CurriculumConfig | None) -> str | None:
    """Return what mixing must note in the examples for a curriculum; `None`: nothing."""
    return config.by if config is not None and config.by not in OF_STUDENT else None


def require_noted(by: str, problems: Sequence[Problem]) -> None:
    """Raise `DataError` unless some training problem has what a curriculum orders by, before anything is spent."""
    if by == "pass_rate":
        if not any(p.answer is not None for p in problems):
            message = f"train.curriculum.by: pass_rate needs gold answers; none of {len(problems)} problems has one"
            raise DataError(message)
    elif not any(_number(p.meta.get(by)) is not None for p in problems):
        fields = sorted({key for p in problems for key, value in p.meta.items() if _number(value) is not None})
        message = (
            f"train.curriculum.by: {by!r} is a number in the meta of none of {len(problems)} training problems; use "
            f"length, pass_rate, loss or one of their fields: {', '.join(fields) or 'there are none'}"
        )
        raise DataError(message)


def difficulties(by: str, problems: Iterable[Problem], rationales: Iterable[Rationale]) -> dict[str, float]:
    """Return how hard each problem is by `pass_rate` (1 - the share of right ones among scored samples) or a field."""
    if by != "pass_rate":
        return {p.id: value for p in problems if (value := _number(p.meta.get(by))) is not None}
    marks: dict[str, list[float]] = defaultdict(list)
    for rationale in rationales:
        if rationale.verdict is not None and rationale.verdict.scored:
            marks[rationale.problem_id].append(float(rationale.verdict.correct))
    return {problem_id: 1 - fmean(own) for problem_id, own in marks.items()}


def plan(
    config: CurriculumConfig,
    examples: Iterable[Example],
    rows: Sequence[Encoded],
    *,
    pace: int | None,
    measured: Mapping[str, float] | None = None,
) -> Curriculum:
    """Return the curriculum of the rows to be trained on; problems without a difficulty come in the middle.

    Args:
        pace: Micro-batches after which all problems have joined.
        measured: The untrained student's losses, for `by: loss`.

    Raises:
        ConfigError: No example has the difficulty that is asked for.
    """
    found = dict(measured or {})
    if config.by == "length":
        found = _lengths(rows)
    elif config.by != "loss":
        found = {e.group or e.prompt: float(e.meta["difficulty"]) for e in examples if "difficulty" in e.meta}
    if not found:
        message = (
            f"train.curriculum.by: {config.by!r} is noted in none of the training examples; mix them with "
            f"difficulty={config.by!r}, or use length or loss"
        )
        raise ConfigError(message)
    middle, sign = median(found.values()), -1 if config.order == "hard_first" else 1
    return Curriculum({row.group: sign * found.get(row.group, middle) for row in rows}, pace)


def losses(model: Any, rows: Sequence[Encoded], *, shared: bool, starts: Sequence[int] = ()) -> dict[str, float]:
    """Return the mean loss per target token of each problem under a model that is routed for training [nats]."""
    import torch

    from potstill.students.batching import Row
    from potstill.students.collating import collate

    groups: dict[str, list[Encoded]] = defaultdict(list)
    for row in rows:
        groups[row.group].append(row)
    found = {}
    was_training = model.training
    model.eval()
    with torch.inference_mode():
        for group, own in groups.items():
            batch = collate([Row(example, 1.0) for example in own], shared=shared, starts=starts)
            found[group] = float(model(**_moved(batch, model.device)).float().mean())
    model.train(was_training)
    return found


def _moved(value: Any, device: Any) -> Any:
    """Return a batch on a device, nested parts included."""
    if isinstance(value, Mapping):
        return {key: _moved(item, device) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(_moved(item, device) for item in value)
    return value.to(device) if hasattr(value, "to") else value


def _lengths(rows: Sequence[Encoded]) -> dict[str, float]:
    lengths: dict[str, list[int]] = defaultdict(list)
    for row in rows:
        lengths[row.group].append(len(row.target))
    return {group: fmean(own) for group, own in lengths.items()}


def _number(value: Any) -> float | None:
    """Return a field's value as a number; `None` if it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except ValueError:
        return None
