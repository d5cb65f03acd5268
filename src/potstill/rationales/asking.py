"""What a sampling asks for: the calls that are to be made, and when failures have used up their budget.

Pure but for the template and demonstration files that `load_asking` reads; `potstill.rationales.sampling` runs it.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from potstill.errors import PotstillError, TooManyFailures, shorten
from potstill.rationales.dividing import Division
from potstill.rationales.prompts import (
    Attempt,
    Attempts,
    Demonstration,
    Template,
    build_request,
    load_demonstrations,
    load_template,
)
from potstill.rationales.resuming import Key
from potstill.rationales.ways import parse_way
from potstill.recipe.teachers import SampleConfig, TeacherConfig
from potstill.records import Problem, Rationale
from potstill.teachers.base import FAILURES, Request

HOPELESS_ROWS, HOPELESS_PROBLEMS = 100, 20
"""Sampling stops early only after so many failed rows, of so many problems; see `Tally`."""


Addressed = tuple[TeacherConfig, str | None]
"""A teacher and its name in the ledger's keys, where its address changes from run to run."""


@dataclass(frozen=True, slots=True)
class Slot:
    """One sample that a teacher writes."""

    index: int
    """Its place among all samples of the problem and kind, whoever writes them."""
    draw: int
    """Its place among this teacher's own: what it is asked for, and kept under in the ledger."""


@dataclass(frozen=True, slots=True)
class Asking:
    """What every request of one sampling has in common."""

    teacher_config: TeacherConfig
    config: SampleConfig
    template: Template
    """Of kinds without views."""
    demonstrations: tuple[Demonstration, ...]
    seed: int
    recorded: Callable[[str, str], int] | None = None
    """With recorded rationales: how many there are for (problem id, kind)."""
    counts: Mapping[tuple[str, str], int] | None = None
    """(problem id, kind) -> how many, where a plan says otherwise than n."""
    share: Callable[[str, str, int], Sequence[int]] | None = None
    """Of several teachers: (problem id, kind, how many in all) -> the indices that this one writes."""
    attempts: Attempts | None = None
    """(problem id, kind) -> a wrong attempt that is to be corrected; only these are asked for."""
    view_template: Template | None = None
    """Of chains of thought of a view."""

    def slots(self, problem: Problem, kind: str) -> list[Slot]:
        """Return the samples of a problem that this teacher writes; of recorded ones as many as there are.

        Args:
            kind: A way: a kind, or a kind and its view. One that tells the answer needs a problem that has one.
        """
        if parse_way(kind).is_given and problem.answer is None:
            return []
        if self.attempts is not None and (problem.id, kind) not in self.attempts:
            return []
        count = self.config.n if self.counts is None else self.counts.get((problem.id, kind), self.config.n)
        mine = range(count) if self.share is None else self.share(problem.id, kind, count)
        found = [Slot(index, draw) for draw, index in enumerate(mine)]
        return found if self.recorded is None else found[: self.recorded(problem.id, kind)]

    def attempt(self, problem_id: str, kind: str) -> Attempt | None:
        """Return the wrong attempt that is to be corrected; `None`: the problem is simply asked."""
        return None if self.attempts is None else self.attempts[problem_id, kind]

    def total(self, problems: Iterable[Problem]) -> int:
        """Return how many rationales of all problems this teacher writes."""
        return sum(len(self.slots(problem, kind)) for problem in problems for kind in self.config.ways)

    def request(self, problem: Problem, kind: str) -> Request:
        """Return the request for one problem; for recorded rationales only what identifies them."""
        if self.teacher_config.replay is not None:
            return Request(model=self.teacher_config.model, problem_id=problem.id, kind=kind)
        has_view = parse_way(kind).view is not None
        return build_request(
            problem, kind, self.teacher_config, self.config, () if has_view else self.demonstrations, seed=self.seed,
            template=self.view_template if has_view else self.template, attempt=self.attempt(problem.id, kind),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Job:
    """One call of the teacher."""

    problem: Problem
    kind: str
    slots: tuple[Slot, ...]

    @property
    def indices(self) -> tuple[int, ...]:
        """The places of its samples among all of the problem and kind."""
        return tuple(slot.index for slot in self.slots)

    @property
    def draws(self) -> tuple[int, ...]:
        """Which of its completions the teacher is asked for."""
        return tuple(slot.draw for slot in self.slots)


def load_asking(teacher_config: TeacherConfig, config: SampleConfig, *, seed: int = 0) -> Asking:
    """Read the template and the demonstrations that a configuration names.

    Raises:
        ConfigError: The template is wrong or lacks a section for one of `config.kinds`.
        DataError: The demonstrations cannot be read.
    """
    template = load_template(config.template)
    view_template = load_template(config.view_template) if config.views else None
    for way in config.ways if teacher_config.replay is None else ():
        (template if view_template is None or parse_way(way).view is None else view_template).section(way)
    demonstrations = load_demonstrations(config.demonstrations) if config.demonstrations is not None else []
    return Asking(teacher_config, config, template, tuple(demonstrations), seed, view_template=view_template)


def askings(
    problems: Iterable[Problem],
    teachers: Sequence[Addressed],
    config: SampleConfig,
    *,
    seed: int = 0,
    counts: Mapping[tuple[str, str], int] | None = None,
    attempts: Attempts | None = None,
) -> list[tuple[Asking, str | None]]:
    """Return what each teacher is asked, with its name in keys; of several, those whose weight is above 0.

    Raises:
        ConfigError, DataError: As `load_asking` says.
    """
    found = [
        (replace(load_asking(one, config, seed=seed), counts=counts, attempts=attempts), endpoint)
        for one, endpoint in teachers
    ]
    if len(found) == 1:
        return found
    division = Division(problems, [one.weight for one, _ in teachers], seed=seed)
    shares = [partial(division.indices, number) for number in range(len(found))]
    return [
        (replace(asking, share=share), endpoint)
        for (asking, endpoint), share in zip(found, shares, strict=True)
        if asking.teacher_config.weight > 0
    ]


def jobs(problems: Iterable[Problem], asking: Asking, done: Container[Key], tally: Tally) -> Iterator[Job]:
    """Yield the calls that are to be made, `teacher.n` missing samples at a time, until the tally says stop."""
    size = asking.teacher_config.n
    for problem in problems:
        for kind in asking.config.ways:
            slots = asking.slots(problem, kind)
            missing = [slot for slot in slots if (problem.id, kind, slot.index) not in done]
            tally.rows_before += len(slots) - len(missing)
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
