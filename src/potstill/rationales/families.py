"""Problem families: which problems are one problem with other numbers, names or wording, and what that contaminates.

Two problems are of one family when their masked bodies are equal, when their masked texts are near-duplicates, when one
was derived from the other, or when a chain of such links joins them. Splits are drawn by family, and a training
problem whose family occurs in an evaluation split is dropped and counted. Pure. Words are compared, not meanings:
retellings are found by `contamination`, which builds on this.
"""

from __future__ import annotations

import math
import re
import unicodedata
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence

from potstill.errors import shorten
from potstill.records import Problem, content_id

NEAR = 0.6
"""Jaccard similarity of two masked word sets from which on they are near-duplicates."""
MIN_BODY_WORDS = 6
"""A body with fewer words says too little to make a family by itself."""

_NUMBER_WORDS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand million billion dozen"
)
_NUMBER = re.compile(
    rf"[-+]?[$€£]?\d[\d,]*(?:\.\d+)?(?:\s?/\s?\d+)?\s?%?|\b(?:{'|'.join(_NUMBER_WORDS.split())})\b", re.IGNORECASE
)
_WORD = re.compile(r"#|\w+(?:['’]\w+)*")
_NUMBER_RUN = re.compile(r"#(?: (?:and )?#)+")


def mask(text: str) -> str:
    """Return the words of a text: case, accents and punctuation folded, every number (digits or words) as `#`.

    >>> mask("Joan found 1,070 sea-shells; she gave Sam twenty-seven.")
    'joan found # sea shells she gave sam #'
    """
    folded = unicodedata.normalize("NFKD", text).casefold()
    plain = "".join(c for c in folded if not unicodedata.combining(c)) if not folded.isascii() else folded
    words = _WORD.findall(_NUMBER.sub(" # ", plain.replace("_", " ")))
    return _NUMBER_RUN.sub("#", " ".join(words))


def body(text: str) -> str:
    """Return the masked text without its questions: what two problems share that ask different things of one story.

    A body of fewer than `MIN_BODY_WORDS` words gives way to the whole masked text.
    """
    told = " ".join(part for part in _sentences(text) if not part.rstrip().endswith("?"))
    masked = mask(told)
    return masked if len(masked.split()) >= MIN_BODY_WORDS else mask(text)


def families(problems: Iterable[Problem], near: float = NEAR) -> dict[str, str]:
    """Return each problem's family, an id that depends on the texts of its members and not on their order.

    A problem whose `meta` holds a `family` takes that one as its only tie: a generator knows its own families.
    Adding problems leaves every family as it is that they do not belong to; one that they join keeps its id unless
    the newcomer's body has the smaller hash.
    """
    rows = list(problems)
    links = _linked(rows, near)
    names: dict[int, str] = {}
    keys = [_key(p) for p in rows]
    for i in range(len(rows)):
        root = links.find(i)
        names[root] = min(names.get(root, keys[i]), keys[i])
    return {p.id: names[links.find(i)] for i, p in enumerate(rows)}


def related(train: Iterable[Problem], evaluated: Iterable[Problem], near: float = NEAR) -> dict[str, str]:
    """Return the training problems whose family occurs among the evaluated ones: problem id -> what was found where."""
    train, evaluated = list(train), list(evaluated)
    rows = [*evaluated, *train]
    links = _linked(rows, near)
    first: dict[int, int] = {}
    for i in range(len(evaluated)):
        first.setdefault(links.find(i), i)
    found: dict[str, str] = {}
    for j, problem in enumerate(train, start=len(evaluated)):
        root = links.find(j)
        if root in first:
            found[problem.id] = _detail(links, j, evaluated, first[root])
    return found


def neighbours(
    problems: Iterable[Problem], others: Iterable[Problem], near: float = NEAR
) -> dict[str, tuple[str, float]]:
    """Return the problems with a near-duplicate among `others`: id -> (the nearest one's id, Jaccard similarity).

    Unlike families this follows no chains and knows no bodies; it says how far apart two data sets are.
    """
    problems, others = list(problems), list(others)
    sets = [frozenset(mask(p.question).split()) for p in [*problems, *others]]
    best: dict[str, tuple[str, float]] = {}
    for i, j, similarity in similar_pairs(sets, near, boundary=len(problems)):
        mine, other = problems[i], others[j - len(problems)]
        if similarity > best.get(mine.id, ("", 0.0))[1]:
            best[mine.id] = (other.id, similarity)
    return best


