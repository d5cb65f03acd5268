"""Selecting: which n of a problem's kept rationales are learnt from, at equal budget for every rule.

Between filtering and the making of examples (`students.mixing`). Every rule but `open_ended` is an order of a problem's
rationales of one kind, of which the first n are taken, so n is nested in n + 1; every order falls back on one drawn by
seed, so the result depends on the seed and not on the order of the rows. Pure, but for an embedding model where one is
named.

    random         an order drawn by seed
    diverse        one of each of n clusters of texts
    likelihood     what the teacher found most likely, per token
    open_ended     more of the problems whose rationales differ most, fewer of the others
    short, long    by length in words
    mixed_length   four short ones for a long one
    structure      different equations, or different programs, first

Source: Li et al. 2023 (SCoTD), arXiv:2306.14050, section 4 (random, diverse, likelihood, open_ended at a mean of 5 of
    30); Li Yuetai et al. 2025, arXiv:2502.12143 (one long to four short); Yuan et al. 2023 (RFT), arXiv:2308.01825
    (distinct equations).
Differs: SCoTD's embedding model, distance and linkage are not known to us: here TF-IDF of the words, or the model
    named, cosine distance, average linkage. The mix of lengths is within each problem, not over the corpus.
"""

from __future__ import annotations

import keyword
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

import numpy as np

from potstill.errors import DataError
from potstill.rationales.duplicates import equations
from potstill.rationales.embedding import embed
from potstill.rationales.families import mask
from potstill.rationales.ways import way_name
from potstill.recipe.rationales import SelectConfig
from potstill.records import Rationale, child_seed

LONG_EVERY, LONG_AT = 5, 2
"""Of every five of `mixed_length`, the third is a long one: rounded, a fifth of any number."""
OPEN_ENDED_SHARES = (0.2, 0.6, 1.0, 1.4, 1.8)
"""Times n: what each fifth of the problems gets, from the least to the most open-ended; 1, 3, 5, 7, 9 for n = 5."""

_COMMENT = re.compile(r"#[^\n]*|^\s*\"\"\".*?\"\"\"", re.MULTILINE | re.DOTALL)
_CODE_TOKEN = re.compile(r"[A-Za-z_]\w*|\d+(?:\.\d+)?|\n|[^\s\w]")
_Order = Callable[[Sequence[Rationale]], list[Rationale]]


def select(rationales: Iterable[Rationale], config: SelectConfig, *, seed: int = 0) -> list[Rationale]:
    """Return `config.n` rationales of each problem and kind (all, where there are fewer), grouped by problem.

    Raises:
        DataError: `likelihood`, and a rationale has no log-probability.
        MissingExtraError: `embedding` names a model and nothing that could open it is installed.
    """
    groups: dict[tuple[str, str], dict[str, Rationale]] = defaultdict(dict)
    for rationale in rationales:
        groups[rationale.problem_id, way_name(rationale.kind, rationale.view)][rationale.id] = rationale
    drawn = {key: sorted(groups[key].values(), key=lambda r: drawn_order(r, seed)) for key in sorted(groups)}
    if config.by == "likelihood":
        require_logprobs([r for members in drawn.values() for r in members])
    if config.by == "open_ended":
        return _open_ended(list(drawn.values()), config.n)
    order = _order(config)
    return [rationale for members in drawn.values() for rationale in order(members)[: config.n]]


def drawn_order(rationale: Rationale, seed: int) -> tuple[int, str]:
    """Return the place of a rationale in an order of its problem's rationales that is drawn by seed."""
    return child_seed("mix", seed, rationale.problem_id, rationale.id), rationale.id


def require_logprobs(rationales: Sequence[Rationale]) -> None:
    """Raise `DataError` unless every rationale has a log-probability."""
    lacking = [r for r in rationales if r.logprob is None]
    if lacking:
        message = (
            f"mix.select.by: likelihood needs the teacher's log-probabilities; {len(lacking)} of {len(rationales)} "
            f"rationales have none, such as {lacking[0].id} by {lacking[0].author or 'an unnamed author'}; set "
            "teachers.logprobs: true and sample again, or choose another rule"
        )
        raise DataError(message)


def structure(rationale: Rationale) -> tuple[str, ...]:
    """Return what a rationale does, without its wording: its equations, or its program without names and comments.

    A chain of thought without equations is its masked words. Programs are compared as tokens, names numbered in order
    of appearance: nothing is parsed, so untrusted text is safe here.
    """
    if rationale.kind == "pot":
        return _program_tokens(rationale.text)
    return equations(rationale.text) or tuple(mask(rationale.text).split())


