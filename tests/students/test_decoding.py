"""Continuations: greedy as in `generate`, sampling that does not depend on the batch, ends that are recorded."""

from collections import Counter

import pytest
import torch
from tiny_students import FAMILIES, make_model

from potstill.students.decoding import Prompt, Settings, generate, plan_batches

VOCABULARY = 50
STOP = (2,)


def settings(**changes):
    return Settings(**{"stop_ids": STOP, "max_new_tokens": 12, **changes})


def prompts_of(lengths, seeds=(None,)):
    rng = torch.Generator().manual_seed(0)
    return [Prompt(torch.randint(4, VOCABULARY, (length,), generator=rng).tolist(), tuple(seeds)) for length in lengths]


def paths(model, prompts, **changes):
    """Return {(prompt, path): Path}."""
    found = {}
    for number, written in generate(model, prompts, settings(**changes)):
        found |= {(number, place): path for place, path in written}
    return found


def reference(model, ids, max_new_tokens=12):
    """Return what Hugging Face writes, up to the stop token."""
    out = model.generate(
        torch.tensor([ids]), max_new_tokens=max_new_tokens, do_sample=False, eos_token_id=2, pad_token_id=0
    )[0, len(ids) :].tolist()
    return out[: out.index(2)] if 2 in out else out


@pytest.mark.parametrize("family", FAMILIES)
def test_greedy_paths_equal_generate_token_by_token(family):
    """Prompts of different length in one batch, against one at a time."""
    model = make_model(family, VOCABULARY, seed=3)
    prompts = prompts_of((5, 9, 2, 14, 9, 3))
    found = paths(model, prompts)
    expected = [reference(model, prompt.ids) for prompt in prompts]
    assert [list(found[n, 0].ids) for n in range(len(prompts))] == expected


def test_greedy_paths_equal_generate_where_some_end_early():
    """Finished paths leave the batch without disturbing the others."""
    model = make_model("llama", VOCABULARY, seed=3)
    with torch.no_grad():  # makes the stop token likely
        model.lm_head.weight[2] += 0.4 * model.lm_head.weight[5:15].sum(0)
    prompts = prompts_of(range(2, 26))
    found = paths(model, prompts, max_new_tokens=20)
    expected = [reference(model, prompt.ids, 20) for prompt in prompts]
    assert len({len(ids) for ids in expected}) > 3
    assert [list(found[n, 0].ids) for n in range(len(prompts))] == expected
    finishes = Counter(path.finish for path in found.values())
    assert finishes == Counter("length" if len(ids) == 20 else "stop" for ids in expected)
    assert min(finishes["stop"], finishes["length"]) > 0


def test_a_sliding_window_model_is_read_from_its_own_cache():
    """Its layers keep only the window."""
    model = make_model("mistral", VOCABULARY, sliding_window=6, num_key_value_heads=2, hidden_size=32,
                       intermediate_size=64, num_hidden_layers=2, num_attention_heads=4)  # fmt: skip
    prompts = prompts_of((14, 4))
    found = paths(model, prompts)
    assert [list(found[n, 0].ids) for n in (0, 1)] == [reference(model, prompt.ids) for prompt in prompts]


def test_a_recurrent_model_is_read_again_for_every_token():
    """Its state cannot be repeated per path; slow, but the same text."""
    model = make_model("mamba", VOCABULARY, hidden_size=16, num_hidden_layers=1, state_size=4)
    prompts = prompts_of((5, 3))
    found = paths(model, prompts, max_new_tokens=4)
    assert [list(found[n, 0].ids) for n in (0, 1)] == [reference(model, prompt.ids, 4) for prompt in prompts]


def test_a_sampled_path_does_not_depend_on_its_batch():
    """The same (prompt, seed) gives the same path alone, in company, and beside a greedy path."""
    model = make_model("llama", VOCABULARY)
    prompts = prompts_of((5, 9, 2), seeds=(None, 11, 12, 13))
    together = paths(model, prompts, temperature=1.0)
    alone = paths(model, [Prompt(prompts[1].ids, (12,))], temperature=1.0)
    assert alone[0, 0].ids == together[1, 2].ids
    in_parts = paths(model, prompts, temperature=1.0, batch_tokens=30)
    assert {key: path.ids for key, path in in_parts.items()} == {key: path.ids for key, path in together.items()}
    assert len({path.ids for path in together.values()}) >= 10


