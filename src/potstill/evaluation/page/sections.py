"""The sections of a report, each from `Facts` to markup; one without data is left out."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from potstill.evaluation import tables
from potstill.evaluation.page import charts
from potstill.evaluation.page.gathering import Facts, teacher_name
from potstill.evaluation.page.listings import drop_table, n_table, training_table
from potstill.evaluation.page.markup import Child, Html, cut, element, join
from potstill.evaluation.page.naming import (
    KINDS,
    SHORT_PATHS,
    STATUSES,
    is_told_by_path,
    main_path,
    main_system,
    primary_rows,
    samples_per_problem,
    section,
    share,
    split_words,
    system_of,
    system_words,
    tone,
)
from potstill.evaluation.page.redaction import public_command
from potstill.records import Score

PERCENT_TICKS = (0, 0.2, 0.4, 0.6, 0.8, 1.0)
SPLIT_TONES = {"test": ("main", "circle"), "ood": ("ood", "square"), "contrast": ("contrast", "triangle")}


def caption(facts: Facts, words: str) -> Html:
    """Return a figure's caption; in a miniature every figure says so, since figures are cut out and shown alone."""
    note = "Miniature: not evidence for the paper." if facts.is_miniature else ""
    return element("figcaption", " ".join(part for part in (words, note) if part))


def bars(facts: Facts, split: str, metric: str, title: str) -> Html | None:
    """Return a figure of all systems on one split: a bar with its interval each."""
    rows = [r for r in _alike(facts) if (r.split, r.metric) == (split, metric)]
    if not rows:
        return None
    by_path = is_told_by_path(rows)
    shown = [
        charts.Bar(
            system_words(facts, r.system), r.value, r.low, r.high, tone(facts, r.system),
            hint=f"{r.system}, {r.path}", note=SHORT_PATHS.get(r.path, r.path) if by_path else "",
        )
        for r in rows
    ]  # fmt: skip
    units = {"contrast_consistency": "families", "sensitivity": "pairs"}.get(metric, "problems")
    said = f"Percent right with 95 % intervals; n = {_span([r.n for r in rows])} {units}."
    chart = charts.bar_chart(shown, title, left=158 if by_path else 112)
    return element("figure", element("h3", title), chart, caption(facts, said))


def _alike(facts: Facts) -> list[Score]:
    """Return the primary rows without systems that only vote (ensembles), where the others are shown by one answer."""
    rows = primary_rows(facts)
    single = [row for row in rows if row.path != "vote"]
    return single if single and main_path(facts) != "vote" else rows


def what_was_run(facts: Facts) -> Html:
    """Return what was run: the parties, the data, the environment."""
    recipe, manifest = facts.recipe, facts.manifest
    sample, student = recipe.get("sample") or {}, recipe.get("student") or {}
    teachers: list[dict[str, Any]] = recipe.get("teachers") or []
    heats = dict.fromkeys(_or(sample.get("temperature"), _or(t.get("temperature"), "default")) for t in teachers)
    heat = f"temperature {' and '.join(heats) or 'default'}"
    asked = ", ".join(map(teacher_name, teachers)) or "none"
    arms = ", ".join(f"{name}" for name in (recipe.get("arms") or {})) or str(recipe.get("method") or "")
    seeds = int(recipe.get("n_seeds") or 1)
    versions = manifest.get("versions") or {}
    rows: list[tuple[str, Child]] = [
        ("Teachers" if len(teachers) > 1 else "Teacher", f"{asked}, {sample.get('n', '?')} {_per(sample)} at {heat}"),
        ("Student", f"{student.get('model', '?')}{', LoRA' if student.get('lora') else ''}"),
        ("Systems", arms),
        ("Problems", ", ".join(f"{count:,} {split}" for split, count in facts.splits.items()) or None),
        *_rounds(facts),
        ("Filter", _filter_words(recipe)),
        ("Paths", _path_counts(recipe)),
        ("Seeds", f"{seeds} per system, base seed {recipe.get('seed', 0)}"),
        ("Began", manifest.get("created")),
        ("potstill", " ".join(str(part) for part in (versions.get("potstill"), manifest.get("git")) if part)),
        ("Machine", _machine(manifest.get("host") or {})),
        ("Versions", ", ".join(f"{k} {v}" for k, v in versions.items() if k != "potstill") or None),
    ]
    items = [join(element("dt", name), element("dd", value)) for name, value in rows if value]
    return section("run", "What was run", element("dl", *items, class_="plain"))


def funnel(facts: Facts) -> Html | None:
    """Return how many rationales were sampled, found right, kept and trained on, per kind, and why others were not."""
    if not facts.funnel.sampled:
        return None
    figures = [_flow_figure(facts, kind) for kind in facts.funnel.kinds]
    table = [drop_table(facts)]
    beside, below = (table, []) if len(figures) == 1 else ([], table)
    panels = element("div", *figures, *beside, class_="panels")
    return section("funnel", "From samples to training data", panels, *below)


