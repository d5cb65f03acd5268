"""Verify an edited rationale as the run verifies what its teacher wrote."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

from potstill.evaluation.page.gathering import read_recipe
from potstill.rationales.verification import verify
from potstill.recipe.rationales import SandboxConfig, VerifyConfig
from potstill.records import problem_from, rationale_from
from potstill.review import queries
from potstill.review.listing import question_of
from potstill.review.store import Row


def verdict_on(folder: Path, index: sqlite3.Connection, row: Row, text: str) -> dict[str, Any]:
    """Return status and answer of an edited text, by the run's own `verify` and `sandbox`; may start a process."""
    problem = queries.problem_item(index, row["problem"])
    asked = question_of(folder, problem)
    rationale = replace(rationale_from(queries.text_of(folder, row)), text=text, finish="stop")
    recipe = read_recipe(folder)
    config, sandbox = VerifyConfig(**(recipe.get("verify") or {})), SandboxConfig(**(recipe.get("sandbox") or {}))
    problems = {row["problem"]: problem_from(asked)} if asked else {}
    (checked,) = verify([rationale], problems, config, sandbox=sandbox)
    assert checked.verdict is not None, "verify() sets a verdict on every rationale"
    return {"status": checked.verdict.status.value, "answer": checked.verdict.answer}
