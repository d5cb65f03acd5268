"""`evolve`: how instructions are rewritten, judged and kept."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from potstill.recipe.table import Table

TERMS = ("quality", "diversity", "complexity", "novelty")
"""What an instruction is scored by, from 1 to 6; the first three by a judge, the last against all seeds and the texts
of earlier trees."""
Strategy = Literal["beam", "tree", "published", "random", "best_of_n"]


class JudgeConfig(Table):
    """`evolve.judge`: who scores the rewritten instructions, and how."""

    teacher: str | None = None
    """The name of the teacher that judges, better of another family than the one that rewrites; `None`: the same."""
    scorer: str | None = None
    """The folder of a scorer that `potstill train --judged` made, in place of a teacher; `None`: a teacher judges."""
    votes: int = Field(default=2, ge=1)
    """Judgements of each group of siblings, each with the texts in another order; their mean counts."""
    temperature: float | None = Field(default=0.3, ge=0)
    """`None`: the teacher's."""
    max_tokens: int = Field(default=512, ge=1)
    rubrics: str | None = None
    """A YAML file {rubrics: {quality: …}}, each over the built-in one of that name."""

    @model_validator(mode="after")
    def _one_judge(self) -> JudgeConfig:
        if self.scorer is not None and (self.teacher is not None or self.rubrics is not None):
            message = "evolve.judge: a scorer is trained and reads no rubrics; give scorer, or teacher and rubrics"
            raise ValueError(message)
        return self


