"""How far the verifier can be believed, by what people said about a random sample of what it judged.

Only decisions made in the calibration order count: it is a fixed random order of all records, so its beginning is a
random sample; what was reviewed because it looked doubtful is not. A person accepts a text whose reasoning and answer
are right. Precision: of what the verifier calls right, the share that people accept; recall: of what people accept, the
share that it calls right. Texts that it could not check, edits and disputes say nothing about either and are counted.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from typing import Any

from potstill.evaluation.statistics import wilson

WANTED_HALF_WIDTH = 0.05
"""Half of the interval that the advice aims at, as a fraction."""


def calibration(index: sqlite3.Connection, half_width: float = WANTED_HALF_WIDTH) -> list[dict[str, Any]]:
    """Return a row for each stage and kind that has decisions from the calibration order, and one row over them all.

    Each holds the counts, precision and recall with Wilson intervals, and how many more records of the random order
    must be reviewed for intervals of +- `half_width`.
    """
    groups: dict[tuple[str, str], Counter[str]] = {}
    for row in index.execute(SAMPLE):
        for key in ((row["stage"], row["kind"]), (row["stage"], "")):
            groups.setdefault(key, Counter())[_cell(row["status"], row["review"])] += 1
    found = [_measured(stage, kind, counts, half_width) for (stage, kind), counts in sorted(groups.items())]
    return [row for row in found if row["kind"] or sum(other["stage"] == row["stage"] for other in found) > 2]


SAMPLE = """
SELECT items.stage, items.kind, items.status, items.review FROM items
WHERE items.review != '' AND items.stage IN ('rationales', 'predictions') AND EXISTS (
  SELECT 1 FROM decisions d WHERE d.record = items.id AND d.stage = items.stage AND d.job = items.job AND NOT d.undone
  AND json_extract(d.row, '$.queue') = 'calibration')
"""


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
    query = "SELECT count(*) FROM items WHERE stage = ? AND draw < ? AND review = ''"
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


def _cell(status: str, review: str) -> str:
    if review in ("edited", "disputed"):
        return review
    if status in ("", "UNVERIFIED"):
        return "unchecked"
    return f"{'right' if status == 'CORRECT' else 'not_right'}_{review}"


def _measured(stage: str, kind: str, counts: Counter[str], half_width: float) -> dict[str, Any]:
    both, false = counts["right_accepted"], counts["right_rejected"]
    missed, neither = counts["not_right_accepted"], counts["not_right_rejected"]
    n = both + false + missed + neither
    row: dict[str, Any] = {
        "stage": stage, "kind": kind, "n": n, "right_accepted": both, "right_rejected": false,
        "not_right_accepted": missed, "not_right_rejected": neither,
        "left_out": {name: counts[name] for name in ("edited", "disputed", "unchecked") if counts[name]},
    }  # fmt: skip
    for name, base in (("precision", both + false), ("recall", both + missed)):
        more = max(0, needed(both, base, half_width) - base)
        interval = wilson(both, base) if base else None
        row[name] = {
            "value": both / base if base else None, "low": interval.low if interval else None,
            "high": interval.high if interval else None, "n": base,
            "more": round(more * n / base) if base and n else None,
        }  # fmt: skip
    return row
