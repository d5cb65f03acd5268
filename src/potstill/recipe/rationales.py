"""`verify`, `sandbox`, `filter` and `mix.select`: what is checked and kept."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from potstill.recipe.table import Table
from potstill.records import KINDS, AnswerType, Kind


class VerifyConfig(Table):
    """`verify`: how final answers are read and compared."""

    answer_type: AnswerType | None = None
    """Overrides the problems'."""
    math_verify: bool = True
    """Ask `math-verify`, in a guarded process, where the exact rules do not decide an expression."""
    demands: bool = False
    """Of problems without a gold answer: check what the instruction demands in words that a program can check (length,
    form), as IFEval does; CORRECT keeps every demand, WRONG breaks one, UNVERIFIED has none."""
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


class SupportConfig(Table):
    """`filter.support`: a reader sees a rationale without its answer, labels masked, and must recover the label."""

    teacher: str | None = None
    """The name of the teacher that reads, better of another family than the author; `None`: the first."""
    temperature: float | None = Field(default=0.0, ge=0)
    """`None`: the teacher's."""
    max_tokens: int = Field(default=128, ge=1)


class FilterConfig(Table):
    """`filter`: which rationales are kept; every drop has a reason."""

    keep: Literal["correct", "unrefuted", "answered", "majority", "agreement", "all"] = "correct"
    """correct: the labelled setting. unrefuted: all but what a check found wrong. Without labels: all; majority, those
    with their kind's most frequent answer; agreement, the same where chains of thought and programs agree in it."""
    max_tokens: int | None = Field(default=None, ge=1)
    """Drop longer rationales, counted in white-space separated words."""
    min_tokens: int | None = Field(default=None, ge=1)
    """Drop shorter ones, counted so."""
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
    review: Literal["none", "exclude_rejected", "accepted_only"] = "none"
    """What people decided with `potstill review`: nothing; drop what was rejected or is disputed; keep only what was
    accepted. It narrows what `keep` keeps: with keep: all the people's word alone decides."""
    use_edits: bool = False
    """Whether a text that a reviewer edited takes the place of what the model wrote, judged by its own verdict."""
    support: SupportConfig | None = None
    """Of chains of thought that are kept otherwise, drop those that do not support their answer; `None`: nobody reads
    them."""

    @model_validator(mode="after")
    def _rule_fits_kind(self) -> FilterConfig:
        for kind, rule in self.dedup_rules.items():
            if (rule, kind) in (("equations", "pot"), ("renamed", "cot"), ("renamed", "answer")):
                message = f"dedup: got {rule} for kind {kind}; equations is for cot, renamed for pot"
                raise ValueError(message)
        return self

    @property
    def is_reviewed(self) -> bool:
        """Whether what people decided changes what is kept."""
        return self.review != "none" or self.use_edits

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
