"""What the miniature's server can be told to do wrong, and when it does.

Every fault is drawn per attempt from (the server's seed, the request's body, how often that body has come): a retry
may succeed, and a run can be repeated whatever order its requests arrive in.
"""

from __future__ import annotations

import difflib
import hashlib
import math
import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from potstill.errors import ConfigError, shorten

N_MODES = ("honour", "ignore", "reject")
LOGPROB_MODES = ("honour", "null", "reject")


@dataclass(frozen=True, slots=True, kw_only=True)
class Knobs:
    """How the server behaves. Times in seconds, `p_*` and `slow` are fractions of attempts in [0, 1]."""

    seed: int = 0
    """Of everything that the server draws."""
    model: str = "miniature"
    """The name it lists when `models` is empty."""
    latency: float = 0.0
    jitter: float = 0.0
    """Sigma of the log-normal factor on `latency`; 0: none."""
    token_latency: float = 0.0
    """Further time per token of the longest choice."""
    slow: float = 0.0
    """Fraction of answers that take `slow_s`."""
    slow_s: float = 2.0
    n_mode: str = "honour"
    """What n > 1 gives: honour, ignore (200 with one choice) or reject (400)."""
    logprobs_mode: str = "honour"
    """What asking for log-probabilities gives: honour, null (in silence) or reject (400)."""
    rate: float = 0.0
    """Requests per second of the token bucket, beyond it 429; 0: no limit."""
    burst: float = 1.0
    """Size of the token bucket in requests."""
    max_concurrent: int = 0
    """More requests at the same time get 503; 0: no limit."""
    retry_after: float = 0.1
    """Seconds that an injected 429 or 503 asks to wait."""
    p_429: float = 0.0
    p_500: float = 0.0
    p_503: float = 0.0
    p_html: float = 0.0
    """502 with an HTML body."""
    p_hang: float = 0.0
    """No answer for `hang_s`, then the connection is closed; billed."""
    hang_s: float = 600.0
    p_reset: float = 0.0
    """Connection closed before any byte; not billed."""
    p_drop: float = 0.0
    """Connection closed in the middle of the body; billed."""
    p_trunc: float = 0.0
    """Valid HTTP, JSON cut at two thirds; billed."""
    p_length: float = 0.0
    """finish_reason=length, half the text; billed."""
    p_empty: float = 0.0
    """Content null; billed."""
    reasoning: bool = False
    """Add `reasoning_content` to chat messages."""
    usage: bool = True
    """Report token counts."""
    done: bool = True
    """End a stream with [DONE]."""
    bill_gone: bool = True
    """Bill an answer also when the client has left before it was ready."""
    api_key: str = ""
    """Required as a bearer token where given (401 otherwise)."""
    models: str = ""
    """Comma-separated names that are served (404 otherwise); empty: any."""
    canned: int = 0
    """Characters of a canned answer instead of the writer's; 0: the writer's."""
    wrong: float = 0.2
    """Fraction of canned answers that are wrong."""

    def __post_init__(self) -> None:
        for name, allowed in (("n_mode", N_MODES), ("logprobs_mode", LOGPROB_MODES)):
            if getattr(self, name) not in allowed:
                message = f"server.{name}: got {getattr(self, name)!r}; expected one of {', '.join(allowed)}"
                raise ConfigError(message)
        total = sum(getattr(self, name) for name in FAULTS)
        if total > 1 or any(not 0 <= getattr(self, name) <= 1 for name in (*FAULTS, "slow", "wrong")):
            message = f"server: the p_* knobs sum to {total:g}; each is a fraction and together they are at most 1"
            raise ConfigError(message)

    def changed(self, changes: Mapping[str, Any]) -> Knobs:
        """Return the knobs with some changed.

        Raises:
            ConfigError: A name is unknown or a value is of the wrong type.
        """
        defaults = asdict(Knobs())
        values: dict[str, Any] = {}
        for name, value in changes.items():
            if name not in defaults:
                near = difflib.get_close_matches(name, defaults, 1) or sorted(defaults)
                message = f"server.{shorten(name)}: unknown knob; did you mean {', '.join(near)}?"
                raise ConfigError(message)
            values[name] = _typed(name, value, defaults[name])
        return replace(self, **values)

    def served_models(self) -> list[str]:
        """Return the names that the server lists."""
        return [name.strip() for name in self.models.split(",") if name.strip()] or [self.model]


FAULTS = tuple(f.name for f in fields(Knobs) if f.name.startswith("p_"))


def _typed(name: str, value: Any, default: Any) -> Any:
    kind = type(default)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not kind or (kind is float and not (math.isfinite(value) and value >= 0)):
        message = f"server.{name}: got {shorten(repr(value))}; expected {kind.__name__}, such as {default!r}"
        raise ConfigError(message)
    return value


def draw_fault(knobs: Knobs, key: str, attempt: int) -> tuple[str | None, float]:
    """Return the fault of this attempt without its `p_`, or `None`, and the seconds that a slow answer adds."""
    raw = hashlib.blake2b(f"{knobs.seed}/{attempt}/{key}".encode(), digest_size=16).digest()
    slow = knobs.slow_s if int.from_bytes(raw[8:], "big") < knobs.slow * 2**64 else 0.0
    left = int.from_bytes(raw[:8], "big") / 2**64
    for name in FAULTS:
        left -= getattr(knobs, name)
        if left < 0:
            return name[2:], slow
    return None, slow


def draw_latency(knobs: Knobs, rng: random.Random, tokens: int) -> float:
    """Return the seconds that an answer of `tokens` tokens takes."""
    factor = rng.lognormvariate(0.0, knobs.jitter) if knobs.jitter else 1.0
    return knobs.latency * factor + knobs.token_latency * tokens


class TokenBucket:
    """A rate limit: `take` says how many seconds to wait, 0 when the request may pass."""

    def __init__(self) -> None:
        self._level: float | None = None
        self._at = 0.0

    def take(self, rate: float, burst: float, now: float) -> float:
        """Take one request out of the bucket at time `now`; return the seconds until one is there."""
        level = burst if self._level is None else min(burst, self._level + (now - self._at) * rate)
        self._at = now
        self._level = level - 1 if level >= 1 else level
        return 0.0 if level >= 1 else (1 - level) / rate
