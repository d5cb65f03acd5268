"""`mix`, `student`, `train` and `infer`: what is learnt, by which model, and how it answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from potstill.messages import say
from potstill.recipe.augmentation import Way
from potstill.recipe.rationales import SelectConfig
from potstill.recipe.table import Table
from potstill.records import Kind, View

LABEL_FIRST = " So the answer is: {answer}. {rationale}"
Role = Literal["original", "counterfactual", "invariant", "extra"]
"""What a training problem is: given, an edit with another label, an edit with the same, or of the split `extra`."""


N_FIRST = 4
"""Samples of every problem by whose verdicts `mix.budget_by` shares out the rest: as `sample.n_first`."""


class MixConfig(Table):
    """`mix`: which kept rationales become training examples."""

    kinds: tuple[Kind, ...] = ("cot",)
    """answer: the label-only baseline, made from gold answers (unlabelled: from the teacher's)."""
    n: int | None = Field(default=None, ge=1)
    """Use the first n of each problem's rationales in an order drawn by seed, BEFORE filtering: what a teacher asked
    less often would have given; `None`: all. To choose among those that the filter KEEPS, see `select`."""
    budget_by: Literal["none", "pass_rate"] = "none"
    """pass_rate: of the samples that there are, take those that `sample.budget_by: pass_rate` would have brought with a
    budget of `n` each, so that the lever stands beside plain sampling in one run."""
    rounds: int | None = Field(default=None, ge=0)
    """Use what was sampled up to this one of the recipe's `rounds`; 0: the first sampling alone; `None`: everything."""
    shots: int = Field(default=0, ge=0)
    """Worked examples before each question in training, as in MetaICL: other training problems of its split (and of
    its `meta.task`), each with one of its targets. At inference: `infer.demonstrations`."""
    augmented: tuple[Way, ...] | None = None
    """Of the problems that `augment` made, learn from those made so; empty: from none; `None`: from all."""
    evolved: str | None = None
    """Of a run that evolves by several strategies (`evolve.keep_compared`), learn from the instructions of this one;
    seeds: from none of them; `None`: from all."""
    roles: tuple[Role, ...] | None = None
    """Learn from the problems of these roles; `None`: of all."""
    counterfactuals: Literal["rationale", "answer", "shuffled"] = "rationale"
    """What is learnt of edits with another label: their rationales; the label alone; or, as a negative control, what
    was written for another one that has another label."""
    counterfactual_ratio: float | None = Field(default=None, gt=0)
    """Edits with another label for each original at most, drawn by seed; `None`: all."""
    views: tuple[View, ...] | None = None
    """Learn from chains of thought of these views, and of none; `None`: from all that there are."""
    problem_frac: float = Field(default=1.0, gt=0, le=1)
    """Use this fraction of the training problems, drawn by seed; a smaller one's are among a larger one's."""
    select: SelectConfig | None = None
    """Choose among the kept rationales of each problem and kind, after filtering, by a rule; `None`: all are used."""
    format: Literal["plain", "chat"] = "plain"
    prompt: str = "Q: {question}\nA:"
    prompts: dict[Kind | View, str] = {}
    """Kind or view -> a prompt of its own, instead of `prompt`; a view's goes before its kind's."""
    prefixes: dict[Kind | View, str] = {}
    """Kind or view -> what its targets begin with, learnt and, at inference, forced; e.g. {pot: " Program:\\n"}. A
    view's is its view token."""
    balance: Literal["none", "cap"] = "none"
    """cap: as many examples of one kind as of the other, of every problem that has both."""
    order: Literal["cot_first", "label_first"] = "cot_first"
    """label_first: the answer, then why; sets `target` where it is not given."""
    target: str = " {rationale} So the answer is: {answer}"
    answer_target: str = " So the answer is: {answer}"
    max_per_problem: int | None = Field(default=None, ge=1)
    reasoning: Literal["drop", "think"] = "drop"
    """What a reasoning model thought first: left out, or learnt as `<think>` block before its text, both verbatim."""

    @model_validator(mode="after")
    def _shots_are_text(self) -> MixConfig:
        if self.shots and (self.format == "chat" or self.prefixes or self.prompts):
            message = "shots: worked examples stand in format: plain with one prompt; leave prompts and prefixes out"
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _budget_is_given(self) -> MixConfig:
        if self.budget_by != "none" and (self.n is None or self.n < N_FIRST):
            message = f"budget_by: {self.budget_by} shares out n samples a problem; set n to {N_FIRST} or more"
            raise ValueError(message)
        return self

    @model_validator(mode="before")
    @classmethod
    def _chat_prompt(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and data.get("format") == "chat":
            return {"prompt": "{question}", **data}
        return data

    @model_validator(mode="before")
    @classmethod
    def _label_first(cls, data: Any) -> Any:
        if not isinstance(data, Mapping) or "order" not in data:
            return data
        forms = {"cot_first": cls.model_fields["target"].default, "label_first": LABEL_FIRST}
        is_ours = data.get("target") in (None, *forms.values())
        return {**data, "target": forms[data["order"]]} if is_ours and data["order"] in forms else data

    @model_validator(mode="after")
    def _target_has_the_order(self) -> MixConfig:
        answer, rationale = self.target.find("{answer}"), self.target.find("{rationale}")
        if min(answer, rationale) >= 0 and (answer < rationale) != (self.order == "label_first"):
            message = f"target: got {self.target!r} with order: {self.order}; put its parts in that order"
            raise ValueError(message)
        return self


class StudentConfig(Table):
    """`student`: the model that learns."""

    model: str = "miniature"
    """A Hugging Face name or folder, `miniature`, or `scratch` with `config`."""
    config: dict[str, Any] = {}
    """With `scratch`: the model's configuration, e.g. {model_type: llama, hidden_size: 256, vocab_size: 4096}."""
    dtype: Literal["float32", "bfloat16", "float16", "auto"] = "float32"
    lora: dict[str, Any] | None = None
    """Arguments of peft's LoraConfig, by their own names; `None`: full fine-tuning."""
    quantization: Literal["4bit"] | None = None
    """4bit: QLoRA, the frozen weights in NF4 with double quantization, adapters (`lora`) on top; needs bitsandbytes."""
    trust_remote_code: bool = False

    @model_validator(mode="after")
    def _quantized_weights_are_frozen(self) -> StudentConfig:
        if self.quantization is not None and (self.lora is None or self.model == "scratch"):
            found = "model: scratch has no weights to keep" if self.model == "scratch" else "lora is not set"
            message = (
                f"student.quantization: {self.quantization} weights are not trained, and {found}; "
                "take a trained model with adapters, e.g. lora: {r: 16, target_modules: all-linear}"
            )
            raise ValueError(message)
        return self


class CurriculumConfig(Table):
    """`train.curriculum`: which problems come first; see docs/levers.md."""

    by: str
    """What makes a problem hard: length (of its targets), pass_rate (of the teacher's samples; few right ones are
    hard), loss (of the student before training), or a field of the problems' meta (large numbers are hard)."""
    order: Literal["easy_first", "hard_first"] = "easy_first"
    pace: Literal["epoch", "linear"] | Annotated[int, Field(ge=1)] = "epoch"
    """epoch: every epoch runs through all problems in this order. Else problems join, a fifth of them at the start and
    all after that number of optimizer steps; linear: after the last one."""


class PairMarginConfig(Table):
    """`train.pair_margin`: added to the loss, max(0, margin - [log p(y|x) - log p(y'|x)]) for both halves of a pair."""

    weight: float = Field(default=0.1, gt=0)
    margin: float = Field(default=1.0, gt=0)
    """In nats."""


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
    pairs_together: bool = False
    """Put a problem and its counterfactuals into the same step."""
    pair_margin: PairMarginConfig | None = None
    """Also learn to prefer a problem's label to those of its counterfactuals, right after the prompt; `None`: not."""
    max_length: int | None = Field(default=None, ge=2)
    """Longest prompt + target in tokens, for an encoder-decoder each of the two; `None`: the model's own limit."""
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
        if self.curriculum is not None and self.pairs_together:
            message = "curriculum orders the problems, and pairs_together puts pairs into one step; use one of the two"
            raise ValueError(message)
        return self


class InferConfig(Table):
    """`infer`: how a student answers."""

    paths: dict[Kind, int] = {"cot": 1}
    """Paths per problem and kind. One path is greedy; more are sampled and voted on."""
    views: tuple[View, ...] = ()
    """The views in which chains of thought are written, `paths` of each. With both, `views` is a path of its own: their
    common answer, else that of the higher mean log-probability. Empty: the positive one, where `mix` tells them apart.
    """
    demonstrations: dict[str, str] = {}
    """Split -> JSONL of worked examples {question, rationale, answer} that stand before each of its questions, for a
    task that the student was never trained on; other splits have none."""
    n_demonstrations: int | None = Field(default=None, ge=1)
    """So many of them, the first ones; `None`: all."""
    temperature: float = Field(default=0.7, ge=0)
    """For more than one path (SCoTD: 0.7)."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    max_new_tokens: int = Field(default=256, ge=1)
    batch_tokens: int = Field(default=16384, ge=1)
    """Tokens of cache in one batch."""
    greedy: bool = True
    """With several paths: also run the greedy one."""

    @model_validator(mode="before")
    @classmethod
    def _splits_are_those_evaluated(cls, data: Any) -> Any:
        """Take a recipe of the time when the splits stood here too, and had no effect."""
        if not isinstance(data, Mapping) or "splits" not in data:
            return data
        say("recipe", "infer.splits has no effect and can go: what is asked is what evaluate.splits names")
        return {key: value for key, value in data.items() if key != "splits"}
