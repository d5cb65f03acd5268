"""Scores as people would have judged them: corrected for the errors that a reviewed sample found in the verifier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from potstill.errors import PotstillError, shorten
from potstill.evaluation import tables
from potstill.evaluation.correcting import corrected
from potstill.records import Score
from potstill.review import decisions
from potstill.review.calibrating import VERIFIER, calibration, errors_of
from potstill.review.indexing import index_once
from potstill.review.store import open_index

SINGLE = ("cot", "pot", "answer")
"""Paths that are one text each, as the sample's texts are; a vote is right more often than a text."""


def read_calibration(folder: Path) -> tuple[list[dict[str, Any]], str]:
    """Return the calibration of every judge that people reviewed a random sample of, and why there is none.

    Nothing is made in a run that nobody has reviewed for it.
    """
    try:
        if not any(row.get("queue") == "calibration" for row in decisions.rows_of(folder)):
            return [], ""
        index_once(folder)
        with closing(open_index(folder)) as index:
            return calibration(index), ""
    except (PotstillError, OSError) as error:
        return [], f"The calibration could not be read: {shorten(error)}"


def corrected_scores(scores: Sequence[Score], rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the accuracy of every single path over all seeds, corrected by the sample of predictions of its kind.

    Where no sample of its kind allows it, the one over all kinds does; where that does not either, there is no row.
    """
    errors = {row["kind"]: errors_of(row) for row in rows if (row["judge"], row["stage"]) == (VERIFIER, "predictions")}
    alone = next(iter(errors.values())) if len(errors) == 1 else None
    found = []
    for row in tables.overall(scores):
        if row.metric != "accuracy" or row.path not in SINGLE or row.value is None or row.low is None:
            continue
        for sample in (errors.get(row.path), errors.get("", alone)):
            got = corrected(row.value, row.low, float(row.high or 0), sample) if sample is not None else None
            if got is not None and sample is not None:
                found.append({"task": row.task, "system": row.system, "split": row.split, "path": row.path,
                              "metric": "accuracy_corrected", "reported": row.value, **got._asdict(),
                              "n_reviewed": sum(sample)})  # fmt: skip
                break
    return found
