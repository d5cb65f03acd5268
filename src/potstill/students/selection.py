"""Choose the checkpoint: greedy accuracy on a development split that is neither trained nor reported on.

SCoTD's code chose the best checkpoint on the split that it reported; here `dev` serves for the choice alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from potstill.errors import StudentError
from potstill.recipe.rationales import SandboxConfig, VerifyConfig
from potstill.recipe.students import InferConfig, MixConfig
from potstill.records import Problem, Rationale
from potstill.students.inference import paths_of, plan_asks
from potstill.students.loading import Loaded
from potstill.students.routing import fit_margin


@dataclass(frozen=True, slots=True, kw_only=True)
class DevScore:
    """Greedy accuracy at one moment of training."""

    accuracy: float
    """Correct among scored, a fraction in [0, 1]."""
    n: int
    """Scored (problem, kind) pairs."""
    n_unscored: int
    by_kind: dict[str, float] = field(default_factory=dict)
    """Where several kinds are asked."""
    route_margin: float | None = None
    """Where chains of thought and programs are asked: the margin of the surer path, see `students.routing`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DevSplit:
    """The problems that choose the checkpoint, and how the student is asked."""

    problems: Sequence[Problem]
    infer: InferConfig
    verify: VerifyConfig
    mix: MixConfig
    sandbox: SandboxConfig | None = None

    def score(self, loaded: Loaded) -> DevScore:
        """Return the greedy accuracy of a model as it is now.

        Raises:
            StudentError: Not one problem could be scored (no gold answers?).
        """
        from potstill.rationales.verification import verify

        greedy = self.infer.model_copy(update={"paths": dict.fromkeys(self.infer.paths, 1)})
        asks = list(plan_asks(self.problems, greedy, self.mix))
        right: dict[str, list[bool]] = {kind: [] for kind in greedy.paths}
        judged: dict[str, list[Rationale]] = {}
        chat = self.mix.format == "chat"
        written = [row for rows in paths_of(loaded, asks, greedy, chat=chat, author="dev") for row in rows]
        for row in verify(written, None, self.verify, sandbox=self.sandbox):
            assert row.verdict is not None, "verify sets every verdict"
            judged.setdefault(row.problem_id, []).append(row)
            if row.verdict.scored:
                right[row.kind].append(row.verdict.correct)
        marks = [mark for kind in right.values() for mark in kind]
        if not marks:
            message = (
                f"dev split: none of its {len(self.problems)} problems could be scored, so it cannot choose a "
                "checkpoint; give problems with gold answers, or no dev split"
            )
            raise StudentError(message)
        by_kind = {kind: sum(found) / len(found) for kind, found in right.items() if found and len(right) > 1}
        return DevScore(
            accuracy=sum(marks) / len(marks), n=len(marks), n_unscored=len(asks) - len(marks), by_kind=by_kind,
            route_margin=fit_margin(judged.values()),
        )  # fmt: skip


def with_model(loaded: Loaded, model: Any) -> Loaded:
    """Return the loaded student with another model in it (an adapted or wrapped one)."""
    return replace(loaded, model=model)