def _flow_figure(facts: Facts, kind: str) -> Html:
    """Return the funnel of one kind of rationale."""
    flow, name = facts.funnel.kinds[kind], KINDS.get(kind, (kind, kind))[1]
    judged = [(flow.statuses[status], shade, words) for status, shade, words in STATUSES if flow.statuses[status]]
    rows = [("sampled from the teacher", [charts.Part("sampled", flow.sampled, "base")])]
    if judged:
        rows.append(("verified", [charts.Part(words, count, shade) for count, shade, words in judged]))
    if facts.funnel.has_drops:
        rows.append(("kept by the filter", [charts.Part("kept", flow.kept, "kept")]))
    job = _main_job(facts)
    counts = facts.funnel.trained[job] if job else {}
    if count := counts.get(kind, counts.get("examples", 0)):
        said = f"training examples, {system_words(facts, main_system(facts))}"
        rows.append((said, [charts.Part("examples", count, "kept")]))
    legend = [_key(shade, words, count, flow.sampled) for count, shade, words in judged]
    return element(
        "figure",
        element("h3", name.capitalize()) if len(facts.funnel.kinds) > 1 else None,
        charts.funnel_chart(rows, f"{name.capitalize()} from sampling to training"),
        element("ul", *legend, class_="keys"),
        caption(facts, "Rationales, all bars on one scale."),
    )


def accuracy(facts: Facts) -> Html | None:
    """Return all systems on every split beyond the one that opens the page."""
    columns = dict.fromkeys((row.split, row.metric) for row in _alike(facts))
    figures = []
    for split, metric in columns:
        figures.append(bars(facts, split, metric, split_words(split, metric)))
    if not figures:
        return None
    said = "The same problems for every system. NO_ANSWER and PROGRAM_FAILED count as not right."
    if is_told_by_path(_alike(facts)):
        said += " The small print beside a system says how its answer was taken."
    if left_out := sorted({row.system for row in primary_rows(facts)} - {row.system for row in _alike(facts)}):
        said += f" Votes are not shown beside single answers; {', '.join(left_out)}: see all scores."
    if any(metric == "contrast_consistency" for _, metric in columns):
        said += (
            " Contrast consistency is the share of families (an original and all of its edits) that are fully right."
        )
    if any(metric == "sensitivity" for _, metric in columns):
        said += " Sensitivity is the share of pairs (an original, one edit) whose prediction changes as the label does."
    return section(
        "accuracy", "Accuracy by split", element("p", said, class_="lead"), element("div", *figures, class_="panels")
    )


def against_n(facts: Facts) -> Html | None:
    """Return accuracy against the number of sampled rationales per problem."""
    by_column: dict[tuple[str, str], list[tuple[int, Score]]] = {}
    for row in primary_rows(facts, "cot"):
        if n := samples_per_problem(facts, row.system):
            by_column.setdefault((row.split, row.metric), []).append((n, row))
    lines = []
    for (split, metric), pairs in by_column.items():
        shade, marker = SPLIT_TONES.get(split, ("other", "circle")) if metric == "accuracy" else ("family", "diamond")
        points = [charts.Point(n, r.value, r.low, r.high) for n, r in sorted(pairs, key=_first) if r.value is not None]
        if len(points) > 1:
            name = split if metric == "accuracy" else metric.removeprefix("contrast_")
            lines.append(charts.Line(name, tuple(points), shade, marker))
    if not lines:
        return None
    ticks = sorted({point.x for line in lines for point in line.points})
    chart = charts.line_chart(
        lines, "Accuracy against N", x_label="N, rationales sampled per problem (log scale)", x_ticks=ticks, log_x=True,
        y_label="% right", y_ticks=PERCENT_TICKS,
    )  # fmt: skip
    said = caption(facts, "95 % intervals; points of one N are set apart so that they can be read.")
    text = (
        "The same problems and the same teacher; only the number of rationales sampled per problem differs: "
        "what a student gains from seeing several ways to reach an answer."
    )
    figure = element("figure", chart, said)
    panels = element("div", figure, n_table(by_column), class_="panels")
    return section("n", "Accuracy against N", element("p", text, class_="lead"), panels)


def training(facts: Facts) -> Html | None:
    """Return the training curves: accuracy on the development split, and the loss, per system and seed."""
    figures = [_curve_figure(facts, name) for name in ("dev", "loss")]
    if not any(figures):
        return None
    text = "Accuracy and loss while the students were trained; one line per training seed."
    if patience := (facts.recipe.get("train") or {}).get("patience"):
        text = (
            f"Each student is trained until {patience} evaluations on the development split in a row bring nothing "
            "better, and the best checkpoint is kept. One line per training seed."
        )
    panels = element("div", *figures, class_="panels")
    return section("training", "Training", element("p", text, class_="lead"), panels, training_table(facts))


