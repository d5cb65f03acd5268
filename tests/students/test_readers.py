"""What is computed while paths are written: an encoder-decoder reads each question once for all its paths."""

from dataclasses import replace

import pytest
import torch
from tiny_students import PAIRS, make_model

from potstill.students.decoding import Prompt, Settings, generate

VOCABULARY = 50
STOP = 3
SETTINGS = Settings(stop_ids=(STOP,), max_new_tokens=10, temperature=1.0)


def lively(family):
    """Return a random model that does not merely repeat what its decoder reads, as tied large embeddings make it."""
    model = make_model(family, VOCABULARY, seed=3)
    with torch.no_grad():
        model.get_input_embeddings().weight.mul_(0.1)
    return model


def prompts_of(lengths, begin, seeds=(None,)):
    rng = torch.Generator().manual_seed(0)
    drawn = [torch.randint(4, VOCABULARY, (length,), generator=rng).tolist() for length in lengths]
    return [Prompt(ids, tuple(seeds), begin) for ids in drawn]


def texts(model, prompts, settings=SETTINGS):
    """Return {(prompt, path): ids}."""
    found = {}
    for number, written in generate(model, prompts, settings):
        found |= {(number, place): list(path.ids) for place, path in written}
    return found


def reference(model, prompt):
    """Return what Hugging Face writes after the beginning, up to the stop token."""
    begin = torch.tensor([prompt.begin])
    out = model.generate(input_ids=torch.tensor([prompt.ids]), decoder_input_ids=begin, max_new_tokens=10,
                         do_sample=False, eos_token_id=STOP, pad_token_id=0,
                         forced_eos_token_id=None)[0, len(prompt.begin) :].tolist()  # fmt: skip
    return out[: out.index(STOP)] if STOP in out else out


@pytest.mark.parametrize("family", PAIRS)
def test_greedy_paths_of_an_encoder_decoder_equal_generate(family):
    """T5, FLAN-T5, mT5 and BART: prompts of different length in one batch, two beginnings, against one at a time."""
    model = lively(family)
    start = 2 if family == "bart" else 0
    prompts = prompts_of((5, 9, 2, 9), (start,)) + prompts_of((4, 7), (start, 11, 12))
    found = texts(model, prompts)
    assert [found[n, 0] for n in range(len(prompts))] == [reference(model, prompt) for prompt in prompts]
    assert len({tuple(ids) for ids in found.values()}) > 3


def test_a_sampled_path_of_an_encoder_decoder_does_not_depend_on_its_batch():
    """Alone, in company, and in batches too small for all paths."""
    model = lively("bart")
    prompts = prompts_of((5, 9, 2), (2,), seeds=(None, 11, 12, 13))
    together = texts(model, prompts)
    assert texts(model, [Prompt(prompts[1].ids, (12,), (2,))])[0, 0] == together[1, 2]
    small = replace(SETTINGS, batch_tokens=30)
    assert texts(model, prompts, small) == together
    assert len({tuple(together[0, place]) for place in (1, 2, 3)}) == 3


def test_the_encoder_runs_once_per_question_for_all_paths():
    """Twenty paths each, of two questions."""
    model, seen = make_model("t5", VOCABULARY), []
    model.encoder.register_forward_hook(lambda _, args, out: seen.append(tuple(out[0].shape[:2])))
    texts(model, prompts_of((6, 8), (0,), seeds=range(20)))
    assert seen == [(2, 8)]


def test_the_context_of_an_encoder_decoder_is_its_decoders_own():
    """A long prompt leaves the room for the answer as it is."""
    model = make_model("t5", VOCABULARY)
    [(_, [(_, path)])] = generate(
        model, prompts_of((30,), (0,)), Settings(stop_ids=(999,), max_new_tokens=10, context=8)
    )
    assert (len(path.ids), path.finish) == (7, "length")
