"""Blind comparison of two sources of rationales: which of two texts for one problem is better, by people who do not
know whose they are.

A comparison is one line of `review.jsonl` (its sources, seed, number of pairs), a judgement another one. Pairs are
drawn by seed; which text stands first is drawn for each pair and rater, so a habit of choosing the first falls on both
sources alike. Not done here: no rater is told the gold answer or a verdict.

Source: Li et al. 2023 (SCoTD), arXiv:2306.14050, human evaluation: head-to-head pairs of chains of thought, a random
    sample, and the pairs in which both final answers are correct; p against equal preference.
Differs: the paper names neither raters per pair, nor its question, nor its test; ours are any number of raters, the
    question in `QUESTION`, "no difference" as a third choice, and the exact sign test over pairs.
"""

from __future__ import annotations

import math
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from potstill.errors import ConfigError
from potstill.evaluation.statistics import bootstrap, mcnemar, wilson
from potstill.generators import calibration
from potstill.records import KINDS, child_seed, content_id
from potstill.review.agreement import nominal_alpha

QUESTION = "Which text reasons better about the problem?"
QUESTIONS = {"idea_mcts": "Which text fulfils the request better?"}
"""Method -> what is asked about its texts, where they are no rationales."""
CHOICES = ("first", "second", "same")
WORTH = {"a": 1.0, "b": 0.0, "same": 0.5}


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two sources and which of their pairs are judged."""

    a: str
    """A system with predictions (`scotd.seed0`), or an author of the teacher's rationales; then, if wanted, `:pot`."""
    b: str
    only_right: bool = False
    """Only pairs whose answers are both right."""
    n: int = 300
    """Pairs; SCoTD: 300 of each data set."""
    seed: int = 0

    @property
    def key(self) -> str:
        """The comparison's name in addresses, which tells a rater nothing."""
        return content_id("compare", self.a, self.b, self.only_right, self.n, self.seed).removeprefix("sha256:")

    def row(self) -> dict[str, Any]:
        """Return what `review.jsonl` says of it."""
        return {
            "action": "compare", "comparison": self.key, "a": self.a, "b": self.b, "only_right": self.only_right,
            "n": self.n, "seed": self.seed,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Pair:
    """A problem with a text of each source, as rows of the index."""

    problem: str
    source: str
    """The task that the problem is from."""
    a: int
    b: int


def comparison_of(row: Mapping[str, Any]) -> Comparison:
    """Return the comparison that a line of `review.jsonl` began."""
    return Comparison(
        a=str(row["a"]), b=str(row["b"]), only_right=bool(row.get("only_right")), n=int(row["n"]), seed=int(row["seed"])
    )


def sources(index: sqlite3.Connection) -> list[str]:
    """Return what can be compared: every system with predictions, every author of the teacher's rationales."""
    rows = index.execute(
        "SELECT DISTINCT value FROM facets WHERE (stage = 'predictions' AND name = 'job')"
        " OR (stage = 'rationales' AND name = 'author') ORDER BY value"
    )
    return [row[0] for row in rows]


def pairs_of(index: sqlite3.Connection, comparison: Comparison) -> list[Pair]:
    """Return the pairs in the order in which they are judged, the same for every rater.

    Raises:
        ConfigError: A source is not known, or no problem has a text of both.
    """
    first = _texts(index, comparison, comparison.a)
    second = _texts(index, comparison, comparison.b)
    shared = [problem for problem in first if problem in second]
    if not shared:
        right = " whose answers are both right" if comparison.only_right else ""
        message = (
            f"compare: {comparison.a!r} ({len(first)} problems) and {comparison.b!r} ({len(second)}) share no "
            f"problem{right}; compare systems that were asked the same split"
        )
        raise ConfigError(message)
    shared.sort(key=lambda problem: child_seed(comparison.seed, "pair", problem))
    return [
        Pair(problem, first[problem]["source"], first[problem]["n"], second[problem]["n"])
        for problem in shared[: comparison.n]
    ]


def a_is_first(comparison: Comparison, problem: str, rater: str) -> bool:
    """Whether the text of `a` stands first for a rater."""
    return child_seed(comparison.seed, "side", problem, rater) % 2 == 0


def judgement(comparison: Comparison, pair: Pair, rater: str, choice: str) -> dict[str, Any]:
    """Return the line of `review.jsonl` that says what a rater chose."""
    first = a_is_first(comparison, pair.problem, rater)
    preferred = "same" if choice == "same" else "a" if (choice == "first") == first else "b"
    return {
        "action": "prefer", "by": rater, "comparison": comparison.key, "problem": pair.problem, "source": pair.source,
        "preferred": preferred, "first": "a" if first else "b",
    }  # fmt: skip


def standing(rows: Iterable[Mapping[str, Any]], key: str) -> dict[tuple[str, str], Mapping[str, Any]]:
    """Return (problem, rater) -> the last judgement that was not undone."""
    made: dict[str, Mapping[str, Any]] = {}
    for row in rows:
        if row["action"] == "prefer" and row.get("comparison") == key and row.get("preferred") in WORTH:
            made[str(row["id"])] = row
        elif row["action"] == "undo":
            made.pop(str(row.get("undoes")), None)
    return {(str(row["problem"]), str(row["by"])): row for row in made.values()}


def outcome(comparison: Comparison, rows: Iterable[Mapping[str, Any]], n_pairs: int) -> dict[str, Any]:
    """Return what the judgements say so far: preference for `a` with interval and test, agreement, raters, sides.

    The unit is the pair: a pair's mark is the mean of its raters (a = 1, no difference = 1/2, b = 0). The rate is the
    mean over pairs; the sign test counts the pairs that lean to either side. Models that judged the same pairs are no
    raters: they stand under `judges`, each with its own rate and its agreement with the people.
    """
    found = list(standing(rows, comparison.key).values())
    people = [row for row in found if not row.get("machine")]
    by_pair = _by_pair(people)
    alpha, n_agreed = nominal_alpha(by_pair.values())
    tasks = {str(row["problem"]): str(row.get("source") or "") for row in people}
    result: dict[str, Any] = {
        **comparison.row(), "pairs": n_pairs, "judgements": len(people), **_preference(list(by_pair.values())),
        "raters": {name: _counts(people, name) for name in sorted({str(row["by"]) for row in people})},
        "alpha": alpha, "alpha_pairs": n_agreed, "first_chosen": _first_chosen(people),
        "tasks": {
            task: _preference([marks for pair, marks in by_pair.items() if tasks[pair] == task])
            for task in sorted({*tasks.values()})
        },
        "judges": {
            name: _judge(name, [row for row in found if row.get("machine") and row["by"] == name], by_pair)
            for name in sorted({str(row["by"]) for row in found if row.get("machine")})
        },
    }  # fmt: skip
    result.pop("action")
    return result


def _judge(name: str, rows: Sequence[Mapping[str, Any]], people: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Return what a model that judged the pairs said, how far people agree with it, and how the order moved it.

    Agreement is the share of the pairs that both judged on which the model says what most people say; kappa is the
    same beyond chance. Both with intervals over pairs.
    """
    own = {str(row["problem"]): str(row["preferred"]) for row in rows}
    pairs = [
        calibration.Pair(
            group=problem, kinds=("a", "b"), scores=(WORTH[own[problem]], 1 - WORTH[own[problem]]),
            label=_leaning(marks),
        )
        for problem, marks in people.items()
        if problem in own
    ]  # fmt: skip
    orders = [row["orders"] for row in rows if isinstance(row.get("orders"), list)]
    agreed = calibration.agreement(pairs)
    return {
        **_preference([[mark] for mark in own.values()]), "counts": _counts(rows, name),
        "changed_by_swap": sum(a == b and a != "same" for a, b in orders) / len(orders) if orders else None,
        **{key: {"value": one.value, "low": one.low, "high": one.high, "n": one.n} for key, one in agreed.items()},
    }  # fmt: skip


def _leaning(marks: Sequence[str]) -> int:
    """Return what most raters of a pair say: 1 for `a`, -1 for `b`, 0 neither."""
    lean = sum(WORTH[mark] - 0.5 for mark in marks)
    return (lean > 0) - (lean < 0)


def _by_pair(rows: Iterable[Mapping[str, Any]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        found[str(row["problem"])].append(str(row["preferred"]))
    return found


def _counts(rows: Iterable[Mapping[str, Any]], name: str) -> dict[str, int]:
    return dict(Counter(str(row["preferred"]) for row in rows if row["by"] == name))


def _first_chosen(rows: Iterable[Mapping[str, Any]]) -> float | None:
    """Return how often the text that stood first was chosen, of the choices made."""
    chosen = [row for row in rows if row["preferred"] != "same"]
    return sum(row["preferred"] == row["first"] for row in chosen) / len(chosen) if chosen else None


def _preference(by_pair: Sequence[Sequence[str]]) -> dict[str, Any]:
    """Return the share of pairs in which `a` is preferred, with interval, sign test and counts."""
    marks = [sum(WORTH[mark] for mark in pair) / len(pair) for pair in by_pair]
    if not marks:
        return {"judged_pairs": 0, "rate": None, "low": None, "high": None, "by": "", "p": None}
    for_a, for_b = sum(mark > 0.5 for mark in marks), sum(mark < 0.5 for mark in marks)
    is_plain = all(mark in (0.0, 1.0) for mark in marks)
    low, high, by = wilson(for_a, len(marks)) if is_plain or len(marks) < 5 else bootstrap(marks)
    rate = math.fsum(marks) / len(marks)
    if not is_plain and len(marks) < 5:
        low, high, by = wilson(rate * len(marks), len(marks))
    return {
        "judged_pairs": len(marks), "rate": rate, "low": low, "high": high, "by": by, "a_preferred": for_a,
        "b_preferred": for_b, "undecided": len(marks) - for_a - for_b, "p": mcnemar(for_a, for_b), "test": "sign test",
    }  # fmt: skip


def _texts(index: sqlite3.Connection, comparison: Comparison, name: str) -> dict[str, sqlite3.Row]:
    """Return problem -> one text of a source: a system's greedy one, or one of the teacher's, drawn by seed."""
    base, mark, kind = name.rpartition(":")
    if not mark or kind not in KINDS:
        base, kind = name, ""  # a system may be called after a kind
    known = sources(index)
    if base not in known:
        message = f"compare: {name!r} is no source of this run; expected one of {', '.join(known) or '(nothing yet)'}"
        raise ConfigError(message)
    is_system = index.execute(
        "SELECT 1 FROM facets WHERE stage = 'predictions' AND name = 'job' AND value = ?", (base,)
    ).fetchone()
    where = "stage = 'predictions' AND job = ?" if is_system else "stage = 'rationales' AND author = ?"
    where += " AND status = 'CORRECT'" if comparison.only_right else ""
    found: dict[str, list[sqlite3.Row]] = defaultdict(list)
    for row in index.execute(
        f"SELECT n, id, problem, source, kind, number FROM items WHERE {where} AND words > 0", (base,)
    ):
        if not kind or row["kind"] == kind:
            found[row["problem"]].append(row)

    def place(row: sqlite3.Row) -> tuple[int, int, int]:
        drawn = row["number"] if is_system else child_seed(comparison.seed, "text", row["id"])
        return KINDS.index(row["kind"]) if row["kind"] in KINDS else 9, drawn, row["n"]

    rows = {problem: min(of, key=place) for problem, of in found.items()}
    if is_system:
        rows = {problem: row for problem, row in rows.items() if row["number"] == 0}
    return rows
