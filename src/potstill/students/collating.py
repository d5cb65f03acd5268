"""Lay the rows of one micro-batch out as tensors: each prompt once and its branches apart, or one padded row each.

    rows ──collate──► a tree: prompts and branches in one row [1, S]; or prompts [Q, P] and branches [B, T]; or padded
                      rows [B, L]; and targets [N], their weights and tasks

`select` [N] are indices into the states that the model computes for such a batch: those from which the target tokens
are predicted, in the order of the rows. What is computed is in `sharing`.

Shapes: Q prompts, P prompt tokens, B branches (rationales), T branch tokens, L = prompt + branch tokens of a padded
row, S tokens of a tree, or those that a decoder starts with, N target tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from potstill.students.batching import Row
from potstill.students.encoding import Ids

Batch = dict[str, Any]
"""Tensors by name; `branches` is a list of (token ids [B, T], prompt numbers [B])."""
PASS_TOKENS = 128
"""Padding that must be saved for another pass over branches to be worth its own cost (measured on one CPU core)."""


def collate(
    rows: Sequence[Row], *, shared: bool, tree: bool = False, tasks: Sequence[str] = (), starts: Sequence[int] = ()
) -> Batch:
    """Return one micro-batch as tensors.

    Args:
        shared: Prompts once and branches apart, or one padded row per example.
        tree: With shared prompts of a causal model: everything in one row, without padding (see `attention`).
        tasks: Names whose index each target token carries; empty: all tokens belong to one task.
        starts: What the decoder of an encoder-decoder starts with; empty: the model is causal.
    """
    lengths_B = np.fromiter((len(row.example.target) for row in rows), np.int64, len(rows))
    if starts:
        batch = _encoded_inputs(rows, lengths_B, starts, shared=shared)
    elif shared:
        batch = _tree_inputs(rows, lengths_B) if tree else _shared_inputs(rows, lengths_B)
    else:
        batch = _row_inputs(rows, lengths_B)
    task_index = {name: index for index, name in enumerate(tasks)}
    weights_B = np.fromiter((row.weight for row in rows), np.float32, len(rows))
    tasks_B = np.fromiter((task_index.get(row.example.task, 0) for row in rows), np.int64, len(rows))
    targets_N = np.concatenate([row.example.target for row in rows]).astype(np.int64)
    return batch | {
        "targets": torch.from_numpy(targets_N),
        "weights": torch.from_numpy(np.repeat(weights_B, lengths_B)),
        "tasks": torch.from_numpy(np.repeat(tasks_B, lengths_B)),
    }


def token_counts(batch: Batch) -> tuple[int, int]:
    """Return (tokens that a batch sends through the model, those of them that are padding)."""
    if "tree_ids" in batch:
        return batch["tree_ids"].numel(), 0
    masks = [batch[name] for name in ("prompt_mask", "encoder_mask", "row_mask") if name in batch]
    read = sum(batch[name].numel() for name in ("prompt_ids", "encoder_ids", "row_ids") if name in batch)
    padding = sum(mask.numel() - int(mask.sum()) for mask in masks)
    if "branches" in batch:
        tokens = sum(ids.numel() for ids, _ in batch["branches"])
        n_prompts = len(batch["prompt_ids"] if "prompt_ids" in batch else batch["encoder_ids"])
        n_rows = int((batch["select"] < n_prompts).sum())  # each row's first token comes from its prompt's last state
        return read + tokens, padding + tokens - (len(batch["targets"]) - n_rows)
    if "encoder_ids" in batch:
        begins = batch["row_ids"].shape[0] * batch["n_starts"]
        padding += batch["row_ids"].numel() - (len(batch["targets"]) + begins)
    return read, padding


def _tree_inputs(rows: Sequence[Row], lengths_B: Any) -> Batch:
    """Return all prompts and then all branches without their last token as one row [1, S], and where each begins."""
    prompts, owner_B = _distinct(rows)
    ends_Q = np.cumsum([len(prompt) for prompt in prompts])
    order = np.argsort(owner_B, kind="stable")
    starts_B = np.empty(len(rows), np.int64)
    starts_B[order] = ends_Q[-1] + np.cumsum(lengths_B[order] - 1) - (lengths_B[order] - 1)
    texts = [*prompts, *(rows[b].example.target[:-1] for b in order)]
    begins = [0] * len(prompts) + [len(prompts[owner_B[b]]) for b in order]
    places = [np.arange(begin, begin + len(text)) for begin, text in zip(begins, texts, strict=True)]
    select = [
        np.concatenate([ends_Q[q : q + 1] - 1, np.arange(start, start + length - 1)])
        for q, start, length in zip(owner_B, starts_B, lengths_B, strict=True)
    ]
    groups = [
        (int(end) - len(prompt), int(end), (lengths_B[owner_B == q] - 1).tolist())
        for q, (prompt, end) in enumerate(zip(prompts, ends_Q, strict=True))
    ]
    parts = [_part(starts_B[members], lengths_B[members] - 1) for members in cut_by_length(lengths_B - 1)]
    return {
        "tree_ids": torch.from_numpy(np.concatenate(texts).astype(np.int64))[None],
        "position_ids": torch.from_numpy(np.concatenate(places))[None],
        "tree": {"groups": groups, "parts": [part for part in parts if part["real"].numel()]},
        "select": torch.from_numpy(np.concatenate(select)),
    }


def _part(starts_B: Any, lengths_B: Any) -> Batch:
    """Return the place in the row of each token of some branches [B, T], and which are no padding."""
    steps_T = np.arange(max(1, int(lengths_B.max())))
    at_BT = starts_B[:, None] + np.minimum(steps_T, np.maximum(lengths_B[:, None] - 1, 0))
    real_N = np.flatnonzero(steps_T < lengths_B[:, None])
    if len(real_N):
        at_BT = np.minimum(at_BT, at_BT.flat[real_N].max())  # a branch without tokens may begin behind the row's end
    return {"at": torch.from_numpy(at_BT), "real": torch.from_numpy(real_N)}


def _shared_inputs(rows: Sequence[Row], lengths_B: Any) -> Batch:
    """Return prompts, left-padded [Q, P], and their branches; states are the last one of every prompt, then theirs."""
    prompts, owner_B = _distinct(rows)
    ids_QP, mask_QP = padded(prompts, left=True)
    batch: Batch = {"prompt_ids": torch.from_numpy(ids_QP)}
    if not mask_QP.all():
        batch["prompt_mask"] = torch.from_numpy(mask_QP)
    return batch | _branches(rows, lengths_B, owner_B)


def _encoded_inputs(rows: Sequence[Row], lengths_B: Any, starts: Sequence[int], *, shared: bool) -> Batch:
    """Return prompts for an encoder, right-padded [Q, P], and what the decoder reads of every target.

    Shared: the start [S] and branches, as for a causal model. Else one prompt per row (Q = B), and rows [B, S + T - 1]
    of the start and the target without its last token.
    """
    prompts, owner_B = _distinct(rows) if shared else ([row.example.prompt for row in rows], None)
    ids_QP, mask_QP = padded(prompts)
    batch: Batch = {"encoder_ids": torch.from_numpy(ids_QP)}
    if not mask_QP.all():
        batch["encoder_mask"] = torch.from_numpy(mask_QP)
    if shared:
        return batch | {"start_ids": torch.tensor(starts)} | _branches(rows, lengths_B, owner_B)
    read_BL, mask_BL = padded([np.concatenate([starts, row.example.target[:-1]]) for row in rows])
    predicting_BL = (mask_BL == 1) & (np.arange(read_BL.shape[1]) >= len(starts) - 1)
    return batch | {
        "row_ids": torch.from_numpy(read_BL),
        "n_starts": len(starts) - 1,
        "select": torch.from_numpy(np.flatnonzero(predicting_BL)),
    }


def _distinct(rows: Sequence[Row]) -> tuple[list[Ids], Any]:
    """Return the prompts of the rows, each once, and the number of each row's prompt [B]."""
    index: dict[int, int] = {}
    prompts: list[Ids] = []
    for row in rows:
        if id(row.example.prompt) not in index:
            index[id(row.example.prompt)] = len(prompts)
            prompts.append(row.example.prompt)
    return prompts, np.fromiter((index[id(row.example.prompt)] for row in rows), np.int64, len(rows))


