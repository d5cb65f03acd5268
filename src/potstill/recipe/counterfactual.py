"""`counterfactual`: how labelled problems are edited until another label holds, checked and chosen."""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from potstill.recipe.table import Table

Role = Literal["counterfactual", "invariant"]
EDIT_KINDS = ("entity", "quantity", "temporal", "role_swap", "relation", "attribute", "negation", "insertion",
              "deletion")  # fmt: skip
NUMBER_KINDS = ("quantity", "relation")
"""Kinds of edit for problems whose answer is computed."""


class LimitsConfig(Table):
    """`counterfactual.limits`: how much of a text an edit may change, in tokens (words and marks).

    The numbers are those within which human editors stayed (docs/counterfactual.md): long texts by share, short ones
    by count, since one word of a short hypothesis is much of it.
    """

    long: int = Field(default=60, ge=1)
    """Tokens of a field from which on it is long."""
    distance: float = Field(default=0.30, gt=0, le=1)
    """Of a long field: token edit distance by the longer text."""
    edits: int = Field(default=10, ge=1)
    """Of a short field: token edits."""
    short_distance: float = Field(default=0.80, gt=0, le=1)
    """Of a short field, too."""
    whole_distance: float | None = Field(default=0.375, gt=0, le=1)
    """Of an item with several fields, enough instead of both: distance over all of them together; `None`: it is not."""
    rewritten: float = Field(default=0.60, gt=0, le=1)
    """Distance of a short field from which on it must be made of words of the item; see `own_words`."""
    own_words: float = Field(default=0.34, ge=0, le=1)
    """Share of its content words that stand somewhere in the original item: an edit keeps to the matter, a text that is
    written from scratch does not."""
    length_ratio: tuple[float, float] = (0.85, 1.15)
    """Of a long field: tokens after by tokens before."""

    @field_validator("length_ratio")
    @classmethod
    def _around_one(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not 0 < value[0] <= 1 <= value[1]:
            message = f"length_ratio is {list(value)}; expected [low, high] with 0 < low <= 1 <= high"
            raise ValueError(message)
        return value


class SimilarityConfig(Table):
    """`counterfactual.similarity`: the band of cosines between the embeddings of a text before and after."""

    model: str
    """A model that embeds texts: a folder, or a downloaded name."""
    low: float = Field(default=0.60, ge=-1, le=1)
    high: float = Field(default=0.995, ge=-1, le=1)
    """The upper end only finds edits that change nothing."""


class FluencyConfig(Table):
    """`counterfactual.fluency`: a small causal language model that notices what no writer would say."""

    model: str
    """A folder, or a downloaded name."""
    nats: float = Field(default=0.35, gt=0)
    """How much more each token may cost after the edit than before, in nats."""


class JuryConfig(Table):
    """`counterfactual.jury`: who reads the edited items, without knowing what they should find."""

    teachers: tuple[str, ...] = ()
    """Names of teachers; empty: those of another family than the writer, else all others, else the writer itself."""
    families: dict[str, str] = {}
    """Teacher -> model family, where the model's name does not begin with it."""
    votes: int = Field(default=5, ge=1)
    """Divided over the jurors in turn; those that can no longer change the result are not asked for."""
    agree: float = Field(default=0.8, gt=0.5, le=1)
    """Share of the votes that must name the wanted label."""
    ambiguous: float = Field(default=0.2, ge=0, le=1)
    """Share of the votes that may call the item ambiguous."""
    option: float = Field(default=0.6, gt=0, le=1)
    """Of multiple choice: mean score that the wanted option needs by itself."""
    rival: float = Field(default=0.25, ge=0, lt=1)
    """Of multiple choice: mean score that the next best option may have."""
    temperature: float | None = Field(default=0.7, ge=0)
    """`None`: the teacher's."""
    max_tokens: int = Field(default=256, ge=1)

    @property
    def needed(self) -> int:
        """Votes for the wanted label."""
        return math.ceil(self.agree * self.votes - 1e-9)


class CounterfactualConfig(Table):
    """`counterfactual`: for each labelled problem one as close to it as possible that has another label.

    Source: Feng et al. 2024, Counterfactual Distillation (EMNLP), of which the abstract is known, not the settings: all
    defaults here are ours (docs/counterfactual.md).
    """

    splits: tuple[str, ...] = ("train",)
    """Whose problems are edited; what is made of them joins the same split."""
    roles: tuple[Role, ...] = ("counterfactual",)
    """counterfactual: the label changes; invariant: an edit of the same size that keeps it."""
    targets: Literal["balanced", "all"] = "balanced"
    """balanced: one other label per problem, each pair (label, target) equally often; all: every other label."""
    to: tuple[str, ...] = ()
    """The only labels that are aimed at; empty: all."""
    candidates: int = Field(default=4, ge=1)
    """Edits asked for per problem and target, each of another kind."""
    kinds: tuple[str, ...] = ()
    """Kinds of edit; empty: all nine, of word problems quantity and relation."""
    teacher: str | None = None
    """The name of the teacher that edits; `None`: the first."""
    temperature: float | None = Field(default=0.9, ge=0)
    """For editing; `None`: the teacher's."""
    max_tokens: int = Field(default=512, ge=1)
    """Of one reply."""
    limits: LimitsConfig = LimitsConfig()
    banned: tuple[str, ...] = ()
    """Further texts that no edit may bring in."""
    similarity: SimilarityConfig | None = None
    fluency: FluencyConfig | None = None
    jury: JuryConfig = JuryConfig()
    per_target: int = Field(default=1, ge=1)
    """Counterfactuals kept per problem and target."""
    ratio: float = Field(default=1.0, gt=0)
    """Counterfactuals kept per original, at most; invariants likewise."""
    signature_frac: float = Field(default=0.02, gt=0, le=1)
    """Of all kept, the share that may have one edit signature (kind, words out, words in); always at least 3."""
    negation_frac: float = Field(default=0.15, gt=0, le=1)
    """Of all kept, the share that may be made by a negation; always at least 3."""
    for_review: bool = False
    """Put what the jury judged and is not kept into the split `judged`, where `potstill review` shows it beside what is
    kept: people's decisions on a random sample of both say how often the jury errs."""
    against: tuple[str, ...] = ()
    """Files of evaluation problems, beside the splits of filter.decontaminate: what repeats one is left out."""
    at_once: int = Field(default=64, ge=1)
    """Edits, or jury sittings, in progress at the same time; the teacher's max_concurrency bounds the requests."""
    max_failed_frac: float = Field(default=0.5, ge=0, le=1)
    """Fraction of requests for an edit without a readable reply above which the stage ends with an error."""

    @field_validator("roles", "kinds")
    @classmethod
    def _distinct(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) < len(value):
            message = f"got {', '.join(value)}; name each once"
            raise ValueError(message)
        return value

    @field_validator("kinds")
    @classmethod
    def _known_kinds(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [kind for kind in value if kind not in EDIT_KINDS]
        if unknown:
            message = f"{unknown[0]!r} is no kind of edit; known: {', '.join(EDIT_KINDS)}"
            raise ValueError(message)
        return value

    @model_validator(mode="after")
    def _makes_something(self) -> CounterfactualConfig:
        if not self.roles:
            message = "roles: empty, so nothing would be made; name counterfactual, invariant or both"
            raise ValueError(message)
        return self

    @property
    def mark(self) -> dict[str, Any]:
        """What of this table decides which problems result."""
        return self.model_dump(mode="json", exclude={"at_once", "max_failed_frac"})

    @property
    def jury_mark(self) -> dict[str, Any]:
        """What of this table decides the votes on an item."""
        return self.jury.model_dump(mode="json")
