"""Write continuations in batches: each prompt is read once for all its paths, finished paths leave the batch.

Greedy paths equal Hugging Face `generate(do_sample=False)` token by token. A sampled path draws from its own stream of
random numbers, so it does not depend on what else is in the batch (but for float rounding). What the
model computes is in `readers`.

Only the model's own distribution is used: penalties and sampling defaults of a generation configuration are not
applied. Shapes: R rows (paths), T steps, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

from potstill.students.readers import open_reader

STOP_TEXT_EVERY = 8
"""Steps between searches for a stop text; what is written in between is cut off."""
LEAVE_FRAC = 0.25
"""Share of finished rows at which the batch is made smaller: copying the cache costs about one step."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """One prompt and the paths that are wanted of it."""

    ids: Sequence[int]
    seeds: tuple[int | None, ...]
    """One per path; `None` is the greedy path."""
    begin: tuple[int, ...] = ()
    """What the decoder of an encoder-decoder begins with, the kind's prefix included; empty: the model is causal and
    goes on after `ids`."""


@dataclass(frozen=True, slots=True)
class Path:
    """One continuation."""

    ids: tuple[int, ...]
    """Without the stop token."""
    finish: Literal["stop", "length"]
    logprob: float | None
    """Mean log-probability per token, the stop token included, in nats, at temperature 1; `None` if there is none."""
    n_tokens: int
    """Tokens generated, the stop token included."""
    logprobs: tuple[float, ...] = ()
    """Of each of them, at temperature 1, where the settings keep them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How paths are drawn and where they end."""

    stop_ids: tuple[int, ...]
    max_new_tokens: int
    temperature: float = 1.0
    """Of the sampled paths; 0 is greedy."""
    top_p: float = 1.0
    context: int | None = None
    """Longest prompt + continuation; generation stops there, with finish `length`."""
    batch_tokens: int = 16384
    """Rows x (prompt + new tokens) of one batch."""
    is_stopped: Callable[[], bool] = lambda: False
    """Whether nobody waits for the rest any more; looked at before every step."""
    ends: Callable[[Sequence[int]], bool] | None = None
    """Whether the tokens so far hold a stop text; looked at now and then."""
    keeps_logprobs: bool = False
    """Whether paths carry the log-probability of each token, not their mean alone."""


class Stopped(Exception):  # noqa: N818 - nothing went wrong
    """Decoding was given up because nobody waits for it."""


def generate(model: Any, prompts: Sequence[Prompt], settings: Settings) -> Iterator[tuple[int, list[tuple[int, Path]]]]:
    """Yield (number of the prompt, [(number of the path, Path)]) as batches finish, mostly longest prompts first.

    A prompt with more paths than fit into a batch is yielded in parts.
    """
    was_training = model.training
    model.eval()
    try:
        for batch in plan_batches(prompts, settings):
            paths = _write(model, [(prompts[number], seeds) for number, seeds in batch], settings)
            at = 0
            for number, seeds in batch:
                yield number, [(place, paths[at + i]) for i, (place, _) in enumerate(seeds)]
                at += len(seeds)
    finally:
        model.train(was_training)


Part = tuple[int, list[tuple[int, int | None]]]
"""The number of a prompt, and (number, seed) of the paths of it that are in a batch."""


def plan_batches(prompts: Sequence[Prompt], settings: Settings) -> list[list[Part]]:
    """Return batches of prompts of similar length, and one `begin`, whose cache stays within `batch_tokens`."""
    batches: list[list[Part]] = []
    batch: list[Part] = []
    rows = width = 0
    begin: tuple[int, ...] = ()
    for number in sorted(range(len(prompts)), key=lambda n: (prompts[n].begin, -len(prompts[n].ids))):
        if batch and prompts[number].begin != begin:
            batches.append(batch)
            batch, rows, width = [], 0, 0
        begin = prompts[number].begin
        need = len(prompts[number].ids) + settings.max_new_tokens
        places = list(enumerate(prompts[number].seeds))
        fitting = max(1, settings.batch_tokens // need)
        for at in range(0, len(places), fitting):
            part = places[at : at + fitting]
            if batch and (rows + len(part)) * max(width, need) > settings.batch_tokens:
                batches.append(batch)
                batch, rows, width = [], 0, 0
            batch.append((number, part))
            rows, width = rows + len(part), max(width, need)
    return [*batches, batch] if batch else batches


@dataclass(slots=True)
class _Rows:
    """The unfinished rows of a batch: place in the batch, ids so far, log-probabilities so far, randomness."""

    places: list[int]
    ids: list[list[int]]
    logprob: torch.Tensor
    """Sum so far [R]."""
    noise: torch.Tensor
    """[R, T]: one uniform number per row and step; below 0 in greedy rows."""
    logprobs: list[list[float]]
    """Of each token so far; empty where they are not kept."""
    paths: dict[int, Path] = field(default_factory=dict)


@torch.no_grad()
def _write(model: Any, parts: Sequence[tuple[Prompt, Any]], settings: Settings) -> list[Path]:
    """Return the paths of one batch, in the order of its parts."""
    prompts = [prompt for prompt, _ in parts]
    owner = [q for q, (_, seeds) in enumerate(parts) for _ in seeds]
    seeds = [seed for _, seeds in parts for _, seed in seeds]
    rooms = [_room(len(prompts[q].begin or prompts[q].ids), settings) for q in owner]
    rows = _Rows(
        places=list(range(len(owner))),
        ids=[[] for _ in owner],
        logprob=torch.zeros(len(owner)),
        noise=_noise(seeds, max(rooms), settings.temperature),
        logprobs=[[] for _ in owner],
    )
    reader = open_reader(model, [p.ids for p in prompts], owner, room=max(rooms), begin=prompts[0].begin)
    logits_RV = reader.first()
    for step in range(max(rooms)):
        if settings.is_stopped():
            raise Stopped
        tokens_R, logprob_R = _pick(logits_RV, rows.noise[:, step], settings)
        rows.logprob += logprob_R.cpu()
        if settings.keeps_logprobs:
            for own, value in zip(rows.logprobs, logprob_R.tolist(), strict=True):
                own.append(value)
        alive = _sort_out(rows, tokens_R.tolist(), rooms, settings, step)
        if not alive:
            break
        if len(alive) < len(rows.places) and (len(alive) <= (1 - LEAVE_FRAC) * len(rows.places)):
            index = torch.tensor(alive)
            rows.places, rows.ids = [rows.places[i] for i in alive], [rows.ids[i] for i in alive]
            rows.logprob, rows.noise = rows.logprob[index], rows.noise[index]
            rows.logprobs = [rows.logprobs[i] for i in alive]
            tokens_R = tokens_R[index.to(tokens_R.device)]
            reader.keep(index)
        logits_RV = reader.next(tokens_R)
    return [rows.paths[place] for place in range(len(owner))]


def _sort_out(rows: _Rows, tokens: list[int], rooms: list[int], settings: Settings, step: int) -> list[int]:
    """Record what has finished with this step's tokens; return the indices of the rows that go on."""
    alive = []
    look = settings.ends is not None and (step + 1) % STOP_TEXT_EVERY == 0
    for row, (place, token) in enumerate(zip(rows.places, tokens, strict=True)):
        if place in rows.paths:
            continue
        is_stop = token in settings.stop_ids
        if not is_stop:
            rows.ids[row].append(token)
        at_end = step + 1 >= rooms[place]
        if not (is_stop or at_end or (look and settings.ends is not None and settings.ends(rows.ids[row]))):
            alive.append(row)
            continue
        finish: Literal["stop", "length"] = "length" if at_end and not is_stop else "stop"
        mean = float(rows.logprob[row]) / (step + 1)
        rows.paths[place] = Path(tuple(rows.ids[row]), finish, mean, step + 1, tuple(rows.logprobs[row]))
    return alive


