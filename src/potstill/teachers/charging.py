"""What requests cost: reported token counts where there are any, estimates from bytes where not, money from the price.

Estimates learn from what the server reported: tokens per byte of the prompt, tokens per completion.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from potstill.teachers.base import money_for
from potstill.teachers.responses import Choice, Failure, Reply

if TYPE_CHECKING:
    from potstill.recipe.teachers import PriceConfig

BYTES_PER_TOKEN = 4
"""Of English text, for estimates."""
UNKNOWN_COMPLETION = 4096
"""Tokens of a completion without a cap, before any has been seen."""


class Costs:
    """Prices what was used and estimates what will be."""

    def __init__(self, price: PriceConfig | None) -> None:
        self._price = price
        self._most_per_byte = 0.0
        self._most_tokens = 0
        self._seen_tokens = 0
        self._seen = 0

    def money(self, usage: Mapping[str, int]) -> float:
        """Return what `usage` costs."""
        return money_for(usage, self._price)

    def at_most(self, head: str, n: int, cap: int | None) -> tuple[int, float]:
        """Return the most (tokens, money) that a request for n completions may take, for a reservation.

        The cap bounds the completions; the prompt's tokens are bounded by the most per byte seen so far, and by one
        for two bytes before anything was.
        """
        prompt = int(len(head) * (1.1 * self._most_per_byte or 0.5)) + 16
        each = cap if cap is not None else max(UNKNOWN_COMPLETION, 2 * self._most_tokens)
        usage = {"prompt_tokens": prompt, "completion_tokens": n * each}
        return prompt + n * each, self.money(usage)

    def typical(self, head: str, n: int, cap: int | None) -> int:
        """Return the tokens that a request for n completions usually takes, for the rate limit."""
        each = self._seen_tokens / self._seen if self._seen else cap or UNKNOWN_COMPLETION
        return len(head) // BYTES_PER_TOKEN + int(n * each)

    def usage(self, head: str, outcome: Reply | Failure, n: int) -> dict[str, int]:
        """Return what an attempt used: as reported, else estimated; nothing for what was not billed."""
        if isinstance(outcome, Failure):
            return self._guess(head, outcome, n) if outcome.billed else {}
        if outcome.usage is not None:
            usage = {"prompt_tokens": len(head) // BYTES_PER_TOKEN, **outcome.usage}
            self._learn(head, usage, len(outcome.choices))
            return usage
        written = sum(_length(choice) for choice in outcome.choices)
        prompt, tokens = len(head) // BYTES_PER_TOKEN, -(-written // BYTES_PER_TOKEN)
        return {"prompt_tokens": prompt, "completion_tokens": tokens, "estimated": 1}

    def _guess(self, head: str, failure: Failure, n: int) -> dict[str, int]:
        """Return an estimate for an answer that was billed and could not be read."""
        mean = n * self._seen_tokens / self._seen if self._seen else 0
        tokens = max(int(mean), failure.received // BYTES_PER_TOKEN if not mean else 0)
        return {"prompt_tokens": len(head) // BYTES_PER_TOKEN, "completion_tokens": tokens, "estimated": 1}

    def _learn(self, head: str, usage: Mapping[str, int], n_choices: int) -> None:
        self._most_per_byte = max(self._most_per_byte, usage["prompt_tokens"] / len(head))
        self._most_tokens = max(self._most_tokens, usage["completion_tokens"])
        self._seen_tokens += usage["completion_tokens"]
        self._seen += max(1, n_choices)


def shared(usage: Mapping[str, int], choices: Sequence[Choice]) -> list[dict[str, int]]:
    """Split a request's usage over its choices: prompt and cache to the first, completion tokens by length.

    The shares sum to the whole. Nothing is estimated of one choice, or of choices that each know their tokens.
    """
    if len(choices) == 1:
        return [dict(usage)]
    if all(choice.tokens is not None for choice in choices):
        own = [{"prompt_tokens": 0, "completion_tokens": choice.tokens or 0} for choice in choices]
        return [{**usage, "completion_tokens": own[0]["completion_tokens"]}, *own[1:]]
    lengths = [_length(choice) + 1 for choice in choices]
    total, left = sum(lengths), usage.get("completion_tokens", 0)
    shares = []
    for number, length in enumerate(lengths):
        tokens = usage.get("completion_tokens", 0) * length // total if number < len(lengths) - 1 else left
        left -= tokens
        first = {name: count for name, count in usage.items() if name != "completion_tokens"} if number == 0 else {}
        shares.append({"prompt_tokens": 0, **first, "completion_tokens": tokens, "estimated": 1})
    return shares


def _length(choice: Choice) -> int:
    written = choice.text + (choice.reasoning_content or "")
    return len(written) if written.isascii() else len(written.encode("utf-8", "surrogatepass"))
