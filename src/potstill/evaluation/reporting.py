"""One self-contained HTML file about a run, or several: no script, no request to anywhere, readable offline, on paper.

    run directory ──gather──► Facts ──sections──► markup ──► report.html, and its Markdown twin report.md

It reads only files of the run directory; what is not there yet is left out, so it can be made at any time.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import yaml

from potstill.errors import ConfigError
from potstill.evaluation import tables
from potstill.evaluation.markdown import markdown_of, markdown_of_runs
from potstill.evaluation.page import excerpts, listings, naming, sections, trees, two_skills
from potstill.evaluation.page.believed import believed
from potstill.evaluation.page.beside import sections_of as sections_of_runs
from potstill.evaluation.page.contrasts import counterfactuals
from potstill.evaluation.page.failures import failures_section
from potstill.evaluation.page.gathering import Facts, gather, read_recipe
from potstill.evaluation.page.markup import Child, Html, element, join, text
from potstill.evaluation.page.probed import probed
from potstill.evaluation.page.redaction import public
from potstill.evaluation.runs import Beside, read_runs
from potstill.evaluation.summary import summary_of
from potstill.files import write_atomic
from potstill.records import Comparison, to_dict

METHODS = {
    "scotd": "Symbolic Chain-of-Thought Distillation",
    "mixed_distillation": "Mixed Distillation",
    "counterfactual": "Counterfactual Distillation",
    "idea_mcts": "IDEA-MCTS, instructions that evolve",
}
BASELINES = {"mixed_distillation": "ensemble"}
"""Method -> the system that its own is measured against on top of the page; absent: answer_only."""


def report(run_dir: str | Path, out: str | Path | None = None) -> Path:
    """Write a run's report, with its Markdown twin beside it, and return its path.

    Args:
        run_dir: A run directory, finished or not.
        out: The file to write (default: `report.html` in the run directory).

    Raises:
        DataError: It is not a run directory, or one of its files is damaged.
    """
    return report_with_summary(run_dir, out)[0]


def report_with_summary(run_dir: str | Path, out: str | Path | None = None) -> tuple[Path, dict[str, Any]]:
    """Write a run's report as `report` does, and return its path and the numbers in it."""
    folder = Path(run_dir)
    facts = gather(folder, examples=_examples_wanted(folder))
    path = _page_path(out, folder / "report.html")
    found = summary_of(facts, _title(facts))
    write_atomic(path, render(facts, found))
    write_atomic(path.with_suffix(".md"), markdown_of(found))
    return path, found


def report_runs(run_dirs: Sequence[str | Path], out: str | Path | None = None) -> tuple[Path, dict[str, Any]]:
    """Write the comparison of several runs, with its Markdown twin, and return its path and the numbers in it.

    Args:
        run_dirs: Run directories; the others are compared with the first.
        out: The file to write (default: `comparison.html` in the first of them).

    Raises:
        ConfigError: One is given twice.
        DataError: One of them is not a run directory, or one of its files is damaged.
    """
    beside = read_runs([Path(run_dir) for run_dir in run_dirs])
    path = _page_path(out, Path(run_dirs[0]) / "comparison.html")
    write_atomic(path, render_runs(beside))
    write_atomic(path.with_suffix(".md"), markdown_of_runs(beside))
    numbers = {
        "runs": {side.name: side.summary for side in beside.sides},
        "comparisons": [to_dict(pair) for pair in beside.comparisons],
        "notes": beside.notes,
        "recipe": dict(beside.recipe),
    }
    return path, numbers


def _page_path(out: str | Path | None, default: Path) -> Path:
    """Return where the page goes.

    Raises:
        ConfigError: It would be its own Markdown twin.
    """
    path = default if out is None else Path(out)
    if path.suffix == ".md" or path.is_dir():
        found = "a folder" if path.is_dir() else "the name of its Markdown twin"
        message = f"report: --out {path} is {found}; name the HTML file, such as {path.with_suffix('.html')}"
        raise ConfigError(message)
    return path


def render(facts: Facts, summary: Mapping[str, Any] | None = None) -> str:
    """Return the page as text."""
    body = [part for part in _sections(facts, summary or summary_of(facts, _title(facts))) if part is not None]
    return _page(_title(facts), _header(facts, body), body, _footer(facts))


