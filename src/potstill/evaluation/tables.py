"""Scores as text: a table for the terminal, and the same as Markdown for a model card or an issue.

Numbers are percentages; every one stands with its interval and its n. Nothing here computes: rows come from
`potstill.evaluation.scoring`.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Sequence

from potstill.records import Comparison, Score

MINIATURE_NOTE = "Miniature: a functional test of the method, not evidence for the paper."
ORDER = (
    "untrained", "answer_only", "answer_only_matched", "cot_n1", "cot_n5", "scotd", "pot", "mixture", "mixed",
    "mixed_distillation", "ensemble", "teacher",
)  # fmt: skip
"""Systems as a reader expects them; others keep their order, before the teacher."""
PATHS = ("answer", "cot", "negative", "views", "pot", "routed", "surer", "vote", "oracle", "agreed")
"""Paths in the order in which a system's rows stand."""
SPLITS = ("test", "ood", "contrast")
MOST_COMPARISONS = 24
"""Longer lists of comparisons show the first split's accuracy only, and say how many are left out."""
Row = tuple[str, str]
Column = tuple[str, str]


def terminal_table(
    scores: Iterable[Score], comparisons: Iterable[Comparison] = (), *, note: str = "", width: int | None = None
) -> str:
    """Return the scores over all seeds, and the comparisons, aligned for a terminal.

    Votes at several numbers of paths are shown for the first split only.

    Args:
        note: A line at the end, such as `MINIATURE_NOTE`.
        width: Columns to fit into (default: the terminal's, at least 80); wider tables are broken into blocks.
    """
    rows = overall(scores)
    width = max(80, width or shutil.get_terminal_size((100, 24)).columns)
    plain, curve = [row for row in rows if voters(row.metric) is None], [row for row in rows if voters(row.metric)]
    curve = [row for row in curve if row.split == curve[0].split]
    blocks = ["\n".join(block) for part in (plain, curve) for block in _score_blocks(part, width)]
    blocks += ["\n".join(_comparison_lines(list(comparisons)))]
    blocks += [_legend(rows), note]
    return "\n\n".join(block for block in blocks if block)


def markdown_table(scores: Iterable[Score], comparisons: Iterable[Comparison] = (), *, note: str = "") -> str:
    """Return the same rows as Markdown tables."""
    rows = overall(scores)
    lines = [
        "| system | path | split | metric | value | 95 % interval | n | unscored |",
        "|---|---|---|---|--:|--:|--:|--:|",
    ]
    for row in rows:
        cells = (row.system, row.path, row.split, row.metric.replace("_", " "), percent(row.value))
        lines.append(_pipes(*cells, interval(row.low, row.high), str(row.n), str(row.n_unscored)))
    compared = list(comparisons)
    if compared:
        lines += ["", "| a - b | path | split | metric | points | 95 % interval | p | n | test |"]
        lines += ["|---|---|---|---|--:|--:|--:|--:|---|"]
    for pair in compared:
        cells = (f"{pair.a} - {pair.b}", pair.path, pair.split, pair.metric.replace("_", " "), signed(pair.difference))
        lines.append(_pipes(*cells, signed_interval(pair.low, pair.high), p_value(pair.p), str(pair.n), pair.test))
    return "\n".join([*lines, "", _legend(rows), *([note] if note else [])]) + "\n"


def overall(scores: Iterable[Score]) -> list[Score]:
    """Return the rows that stand for a system (over all seeds), in the order of a paper's table."""
    rows = [row for row in scores if row.seed is None]
    names = list(dict.fromkeys(row.system for row in rows))
    rank = {name: at for at, name in enumerate(in_order(names))}
    splits = {name: at for at, name in enumerate(dict.fromkeys([*SPLITS, *(row.split for row in rows)]))}
    return sorted(
        rows,
        key=lambda row: (
            splits[row.split], voters(row.metric) is not None, voters(row.metric) or 0, row.metric, rank[row.system],
            path_rank(row.path),
        ),
    )  # fmt: skip


def voters(metric: str) -> int | None:
    """Return K of a metric `accuracy_at_K`, the accuracy of the vote over K paths; `None` of any other.

    >>> voters("accuracy_at_20")
    20
    """
    found = re.fullmatch(r"accuracy_at_(\d+)", metric)
    return int(found[1]) if found else None


def path_rank(path: str) -> int:
    """Return the place of a path among a system's rows."""
    return PATHS.index(path) if path in PATHS else len(PATHS)


def in_order(names: Iterable[str]) -> list[str]:
    """Return system names as a reader expects them: before, baselines, the method, others, the teacher."""
    found = list(dict.fromkeys(names))
    known = [name for name in ORDER if name in found and name != "teacher"]
    others = [name for name in found if name not in ORDER]
    return [*known, *others, *(name for name in ("teacher",) if name in found)]


def percent(value: float | None) -> str:
    """Return a fraction as a percentage with one decimal; a dash where there is none."""
    return "-" if value is None else f"{100 * value:.1f}"


