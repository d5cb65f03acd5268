"""Read each prompt once for all its rationales, with the loss and gradients of one row each.

    tree    prompts and branches in one row [1, S] without padding; attention knows who belongs to whom (`attention`)
    cache   prompts [Q, P] ──model, use_cache──► cache [Q, P] ──repeated per branch──► targets [B, T] over it
    rows    one padded row [L] per example

A trial finds the first of them that gives the losses of padded rows; all end in the nll of every target token [N]. In
each, gradients flow back to the prompt. The first target token of *every* branch is predicted from the prompt's *last*
position; the model's own `labels=` shift would be wrong, so (source state, target) pairs are gathered here. For the
cache, prompts are padded on the left, so that in its slots a branch follows its prompt directly, whatever the length:
sliding windows and slot-based position biases then see the right distances.

An encoder-decoder encodes each prompt once. Its decoder reads the start token over it, which also leaves the keys and
values of the cross-attention in the cache; from there on the start is to a branch what a causal model's prompt is.

The tree keeps no cache, so it also goes with gradient checkpointing. It is taken on CPUs; elsewhere, where nobody has
measured it, only where the cache will not do.

Shapes: Q prompts, P prompt tokens, B branches (rationales), T branch tokens, L = prompt + branch tokens of a padded
row, N target tokens, S states (of a tree: tokens), D hidden, V vocabulary.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from types import MethodType
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import send_to_device
from transformers import DynamicCache, EncoderDecoderCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer
from transformers.modeling_outputs import BaseModelOutput

from potstill.students import attention
from potstill.students.batching import Row
from potstill.students.collating import Batch, collate
from potstill.students.losses import token_nll

if TYPE_CHECKING:
    from transformers import PreTrainedModel

STOCK = "sdpa"
"""The attention of transformers' models that can be replaced by that of trees."""
LAYOUT_KEYS = ("tree_ids", "prompt_ids", "row_ids", "encoder_ids")
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-6}
"""Largest difference in nats per token at which the trial takes two layouts for the same, by the parameters' type:
far above rounding, far below what a wrong mask or position does."""
HALF_TOLERANCE = 0.1


@dataclass(frozen=True, slots=True)
class Layout:
    """How a batch is laid out for a model, found by trial."""

    shared: bool
    """Each prompt is read once: as a tree, or over a cache."""
    head: bool
    """Whether logits are the output embedding of the hidden state, so that only those with a target are computed."""
    reason: str = ""
    """Why prompts are not shared, where they are not."""
    starts: tuple[int, ...] = ()
    """What the decoder of an encoder-decoder starts with; empty: the model is causal."""
    tree: bool = False
    """Shared prompts and their branches are one row."""


def target_nll(model: PreTrainedModel, batch: Batch, *, head: bool = True) -> torch.Tensor:
    """Return the negative log-likelihood of every target token [N], in the order of the batch's rows.

    Args:
        head: Compute logits only where there is a target; needs a model whose logits are its output embedding of the
            last hidden state.
    """
    body = _Body(model, head)
    if "encoder_ids" in batch:
        states_SD = _decoder_states(body, batch)
    elif "tree_ids" in batch:
        states_SD = _tree_states(body, batch)
    else:
        states_SD = _shared_states(body, batch) if "prompt_ids" in batch else _row_states(body, batch)
    chosen_ND = states_SD.index_select(0, batch["select"])
    return token_nll(model.get_output_embeddings() if head else torch.nn.Identity(), chosen_ND, batch["targets"])


def _tree_states(body: _Body, batch: Batch) -> torch.Tensor:
    """Return the states [S, D] of one row that holds all prompts and branches.

    The mask is a token of four dimensions, which transformers hands on unread instead of making one of [S, S].
    """
    ids_1S = batch["tree_ids"]
    unread = torch.ones(1, 1, 1, 1, dtype=torch.bool, device=ids_1S.device)
    states: torch.Tensor = body(input_ids=ids_1S, position_ids=batch["position_ids"], attention_mask=unread,
                                tree=batch["tree"], use_cache=False).states[0]  # fmt: skip
    return states


