"""The edit-only probe in a report: whether the changed words alone tell the new label, with what tells it most."""

from __future__ import annotations

from potstill.evaluation.page.gathering import Facts, rows_of
from potstill.evaluation.page.listings import listing
from potstill.evaluation.page.markup import Html, element
from potstill.evaluation.page.naming import section
from potstill.evaluation.probing import WARN_ABOVE, Probe, pairs_of, probe
from potstill.records import Problem, from_dict


def probed(facts: Facts) -> Html | None:
    """Return the section on the probe of the training pairs; `None` where a run has none."""
    splits = tuple((facts.recipe.get("sample") or {}).get("splits") or ("train",))
    problems = [from_dict(Problem, row, "problems.jsonl") for row in rows_of(facts.folder / "problems.jsonl")]
    pairs = pairs_of(problems, splits)
    if not pairs:
        return None
    found = probe(pairs)
    title = "Do the edits betray the label?"
    if isinstance(found, str):
        return section("probe", title, element("p", f"Not probed: {found}.", class_="lead"))
    return section("probe", title, element("p", _lead(found), class_="lead"), _telling(found))


def _lead(found: Probe) -> str:
    said = (
        f"From the changed words alone a linear model tells the new label with AUC {found.auc:.2f} "
        f"[{found.low:.2f}, {found.high:.2f}] (n = {found.n} edits, out of fold; 0.5 is chance). "
    )
    if not found.warns:
        return said + f"Below {WARN_ABOVE} the edits are not a shortcut of their own."
    return said + (
        f"Above {WARN_ABOVE}: the edits themselves give the label away, and a student may learn the words instead of "
        "the task. Where the words are the task (sentiment) that is to be expected; else ask for other kinds of edits."
    )


def _telling(found: Probe) -> Html:
    body = [
        element("tr", element("td", token[1:]), element("td", "inserted" if token[0] == "+" else "removed"),
                element("td", label), element("td", f"{weight:.2f}", class_="number"))
        for token, label, weight in found.telling
    ]  # fmt: skip
    return listing("What speaks most for a label.", ("word", "", "for label", "weight"), body, first_number=3)
