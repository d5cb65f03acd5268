"""The recipe: one frozen model per stage, read from YAML with `--set table.key=value` on top.

Unknown keys are refused with the nearest known one. `${VAR}` is replaced from the environment and fails when unset.
Nothing here opens an endpoint or a data set: a recipe that loads may still name a model that does not exist.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from potstill.errors import ConfigError, shorten
from potstill.methods import with_defaults
from potstill.records import KINDS, AnswerType, Kind

CREDENTIAL_WORDS = ("authorization", "api-key", "apikey", "token", "secret", "cookie", "password")
"""A header with one of these in its name holds a secret."""


class Table(BaseModel):
    """Base of every recipe table: frozen, strict about keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


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

    @model_validator(mode="after")
    def _one_form(self) -> ProblemsConfig:
        if bool(self.source) == bool(self.splits):
            message = "give either 'source' (one file, with 'holdout' if you like) or 'splits' (one source per split)"
            raise ValueError(message)
        if sum(self.holdout.values()) >= 1 or any(frac <= 0 for frac in self.holdout.values()):
            message = f"holdout is {self.holdout}; fractions must be above 0 and sum to less than 1"
            raise ValueError(message)
        return self


class PriceConfig(Table):
    """Money per million tokens."""

    input: float = Field(default=0.0, ge=0)
    cached_input: float | None = Field(default=None, ge=0)
    output: float = Field(default=0.0, ge=0)


class TeacherConfig(Table):
    """One teacher: an OpenAI-compatible endpoint, or recorded rationales.

    `${VAR}` in its values stays as it is, also in the run's copy of the recipe, until the teacher is opened: a secret
    is never written.
    """

    base_url: str | None = None
    """For example https://api.openai.com/v1, or `miniature` for the embedded teacher on loopback."""
    model: str = ""
    api_key_env: str | None = "OPENAI_API_KEY"
    """Environment variable that holds the key; the key itself is never written."""
    api: Literal["chat", "completions"] = "chat"
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
    extra_body: dict[str, Any] = {}
    headers: dict[str, str] = {}
    proxy: str | None = None
    ca_file: str | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> TeacherConfig:
        if self.base_url is None and self.replay is None:
            message = "a teacher needs 'base_url' (an endpoint) or 'replay' (a file of recorded rationales)"
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

    def resolved(self) -> TeacherConfig:
        """Return the teacher with every `${VAR}` filled in from the environment; only for use, never for writing."""
        return TeacherConfig.model_construct(**_interpolated(dict(self), "teachers"))


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


class VerifyConfig(Table):
    """`verify`: how final answers are read and compared."""

    answer_type: AnswerType | None = None
    """Overrides the problems'."""
    math_verify: bool = True
    """Ask `math-verify`, in a guarded process, where the exact rules do not decide an expression."""
    timeout_s: float = Field(default=5.0, gt=0)
    workers: int = Field(default=1, ge=1)
    max_failed_frac: float = Field(default=1.0, ge=0, le=1)


class SandboxConfig(Table):
    """`sandbox`: how untrusted programs are run, teacher's and student's alike: limits, and the least isolation that is
    accepted."""

    cpu_s: float = Field(default=2.0, gt=0, le=3600)
    """CPU seconds per program; CPU time, not wall time, decides a timeout, so outcomes survive a loaded machine."""
    wall_factor: float = Field(default=5.0, ge=1)
    """Wall seconds per CPU second after which a program that only waits is ended."""
    memory_mb: int = Field(default=256, ge=16)
    """Memory per program beyond the interpreter's own."""
    heavy_memory_mb: int = Field(default=512, ge=16)
    """The same for programs that use numpy, sympy, mpmath or dateutil."""
    max_output_bytes: int = Field(default=65536, ge=1, le=1 << 24)
    """Longest output, and longest answer, in UTF-8 bytes."""
    max_program_bytes: int = Field(default=1 << 20, ge=1)
    isolation: Literal["strong", "seccomp", "none_because_i_trust_every_program"] = "strong"
    """Least isolation of tier 2: strong (seccomp and Landlock), seccomp (no file at all can be opened); the third runs
    programs with resource limits only and says so in every result."""
    tiers: Literal["both", "monty", "cpython"] = "both"
    """Which engines may run programs: Monty first and CPython for the rest, Monty alone, or CPython alone."""
    workers: int | None = Field(default=None, ge=1)
    """Programs run at a time; `None`: one per usable core, at most 4."""