def _shared_states(body: _Body, batch: Batch) -> torch.Tensor:
    """Return all states that predict a branch's tokens [S, D]: each prompt's last one, then those of every part.

    Masks and positions are given only where prompts are padded: the model's own defaults are right otherwise, and
    attention without a mask is faster.
    """
    mask_QP = batch.get("prompt_mask")
    padding = (
        {} if mask_QP is None else {"attention_mask": mask_QP, "position_ids": (mask_QP.cumsum(1) - 1).clamp_min(0)}
    )
    cache = DynamicCache(config=body.model.config)
    read = body(input_ids=batch["prompt_ids"], **padding, past_key_values=cache, use_cache=True)
    states = [read.states[:, -1]]
    for ids_BT, owner_B in batch["branches"]:
        if mask_QP is not None:
            starts_B1 = mask_QP.sum(1)[owner_B, None]
            padding = {
                "attention_mask": torch.cat([mask_QP[owner_B], torch.ones_like(ids_BT)], 1),
                "position_ids": starts_B1 + torch.arange(ids_BT.shape[1], device=ids_BT.device),
            }
        past = repeated(read.cache, owner_B)
        states.append(body(input_ids=ids_BT, **padding, past_key_values=past, use_cache=True).states.flatten(0, 1))
    return torch.cat(states)


def _decoder_states(body: _Body, batch: Batch) -> torch.Tensor:
    """Return all states of the decoder that predict a target's tokens [S, D], in the order of `_shared_states`."""
    mask_QP = batch.get("encoder_mask")
    encoded_QPD = body.encode(batch["encoder_ids"], mask_QP)
    if "row_ids" in batch:
        return body.decode(batch["row_ids"], encoded_QPD, mask_QP).states.flatten(0, 1)
    start_QS = batch["start_ids"].expand(len(encoded_QPD), -1)
    read = body.decode(start_QS, encoded_QPD, mask_QP, EncoderDecoderCache(DynamicCache(), DynamicCache()))
    states = [read.states[:, -1]]
    for ids_BT, owner_B in batch["branches"]:
        mask_BP = None if mask_QP is None else mask_QP[owner_B]
        past = repeated(read.cache, owner_B)
        states.append(body.decode(ids_BT, encoded_QPD.index_select(0, owner_B), mask_BP, past).states.flatten(0, 1))
    return torch.cat(states)


def repeated(cache: Any, owner_B: torch.Tensor) -> Any:
    """Return a cache with a copy of its prompt's entries for every branch, through which gradients flow back."""
    if isinstance(cache, EncoderDecoderCache):
        return EncoderDecoderCache(*(repeated(part, owner_B) for part in parts_of(cache)))
    copied = copy.copy(cache)
    copied.layers = [copy.copy(layer) for layer in cache.layers]
    for layer in copied.layers:
        if type(layer) in (DynamicLayer, DynamicSlidingWindowLayer):  # as batch_select_indices, with a fast backward
            layer.keys, layer.values = (state.index_select(0, owner_B) for state in (layer.keys, layer.values))
        else:
            layer.batch_select_indices(owner_B)
    return copied


def parts_of(cache: EncoderDecoderCache) -> tuple[Any, Any]:
    """Return the two caches of an encoder-decoder: of what the decoder has read, and of the encoded prompts."""
    return cache.self_attention_cache, cache.cross_attention_cache


def _row_states(body: _Body, batch: Batch) -> torch.Tensor:
    """Return the states [B x L, D] of one padded row per example."""
    states_BLD = body(input_ids=batch["row_ids"], attention_mask=batch["row_mask"], use_cache=False).states
    return states_BLD.flatten(0, 1)


@dataclass(frozen=True, slots=True)
class _Read:
    """What one pass leaves: hidden states [rows, tokens, D] (or logits [rows, tokens, V]) and the cache."""

    states: torch.Tensor
    cache: Any


@dataclass(frozen=True, slots=True)
class _Body:
    """A model's forward pass up to the output embedding, or whole, under one name."""

    model: Any
    head: bool

    def __call__(self, **inputs: Any) -> _Read:
        inputs = {name: value for name, value in inputs.items() if value is not None}
        if self.head:
            out = _inner(self.model).base_model(**inputs)
            return _Read(out.last_hidden_state, getattr(out, "past_key_values", None))
        return self._whole(**inputs)

    def encode(self, ids_QP: torch.Tensor, mask_QP: torch.Tensor | None) -> torch.Tensor:
        """Return the encoder's states [Q, P, D]."""
        states: torch.Tensor = (
            _inner(self.model).get_encoder()(input_ids=ids_QP, attention_mask=mask_QP).last_hidden_state
        )
        return states

    def decode(self, ids: torch.Tensor, encoded: torch.Tensor, mask: torch.Tensor | None, past: Any = None) -> _Read:
        """Read tokens [rows, tokens] with the decoder, over encoded prompts [rows, P, D] and what it read before."""
        caching = {"past_key_values": past, "use_cache": past is not None}
        if not self.head:
            outputs = BaseModelOutput(last_hidden_state=encoded)
            return self._whole(encoder_outputs=outputs, attention_mask=mask, decoder_input_ids=ids, **caching)
        decoder = _inner(self.model).get_decoder()
        out = decoder(input_ids=ids, encoder_hidden_states=encoded, encoder_attention_mask=mask, **caching)
        return _Read(out.last_hidden_state, getattr(out, "past_key_values", None))

    def _whole(self, **inputs: Any) -> _Read:
        out = type(self.model).forward(self.model, **inputs)
        return _Read(out.logits, getattr(out, "past_key_values", None))


