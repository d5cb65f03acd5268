"""Edits: what a teacher says it changed, and the same change made by us.

    reply ──► Draft(field, ((old, new), …), declared) ──apply──► the field's new text, or why there is none

An edit is declared as pairs of spans, old and new, and applied here to the text that we hold; a reply's own rendering
of the edited text is only compared with ours. So nothing can change that was not declared, and every change is known
word by word. Pure. Nothing here says whether an edit is good (`potstill.generators.filters`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import islice, product

from potstill.generators.asking import Failed
from potstill.generators.evolving import failure_of, read_object
from potstill.records import Problem
from potstill.teachers.base import Completion

QUESTION = "question"
"""The name of the one field of a problem without fields."""
MOST_PLACINGS = 256
"""Ways to place repeated spans that are tried against the declared text."""
_TOKEN = re.compile(r"\w+|[^\w\s]")
_MARKS = re.compile(r"[^\w\s]+")


@dataclass(frozen=True, slots=True)
class Draft:
    """What a reply declares."""

    field: str
    edits: tuple[tuple[str, str], ...]
    """(old span, new span), as the reply spells them."""
    declared: str | None = None
    """The reply's own rendering of the edited field; `None`: it gives none."""


def fields_of(problem: Problem) -> dict[str, str]:
    """Return the texts of a problem that can be edited one by one; without fields the question is the one field."""
    return dict(problem.fields) or {QUESTION: problem.question}


def read_edit(completion: Completion, problem: Problem, editable: Sequence[str]) -> Draft | Failed:
    """Return the declared edit of a reply, or why there is none.

    Reasons: refused, empty, error, truncated, unparseable (no JSON object, or not of the form), impossible (the teacher
    says so), no_edit, several_fields, unknown_field, not_editable, options_altered.
    """
    if failure := failure_of(completion):
        return failure
    found = read_object(completion.text)
    if found is None or found.get("status") not in ("ok", "impossible"):
        return Failed("unparseable")
    if found["status"] == "impossible":
        return Failed("impossible")
    edits = found.get("edits")
    if not isinstance(edits, list) or not all(_is_edit(edit) for edit in edits):
        return Failed("unparseable")
    if not edits:
        return Failed("no_edit")
    if _alters_options(found, edits, problem):
        return Failed("options_altered")
    names = list(dict.fromkeys(str(edit.get("field") or editable[0]) for edit in edits))
    if len(names) > 1:
        return Failed("several_fields")
    if names[0] not in editable:
        return Failed("not_editable" if names[0] in fields_of(problem) else "unknown_field")
    declared = found.get("edited")
    if isinstance(declared, Mapping):
        declared = declared.get(names[0])
    pairs = tuple((edit["old"], edit["new"]) for edit in edits)
    return Draft(names[0], pairs, declared if isinstance(declared, str) and declared.strip() else None)


def _is_edit(value: object) -> bool:
    return isinstance(value, Mapping) and all(isinstance(value.get(key), str) for key in ("old", "new"))


def _alters_options(found: Mapping[str, object], edits: Sequence[Mapping[str, str]], problem: Problem) -> bool:
    """Whether a reply changes the choices of a problem, which have to stay as they are."""
    if any(str(edit.get("field")) in ("options", "choices", "labels") for edit in edits):
        return True
    given = found.get("options")
    return bool(problem.options) and isinstance(given, list) and [str(one) for one in given] != [*problem.options]


def apply(text: str, draft: Draft) -> str | Failed:
    """Return the text with a draft's edits made, all of them to the text as it was.

    A span that occurs several times is placed where the declared text shows it. Reasons: empty_span, span_not_found,
    span_ambiguous, spans_overlap, declared_text_differs.
    """
    placings = []
    for old, _ in draft.edits:
        if not old.strip():
            return Failed("empty_span")
        places = _places(text, old)
        if not places:
            return Failed("span_not_found")
        placings.append(places)
    found = [_placed(text, draft.edits, places) for places in islice(product(*placings), MOST_PLACINGS)]
    results = list(dict.fromkeys(one for one in found if one is not None))
    if not results:
        return Failed("spans_overlap")
    if draft.declared is None:
        return results[0] if len(results) == 1 else Failed("span_ambiguous")
    wanted = squashed(draft.declared)
    agreeing = [one for one in results if squashed(one) == wanted]
    return agreeing[0] if agreeing else Failed("declared_text_differs")


