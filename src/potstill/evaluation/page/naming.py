"""A reader's words and a tone of the style sheet for the names that `scores.json` uses."""

from __future__ import annotations

import re
from collections.abc import Iterable

from potstill.evaluation import tables
from potstill.evaluation.grading import BOUNDS
from potstill.evaluation.page.gathering import Facts
from potstill.evaluation.page.markup import Child, Html, element
from potstill.records import Score

TONES = {
    "untrained": "before", "answer_only": "base", "answer_only_matched": "base", "cot_n1": "low", "cot_n5": "mid",
    "scotd": "cot", "pot": "pot", "mixture": "low", "mixed": "mixed", "teacher": "teacher",
}  # fmt: skip
MAIN_SYSTEMS = {"scotd": ("scotd",), "mixed_distillation": ("mixed", "mixed_distillation")}
MAIN_PATHS = {"mixed_distillation": "vote"}
"""Method -> the path by which its systems are first shown; absent: the greedy one."""
SYSTEMS = {
    "untrained": "before", "answer_only": "answers only", "answer_only_matched": "answers, matched",
    "mixture": "plain mixture", "mixed_distillation": "mixed",
}  # fmt: skip
PATHS = {
    "answer": "answer only", "cot": "chain of thought", "pot": "program", "routed": "own choice",
    "surer": "the surer text", "vote": "vote", "oracle": "either right (bound)", "agreed": "where both agree",
}  # fmt: skip
SHORT_PATHS = {"answer": "answer", "cot": "CoT", "pot": "PoT", "routed": "own choice", "surer": "surer"}
KINDS = {"cot": ("CoT", "chains of thought"), "pot": ("PoT", "programs"), "answer": ("answers", "answers")}
"""Kind -> its short name, and what texts of it are called."""
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
    if found := re.fullmatch(r"cot_n(\d+)", name):
        return f"N = {found[1]}"
    if name in ("scotd", "pot"):
        return f"{'SCoTD' if name == 'scotd' else 'PoT'}, N = {drawn(facts, name)}"
    return SYSTEMS.get(name, name)


def path_words(path: str) -> str:
    """Return a reader's words for a path."""
    return PATHS.get(path, path)


def samples_per_problem(facts: Facts, system: str) -> int | None:
    """Return how many rationales per problem a chain-of-thought system was trained from; `None`: it was not."""
    if found := re.fullmatch(r"cot_n(\d+)", system):
        return int(found[1])
    return drawn(facts, system) if system == "scotd" else None


def drawn(facts: Facts, system: str) -> int:
    """Return how many rationales per problem and kind a system was trained from."""
    arm = ((facts.recipe.get("arms") or {}).get(system) or {}).get("mix") or {}
    wanted = arm.get("n") or (facts.recipe.get("mix") or {}).get("n")
    return int(wanted or (facts.recipe.get("sample") or {}).get("n") or 30)


def votes_of(facts: Facts, system: str) -> int | None:
    """Return over how many sampled paths a system votes, as its recipe says; `None`: it does not say."""
    arm = (facts.recipe.get("arms") or {}).get(system) or {}
    members = (arm.get("ensemble") or {}).values()
    asked = (arm.get("infer") or {}).get("paths") or (facts.recipe.get("infer") or {}).get("paths") or {}
    count = sum(sum(kinds.values()) for kinds in members) or sum(count for count in asked.values() if count > 1)
    return int(count) or None


def tone(facts: Facts, name: str) -> str:
    """Return a system's tone in the style sheet."""
    return "main" if name == main_system(facts) else TONES.get(name, "other")


def main_system(facts: Facts) -> str:
    """Return the system that the run is about: the method's, else the first one compared."""
    names = {row.system for row in facts.scores}
    method = str(facts.recipe.get("method") or "scotd")
    if found := next((name for name in MAIN_SYSTEMS.get(method, (method,)) if name in names), None):
        return found
    return facts.comparisons[0].a if facts.comparisons else next((row.system for row in facts.scores), method)


def main_path(facts: Facts) -> str:
    """Return the path by which the systems of the run's method are first shown."""
    return MAIN_PATHS.get(str(facts.recipe.get("method") or ""), "cot")


def primary_rows(facts: Facts, path: str | None = None) -> list[Score]:
    """Return one row per system, split and metric: of `path` (default: the method's) or else of its first path."""
    wanted = path or main_path(facts)
    best: dict[tuple[str, str, str], Score] = {}
    for row in tables.overall(facts.scores):
        key = (row.system, row.split, row.metric)
        if row.path in BOUNDS or tables.voters(row.metric):
            continue
        if key not in best or (row.path == wanted and best[key].path != wanted):
            best[key] = row
    return list(best.values())


def is_told_by_path(rows: Iterable[Score]) -> bool:
    """Whether a reader must be told the path of each row, since they are not all each system's plain answer."""
    return not {row.path for row in rows} <= {"answer", "cot"}


def split_words(split: str, metric: str = "accuracy") -> str:
    """Return a reader's words for a split and metric."""
    if count := tables.voters(metric):
        return f"{split_words(split)}, vote over {count} paths"
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