def _room(before: int, settings: Settings) -> int:
    """Return how many tokens may be written after those `before`; callers refuse prompts that fill the context."""
    if settings.context is None:
        return settings.max_new_tokens
    return max(1, min(settings.max_new_tokens, settings.context - before))


def _noise(seeds: Sequence[int | None], steps: int, temperature: float) -> torch.Tensor:
    """Return one uniform number in [0, 1) per row and step [R, T], each row from its own seed; -1 in greedy rows."""
    noise_RT = torch.full((len(seeds), steps), -1.0)
    generator = torch.Generator()
    for row, seed in enumerate(seeds):
        if seed is not None and temperature > 0:
            noise_RT[row] = torch.rand(steps, generator=generator.manual_seed(seed))
    return noise_RT


def _pick(logits_RV: torch.Tensor, noise_R: torch.Tensor, settings: Settings) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the next token of each row [R] and its log-probability at temperature 1 [R]."""
    logits_RV = logits_RV.float()
    noise_R = noise_R.to(logits_RV.device)
    tokens_R = logits_RV.argmax(-1)
    sampled = noise_R >= 0
    if bool(sampled.all()):
        tokens_R = _draw(logits_RV, noise_R, settings)
    elif bool(sampled.any()):
        tokens_R[sampled] = _draw(logits_RV[sampled], noise_R[sampled], settings)
    logprob_R = logits_RV.gather(1, tokens_R[:, None])[:, 0] - logits_RV.logsumexp(-1)
    return tokens_R, logprob_R


def _draw(logits_RV: torch.Tensor, noise_R: torch.Tensor, settings: Settings) -> torch.Tensor:
    """Return a token per row [R] by inverting the cumulative distribution at the row's random number.

    With top_p, the distribution is cut to the smallest set of most likely tokens that reaches it, as everywhere.
    """
    probs_RV = (logits_RV / settings.temperature).softmax(-1)
    if settings.top_p >= 1:
        cumulative_RV = probs_RV.cumsum(-1)
        return _invert(cumulative_RV, noise_R * cumulative_RV[:, -1])
    ordered_RV, index_RV = probs_RV.sort(-1, descending=True)
    cumulative_RV = ordered_RV.cumsum(-1)
    size_R = (cumulative_RV < settings.top_p).sum(-1).clamp_max(logits_RV.shape[-1] - 1)
    mass_R = cumulative_RV.gather(1, size_R[:, None])[:, 0]
    place_R = torch.minimum(_invert(cumulative_RV, noise_R * mass_R), size_R)
    return index_RV.gather(1, place_R[:, None])[:, 0]


def _invert(cumulative_RV: torch.Tensor, at_R: torch.Tensor) -> torch.Tensor:
    found_R = torch.searchsorted(cumulative_RV, at_R[:, None], right=True)[:, 0]
    return found_R.clamp_max(cumulative_RV.shape[-1] - 1)