def interval(low: float | None, high: float | None) -> str:
    """Return the bounds of a fraction as percentages."""
    return "-" if low is None or high is None else f"[{100 * low:.1f}, {100 * high:.1f}]"


def signed(value: float) -> str:
    """Return a difference of fractions in percentage points, with its sign."""
    return "0.0" if abs(value) < 0.0005 else f"{100 * value:+.1f}"


def signed_interval(low: float, high: float) -> str:
    """Return the bounds of a difference in percentage points."""
    return f"[{signed(low)}, {signed(high)}]"


def p_value(p: float) -> str:
    """Return a p-value as papers print it."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def column_name(split: str, metric: str) -> str:
    """Return the heading of a split and metric."""
    if count := voters(metric):
        return f"{split}, {count} paths"
    return split if metric == "accuracy" else metric.replace("_", " ")


def _score_blocks(rows: Sequence[Score], width: int) -> Iterable[list[str]]:
    cells = {((row.system, row.path), (row.split, row.metric)): row for row in rows}
    names = list(dict.fromkeys(key[0] for key in cells))
    order = {name: at for at, name in enumerate(in_order(name for name, _ in names))}
    names.sort(key=lambda name: (order[name[0]], path_rank(name[1]), name[1]))
    columns = list(dict.fromkeys(key[1] for key in cells))
    heads = {column: _heading(rows, column) for column in columns}
    left = max((len(name) for name, _ in names), default=0)
    path = max((len(name) for _, name in names), default=0)
    widths = {
        column: max([len(heads[column]), *(len(_cell(cells.get((name, column)), rows)) for name in names)])
        for column in columns
    }
    for block in _fitting(columns, widths, width - left - path - 3):
        header = f"{'':<{left}}  {'':<{path}}" + "".join(f"  {heads[c]:>{widths[c]}}" for c in block)
        lines, above = [header.rstrip()], ""
        for name in names:
            texts = "".join(f"  {_cell(cells.get((name, c)), rows):>{widths[c]}}" for c in block)
            if texts.strip():
                lines.append(f"{'' if name[0] == above else name[0]:<{left}}  {name[1]:<{path}}{texts}".rstrip())
                above = name[0]
        yield lines


def _fitting(columns: Sequence[Column], widths: dict[Column, int], room: int) -> Iterable[list[Column]]:
    block: list[Column] = []
    for column in columns:
        if block and sum(widths[c] + 2 for c in [*block, column]) > room:
            yield block
            block = []
        block.append(column)
    if block:
        yield block


def _heading(rows: Sequence[Score], column: Column) -> str:
    return f"{column_name(*column)}, n {_usual_n(rows, column)}"


def _usual_n(rows: Sequence[Score], column: Column) -> int:
    return max((row.n for row in rows if (row.split, row.metric) == column), default=0)


def _cell(row: Score | None, rows: Sequence[Score]) -> str:
    """Return `71.3 [66.0, 76.2]`, with the row's own n where it differs from the column's."""
    if row is None:
        return ""
    own = f" n {row.n}" if row.n != _usual_n(rows, (row.split, row.metric)) else ""
    return f"{percent(row.value)} {interval(row.low, row.high)}{own}"


def _comparison_lines(comparisons: Sequence[Comparison]) -> list[str]:
    shown = comparisons
    if len(comparisons) > MOST_COMPARISONS:
        shown = [pair for pair in comparisons if (pair.split, pair.metric) == (comparisons[0].split, "accuracy")]
    table = [
        (
            f"{pair.a} - {pair.b}",
            column_name(pair.split, pair.metric),
            pair.path,
            signed(pair.difference),
            signed_interval(pair.low, pair.high),
            f"p {p_value(pair.p)}",
            f"n {pair.n}",
        )
        for pair in shown
    ]
    if not table:
        return []
    widths = [max(len(row[at]) for row in table) for at in range(7)]
    lefts = (True, True, True, False, False, True, False)
    left_out = len(comparisons) - len(shown)
    more = [f"and {left_out} more on other splits and metrics, in scores.json and the report"] if left_out else []
    lines = [
        "  ".join(
            f"{text:<{size}}" if is_left else f"{text:>{size}}"
            for text, size, is_left in zip(row, widths, lefts, strict=True)
        ).rstrip()
        for row in table
    ]
    return [*lines, *more]


def _legend(rows: Sequence[Score]) -> str:
    seeds = max((int(row.meta.get("seeds", 1)) for row in rows), default=1)
    unscored = sum(row.n_unscored for row in rows if row.path != "agreed")
    parts = ["Percent right with 95 % intervals; differences in points, paired on the same problems"]
    parts.append(f"{seeds} seeds" if seeds > 1 else "1 seed: intervals cover the drawn problems, not the training seed")
    paths = {row.path for row in rows}
    if "oracle" in paths:
        parts.append("oracle: either greedy path is right, a bound")
    if "agreed" in paths:
        parts.append(f"agreed: where both give one answer{' under any seed' if seeds > 1 else ''}, n of them")
    if unscored:
        parts.append(f"{unscored} unscored, in no mean")
    return "; ".join(parts) + "."


def _pipes(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
