"""Filters on an edited item, cheapest first: pure functions from a case to `Finding(ok, reason, metrics)`.

    format (edits.py) → unchanged → leaks → minimality → length → similarity → fluency → duplicates → jury (jury.py)

Each looks at one thing and says one reason, which is counted. What a filter needs from outside (a cosine, a cost per
token, votes) reaches it as an argument. None of them knows whether the label holds: that is the jury's question.

The limits are those within which people stayed who were asked for minimal edits (counterfactually augmented data,
Kaushik et al. 2020; docs/counterfactual.md has the shares that pass). The copy guard is DISCO's (Chen et al. 2023,
arXiv:2212.10534) in our words.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from potstill.generators.edits import bare, changed_words, edit_distance, fields_of, tokens
from potstill.generators.gates import is_left_open
from potstill.rationales.contamination import content_words
from potstill.recipe.counterfactual import FluencyConfig, LimitsConfig, SimilarityConfig
from potstill.records import Problem

Metrics = Mapping[str, float]
BANNED = (
    "[blank]", "[mask]", "<blank>", "it is true that", "it is false that", "answer:", "label:", "statement:",
    "the answer is", "the label is", "counterfactual", "edited item", "edited version", "original item",
    "as an ai", "```", "<<<", ">>>",
)  # fmt: skip
"""Texts that speak of the task instead of doing it; an edit must not bring one in."""
_NEGATIONS = (
    "not no never none nobody nothing nowhere neither nor without cannot hardly barely t isn aren wasn weren don doesn "
    "didn won wouldn couldn shouldn hasn haven hadn"
)
NEGATIONS = frozenset(_NEGATIONS.split())
"""Words of a negation; `t` is what is left of n't."""


ORDINARY = frozenset(("yes", "no", "none", "not", "true", "false", "maybe", "other", "both", "same", "up", "down"))
"""Labels that are words of any text."""


@dataclass(frozen=True, slots=True)
class Case:
    """An item before and after an edit."""

    problem: Problem
    field: str
    text: str
    """The edited field."""
    target: str
    """The wanted label; empty where the answer is computed."""
    role: str = "counterfactual"
    kind: str = ""

    @property
    def before(self) -> str:
        """The field as it was."""
        return fields_of(self.problem)[self.field]


@dataclass(frozen=True, slots=True)
class Finding:
    """What one filter found."""

    ok: bool
    reason: str = ""
    """A short code that is counted; empty where it passes."""
    metrics: Metrics = field(default_factory=dict)
    detail: str = ""


PASSED = Finding(ok=True)


def _refused(reason: str, detail: str = "", metrics: Metrics | None = None) -> Finding:
    return Finding(False, reason, metrics or {}, detail)


def unchanged(case: Case) -> Finding:
    """Refuse a text that differs from the original in nothing but case, marks and white space."""
    return _refused("unchanged") if bare(case.before) == bare(case.text) else PASSED


def banned_text(case: Case, banned: Sequence[str] = ()) -> Finding:
    """Refuse an edit that brings in a text about the task, or one that the recipe bans."""
    before, after = case.before.casefold(), case.text.casefold()
    found = [text for text in (*BANNED, *banned) if text.casefold() in after and text.casefold() not in before]
    return _refused("banned_text", found[0]) if found else PASSED


def label_leak(case: Case) -> Finding:
    """Refuse an edit that names a label, or that writes the wanted option into the question.

    A label is looked for as a word; one that is an ordinary word, such as no, only as a sentence of its own.
    """
    before, after = tokens(case.before), tokens(case.text)
    if case.problem.answer_type == "choice":
        return _option_leak(case, set(before), set(after))
    came = set(after) - set(before)
    for label in ("yes", "no") if case.problem.answer_type == "yesno" else case.problem.labels:
        own = tokens(label)
        if label.casefold() in ORDINARY:
            alone = re.compile(rf"(?:^|[.?!]\s+){re.escape(label)}\s*(?:[.,!]|$)", re.IGNORECASE)
            is_named = bool(alone.search(case.text)) and not alone.search(case.before)
        else:
            is_named = any(word in came for word in own) and _holds(after, own)
        if is_named:
            return _refused("label_leaked", label)
    return PASSED


def _option_leak(case: Case, before: set[str], after: set[str]) -> Finding:
    at = ord(case.target[1]) - ord("a") if len(case.target) == 3 else -1
    if not 0 <= at < len(case.problem.options):
        return PASSED
    own = {word for word in tokens(case.problem.options[at]) if word[0].isalnum()}
    new = own - before
    if new and own <= after:
        return _refused("label_leaked", case.problem.options[at])
    return PASSED


def _holds(text: Sequence[str], run: Sequence[str]) -> bool:
    return any([*text[at : at + len(run)]] == [*run] for at in range(len(text) - len(run) + 1))


