"""Where a text states its final answer: think blocks, run-on text, markers, the concluding sentence.

`find` returns the piece of text that holds the answer, or the reason why there is none. Markers come first
(`\\boxed{}`, `####`, `<answer>`, "the answer is", "Final answer:"): the last one that holds an answer of the wanted
type counts. Only where there is no marker is the concluding sentence read. The strict side is chosen throughout: two
answers are not one, a cut-off answer is none, and a text that never leaves its think block has said nothing. Pure;
what an answer is worth is for `potstill.rationales.answers`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from potstill.rationales.latex import repaired
from potstill.rationales.numbers import parse_number, same
from potstill.rationales.prose import Wanted, sentences
from potstill.rationales.spans import conclude, pick

_MARKER = re.compile(
    r"""(?:(?<![A-Za-z])|(?=[\\#<]|The\s))(?:
    (?P<box>\\(?:boxed|fbox)\s*\{)
    |(?P<hashes>(?<!\#)\#{4}\s+(?=[-$\d(\\A-Za-z]))|(?P<tag><answer>)
    |(?P<letter>^(?:A|Ans|Solution)\s*:[ \t])
    |(?P<heading>^\W*(?:the\s+)?(?:final|correct)\s+answer\W*$)
    |(?P<phrase>(?<!\bif\s)(?<!\bwhether\s)(?:(?:\b|(?-i:(?<=[0-9a-z.)}\]%])(?=The\s)))
         (?:the|my|our|your|final|correct|right|numeric|numerical|exact|simplified|best|so|then|therefore|thus|hence)\s+
         (?:most\s+\w+\s+)?|^[\s>*_\#-]*)answers?\b(?!\s+(?:choices?|options?|key|sheet|questions?|this|these|it)\b)
       [^.\n:=?!]{0,80}?
       (?:\s(?:is|are|was|would\s+be|will\s+be|should\s+be|equals|becomes)\b
            (?!\s+(?:not|incorrect|wrong|correct|based|found|given|obtained|expected|helpful|the\s+same)\b)(?:\s*:)?
         |\s*(?:\*\*|__)?\s*[:=](?!/)))
    |(?P<option>\b(?:only|correct|best|right|most\s+\w+)\s+(?:choice|option|statement)\b[^.\n:?!]{0,80}?
       (?:\sis\b(?!\s+not\b)|:)))""",
    re.IGNORECASE | re.MULTILINE | re.VERBOSE,
)
_HINT = re.compile(r"answer|Answer|ANSWER|boxed|fbox|####|option\b|Option\b|choice\b|Choice\b|statement\b|Statement\b")
"""A word of every marker but those of `_LINE_HINT`."""
_HINT_PARTS = ("nswer", "NSWER", "boxed", "fbox", "####", "ption", "hoice", "tatement")
_LINE_HINT = re.compile(r"^\s*(?:A|Ans|Solution) ?:", re.MULTILINE)
_LABELS = ("A:", "A :", "Ans:", "Ans :", "Solution:", "Solution :")
_AFTERTHOUGHT = 200
"""A text that was cut off more than this many characters after its marker had not come to its end."""
_BEFORE, _BEHIND = 48, 120
"""Characters around a hint in which its marker lies."""
_NEXT_QUESTION = re.compile(r"^(?:Q|Question|Premise|Problem|Human|User|Instruction)\s*\d*\s*:", re.MULTILINE)
_QUESTION_WORDS = ("Q", "Premise", "Problem", "Human", "User", "Instruction")
_CUT = re.compile(
    r"(?:[-+*/=<(\[{,;\\]|\b(?:the|an?|of|to|and|or|is|are|on|in|for|with|by|will|that|his|her|their))$", re.IGNORECASE
)
_CUT_LENGTH = 8
"""More characters than the longest word of `_CUT` has."""
_CONDITION = re.compile(
    r"(?<!\bask )(?<!\basks )(?<!\basked )(?<!\basking )(?<!\bcheck )(?<!\bsee )"
    r"\bif\b[^.!?\n]{0,200},[\"”]?\s*(?:then\s+)?(?:(?:the|my|our)\s+)?(?:\w+\s+)?answers?\b[^.!?\n]*$"
    r"|\b(?:think\s+about|consider|ask)\s+whether\b[^.!?\n]*\.\s+(?:(?:the|my|our)\s+)?answers?\b[^.!?\n]*$",
    re.IGNORECASE,
)
_THINK = "<think>", "</think>"
_CALCULATOR = re.compile(r"<<[^<>]*>>")
_LABELLED_START = re.compile(r"\s*(?:Q|Question|Premise|Problem)\s*\d*\s*:")


@dataclass(frozen=True, slots=True)
class Found:
    """The piece of text that holds the final answer."""

    span: str | None
    how: str = ""
    """marker, conclusion or whole: how it was found."""
    reason: str = ""
    """Without a span: empty, truncated, no_marker, ambiguous or unreadable."""


@dataclass(frozen=True, slots=True)
class _Mark:
    span: str
    """The text that a marker points to."""
    at_end: bool
    """Whether it runs to the end of the body."""
    follows: int
    """Characters of the body after the marker."""
    said: bool
    """Whether the marker is a sentence, which a later sentence can take back."""


def find(text: str, wanted: Wanted, *, truncated: bool = False, bare: bool = False) -> Found:
    """Find the final answer in `text`.

    Args:
        wanted: The type of answer, its options and labels.
        truncated: The text ended at a token limit: an answer that touches its end does not count, nor does a
            conclusion.
        bare: The whole text may be the answer (a rationale of kind `answer`).
    """
    body, cut = final_part(text)
    if body is None:
        return Found(None, reason="truncated")
    truncated = truncated and not cut
    if wanted.type == "expression":
        body = repaired(body)
    if "<<" in body:
        body = _CALCULATOR.sub("", body)
    if not body.strip():
        return Found(None, reason="empty")
    marked = _find_marked(body, wanted, truncated)
    if marked is not None and (marked.span is not None or not bare):
        return marked
    if bare and not truncated and (answer := pick(body, wanted, body)):
        return Found(answer, "whole")
    if marked is not None:
        return marked
    if truncated or _is_cut(body):
        return Found(None, reason="truncated")
    answer, reason = conclude(body, wanted)
    return Found(answer, "conclusion") if answer is not None else Found(None, reason=reason)


def _find_marked(body: str, wanted: Wanted, truncated: bool) -> Found | None:
    """Return what the last readable marker says; `None` where there is no marker at all."""
    unfinished = blocked = False
    for mark in _marks(body):
        if not mark.span.strip():
            unfinished = unfinished or mark.at_end
            continue
        if mark.said and blocked:
            continue
        answer = pick(mark.span, wanted, body)
        if answer is None:
            # "If you mean X, the answer is yes. Otherwise the answer is unclear": the later one takes the first back.
            blocked = blocked or mark.said
            continue
        if not answer or _taken_back(mark, answer, wanted, body):
            return Found(None, reason="ambiguous")
        if truncated and _is_unfinished(mark, answer, wanted, body):
            return Found(None, reason="truncated")
        return Found(answer, "marker")
    if unfinished:
        return Found(None, reason="truncated")
    return Found(None, reason="unreadable") if blocked else None


def _taken_back(mark: _Mark, answer: str, wanted: Wanted, body: str) -> bool:
    """Whether a stated answer is conditional ("if ..., then the answer is yes") or followed by another number."""
    if not mark.said:
        return False
    if wanted.type == "yesno":
        return _is_conditional(body, len(body) - mark.follows)
    after = body[len(body) - mark.follows :].partition("\n")[2]
    if wanted.type != "number" or not after.strip():
        return False
    later = parse_number(conclude(after, wanted)[0] or "")
    if later is None:
        return False
    stated = parse_number(answer)
    return stated is None or not same(stated, later)


def _is_conditional(body: str, end: int) -> bool:
    """Whether the sentence that ends in a marker at `end`, or the one before it, makes its answer conditional."""
    start = end
    for _ in range(2):
        start = max(0, *(body.rfind(stop, 0, start) for stop in ".!?"))
    written = body[start:end].lower()
    return ("if" in written or "whether" in written) and _CONDITION.search(body, start, end) is not None


def _is_unfinished(mark: _Mark, answer: str, wanted: Wanted, body: str) -> bool:
    """Whether the author of a text that was cut off had not come to its end with this answer.

    A yes or no with anything behind its sentence may have answered a question of the author's own.
    """
    if mark.follows > _AFTERTHOUGHT or (mark.at_end and _touches_end(mark.span, answer)):
        return True
    return wanted.type == "yesno" and mark.said and len(sentences(body[len(body) - mark.follows :])) > 1


def final_part(text: str) -> tuple[str | None, bool]:
    """Return what follows the think block, cut where the author went on to another question, and whether it was cut.

    `None` when the text never leaves its think block.
    """
    opened, closed = _THINK
    if closed in text:
        text = text.rsplit(closed, 1)[1]
    elif opened in text:
        return None, False
    if not any(word in text for word in _QUESTION_WORDS):
        return text, False
    for match in _NEXT_QUESTION.finditer(text):
        before = text[: match.start()]
        if not before.strip() or (_LABELLED_START.match(text) and not _MARKER.search(before)):
            continue
        return before, True
    return text, False


def is_next_question(line: str) -> bool:
    """Whether a line opens another question, as the texts of models that run on do."""
    return _NEXT_QUESTION.match(line) is not None


def _marks(body: str) -> Iterator[_Mark]:
    """Yield every marker's text, from the last marker to the first."""
    matches = _markers(body)
    for index in range(len(matches) - 1, -1, -1):
        match = matches[index]
        follows = len(body) - match.end()
        if match["box"]:
            yield _Mark(*_box(body, matches, index), follows, said=False)
        elif match["tag"]:
            rest = body[match.end() :]
            yield _Mark(rest.split("</answer>")[0], "</answer>" not in rest, follows, said=False)
        else:
            yield _Mark(*_after(body, match.end()), follows, said=match["phrase"] is not None)


def _markers(body: str) -> list[re.Match[str]]:
    """Return all markers in order; the full pattern runs only near a word that one contains (ten times faster)."""
    found: list[re.Match[str]] = []
    first = last = 0
    for hint in _hints(body):
        start = max(body.rfind("\n", 0, hint.start()) + 1, hint.start() - _BEFORE)
        if start > last:
            found += _MARKER.finditer(body, first, last)
            first = start
        last = hint.end() + _BEHIND
    return found + list(_MARKER.finditer(body, first, last))


def _hints(body: str) -> list[re.Match[str]]:
    """Return every place near which a marker can be, in order."""
    found = list(_HINT.finditer(body)) if any(part in body for part in _HINT_PARTS) else []
    if any(label in body for label in _LABELS):
        found += _LINE_HINT.finditer(body)
        found.sort(key=re.Match.start)
    return found


def _after(body: str, start: int) -> tuple[str, bool]:
    """Return the line after a marker, or the next line with content where that one has none."""
    rest = body[start:]
    first, _, more = rest.partition("\n")
    if not re.search(r"[\w\[\](){}<>]", first):
        following = more.lstrip()
        line, separator, _ = following.partition("\n")
        if line.strip() in ("\\[", "$$", "\\begin{align*}", "\\begin{aligned}"):
            block = re.split(r"\\\]|\$\$|\\end", following.partition("\n")[2], maxsplit=1)
            return block[0], len(block) == 1
        return line, not separator
    return first, "\n" not in rest


def _box(body: str, matches: list[re.Match[str]], index: int) -> tuple[str, bool]:
    """Return the contents of a box, joined with those of boxes directly before it ("\\boxed{3} and \\boxed{5}")."""
    contents, _ = _braces(body, matches[index].end())
    if contents is None:
        return "", True
    start = matches[index].start()
    while index > 0 and matches[index - 1]["box"]:
        earlier, earlier_end = _braces(body, matches[index - 1].end())
        between = body[earlier_end:start] if earlier is not None else "\n"
        if (
            earlier is None
            or not re.fullmatch(r"[\s$\\()]*(?:,|;|and|or|,\s*and|,\s*or)?[\s$\\()]*", between)
            or "\n\n" in between
        ):
            break
        index -= 1
        start = matches[index].start()
        if earlier.strip() != contents.strip():
            contents = f"{earlier}, {contents}"
    return contents, False


def _braces(body: str, start: int) -> tuple[str | None, int]:
    depth = 1
    for position in range(start, min(len(body), start + 2000)):
        if body[position] == "{" and body[position - 1] != "\\":
            depth += 1
        elif body[position] == "}" and body[position - 1] != "\\":
            depth -= 1
            if depth == 0:
                return body[start:position], position + 1
    return None, len(body)


def _is_cut(body: str) -> bool:
    """Whether a text without a marker visibly stops in the middle: an operator, an open brace, a function word."""
    last = body.rstrip().rstrip("*_").rsplit("\n", 1)[-1].rstrip()
    return _CUT.search(last[-_CUT_LENGTH:]) is not None or last.count("{") > last.count("}")


def _touches_end(span: str, answer: str) -> bool:
    """Whether nothing, not even a full stop, follows the answer in a text that was cut off."""
    return span.rstrip().endswith(answer.rstrip()) or not re.search(r"[.!?,;)\s]\s*$", span)
