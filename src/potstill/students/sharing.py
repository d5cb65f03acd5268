"""Read each prompt once for all its rationales, with the loss and gradients of one row each.

    prompts [Q, P] ──model, use_cache──► cache [Q, P] ──repeated per branch──► targets [B, T] over it ──► nll [N]

Gradients flow back through the cache. The first target token of *every* branch is predicted from the prompt's *last*
position; the model's own `labels=` shift would be wrong, so (source state, target) pairs are gathered here. Prompts are
padded on the left, so that in cache slots a branch follows its prompt directly, whatever the length: sliding windows
and slot-based position biases then see the right distances.

A model that cannot do this (no cache, recurrent state, gradient checkpointing) is found by a trial and trained on one
padded row per example instead; the loss is the same.

Shapes: Q prompts, P prompt tokens, B branches (rationales), T branch tokens, L = prompt + branch tokens of a padded
row, N target tokens, D hidden, V vocabulary.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import MethodType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from accelerate.utils import send_to_device
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from potstill.students.batching import Row
from potstill.students.encoding import Ids
from potstill.students.losses import token_nll

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Batch = dict[str, Any]
"""Tensors by name; `branches` is a list of (token ids [B, T], prompt numbers [B])."""
LAYOUT_KEYS = ("prompt_ids", "row_ids")
PASS_TOKENS = 128
"""Padding that must be saved for another pass over branches to be worth its own cost (measured on one CPU core)."""
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-6}
"""Largest difference in nats per token at which the trial takes two layouts for the same, by the parameters' type:
far above rounding, far below what a wrong mask or position does."""
HALF_TOLERANCE = 0.1


@dataclass(frozen=True, slots=True)
class Layout:
    """How a batch is laid out for a model, found by trial."""

    shared: bool
    head: bool
    """Whether logits are the output embedding of the hidden state, so that only those with a target are computed."""
    reason: str = ""
    """Why prompts are not shared, where they are not."""


def collate(rows: Sequence[Row], *, shared: bool, tasks: Sequence[str] = ()) -> Batch:
    """Return one micro-batch as tensors.

    Args:
        shared: Prompts once and branches apart, or one padded row per example.
        tasks: Names whose index each target token carries; empty: all tokens belong to one task.
    """
    lengths_B = np.fromiter((len(row.example.target) for row in rows), np.int64, len(rows))
    batch = _shared_inputs(rows, lengths_B) if shared else _row_inputs(rows, lengths_B)
    task_index = {name: index for index, name in enumerate(tasks)}
    weights_B = np.fromiter((row.weight for row in rows), np.float32, len(rows))
    tasks_B = np.fromiter((task_index.get(row.example.task, 0) for row in rows), np.int64, len(rows))
    targets_N = np.concatenate([row.example.target for row in rows]).astype(np.int64)
    return batch | {
        "targets": torch.from_numpy(targets_N),
        "weights": torch.from_numpy(np.repeat(weights_B, lengths_B)),
        "tasks": torch.from_numpy(np.repeat(tasks_B, lengths_B)),
    }


def _shared_inputs(rows: Sequence[Row], lengths_B: Any) -> Batch:
    """Return prompts, left-padded [Q, P], and branches without their last token, in parts of similar length.

    Each part has its tokens, right-padded [B, T], and the prompts [B] that they continue. `select` [N] are indices
    into all states: the last one of every prompt, then those of each part, row by row.
    """
    index: dict[int, int] = {}
    prompts: list[Ids] = []
    for row in rows:
        if id(row.example.prompt) not in index:
            index[id(row.example.prompt)] = len(prompts)
            prompts.append(row.example.prompt)
    owner_B = np.fromiter((index[id(row.example.prompt)] for row in rows), np.int64, len(rows))
    widths_Q = np.fromiter((len(prompt) for prompt in prompts), np.int64, len(prompts))
    P = int(widths_Q.max())
    prompt_ids_QP = np.zeros((len(prompts), P), np.int64)
    for q, prompt in enumerate(prompts):
        prompt_ids_QP[q, P - len(prompt) :] = prompt
    batch: Batch = {"prompt_ids": torch.from_numpy(prompt_ids_QP)}
    if (widths_Q < P).any():
        batch["prompt_mask"] = torch.from_numpy((np.arange(P) >= P - widths_Q[:, None]).astype(np.int64))
    select: list[Any] = [np.empty(0)] * len(rows)
    parts, start = [], len(prompts)
    for members in cut_by_length(lengths_B - 1):
        T = int(lengths_B[members].max()) - 1
        ids_BT = np.zeros((len(members), T), np.int64)
        for place, b in enumerate(members):
            length = lengths_B[b] - 1
            ids_BT[place, :length] = rows[b].example.target[:-1]
            first = start + place * T
            select[b] = np.concatenate([owner_B[b : b + 1], np.arange(first, first + length)])
        start += ids_BT.size
        if T:
            parts.append((torch.from_numpy(ids_BT), torch.from_numpy(owner_B[members])))
    return batch | {"branches": parts, "select": torch.from_numpy(np.concatenate(select))}


def cut_by_length(lengths_B: Any) -> list[Any]:
    """Return the numbers of rows in parts of similar length: each is padded to its own longest row.

    A part is cut in two while that saves more than another pass through the model costs.
    """

    def cut(ranked: Any) -> list[Any]:
        lengths = lengths_B[ranked]
        saved = (lengths[0] - lengths) * np.arange(len(ranked), 0, -1)
        at = int(saved.argmax())
        return [np.sort(ranked)] if saved[at] < PASS_TOKENS else [*cut(ranked[:at]), *cut(ranked[at:])]

    return cut(np.argsort(-lengths_B, kind="stable"))


def _row_inputs(rows: Sequence[Row], lengths_B: Any) -> Batch:
    """Return one right-padded row per example [B, L], without its last token; `select` [N] are indices into [B, L]."""
    widths_B = np.fromiter((len(row.example.prompt) for row in rows), np.int64, len(rows))
    ends_B = widths_B + lengths_B - 1
    L = int(ends_B.max())
    row_ids_BL = np.zeros((len(rows), L), np.int64)
    for b, row in enumerate(rows):
        row_ids_BL[b, : widths_B[b]] = row.example.prompt
        row_ids_BL[b, widths_B[b] : ends_B[b]] = row.example.target[:-1]
    at_L = np.arange(L)
    batch = {"row_ids": row_ids_BL, "row_mask": (at_L < ends_B[:, None]).astype(np.int64)}
    batch["select"] = np.flatnonzero((at_L >= widths_B[:, None] - 1) & (at_L < ends_B[:, None]))
    return {name: torch.from_numpy(value) for name, value in batch.items()}


def target_nll(model: PreTrainedModel, batch: Batch, *, head: bool = True) -> torch.Tensor:
    """Return the negative log-likelihood of every target token [N], in the order of the batch's rows.

    Args:
        head: Compute logits only where there is a target; needs a model whose logits are its output embedding of the
            last hidden state.
    """
    body = _Body(model, head)
    states_SD = _shared_states(body, batch) if "prompt_ids" in batch else _row_states(body, batch)
    chosen_ND = states_SD.index_select(0, batch["select"])
    return token_nll(model.get_output_embeddings() if head else torch.nn.Identity(), chosen_ND, batch["targets"])


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


def repeated(cache: Any, owner_B: torch.Tensor) -> Any:
    """Return a cache with a copy of its prompt's entries for every branch, through which gradients flow back."""
    copied = copy.copy(cache)
    copied.layers = [copy.copy(layer) for layer in cache.layers]
    for layer in copied.layers:
        if type(layer) in (DynamicLayer, DynamicSlidingWindowLayer):  # as batch_select_indices, with a fast backward
            layer.keys, layer.values = (state.index_select(0, owner_B) for state in (layer.keys, layer.values))
        else:
            layer.batch_select_indices(owner_B)
    return copied


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
            out = _base_of(self.model)(**inputs)
            return _Read(out.last_hidden_state, getattr(out, "past_key_values", None))
        out = type(self.model).forward(self.model, **inputs)
        return _Read(out.logits, getattr(out, "past_key_values", None))