def unique_bigrams(rationales: Iterable[Rationale]) -> int:
    """Return the number of different pairs of neighbouring words: SCoTD's measure of open-endedness."""
    pairs: set[tuple[str, str]] = set()
    for rationale in rationales:
        words = rationale.text.split()
        pairs.update(pairwise(words))
    return len(pairs)


def cut_clusters(distance: np.ndarray, n: int) -> list[list[int]]:
    """Return n clusters of points [M, M] by average linkage, each in ascending order, the clusters by first member.

    Clusters of n + 1 are those of n with one divided, so first members are nested.
    """
    d = distance.astype(np.float64, copy=True)
    np.fill_diagonal(d, np.inf)
    members = [[i] for i in range(len(d))]
    alive = list(range(len(d)))
    while len(alive) > n:
        i, j = sorted(divmod(int(d.argmin()), len(d)))
        a, b = len(members[i]), len(members[j])
        joined = (a * d[i] + b * d[j]) / (a + b)
        d[i], d[:, i], d[i, i] = joined, joined, np.inf
        d[j], d[:, j] = np.inf, np.inf
        members[i] = sorted(members[i] + members[j])
        alive.remove(j)
    return sorted(members[i] for i in alive)


def _order(config: SelectConfig) -> _Order:
    """Return how a rule orders rationales that come in the order drawn by seed."""
    orders: dict[str, _Order] = {
        "random": list,
        "diverse": lambda members: _diverse(members, config),
        "likelihood": lambda members: sorted(members, key=lambda r: -(r.logprob or 0.0)),
        "short": lambda members: sorted(members, key=_length),
        "long": lambda members: sorted(members, key=_length, reverse=True),
        "mixed_length": _mixed_length,
        "structure": _by_structure,
    }
    return orders[config.by]


def _diverse(members: Sequence[Rationale], config: SelectConfig) -> list[Rationale]:
    """Return the first member of each of n clusters of texts."""
    if len(members) <= config.n:
        return list(members)
    vectors = embed([r.text for r in members], config.embedding)
    distance = np.clip(1.0 - vectors @ vectors.T, 0.0, 2.0)
    return [members[cluster[0]] for cluster in cut_clusters(distance, config.n)]


def _open_ended(groups: Sequence[Sequence[Rationale]], n: int) -> list[Rationale]:
    """Return more rationales of problems with more different bigrams, n of each on average; at least one of each."""
    kinds: dict[str, list[Sequence[Rationale]]] = defaultdict(list)
    for members in groups:
        kinds[members[0].kind].append(members)
    taken: dict[tuple[str, str], int] = {}
    for kind, own in kinds.items():
        ranked = sorted(own, key=unique_bigrams)
        for rank, members in enumerate(ranked):
            share = OPEN_ENDED_SHARES[rank * len(OPEN_ENDED_SHARES) // len(ranked)] if len(ranked) > 1 else 1.0
            taken[members[0].problem_id, kind] = max(1, int(share * n + 0.5))
    return [r for members in groups for r in members[: taken[members[0].problem_id, members[0].kind]]]


def _mixed_length(members: Sequence[Rationale]) -> list[Rationale]:
    """Take the shortest ones from one end, and every fifth from the other."""
    ranked = sorted(members, key=_length)
    return [ranked.pop(-1 if at % LONG_EVERY == LONG_AT else 0) for at in range(len(members))]


def _by_structure(members: Sequence[Rationale]) -> list[Rationale]:
    """Put the first of each structure before the second ones."""
    seen: Counter[tuple[str, ...]] = Counter()
    places = []
    for rationale in members:
        form = structure(rationale)
        places.append(seen[form])
        seen[form] += 1
    return [members[at] for at in sorted(range(len(members)), key=lambda i: (places[i], i))]


def _length(rationale: Rationale) -> int:
    return len(rationale.text.split())


def _program_tokens(text: str) -> tuple[str, ...]:
    names: dict[str, str] = {}
    tokens = []
    found = _CODE_TOKEN.findall(_COMMENT.sub("", text))
    for at, token in enumerate(found):
        called = at + 1 < len(found) and found[at + 1] == "("
        if token[0].isidentifier() and not keyword.iskeyword(token) and not called:
            token = names.setdefault(token, f"_{len(names)}")
        if token != "\n":
            tokens.append(token)
    return tuple(tokens)
