"""The section on what people found: how far each judge can be believed, and the scores corrected for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from potstill.evaluation import tables
from potstill.evaluation.page.gathering import Facts
from potstill.evaluation.page.listings import listing
from potstill.evaluation.page.markup import Html, element
from potstill.evaluation.page.naming import KINDS, path_words, section, system_words

MEASURES = ("precision", "recall", "false_alarms")


def believed(
    facts: Facts, rows: Sequence[Mapping[str, Any]], scores: Sequence[Mapping[str, Any]], note: str
) -> Html | None:
    """Return the calibration of every judge and the corrected scores; `None` where nobody reviewed a random sample."""
    if not rows:
        return section("people", "What people found", element("p", note, class_="lead")) if note else None
    said = (
        "People reviewed a random sample without knowing more than the texts. Precision: of what a judge calls right, "
        "the share that people accept. Recall: of what people accept, the share that it calls right. False alarms: of "
        "what people reject, the share that it calls right. Corrected: the share that people would accept of all that "
        "it judged."
    )
    names = ("judge, of what", "reviewed", *(name.replace("_", " ") for name in MEASURES), "called right", "corrected")
    table = listing("Each with its 95 % interval.", names, [_judge_row(row) for row in rows], first_number=1)
    return section("people", "What people found", element("p", said, class_="lead"), table, _scores(facts, scores))


def _judge_row(row: Mapping[str, Any]) -> Html:
    kind = KINDS.get(row["kind"], ("", row["kind"]))[1]
    name = f"{row['judge']}, {row['stage']}{', ' + kind if kind else ''}"
    called = row["called_right"]["value"]
    cells = [_cell(row[measure]) for measure in MEASURES]
    return element(
        "tr",
        element("th", name, scope="row"),
        element("td", f"{row['n']:,}", class_="number"),
        *cells,
        element("td", tables.percent(called), class_="number"),
        _cell(row.get("corrected")),
    )


def _cell(part: Mapping[str, Any] | None) -> Html:
    if part is None or part["value"] is None:
        return element("td", "-", class_="number")
    below = element("small", tables.interval(part["low"], part["high"]), class_="below")
    return element("td", tables.percent(part["value"]), below, class_="number")


def _scores(facts: Facts, scores: Sequence[Mapping[str, Any]]) -> Html | None:
    """Return the corrected scores beside the reported ones."""
    if not scores:
        return element("p", "Too few predictions were reviewed to correct the scores.", class_="soft")
    body = [
        element(
            "tr",
            element("th", f"{system_words(facts, row['system'])}, {path_words(row['path'])}", scope="row"),
            element("td", row["split"]),
            element("td", tables.percent(row["reported"]), class_="number"),
            _cell(row),
            element("td", f"{row['n_reviewed']:,}", class_="number"),
        )
        for row in scores
    ]
    words = (
        "Accuracy in percent, corrected for the verifier's recall and false alarms on the reviewed predictions (Rogan "
        "and Gladen 1978; the interval holds both samples). It assumes that the verifier errs alike on every system."
    )
    return listing(words, ("system, path", "split", "reported", "corrected", "reviewed"), body, first_number=2)
