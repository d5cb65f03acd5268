"""The page of calibration: how far each judge can be trusted, and what to review next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from potstill.evaluation import tables
from potstill.evaluation.page.markup import Html, element, join
from potstill.evaluation.page.naming import KINDS
from potstill.review.calibrating import EVOLVING, VERIFIER
from potstill.review.frame import STAGE_WORDS

SAID = (
    "Accept a text whose reasoning and answer are right (an instruction that is worth asking, a changed problem whose "
    "answer is what it says), reject it otherwise. Precision: of what the judge calls right, the share that people "
    "accept. Recall: of what people accept, the share that it calls right. False alarms: of what people reject, the "
    "share that it calls right. Corrected: the share of all its texts that people would accept, by recall and false "
    "alarms. More: further records of the random order that make the interval as narrow as asked for."
)
COLUMNS = (("precision", "precision"), ("recall", "recall"), ("false_alarms", "false alarms"))


def calibration_page(rows: Sequence[Mapping[str, Any]], skipped: int, stages: Sequence[str], half_width: float) -> Html:
    """Return a row for each judge, stage and kind, and where to go on.

    Args:
        stages: Of which something has been judged.
        half_width: Half of the interval that `more` aims at, as a fraction.
    """
    left = {
        name: sum(row["left_out"].get(name, 0) for row in rows if row["kind"] or row["stage"] not in KINDED)
        for name in ("edited", "disputed", "unchecked")
    }
    out = ", ".join(f"{count} {name}" for name, count in left.items() if count)
    passed = (
        f"{skipped} records of the random order were passed over: the sample is not random until they are decided. "
    )
    return join(
        element("h1", "Calibration"),
        element("p", SAID, class_="lead"),
        _width_form(half_width),
        _table(rows) if rows else element("p", "Nothing of a random sample was decided yet.", class_="soft"),
        element("p", passed if skipped else "", f"Left out: {out}." if out else "", class_="soft"),
        element("h2", "What to review next"),
        element("ul", *_links(stages)),
        element("p", element("a", "as JSON", href=f"/calibration.json?width={100 * half_width:g}")),
    )


KINDED = ("rationales", "predictions")


def judge_words(row: Mapping[str, Any]) -> str:
    """Return who judged what, in a reader's words."""
    kind = KINDS.get(row["kind"], ("", row["kind"]))[1]
    of = STAGE_WORDS[row["stage"]].lower() if row["stage"] in STAGE_WORDS else row["stage"]
    who = f"the {row['judge']}" if row["judge"] in (VERIFIER, EVOLVING) else row["judge"]
    return f"{who}, {of}{', ' + kind if kind else ''}"


def _width_form(half_width: float) -> Html:
    number = element(
        "input", type="number", name="width", value=f"{100 * half_width:g}", min="0.5", max="50", step="0.5"
    )
    label = element("label", "How many more for intervals of ± ", number, " points ")
    return element("form", label, element("button", "Reckon", type="submit"), method="get", class_="decide")


def _table(rows: Sequence[Mapping[str, Any]]) -> Html:
    names = ["", "reviewed", *(part for _, words in COLUMNS for part in (words, "95 % interval", "more"))]
    names += ["called right", "corrected", "95 % interval"]
    head = element(
        "tr", *(element("th", name, scope="col", class_="number" if at else None) for at, name in enumerate(names))
    )
    body = [
        element(
            "tr",
            element("th", judge_words(row), scope="row"),
            element("td", f"{row['n']:,}", class_="number"),
            *(cell for name, _ in COLUMNS for cell in _measure(row[name])),
            *_corrected(row),
        )
        for row in rows
    ]
    table = element("table", element("thead", head), element("tbody", *body))
    return element("div", table, class_="scroll", tabindex=0, role="region", aria_label="Calibration of each judge")


def _measure(part: Mapping[str, Any]) -> list[Html]:
    if part["value"] is None:
        cells = ["-", "", "-"]
    else:
        more = f"{part['more']:,}"
        cells = [f"{tables.percent(part['value'])} %", tables.interval(part["low"], part["high"]), more]
    return [element("td", cell, class_="number") for cell in cells]


def _corrected(row: Mapping[str, Any]) -> list[Html]:
    called, found = row["called_right"]["value"], row.get("corrected")
    cells = [f"{tables.percent(called)} %" if called is not None else "-", "-", ""]
    if found is not None:
        cells[1:] = [f"{tables.percent(found['value'])} %", tables.interval(found["low"], found["high"])]
    return [element("td", cell, class_="number") for cell in cells]


def _links(stages: Sequence[str]) -> list[Html]:
    links = []
    for stage in stages:
        judged = "&judged=1" if stage == "problems" else ""
        words = STAGE_WORDS[stage].lower()
        for order, said in (
            ("next", f"The {words} that are uncertain or disagreed about, first (not for calibration)"),
            ("calibration", f"Go on with the random sample of {words}"),
        ):
            address = f"/?stage={stage}&order={order}&review=none{judged}"
            links.append(element("li", element("a", said, href=address)))
    return links