class FilterConfig(Table):
    """`filter`: which rationales are kept; every drop has a reason."""

    keep: Literal["correct", "answered", "majority", "agreement", "all"] = "correct"
    """correct: the labelled setting. Without labels: all; majority, those with their kind's most frequent answer;
    agreement, the same where chains of thought and programs agree in it."""
    max_tokens: int | None = Field(default=None, ge=1)
    """Drop longer rationales, counted in white-space separated words."""
    allow_truncated: bool = False
    """Whether texts that ended at `max_tokens` are kept."""
    dedup: Literal["none", "exact", "near"] | dict[Kind, Literal["none", "exact", "near", "equations", "renamed"]] = (
        "none"
    )
    """What is kept once per problem, for all kinds or for each: exact, the same text but for white space; near, nearly
    the same (four fifths of all runs of three words) with the same answer; equations, chains of thought with the same
    equations (RFT); renamed, programs that differ only in names, layout and comments.
    SCoTD: none."""
    decontaminate: tuple[str, ...] = ("dev", "test", "ood", "contrast")
    """Training problems whose family occurs in these splits are dropped and counted."""

    @model_validator(mode="after")
    def _rule_fits_kind(self) -> FilterConfig:
        for kind, rule in self.dedup_rules.items():
            if (rule, kind) in (("equations", "pot"), ("renamed", "cot"), ("renamed", "answer")):
                message = f"dedup: got {rule} for kind {kind}; equations is for cot, renamed for pot"
                raise ValueError(message)
        return self

    @property
    def dedup_rules(self) -> dict[str, str]:
        """Kind -> its rule; kinds that are missing have none."""
        if isinstance(self.dedup, str):
            return {kind: self.dedup for kind in KINDS if self.dedup != "none"}
        return {kind: rule for kind, rule in self.dedup.items() if rule != "none"}


class SelectConfig(Table):
    """`mix.select`: which of a problem's kept rationales are learnt from, at equal budget; see docs/levers.md."""

    by: Literal["random", "diverse", "likelihood", "open_ended", "short", "long", "mixed_length", "structure"] = (
        "random"
    )
    """SCoTD, section 4: random, diverse, likelihood (needs teachers.logprobs), open_ended. Ours: short, long,
    mixed_length (four short ones for a long one), structure (different equations or programs first)."""
    n: int = Field(default=5, ge=1)
    """Rationales of each problem and kind; for open_ended, on average."""
    embedding: str | None = None
    """For diverse: a sentence-transformers or transformers model; `None`: words, weighed by TF-IDF."""

    @model_validator(mode="after")
    def _embedding_is_used(self) -> SelectConfig:
        if self.embedding is not None and self.by != "diverse":
            message = f"embedding: got {self.embedding!r} with by: {self.by}; only by: diverse compares embeddings"
            raise ValueError(message)
        return self


