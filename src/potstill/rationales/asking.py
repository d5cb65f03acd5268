"""What a sampling asks for: the calls that are to be made, and when failures have used up their budget.

Pure but for the template and demonstration files that `load_asking` reads; `potstill.rationales.sampling` runs it.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from potstill.errors import PotstillError, TooManyFailures, shorten
from potstill.rationales.prompts import Demonstration, Template, build_request, load_demonstrations, load_template
from potstill.rationales.resuming import Key
from potstill.recipe.teachers import SampleConfig, TeacherConfig
from potstill.records import Problem, Rationale
from potstill.teachers.base import FAILURES, Request

HOPELESS_ROWS, HOPELESS_PROBLEMS = 100, 20
"""Sampling stops early only after so many failed rows, of so many problems; see `Tally`."""


@dataclass(frozen=True, slots=True)
class Asking:
    """What every request of one sampling has in common."""

    teacher_config: TeacherConfig
    config: SampleConfig
    template: Template
    demonstrations: tuple[Demonstration, ...]
    seed: int
    recorded: Callable[[str, str], int] | None = None
    """With recorded rationales: how many there are for (problem id, kind)."""
    counts: Mapping[tuple[str, str], int] | None = None
    """(problem id, kind) -> how many, where a plan says otherwise than n."""

    def count(self, problem: Problem, kind: str) -> int:
        """Return how many rationales a problem gets: n, what a plan says, or as many of them as are recorded."""
        if self.counts is not None:
            return self.counts.get((problem.id, kind), self.config.n)
        return self.config.n if self.recorded is None else min(self.config.n, self.recorded(problem.id, kind))

    def total(self, problems: Iterable[Problem]) -> int:
        """Return how many rationales all problems get."""
        return sum(self.count(problem, kind) for problem in problems for kind in self.config.kinds)

    def request(self, problem: Problem, kind: str) -> Request:
        """Return the request for one problem; for recorded rationales only what identifies them."""
        if self.teacher_config.replay is not None:
            return Request(model=self.teacher_config.model, problem_id=problem.id, kind=kind)
        return build_request(
            problem, kind, self.teacher_config, self.config, self.demonstrations,
            seed=self.seed, template=self.template,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Job:
    """One call of the teacher."""

    problem: Problem
    kind: str
    indices: tuple[int, ...]


def load_asking(teacher_config: TeacherConfig, config: SampleConfig, *, seed: int = 0) -> Asking:
    """Read the template and the demonstrations that a configuration names.

    Raises:
        ConfigError: The template is wrong or lacks a section for one of `config.kinds`.
        DataError: The demonstrations cannot be read.
    """
    template = load_template(config.template)
    for kind in config.kinds if teacher_config.replay is None else ():
        template.section(kind)
    demonstrations = load_demonstrations(config.demonstrations) if config.demonstrations is not None else []
    return Asking(teacher_config, config, template, tuple(demonstrations), seed)


def jobs(problems: Iterable[Problem], asking: Asking, done: Container[Key], tally: Tally) -> Iterator[Job]:
    """Yield the calls that are to be made, `teacher.n` missing indices at a time, until the tally says stop."""
    size = asking.teacher_config.n
    for problem in problems:
        for kind in asking.config.kinds:
            count = asking.count(problem, kind)
            missing = [i for i in range(count) if (problem.id, kind, i) not in done]
            tally.rows_before += count - len(missing)
            for start in range(0, len(missing), size):
                if tally.stopped_by is not None:
                    return
                yield Job(problem, kind, tuple(missing[start : start + size]))


@dataclass(slots=True)
class Tally:
    """The failure budget: counts rows and says when it is used up.

    Going on after many failures still buys good rows, so the verdict falls at the end. It falls early only where going
    on looks hopeless: the budget is certainly used up (or the number of rows unknown), most rows of this sampling have
    failed, and they are at least `HOPELESS_ROWS` of `HOPELESS_PROBLEMS` problems.
    """

    max_failed_frac: float
    planned: int | None
    """Rows in all; `None`: unknown."""
    failed_before: int = 0
    """Failed rows of an earlier sampling that are kept."""
    rows_before: int = 0
    rows: int = 0
    failed: int = 0
    stopped_by: PotstillError | None = None
    last_reason: str = ""
    _problems: set[str] = field(default_factory=set)

    def count(self, rationale: Rationale) -> None:
        """Count one row; sets `stopped_by` when going on is hopeless."""
        self.rows += 1
        if rationale.finish not in FAILURES:
            return
        self.failed += 1
        self.last_reason = f"{rationale.finish}: {rationale.reason}"
        if len(self._problems) < HOPELESS_PROBLEMS:
            self._problems.add(rationale.problem_id)
        is_hopeless = (
            2 * self.failed > self.rows
            and self.failed >= HOPELESS_ROWS
            and len(self._problems) >= HOPELESS_PROBLEMS
            and self._failed_of(self.planned or self.rows_before + self.rows)
        )
        if is_hopeless and self.stopped_by is None:
            self.stopped_by = self._error(is_early=True)

    def finish(self) -> None:
        """Raise what stopped the sampling, or `TooManyFailures` if too many rows have failed."""
        if self.stopped_by is not None:
            raise self.stopped_by
        if self._failed_of(self.rows_before + self.rows):
            raise self._error(is_early=False)

    def _failed_of(self, rows: int) -> bool:
        return self.failed + self.failed_before > self.max_failed_frac * rows

    def _error(self, *, is_early: bool) -> TooManyFailures:
        failed, rows = self.failed + self.failed_before, self.rows_before + self.rows
        how = "stopped early: " if is_early else ""
        last = f" (the last one: {shorten(self.last_reason, 120)})" if self.last_reason else ""
        message = (
            f"sample: {how}{failed} of {rows} rows have no text{last}; sample.max_failed_frac allows "
            f"{self.max_failed_frac:.1%}; every row holds its reason: raise the limit, or run again to ask once more "
            "for those that ended in an error, with sample.retry_failed=true also for those refused or empty"
        )
        return TooManyFailures(message)
