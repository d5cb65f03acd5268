"""Pretrain the embedded base student from scratch, on plain text of the miniature world.

    python -m potstill.miniature.pretraining --out FOLDER --steps 2050 [--size small|middle|base]

The result is an ordinary Hugging Face folder. The text comes from `corpus.py`; no problem, rationale or answer of any
split is read. `--overlap` prints instead how many n-grams that text shares with questions and with targets. Same seed,
same machine, same weights; other machines differ in the last digits and then drift apart.

Symbols: B rows, T tokens, C channels, N loss positions of a batch.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import re
import time
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from potstill.miniature import corpus
from potstill.miniature.teacher import write
from potstill.miniature.world import draw_problems

TOKEN = r"▁?[^▁\s.,:?]+|[.,:?]|\n|▁"
"""A word carries the space before it, as in byte-pair vocabularies, so that decoding restores the text exactly."""
SPECIAL = ("<pad>", "<eos>", "<unk>", "<bos>", *(f"<spare_{i}>" for i in range(60)))
EXTRA_WORDS = ("(", "Let", "▁", "▁#", "▁(", "▁)", "▁/", "▁//", "▁def", "▁int", "▁print", "▁return", "▁solution", "▁yes")
N_NUMBERS = 300
N_ROWS, ROW_LENGTH = 32, 192
SIZES = {"small": (64, 2), "middle": (96, 3), "base": (128, 4)}
"""Name -> channels, and layers; as many heads as layers, of 32 channels each."""
PEAK_RATE = 3e-3
WARM_UP_STEPS = 150
CHECK_EVERY = 250


def build_tokenizer() -> Any:
    """Return the whole-word tokenizer of the world's texts; every number below 300 is one token."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: number for number, word in enumerate((*SPECIAL, *_words()))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(TOKEN), "isolated")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse()])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", eos_token="<eos>", pad_token="<pad>", bos_token="<bos>",
        additional_special_tokens=list(SPECIAL[4:]), clean_up_tokenization_spaces=False, model_max_length=512,
        padding_side="left",
    )  # fmt: skip


def build_model(vocabulary: dict[str, int], size: str = "base") -> Any:
    """Return the untrained student: Llama, by default 4 layers of 128 channels, input and output embeddings tied."""
    from transformers import LlamaConfig, LlamaForCausalLM

    channels, layers = SIZES[size]
    config = LlamaConfig(
        vocab_size=len(vocabulary), hidden_size=channels, intermediate_size=2 * channels, num_hidden_layers=layers,
        num_attention_heads=layers, num_key_value_heads=layers, max_position_embeddings=512, tie_word_embeddings=True,
        bos_token_id=vocabulary["<bos>"], eos_token_id=vocabulary["<eos>"], pad_token_id=vocabulary["<pad>"],
        rms_norm_eps=1e-5, initializer_range=0.05,
    )  # fmt: skip
    return LlamaForCausalLM(config)


