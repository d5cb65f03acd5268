"""Texts side by side: what the teacher wrote, and what the student wrote before and after."""

from __future__ import annotations

from collections.abc import Sequence

from potstill.evaluation.page.gathering import Case, Facts, Text
from potstill.evaluation.page.markup import Html, cut, element
from potstill.evaluation.page.naming import STATUSES, main_system, section, system_words
from potstill.evaluation.page.predictions import before_and_after

TEXT_LIMIT = 1600
"""Characters of one text that are shown."""


def teacher_examples(facts: Facts) -> Html | None:
    """Return a kept and a rejected rationale of the teacher, side by side, of each kind in turn."""
    if not facts.cases:
        return None
    text = (
        "Training problems with a rationale that the filter kept beside one that it rejected, where there are both; "
        "picked by a hash, not by eye."
    )
    if any(text.kind == "pot" for case in facts.cases for text in case.texts):
        text += " Programs are shown as written; the answer is what running them gave."
    return section("teacher", "What the teacher wrote", element("p", text, class_="lead"), *map(case_view, facts.cases))


def student_examples(facts: Facts, most: int) -> Html | None:
    """Return what the student wrote before and after, on the same test problems."""
    names = [row.system for row in facts.scores]
    first = next((name for name in ("untrained", "answer_only", "cot_n1") if name in names), None)
    after = main_system(facts)
    if first is None or first == after or not most:
        return None
    counts, cases = before_and_after(facts.folder, first, after, most)
    if not cases:
        return None
    total = sum(counts.values())
    said = (
        f"Of {total:,} test problems, {counts['gained']:,} are right only after, {counts['lost']:,} only before, "
        f"{counts['still right']:,} both times and {counts['still wrong']:,} neither (first seed). "
        "Picked by a hash within each kind, not by eye."
    )
    heads = {"gained": "Right only after", "lost": "Right only before", "still wrong": "Still wrong"}
    before = "before training" if first == "untrained" else f"before: {system_words(facts, first)}"
    named = (before, f"after: {system_words(facts, after)}")
    shown = [case_view(case, heads.get(case.heading, case.heading), named) for case in cases]
    return section("students", "The student, before and after", element("p", said, class_="lead"), *shown)


def case_view(case: Case, heading: str = "", named: Sequence[str] = ()) -> Html:
    """Return a problem with its texts side by side, each with its answer and what verification found."""
    gold = element("span", f"gold answer: {cut(case.gold, 80)}", class_="gold") if case.gold is not None else None
    question = element("p", cut(case.question, TEXT_LIMIT), " ", gold, class_="question")
    labels = list(named) or [_author(text) for text in case.texts]
    sides = [_side(text, label) for text, label in zip(case.texts, labels, strict=False)]
    top = element("h3", heading) if heading else None
    return element("article", top, question, element("div", *sides, class_="sides"), class_="case")


def _side(text: Text, label: str) -> Html:
    words = {status: said for status, _, said in STATUSES}.get(text.status, "not verified")
    mark = {"CORRECT": "✓ ", "WRONG": "✗ "}.get(text.status, "")
    answer = f": {cut(text.answer, 60)}" if text.answer is not None and text.status in ("CORRECT", "WRONG") else ""
    if text.status == "PROGRAM_FAILED" and text.reason:
        answer = f": {cut(text.reason.replace('_', ' '), 60)}"
    dropped = f" · dropped: {text.note}" if text.note and text.note != text.status.lower() else ""
    head = element("h4", element("span", label), element("span", f"{mark}{words}{answer}{dropped}", class_="mark"))
    shade = {"CORRECT": " right", "WRONG": " wrong"}.get(text.status, "")
    return element("div", head, _body(text), class_=f"side{shade}")


def _body(text: Text) -> Html:
    """Return a text as prose, or, of a program, as code with its indentation."""
    if not text.text.strip():
        return element("p", "(no text)", class_="written empty")
    if text.kind == "pot":
        return element("pre", element("code", cut(text.text.strip("\r\n").rstrip(), TEXT_LIMIT)), class_="program")
    return element("p", cut(text.text.strip(), TEXT_LIMIT), class_="written")


def _author(text: Text) -> str:
    name = text.author or "teacher"
    return f"{name}, program" if text.kind == "pot" else name
