"""What went wrong, by reason: how often for each system, and an example of each reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from potstill.evaluation import tables
from potstill.evaluation.page.excerpts import case_view
from potstill.evaluation.page.gathering import Facts, Text, case_of, rows_of, verdicts_of, written
from potstill.evaluation.page.listings import listing
from potstill.evaluation.page.markup import Html, element
from potstill.evaluation.page.naming import STATUSES, main_system, section, share, system_words
from potstill.evaluation.page.predictions import is_greedy, jobs_of
from potstill.records import child_seed

MOST_SYSTEMS = 8
MOST_REASONS = 12
MOST_EXAMPLES = 4
PLAIN = ("", "exact", "demands")
"""Reasons that say no more than their status does."""
Reason = tuple[str, str]
"""Status and reason of a verdict."""


@dataclass(slots=True)
class Failures:
    """The greedy predictions of one system (first seed, all evaluated splits) that are not right."""

    total: int = 0
    """All greedy predictions that have a verdict."""
    reasons: Counter[Reason] = field(default_factory=Counter)
    examples: dict[Reason, tuple[str, Text]] = field(default_factory=dict)
    """Problem id and text of one of each, which a hash of the problem's id chooses."""


def failures_of(facts: Facts) -> dict[str, Failures]:
    """Return system -> what went wrong with its greedy predictions, for the systems that are in the scores."""
    systems = tables.in_order(row.system for row in facts.scores)
    found = {name: _read(facts, jobs[0]) for name in systems if (jobs := jobs_of(facts.folder, name))}
    return {name: failures for name, failures in found.items() if failures.total}


def reason_words(reason: Reason) -> str:
    """Return a status with its reason in a reader's words."""
    words = {status: said for status, _, said in STATUSES}.get(reason[0], reason[0])
    return words if reason[1] in PLAIN else f"{words}: {reason[1].replace('_', ' ')}"


def failures_section(facts: Facts, most: int) -> Html | None:
    """Return the table of failures by reason, and examples of the main system's.

    Args:
        most: Examples to show.
    """
    found = failures_of(facts)
    if not any(failures.reasons for failures in found.values()):
        return None
    shown = dict(list(found.items())[:MOST_SYSTEMS])
    said = "Greedy predictions that are not right, first seed, all evaluated splits; shares are of all of them."
    left = f" {len(found) - len(shown)} more systems are in scores.json." if len(found) > len(shown) else ""
    names = ("", *(system_words(facts, name) for name in shown))
    table = listing(said + left, names, reason_rows(list(shown.values())), first_number=1)
    return section("failures", "Failures by reason", table, *_examples(facts, found.get(main_system(facts)), most))


def failure_examples(facts: Facts, most: int) -> list[Html]:
    """Return an example of each of the most frequent reasons why the main system's predictions are not right."""
    jobs = jobs_of(facts.folder, main_system(facts))
    return _examples(facts, _read(facts, jobs[0]), most) if jobs else []


def reason_rows(columns: Sequence[Failures]) -> list[Html]:
    """Return a row for each reason, the most frequent first, with a count and share for each column."""
    every = sum((failures.reasons for failures in columns), Counter[Reason]())
    rows = [
        element(
            "tr",
            element("th", reason_words(reason), scope="row"),
            *(_cell(failures.reasons[reason], failures.total) for failures in columns),
        )
        for reason, _ in every.most_common(MOST_REASONS)
    ]
    title = element("th", "all greedy predictions", scope="row")
    totals = (element("td", f"{failures.total:,}", class_="number") for failures in columns)
    return [*rows, element("tr", title, *totals)]


def _cell(count: int, total: int) -> Html:
    below = element("small", share(count, total), class_="below") if count else None
    return element("td", f"{count:,}" if count else "-", below, class_="number")


def _examples(facts: Facts, failures: Failures | None, most: int) -> list[Html]:
    if failures is None:
        return []
    reasons = [reason for reason, _ in failures.reasons.most_common(min(most, MOST_EXAMPLES))]
    wanted = {failures.examples[reason][0] for reason in reasons}
    asked = {row["id"]: row for row in rows_of(facts.folder / "problems.jsonl") if row.get("id") in wanted}
    views = []
    for reason in reasons:
        pid, text = failures.examples[reason]
        if pid in asked:
            heading = f"{reason_words(reason)[:1].upper()}{reason_words(reason)[1:]}"
            views.append(case_view(case_of(asked[pid], [text]), heading, (system_words(facts, main_system(facts)),)))
    return views


def _read(facts: Facts, job: str) -> Failures:
    verdicts: Mapping[str, tuple[str, str | None, str]] = verdicts_of(facts.folder, f"verdicts/{job}.jsonl")
    found = Failures()
    least: dict[Reason, int] = {}
    for row in rows_of(facts.folder / "predictions" / f"{job}.jsonl"):
        verdict = verdicts.get(str(row.get("id")))
        if verdict is None or not is_greedy(row):
            continue
        found.total += 1
        if verdict[0] == "CORRECT":
            continue
        reason = (verdict[0], verdict[2])
        found.reasons[reason] += 1
        drawn = child_seed("failure", row.get("problem_id"))
        if drawn < least.get(reason, drawn + 1):
            least[reason] = drawn
            found.examples[reason] = (str(row.get("problem_id")), written(row, verdicts))
    return found
