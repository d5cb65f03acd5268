"""Read prompts once, and then one token per path and step: what the model computes while continuations are written.

    prompts [Q, P] ──model, use_cache──► cache [Q, P] ──repeated per path──► a token per path ──► the next logits [R, V]

An encoder-decoder encodes its prompts once; its decoder reads over them what every path begins with, and the keys and
values of the cross-attention are computed once per prompt as well.

Shapes: Q prompts, P prompt tokens, R rows (paths), S cached tokens, V vocabulary, H heads, D head size.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from transformers import DynamicCache, EncoderDecoderCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer
from transformers.modeling_outputs import BaseModelOutput

from potstill.errors import StudentError
from potstill.students.collating import padded

REPEATABLE = {DynamicLayer, DynamicSlidingWindowLayer}
"""Cache layers that can be repeated for several rows; others hold recurrent states."""


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


def open_reader(
    model: Any, prompts: Sequence[Sequence[int]], owner: Sequence[int], *, room: int, begin: Sequence[int] = ()
) -> Any:
    """Read the prompts; return a reader of one token per row and step.

    A causal model whose cache cannot be repeated for several rows (recurrent states) is read again from its start for
    every token, one row at a time: slow, and right.

    Args:
        owner: The prompt of each row.
        room: Tokens that may be written.
        begin: What the decoder of an encoder-decoder begins with; empty: the model is causal.

    Raises:
        StudentError: The cache of an encoder-decoder cannot be repeated.
    """
    if begin:
        return DecoderReader(model, prompts, owner, room, begin)
    reader = CachedReader(model, prompts, owner, room)
    return reader if reader.is_usable else UncachedReader(model, prompts, owner)


def grow(cache: Any, owner_R: torch.Tensor, room: int) -> bool:
    """Repeat a cache for every row, with room for new tokens where it holds them; return whether that can be done."""
    kinds = {type(layer) for layer in getattr(cache, "layers", None) or ()}
    if not kinds or not kinds <= REPEATABLE:
        return False
    if kinds == {DynamicLayer}:
        cache.layers = [GrowingLayer(layer, owner_R, room) for layer in cache.layers]
    else:
        cache.batch_select_indices(owner_R)
    return True


class CachedReader:
    """Reads prompts once, repeats their cache per row, and then reads one token per row and step."""

    def __init__(self, model: Any, prompts: Sequence[Sequence[int]], owner: Sequence[int], room: int) -> None:
        self._model = model
        self._device = next(model.parameters()).device
        self._kept = _accepts(model, "logits_to_keep")
        self._positioned = _accepts(model, "position_ids")
        ids_QP, mask_QP = (torch.from_numpy(part).to(self._device) for part in padded(prompts, left=True))
        self._padded = bool((mask_QP == 0).any())
        self._owner_R = torch.tensor(owner, device=self._device)
        self._lengths_R = mask_QP.sum(1)[self._owner_R]
        self._mask_RS = mask_QP[self._owner_R]
        self._cache = DynamicCache(config=model.config)
        self._first_QV, cache = self._read(ids_QP, mask_QP, (mask_QP.cumsum(1) - 1).clamp_min(0))
        self.is_usable = grow(cache, self._owner_R, room)
        if self.is_usable:
            self._cache = cache

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


class DecoderReader:
    """Encodes prompts once, reads the beginning of the paths over them once, and then one token per row and step."""

    def __init__(
        self, model: Any, prompts: Sequence[Sequence[int]], owner: Sequence[int], room: int, begin: Sequence[int]
    ) -> None:
        self._model = model
        device = next(model.parameters()).device
        ids_QP, mask_QP = (torch.from_numpy(part).to(device) for part in padded(prompts))
        self._mask = None if bool(mask_QP.all()) else mask_QP
        self._encoded = model.get_encoder()(input_ids=ids_QP, attention_mask=self._mask).last_hidden_state
        self._cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
        first_QV = self._read(torch.tensor(begin, device=device).expand(len(prompts), -1))
        self._owner_R = torch.tensor(owner, device=device)
        self._first_RV = first_QV[self._owner_R]
        if not grow(self._cache.self_attention_cache, self._owner_R, room):
            message = (
                f"student {type(model).__name__}: its decoder keeps no cache of keys and values that can be shared by "
                "several paths; take a model of the T5 or BART kind"
            )
            raise StudentError(message)
        self._cache.cross_attention_cache.batch_select_indices(self._owner_R)
        self._select(self._owner_R)

    def first(self) -> torch.Tensor:
        """Return the logits of each row's first token [R, V]."""
        return self._first_RV

    def next(self, tokens_R: torch.Tensor) -> torch.Tensor:
        """Read one token per row; return the logits of the next [R, V]."""
        return self._read(tokens_R[:, None])

    def keep(self, rows: torch.Tensor) -> None:
        """Leave out all rows but these."""
        rows = rows.to(self._encoded.device)
        self._cache.batch_select_indices(rows)
        self._select(rows)

    def _select(self, rows: torch.Tensor) -> None:
        self._encoded = self._encoded.index_select(0, rows)
        self._mask = None if self._mask is None else self._mask.index_select(0, rows)

    def _read(self, ids: torch.Tensor) -> torch.Tensor:
        encoded = BaseModelOutput(last_hidden_state=self._encoded)
        out = self._model(encoder_outputs=encoded, attention_mask=self._mask, decoder_input_ids=ids,
                          past_key_values=self._cache, use_cache=True)  # fmt: skip
        logits: torch.Tensor = out.logits[:, -1]
        return logits


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


def _accepts(model: Any, name: str) -> bool:
    return name in inspect.signature(type(model).forward).parameters