def _curve_figure(facts: Facts, name: str) -> Html | None:
    lines, is_dev = _curves(facts, name), name == "dev"
    if not lines:
        return None
    title = "Accuracy on the development split" if is_dev else "Training loss"
    ticks = charts.nice_ticks([0, max(point.x for line in lines for point in line.points)], most=4)
    chart = charts.line_chart(
        lines, title, x_label="step", x_ticks=ticks, y_label="% right" if is_dev else "nats per target token",
        as_percent=is_dev, y_ticks=PERCENT_TICKS if is_dev else None,
    )  # fmt: skip
    return element("figure", element("h3", title), chart, caption(facts, ""))


def cost(facts: Facts) -> Html | None:
    """Return tokens, money and time, as far as they were recorded."""
    items = [join(element("dt", name), element("dd", value)) for name, value in cost_rows(facts)]
    return section("cost", "Cost", element("dl", *items, class_="plain")) if items else None


def cost_rows(facts: Facts) -> list[tuple[str, str]]:
    """Return (what, how much) of tokens, money and time, as far as they were recorded."""
    stages = facts.manifest.get("stages") or {}
    tokens = facts.funnel.tokens
    rows: list[tuple[str, str]] = []
    if tokens["prompt_tokens"] or tokens["completion_tokens"]:
        said = f"{tokens['prompt_tokens']:,} in, {tokens['completion_tokens']:,} out"
        rows.append(("Teacher tokens", said + (" (estimated here)" if tokens["estimated"] else "")))
    if facts.funnel.sampled:
        finishes = ", ".join(f"{count:,} {name}" for name, count in facts.funnel.finishes.most_common())
        rows.append(("Completions", f"{facts.funnel.sampled:,}: {finishes}"))
    rows += _by_teacher(facts, stages)
    return rows + _recorded_costs(stages)


def repeat(facts: Facts, recipe_text: str) -> Html:
    """Return how to repeat the run."""
    lines = command_lines(facts)
    saved = "from the resolved recipe, saved in the run directory and below with every default spelled out."
    text = f"The first line is how this run was made; the second repeats it {saved}"
    if len(lines) == 1:
        text = f"F{saved[1:]}"
    recipe = element("details", element("summary", "recipe.yaml"), element("pre", cut(recipe_text, 40_000)))
    return section(
        "repeat",
        "How to repeat it",
        element("p", text),
        element("pre", "\n".join(lines)),
        recipe if recipe_text else None,
    )


def command_lines(facts: Facts) -> list[str]:
    """Return the command that made the run, where it is known, and the one that repeats it from its recipe."""
    command = public_command(facts.manifest.get("command") or [])
    command[:1] = [Path(name).name for name in command[:1]]
    lines = [shlex.join(command)] if command and command[0].startswith("potstill") else []
    return [*lines, "potstill run recipe.yaml --run runs/again"]


def _main_job(facts: Facts) -> str | None:
    name = main_system(facts)
    return next((job for job in facts.funnel.trained if system_of(job) == name), None)


def _curves(facts: Facts, name: str) -> list[charts.Line]:
    rank = {system: at for at, system in enumerate(tables.in_order(map(system_of, facts.trainings)))}
    lines = []
    for job in sorted(facts.trainings, key=lambda job: (rank[system_of(job)], job)):
        found = facts.trainings[job]
        points = thinned([charts.Point(*pair) for pair in (found.dev if name == "dev" else found.loss)], 150)
        if len(points) > 1:
            system = system_of(job)
            lines.append(charts.Line(system_words(facts, system), tuple(points), tone(facts, system)))
    return lines