def similar_pairs(
    sets: Sequence[frozenset[str]], near: float = NEAR, boundary: int | None = None
) -> Iterator[tuple[int, int, float]]:
    """Yield every pair i < j of sets with Jaccard similarity >= `near`, exactly (no hashing, no misses).

    Args:
        boundary: Only pairs with i < boundary <= j, where one is given.

    Source: Bayardo, Ma and Srikant 2007, "Scaling up all pairs similarity search" (prefix and length filters).
    """
    frequency = Counter(word for words in sets for word in words)
    ordered = [sorted(words, key=lambda w: (frequency[w], w)) for words in sets]
    by_size = sorted((i for i in range(len(sets)) if sets[i]), key=lambda i: (len(sets[i]), i))
    index: dict[str, tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
    for i in by_size:
        size = len(sets[i])
        smallest = math.ceil(near * size - 1e-9)
        prefix = ordered[i][: size - smallest + 1]
        candidates: set[int] = set()
        for word in prefix:
            if word in index:
                sizes, ids = index[word]
                candidates.update(ids[bisect_right(sizes, smallest - 1) :])
        for j in candidates:
            if boundary is not None and (i < boundary) == (j < boundary):
                continue
            shared = len(sets[i] & sets[j])
            similarity = shared / (size + len(sets[j]) - shared)
            if similarity >= near:
                yield min(i, j), max(i, j), similarity
        for word in prefix:
            sizes, ids = index[word]
            sizes.append(size)
            ids.append(i)


class _Links:
    """A union-find forest that remembers why two rows were joined."""

    def __init__(self, count: int) -> None:
        self.parent = list(range(count))
        self.reasons: list[dict[int, str]] = [{} for _ in range(count)]
        """Row -> the earlier rows that it was joined to, with the reason."""

    def find(self, i: int) -> int:
        while self.parent[i] != i:
            self.parent[i] = self.parent[self.parent[i]]
            i = self.parent[i]
        return i

    def join(self, i: int, j: int, reason: str) -> None:
        self.reasons[max(i, j)].setdefault(min(i, j), reason)
        self.parent[self.find(i)] = self.find(j)


def _linked(rows: Sequence[Problem], near: float) -> _Links:
    links = _Links(len(rows))
    own = [(i, _own(p)) for i, p in enumerate(rows) if _own(p)]
    free = [(i, p) for i, p in enumerate(rows) if not _own(p)]
    masked = [mask(p.question) for _, p in free]
    positions = {p.id: i for i, p in enumerate(rows)}
    _join_equal(links, own, "same family by its source")
    _join_equal(links, [(i, text) for (i, _), text in zip(free, masked, strict=True)], "same text up to its numbers")
    _join_equal(links, [(i, body(p.question)) for i, p in free], "same body up to its numbers")
    for i, problem in free:
        parent = positions.get(problem.parent_id or "")
        if parent is not None:
            links.join(i, parent, "one is derived from the other")
    for a, b, similarity in similar_pairs([frozenset(text.split()) for text in masked], near):
        links.join(free[a][0], free[b][0], f"near-duplicate, word Jaccard {similarity:.2f}")
    return links


def _join_equal(links: _Links, keyed: Iterable[tuple[int, str]], reason: str) -> None:
    first: dict[str, int] = {}
    for i, key in keyed:
        if first.setdefault(key, i) != i:
            links.join(first[key], i, reason)


def _detail(links: _Links, j: int, evaluated: Sequence[Problem], first: int) -> str:
    """Name the evaluated problem that row `j` is tied to: directly if there is such a tie, else through others."""
    direct = [(a, reason) for a, reason in links.reasons[j].items() if a < len(evaluated)]
    a, reason = direct[0] if direct else (first, "of one family through other problems")
    other = evaluated[a]
    return f"{other.id} in split {other.split}: {reason} ({shorten(other.question, 80)})"


def _own(problem: Problem) -> str:
    return str(problem.meta.get("family") or "")


def _key(problem: Problem) -> str:
    return content_id("family", _own(problem)) if _own(problem) else content_id("body", body(problem.question))


def _sentences(text: str) -> list[str]:
    return [part for part in re.split(r"(?<=[.?!])\s+|\n+", text) if part.strip()]