def render_runs(beside: Beside) -> str:
    """Return the page on several runs as text."""
    title = " · ".join(side.name for side in beside.sides)
    body = [part for part in sections_of_runs(beside) if part is not None]
    note = tables.MINIATURE_NOTE if any(side.facts.is_miniature for side in beside.sides) else None
    header = element(
        "header",
        element("p", "potstill · runs compared", class_="eyebrow"),
        element("h1", title),
        element("p", note, class_="notice", role="note") if note else None,
        element("nav", *_links(body), aria_label="Sections"),
    )
    return _page(title, header, body, _footer(beside.sides[0].facts))


def _page(title: str, header: Html, body: Sequence[Html], footer: Html) -> str:
    templates = files("potstill.evaluation.page") / "templates"
    return Template((templates / "report.html").read_text(encoding="utf-8")).substitute(
        title=text(title),
        style=(templates / "report.css").read_text(encoding="utf-8").strip(),
        header=header,
        main=join(body),
        footer=footer,
    )


def headline(facts: Facts) -> Comparison | None:
    """Return the comparison that opens the page: the method against its baseline, on the test split, else the first.

    The baseline is a student of the answers alone and, of Mixed Distillation, the ensemble of single-skill students.
    """
    main, method = naming.main_system(facts), str(facts.recipe.get("method") or "")
    rows = [pair for pair in facts.comparisons if pair.metric == "accuracy"]
    wanted = [pair for pair in rows if (pair.a, pair.split) == (main, "test")]
    by_name = [pair for pair in wanted if pair.b == BASELINES.get(method, "answer_only")]
    by_name.sort(key=lambda pair: pair.path != naming.main_path(facts))
    return next(iter([*by_name, *wanted, *rows]), None)


def _sections(facts: Facts, summary: Mapping[str, Any]) -> list[Html | None]:
    shown = _examples_wanted(facts.folder)
    contrasted = shown - shown // 2 + 1 if shown else 0
    recipe = yaml.safe_dump(public(facts.recipe), sort_keys=False, allow_unicode=True) if facts.recipe else ""
    return [
        _hero(facts),
        trees.search_trees(facts),
        counterfactuals(facts),
        probed(facts),
        sections.funnel(facts),
        excerpts.teacher_examples(facts),
        *two_skills.sections_of(facts, contrasted),
        sections.accuracy(facts),
        sections.against_n(facts),
        excerpts.student_examples(facts, contrasted),
        listings.comparisons(facts),
        listings.score_table(facts),
        believed(facts, summary["calibration"], summary["corrected"], summary["calibration_note"]),
        failures_section(facts, shown),
        sections.training(facts),
        sections.cost(facts),
        sections.what_was_run(facts),
        sections.repeat(facts, recipe),
    ]


def _header(facts: Facts, body: list[Html]) -> Html:
    manifest = facts.manifest
    method = str(facts.recipe.get("method") or "")
    seeds = int(facts.recipe.get("n_seeds") or 1)
    began = str(manifest.get("created") or "")[:10]
    parts = [
        began,
        f"{seeds} seed{'s' if seeds > 1 else ''}",
        f"revision {manifest['git']}" if manifest.get("git") else "",
    ]
    byline = element("p", *(element("span", part) for part in parts if part), class_="byline")
    return element(
        "header",
        element("p", f"potstill · {METHODS.get(method, method or 'distillation')}", class_="eyebrow"),
        element("h1", _title(facts)),
        byline,
        element("p", tables.MINIATURE_NOTE, class_="notice", role="note") if facts.is_miniature else None,
        element("nav", *_links(body), aria_label="Sections"),
    )


def _links(body: list[Html]) -> list[Html]:
    """Return a link to each section that has a heading of its own."""
    found = re.findall(r'<section id="(\w+)"><h2>([^<]*)</h2>', join(body))
    return [join(element("a", Html(title), href=f"#{name}"), " ") for name, title in found]


def _hero(facts: Facts) -> Html:
    pair = headline(facts)
    drawn = sections.bars(facts, "test", "accuracy", "Percent of test problems right")
    if pair is None:
        said = "No comparison of two systems yet." if facts.scores else "No scores yet: this run is not evaluated."
        left = element("div", element("p", said, class_="claim"))
    else:
        left = element("div", *_effect(facts, pair))
    return element("section", element("div", left, drawn, class_="hero"), _facts(facts), id="headline")