class Muon:
    """Momentum whose update is orthogonalised (Newton-Schulz), in float32 and for all matrices of a shape at once.

    `torch.optim.Muon` does this in bfloat16 and one by one: three times slower a step on a CPU without bfloat16.

    Source: Jordan et al. 2024, kellerjordan.github.io/posts/muon; the step is scaled to AdamW's as in arXiv:2502.16982.
    """

    def __init__(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        by_shape: dict[torch.Size, list[torch.nn.Parameter]] = {}
        for parameter in parameters:
            by_shape.setdefault(parameter.shape, []).append(parameter)
        self.groups = [(group, torch.zeros(len(group), *shape)) for shape, group in by_shape.items()]

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Update all parameters from their gradients."""
        for group, momentum in self.groups:
            gradient = torch.stack([parameter.grad for parameter in group if parameter.grad is not None])
            momentum.lerp_(gradient, 0.05)
            update = _orthogonal(gradient.lerp(momentum, 0.95))
            scale = rate * 0.2 * max(update.shape[1:]) ** 0.5
            for parameter, change in zip(group, update, strict=True):
                parameter.mul_(1 - rate * 0.05).add_(change, alpha=-scale)


class Rows:
    """Packs documents into rows of one length, with the loss weight of each token."""

    def __init__(self, vocabulary: dict[str, int], rng: random.Random) -> None:
        self.vocabulary, self.rng, self.eos = vocabulary, rng, vocabulary["<eos>"]
        self.encode = lru_cache(maxsize=200_000)(self._encode)

    def document(self, pieces: Sequence[corpus.Piece]) -> tuple[list[int], list[float]]:
        """Return the tokens of a document, end-of-sequence included, and their weights."""
        tokens: list[int] = []
        weights: list[float] = []
        for text, weight in pieces:
            encoded = self.encode(text)
            tokens += encoded
            weights += [weight] * len(encoded)
        return [*tokens, self.eos], [*weights, 0.2]

    def batch(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return tokens [B, T] and weights [B, T] of freshly drawn documents."""
        rows = [self._row() for _ in range(N_ROWS)]
        return torch.tensor([tokens for tokens, _ in rows]), torch.tensor([weights for _, weights in rows])

    def _row(self) -> tuple[list[int], list[float]]:
        tokens, weights = [self.eos], [0.0]
        while True:
            more, more_weights = self.document(corpus.draw_document(self.rng))
            if len(tokens) + len(more) <= ROW_LENGTH:
                tokens += more
                weights += more_weights
            elif len(tokens) > ROW_LENGTH - 40 or (len(more) <= ROW_LENGTH - 1 and self.rng.random() < 0.5):
                gap = ROW_LENGTH - len(tokens)
                return tokens + [0] * gap, weights + [0.0] * gap

    def _encode(self, text: str) -> list[int]:
        return [self.vocabulary[word] for word in re.findall(TOKEN, text.replace(" ", "▁"))]


def pretrain(*, steps: int, decay_steps: int, seed: int, out: Path, size: str = "base") -> None:
    """Train a base student and write it to `out`, with its tokenizer, as half-precision weights."""
    torch.manual_seed(0)
    tokenizer = build_tokenizer()
    vocabulary = tokenizer.get_vocab()
    model = build_model(vocabulary, size)
    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name]
    is_matrix = {id(p) for p in matrices}
    others = [p for p in model.parameters() if id(p) not in is_matrix]
    groups = [
        {"params": [p for p in others if p.ndim > 1], "weight_decay": 0.05},
        {"params": [p for p in others if p.ndim == 1], "weight_decay": 0.0},
    ]
    muon, adam = Muon(matrices), torch.optim.AdamW(groups, lr=PEAK_RATE, betas=(0.9, 0.98), fused=True)
    rows = Rows(vocabulary, random.Random(seed))
    checks = {name: check_rows(rows, name) for name in CHECKS}
    started_s = time.monotonic()
    for step in range(1, steps + 1):
        rate = PEAK_RATE * min(1.0, step / WARM_UP_STEPS, (steps - step + 1) / decay_steps)
        for group in adam.param_groups:
            group["lr"] = rate
        loss = weighted_loss(model, *rows.batch())
        model.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        muon.step(rate)
        adam.step()
        if step % CHECK_EVERY == 0 or step == steps:
            shares = {name: round(share_exact(model, *check), 4) for name, check in checks.items()}
            print(f"step {step} loss {loss.item():.4f} exact {shares} {time.monotonic() - started_s:.0f} s", flush=True)
    model.half().save_pretrained(out)
    tokenizer.save_pretrained(out)


def weighted_loss(model: Any, tokens_BT: torch.Tensor, weights_BT: torch.Tensor) -> torch.Tensor:
    """Return the weighted mean cross-entropy; of the tokens with little weight only a sixth is looked at, unbiased."""
    hidden_BTC = model.model(tokens_BT[:, :-1], use_cache=False).last_hidden_state
    weights, targets = weights_BT[:, 1:].reshape(-1), tokens_BT[:, 1:].reshape(-1)
    is_low = weights < 0.1
    kept = ~is_low | ((weights > 0) & (torch.rand(weights.shape) < 0.15))
    weights_N = torch.where(is_low, weights / 0.15, weights)[kept]
    logits_NV = model.lm_head(hidden_BTC.reshape(-1, hidden_BTC.shape[-1])[kept])
    return (F.cross_entropy(logits_NV, targets[kept], reduction="none") * weights_N).sum() / weights_N.sum()


CHECKS = {
    "notes": corpus.draw_diary,
    "facts": corpus.draw_facts,
    "copies": corpus.draw_copies,
    "code": corpus.draw_code,
}


def check_rows(rows: Rows, name: str, *, n: int = 200) -> tuple[torch.Tensor, torch.Tensor]:
    """Return tokens [B, T] and weights [B, T] of held-out documents, one a row."""
    rng = random.Random(f"check {name}")
    documents = [rows.document(CHECKS[name](rng)) for _ in range(n)]
    width = 1 + max(len(tokens) for tokens, _ in documents)
    tokens = [[rows.eos, *tokens, *[0] * (width - 1 - len(tokens))] for tokens, _ in documents]
    weights = [[0.0, *weights, *[0.0] * (width - 1 - len(weights))] for _, weights in documents]
    return torch.tensor(tokens), torch.tensor(weights)


