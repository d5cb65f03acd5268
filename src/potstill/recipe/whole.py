"""The whole recipe: one frozen table per stage, and the arms that change some of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from potstill.errors import ConfigError
from potstill.recipe.augmentation import AugmentConfig
from potstill.recipe.counterfactual import CounterfactualConfig
from potstill.recipe.evaluation import EvaluateConfig, ReportConfig
from potstill.recipe.explaining import validated
from potstill.recipe.generators import EvolveConfig
from potstill.recipe.problems import ProblemsConfig
from potstill.recipe.rationales import FilterConfig, SandboxConfig, VerifyConfig
from potstill.recipe.rounds import RoundConfig, kinds_of, teacher_of
from potstill.recipe.scale import RayConfig
from potstill.recipe.students import InferConfig, MixConfig, StudentConfig, TrainConfig
from potstill.recipe.table import Table
from potstill.recipe.teachers import BudgetConfig, SampleConfig, TeacherConfig, require_distinct
from potstill.records import Kind


class ArmConfig(Table):
    """One arm: what it changes of the recipe. `train: null` leaves the student as it is."""

    method: str | None = None
    """The method that the arm belongs to, for `--only`; `None`: the recipe's."""
    n_seeds: int | None = Field(default=None, ge=1)
    """How often it is trained, for a costly control; `None`: as the recipe says."""
    ensemble: dict[str, dict[Kind, int]] = {}
    """Instead of a student of its own: other arms, and how many of their sampled paths of each kind vote; e.g.
    {scotd: {cot: 10}, pot: {pot: 10}}."""

    mix: dict[str, Any] = {}
    filter: dict[str, Any] = {}
    train: dict[str, Any] | None = {}
    infer: dict[str, Any] = {}
    student: dict[str, Any] = {}


class Recipe(Table):
    """A whole recipe. Methods set defaults; every one of them can be overridden."""

    method: Literal["scotd", "mixed_distillation", "counterfactual", "idea_mcts"] = "scotd"
    engine: Literal["local", "ray"] = "local"
    """ray: requests are sent and rows verified by the workers of a Ray cluster; the same files, ids and results."""
    ray: RayConfig = RayConfig()
    task: str = "problems"
    """The name of the task in scores."""
    seed: int = 0
    n_seeds: int = Field(default=1, ge=1)
    """How often each arm is trained, with seeds 0, 1, …, on the same samples."""
    parallel: int = Field(default=1, ge=1)
    """Students trained at the same time, each in its own process."""
    ledger: str | None = None
    problems: ProblemsConfig
    teachers: tuple[TeacherConfig, ...] = ()
    evolve: EvolveConfig | None = None
    """Evolve the problems of some splits before anything is sampled; `None`: they are sampled as they are."""
    counterfactual: CounterfactualConfig | None = None
    """Edit the labelled problems of some splits so that another label holds; `None`: they stay alone."""
    augment: AugmentConfig | None = None
    """Make further problems of those of some splits before anything is sampled; `None`: none are made."""
    sample: SampleConfig = SampleConfig()
    rounds: tuple[RoundConfig, ...] = ()
    """Further rationales after the first sampling, one round after another; empty: none."""
    verify: VerifyConfig = VerifyConfig()
    sandbox: SandboxConfig = SandboxConfig()
    filter: FilterConfig = FilterConfig()
    mix: MixConfig = MixConfig()
    student: StudentConfig = StudentConfig()
    train: TrainConfig = TrainConfig()
    infer: InferConfig = InferConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    report: ReportConfig = ReportConfig()
    budget: BudgetConfig = BudgetConfig()
    arms: dict[str, ArmConfig] = {}
    """System name -> what it changes; empty: one arm, named after the method."""

    @field_validator("teachers", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return (value,) if isinstance(value, Mapping) else value

    @field_validator("arms", mode="before")
    @classmethod
    def _empty_arms(cls, value: Any) -> Any:
        return {name: arm or {} for name, arm in value.items()} if isinstance(value, Mapping) else value

    @field_validator("arms")
    @classmethod
    def _arms_name_files(cls, value: dict[str, ArmConfig]) -> dict[str, ArmConfig]:
        for name in value:
            if not re.fullmatch(r"\w[\w.+-]*", name) or name == "teacher":
                message = (
                    f"an arm is named {name!r}; its files are named after it: use letters, digits, '_', '-', '.', '+', "
                    "and not 'teacher', which is the teacher's own row"
                )
                raise ValueError(message)
        return value

    @model_validator(mode="after")
    def _teachers_can_be_told_apart(self) -> Recipe:
        require_distinct(self.teachers, taken=[*self.arms] or [self.method])
        return self

    @model_validator(mode="after")
    def _ensembles_of_arms(self) -> Recipe:
        for name, arm in self.arms.items():
            for member in arm.ensemble:
                if member not in self.arms or self.arms[member].ensemble:
                    message = f"arms.{name}.ensemble: {member!r} is not an arm with a student of its own"
                    raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _rounds_have_a_teacher(self) -> Recipe:
        for number, config in enumerate(self.rounds, start=1):
            teacher_of(self, number)
            if config.by == "errors":
                kinds_of(self, number)
            if f"round{number}" in self.arms:
                message = f"an arm is named 'round{number}'; that is what the files of rounds.{number - 1} are called"
                raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _budget_can_be_planned(self) -> Recipe:
        if self.sample.budget_by != "none" and any(t.replay is not None for t in self.teachers):
            message = "sample.budget_by: recorded rationales are there already; take the line out, or name an endpoint"
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _likelihood_is_asked_for(self) -> Recipe:
        by_likelihood = self.mix.select is not None and self.mix.select.by == "likelihood"
        if by_likelihood and any(t.base_url is not None and not t.logprobs for t in self.teachers):
            message = "mix.select.by: likelihood needs the teacher's log-probabilities; set teachers.logprobs: true"
            raise ValueError(message)
        return self

    def of_method(self, method: str) -> Recipe:
        """Return the recipe with the arms of one method only, and those that its ensembles are made of.

        Raises:
            ConfigError: It has none.
        """
        mine = {name for name, arm in self.arms.items() if (arm.method or self.method) == method}
        mine |= {member for name in mine for member in self.arms[name].ensemble}
        mine |= {config.arm for config in self.rounds if config.arm in self.arms}
        if not mine and self.method != method:
            methods = sorted({arm.method or self.method for arm in self.arms.values()} or {self.method})
            message = f"--only {method}: this recipe holds the arms of {', '.join(methods)}"
            raise ConfigError(message)
        arms = {name: arm for name, arm in self.arms.items() if name in mine}
        systems = {*arms, "teacher", *(teacher.author for teacher in self.teachers)}
        pairs = tuple(pair for pair in self.evaluate.compare if set(pair) <= systems)
        return self.model_copy(update={"arms": arms, "evaluate": self.evaluate.model_copy(update={"compare": pairs})})

    def for_arm(self, name: str) -> Recipe:
        """Return the recipe as the arm `name` sees it."""
        arm = self.arms.get(name, ArmConfig())
        tables = {"mix": arm.mix, "filter": arm.filter, "train": arm.train or {}, "infer": arm.infer}
        tables["student"] = arm.student
        data = {**self.model_dump(), "rounds": ()}
        for table, changes in tables.items():
            data[table] = {**data[table], **changes}
        return validated(Recipe, data, f"arms.{name}")
