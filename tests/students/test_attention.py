"""Attention over trees: what a copy of the prompt for every branch would give, without the copies."""

import numpy as np
import pytest
import torch
from test_sharing import VOCABULARY, rows_of
from tiny_students import make_model

from potstill.students import attention
from potstill.students.collating import collate

GROUPS = ((7, (5, 9, 3)), (4, (1, 2)), (30, (20, 23, 0, 21)), (3, (0,)))
"""Tokens of each prompt, and of its branches."""


def tree_of(groups=GROUPS):
    """Return the tree that `collate` makes of random rows, and how many tokens it has."""
    rows = rows_of([prompt for prompt, _ in groups], [[length + 1 for length in lengths] for _, lengths in groups])
    batch = collate(rows, shared=True, tree=True)
    return batch["tree"], batch["tree_ids"].shape[1]


def states(tokens, dtype=torch.float64, heads=2, size=8):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(tokens, heads, size, generator=generator, dtype=torch.float64).to(dtype) for _ in range(4)]


@pytest.mark.parametrize(
    ("dtype", "most"), [(torch.float64, 1e-12), (torch.float32, 1e-5), (torch.bfloat16, 3e-2)], ids=str
)
def test_the_kernel_gives_what_copies_of_the_prompt_give(dtype, most):
    """Values and all three gradients; among the branches are two without tokens."""
    tree, tokens = tree_of()
    *inputs, gradient = states(tokens, dtype)
    found = []
    for read in (attention._Flash.apply, attention.repeated):
        own = [state.clone().requires_grad_() for state in inputs]
        out = read(*own, tree, 0.3)
        out.backward(gradient)
        found.append([out.detach(), *(state.grad for state in own)])
    for one, other in zip(*found, strict=True):
        assert (one - other).abs().max() <= most * other.abs().max()


def test_a_branch_sees_its_prompt_and_itself_alone():
    """A change in one branch moves its own later tokens and no others."""
    tree, tokens = tree_of()
    query, key, value, _ = states(tokens)
    before = attention._Flash.apply(query, key, value, tree, 0.3)
    first = sum(prompt for prompt, _ in GROUPS) + 5  # the second branch of the first prompt, of 9 tokens
    value[first + 2] += 1
    moved = (attention._Flash.apply(query, key, value, tree, 0.3) - before).abs().amax((1, 2)) > 1e-9
    assert np.flatnonzero(moved.numpy()).tolist() == list(range(first + 2, first + 9))


def test_dropout_on_attention_is_kept():
    """The kernel knows none, so prompts are repeated: values that are all 1 come out as something else."""
    tree, tokens = tree_of()
    query, key, _, _ = (state.transpose(0, 1)[None] for state in states(tokens))
    ones = torch.ones_like(key)
    torch.manual_seed(0)
    dropped = attention.attend(torch.nn.Module(), query, key, ones, None, tree=tree, dropout=0.5)[0]
    assert dropped.std() > 0.1
    assert dropped.mean().item() == pytest.approx(1.0, abs=0.1)
    kept = attention.attend(torch.nn.Module(), query, key, ones, None, tree=tree)[0]
    assert torch.allclose(kept, torch.ones_like(kept))


def test_a_model_that_caps_its_scores_is_refused():
    """Gemma 2 does; the layout's trial then takes another layout."""
    tree, tokens = tree_of()
    query, key, value, _ = (state.transpose(0, 1)[None] for state in states(tokens))
    with pytest.raises(NotImplementedError, match="caps, biases or sinks"):
        attention.attend(torch.nn.Module(), query, key, value, None, tree=tree, softcap=50.0)


def test_calls_without_a_tree_are_answered_as_ever():
    """The student is generated with while it is trained."""
    model, ids = make_model("llama", VOCABULARY), torch.tensor([[5, 6, 7], [0, 8, 9]])
    mask = torch.tensor([[1, 1, 1], [0, 1, 1]])
    expected = model(ids, attention_mask=mask).logits
    model.set_attn_implementation(attention.NAME)
    assert torch.equal(model(ids, attention_mask=mask).logits, expected)