def _branches(rows: Sequence[Row], lengths_B: Any, owner_B: Any) -> Batch:
    """Return branches without their last token, in parts of similar length, and `select`.

    Each part has its tokens, right-padded [B, T], and the prompts [B] that they continue. States are the one from which
    each prompt's branches begin, then those of each part, row by row.
    """
    select: list[Any] = [np.empty(0)] * len(rows)
    parts, start = [], int(owner_B.max()) + 1
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
    return {"branches": parts, "select": torch.from_numpy(np.concatenate(select))}


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
    read = [np.concatenate([row.example.prompt, row.example.target[:-1]]) for row in rows]
    row_ids_BL, row_mask_BL = padded(read)
    predicting_BL = (row_mask_BL == 1) & (np.arange(row_ids_BL.shape[1]) >= widths_B[:, None] - 1)
    batch = {"row_ids": row_ids_BL, "row_mask": row_mask_BL, "select": np.flatnonzero(predicting_BL)}
    return {name: torch.from_numpy(value) for name, value in batch.items()}


def padded(rows: Sequence[Any], *, left: bool = False) -> tuple[Any, Any]:
    """Return rows of token ids as one array [R, L], zeros on the right (or left), and its mask [R, L] of 0 and 1."""
    widths_R = np.fromiter((len(row) for row in rows), np.int64, len(rows))
    L = int(widths_R.max())
    ids_RL = np.zeros((len(rows), L), np.int64)
    for r, row in enumerate(rows):
        at = L - len(row) if left else 0
        ids_RL[r, at : at + len(row)] = row
    places_L = np.arange(L)[::-1] if left else np.arange(L)
    return ids_RL, (places_L < widths_R[:, None]).astype(np.int64)
