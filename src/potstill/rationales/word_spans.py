"""Yes or no, labels and free text as final answers. Pure."""

from __future__ import annotations

import re

from potstill.rationales.prose import Wanted, first_sentence, fold, last_sentence, mentions, negates, sentences

_TERMINAL = re.compile(r"[.!?)\]}\"'*`”$]\s*$")
_TAKEN_BACK = re.compile(r"[^.!?]*\bbut\b[^.!?]*\b(?:not|\w+n['’]t)\b")
"""As in "Yes, it is a word, but it is not a numeral", where the question was about both."""
_QUOTED_RESULT = re.compile(
    r"(?:\b(?:get|gets|gives?|is|be|form|forms|spells?)|=)\s+[\"“]([^\"“”]+)[\"”]\W*$"
    r"|\b(?:have|concatenate)\s+[\"“]([^\"“”]+)[\"”]\s*\.\W*$"
)
YES_NO = {"yes": "yes", "no": "no", "true": "yes", "false": "no"}
_YES_NO_START = re.compile(
    r"""^[\s*_`:"'“$\\(\[{]*(?:\\text\{)?(?:that\s+|therefore,?\s+|so,?\s+|thus,?\s+|hence,?\s+)*["'“*]*
    (yes|no|true|false)\b(?![-'’])(?!\s+(?:one|matter|reason|evidence|way|longer)\b)""",
    re.IGNORECASE | re.VERBOSE,
)
_YES_NO_SENTENCE = re.compile(
    r"^(?:(?:so|therefore|thus|hence|in conclusion|overall|in short|finally|to answer (?:the|your|this) question)"
    r"\b[,:]?\s+)*\W*(yes|no|true|false)\b(?=\s*[,.;:!*\"”]|\s*$)",
    re.IGNORECASE,
)

_GLUED_ANSWER = re.compile(r"answer[\W_]{0,3}(?:is|being|remains)?[\W_]{0,3}(true|false)[\s.*\"'”]*$", re.IGNORECASE)
"""The end of a text whose words run together: "...theanswerisTrue", "The.answer.is.False", "Therefore answer False"."""


def pick_yes_no(span: str, wanted: Wanted, body: str) -> str | None:
    """Return the yes, no, true or false that a marked span begins with; `""` where it says both."""
    del wanted, body
    start = _YES_NO_START.match(span)
    if start is not None:
        other = re.match(r"\W*(?:or|and|/)\W*(?:yes|no|true|false)\b", span[start.end() :], re.IGNORECASE)
        taken_back = start[1].lower() in ("yes", "true") and _TAKEN_BACK.match(span[start.end() :])
        return "" if other or taken_back else start[1]
    found = {word.lower() for word in re.findall(r"\b(yes|true|false)\b", first_sentence(span), re.IGNORECASE)}
    return found.pop() if len({YES_NO[word] for word in found}) == 1 and not negates(span) else None


def conclude_yes_no(body: str, wanted: Wanted) -> tuple[str | None, str]:
    """Return (word, "") where the text ends in "answer: true", or its last or first sentence begins with yes or no."""
    del wanted
    glued = _GLUED_ANSWER.search(body, max(0, len(body) - 60))
    if glued is not None:
        return glued[1], ""
    parts = sentences(body)
    if len(parts) > 1 and parts[-2].endswith("?"):
        parts.pop()  # "Can a banana infect a human? No." answers a question of the author's own.
    for sentence in (*parts[-1:], *parts[:1]):
        match = _YES_NO_SENTENCE.match(sentence)
        if match is not None:
            return match[1], ""
    return None, "no_marker"


def pick_label(span: str, wanted: Wanted, body: str) -> str | None:
    """Return the label that a marked span is, or the only one that it mentions."""
    del body
    folded = fold(span.strip(" *_`\"'$().{}"))
    exact = [label for label in wanted.labels if fold(label) == folded]
    if exact:
        return exact[0]
    if not wanted.labels:
        return pick_text(span, wanted, span)
    return _mentioned_label(first_sentence(span) or span, wanted.labels)


def _mentioned_label(sentence: str, labels: tuple[str, ...]) -> str | None:
    folded = fold(sentence)
    hits = [label for label in labels if mentions(folded, fold(label))]
    hits = [a for a in hits if not any(a != b and fold(a) in fold(b) for b in hits)]
    if len(hits) != 1:
        return None
    return None if negates(folded.replace(fold(hits[0]), "")) else hits[0]


def conclude_label(body: str, wanted: Wanted) -> tuple[str | None, str]:
    """Return (label, "") where the last sentence mentions exactly one, or (None, reason)."""
    last = last_sentence(body)
    answer = _mentioned_label(last, wanted.labels) if _TERMINAL.search(last) else None
    return answer, "" if answer is not None else "no_marker"


def pick_text(span: str, wanted: Wanted, body: str) -> str | None:
    """Return what a marked span quotes, or its first sentence."""
    del wanted, body
    line = span.strip().split("\n")[0].strip()
    if re.search(r"[\"”]\s*=\s*[\"“]", line):
        line = re.split(r"=\s*", line)[-1]
    quoted = re.match(r"[\"“*`']+([^\"”*`']+)[\"”*`']+(?=[\s.,;]|$)", line)
    if quoted is not None:
        return quoted[1].strip()
    return first_sentence(line).rstrip(".").strip() or line or None


def conclude_text(body: str, wanted: Wanted) -> tuple[str | None, str]:
    """Return (text, "") of a text that is nothing but an answer, or ends in a quoted result; else (None, reason)."""
    del wanted
    line = body.strip()
    if "\n" not in line and len(line.split()) <= 6:
        return line.rstrip("."), ""
    quoted = _QUOTED_RESULT.search(last_sentence(body))
    return ((quoted[1] or quoted[2]).strip(), "") if quoted else (None, "no_marker")
