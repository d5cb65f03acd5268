"""How natural a text is: what each of its tokens costs a causal language model, in nats."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from potstill.errors import ConfigError, boundary, require_extra

LONGEST = 1024
"""Tokens of a text that are looked at."""


def open_scorer(model: str) -> Callable[[Sequence[str]], list[float]]:
    """Return a function from texts to their mean cost per token; a text of one token costs 0.

    Raises:
        MissingExtraError: torch or transformers is not installed.
        ConfigError: The model cannot be opened as a causal language model.
    """
    require_extra("torch", "train")
    require_extra("transformers", "train")
    where = f"counterfactual.fluency.model: {model!r} cannot be opened; name a folder or a downloaded causal model"
    with boundary(ConfigError, where):
        return _opened(model)


def _opened(model: str) -> Callable[[Sequence[str]], list[float]]:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    network = AutoModelForCausalLM.from_pretrained(model).eval()
    most = min(LONGEST, int(getattr(network.config, "max_position_embeddings", LONGEST) or LONGEST))

    def cost(text: str) -> float:
        ids = tokenizer(text, return_tensors="pt", truncation=True, max_length=most)["input_ids"]
        if ids.shape[1] < 2:
            return 0.0
        with torch.inference_mode():
            return float(network(input_ids=ids, labels=ids).loss)

    return lambda texts: [cost(text) for text in texts]
