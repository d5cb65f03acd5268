"""Attention over trees of text: each branch sees its own prompt and itself, and every token is stored once.

    one row of tokens [1, S]:  prompt 0 | prompt 1 | ... | branches of prompt 0 | branches of prompt 1 | ...

`attend` stands in for the attention of transformers' models (`NAME`). A call with a `tree` reads such a row; any other
is answered as ever. No mask of [S, S] is made and no prompt is copied: the branches of a prompt are one long query over
its keys, and a batch of short ones over their own; the two are merged by their log-sum-exp, as blocks of keys are
within flash attention. The backward pass of each part takes the merged output and log-sum-exp, so it adds up too.

Where the kernel of the CPU does not serve (dropout on attention, a window that cuts, another device), prompts are
repeated per branch and the stock attention is called.

Shapes: S tokens of a row, H heads, D head size, B branches, T branch tokens, P prompt tokens.
The merging of blocks is that of Dao et al. 2022 (FlashAttention, section 3.1); merging by log-sum-exp is common since.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch.nn.utils.rnn import pad_sequence
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME = "potstill_tree"
Tree = dict[str, Any]
"""`groups`: (prompt start, prompt end, lengths of its branches) per prompt; `parts`: of each batch of branches `at`
[B, T], the place of every token in the row, and `real` [N], the numbers in [B x T] of those that are not padding."""


def attend(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    tree: Tree | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Return the attended values [1, S, H, D] of a row that is a tree; without `tree` what sdpa returns.

    Raises:
        NotImplementedError: The model's attention is more than a softmax over keys (softcapping, sinks).
    """
    if tree is None:
        attended: torch.Tensor = sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)[0]
        return attended, None
    if any(kwargs.get(name) is not None for name in ("softcap", "s_aux", "position_bias")):
        message = "attention over trees: the model caps, biases or sinks its scores; only a plain softmax is known here"
        raise NotImplementedError(message)
    scale = kwargs.get("scaling") or query.shape[-1] ** -0.5
    dropout, window = kwargs.get("dropout", 0.0), kwargs.get("sliding_window")
    query, key, value = _rows(module, query, key, value)
    if query.device.type == "cpu" and not dropout and (window is None or window >= longest(tree)):
        out: torch.Tensor = _Flash.apply(query, key, value, tree, scale)  # type: ignore[no-untyped-call]
    else:
        out = repeated(query, key, value, tree, scale, dropout=dropout, window=window)
    return out[None], None


AttentionInterface.register(NAME, attend)
AttentionMaskInterface.register(NAME, sdpa_mask)


def _rows(module: Any, *states: torch.Tensor) -> list[torch.Tensor]:
    """Return queries, keys and values as [S, H, D], of one type, with a key for every query's head."""
    query, key, value = states
    groups = query.shape[1] // key.shape[1]
    key, value = repeat_kv(key, groups), repeat_kv(value, groups)
    return [state[0].transpose(0, 1).to(value.dtype) for state in (query, key, value)]


def longest(tree: Tree) -> int:
    """Return the most tokens on a way from the beginning of a prompt to the end of a branch."""
    return max(int(end - start + max(lengths, default=0)) for start, end, lengths in tree["groups"])


def branch_spans(tree: Tree) -> list[tuple[int, int, int, int]]:
    """Return (prompt start, prompt end, branches start, branches end) of every prompt that has branches."""
    at, spans = tree["groups"][-1][1], []
    for start, end, lengths in tree["groups"]:
        if sum(lengths):
            spans.append((start, end, at, at + sum(lengths)))
        at += sum(lengths)
    return spans