def copied(case: Case) -> Finding:
    """Refuse an edited field that has become another field of the item word for word, where it was not before.

    Source: the copy guard of DISCO, Chen et al. 2023, arXiv:2212.10534. Differs: whole fields are compared, and people
    who were asked for an entailment do write nearly the premise, so nearly is allowed.
    """
    for name, text in fields_of(case.problem).items():
        if name != case.field and bare(text) == bare(case.text) and bare(text) != bare(case.before):
            return _refused("copies_field", f"it is {name}")
    return PASSED


def cut_off(case: Case) -> Finding:
    """Refuse a text that ends in the middle or leaves a bracket or a quote open, where the original did not."""
    return _refused("cut_off") if _is_open(case.text) and not _is_open(case.before) else PASSED


def _is_open(text: str) -> bool:
    return is_left_open(text) or any(text.count(left) != text.count(right) for left, right in ("()", "[]", "{}"))


def minimality(case: Case, limits: LimitsConfig) -> Finding:
    """Refuse an edit that changes too much: by share in a long field, by count and share in a short one.

    Reasons: not_minimal; rewritten, where most of a short field is new and its words are not those of the item.
    Metrics: distance (of the field, in [0, 1]), edits (tokens), whole_distance (over all fields).
    """
    before, after = tokens(case.before), tokens(case.text)
    edits = edit_distance(before, after)
    distance = edits / max(1, len(before), len(after))
    others = sum(len(tokens(text)) for name, text in fields_of(case.problem).items() if name != case.field)
    whole = edits / max(1, others + max(len(before), len(after)))
    metrics = {"distance": round(distance, 4), "edits": float(edits), "whole_distance": round(whole, 4)}
    if len(before) >= limits.long:
        is_small, is_own = distance <= limits.distance, True
    else:
        is_small = edits <= limits.edits and distance <= limits.short_distance
        is_small |= bool(others) and limits.whole_distance is not None and whole <= limits.whole_distance
        is_own = distance <= limits.rewritten or _own_words(case) >= limits.own_words
    if not is_small:
        return _refused("not_minimal", f"{edits} token edits", metrics)
    return Finding(True, metrics=metrics) if is_own else _refused("rewritten", f"{distance:.0%} of it is new", metrics)


def _own_words(case: Case) -> float:
    """Return the share of the content words of the new text that stand in the original item."""
    known = frozenset[str]().union(*map(content_words, fields_of(case.problem).values()))
    own = content_words(case.text)
    return len(own & known) / len(own) if own else 1.0


def length_ratio(case: Case, limits: LimitsConfig) -> Finding:
    """Refuse a long text that an edit makes much longer or shorter."""
    before, after = len(tokens(case.before)), len(tokens(case.text))
    ratio = after / max(1, before)
    metrics = {"length_ratio": round(ratio, 4)}
    low, high = limits.length_ratio
    if before >= limits.long and not low <= ratio <= high:
        return _refused("length_changed", f"{ratio:.2f} of its length", metrics)
    return Finding(True, metrics=metrics)


def similarity(cosine: float, config: SimilarityConfig) -> Finding:
    """Refuse what is about something else, and what is no change at all, by the cosine of two embeddings."""
    metrics = {"similarity": round(cosine, 4)}
    if cosine < config.low:
        return _refused("not_similar", f"cosine {cosine:.2f}", metrics)
    if cosine > config.high:
        return _refused("too_similar", f"cosine {cosine:.4f}", metrics)
    return Finding(True, metrics=metrics)


def fluency(before: float, after: float, config: FluencyConfig) -> Finding:
    """Refuse a text that costs a language model more per token than the original did, in nats.

    Differs: per token; a sum, as in Polyjuice (Wu et al. 2021, arXiv:2101.00288), grows with the length.
    """
    metrics = {"delta_nll": round(after - before, 4)}
    if after - before > config.nats:
        return _refused("not_fluent", f"{after - before:+.2f} nats per token", metrics)
    return Finding(True, metrics=metrics)


def cheap(limits: LimitsConfig, banned: Sequence[str] = ()) -> tuple[Callable[[Case], Finding], ...]:
    """Return the filters that need nothing but the texts, cheapest first."""
    return (
        unchanged,
        lambda case: banned_text(case, banned),
        label_leak,
        copied,
        cut_off,
        lambda case: minimality(case, limits),
        lambda case: length_ratio(case, limits),
    )


def first_refusal(case: Case, filters: Sequence[Callable[[Case], Finding]]) -> Finding:
    """Return the finding of the first filter that refuses, or that all pass; with the metrics measured on the way."""
    metrics: dict[str, float] = {}
    for one in filters:
        found = one(case)
        metrics |= found.metrics
        if not found.ok:
            return Finding(False, found.reason, metrics, found.detail)
    return Finding(True, metrics=metrics)


def signature(case: Case) -> tuple[str, str, str]:
    """Return (kind, words out, words in): edits of one signature teach one substitution."""
    out, came = changed_words(case.before, case.text)
    return ("negation" if is_negation(case) else case.kind, " ".join(out), " ".join(came))


def is_negation(case: Case) -> bool:
    """Whether an edit brings in or takes out a negation."""
    before, after = tokens(case.before), tokens(case.text)
    return sum(word in NEGATIONS for word in before) != sum(word in NEGATIONS for word in after)
