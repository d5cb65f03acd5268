"""A reader's words and a tone of the style sheet for the names that `scores.json` uses."""

from __future__ import annotations

import re

from potstill.evaluation import tables
from potstill.evaluation.page.gathering import Facts
from potstill.evaluation.page.markup import Child, Html, element
from potstill.records import Score

TONES = {"untrained": "before", "answer_only": "base", "cot_n1": "low", "cot_n5": "mid", "teacher": "teacher"}
STATUSES = (
    ("CORRECT", "right", "right answer"),
    ("WRONG", "wrong", "wrong answer"),
    ("NO_ANSWER", "none", "no answer found"),
    ("PROGRAM_FAILED", "failed", "program failed"),
    ("UNVERIFIED", "unchecked", "not checked"),
)
"""Status -> tone and words, in the order in which they are drawn."""


def system_words(facts: Facts, name: str) -> str:
    """Return a reader's words for a system."""
    known = {"untrained": "before", "answer_only": "answers only", "teacher": "teacher"}
    if name in known:
        return known[name]
    if found := re.fullmatch(r"cot_n(\d+)", name):
        return f"N = {found[1]}"
    if name == "scotd":
        return f"SCoTD, N = {samples_per_problem(facts, name)}"
    return name


def samples_per_problem(facts: Facts, system: str) -> int | None:
    """Return how many rationales per problem a chain-of-thought system was trained from; `None`: it was not."""
    if found := re.fullmatch(r"cot_n(\d+)", system):
        return int(found[1])
    if system != "scotd":
        return None
    arm = ((facts.recipe.get("arms") or {}).get(system) or {}).get("mix") or {}
    drawn = arm.get("n") or (facts.recipe.get("mix") or {}).get("n")
    return int(drawn or (facts.recipe.get("sample") or {}).get("n") or 30)


def tone(facts: Facts, name: str) -> str:
    """Return a system's tone in the style sheet."""
    return "main" if name == main_system(facts) else TONES.get(name, "other")


def main_system(facts: Facts) -> str:
    """Return the system that the run is about: the method's, else the first one compared."""
    names = {row.system for row in facts.scores}
    method = str(facts.recipe.get("method") or "scotd")
    if method in names:
        return method
    return facts.comparisons[0].a if facts.comparisons else next((row.system for row in facts.scores), method)


def primary_rows(facts: Facts) -> list[Score]:
    """Return one row per system, split and metric: of the path that the system is asked by first."""
    best: dict[tuple[str, str, str], Score] = {}
    for row in tables.overall(facts.scores):
        key = (row.system, row.split, row.metric)
        if key not in best or (best[key].path == "vote" and row.path != "vote"):
            best[key] = row
    return list(best.values())


def split_words(split: str, metric: str = "accuracy") -> str:
    """Return a reader's words for a split and metric."""
    if metric != "accuracy":
        return metric.replace("_", " ").capitalize()
    known = {"test": "Test", "ood": "Out of distribution", "contrast": "Contrast edits"}
    return known.get(split, split)


def system_of(job: str) -> str:
    """Return the system that a job (a system with one training seed) belongs to."""
    return re.sub(r"\.seed\d+$", "", job)


def minus(number: str) -> str:
    """Return a number with a typographic minus sign."""
    return number.replace("-", "−")


def share(count: int, total: int) -> str:
    """Return a part of a whole in percent."""
    return f"{100 * count / total:.1f} %" if total else "-"


def section(name: str, title: str, *children: Child) -> Html:
    """Return a section with its heading and an anchor."""
    return element("section", element("h2", title), *children, id=name)
