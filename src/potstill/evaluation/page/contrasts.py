"""Counterfactuals in a report: what became of every edit that was asked for, and pairs with what was changed in colour.

Which pairs are shown a hash of the original's id decides, not a person and not the votes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from potstill.evaluation.page.gathering import Facts, rows_of
from potstill.evaluation.page.listings import count_row, listing
from potstill.evaluation.page.markup import Html, cut, element, join
from potstill.evaluation.page.naming import section
from potstill.evaluation.page.trees import difference
from potstill.generators.choosing import ACCEPTED
from potstill.records import child_seed

SHOWN_PAIRS = 6
CHARACTERS = 2000
"""Of one field."""
Row = Mapping[str, Any]


def counterfactuals(facts: Facts) -> Html | None:
    """Return the section on the counterfactuals of a run; `None` where none were asked for."""
    candidates = list(rows_of(facts.folder / "candidates.jsonl"))
    if not candidates:
        return None
    latest = list({row["id"]: row for row in candidates}.values())
    kept = list(rows_of(facts.folder / "counterfactuals.jsonl"))
    lead = element("p", _lead(facts, latest, kept), class_="lead")
    return section("counterfactuals", "Counterfactuals", lead, candidate_funnel(latest), *_pairs(facts, kept))


def candidate_funnel(candidates: Sequence[Row]) -> Html:
    """Return how many edits each step refused, by reason; what is left after each step beside them."""
    total, reasons = len(candidates), Counter(str(row.get("reason") or "not decided") for row in candidates)
    unread = Counter(str(row["fault"]) for row in candidates if row.get("fault"))
    judged = [row for row in candidates if row.get("jury")]
    refused = Counter(str(row.get("reason")) for row in judged if row.get("reason") not in (*ACCEPTED, None))
    filtered = reasons - unread - refused - Counter({name: reasons[name] for name in ACCEPTED})
    unchosen = Counter({name: reasons[name] for name in ACCEPTED if name != "kept"})
    body: list[Html] = [count_row("asked for", [(total, total)])]
    for name, counts in (
        ("No edit in the reply", unread), ("Refused by a filter", filtered), ("Refused by the jury", refused),
        ("Accepted, not chosen", unchosen),
    ):  # fmt: skip
        if counts.total():
            body.append(element("tr", element("th", name, colspan=3, scope="rowgroup"), class_="group"))
        body += [
            count_row(reason.replace("_", " "), [(count, total)]) for reason, count in counts.most_common() if count
        ]
    body.append(count_row("kept", [(reasons["kept"], total)]))
    words = "What became of every edit that was asked for, cheapest check first. Each is in candidates.jsonl."
    return listing(words, ("", "edits", "share"), body, first_number=1)


def _lead(facts: Facts, candidates: Sequence[Row], kept: Sequence[Row]) -> str:
    counts = ((facts.manifest.get("stages") or {}).get("counterfactual") or {}).get("counts") or {}
    judged = [row for row in candidates if row.get("jury")]
    accepted = sum(row.get("reason") in ACCEPTED for row in judged)
    said = f"{counts.get('edited', 0):,} problems, {len(candidates):,} edits asked for, {len(kept):,} kept."
    if judged:
        jurors = ", ".join(dict.fromkeys(str(name) for name in counts.get("jurors") or ()))
        said += (
            f" A jury ({jurors or 'unknown'}) that saw the edited item alone said of {accepted:,} of {len(judged):,} "
            f"that they have the wanted label ({100 * accepted / len(judged):.1f} %)."
        )
    if counts.get("writer_judges"):
        said += " The writer sat on it: its own errors are not found out."
    pairs = counts.get("pairs") or {}
    if 0 < len(pairs) <= 12:
        said += " Kept by labels: " + ", ".join(f"{name} {count}" for name, count in pairs.items()) + "."
    return said


def _pairs(facts: Facts, kept: Sequence[Row]) -> list[Html]:
    """Return a heading and a few pairs, original against counterfactual, word by word."""
    shown = sorted(kept, key=lambda row: child_seed("shown pair", row.get("parent_id"), row.get("id")))[:SHOWN_PAIRS]
    wanted = {row.get("parent_id") for row in shown}
    originals = {row["id"]: row for row in rows_of(facts.folder / "problems.jsonl") if row.get("id") in wanted}
    drawn = [_pair(originals[row["parent_id"]], row) for row in shown if row.get("parent_id") in originals]
    if not drawn:
        return []
    return [element("h3", f"{len(drawn)} of {len(kept)} pairs, word by word", class_="part"), *drawn]


def _pair(original: Row, edited: Row) -> Html:
    """Return one pair: the fields with what went and what came, the labels, the votes."""
    told = (edited.get("meta") or {}).get("counterfactual") or {}
    votes = ", ".join(f"{count} {label}" for label, count in (told.get("votes") or {}).items())
    labels = join(
        element("del", cut(str(told.get("from", "")), 60)), " ", element("ins", cut(str(told.get("to", "")), 60))
    )
    facts = f"{told.get('kind', '')}, {told.get('edited_tokens', 0)} tokens, votes: {votes or 'none'}"
    before, after = original.get("fields") or {}, edited.get("fields") or {}
    if not before or set(before) != set(after):
        before, after = {"question": original.get("question", "")}, {"question": edited.get("question", "")}
    rows = [
        element(
            "p", element("strong", name), " ", difference(str(before[name])[:CHARACTERS], str(after[name])[:CHARACTERS])
        )
        for name in before
    ]
    return element("div", *rows, element("p", labels, " ", element("small", facts)), class_="search")
