"""The objective, against sums written out by hand."""

import pytest
import torch

from potstill.students import losses
from potstill.students.losses import task_totals, token_nll, weighted_mean

NLL = torch.tensor([1.0, 2.0, 3.0, 10.0, 20.0])
WEIGHTS = torch.tensor([1.0, 1.0, 2.0, 1.0, 1.0])
TASKS = torch.tensor([0, 0, 0, 1, 1])


def test_without_task_weights_it_is_the_weighted_token_mean():
    """(1 + 2 + 2 * 3 + 10 + 20) / 6."""
    one = torch.zeros_like(TASKS)
    totals = task_totals(WEIGHTS, one, 1).float()
    assert weighted_mean(NLL, WEIGHTS, one, totals, torch.ones(1)).item() == pytest.approx(39 / 6)


def test_with_task_weights_each_task_has_a_mean_of_its_own():
    """0.25 * (1 + 2 + 2 * 3) / 4 + 0.75 * (10 + 20) / 2."""
    totals = task_totals(WEIGHTS, TASKS, 2).float()
    loss = weighted_mean(NLL, WEIGHTS, TASKS, totals, torch.tensor([0.25, 0.75]))
    assert loss.item() == pytest.approx(0.25 * 9 / 4 + 0.75 * 15)


def test_the_parts_of_accumulated_micro_batches_add_up():
    """Divided by the totals of the whole step, whatever the cut."""
    totals = task_totals(WEIGHTS, TASKS, 2).float()
    lam = torch.tensor([0.25, 0.75])
    whole = weighted_mean(NLL, WEIGHTS, TASKS, totals, lam)
    parts = [weighted_mean(NLL[s], WEIGHTS[s], TASKS[s], totals, lam) for s in (slice(0, 1), slice(1, 5))]
    assert sum(parts).item() == pytest.approx(whole.item())


def test_a_task_that_does_not_occur_contributes_nothing():
    """No division by zero."""
    tasks = torch.zeros_like(TASKS)
    loss = weighted_mean(NLL, WEIGHTS, tasks, task_totals(WEIGHTS, tasks, 2).float(), torch.tensor([1.0, 1.0]))
    assert loss.item() == pytest.approx(39 / 6)


def test_logits_computed_in_parts_give_the_same_losses_and_gradients(monkeypatch):
    """Parts of 7 tokens instead of all 20 at once."""
    torch.manual_seed(0)
    head = torch.nn.Linear(8, 50)
    targets = torch.randint(50, (20,))

    def run():
        hidden = torch.linspace(-1, 1, 160).view(20, 8).requires_grad_()
        head.zero_grad()
        nll = token_nll(head, hidden, targets)
        nll.sum().backward()
        return nll.detach(), hidden.grad, head.weight.grad.clone()

    whole = run()
    monkeypatch.setattr(losses, "CHUNK_LOGITS", 350)
    for part, expected in zip(run(), whole, strict=True):
        assert torch.allclose(part, expected, atol=1e-6)