def _effect(facts: Facts, pair: Comparison) -> list[Html]:
    seeds = max(int(pair.meta.get("seeds_a", 1)), int(pair.meta.get("seeds_b", 1)))
    sure = [
        f"95 % interval {naming.minus(tables.signed_interval(pair.low, pair.high))}, p {tables.p_value(pair.p)}",
        f"{pair.n:,} {pair.split} problems, {seeds} training seed{'s' if seeds > 1 else ''}",
    ]
    number = naming.minus(tables.signed(pair.difference))
    shade = "effect unclear" if pair.low <= 0 <= pair.high else "effect"
    return [
        element("h2", _claim_title(facts, pair)),
        element("p", number, element("small", "points"), class_=shade),
        element("p", *(join(element("span", part), " ") for part in sure), class_="certainty"),
        element("p", _claim(facts, pair), class_="claim"),
    ]


def _claim_title(facts: Facts, pair: Comparison) -> str:
    a, b = (naming.system_words(facts, name) for name in (pair.a, pair.b))
    return f"{a[:1].upper()}{a[1:]} against {b}"


def _claim(facts: Facts, pair: Comparison) -> str:
    """Say the result in a sentence that does not say more than the interval does."""
    values = {
        (row.system, row.path): row.value
        for row in tables.overall(facts.scores)
        if (row.split, row.metric) == (pair.split, pair.metric)
    }
    a = values.get((pair.a, str(pair.meta.get("path_a") or pair.path)))
    b = values.get((pair.b, str(pair.meta.get("path_b") or pair.path)))
    names = [_description(facts, name) for name in (pair.a, pair.b)]
    if pair.low <= 0 <= pair.high:
        verdict = "The interval includes zero: this run does not show a difference."
    else:
        verdict = "The interval excludes zero."
    if a is None or b is None:
        return verdict
    how = ""
    if pair.path == "vote":
        counts = {naming.votes_of(facts, name) for name in (pair.a, pair.b)}
        count = counts.pop() if len(counts) == 1 else None
        how = f" by a vote over {count} paths each" if count else " by vote"
    return f"{names[0]} gets {_percent(a)} right{how}; {names[1][:1].lower()}{names[1][1:]} {_percent(b)}. {verdict}"


def _description(facts: Facts, name: str) -> str:
    samples = naming.samples_per_problem(facts, name)
    if samples is not None:
        return f"A student trained on {samples} sampled rationale{'s' if samples > 1 else ''} per problem"
    known = {
        "mixed": "One student trained on chains of thought and programs",
        "mixed_distillation": "One student trained on chains of thought and programs",
        "mixture": "The same student trained on both under one token mean",
        "pot": "A student trained on programs",
        "ensemble": "An ensemble of two students with one skill each",
        "answer_only": "The same student trained on the answers alone",
        "untrained": "The student before training",
        "teacher": "The teacher",
    }
    return known.get(name, f"System {name}")


def _facts(facts: Facts) -> Html | None:
    flow, teacher = facts.funnel, next((r for r in naming.primary_rows(facts) if r.system == "teacher"), None)
    shown: list[tuple[str, str, str]] = []
    if facts.splits["train"]:
        shown.append(("training problems", f"{facts.splits['train']:,}", ""))
    if flow.sampled:
        shown.append(("rationales sampled", f"{flow.sampled:,}", ""))
    if flow.sampled and flow.statuses["CORRECT"]:
        right = flow.statuses["CORRECT"]
        shown.append(("with the right answer", f"{100 * right / flow.sampled:.1f} %", f"{right:,}"))
    if flow.tokens["completion_tokens"]:
        shown.append(("teacher tokens written", f"{flow.tokens['completion_tokens']:,}", ""))
    if teacher is not None and teacher.value is not None:
        shown.append(
            ("teacher on the same test", f"{100 * teacher.value:.1f} %", tables.interval(teacher.low, teacher.high))
        )
    if not shown:
        return None
    items = [
        element("div", element("dt", name), element("dd", value, element("small", more) if more else None))
        for name, value, more in shown
    ]
    return element("dl", *items, class_="facts")


def _percent(value: float) -> str:
    return f"{100 * value:.1f}\N{NO-BREAK SPACE}%"


def _footer(facts: Facts) -> Html:
    note: Child = f" {tables.MINIATURE_NOTE}" if facts.is_miniature else None
    version = (facts.manifest.get("versions") or {}).get("potstill", "")
    return element("footer", element("p", f"Made by potstill {version} from the files of this run.", note))


def _title(facts: Facts) -> str:
    given = (facts.recipe.get("report") or {}).get("title")
    return str(given or f"Run {facts.folder.resolve().name}")


def _examples_wanted(folder: Path) -> int:
    wanted = (read_recipe(folder).get("report") or {}).get("examples", 6)
    return wanted if isinstance(wanted, int) else 6
