"""How far a judge can be believed, by what people said about a random sample of what it judged.

    verifier (rationales, predictions) ┐
    judge of evolved instructions      ├──► claims: right or not ── people: accepted or not ──► precision, recall, …
    judgements/NAME.jsonl: a jury, …   ┘                                                    └──► corrected shares

Only decisions made in the calibration order count: it is a fixed random order of all records, so its beginning is a
random sample; what was reviewed because it looked doubtful is not. Precision: of what a judge calls right, the share
that people accept; recall: of what people accept, the share that it calls right; false alarms: of what people reject,
the share that it calls right. Texts that it could not check, edits and disputes say nothing about either and are
counted.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Mapping
from typing import Any

from potstill.evaluation.correcting import Errors, corrected
from potstill.evaluation.statistics import wilson

WANTED_HALF_WIDTH = 0.05
"""Half of the interval that the advice aims at, as a fraction."""
VERIFIER, EVOLVING = "verifier", "judge of instructions"
RIGHT, UNSURE = ("CORRECT", "PASSED"), ("", "UNVERIFIED", "REFUSED", "UNJUDGED")
"""Statuses by which a judge calls a text right, and those by which it says nothing."""
Group = tuple[str, str, str]
"""Judge, stage, and kind: empty, all kinds."""


def calibration(index: sqlite3.Connection, half_width: float = WANTED_HALF_WIDTH) -> list[dict[str, Any]]:
    """Return a row for each judge, stage and kind that has decisions from the calibration order, and one over kinds.

    Each holds the counts; precision, recall and false alarms with Wilson intervals; how many more records of the
    random order must be reviewed for intervals of +- `half_width`; the share that the judge calls right, corrected.
    """
    groups: dict[Group, Counter[str]] = {}
    for row in index.execute(SAMPLE):
        for kind in dict.fromkeys((row["kind"], "")):
            cells = groups.setdefault((row["judge"], row["stage"], kind), Counter())
            cells[_cell(row["status"], row["review"])] += 1
    kinds = Counter((judge, stage) for judge, stage, kind in groups if kind)
    shown = {group: cells for group, cells in groups.items() if group[2] or kinds[group[:2]] != 1}
    claimed = _claimed(index) if shown else {}
    return [measured(group, cells, half_width, claimed.get(group, (0, 0))) for group, cells in sorted(shown.items())]


ITEM_CLAIMS = f"""
SELECT CASE stage WHEN 'instructions' THEN '{EVOLVING}' ELSE '{VERIFIER}' END AS judge, stage,
  CASE stage WHEN 'instructions' THEN '' ELSE kind END AS kind, status, review, id, job
FROM items WHERE stage IN ('rationales', 'predictions', 'instructions')
"""
OTHER_CLAIMS = """
SELECT c.judge, c.stage, '' AS kind, c.status, i.review, i.id, i.job
FROM claims c CROSS JOIN items i INDEXED BY by_id ON i.id = c.record AND i.stage = c.stage
"""
SAMPLED = """
review != '' AND EXISTS (
  SELECT 1 FROM decisions d INDEXED BY decided WHERE d.record = found.id AND d.stage = found.stage
  AND d.job = found.job AND NOT d.undone AND json_extract(d.row, '$.queue') = 'calibration')
