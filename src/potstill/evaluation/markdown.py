"""The Markdown twin of a report: the same numbers for a model card, an issue or a terminal; no texts, no pictures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml

from potstill.evaluation import tables
from potstill.evaluation.page.failures import reason_words
from potstill.evaluation.page.markup import visible
from potstill.evaluation.runs import Beside
from potstill.records import Comparison, Score, from_dict

Summary = Mapping[str, Any]


def markdown_of(summary: Summary) -> str:
    """Return one run's report as Markdown."""
    scores = [from_dict(Score, row, "scores") for row in summary["scores"]]
    pairs = [from_dict(Comparison, row, "scores") for row in summary["comparisons"]]
    parts = [f"# {escaped(summary['title'])}", _byline(summary), summary["note"], "## Funnel", _funnel([summary])]
    parts += ["## Scores", tables.markdown_table(scores, pairs).strip() if scores else "Not evaluated yet."]
    parts += _people(summary)
    if summary["failures"]:
        parts += ["## Failures by reason", _failures([("", summary)])]
    parts += ["## Cost", table(("", "value"), summary["cost"].items()) if summary["cost"] else ""]
    parts += ["## How to repeat it", fenced("\n".join(summary["repeat"]))]
    recipe = yaml.safe_dump(summary["recipe"], sort_keys=False, allow_unicode=True) if summary["recipe"] else ""
    parts += ["recipe.yaml, with every default spelled out:", fenced(recipe, "yaml")] if recipe else []
    return _joined(parts)


def markdown_of_runs(beside: Beside) -> str:
    """Return the comparison of several runs as Markdown."""
    sides = [(side.name, side.summary) for side in beside.sides]
    names = [escaped(name) for name, _ in sides]
    parts = [f"# {' and '.join(names)}", *dict.fromkeys(summary["note"] for _, summary in sides)]
    parts += [table(("run", "method", "began", "revision"), [
        (name, own["method"], own["began"] or "", own["revision"] or "") for name, own in sides
    ])]  # fmt: skip
    parts += ["## Paired comparisons", _pairs(beside)]
    for heading, rows in score_groups(beside).items():
        parts += [f"## Scores: {' · '.join(heading)}", table(("system", *names), (
            (f"{system}, {path}", *(_value(row) for row in cells)) for (system, path), cells in rows.items()
        ))]  # fmt: skip
    parts += ["## Funnel", _funnel([own for _, own in sides]), "## Failures by reason", _failures(sides)]
    parts += ["## Cost", table(("", *names), cost_cells([own for _, own in sides]))]
    parts += ["## What differs in the recipes", _recipe(beside, names), "## How to repeat them"]
    for name, own in sides:
        parts += [f"{escaped(name)}:", fenced("\n".join(own["repeat"]))]
    return _joined(parts)


def score_groups(beside: Beside) -> dict[tuple[str, str, str], dict[tuple[str, str], list[Score | None]]]:
    """Return (task, split, metric) -> (system, path) -> its row in each run, `None` where a run has none."""
    found: dict[tuple[str, str, str], dict[tuple[str, str], list[Score | None]]] = {}
    for at, side in enumerate(beside.sides):
        for row in tables.overall(side.facts.scores):
            group = found.setdefault((row.task, row.split, row.metric), {})
            group.setdefault((row.system, row.path), [None] * len(beside.sides))[at] = row
    for group in found.values():
        rank = {name: at for at, name in enumerate(tables.in_order(system for system, _ in group))}
        for key in sorted(group, key=lambda key: (rank[key[0]], tables.path_rank(key[1]))):
            group[key] = group.pop(key)
    return found


def cost_cells(summaries: Sequence[Summary]) -> list[tuple[str, ...]]:
    """Return a row for each cost that any run has recorded."""
    names = dict.fromkeys(name for own in summaries for name in own["cost"])
    return [(name, *(own["cost"].get(name, "-") for own in summaries)) for name in names]


def funnel_rows(summaries: Sequence[Summary]) -> list[tuple[str, ...]]:
    """Return how many rationales of each kind came how far, in each run."""
    kinds = dict.fromkeys(kind for own in summaries for kind in own["funnel"])
    rows: list[tuple[str, ...]] = [
        ("training problems", *(f"{own['problems'].get('train', 0):,}" for own in summaries))
    ]
    for kind in kinds:
        flows = [own["funnel"].get(kind) or {} for own in summaries]
        sampled = [int(flow.get("sampled", 0)) for flow in flows]
        rows.append((f"{kind}: sampled", *(f"{count:,}" for count in sampled)))
        for name in ("verdicts", "dropped"):
            for key in dict.fromkeys(key for flow in flows for key in flow.get(name) or {}):
                counts = [int((flow.get(name) or {}).get(key, 0)) for flow in flows]
                words = reason_words((key, "")) if name == "verdicts" else f"dropped: {key.replace('_', ' ')}"
                rows.append((f"{kind}: {words}", *map(_part, counts, sampled)))
        kept = [flow.get("kept") for flow in flows]
        if any(count is not None for count in kept):
            rows.append(
                (f"{kind}: kept", *("-" if c is None else _part(c, n) for c, n in zip(kept, sampled, strict=True)))
            )
    return rows