def test_sampling_follows_the_models_distribution():
    """The first token of 4,000 paths, against softmax(logits / temperature)."""
    model = make_model("llama", VOCABULARY)
    prompt = prompts_of((5,), seeds=range(4000))[0]
    with torch.no_grad():
        logits = model(torch.tensor([prompt.ids])).logits[0, -1]
    found = Counter(path.ids[0] if path.ids else 2 for path in paths(model, [prompt], max_new_tokens=1).values())
    expected = logits.softmax(-1)
    share = torch.tensor([found[token] / 4000 for token in range(VOCABULARY)])
    assert (share - expected).abs().max() < 4 * (0.25 / 4000) ** 0.5


def test_top_p_keeps_the_smallest_set_that_reaches_it():
    """No token outside of it is ever drawn, and the most likely one always may be."""
    model = make_model("llama", VOCABULARY)
    prompt = prompts_of((5,), seeds=range(500))[0]
    with torch.no_grad():
        probs, order = model(torch.tensor([prompt.ids])).logits[0, -1].softmax(-1).sort(descending=True)
    size = int((probs.cumsum(0) < 0.5).sum()) + 1
    found = paths(model, [prompt], max_new_tokens=1, top_p=0.5)
    drawn = {path.ids[0] if path.ids else 2 for path in found.values()}
    assert 1 < len(drawn) <= size
    assert drawn <= set(order[:size].tolist())


def test_temperature_zero_is_greedy():
    """Seeds make no difference then."""
    model = make_model("llama", VOCABULARY)
    prompts = prompts_of((5,), seeds=(None, 1, 2))
    assert len({path.ids for path in paths(model, prompts, temperature=0.0).values()}) == 1


def test_the_log_probability_is_the_mean_over_the_tokens_written():
    """Recomputed from one pass over the whole text, at temperature 1 although sampled at 0.7."""
    model = make_model("llama", VOCABULARY)
    prompt = prompts_of((5,), seeds=(4,))[0]
    path = paths(model, [prompt], temperature=0.7)[0, 0]
    assert path.n_tokens == len(path.ids) + (path.finish == "stop")
    ids = [*prompt.ids, *path.ids, *([2] if path.finish == "stop" else [])]
    with torch.no_grad():
        logprobs = model(torch.tensor([ids])).logits[0].log_softmax(-1)
    expected = [float(logprobs[at - 1, ids[at]]) for at in range(len(prompt.ids), len(ids))]
    assert path.logprob == pytest.approx(sum(expected) / len(expected), abs=1e-5)


def test_the_context_ends_a_path_with_finish_length():
    """It is never overrun."""
    model = make_model("gpt2", VOCABULARY, n_positions=16)
    found = paths(model, prompts_of((12, 5)), context=16, max_new_tokens=100)
    assert (found[0, 0].n_tokens, found[0, 0].finish) == (4, "length")
    assert found[1, 0].n_tokens <= 11


def test_a_stop_text_ends_a_path():
    """It is looked for every few tokens, not at every one."""
    model = make_model("llama", VOCABULARY)
    found = paths(model, prompts_of((5,)), max_new_tokens=40, ends=lambda ids: len(ids) >= 3)
    assert (found[0, 0].n_tokens, found[0, 0].finish) == (8, "stop")


def test_batches_stay_within_their_tokens_and_hold_similar_lengths():
    """A prompt with more paths than fit is cut into parts; every path occurs once."""
    prompts = prompts_of((5, 9, 2, 40), seeds=range(7))
    batches = plan_batches(prompts, settings(batch_tokens=120))
    seen = Counter()
    for batch in batches:
        width = max(len(prompts[number].ids) for number, _ in batch) + 12
        rows = sum(len(part) for _, part in batch)
        assert rows == 1 or rows * width <= 120
        seen.update((number, place) for number, part in batch for place, _ in part)
    assert seen == Counter((number, place) for number in range(4) for place in range(7))


def test_the_models_training_mode_is_restored():
    """The dev split is asked in the middle of training."""
    model = make_model("llama", VOCABULARY).train()
    paths(model, prompts_of((3,)))
    assert model.training
