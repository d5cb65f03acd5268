"""`teachers`, `sample` and `budget`: who is asked, how often, and for how much."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import PurePath
from typing import Any, Literal

from pydantic import Field, model_validator

from potstill.rationales.ways import ways_of
from potstill.recipe.environment import interpolated, is_credential
from potstill.recipe.table import Table
from potstill.records import Kind, View


class PriceConfig(Table):
    """Money per million tokens."""

    input: float = Field(default=0.0, ge=0)
    cached_input: float | None = Field(default=None, ge=0)
    output: float = Field(default=0.0, ge=0)


class BatchConfig(Table):
    """`teachers.batch`: how a provider's batches are used."""

    price: float = Field(default=0.5, ge=0)
    """What a batch costs of `price`."""
    most: int = Field(default=10_000, ge=1)
    """Requests in one batch."""
    collect_s: float = Field(default=2.0, gt=0)
    """A batch is sent when no request has joined it for so long."""
    poll_s: float = Field(default=60.0, gt=0)
    """Longest wait between two looks at a batch."""
    window: str = "24h"
    """The time that the provider is given (`completion_window`)."""


class TeacherConfig(Table):
    """One teacher: an OpenAI-compatible endpoint, a model in this process, or recorded rationales.

    `${VAR}` in its values stays as it is, also in the run's copy of the recipe, until the teacher is opened: a secret
    is never written.
    """

    base_url: str | None = None
    """For example https://api.openai.com/v1, or `miniature` for the embedded teacher on loopback."""
    model: str = ""
    name: str | None = Field(default=None, min_length=1)
    """Who its texts are said to be by, also in scores; `None`: the model. Several teachers need different names."""
    weight: float = Field(default=1.0, ge=0)
    """Its share of each problem's samples, of several teachers; 0: it is asked at evaluation only."""
    api_key_env: str | None = "OPENAI_API_KEY"
    """Environment variable that holds the key; the key itself is never written."""
    api: Literal["chat", "completions"] | None = None
    """`None`: chat; of a local model, plain completions where it has no chat template."""
    local: str | None = None
    """A Hugging Face model's folder or name instead of an endpoint, or `miniature`, the embedded student: it is run in
    this process, and costs nothing."""
    replay: str | tuple[str, ...] | None = None
    """A file of recorded rationales instead of an endpoint, or several one after another."""
    temperature: float | None = Field(default=1.0, ge=0)
    top_p: float | None = Field(default=None, gt=0, le=1)
    max_tokens: int | None = Field(default=512, ge=1)
    stop: tuple[str, ...] = ()
    seed: int | None = None
    """Base seed; each index gets its own. `None`: no seed is sent."""
    n: int = Field(default=1, ge=1)
    """Choices asked for in one request; missing ones are topped up."""
    logprobs: bool = False
    max_concurrency: int = Field(default=32, ge=1)
    requests_per_minute: float | None = Field(default=None, gt=0)
    tokens_per_minute: float | None = Field(default=None, gt=0)
    timeout_s: float = Field(default=120.0, gt=0)
    max_retries: int = Field(default=6, ge=0)
    price: PriceConfig | None = None
    batch: bool | BatchConfig = False
    """Ask in batches (the OpenAI batch interface): slower, by hours, and mostly at half the price."""
    extra_body: dict[str, Any] = {}
    headers: dict[str, str] = {}
    proxy: str | None = None
    ca_file: str | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> TeacherConfig:
        given = [name for name in ("base_url", "local", "replay") if getattr(self, name) is not None]
        if not given:
            message = (
                "a teacher needs 'base_url' (an endpoint), 'local' (a model in this process) or 'replay' (a file of "
                "recorded rationales)"
            )
            raise ValueError(message)
        if "local" in given and len(given) > 1:
            message = f"a teacher has one source, here {' and '.join(given)} are given; leave one"
            raise ValueError(message)
        if self.batch and self.base_url in (None, "miniature"):
            message = "batch: only an endpoint that sells batches takes them; leave the key out, or give its base_url"
            raise ValueError(message)
        unknown = sorted(set(self.extra_body) - {"chat_template_kwargs"})
        if self.local is not None and unknown:
            message = f"extra_body: {unknown[0]!r} means nothing to a local model; it takes chat_template_kwargs only"
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _no_secret_in_clear(self) -> TeacherConfig:
        for name, value in self.headers.items():
            if is_credential(name) and "${" not in value:
                message = f"header {name!r} holds a secret in clear; write it as ${{VAR}} and export VAR"
                raise ValueError(message)
        for name in ("base_url", "proxy"):
            url = getattr(self, name) or ""
            if re.match(r"\w+://[^/@]*:[^/@]+@", url) and "${" not in url:
                message = f"{name} holds a password in clear; write it as ${{VAR}} and export VAR"
                raise ValueError(message)
        return self

    @property
    def author(self) -> str:
        """Who its texts are said to be by; for recorded rationales without a name, the rows say so themselves."""
        if self.name or self.model:
            return self.name or self.model
        if self.local is not None:
            return PurePath(self.local).name or self.local
        files = (self.replay,) if isinstance(self.replay, str) else self.replay or ()
        return "+".join(PurePath(file).name for file in files) or self.base_url or ""

    @property
    def batching(self) -> BatchConfig | None:
        """How it is asked in batches; `None`: it is not."""
        return BatchConfig() if self.batch is True else self.batch or None

    @property
    def charged(self) -> PriceConfig | None:
        """What is paid per million tokens: the price, of batches a part of it."""
        if self.price is None or self.batching is None:
            return self.price
        paid = {name: value * self.batching.price for name, value in self.price if value is not None}
        return PriceConfig(**paid)

    def resolved(self) -> TeacherConfig:
        """Return the teacher with every `${VAR}` filled in from the environment; only for use, never for writing."""
        return TeacherConfig.model_construct(**interpolated(dict(self), "teachers"))


