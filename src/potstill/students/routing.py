"""Which skill would the student choose? Before it writes, by the prefix that it expects; after, by how sure it is.

A student that learnt to begin its chains of thought in one way and its programs in another has learnt, with the prefix,
which of the two to expect of a question. The kind whose prefix is more likely is its own choice: the *routed* path,
which costs one reading of the prompt and no text beyond the greedy path of that kind.

Two greedy texts say more: the *surer* path takes the one with the higher mean log-probability per token. Programs
repeat themselves and are likelier than prose whether right or wrong, so that the two are compared with a margin, fitted
on the development split when the student was trained.

Source: our reading of "adaptively activate" (Li Chenglin et al., Findings of EMNLP 2024, abstract); how the authors do
    it is not known to us.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

from potstill.records import Rationale

if TYPE_CHECKING:
    from potstill.students.inference import Ask
    from potstill.students.loading import Loaded


def prefix_logprobs(
    loaded: Loaded, asks: Sequence[Ask], *, chat: bool = False, batch_tokens: int = 16384
) -> dict[tuple[str, str], float]:
    """Return (problem id, kind) -> log-probability of the kind's whole prefix, in nats.

    Only of problems whose greedy path is asked for in several kinds, over one prompt, each with a prefix; of others
    there is nothing to choose.
    """
    rival = [ask for of_problem in _rivals(asks) for ask in of_problem]
    found: dict[tuple[str, str], float] = {}
    for batch in _batches(rival, batch_tokens):
        found |= _scored(loaded, batch, chat=chat)
    return found


def routed(greedy: Sequence[Rationale]) -> Rationale | None:
    """Return the greedy path of the kind that the student would have chosen; `None` where it was not asked to choose.

    >>> routed([]) is None
    True
    """
    rated = [path for path in greedy if "prefix_logprob" in path.meta]
    if len({path.kind for path in rated}) < 2:
        return None
    return max(rated, key=lambda path: float(path.meta["prefix_logprob"]))


def surer(greedy: Sequence[Rationale]) -> Rationale | None:
    """Return the greedy path that the student is surer of; `None` without both kinds and a margin between them.

    >>> surer([]) is None
    True
    """
    rated = {path.kind: path for path in greedy if "route_margin" in path.meta and path.logprob is not None}
    if rated.keys() < {"cot", "pot"}:
        return None
    cot, pot = rated["cot"], rated["pot"]
    return cot if _lead(cot, pot) > float(cot.meta["route_margin"]) else pot


def fit_margin(greedy: Iterable[Sequence[Rationale]]) -> float | None:
    """Return the lead in mean log-probability [nats per token] above which a chain of thought is taken.

    The one that is right most often on verified greedy paths, a problem's at a time; of several, the middle one. `None`
    where no problem has a scored path of both kinds, or none has one of them right and the other not.
    """
    leads: list[tuple[float, int]] = []
    for paths in greedy:
        scored = {path.kind: path for path in paths if path.verdict is not None and path.verdict.scored}
        pair = [path for kind in ("cot", "pot") if (path := scored.get(kind)) is not None and path.logprob is not None]
        if len(pair) == 2:
            leads.append((_lead(*pair), _right(pair[0]) - _right(pair[1])))
    leads.sort()
    if not any(gain for _, gain in leads):
        return None
    # Between two neighbours: all above are taken as chains of thought, all others as programs.
    gains = list(accumulate((gain for _, gain in reversed(leads)), initial=0))[::-1]
    edges = [leads[0][0] - 1.0, *((low[0] + high[0]) / 2 for low, high in pairwise(leads)), leads[-1][0] + 1.0]
    best = [edge for edge, gain in zip(edges, gains, strict=True) if gain == max(gains)]
    return best[len(best) // 2]


def _lead(cot: Rationale, pot: Rationale) -> float:
    assert cot.logprob is not None, "checked by the caller"
    assert pot.logprob is not None, "checked by the caller"
    return cot.logprob - pot.logprob


def _right(path: Rationale) -> int:
    return int(path.verdict is not None and path.verdict.correct)


def _rivals(asks: Sequence[Ask]) -> list[list[Ask]]:
    groups: dict[tuple[str, str], list[Ask]] = defaultdict(list)
    for ask in asks:
        if ask.prefix and 0 in ask.indices and ask.view != "negative":  # views are told apart by their answers
            groups[ask.problem.id, ask.prompt].append(ask)
    return [group for group in groups.values() if len(group) > 1]


def _batches(asks: Sequence[Ask], batch_tokens: int) -> list[list[Ask]]:
    """Cut into batches; a character counts as a token, which is never too few."""
    batches: list[list[Ask]] = []
    size = batch_tokens
    for ask in asks:
        length = len(ask.prompt) + len(ask.prefix)
        if size + length > batch_tokens:
            batches.append([])
            size = 0
        batches[-1].append(ask)
        size += length
    return batches


def _scored(loaded: Loaded, asks: Sequence[Ask], *, chat: bool) -> Mapping[tuple[str, str], float]:
    import torch
    from accelerate.utils import send_to_device

    from potstill.students.batching import Row
    from potstill.students.collating import collate
    from potstill.students.encoding import Encoded, as_ids, encode_prefix, encode_prompt
    from potstill.students.sharing import target_nll

    rows = []
    for ask in asks:
        prompt = as_ids(encode_prompt(ask.prompt, loaded.tokenizer, chat=chat, apart=bool(loaded.starts)))
        prefix = as_ids(encode_prefix(ask.prefix, loaded.tokenizer))
        rows.append(Row(Encoded(ask.problem.id, ask.problem.id, ask.kind, 1.0, prompt, prefix), 1.0))
    batch = collate(rows, shared=False, starts=loaded.starts)
    device: Any = next(loaded.model.parameters()).device
    was_training = loaded.model.training
    loaded.model.eval()
    try:
        with torch.no_grad():
            nll_N = target_nll(loaded.model, send_to_device(batch, device), head=False)
    finally:
        loaded.model.train(was_training)
    sums = [float(part.sum()) for part in torch.split(nll_N, [len(row.example.target) for row in rows])]
    return {(ask.problem.id, ask.kind): -total for ask, total in zip(asks, sums, strict=True)}
