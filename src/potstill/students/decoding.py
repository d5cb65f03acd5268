"""Write continuations in batches: each prompt is read once for all its paths, finished paths leave the batch.

Greedy paths equal Hugging Face `generate(do_sample=False)` token by token. A sampled path draws from its own stream of
random numbers, so it does not depend on what else is in the batch (but for float rounding).

Only the model's own distribution is used: penalties and sampling defaults of a generation configuration are not
applied. Shapes: Q prompts, P prompt tokens, R rows (paths), S cached tokens, V vocabulary, H heads, D head size.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

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


class Stopped(Exception):  # noqa: N818 - nothing went wrong
    """Decoding was given up because nobody waits for it."""


def generate(model: Any, prompts: Sequence[Prompt], settings: Settings) -> Iterator[tuple[int, list[tuple[int, Path]]]]:
    """Yield (number of the prompt, [(number of the path, Path)]) as batches finish; longest prompts first.

    A prompt with more paths than fit into a batch is yielded in parts.
    """
    was_training = model.training
    model.eval()
    try:
        for batch in plan_batches(prompts, settings):
            paths = _write(model, [(prompts[number].ids, seeds) for number, seeds in batch], settings)
            at = 0
            for number, seeds in batch:
                yield number, [(place, paths[at + i]) for i, (place, _) in enumerate(seeds)]
                at += len(seeds)
    finally:
        model.train(was_training)


Part = tuple[int, list[tuple[int, int | None]]]
"""The number of a prompt, and (number, seed) of the paths of it that are in a batch."""


def plan_batches(prompts: Sequence[Prompt], settings: Settings) -> list[list[Part]]:
    """Return batches of prompts of similar length whose cache stays within `batch_tokens`."""
    batches: list[list[Part]] = []
    batch: list[Part] = []
    rows = width = 0
    for number in sorted(range(len(prompts)), key=lambda n: -len(prompts[n].ids)):
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


class GrowingLayer(DynamicLayer):  # type: ignore[misc]
    """A cache layer with room to grow, so that a new token is written in place and nothing is copied per step."""

    def __init__(self, layer: DynamicLayer, owner_R: torch.Tensor, room: int) -> None:
        super().__init__()
        _, H, P, D = layer.keys.shape
        self._keys_RHSD = layer.keys.new_empty(len(owner_R), H, P + room, D)
        self._values_RHSD = layer.values.new_empty(len(owner_R), H, P + room, layer.values.shape[-1])
        self._keys_RHSD[:, :, :P] = layer.keys.index_select(0, owner_R)
        self._values_RHSD[:, :, :P] = layer.values.index_select(0, owner_R)
        self.dtype, self.device, self.is_initialized = layer.keys.dtype, layer.keys.device, True
        self._show(P)

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        """Write the new states behind the old ones and return all."""
        start, end = self.keys.shape[-2], self.keys.shape[-2] + key_states.shape[-2]
        self._keys_RHSD[:, :, start:end] = key_states
        self._values_RHSD[:, :, start:end] = value_states
        self._show(end)
        return self.keys, self.values

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Keep only some rows."""
        length = self.keys.shape[-2]
        self._keys_RHSD = self._keys_RHSD.index_select(0, indices)
        self._values_RHSD = self._values_RHSD.index_select(0, indices)
        self._show(length)

    def _show(self, length: int) -> None:
        self.keys, self.values = self._keys_RHSD[:, :, :length], self._values_RHSD[:, :, :length]


@dataclass(slots=True)
class _Rows:
    """The unfinished rows of a batch: place in the batch, ids so far, log-probabilities so far, randomness."""

    places: list[int]
    ids: list[list[int]]
    logprob: torch.Tensor
    """Sum so far [R]."""
    noise: torch.Tensor
    """[R, T]: one uniform number per row and step; below 0 in greedy rows."""
    paths: dict[int, Path] = field(default_factory=dict)


@torch.no_grad()
def _write(model: Any, parts: Sequence[tuple[Sequence[int], Any]], settings: Settings) -> list[Path]:
    """Return the paths of one batch, in the order of its parts."""
    prompts = [ids for ids, _ in parts]
    owner = [q for q, (_, seeds) in enumerate(parts) for _ in seeds]
    seeds = [seed for _, seeds in parts for _, seed in seeds]
    rooms = [_room(len(prompts[q]), settings) for q in owner]
    rows = _Rows(
        places=list(range(len(owner))),
        ids=[[] for _ in owner],
        logprob=torch.zeros(len(owner)),
        noise=_noise(seeds, max(rooms), settings.temperature),
    )
    reader = open_reader(model, prompts, owner, room=max(rooms))
    logits_RV = reader.first()
    for step in range(max(rooms)):
        if settings.is_stopped():
            raise Stopped
        tokens_R, logprob_R = _pick(logits_RV, rows.noise[:, step], settings)
        rows.logprob += logprob_R.cpu()
        alive = _sort_out(rows, tokens_R.tolist(), rooms, settings, step)
        if not alive:
            break
        if len(alive) < len(rows.places) and (len(alive) <= (1 - LEAVE_FRAC) * len(rows.places)):
            index = torch.tensor(alive)
            rows.places, rows.ids = [rows.places[i] for i in alive], [rows.ids[i] for i in alive]
            rows.logprob, rows.noise = rows.logprob[index], rows.noise[index]
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
        rows.paths[place] = Path(tuple(rows.ids[row]), finish, float(rows.logprob[row]) / (step + 1), step + 1)
    return alive