class MixConfig(Table):
    """`mix`: which kept rationales become training examples."""

    kinds: tuple[Kind, ...] = ("cot",)
    """answer: the label-only baseline, made from gold answers (unlabelled: from the teacher's)."""
    n: int | None = Field(default=None, ge=1)
    """Use the first n of each problem's rationales in an order drawn by seed, BEFORE filtering: what a teacher asked
    less often would have given; `None`: all. To choose among those that the filter KEEPS, see `select`."""
    select: SelectConfig | None = None
    """Choose among the kept rationales of each problem and kind, after filtering, by a rule; `None`: all are used."""
    format: Literal["plain", "chat"] = "plain"
    prompt: str = "Q: {question}\nA:"
    prompts: dict[Kind, str] = {}
    """Kind -> a prompt of its own, instead of `prompt`."""
    prefixes: dict[Kind, str] = {}
    """Kind -> what its targets begin with, learnt and, at inference, forced; e.g. {pot: " Program:\\n"}."""
    balance: Literal["none", "cap"] = "none"
    """cap: as many examples of one kind as of the other, of every problem that has both."""
    target: str = " {rationale} So the answer is: {answer}"
    answer_target: str = " So the answer is: {answer}"
    max_per_problem: int | None = Field(default=None, ge=1)
    reasoning: Literal["drop", "think"] = "drop"
    """What a reasoning model thought first: left out, or learnt as `<think>` block before its text, both verbatim."""

    @model_validator(mode="before")
    @classmethod
    def _chat_prompt(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and data.get("format") == "chat":
            return {"prompt": "{question}", **data}
        return data


class StudentConfig(Table):
    """`student`: the model that learns."""

    model: str = "miniature"
    """A Hugging Face name or folder, `miniature`, or `scratch` with `config`."""
    config: dict[str, Any] = {}
    """With `scratch`: the model's configuration, e.g. {model_type: llama, hidden_size: 256, vocab_size: 4096}."""
    dtype: Literal["float32", "bfloat16", "float16", "auto"] = "float32"
    lora: dict[str, Any] | None = None
    """Arguments of peft's LoraConfig, by their own names; `None`: full fine-tuning."""
    trust_remote_code: bool = False


class CurriculumConfig(Table):
    """`train.curriculum`: which problems come first; see docs/levers.md."""

    by: str
    """What makes a problem hard: length (of its targets), pass_rate (of the teacher's samples; few right ones are
    hard), loss (of the student before training), or a field of the problems' meta (large numbers are hard)."""
    order: Literal["easy_first", "hard_first"] = "easy_first"
    pace: Literal["epoch", "linear"] | Annotated[int, Field(ge=1)] = "epoch"
    """epoch: every epoch runs through all problems in this order. Else problems join, a fifth of them at the start and
    all after that number of optimizer steps; linear: after the last one."""


class TrainConfig(BaseModel):
    """`train`: our few options, and any argument of the Hugging Face Trainer by its own name."""

    model_config = ConfigDict(extra="allow", frozen=True)

    shared_prompt: bool = True
    """Encode each prompt once for all its rationales; same loss and gradients as one row each."""
    loader: Literal["one_per_problem", "all"] = "one_per_problem"
    """one_per_problem: each visit of a problem draws from its kept rationales at random, so every
    problem weighs the same (SCoTD); all: every example once per epoch."""
    problems_per_step: int = Field(default=8, ge=1)
    """Problems in one forward pass."""
    rationales_per_problem: int = Field(default=6, ge=1)
    """Rationales of each problem, of each kind that it has, in one forward pass."""
    max_length: int | None = Field(default=None, ge=2)
    """Longest prompt + target in tokens; `None`: the model's own limit."""
    overlong: Literal["error", "skip"] = "skip"
    """skip: drop and count examples that do not fit; never truncate."""
    task_weights: dict[str, float] = {}
    """Loss weight of each kind of example, whose losses are then means of their own; empty: one token mean over all.
    Mixed Distillation: {cot: 0.5, pot: 0.5}; Distilling Step-by-Step: {answer: 0.5, cot: 0.5}."""
    curriculum: CurriculumConfig | None = None
    """Order or pacing of the problems; `None`: at random."""
    patience: int | None = Field(default=None, ge=1)
    """Stop after this many evaluations on the dev split without a better accuracy; `None`: run to `max_steps`."""
    dev_problems: int | None = Field(default=None, ge=1)
    """Problems of the dev split used to choose the checkpoint; `None`: all."""

    @model_validator(mode="after")
    def _pace_fits_loader(self) -> TrainConfig:
        if self.curriculum is not None and self.curriculum.pace != "epoch" and self.loader == "all":
            message = (
                f"curriculum.pace: {self.curriculum.pace} visits easy problems more often, loader: all every example "
                "once an epoch; use pace: epoch or loader: one_per_problem"
            )
            raise ValueError(message)
        return self


class InferConfig(Table):
    """`infer`: how a student answers."""

    paths: dict[Kind, int] = {"cot": 1}
    """Paths per problem and kind. One path is greedy; more are sampled and voted on."""
    temperature: float = Field(default=0.7, ge=0)
    """For more than one path (SCoTD: 0.7)."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    max_new_tokens: int = Field(default=256, ge=1)
    batch_tokens: int = Field(default=16384, ge=1)
    """Tokens of cache in one batch."""
    splits: tuple[str, ...] = ("test",)
    greedy: bool = True
    """With several paths: also run the greedy one."""


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


class BudgetConfig(Table):
    """`budget`: hard limits over the whole run; reaching one stops cleanly and resumably."""

    tokens: int | None = Field(default=None, ge=1)
    money: float | None = Field(default=None, gt=0)
    """In the currency of `price`."""


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

    method: Literal["scotd", "mixed_distillation"] = "scotd"
    engine: Literal["local"] = "local"
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
    sample: SampleConfig = SampleConfig()
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

    @field_validator("teachers")
    @classmethod
    def _one_for_now(cls, value: tuple[TeacherConfig, ...]) -> tuple[TeacherConfig, ...]:
        if len(value) > 1:
            message = f"{len(value)} teachers given; this version samples from one"
            raise ValueError(message)
        return value

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
    def _ensembles_of_arms(self) -> Recipe:
        for name, arm in self.arms.items():
            for member in arm.ensemble:
                if member not in self.arms or self.arms[member].ensemble:
                    message = f"arms.{name}.ensemble: {member!r} is not an arm with a student of its own"
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
        if by_likelihood and any(t.replay is None and not t.logprobs for t in self.teachers):
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
        if not mine and self.method != method:
            methods = sorted({arm.method or self.method for arm in self.arms.values()} or {self.method})
            message = f"--only {method}: this recipe holds the arms of {', '.join(methods)}"
            raise ConfigError(message)
        arms = {name: arm for name, arm in self.arms.items() if name in mine}
        pairs = tuple(pair for pair in self.evaluate.compare if set(pair) <= {*arms, "teacher"})
        return self.model_copy(update={"arms": arms, "evaluate": self.evaluate.model_copy(update={"compare": pairs})})

    def for_arm(self, name: str) -> Recipe:
        """Return the recipe as the arm `name` sees it."""
        arm = self.arms.get(name, ArmConfig())
        tables = {"mix": arm.mix, "filter": arm.filter, "train": arm.train or {}, "infer": arm.infer}
        tables["student"] = arm.student
        data = self.model_dump()
        for table, changes in tables.items():
            data[table] = {**data[table], **changes}
        return _validated(data, f"arms.{name}")


def load_recipe(path: str | Path, overrides: Iterable[str] = ()) -> Recipe:
    """Read a recipe file, apply `table.key=value` overrides, validate.

    Raises:
        ConfigError: The file cannot be read, is not YAML, or a key or value is not allowed.
    """
    return build_recipe(read_recipe(path), overrides, where=str(path))


def read_recipe(path: str | Path) -> dict[str, Any]:
    """Return a recipe file's raw tables, not yet validated; errors as `load_recipe`."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as cause:
        message = f"recipe {path}: cannot be read ({shorten(cause)}); give the path of a YAML file"
        raise ConfigError(message) from cause
    return parse_tables(text, str(path))


def parse_recipe(text: str, overrides: Iterable[str] = (), where: str = "recipe") -> Recipe:
    """Validate recipe text; errors as `load_recipe`."""
    return build_recipe(parse_tables(text, where), overrides, where)


def parse_tables(text: str, where: str) -> dict[str, Any]:
    """Return the raw tables of recipe text; a key that is given twice is refused, where YAML takes the last."""
    try:
        data = yaml.load(text, Loader=_DistinctKeys)
    except yaml.MarkedYAMLError as cause:
        mark = cause.problem_mark
        at = f"{where}:{mark.line + 1}:{mark.column + 1}" if mark is not None else where
        message = f"{at}: not valid YAML: {shorten(cause.problem or cause)}; correct the file"
        raise ConfigError(message) from cause
    except yaml.YAMLError as cause:
        message = f"{where}: not valid YAML: {shorten(cause)}; correct the file"
        raise ConfigError(message) from cause
    if not isinstance(data, dict):
        found = "nothing" if data is None else type(data).__name__
        message = f"{where}: found {found}; expected tables such as problems, teachers, sample"
        raise ConfigError(message)
    return data


class _DistinctKeys(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen and isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, f"key {key.value!r} occurs twice", key.start_mark)
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


def build_recipe(data: dict[str, Any], overrides: Iterable[str] = (), where: str = "recipe") -> Recipe:
    """Validate raw tables with overrides on top; errors as `load_recipe`."""
    for override in overrides:
        apply_override(data, override)
    data = with_defaults(data)
    teachers = data.get("teachers")
    _interpolated(teachers, where)
    return _validated({**_interpolated(data, where), **({"teachers": teachers} if teachers else {})}, where)


def apply_override(data: dict[str, Any], override: str) -> None:
    """Set one `table.key=value` in raw recipe data; the value is read as YAML."""
    key, separator, raw = override.partition("=")
    if not separator or not key.strip():
        message = f"--set {shorten(override)!r}: expected table.key=value, for example sample.n=5"
        raise ConfigError(message)
    try:
        value = yaml.safe_load(raw)
    except yaml.YAMLError as cause:
        message = f"--set {shorten(override)!r}: the value is not valid YAML; quote it"
        raise ConfigError(message) from cause
    node: Any = data
    parts = key.strip().split(".")
    for depth, part in enumerate(parts[:-1]):
        if isinstance(node, list):
            node = _list_item(node, part, override)
            continue
        if node.get(part) is None:
            node[part] = {}
        node = node[part]
        if not isinstance(node, dict | list):
            message = f"--set {shorten(override)!r}: '{'.'.join(parts[: depth + 1])}' is a value, not a table"
            raise ConfigError(message)
    if isinstance(node, list):
        message = (
            f"--set {shorten(override)!r}: '{'.'.join(parts[:-1])}' is a list; name an item, e.g. teachers.0.model"
        )
        raise ConfigError(message)
    node[parts[-1]] = value


def dump_recipe(recipe: Recipe) -> str:
    """Return the resolved recipe as YAML, every default spelled out."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def is_credential(header: str) -> bool:
    """Whether a header's name says that its value is a secret."""
    return any(word in header.lower().replace("_", "-") for word in CREDENTIAL_WORDS)


def _list_item(node: list[Any], part: str, override: str) -> Any:
    if part.isdigit() and int(part) < len(node):
        return node[int(part)]
    message = f"--set {shorten(override)!r}: '{part}' is not an item of a list of {len(node)}"
    raise ConfigError(message)


def _interpolated(value: Any, where: str) -> Any:
    if isinstance(value, dict):
        return {key: _interpolated(item, where) for key, item in value.items()}
    if isinstance(value, list):
        return [_interpolated(item, where) for item in value]
    if isinstance(value, str):
        return re.sub(r"\$\{(\w+)\}", lambda match: _environment(match[1], where), value)
    return value


def _environment(name: str, where: str) -> str:
    value = os.environ.get(name)
    if value is None:
        message = f"{where}: ${{{name}}} is used but the environment variable {name} is not set; export it first"
        raise ConfigError(message)
    return value


def _validated(data: dict[str, Any], where: str) -> Recipe:
    try:
        return Recipe.model_validate(data)
    except ValidationError as cause:
        raise ConfigError(_explain(cause, where)) from cause


def _explain(error: ValidationError, where: str) -> str:
    """Say in one or two sentences what the first problem is, with the nearest key for an unknown one."""
    first, total = error.errors()[0], error.error_count()
    location = ".".join(str(part) for part in first["loc"] if part != "[key]")
    more = f" (and {total - 1} more)" if total > 1 else ""
    if first["type"] == "extra_forbidden":
        known = _known_keys(first["loc"][:-1])
        near = difflib.get_close_matches(str(first["loc"][-1]), known, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"known keys: {', '.join(sorted(known))}"
        return f"{where}: {location}: unknown key; {hint}{more}"
    if first["type"] == "missing":
        return f"{where}: {location}: this key is required{more}"
    if first["type"] in ("model_type", "dict_type"):
        return f"{where}: {location}: got {shorten(repr(first['input']), 80)}; expected a table of keys{more}"
    reason = first["msg"].removeprefix("Value error, ")
    found = "" if isinstance(first["input"], Mapping) else f"got {shorten(repr(first['input']), 80)}; "
    return f"{where}: {location}: {found}{reason}{more}"


def _known_keys(location: tuple[Any, ...]) -> list[str]:
    model: Any = Recipe
    for part in location:
        annotation = (
            model.model_fields[part].annotation if isinstance(part, str) and part in model.model_fields else None
        )
        models = re.findall(r"\w+Config", str(annotation)) if annotation is not None else []
        if models:
            model = globals()[models[0]]
    return [*model.model_fields]
