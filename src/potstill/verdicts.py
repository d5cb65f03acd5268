"""Verdicts on disk: verify a file of rationales into a file of verdicts, and read the two joined.

Verdicts live apart from the texts that they judge, so verifying again never touches a sampled text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from potstill.engines import running
from potstill.errors import DataError
from potstill.files import read_rows
from potstill.recipe.whole import Recipe
from potstill.records import Problem, Rationale, Verdict
from potstill.review import decisions
from potstill.run import Run

SUPPORT = "support.jsonl"
"""What readers said of masked rationales (`filter.support`)."""
BATCH = 4096
"""Verdicts written at once: what a kill can make us verify again."""


def verify_file(run: Run, recipe: Recipe, name: str, out: str, problems: Mapping[str, Problem]) -> dict[str, int]:
    """Verify the rationales of one file that have no verdict yet; return the counts by status."""
    from potstill.rationales.verification import verify

    known = {v.rationale_id for v in run.read(out, Verdict)}
    open_rows = (r for r in run.read(name, Rationale) if r.id not in known)
    batch: list[Verdict] = []
    with run.appender(out) as appender:
        engine = running()
        check = verify if engine is None else engine.verify
        for rationale in check(open_rows, problems, recipe.verify, sandbox=recipe.sandbox):
            assert rationale.verdict is not None, "verify() sets a verdict on every rationale"
            batch.append(rationale.verdict)
            if len(batch) >= BATCH:
                appender.append(batch)
                batch = []
        appender.append(batch)
    return dict(Counter(v.status.value for v in run.read(out, Verdict)).most_common())


def read_pool(run: Run, problems: Mapping[str, Problem], rounds: int) -> list[Rationale]:
    """Return all rationales with verdicts and problems joined on: the first sampling's, then those of each round."""
    rows = read_verified(run, problems)
    for number in range(1, rounds + 1):
        found = read_verified(run, problems, f"rationales.round{number}.jsonl", f"verdicts.round{number}.jsonl")
        rows += [replace(row, meta={**row.meta, "round": number}) for row in found]
    return rows


def read_verified(
    run: Run, problems: Mapping[str, Problem], name: str = "rationales.jsonl", verdicts: str = "verdicts.jsonl"
) -> list[Rationale]:
    """Return rationales with their verdicts and problems joined on."""
    found = {v.rationale_id: v for v in run.read(verdicts, Verdict)}
    readings = read_readings(run) if name.startswith("rationales") else {}
    decided = decisions.read(run.folder).standings() if name.startswith("rationales") else {}
    rows = []
    for rationale in run.read(name, Rationale):
        if rationale.problem_id not in problems:
            message = f"{run.path(name)} ({rationale.id}): problem_id {rationale.problem_id!r} is not in problems.jsonl"
            raise DataError(message)
        target = ("rationales", decisions.job_of(name), rationale.id)
        whole = ("problems", "", rationale.problem_id)
        meta = decisions.joined(rationale.meta, decided.get(target), decided.get(whole))
        if rationale.id in readings:
            meta = {**meta, "support": readings[rationale.id]}
        problem = problems[rationale.problem_id]
        rows.append(replace(rationale, verdict=found.get(rationale.id), problem=problem, meta=meta))
    return rows


def read_readings(run: Run) -> dict[str, dict[str, Any]]:
    """Return rationale id -> what a reader of its masked text said; empty where nobody was asked."""
    path = run.path(SUPPORT)
    return {str(row["rationale_id"]): row for _, row in read_rows(path)} if path.exists() else {}