def _base_of(model: Any) -> Any:
    """Return the module below the output embedding; adapters are inside its layers."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    return inner.base_model


def route(model: Any, layout: Layout) -> None:
    """Make `model(**batch)` return `target_nll`, and any other call what it always returned.

    Calling through the model itself, not around it, keeps the wrappers of accelerate (distributed data parallel, mixed
    precision) in charge. `unroute` undoes it.
    """
    plain = model.forward

    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        if any(key in kwargs for key in LAYOUT_KEYS):
            return target_nll(self, kwargs, head=layout.head)
        return plain(*args, **kwargs)

    model.forward = MethodType(forward, model)


def unroute(model: Any) -> None:
    """Give the model its own forward pass back."""
    model.__dict__.pop("forward", None)


def choose_layout(model: Any, rows: Sequence[Row], *, want_shared: bool, checkpointing: bool = False) -> Layout:
    """Return how this model is to be fed: shared prompts if it can, by trial against padded rows.

    Args:
        rows: A few rows to try on, best of two prompts of different length with two targets each.
        checkpointing: Gradient checkpointing is on; it switches caches off.
    """
    with torch.no_grad(), _evaluating(model):
        rows = list(rows)
        device = next(model.parameters()).device
        by_row = send_to_device(collate(rows, shared=False), device)
        exact = target_nll(model, by_row, head=False)
        tolerance = TOLERANCE.get(next(model.parameters()).dtype, HALF_TOLERANCE)
        head = _agrees(lambda: target_nll(model, by_row, head=True), exact, tolerance)
        if not want_shared or checkpointing:
            reason = "gradient checkpointing keeps no cache" if want_shared else "train.shared_prompt is false"
            return Layout(shared=False, head=head, reason=reason)
        by_prompt = send_to_device(collate(rows, shared=True), device)
        if _agrees(lambda: target_nll(model, by_prompt, head=head), exact, tolerance):
            return Layout(shared=True, head=head)
        reason = f"{type(model).__name__} does not give the same loss over a shared cache"
        return Layout(shared=False, head=head, reason=reason)


def _agrees(trial: Callable[[], torch.Tensor], exact: torch.Tensor, tolerance: float) -> bool:
    """Whether a trial runs and gives the same losses. Any failure means no: the caller falls back and says so."""
    try:
        found = trial()
    except (RuntimeError, TypeError, ValueError, AttributeError, NotImplementedError, IndexError, KeyError):
        return False
    return found.shape == exact.shape and bool((found - exact).abs().max() <= tolerance)


class _evaluating:  # noqa: N801 - reads as a statement: `with _evaluating(model):`
    """Switch dropout off for a while."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def __enter__(self) -> None:
        self.was_training = self.model.training
        self.model.eval()

    def __exit__(self, *exc: object) -> None:
        self.model.train(self.was_training)
