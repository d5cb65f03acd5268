"""Shared prompts: the same loss and gradients as one padded row per example."""

import numpy as np
import pytest
import torch
from tiny_students import FAMILIES, PAIRS, make_model

from potstill.students import collating
from potstill.students.batching import Row
from potstill.students.collating import collate
from potstill.students.encoding import Encoded
from potstill.students.losses import task_totals, weighted_mean
from potstill.students.sharing import Layout, choose_layout, route, target_nll, unroute

VOCABULARY = 50


def rows_of(prompt_lengths, target_lengths, seed=0, prompts=None):
    """Return rows with random tokens: one prompt per length, as many targets each as are listed."""
    rng = np.random.default_rng(seed)
    rows = []
    for q, (length, targets) in enumerate(zip(prompt_lengths, target_lengths, strict=True)):
        prompt = rng.integers(4, VOCABULARY, length).astype(np.int32)
        for k, target in enumerate(targets):
            ids = rng.integers(4, VOCABULARY, target).astype(np.int32)
            example = Encoded(f"{q}.{k}", str(q), "cot" if k % 2 else "pot", 1.0, prompt, ids)
            rows.append(Row(example, 1.0 + 0.5 * k))
    return rows


def loss_and_gradients(model, batch, head=True, task_weights=(1.0,)):
    """Return the weighted token mean, or the sum of the tasks' means, and the gradient of every parameter."""
    model.zero_grad()
    nll = target_nll(model, batch, head=head)
    totals = task_totals(batch["weights"], batch["tasks"], len(task_weights)).float()
    loss = weighted_mean(nll, batch["weights"], batch["tasks"], totals, torch.tensor(task_weights))
    loss.backward()
    return float(loss.detach()), {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def assert_same(model, rows, layout=None, task_weights=(1.0,)):
    layout = layout or Layout(shared=True, head=True)
    tasks = ("cot", "pot")[: len(task_weights)] if len(task_weights) > 1 else ()
    by_row = collate(rows, shared=False, starts=layout.starts, tasks=tasks)
    expected_loss, expected = loss_and_gradients(model, by_row, layout.head, task_weights)
    batch = collate(rows, shared=True, tree=layout.tree, starts=layout.starts, tasks=tasks)
    route(model, layout)
    loss, gradients = loss_and_gradients(model, batch, layout.head, task_weights)
    unroute(model)
    assert loss == pytest.approx(expected_loss, rel=1e-5)
    assert set(gradients) == set(expected)
    scale = torch.cat([g.flatten() for g in expected.values()]).norm()
    assert scale > 1e-3
    difference = torch.cat([(gradients[name] - expected[name]).flatten() for name in expected]).norm()
    assert difference / scale < 1e-5


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("prompt_lengths", [(9, 9, 9), (4, 11, 7)], ids=["equal prompts", "padded prompts"])
def test_shared_prompts_give_the_loss_and_gradients_of_padded_rows(family, prompt_lengths):
    """Three questions, several rationales of different lengths each, in float32."""
    rows = rows_of(prompt_lengths, [(5, 2, 9), (3, 3, 8), (12, 1, 6)])
    assert_same(make_model(family, VOCABULARY), rows)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("task_weights", [(1.0,), (0.3, 0.7)], ids=["one mean", "a mean per task"])
def test_a_tree_gives_the_loss_and_gradients_of_padded_rows(family, task_weights):
    """Prompts of different length with different numbers of rationales, one of a single token, rows out of order."""
    rows = rows_of((4, 11, 7), [(5, 2, 9), (3, 8), (12, 1, 6, 6)])
    rows = [rows[i] for i in (3, 0, 5, 1, 6, 2, 4, 8, 7)]
    assert_same(make_model(family, VOCABULARY), rows, Layout(shared=True, head=True, tree=True), task_weights)


def test_a_tree_reads_every_token_once():
    """Unique tokens and no padding: both prompts, and all rationales but their last tokens."""
    batch = collate(rows_of((6, 8), [(5, 9), (3,) * 10]), shared=True, tree=True)
    assert batch["tree_ids"].shape == (1, 6 + 8 + 4 + 8 + 2 * 10)
    assert "prompt_mask" not in batch


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_questions_may_have_different_numbers_of_rationales(family):
    """Also when their rows are not in order, as with two kinds of prompt per problem."""
    rows = rows_of((6, 3, 8), [(5,), (3, 4, 8, 2), (12, 7)])
    assert_same(make_model(family, VOCABULARY), [rows[i] for i in (3, 0, 5, 1, 6, 2, 4)])


@pytest.mark.parametrize("family", FAMILIES)
def test_branches_of_different_length_are_read_in_parts(family, monkeypatch):
    """Each part is padded to its own longest row; loss and gradients stay the same."""
    monkeypatch.setattr(collating, "PASS_TOKENS", 4)
    rows = rows_of((6, 3, 8), [(5, 20, 3), (3, 4, 8, 2), (12, 7)])
    assert len(collate(rows, shared=True)["branches"]) > 2
    assert_same(make_model(family, VOCABULARY), rows)


@pytest.mark.parametrize("family", PAIRS)
@pytest.mark.parametrize("prompt_lengths", [(9, 9, 9), (4, 11, 7)], ids=["equal prompts", "padded prompts"])
def test_an_encoder_decoder_gives_the_same_over_one_encoding_per_prompt(family, prompt_lengths, monkeypatch):
    """T5, FLAN-T5, mT5 and BART, in float32; the branches in several parts."""
    monkeypatch.setattr(collating, "PASS_TOKENS", 4)
    model, starts = make_model(family, VOCABULARY), (2, 1) if family == "bart" else (0,)
    rows = rows_of(prompt_lengths, [(5, 2, 9), (3, 3, 8), (12, 1, 6)])
    layout = choose_layout(model, rows[:6], want_shared=True, starts=starts)
    assert (layout.shared, layout.starts) == (True, starts)
    assert_same(model, rows, layout)


@pytest.mark.parametrize("family", PAIRS)
def test_an_encoder_decoder_has_the_loss_that_transformers_gives_it(family):
    """One row, its labels given to the model itself; T5 alone scales its logits."""
    model, starts = make_model(family, VOCABULARY), (2,) if family == "bart" else (0,)
    [row] = rows_of((7,), [(6,)])
    layout = choose_layout(model, [row], want_shared=True, starts=starts)
    assert layout.head == (family != "t5")
    prompt, target = (torch.tensor([ids.tolist()]) for ids in (row.example.prompt, row.example.target))
    nll = target_nll(model, collate([row], shared=True, starts=starts), head=layout.head)
    expected = model(input_ids=prompt, labels=target).loss
    assert nll.mean().item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_encoder_reads_each_prompt_once():
    """Also with ten rationales each, and so do the projections of the cross-attention."""
    model, seen = make_model("t5", VOCABULARY), []
    model.encoder.register_forward_hook(lambda _, args, kwargs, out: seen.append(out[0].shape), with_kwargs=True)
    cross = model.decoder.block[0].layer[1].EncDecAttention.k
    cross.register_forward_hook(lambda _, args, out: seen.append(out.shape))
    target_nll(model, collate(rows_of((6, 8), [(5,) * 10] * 2), shared=True, starts=(0,)), head=False)
    assert [tuple(shape[:2]) for shape in seen] == [(2, 8), (2, 8)]


def test_a_sliding_window_shorter_than_the_prompt_sees_the_same_tokens():
    """Left padding keeps a branch next to its prompt in the cache, so that windows cut at the same token."""
    model = make_model("mistral", VOCABULARY, sliding_window=6, num_key_value_heads=2, hidden_size=32,
                       intermediate_size=64, num_hidden_layers=2, num_attention_heads=4)  # fmt: skip
    for tree in (False, True):
        assert_same(model, rows_of((14, 9), [(5, 9), (11, 4)]), Layout(shared=True, head=True, tree=tree))


def test_shared_prompts_with_one_target_token_each_need_no_second_pass():
    """A target of the stop token's width is predicted from the prompt alone."""
    assert_same(make_model("llama", VOCABULARY), rows_of((5, 5), [(1, 1), (1, 1)]))


def test_the_first_token_of_every_rationale_is_predicted_from_the_end_of_the_prompt():
    """The trap of shared prompts, checked against the model's own logits."""
    model = make_model("llama", VOCABULARY)
    rows = rows_of((7,), [(3, 4)])
    nll = target_nll(model, collate(rows, shared=True)).detach()
    logits = model(torch.tensor([rows[0].example.prompt.tolist()])).logits[0, -1].log_softmax(-1)
    first = [int(row.example.target[0]) for row in rows]
    assert torch.allclose(nll[[0, 3]], -logits[first], atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_trial_takes_a_tree_where_the_model_can(family):
    """And gives the model its own attention back."""
    model = make_model(family, VOCABULARY)
    layout = choose_layout(model, rows_of((4, 9), [(5, 2), (3, 3)]), want_shared=True)
    assert layout == Layout(shared=True, head=True, tree=True)
    assert model.config._attn_implementation == "sdpa"


def test_the_trial_shares_a_cache_where_attention_is_the_users_choice():
    """Eager attention is not replaced; over a shared cache it gives the same losses."""
    model = make_model("llama", VOCABULARY)
    model.set_attn_implementation("eager")
    layout = choose_layout(model, rows_of((4, 9), [(5, 2), (3, 3)]), want_shared=True)
    assert layout == Layout(shared=True, head=True)


def test_the_trial_falls_back_to_padded_rows_for_a_recurrent_model():
    """Mamba keeps no cache of keys and values."""
    model = make_model("mamba", VOCABULARY, hidden_size=16, num_hidden_layers=1, state_size=4)
    layout = choose_layout(model, rows_of((4, 9), [(5, 2), (3, 3)]), want_shared=True)
    assert not layout.shared
    assert "Mamba" in layout.reason


def test_gradient_checkpointing_goes_with_a_tree():
    """It switches caches off, and a tree has none; gradients are those without it."""
    model = make_model("llama", VOCABULARY).train()
    rows = rows_of((4, 9), [(5, 2), (3, 3)])
    layout = choose_layout(model, rows, want_shared=True, checkpointing=True)
    assert layout == Layout(shared=True, head=True, tree=True)
    _, expected = loss_and_gradients(model, collate(rows, shared=False))
    route(model, layout)
    model.activation_checkpointing_enable()
    _, gradients = loss_and_gradients(model, collate(rows, shared=True, tree=True))
    assert all(torch.allclose(gradients[name], expected[name], rtol=1e-4, atol=1e-5) for name in expected)


def test_gradient_checkpointing_without_a_tree_means_padded_rows():
    """Eager attention is the user's own."""
    model = make_model("llama", VOCABULARY)
    model.set_attn_implementation("eager")
    layout = choose_layout(model, rows_of((4, 9), [(5, 2), (3, 3)]), want_shared=True, checkpointing=True)
    assert not layout.shared
    assert layout.reason == "gradient checkpointing keeps no cache, and LlamaForCausalLM cannot do without one"


def test_a_model_that_scales_its_logits_is_not_taken_apart():
    """Cohere multiplies logits by a factor, so they are not the output embedding of the hidden state."""
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4}
    model = make_model("cohere", VOCABULARY, **sizes, num_key_value_heads=2, logit_scale=0.0625)
    rows = rows_of((4, 9), [(5, 2), (3, 3)])
    layout = choose_layout(model, rows, want_shared=True)
    assert layout == Layout(shared=True, head=False, tree=True)
    whole = target_nll(model, collate(rows, shared=True), head=False)
    assert not torch.allclose(whole, target_nll(model, collate(rows, shared=True), head=True), atol=1e-3)


def test_routing_leaves_other_calls_alone_and_can_be_undone():
    """The model stays usable for generation while it is trained."""
    model = make_model("llama", VOCABULARY)
    rows = rows_of((4,), [(5, 2)])
    batch, ids = collate(rows, shared=True, tree=True), torch.tensor([[5, 6, 7]])
    before = model(ids).logits
    route(model, choose_layout(model, rows, want_shared=True))
    assert torch.equal(model(**batch), target_nll(model, batch))
    assert torch.equal(model(ids).logits, before)
    unroute(model)
    assert model.config._attn_implementation == "sdpa"
    with pytest.raises(ValueError, match="input_ids"):
        model(**batch)