def require_distinct(teachers: Sequence[TeacherConfig], taken: Collection[str] = ()) -> None:
    """Raise `ValueError` unless several teachers can be told apart and share the samples by weight.

    Args:
        taken: Names that mean something else in scores: the arms'.
    """
    if len(teachers) < 2:
        return
    if not any(teacher.weight for teacher in teachers):
        message = "teachers: every weight is 0, so nobody would be asked; give at least one a weight above 0"
        raise ValueError(message)
    seen = {*taken, "teacher"}
    for number, teacher in enumerate(teachers):
        if teacher.author in seen:
            what = "an arm, or another teacher," if taken else "another teacher"
            message = (
                f"teachers.{number}: {what} is called {teacher.author!r} too; give it a name of its own with "
                f"teachers.{number}.name"
            )
            raise ValueError(message)
        seen.add(teacher.author)


class SampleConfig(Table):
    """`sample`: how many rationales per problem, and how they are asked for."""

    n: int = Field(default=30, ge=1)
    """Rationales per problem and kind (SCoTD: N = 30)."""
    budget_by: Literal["none", "pass_rate"] = "none"
    """pass_rate: first `n_first` samples of every problem, verified; the rest of the budget of n each goes to those
    solved sometimes, the more the lower their pass rate (needs gold answers and an endpoint)."""
    n_first: int = Field(default=4, ge=2)
    n_most: int | None = Field(default=None, ge=1)
    """With `budget_by`: samples of one problem at most; `None`: 4 n."""
    kinds: tuple[Kind, ...] = ("cot",)
    views: tuple[View, ...] = ()
    """Ask for chains of thought once for each view, n of each: positive, why the answer holds; negative, what rules out
    every other one. Empty: as their template says."""
    view_labels: Literal["free", "given", "free_then_given"] = "free_then_given"
    """Whether the author of a view is told the gold answer: never; always; or only where too few of the n that were
    written without it are right, and then so often as those were wrong. Who was told is marked `rationalised`."""
    view_template: str = "views"
    """Of the views, which take no demonstrations: as `template`."""
    splits: tuple[str, ...] = ("train",)
    system: str | None = None
    """A system message, sent first."""
    template: str = "scotd"
    """A built-in template's name or the path of a template file."""
    demonstrations: str | None = None
    """JSONL of worked examples {question, rationale, answer}; `None`: zero-shot."""
    n_demonstrations: int | None = Field(default=None, ge=1)
    shuffle_demonstrations: bool = True
    temperature: float | None = Field(default=None, ge=0)
    """Overrides the teacher's."""
    max_failed_frac: float = Field(default=0.05, ge=0, le=1)
    retry_failed: bool = False
    """Ask again also for rows on record as refused or empty, not only for those that ended in an error."""

    @model_validator(mode="after")
    def _views_are_of_thoughts(self) -> SampleConfig:
        if self.views and "cot" not in self.kinds:
            message = f"views: only chains of thought have views, and kinds is {list(self.kinds)}; add cot to the kinds"
            raise ValueError(message)
        if len(set(self.views)) < len(self.views):
            message = f"views: got {list(self.views)}; name each view once"
            raise ValueError(message)
        if self.views and self.budget_by != "none" and self.view_labels == "free_then_given":
            message = (
                f"budget_by: {self.budget_by} plans further samples by pass rate, and view_labels: free_then_given by "
                "the answer; use one of the two (view_labels: free, or budget_by: none)"
            )
            raise ValueError(message)
        return self

    @property
    def ways(self) -> tuple[str, ...]:
        """What is asked for of each problem, n of each: the kinds, chains of thought once for each view."""
        return ways_of(self.kinds, self.views, is_given=self.view_labels == "given")

    @property
    def unaided(self) -> SampleConfig:
        """The same without a word about the answer."""
        return self.model_copy(update={"view_labels": "free"})

    @property
    def told(self) -> SampleConfig:
        """Of the views alone, by an author who is told the answer."""
        return self.model_copy(update={"kinds": ("cot",), "view_labels": "given"})


class BudgetConfig(Table):
    """`budget`: hard limits over the whole run; reaching one stops cleanly and resumably."""

    tokens: int | None = Field(default=None, ge=1)
    money: float | None = Field(default=None, gt=0)
    """In the currency of `price`."""