def _room(prompt: int, settings: Settings) -> int:
    """Return how many tokens may be written after a prompt; callers refuse prompts that fill the context."""
    if settings.context is None:
        return settings.max_new_tokens
    return max(1, min(settings.max_new_tokens, settings.context - prompt))


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


def open_reader(model: Any, prompts: Sequence[Sequence[int]], owner: Sequence[int], *, room: int) -> Any:
    """Read the prompts; return a reader of one token per row and step.

    A model whose cache cannot be repeated for several rows (recurrent states) is read again from its start for every
    token, one row at a time: slow, and right.
    """
    reader = CachedReader(model, prompts, owner, room)
    return reader if reader.is_usable else UncachedReader(model, prompts, owner)


class CachedReader:
    """Reads prompts once, repeats their cache per row, and then reads one token per row and step."""

    def __init__(self, model: Any, prompts: Sequence[Sequence[int]], owner: Sequence[int], room: int) -> None:
        self._model = model
        self._device = next(model.parameters()).device
        self._kept = _accepts(model, "logits_to_keep")
        self._positioned = _accepts(model, "position_ids")
        ids_QP, mask_QP = _left_padded(prompts, self._device)
        self._padded = bool((mask_QP == 0).any())
        self._owner_R = torch.tensor(owner, device=self._device)
        self._lengths_R = mask_QP.sum(1)[self._owner_R]
        self._mask_RS = mask_QP[self._owner_R]
        self._cache = DynamicCache(config=model.config)
        self._first_QV, cache = self._read(ids_QP, mask_QP, (mask_QP.cumsum(1) - 1).clamp_min(0))
        layers = getattr(cache, "layers", None)
        kinds = {type(layer) for layer in layers} if layers else set()
        self.is_usable = bool(kinds) and kinds <= {DynamicLayer, DynamicSlidingWindowLayer}
        if not self.is_usable:
            return
        self._cache = cache
        if kinds == {DynamicLayer}:
            cache.layers = [GrowingLayer(layer, self._owner_R, room) for layer in cache.layers]
        else:
            cache.batch_select_indices(self._owner_R)

    def first(self) -> torch.Tensor:
        """Return the logits of each row's first token [R, V]."""
        return self._first_QV[self._owner_R]

    def next(self, tokens_R: torch.Tensor) -> torch.Tensor:
        """Read one token per row; return the logits of the next [R, V]."""
        positions_R1 = self._lengths_R[:, None]
        self._mask_RS = torch.cat([self._mask_RS, self._mask_RS.new_ones(len(tokens_R), 1)], 1)
        self._lengths_R = self._lengths_R + 1
        return self._read(tokens_R[:, None], self._mask_RS, positions_R1)[0]

    def keep(self, rows: torch.Tensor) -> None:
        """Leave out all rows but these."""
        rows = rows.to(self._device)
        self._cache.batch_select_indices(rows)
        self._mask_RS, self._lengths_R = self._mask_RS[rows], self._lengths_R[rows]

    def _read(self, ids: torch.Tensor, mask: torch.Tensor, positions: torch.Tensor) -> tuple[torch.Tensor, Any]:
        inputs: dict[str, Any] = {"logits_to_keep": 1} if self._kept else {}
        if self._padded:  # without padding the model's own defaults are right, and faster
            inputs["attention_mask"] = mask
            if self._positioned:
                inputs["position_ids"] = positions
        out = self._model(input_ids=ids, past_key_values=self._cache, use_cache=True, **inputs)
        return out.logits[:, -1], getattr(out, "past_key_values", None)


class UncachedReader:
    """Reads every row from its start for every token."""

    def __init__(self, model: Any, prompts: Sequence[Sequence[int]], owner: Sequence[int]) -> None:
        self._model = model
        self._device = next(model.parameters()).device
        self._rows = [list(prompts[q]) for q in owner]

    def first(self) -> torch.Tensor:
        """Return the logits of each row's first token [R, V]."""
        return torch.stack([self._read(row) for row in self._rows])

    def next(self, tokens_R: torch.Tensor) -> torch.Tensor:
        """Read one token per row; return the logits of the next [R, V]."""
        for row, token in zip(self._rows, tokens_R.tolist(), strict=True):
            row.append(token)
        return self.first()

    def keep(self, rows: torch.Tensor) -> None:
        """Leave out all rows but these."""
        self._rows = [self._rows[row] for row in rows.tolist()]

    def _read(self, ids: list[int]) -> torch.Tensor:
        logits: torch.Tensor = self._model(input_ids=torch.tensor([ids], device=self._device), use_cache=False).logits
        return logits[0, -1]


def _left_padded(prompts: Sequence[Sequence[int]], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    width = max(len(ids) for ids in prompts)
    ids_QP = torch.zeros(len(prompts), width, dtype=torch.long)
    mask_QP = torch.zeros(len(prompts), width, dtype=torch.long)
    for q, ids in enumerate(prompts):
        ids_QP[q, width - len(ids) :] = torch.as_tensor(ids)
        mask_QP[q, width - len(ids) :] = 1
    return ids_QP.to(device), mask_QP.to(device)


def _accepts(model: Any, name: str) -> bool:
    return name in inspect.signature(type(model).forward).parameters