def _inner(model: Any) -> Any:
    """Return the model below its adapters, which are inside its layers."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def route(model: Any, layout: Layout) -> None:
    """Make `model(**batch)` return `target_nll`, and any other call what it always returned.

    Calling through the model itself, not around it, keeps the wrappers of accelerate (distributed data parallel, mixed
    precision) in charge. `unroute` undoes it.
    """
    plain = model.forward
    if layout.tree:
        _inner(model).set_attn_implementation(attention.NAME)

    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        if any(key in kwargs for key in LAYOUT_KEYS):
            return target_nll(self, kwargs, head=layout.head)
        return plain(*args, **kwargs)

    model.forward = MethodType(forward, model)


def unroute(model: Any) -> None:
    """Give the model its own forward pass and attention back."""
    model.__dict__.pop("forward", None)
    if _attention_of(model) == attention.NAME:
        _inner(model).set_attn_implementation(STOCK)


def choose_layout(
    model: Any, rows: Sequence[Row], *, want_shared: bool, checkpointing: bool = False, starts: tuple[int, ...] = ()
) -> Layout:
    """Return how this model is to be fed: shared prompts if it can, by trial against padded rows.

    Args:
        rows: A few rows to try on, best of two prompts of different length with two targets each.
        checkpointing: Gradient checkpointing is on; it switches caches off.
        starts: What the decoder of an encoder-decoder starts with.
    """
    with torch.no_grad(), _evaluating(model):
        rows = list(rows)
        trial = _Trial(model, rows, starts)
        head = trial.agrees(head=True)
        if not want_shared:
            return Layout(shared=False, head=head, reason="train.shared_prompt is false", starts=starts)
        if (checkpointing or trial.device.type == "cpu") and trial.agrees_as_tree(head=head):
            return Layout(shared=True, head=head, tree=True)
        if not checkpointing and trial.agrees(head=head, shared=True):
            return Layout(shared=True, head=head, starts=starts)
        reason = f"{type(model).__name__} does not give the same loss over a shared cache"
        if checkpointing:
            reason = f"gradient checkpointing keeps no cache, and {type(model).__name__} cannot do without one"
        return Layout(shared=False, head=head, reason=reason, starts=starts)


class _Trial:
    """A few rows, read in several layouts without gradients."""

    def __init__(self, model: Any, rows: list[Row], starts: tuple[int, ...]) -> None:
        self._model, self._rows, self._starts = model, rows, starts
        self.device = next(model.parameters()).device
        self._tolerance = TOLERANCE.get(next(model.parameters()).dtype, HALF_TOLERANCE)
        self._exact = target_nll(model, self._batch(shared=False), head=False)

    def agrees(self, *, head: bool, shared: bool = False, tree: bool = False) -> bool:
        """Whether a layout runs and gives the losses of padded rows. Any failure means no: the caller says so."""
        try:
            found = target_nll(self._model, self._batch(shared=shared, tree=tree), head=head)
        except (RuntimeError, TypeError, ValueError, AttributeError, IndexError, KeyError):
            return False
        return found.shape == self._exact.shape and bool((found - self._exact).abs().max() <= self._tolerance)

    def agrees_as_tree(self, *, head: bool) -> bool:
        """Whether the model reads a tree; only the stock attention is replaced, and only for this while."""
        inner = _inner(self._model)
        if self._starts or _attention_of(self._model) != STOCK or not inner._can_set_attn_implementation():
            return False
        inner.set_attn_implementation(attention.NAME)
        try:
            return self.agrees(head=head, shared=True, tree=True)
        finally:
            inner.set_attn_implementation(STOCK)

    def _batch(self, *, shared: bool, tree: bool = False) -> Batch:
        batch: Batch = send_to_device(collate(self._rows, shared=shared, tree=tree, starts=self._starts), self.device)
        return batch


def _attention_of(model: Any) -> str | None:
    """Return the name of the attention that a model uses."""
    return getattr(_inner(model).config, "_attn_implementation", None)


class _evaluating:  # noqa: N801 - reads as a statement: `with _evaluating(model):`
    """Switch dropout off for a while."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def __enter__(self) -> None:
        self.was_training = self.model.training
        self.model.eval()

    def __exit__(self, *exc: object) -> None:
        self.model.train(self.was_training)