def thinned(points: Sequence[charts.Point], most: int) -> list[charts.Point]:
    """Return at most `most` + 1 of the points, evenly spaced, with the last one."""
    stride = max(1, -(-len(points) // most))
    kept = list(points[::stride])
    return kept if not points or kept[-1] == points[-1] else [*kept, points[-1]]


def _rounds(facts: Facts) -> list[tuple[str, Child]]:
    """Return what each round was, and how much of what it brought was right."""
    rows: list[tuple[str, Child]] = []
    tables: list[dict[str, Any]] = facts.recipe.get("rounds") or []
    for number, (table, flow) in enumerate(zip(tables, facts.funnel.rounds[1:], strict=False), start=1):
        what = "the teacher, refreshed" if table.get("by") == "refresh" else "a student's errors, corrected"
        right = share(flow.statuses["CORRECT"], flow.sampled)
        first = share(facts.funnel.rounds[0].statuses["CORRECT"], facts.funnel.rounds[0].sampled)
        words = f"{what}: {flow.sampled:,} rationales, {right} right (first sampling: {first}), {flow.kept:,} kept"
        rows.append((f"Round {number}", words))
    return rows


def _by_teacher(facts: Facts, stages: dict[str, dict[str, Any]]) -> list[tuple[str, str]]:
    """Return what each of several teachers wrote, and was paid for it."""
    bought: dict[str, Any] = ((stages.get("sample") or {}).get("counts") or {}).get("teachers") or {}
    rows = []
    for name, written in facts.funnel.authors.items() if len(facts.funnel.authors) > 1 else ():
        words = f"{written['rationales']:,} rationales, {written['completion_tokens']:,} tokens"
        money = (bought.get(name) or {}).get("money")
        rows.append((f"Teacher {name}", f"{words}, {money:,.4f} paid" if money else words))
    return rows


def _recorded_costs(stages: dict[str, dict[str, Any]]) -> list[tuple[str, str]]:
    """Return what the stages have counted: requests, money, CPU seconds, time."""
    counts = {name: stage.get("counts") or {} for name, stage in stages.items()}
    rows = []
    for key, label, form in (
        ("requests", "Requests sent", ",.0f"),
        ("from_ledger", "Answered from the ledger", ",.0f"),
        ("money", "Money, in the recipe's currency", ",.4f"),
    ):
        found = [count[key] for count in counts.values() if isinstance(count.get(key), int | float)]
        if found:
            rows.append((label, format(sum(found), form)))
    for prefix, label in (("students/", "Training"), ("predictions/", "Inference")):
        seconds = [float(c["cpu_s"]) for name, c in counts.items() if name.startswith(prefix) and "cpu_s" in c]
        if seconds:
            rows.append((label, f"{sum(seconds):,.0f} CPU seconds over {len(seconds)} students"))
    marks = [str(stage[key]) for stage in stages.values() for key in ("began", "ended") if stage.get(key)]
    if len(marks) > 1:
        rows.append(("Time", f"{_elapsed(min(marks), max(marks))} from the first stage to the last"))
    return rows


def _elapsed(began: str, ended: str) -> str:
    seconds = (datetime.fromisoformat(ended) - datetime.fromisoformat(began)).total_seconds()
    return (
        f"{seconds:.0f} s"
        if seconds < 120
        else f"{seconds / 60:.1f} min"
        if seconds < 7200
        else f"{seconds / 3600:.1f} h"
    )


def _machine(host: dict[str, Any]) -> str | None:
    """Return system, architecture and cores; a kernel's full name may name a host and says nothing to a reader."""
    if not host.get("system"):
        return None
    return f"{str(host['system']).split('-')[0]} {host.get('machine', '')}, {host.get('cpus', '?')} cores"


def _filter_words(recipe: dict[str, dict[str, object]]) -> str:
    kept = (recipe.get("filter") or {}).get("keep")
    words = {
        "correct": "keeps rationales that reach the gold answer",
        "answered": "keeps rationales with an answer",
        "all": "keeps all rationales",
    }
    return words.get(str(kept), str(kept or "?"))


def _key(shade: str, words: str, count: int, total: int) -> Html:
    return element("li", charts.swatch(shade), words, " ", element("b", f"{count:,}"), f" ({share(count, total)})")


def _per(sample: dict[str, Any]) -> str:
    """Say what was sampled of each problem."""
    kinds = [KINDS.get(kind, (kind, kind))[1] for kind in sample.get("kinds") or ()]
    return f"{' and as many '.join(kinds)} per problem" if len(kinds) > 1 else "samples per problem"


def _path_counts(recipe: dict[str, Any]) -> str | None:
    """Say how many paths are sampled of each kind, and how ties are settled."""
    infer, tie = recipe.get("infer") or {}, (recipe.get("evaluate") or {}).get("tie") or ["first"]
    counts = {KINDS.get(kind, (kind, kind))[0]: n for kind, n in (infer.get("paths") or {}).items() if n > 1}
    if not counts:
        return None
    sampled = " and ".join(f"{count} {name}" for name, count in counts.items())
    ties = ", then ".join([tie] if isinstance(tie, str) else tie)
    return f"{sampled} sampled at temperature {infer.get('temperature', '?')} to vote; ties by {ties} (arms may differ)"


def _span(values: Sequence[int]) -> str:
    return f"{min(values):,}" if min(values) == max(values) else f"{min(values):,} to {max(values):,}"


def _first(pair: tuple[int, Score]) -> int:
    return pair[0]


def _or(value: object, otherwise: str) -> str:
    return otherwise if value is None else str(value)
