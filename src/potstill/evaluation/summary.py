"""A run in numbers, as plain data: what `potstill report --json` prints and the Markdown twin is written from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from potstill.evaluation import tables
from potstill.evaluation.believed import corrected_scores, read_calibration
from potstill.evaluation.page.failures import Failures, failures_of
from potstill.evaluation.page.gathering import Facts, Funnel
from potstill.evaluation.page.naming import main_system
from potstill.evaluation.page.redaction import public
from potstill.evaluation.page.sections import command_lines, cost_rows
from potstill.records import to_dict


def summary_of(facts: Facts, title: str) -> dict[str, Any]:
    """Return what a run's report says, without its texts; scores over all seeds."""
    calibrated, note = read_calibration(facts.folder)
    return {
        "title": title,
        "run": facts.folder.resolve().name,
        "main_system": main_system(facts),
        "method": str(facts.recipe.get("method") or ""),
        "began": facts.manifest.get("created"),
        "revision": facts.manifest.get("git"),
        "note": tables.MINIATURE_NOTE if facts.is_miniature else "",
        "problems": dict(facts.splits),
        "funnel": _funnel(facts.funnel),
        "examples": facts.funnel.trained,
        "scores": [to_dict(row) for row in tables.overall(facts.scores)],
        "comparisons": [to_dict(pair) for pair in facts.comparisons],
        "calibration": calibrated,
        "calibration_note": note,
        "corrected": corrected_scores(facts.scores, calibrated),
        "failures": _failures(failures_of(facts)),
        "cost": dict(cost_rows(facts)),
        "repeat": command_lines(facts),
        "recipe": public(facts.recipe),
    }


def _funnel(funnel: Funnel) -> dict[str, Any]:
    return {
        kind: {"sampled": flow.sampled, "verdicts": dict(flow.statuses), "dropped": dict(flow.dropped),
               "kept": flow.kept if funnel.has_drops else None}
        for kind, flow in funnel.kinds.items()
    }  # fmt: skip


def _failures(found: Mapping[str, Failures]) -> list[dict[str, Any]]:
    return [
        {"system": name, "status": status, "reason": reason, "count": count, "of": failures.total}
        for name, failures in found.items()
        for (status, reason), count in failures.reasons.most_common()
    ]