"""
SAMPLE = f"SELECT * FROM ({ITEM_CLAIMS} AND review != '' UNION ALL {OTHER_CLAIMS} WHERE i.review != '') AS found WHERE {SAMPLED}"  # noqa: E501


def skipped(index: sqlite3.Connection, stage: str) -> int:
    """Return how many records of the random order were passed over without a decision, before the last decided one."""
    row = index.execute(
        "SELECT max(items.draw) FROM decisions d CROSS JOIN items INDEXED BY by_id"
        " ON items.id = d.record AND items.stage = d.stage"
        " AND NOT d.undone AND json_extract(d.row, '$.queue') = 'calibration' WHERE items.stage = ?",
        (stage,),
    ).fetchone()
    if row[0] is None:
        return 0
    judged = " AND status != ''" if stage == "problems" else ""  # only what a judge has seen is drawn from
    query = f"SELECT count(*) FROM items WHERE stage = ? AND draw < ? AND review = ''{judged}"
    return int(index.execute(query, (stage, row[0])).fetchone()[0])


def needed(right: int, n: int, half_width: float) -> int:
    """Return how many of a sample are needed in all for a Wilson interval of +- `half_width` at this share."""
    share = right / n if n else 0.5
    low, high = 1, 1_000_000
    while low < high:
        middle = (low + high) // 2
        interval = wilson(share * middle, middle)
        if (interval.high - interval.low) / 2 <= half_width:
            high = middle
        else:
            low = middle + 1
    return low


def errors_of(row: Mapping[str, Any]) -> Errors:
    """Return what the sample says about a judge's errors."""
    names = ("right_accepted", "right_rejected", "not_right_accepted", "not_right_rejected")
    return Errors(*(int(row[name]) for name in names))


def measured(group: Group, counts: Counter[str], half_width: float, claimed: tuple[int, int]) -> dict[str, Any]:
    """Return one row of the calibration.

    Args:
        claimed: Of all records of the group: how many the judge calls right, how many it judged.
    """
    both, false = counts["right_accepted"], counts["right_rejected"]
    missed, neither = counts["not_right_accepted"], counts["not_right_rejected"]
    n = both + false + missed + neither
    row: dict[str, Any] = {
        "judge": group[0], "stage": group[1], "kind": group[2], "n": n, "right_accepted": both,
        "right_rejected": false, "not_right_accepted": missed, "not_right_rejected": neither,
        "left_out": {name: counts[name] for name in ("edited", "disputed", "unchecked") if counts[name]},
    }  # fmt: skip
    for name, part, base in (
        ("precision", both, both + false), ("recall", both, both + missed), ("false_alarms", false, false + neither),
    ):  # fmt: skip
        row[name] = _share(part, base, n, half_width)
    called, judged = claimed
    row["called_right"] = {"value": called / judged if judged else None, "n": judged}
    if judged:
        bounds = wilson(called, judged)
        found = corrected(called / judged, bounds.low, bounds.high, errors_of(row))
        row["corrected"] = None if found is None else found._asdict()
    return row


def _share(part: int, base: int, n: int, half_width: float) -> dict[str, Any]:
    """Return a share with its interval, and how many more reviews of the random order it needs."""
    if not base:
        return {"value": None, "low": None, "high": None, "n": 0, "more": None}
    low, high, _ = wilson(part, base)
    more = round(max(0, needed(part, base, half_width) - base) * n / base)
    return {"value": part / base, "low": low, "high": high, "n": base, "more": more}


def _cell(status: str, review: str) -> str:
    if review in ("edited", "disputed"):
        return review
    if status in UNSURE:
        return "unchecked"
    return f"{'right' if status in RIGHT else 'not_right'}_{review}"


def _claimed(index: sqlite3.Connection) -> dict[Group, tuple[int, int]]:
    """Return, for every group, how many of all its records the judge calls right, and how many it judged."""
    found: dict[Group, tuple[int, int]] = {}
    query = f"SELECT judge, stage, kind, status, count(*) AS n FROM ({ITEM_CLAIMS} UNION ALL {OTHER_CLAIMS}) GROUP BY 1, 2, 3, 4"  # noqa: E501
    for row in index.execute(query):
        if row["status"] in UNSURE:
            continue
        for kind in dict.fromkeys((row["kind"], "")):
            key = (row["judge"], row["stage"], kind)
            called, judged = found.get(key, (0, 0))
            found[key] = (called + (row["status"] in RIGHT) * row["n"], judged + row["n"])
    return found