class EvolveConfig(Table):
    """`evolve`: seed instructions become better ones; everything is counted in calls of the model that rewrites."""

    strategy: Strategy = "beam"
    """beam (measured best in the miniature), tree (ours), published (the paper's rules), random, best_of_n."""
    calls: int = Field(default=24, ge=1)
    """The most rewriting calls per seed, failed ones included; the published tree may stop earlier."""
    compare: tuple[Strategy, ...] = ()
    """In a run: further strategies on the same seeds and calls, to see what the choice is worth. Their trees are in
    `trees/NAME.jsonl` and their growth in the report; nothing of theirs is kept."""
    keep_compared: bool = False
    """Keep the instructions of the compared strategies as well, and ask for their responses: for students that learn
    from one strategy each (`mix.evolved`)."""
    most: int | None = Field(default=None, ge=1)
    """At most so many instructions of each strategy, drawn at random from what it would keep; `None`: all."""
    splits: tuple[str, ...] = ("train",)
    """Whose problems are the seeds."""
    depth: int = Field(default=4, ge=1)
    """Rewritings between a seed and the deepest instruction; the published tree has its own."""
    width: int = Field(default=2, ge=1)
    """Of a beam: how many of each level are built upon."""
    branch: int | None = Field(default=None, ge=1)
    """Of a beam: rewritings of each of them; `None`: as many as spend the calls in one descent."""
    learns_actions: bool = True
    """Of beam and tree: prefer the actions that have helped so far, in this tree and in earlier ones."""
    share_after: int | None = Field(default=64, ge=1)
    """A tree knows what came of the trees of all seeds that stand at least so many places before its own: which
    actions helped and, where novelty is weighed, which texts there are. Fewer than `at_once` make trees wait; `None`:
    every tree by itself."""
    teacher: str | None = None
    """The name of the teacher that rewrites; `None`: the first."""
    temperature: float | None = Field(default=0.7, ge=0)
    """For rewriting, as published; `None`: the teacher's."""
    max_tokens: int = Field(default=1024, ge=1)
    """Of one rewritten instruction."""
    actions: str | None = None
    """A YAML file {actions: {name: what to change}} of your own, added to the twelve, or over them by name."""
    use: tuple[str, ...] = ()
    """The actions to use, by name; empty: all, your own and the derived ones too."""
    derive: int = Field(default=0, ge=0, le=8)
    """Ask the teacher for up to so many actions that suit the seeds, in one call; never from evaluation problems."""
    judge: JudgeConfig = JudgeConfig()
    embedding: str | None = None
    """How nearness is measured beside runs of three words, for novelty and repetitions: words (TF-IDF, no model), or
    an embedding model's folder or name; `None`: by runs of three words alone."""
    weights: dict[str, float] = {"quality": 1.0, "diversity": 1.0, "complexity": 1.0}
    """What the value of an instruction is made of: quality, diversity, complexity, novelty."""
    floors: dict[str, float] = {"quality": 2.5}
    """An instruction judged below one of these is refused, whatever its other scores are."""
    added_words: int = Field(default=20, ge=1)
    """Words that one rewriting is asked to add at most."""
    max_growth: float = Field(default=4.0, ge=1)
    """Words of an instruction at most, as a multiple of its seed's, beyond 40."""
    max_seed_words: int = Field(default=1000, ge=1)
    """Longer seeds are left out and counted."""
    at_once: int = Field(default=64, ge=1)
    """Seeds searched at the same time; the teacher's max_concurrency bounds the requests."""
    keep: Literal["best", "archive", "published"] = "best"
    """best, `per_seed` of each tree; archive, the best of each cell of (last action, complexity) over all trees;
    published, `total` at random from all finished paths."""
    per_seed: int = Field(default=4, ge=1)
    per_cell: int = Field(default=50, ge=1)
    total: int = Field(default=1000, ge=1)
    ladders: bool = True
    """Keep what a kept instruction was evolved from, too."""
    keep_seeds: bool = True
    """Ask for responses to the seeds as well; else they are moved to the split `seeds`."""
    near: float = Field(default=0.9, gt=0, le=1)
    """Share of common runs of three words from which on an instruction repeats a seed or a better one."""
    near_cosine: float = Field(default=0.95, gt=0, le=1)
    """With `embedding`: cosine from which on it does so, too."""
    against: tuple[str, ...] = ()
    """Files of evaluation problems, beside the splits of filter.decontaminate: what repeats one is left out."""
    max_failed_frac: float = Field(default=0.5, ge=0, le=1)
    """Fraction of rewriting calls without a usable text above which the stage ends with an error."""

    @field_validator("weights", "floors")
    @classmethod
    def _known_terms(cls, value: dict[str, float]) -> dict[str, float]:
        unknown = sorted(set(value) - set(TERMS))
        if unknown:
            message = f"{unknown[0]!r} is not scored; known terms: {', '.join(TERMS)}"
            raise ValueError(message)
        return value

    @model_validator(mode="after")
    def _is_judged(self) -> EvolveConfig:
        if not any(weight > 0 for term, weight in self.weights.items() if term != "novelty"):
            message = f"weights: got {self.weights}; at least one of quality, diversity, complexity must be above 0"
            raise ValueError(message)
        return self

    @property
    def judged_terms(self) -> tuple[str, ...]:
        """The terms that a judge is asked for, in fixed order."""
        return tuple(term for term in TERMS[:3] if term in self.weights or term in self.floors)

    @property
    def shares(self) -> int | None:
        """After how many places a tree counts for others; `None` where nothing would be learnt from it."""
        is_learnt = self.learns_actions and self.strategy in ("beam", "tree")
        return self.share_after if is_learnt or self.scores_novelty else None

    @property
    def scores_novelty(self) -> bool:
        """Whether an instruction's distance to seeds and earlier texts counts."""
        return "novelty" in {*self.weights, *self.floors}

    @property
    def mark(self) -> dict[str, Any]:
        """What of this table decides which instructions result."""
        return self.model_dump(mode="json", exclude={"at_once", "max_failed_frac"})

    @property
    def growth_mark(self) -> dict[str, Any]:
        """What of this table decides the trees; what is kept of them can change without growing them anew."""
        choosing = {
            "compare", "keep_compared", "most", "keep", "per_seed", "per_cell", "total", "ladders", "keep_seeds",
            "near", "near_cosine", "against",
        }  # fmt: skip
        return self.model_dump(mode="json", exclude={"at_once", "max_failed_frac", "splits", *choosing})