@torch.no_grad()
def share_exact(model: Any, tokens_BT: torch.Tensor, weights_BT: torch.Tensor) -> float:
    """Return the share of rows all of whose decided tokens the model ranks first, given the text before them."""
    is_right = model(tokens_BT[:, :-1]).logits.argmax(-1) == tokens_BT[:, 1:]
    return float((is_right | (weights_BT[:, 1:] < 1.0)).all(1).float().mean())


def overlap(sizes: Sequence[int], *, n_documents: int, n_problems: int, seed: int) -> list[dict[str, Any]]:
    """Count how many distinct n-grams of questions and of targets occur in the pretraining text.

    One row per size (at least 2) and kind: `question`, `rationale` (a teacher's text with its answer), and `border`,
    the n-grams that begin in a question and end in its rationale.
    """
    rng = random.Random(f"overlap {seed}")
    wanted: dict[tuple[int, str], set[tuple[str, ...]]] = {}
    for problem in draw_problems("test", n_problems, seed):
        asked, written = _split(f"Q: {problem['question']}\nA:"), _split(f" {write(problem['question'], rng)}")
        for size in sizes:
            spans = asked[-(size - 1) :] + written[: size - 1]
            for kind, tokens in (("question", asked), ("rationale", written), ("border", spans)):
                wanted.setdefault((size, kind), set()).update(_grams(tokens, size))
    missing = {size: set().union(*(grams for (n, _), grams in wanted.items() if n == size)) for size in sizes}
    for _ in range(n_documents):
        tokens = _split("".join(text for text, _ in corpus.draw_document(rng)))
        for size in sizes:
            missing[size].difference_update(_grams(tokens, size))
    return [
        {"n": size, "of": kind, "distinct": len(grams), "shared_frac": 1 - len(grams & missing[size]) / len(grams)}
        for (size, kind), grams in wanted.items()
    ]


def _words() -> list[str]:
    """All words of the world's texts, numbers first."""
    rng = random.Random(0)
    found = {f"▁{number}" for number in range(N_NUMBERS)} | set(EXTRA_WORDS)
    for _ in range(20_000):
        found.update(word for text, _ in corpus.draw_document(rng) for word in _split(text))
    for problem in itertools.chain(draw_problems("train", 2000, 0), draw_problems("ood", 2000, 0)):
        found.update(_split(f"Q: {problem['question']}\nA:"))
        for _ in range(3):
            found.update(_split(f" {write(problem['question'], rng)}"))
    numbers = sorted((word for word in found if word[1:].isdigit()), key=lambda word: int(word[1:]))
    return numbers + sorted(found - set(numbers))


def _split(text: str) -> list[str]:
    return re.findall(TOKEN, text.replace(" ", "▁"))


def _grams(tokens: Sequence[str], size: int) -> Iterable[tuple[str, ...]]:
    return zip(*(tokens[at:] for at in range(size)), strict=False)


def _orthogonal(matrices: torch.Tensor) -> torch.Tensor:
    """Return the nearest semi-orthogonal matrices, roughly, by five Newton-Schulz steps. Shape [B, rows, columns]."""
    is_tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if is_tall else matrices
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(5):
        square = x @ x.mT
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    nearest: torch.Tensor = x.mT if is_tall else x
    return nearest


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line; pretrain, or print the overlap."""
    parser = argparse.ArgumentParser(prog="python -m potstill.miniature.pretraining", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("base"), help="folder of the new base student")
    parser.add_argument("--size", choices=list(SIZES), default="base")
    parser.add_argument("--steps", type=int, default=2050)
    parser.add_argument("--decay-steps", type=int, default=650, help="last steps, where the learning rate falls to 0")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--overlap", action="store_true", help="print the n-gram overlap and stop")
    options = parser.parse_args(arguments)
    if options.overlap:
        for row in overlap((4, 8, 13, 20), n_documents=200_000, n_problems=500, seed=options.seed):
            print(
                f"{row['n']:>2}-grams of {row['of']:<9} {row['distinct']:>7} distinct, {row['shared_frac']:.3f} shared"
            )
        return
    torch.set_num_threads(options.threads)
    pretrain(
        steps=options.steps, decay_steps=options.decay_steps, seed=options.seed, out=options.out, size=options.size
    )


if __name__ == "__main__":
    main()
