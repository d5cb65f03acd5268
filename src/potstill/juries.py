"""What a blind jury is worth: on items whose label people have confirmed or refused, and what follows for its verdicts.

    gold items (accept: true or false) ──jury──► accepted or not ──► sensitivity, specificity, their intervals
    judged edits of a run ──► observed flip rate ──corrected for both──► the share that people would have accepted

Gold comes from a labelled file, which the jury is asked about through the ledger, or from what people decided in a
run with `potstill review`, in the random order of its calibration (docs/review.md).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from potstill.counterfactuals import jurors_of, table_of, task_of
from potstill.errors import DataError
from potstill.evaluation.correcting import Errors, corrected
from potstill.evaluation.statistics import wilson
from potstill.files import read_rows
from potstill.generators.candidates import read_candidates
from potstill.generators.choosing import ACCEPTED
from potstill.generators.evolution import Asked
from potstill.generators.generation import Generation
from potstill.generators.jury import verdict
from potstill.generators.recomputing import Solver
from potstill.generators.targets import COMPUTED, labels_of
from potstill.recipe.whole import Recipe
from potstill.records import Problem
from potstill.review import decisions
from potstill.streams import collect, map_ordered
from potstill.teachers.base import open_budget, open_teacher

REVIEW = "review"
"""Instead of a file: what people decided in the run."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A gold item, and what the jury said of it."""

    is_right: bool
    """Whether people say that the item has the label that is claimed."""
    is_accepted: bool
    """Whether the jury accepts the claim."""


def require_gold(problems: Sequence[Problem]) -> list[tuple[Problem, bool]]:
    """Return labelled problems with what people said of their label.

    Raises:
        DataError: One lacks `accept`, has another value than true and false, or has no label to be judged.
    """
    found = []
    for problem in problems:
        said = problem.meta.get("accept")
        if not isinstance(said, bool) or problem.answer is None or problem.answer_type == COMPUTED:
            message = (
                f"gold item {problem.id}: accept is {said!r}, answer {problem.answer!r} of type {problem.answer_type}; "
                "expected a label, an option or yes or no, and true or false; correct the row"
            )
            raise DataError(message)
        found.append((problem, said))
    return found


def judge_gold(recipe: Recipe, gold: Sequence[tuple[Problem, bool]], *, run: str) -> list[Judged]:
    """Return the jury's verdict on gold items; everything that it says goes through the ledger.

    Raises:
        BudgetError, TeacherError: What was bought is in the ledger; the same call resumes.
    """
    return asyncio.run(_judge_gold(recipe, gold, run))


async def _judge_gold(recipe: Recipe, gold: Sequence[tuple[Problem, bool]], run: str) -> list[Judged]:
    async with _opened(recipe, run) as generation:

        async def judged(item: tuple[Problem, bool]) -> Judged:
            problem, is_right = item
            target = str(problem.answer)
            votes = await generation.cast(problem, target)
            others = [label for label in labels_of(problem) if label != target]
            found = verdict(votes, problem, target, others[0], generation.config.jury, generation.families)
            return Judged(is_right, found.ok)

        return await collect(map_ordered(judged, gold, generation.config.at_once))


@asynccontextmanager
async def _opened(recipe: Recipe, run: str) -> AsyncIterator[Generation]:
    """Open a recipe's jury."""
    from potstill.teachers.ledger import Ledger, default_ledger_path
    from potstill.teachers.reaching import reachable

    async with AsyncExitStack() as stack:
        ledger = stack.enter_context(Ledger(recipe.ledger or default_ledger_path()))
        purse = open_budget(recipe.budget, ledger, run)
        jurors = []
        for one in jurors_of(recipe):
            config, endpoint = await stack.enter_async_context(reachable(one))
            opening = open_teacher(config, ledger=ledger, budget=purse, seed=recipe.seed, endpoint=endpoint, run=run)
            jurors.append(Asked(await stack.enter_async_context(opening), config))
        solver = await stack.enter_async_context(Solver(jurors, table_of(recipe).jury, recipe.sandbox))
        yield Generation(jurors[0], jurors, table_of(recipe), task_of(recipe.problems), solver, recipe.seed)


def reviewed(folder: Path) -> list[Judged]:
    """Return what people decided, in the random order, on items that a run's jury has judged.

    Disputed ones say nothing.
    """
    path = folder / "judgements" / "jury.jsonl"
    claims = {str(row["problem_id"]): row["status"] == "CORRECT" for _, row in read_rows(path)} if path.exists() else {}
    made = decisions.read(folder)
    found = []
    for target, rows in made.of.items():
        drawn = [row for row in rows.values() if row.get("queue") == "calibration"]
        standing = decisions.settle(drawn)
        if target[0] == "problems" and target[2] in claims and standing and standing.state in ("accepted", "rejected"):
            found.append(Judged(standing.state == "accepted", claims[target[2]]))
    return found


def observed(folder: Path) -> tuple[int, int]:
    """Return how many of a run's judged edits its jury accepted as flipped, and how many it judged."""
    judged = [one for one in read_candidates(folder / "candidates.jsonl") if one.jury and one.role == "counterfactual"]
    return sum(one.reason in ACCEPTED for one in judged), len(judged)


def worth(judged: Iterable[Judged], seen: tuple[int, int] | None = None) -> dict[str, Any]:
    """Return sensitivity, specificity and precision of a jury with Wilson intervals, and the corrected flip rate.

    Args:
        seen: Accepted and judged edits of a run; `None`: nothing is corrected.
    """
    counts = Counter((one.is_accepted, one.is_right) for one in judged)
    errors = Errors(counts[True, True], counts[True, False], counts[False, True], counts[False, False])
    row: dict[str, Any] = {
        "n": sum(errors),
        "sensitivity": _share(errors.right_accepted, errors.right_accepted + errors.not_right_accepted),
        "specificity": _share(errors.not_right_rejected, errors.not_right_rejected + errors.right_rejected),
        "precision": _share(errors.right_accepted, errors.right_accepted + errors.right_rejected),
    }
    if seen is not None and seen[1]:
        row["observed"] = _share(*seen)
        bounds = wilson(*seen)
        found = corrected(seen[0] / seen[1], bounds.low, bounds.high, errors)
        row["flipped"] = None if found is None else found._asdict()
    return row


def _share(part: int, whole: int) -> dict[str, Any]:
    bounds = wilson(part, whole) if whole else None
    return {
        "value": round(part / whole, 4) if whole else None,
        "low": None if bounds is None else round(bounds.low, 4),
        "high": None if bounds is None else round(bounds.high, 4),
        "n": whole,
    }
