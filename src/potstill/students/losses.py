"""The training objective: a token mean over the optimizer step, weighted per example and, if asked for, per task.

    L = sum_tau lambda_tau * sum_{i in tau} w_i * nll_i / sum_{i in tau} w_i

with i over all target tokens of the whole optimizer step (every process, every accumulated micro-batch). Without task
weights there is one tau: the plain token mean of SCoTD. Pure tensors in, scalar out; nothing here knows of batches.

Shapes: N target tokens of a micro-batch, T tasks, V vocabulary, D hidden, C label-only targets, M halves of pairs.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint

CHUNK_LOGITS = 1 << 26
"""Logits that may exist at a time (256 MB in float32); more are computed in parts, and again in the backward pass."""


def token_nll(
    head: Callable[[torch.Tensor], torch.Tensor], hidden_ND: torch.Tensor, targets_N: torch.Tensor
) -> torch.Tensor:
    """Return the negative log-likelihood of each target token [N], in nats, float32.

    Args:
        head: Hidden states [n, D] -> logits [n, V].
        hidden_ND: The states that predict the targets: nothing is computed where there is no target.
    """

    def part(hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(head(hidden).float(), targets, reduction="none")

    size = max(1, CHUNK_LOGITS // _vocabulary(head))
    if len(targets_N) <= size:
        return part(hidden_ND, targets_N)
    pairs = zip(torch.split(hidden_ND, size), torch.split(targets_N, size), strict=True)
    return torch.cat([checkpoint(part, hidden, targets, use_reentrant=False) for hidden, targets in pairs])


def task_totals(weights_N: torch.Tensor, tasks_N: torch.Tensor, n_tasks: int) -> torch.Tensor:
    """Return the sum of the token weights of each task [T]; summed over a step it is what the loss divides by."""
    return torch.zeros(n_tasks, dtype=torch.float64).index_add_(0, tasks_N, weights_N.double())


def weighted_mean(
    nll_N: torch.Tensor,
    weights_N: torch.Tensor,
    tasks_N: torch.Tensor,
    totals_T: torch.Tensor,
    task_weights_T: torch.Tensor,
) -> torch.Tensor:
    """Return this micro-batch's part of the loss of the whole optimizer step; the parts add up to it.

    Args:
        totals_T: `task_totals`, summed over the whole optimizer step.
        task_weights_T: lambda_tau; a task that does not occur in the step contributes nothing.

    Source: Li et al. 2023, arXiv:2306.14050, section 3 (the language modelling loss; token mean over the batch as in
        the authors' code), and the general form of Mixed Distillation's reference design, a mean per task.
    Symbols: lambda_tau = task_weights_T[tau], w_i = weights_N[i].
    Differs: the authors' mean is over a micro-batch; ours is over the optimizer step, so that accumulation and several
        processes change nothing.
    """
    scale_T = torch.where(totals_T > 0, task_weights_T / totals_T.clamp_min(1e-30), torch.zeros_like(totals_T))
    return (nll_N * weights_N * scale_T.to(nll_N.dtype)[tasks_N]).sum()


def pair_margin(nll_N: torch.Tensor, lengths_C: torch.Tensor, pairs_M2: torch.Tensor, margin: float) -> torch.Tensor:
    """Return the sum over pairs' halves of max(0, m - [log p(y|x) - log p(y'|x)]), in nats.

    Args:
        nll_N: Of all target tokens of the micro-batch; those of C label-only targets are the last ones. What a right
            and a wrong one have in common, the words before the label, cancels out.
        lengths_C: Target tokens of each label-only target.
        pairs_M2: (the right one, a wrong one of the same prompt), counted among the label-only targets.
        margin: m, in nats.

    Source: ours (docs/counterfactual.md): a variant in the reference design of Counterfactual Distillation.
    Symbols: x a problem, y its label, y' the label of another member of its pair, whose own half is another row of M.
    """
    sizes = lengths_C.tolist()
    if not sizes:
        return nll_N.new_zeros(())
    logp_C = torch.stack([-part.sum() for part in torch.split(nll_N[len(nll_N) - sum(sizes) :], sizes)])
    lead_M = logp_C[pairs_M2[:, 0]] - logp_C[pairs_M2[:, 1]]
    return (margin - lead_M).clamp_min(0).sum()


def _vocabulary(head: object) -> int:
    weight = getattr(head, "weight", None)
    return int(weight.shape[0]) if isinstance(weight, torch.Tensor) else 1 << 18