class _Flash(torch.autograd.Function):
    """The kernel of flash attention for CPUs, called once per prompt, once per prompt's branches, once per part."""

    @staticmethod
    def forward(ctx: Any, query: Any, key: Any, value: Any, tree: Tree, scale: float) -> torch.Tensor:
        out_SHD = torch.empty_like(query, memory_format=torch.contiguous_format)
        lse_SH = query.new_empty(query.shape[:2], dtype=torch.promote_types(query.dtype, torch.float32))
        for start, end, _ in tree["groups"]:
            own = slice(start, end)
            out_SHD[own], lse_SH[own] = _forward(query[None, own], key[None, own], value[None, own], True, scale)
        for part in tree["parts"]:
            inputs = [_gather(state, part["at"]) for state in (query, key, value)]
            out_NHD, lse_NH = (state.index_select(0, part["real"]) for state in _forward(*inputs, True, scale))
            to_N = part["at"].flatten().index_select(0, part["real"])
            out_SHD.index_copy_(0, to_N, out_NHD)
            lse_SH.index_copy_(0, to_N, lse_NH)
        for start, end, first, last in branch_spans(tree):
            of, over = slice(first, last), slice(start, end)
            out_NHD, lse_NH = _forward(query[None, of], key[None, over], value[None, over], False, scale)
            both_NH = torch.logaddexp(lse_SH[of], lse_NH)
            own_NH1 = (lse_SH[of] - both_NH).exp_()[..., None]
            out_SHD[of] = out_SHD[of] * own_NH1 + out_NHD * (1 - own_NH1)
            lse_SH[of] = both_NH
        ctx.save_for_backward(query, key, value, out_SHD, lse_SH)
        ctx.tree, ctx.scale = tree, scale
        return out_SHD

    @staticmethod
    def backward(ctx: Any, grad_SHD: Any) -> Any:
        query, key, value, out_SHD, lse_SH = ctx.saved_tensors
        tree, scale = ctx.tree, ctx.scale
        states, grads = (query, key, value), [torch.zeros_like(state) for state in (query, key, value)]
        for start, end, _ in tree["groups"]:
            own = slice(start, end)
            inputs = [state[None, own] for state in (grad_SHD, *states, out_SHD, lse_SH)]
            found = _backward(*inputs, True, scale)
            for grad, more in zip(grads, found, strict=True):
                grad[own] = more
        for start, end, first, last in branch_spans(tree):
            of, over = slice(first, last), slice(start, end)
            inputs = [grad_SHD[None, of], query[None, of], key[None, over], value[None, over]]
            found = _backward(*inputs, out_SHD[None, of], lse_SH[None, of], False, scale)
            for grad, more, to in zip(grads, found, (of, over, over), strict=True):
                grad[to] += more
        for part in tree["parts"]:
            at_BT, real_N = part["at"], part["real"]
            # Padding weighs nothing: exp(score - infinity) is 0 in every product of the kernel.
            lse_BTH = lse_SH.new_full((at_BT.numel(), lse_SH.shape[1]), float("inf"))
            to_N = at_BT.flatten().index_select(0, real_N)
            lse_BTH.index_copy_(0, real_N, lse_SH.index_select(0, to_N))
            inputs = [_gather(state, at_BT) for state in (grad_SHD, *states, out_SHD)]
            found = _backward(*inputs, lse_BTH.view(*at_BT.shape, -1), True, scale)
            for grad, more in zip(grads, found, strict=True):
                grad.index_add_(0, to_N, more.index_select(0, real_N))
        return (*grads, None, None)


def _gather(state_SHD: torch.Tensor, at_BT: torch.Tensor) -> torch.Tensor:
    """Return the states of branches [B, T, H, D]."""
    return state_SHD.index_select(0, at_BT.flatten()).view(*at_BT.shape, *state_SHD.shape[1:])


def _forward(*inputs: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Return output [B x T, H, D] and log-sum-exp [B x T, H] of query, key, value [B, T, H, D], causal, scale."""
    *states, causal, scale = inputs
    kernel = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    out, lse = kernel(*(state.transpose(1, 2) for state in states), 0.0, causal, scale=scale)
    return out.transpose(1, 2).flatten(0, 1), lse.transpose(1, 2).flatten(0, 1)


def _backward(*inputs: Any) -> list[torch.Tensor]:
    """Return the gradients of query, key and value [B x T, H, D].

    Args:
        inputs: Gradient of the output, query, key, value, output [B, T, H, D], log-sum-exp [B, T, H], causal, scale.
    """
    *states, causal, scale = inputs
    kernel = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward
    found = kernel(*(state.transpose(1, 2) for state in states), 0.0, causal, scale=scale)
    return [grad.transpose(1, 2).flatten(0, 1) for grad in found]


def repeated(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    tree: Tree,
    scale: float,
    *,
    dropout: float = 0.0,
    window: int | None = None,
) -> torch.Tensor:
    """Return attended values [S, H, D] with every prompt's keys and values copied for each of its branches."""
    prompts, branches = [], []
    at = tree["groups"][-1][1]
    for start, end, lengths in tree["groups"]:
        own = slice(start, end)
        mask_PP = _visible(end - start, 0, window, query.device)
        prompts.append(_sdpa(query[None, own], key[None, own], value[None, own], mask_PP, scale, dropout)[0])
        if not sum(lengths):
            continue
        of = slice(at, at + sum(lengths))
        queries, keys, values = (
            pad_sequence(list(torch.split(state[of], lengths)), batch_first=True) for state in (query, key, value)
        )
        copies = [state[None, own].expand(len(lengths), -1, -1, -1) for state in (key, value)]
        mask_TL = _visible(max(lengths), end - start, window, query.device)
        whole = [torch.cat(pair, 1) for pair in zip(copies, (keys, values), strict=True)]
        out_BTHD = _sdpa(queries, whole[0], whole[1], mask_TL, scale, dropout)
        branches += [out_THD[:length] for out_THD, length in zip(out_BTHD, lengths, strict=True)]
        at += sum(lengths)
    return torch.cat([*prompts, *branches])


def _visible(T: int, before: int, window: int | None, device: torch.device) -> torch.Tensor:
    """Return which of `before` + T tokens each of the last T sees [T, before + T]."""
    distance = torch.arange(before, before + T, device=device)[:, None] - torch.arange(before + T, device=device)
    return (distance >= 0) & (distance < (window or before + T + 1))


def _sdpa(query: Any, key: Any, value: Any, mask: Any, scale: float, dropout: float) -> torch.Tensor:
    query, key, value = (state.transpose(1, 2) for state in (query, key, value))
    out = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout, scale=scale)
    return out.transpose(1, 2)
