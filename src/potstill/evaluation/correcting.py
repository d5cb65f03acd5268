"""A share that an imperfect judge found, corrected for the errors that people found it to make. Pure, seeded.

Source: Rogan and Gladen 1978, American Journal of Epidemiology 107: theta = (p - f) / (s - f), where p is the share
    that the judge calls right, s the share that it calls right of what is right (recall), f that of what is not (false
    alarms).
Differs: the interval is not theirs (which takes s and f as known): s and f are drawn from their Beta posteriors under
    Jeffreys' prior, p from a normal of its own interval's width; the 2.5 and 97.5 % points of theta, kept in [0, 1].
It assumes that the judge errs on the texts that are scored as it does on those that were reviewed.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

DRAWS = 20_000
LEAST_POWER = 0.1
"""A judge whose recall is not this much above its false alarms tells nothing that could be corrected."""
Z = 1.959963984540054


class Errors(NamedTuple):
    """A reviewed sample: what the judge said, and people."""

    right_accepted: int
    right_rejected: int
    not_right_accepted: int
    not_right_rejected: int


class Corrected(NamedTuple):
    """A share as people would have found it."""

    value: float
    low: float
    high: float


def corrected(value: float, low: float, high: float, errors: Errors, *, seed: int = 0) -> Corrected | None:
    """Return a judged share corrected for the judge's errors; `None` where the sample does not allow it.

    The sample must hold texts that people accept and texts that they reject, and the judge must tell them apart.

    Args:
        value: The share that the judge calls right, in [0, 1], with the bounds of its 95 % interval.
    """
    accepted = errors.right_accepted + errors.not_right_accepted
    rejected = errors.right_rejected + errors.not_right_rejected
    if not accepted or not rejected:
        return None
    recall, alarms = errors.right_accepted / accepted, errors.right_rejected / rejected
    if recall - alarms < LEAST_POWER:
        return None
    rng = np.random.default_rng(seed)
    recalls = rng.beta(errors.right_accepted + 0.5, errors.not_right_accepted + 0.5, DRAWS)
    false = rng.beta(errors.right_rejected + 0.5, errors.not_right_rejected + 0.5, DRAWS)
    shares = np.clip(rng.normal(value, (high - low) / (2 * Z), DRAWS), 0, 1)
    power = np.maximum(recalls - false, 1e-3)
    drawn = np.clip((shares - false) / power, 0, 1)
    point = min(1.0, max(0.0, (value - alarms) / (recall - alarms)))
    below, above = np.quantile(drawn, [0.025, 0.975])
    return Corrected(point, min(point, float(below)), max(point, float(above)))
