"""Tiny students, tokenizers and examples for the tests of this folder."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, PreTrainedTokenizerFast

from potstill.records import Example, Problem

WORDS = ["Q:", "A:", "So", "the", "answer", "is:", "and", "plus", "is", "of", *(str(n) for n in range(40))]
SIZES = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
FAMILIES = {
    "llama": {**SIZES, "num_key_value_heads": 2, "max_position_embeddings": 128},
    "qwen2": {**SIZES, "num_key_value_heads": 2, "max_position_embeddings": 128},
    "qwen3": {**SIZES, "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 128},
    "opt": {
        "hidden_size": 32, "ffn_dim": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
        "max_position_embeddings": 128, "word_embed_proj_dim": 16, "dropout": 0.0,
    },
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128, "resid_pdrop": 0.0, "embd_pdrop": 0.0,
             "attn_pdrop": 0.0},
    "gemma": {**SIZES, "num_key_value_heads": 1, "head_dim": 8, "max_position_embeddings": 128},
}  # fmt: skip
_T5 = {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4, "dropout_rate": 0.0}
_BART = {"d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4, "dropout": 0.0,
         "decoder_attention_heads": 4, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64}  # fmt: skip
PAIRS = {
    "t5": {**_T5, "decoder_start_token_id": 0},
    "flan-t5": {**_T5, "model_type": "t5", "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False,
                "num_decoder_layers": 1, "decoder_start_token_id": 0},
    "mt5": {**_T5, "feed_forward_proj": "gated-gelu", "decoder_start_token_id": 0},
    "bart": {**_BART, "max_position_embeddings": 128, "decoder_start_token_id": 2},
}  # fmt: skip
"""Encoder-decoders; FLAN-T5 is a T5 with gated layers and an output embedding of its own."""


def make_tokenizer(**changes: object) -> PreTrainedTokenizerFast:
    """Return a whole-word tokenizer over WORDS."""
    vocabulary = {word: index for index, word in enumerate(["<pad>", "<s>", "</s>", "<unk>", *WORDS])}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    names = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", **changes}
    names = {key: value for key, value in names.items() if value is not None}
    return PreTrainedTokenizerFast(tokenizer_object=core, **names)


def make_model(family: str = "llama", vocab_size: int = 4 + len(WORDS), seed: int = 0, **changes: object):
    """Return a random model of a family, larger than usual weights so that mistakes show."""
    torch.manual_seed(seed)
    model = random_model(family, vocab_size, **changes)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1 and not family.endswith("t5"):  # T5 begins with large ones
                parameter.mul_(5)
    return model.eval()


def random_model(family: str, vocab_size: int = 4 + len(WORDS), **changes: object):
    """Return a model as it is initialised."""
    own = {**FAMILIES.get(family, {}), **PAIRS.get(family, {})}
    settings = {"vocab_size": vocab_size, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, **own, **changes}
    config = AutoConfig.for_model(settings.pop("model_type", family), **settings)
    return (AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM).from_config(config)


def save_student(folder: Path, family: str = "llama", *, seed: int = 0, **changes: object) -> Path:
    """Write a random student folder."""
    torch.manual_seed(seed)
    random_model(family, **changes).save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return folder


def sums(n: int, split: str = "train") -> list[Problem]:
    """Return n problems 'a plus b'."""
    pairs = [(i % 9, (i * 7 + i // 9) % 11) for i in range(n)]
    return [
        Problem(id=f"{split}{i}", question=f"{a} plus {b}", answer=str(a + b), answer_type="number", split=split)
        for i, (a, b) in enumerate(pairs)
    ]


def examples_of(problems: list[Problem], n: int = 3, task: str = "cot") -> list[Example]:
    """Return n examples per problem that share a prompt, of different length."""
    made = []
    for problem in problems:
        for k in range(n):
            steps = " and".join(f" {problem.question}" for _ in range(k + 1))
            made.append(
                Example(
                    id=f"{problem.id}.{k}",
                    prompt=f"Q: {problem.question} A:",
                    target=f"{steps} So the answer is: {problem.answer}",
                    task=task,
                    group=problem.id,
                )
            )
    return made