def _places(text: str, old: str) -> list[int]:
    """Return where a span begins, as whole words where it occurs so."""
    return _whole(text, old) or [match.start() for match in re.finditer(f"(?={re.escape(old)})", text)]


def _whole(text: str, span: str) -> list[int]:
    """Return where a span begins that is not a part of longer words."""
    before = r"(?<!\w)" if span[:1].isalnum() else ""
    after = r"(?!\w)" if span[-1:].isalnum() else ""
    return [match.start() for match in re.finditer(f"{before}(?={re.escape(span)}{after})", text)] if span else []


def _placed(text: str, edits: Sequence[tuple[str, str]], places: Sequence[int]) -> str | None:
    """Return the text with each edit made at its place; `None` where two of them overlap."""
    parts, at = [], 0
    for place, (old, new) in sorted(zip(places, edits, strict=True)):
        if place < at:
            return None
        end = place + len(old)
        if not new.strip():  # a deletion takes the space before it along
            new = ""
            place -= place > at and text[place - 1] == " " and text[end : end + 1] in (" ", "", ".", ",", "?", "!")
        parts += [text[at:place], new]
        at = end
    return "".join([*parts, text[at:]])


def squashed(text: str) -> str:
    """Return a text with white space as single spaces: what a declared text must agree in."""
    return " ".join(text.split())


def bare(text: str) -> str:
    """Return a text without case, marks and white space: two texts that differ in nothing else are one.

    >>> bare("Two men,  arguing.") == bare("two men arguing")
    True
    """
    return " ".join(_MARKS.sub(" ", text.casefold()).split())


def rendered(problem: Problem, fields: Mapping[str, str], form: str | None) -> str | None:
    """Return the question that edited fields make, `None` where it cannot be told.

    Args:
        form: `problems.question`, a text with {column}. Where the question does not follow it, each edited field must
            stand in the question exactly once.
    """
    before = fields_of(problem)
    if not problem.fields:
        return fields[QUESTION]
    if form is not None and _filled(form, before) == problem.question:
        return _filled(form, fields)
    question = problem.question
    for name, text in fields.items():
        if text != before[name]:
            places = _whole(question, before[name])
            if len(places) != 1 or len(_whole(problem.question, before[name])) != 1:
                return None
            question = question[: places[0]] + text + question[places[0] + len(before[name]) :]
    return question


def _filled(form: str, fields: Mapping[str, str]) -> str:
    return re.sub(r"\{(\w+)\}", lambda match: fields.get(match[1], match[0]), form)


def tokens(text: str) -> list[str]:
    """Return the words and marks of a text, lower case: what edits are counted in.

    >>> tokens("Don't stop.")
    ['don', "'", 't', 'stop', '.']
    """
    return _TOKEN.findall(text.lower())


def edit_distance(before: Sequence[str], after: Sequence[str]) -> int:
    """Return the Levenshtein distance of two token sequences.

    Source: Hyyrö 2003, "A bit-vector algorithm for computing Levenshtein and Damerau edit distances": a column of the
    table of Wagner and Fischer is two integers, so a text of a thousand words takes a thousand steps.
    """
    if not before or not after:
        return len(before) + len(after)
    masks: dict[str, int] = {}
    for at, token in enumerate(before):
        masks[token] = masks.get(token, 0) | 1 << at
    full, last = (1 << len(before)) - 1, 1 << (len(before) - 1)
    up, down, score = full, 0, len(before)
    for token in after:
        equal = masks.get(token, 0)
        either = equal | down
        carried = (((equal & up) + up) ^ up) | equal
        right, left = down | (full & ~(carried | up)), up & carried
        score += bool(right & last) - bool(left & last)
        right, left = right << 1 | 1, left << 1
        up, down = (left | ~(either | right)) & full, right & either & full
    return score


def changed_words(before: str, after: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the words that went and those that came, sorted; what is only moved is in both.

    >>> changed_words("Two men are laughing.", "Two men are arguing.")
    (('laughing',), ('arguing',))
    """
    old, new = tokens(before), tokens(after)
    out, came = Counter[str](), Counter[str]()
    for tag, i, j, k, m in SequenceMatcher(a=old, b=new, autojunk=False).get_opcodes():
        if tag != "equal":
            out.update(old[i:j])
            came.update(new[k:m])
    return _words(out), _words(came)


def _words(counts: Counter[str]) -> tuple[str, ...]:
    return tuple(sorted(word for word in counts.elements() if word[0].isalnum()))
