"""What a sampling would buy, before anything is bought: requests, tokens and money of each teacher."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from potstill.rationales.asking import Addressed, Asking, askings
from potstill.rationales.prompts import Attempts
from potstill.recipe.teachers import SampleConfig, TeacherConfig
from potstill.records import Problem
from potstill.teachers.base import Request, endpoint_id, money_for

if TYPE_CHECKING:
    from potstill.teachers.accounts import Reader

CHARACTERS_PER_TOKEN = 4
"""For the estimate of a plan, before any tokenizer is known."""


def plan(
    problems: Sequence[Problem],
    config: SampleConfig,
    teachers: TeacherConfig | Sequence[Addressed],
    *,
    seed: int = 0,
    ledger: str | Path | None = None,
    attempts: Attempts | None = None,
) -> list[dict[str, Any]]:
    """Return what sampling would request of each teacher and at most cost, sending nothing; the ledger's is free.

    Tokens are estimates: `CHARACTERS_PER_TOKEN` for prompts, `max_tokens` for every completion. `max_money` is `None`
    without a price.
    """
    from potstill.teachers.accounts import Reader
    from potstill.teachers.ledger import default_ledger_path

    addressed = [(teachers, None)] if isinstance(teachers, TeacherConfig) else list(teachers)
    with Reader(ledger or default_ledger_path()) as reader:
        return [
            _plan_of(problems, asking, name or endpoint_id(asking.teacher_config), reader)
            for asking, name in askings(problems, addressed, config, seed=seed, attempts=attempts)
        ]


def _plan_of(problems: Sequence[Problem], asking: Asking, endpoint: str, reader: Reader) -> dict[str, Any]:
    """Return one teacher's row of a plan."""
    teacher_config = asking.teacher_config
    usage: Counter[str] = Counter(prompt_tokens=0, completion_tokens=0)
    held = requests = 0
    for problem, kind in ((p, k) for p in problems for k in asking.config.ways):
        draws = [slot.draw for slot in asking.slots(problem, kind)]
        if teacher_config.replay is not None or not draws:
            continue
        request = asking.request(problem, kind)
        missing = len(draws) - len(reader.have(request.key(endpoint), draws, request.cap))
        n_requests = -(-missing // teacher_config.n)
        held, requests = held + len(draws) - missing, requests + n_requests
        usage["prompt_tokens"] += n_requests * _prompt_tokens(request)
        usage["completion_tokens"] += missing * (request.cap or 0)
    return {
        "teacher": teacher_config.author,
        "problems": len(problems),
        "rationales": asking.total(problems),
        "in_ledger": held,
        "requests": requests,
        "prompt_tokens": usage["prompt_tokens"],
        "max_completion_tokens": usage["completion_tokens"],
        "max_money": None if teacher_config.price is None else round(money_for(usage, teacher_config.charged), 4),
    }


def _prompt_tokens(request: Request) -> int:
    text = request.prompt or "".join(str(message["content"]) for message in request.messages)
    return len(text) // CHARACTERS_PER_TOKEN + 1