def failure_rows(summaries: Sequence[Summary], systems: Sequence[str | None]) -> list[tuple[str, ...]]:
    """Return how often each reason was met; of one system of each run, or (`None`) of each system of one run."""
    columns: list[list[Mapping[str, Any]]] = []
    for own, system in zip(summaries, systems, strict=True):
        columns.append([row for row in own["failures"] if system is None or row["system"] == system])
    reasons = dict.fromkeys((row["status"], row["reason"]) for rows in columns for row in rows)
    found = []
    for reason in reasons:
        cells = [[row for row in rows if (row["status"], row["reason"]) == reason] for rows in columns]
        found.append(
            (reason_words(reason), *(_part(rows[0]["count"], rows[0]["of"]) if rows else "-" for rows in cells))
        )
    return found


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a Markdown table; what stands in a cell cannot end it."""
    lines = [f"| {' | '.join(escaped(name) for name in head)} |", "|---" + "|--:" * (len(head) - 1) + "|"]
    lines += [f"| {' | '.join(escaped(cell) for cell in row)} |" for row in rows]
    return "\n".join(lines)


def escaped(value: Any) -> str:
    """Return a text as it stands in Markdown: no markup of its own, on one line.

    >>> escaped("a|b <i>\\n*c*")
    'a\\\\|b \\\\<i\\\\> \\\\*c\\\\*'
    """
    words = " ".join(str(value).split())
    return "".join(f"\\{c}" if c in "\\`*_<>|[]#" else c for c in words)


def fenced(text: str, language: str = "") -> str:
    """Return a text as a code block that nothing inside it can end."""
    longest = max((len(run) for line in text.splitlines() for run in line.split() if set(run) == {"`"}), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"


def _people(summary: Summary) -> list[str]:
    if not summary["calibration"]:
        return [summary["calibration_note"]]
    names = ("precision", "recall", "false_alarms")
    rows = [
        (f"{row['judge']}, {row['stage']}{', ' + row['kind'] if row['kind'] else ''}", row["n"],
         *(_share(row[name]) for name in names), tables.percent(row["called_right"]["value"]),
         _share(row.get("corrected") or {"value": None}))
        for row in summary["calibration"]
    ]  # fmt: skip
    head = ("judge", "reviewed", "precision", "recall", "false alarms", "called right", "corrected")
    parts = ["## What people found", table(head, rows)]
    if summary["corrected"]:
        corrected = [
            (f"{row['system']}, {row['path']}", row["split"], tables.percent(row["reported"]), _share(row))
            for row in summary["corrected"]
        ]
        parts += ["Accuracy corrected for the verifier's errors:"]
        parts += [table(("system", "split", "reported", "corrected"), corrected)]
    return parts


def _funnel(summaries: Sequence[Summary]) -> str:
    return table(("", *(own["run"] for own in summaries)), funnel_rows(summaries))


def _failures(sides: Sequence[tuple[str, Summary]]) -> str:
    if len(sides) == 1:
        (_, own), systems = sides[0], list(dict.fromkeys(row["system"] for row in sides[0][1]["failures"]))
        return table(("", *systems), failure_rows([own] * len(systems), systems))
    systems = [own["main_system"] for _, own in sides]
    head = (f"{name}: {system}" for (name, _), system in zip(sides, systems, strict=True))
    return table(("", *head), failure_rows([own for _, own in sides], systems))


def _pairs(beside: Beside) -> str:
    rows = [
        (f"{pair.a} − {pair.b}", pair.path, tables.column_name(pair.split, pair.metric), tables.signed(pair.difference),
         tables.signed_interval(pair.low, pair.high), tables.p_value(pair.p), pair.n, pair.test)
        for pair in beside.comparisons
    ]  # fmt: skip
    head = ("a − b", "path", "split", "points", "95 % interval", "p", "n", "test")
    shown = [table(head, rows)] if rows else []
    return "\n\n".join([*shown, *map(escaped, beside.notes)])


def _recipe(beside: Beside, names: Sequence[str]) -> str:
    said = f"{beside.same_keys} further keys are the same."
    rows = [(key, *map(str, values)) for key, values in beside.recipe]
    return f"{table(('key', *names), rows)}\n\n{said}" if rows else f"Nothing: {said}"


def _byline(summary: Summary) -> str:
    parts = (summary["method"], str(summary["began"] or "")[:10], f"revision {summary['revision']}")
    return " · ".join(escaped(part) for part in parts if part and not part.endswith("None"))


def _value(row: Score | None) -> str:
    return "-" if row is None else f"{tables.percent(row.value)} {tables.interval(row.low, row.high)} n {row.n}"


def _share(part: Mapping[str, Any]) -> str:
    value = part["value"]
    return "-" if value is None else f"{tables.percent(value)} {tables.interval(part['low'], part['high'])}"


def _part(count: int, total: int) -> str:
    return f"{count:,} ({100 * count / total:.1f} %)" if total else f"{count:,}"


def _joined(parts: Iterable[str]) -> str:
    return visible("\n\n".join(part for part in parts if part)) + "\n"
