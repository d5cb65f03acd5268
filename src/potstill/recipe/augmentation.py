"""`augment`: further training problems, made of those that there are."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from potstill.recipe.table import Table

Way = Literal["paraphrase", "noise", "vary"]
"""How an augmented problem was made; kept in its `meta.augmentation`."""


class AugmentConfig(Table):
    """How many further problems are made of each problem; they are sampled, verified and learnt like any other."""

    splits: tuple[str, ...] = ("train",)
    """Whose problems; never one that is evaluated."""
    paraphrase: int = Field(default=0, ge=0)
    """Rewordings by a teacher, with the same numbers and the same answer."""
    noise: int = Field(default=0, ge=0)
    """Copies with slips of the keyboard in some words, with the same answer."""
    vary: int = Field(default=0, ge=0)
    """Variants with other numbers and names; the answer is computed anew by the teacher's own verified programs."""
    teacher: str | None = None
    """Who rewords and writes the programs; `None`: the first that can be asked (programs: also recorded ones)."""
    noise_frac: float = Field(default=0.1, gt=0, le=1)
    """Share of the words that noise touches, at least one."""
    programs: int = Field(default=3, ge=2)
    """Programs asked for each problem that is varied; at least two must reach its gold answer, and all that do must
    agree on the new one."""

    @model_validator(mode="after")
    def _makes_something(self) -> AugmentConfig:
        if not any((self.paraphrase, self.noise, self.vary)):
            message = "paraphrase, noise and vary are all 0, so nothing would be made; set one, or leave augment out"
            raise ValueError(message)
        return self
