"""`evaluate` and `report`: what is scored, compared and shown."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from potstill.recipe.table import Table
from potstill.records import Kind


class EvaluateConfig(Table):
    """`evaluate`: what is scored and compared."""

    splits: tuple[str, ...] = ("test",)
    teacher: bool = True
    """Score the teacher on the same problems, where one can be asked."""
    compare: tuple[tuple[str, str], ...] = ()
    """Pairs of systems (a, b) to compare; empty: the method's own."""
    bootstrap: int = Field(default=2000, ge=100)
    confidence: float = Field(default=0.95, gt=0, lt=1)
    tie: tuple[Literal["greedy", "logprob", "first"], ...] = ("first",)
    """Which of equally frequent answers wins a vote, rule after rule: that of more greedy paths, that of the highest
    mean log-probability, the first seen."""
    vote_by: Literal["count", "likelihood"] = "count"
    """What a path's vote counts: 1, or the geometric mean of its tokens' probabilities at temperature 1."""
    vote_weights: dict[Kind, float] = {}
    """What the vote of a path of each kind counts; absent: 1."""
    curve: tuple[int, ...] = ()
    """Numbers of paths at which the vote is also scored (metric `accuracy_at_K`), as many of each kind as of the
    other."""

    @field_validator("tie", mode="before")
    @classmethod
    def _one_rule_or_many(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _votes_count(self) -> EvaluateConfig:
        if any(weight < 0 for weight in self.vote_weights.values()) or not all(count > 0 for count in self.curve):
            message = "vote_weights must be 0 or more, numbers of paths in curve 1 or more"
            raise ValueError(message)
        return self


class ReportConfig(Table):
    """`report`: how the page looks."""

    title: str | None = None
    examples: int = Field(default=6, ge=0)
