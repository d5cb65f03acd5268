"""`problems`: where they come from."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from potstill.recipe.table import Table
from potstill.records import AnswerType


class SourceConfig(Table):
    """Where problems come from."""

    source: str | tuple[str, ...]
    """A .jsonl, .csv or .parquet file (also .gz), a folder or name for Hugging Face `datasets`, or `miniature`; file
    names may hold `*`, and a list is read in order."""
    split: str | None = None
    """The split of the source to read; also a filter on a `split` column."""
    where: dict[str, Any] = {}
    """Column of the source -> the value, or list of values, that a row must have to be read."""
    columns: dict[str, str] = {}
    """Our field name -> the column of the source that holds it, e.g. {question: text, answer: label}."""
    question: str | None = None
    """The question, where it is spread over several columns: a text with {column}, e.g. "Premise: {premise} ..."; the
    columns are kept as the problem's fields."""
    answer_type: AnswerType | None = None
    """How answers are compared; `None`: as the rows say, else inferred from options, labels and gold answers."""
    labels: tuple[str, ...] = ()
    invalid: Literal["error", "drop"] = "error"
    """What a row becomes whose gold answer does not fit its options, labels or type; drops are counted."""
    limit: int | None = Field(default=None, ge=1)
    seed: int | None = None
    """Seed of the sub-sample taken by `limit` (`None`: the first rows), or of the miniature's world."""
    options: dict[str, Any] = {}
    """Further arguments of the source (a `datasets` configuration name, the miniature's sizes)."""


class ProblemsConfig(SourceConfig):
    """`problems`: one source with a hold-out, or one source per split."""

    source: str | tuple[str, ...] = ""
    holdout: dict[str, float] = {}
    """Fractions held out by problem family (numbers masked, near-duplicates together), e.g. {dev: 0.1, test: 0.2}; of
    `source`, or of the `train` split."""
    splits: dict[str, SourceConfig] = {}
    """Our split name -> its own source; instead of `source`."""
    about: str = ""
    """One sentence on what is asked, told to teachers that edit or judge the problems."""
    editable: tuple[str, ...] = ()
    """The fields (columns of `question`) that a counterfactual may edit; empty: all."""
    definitions: dict[str, str] = {}
    """Label -> what it means, told to teachers that edit or judge the problems."""

    @model_validator(mode="after")
    def _one_form(self) -> ProblemsConfig:
        if bool(self.source) == bool(self.splits):
            message = "give either 'source' (one file, with 'holdout' if you like) or 'splits' (one source per split)"
            raise ValueError(message)
        if sum(self.holdout.values()) >= 1 or any(frac <= 0 for frac in self.holdout.values()):
            message = f"holdout is {self.holdout}; fractions must be above 0 and sum to less than 1"
            raise ValueError(message)
        return self
