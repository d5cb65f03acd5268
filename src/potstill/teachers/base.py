"""What a teacher is: a request, the completions that come back, and the one protocol behind which models stand.

    Request ──► Teacher.complete(request, indices) ──► one Completion per index

`open_teacher` turns a recipe's `TeacherConfig` into a teacher. A row's failure (a refusal, an empty text, an endpoint
that kept failing) is a `Completion` that says so; exceptions are for what concerns the whole run. Prompts are built in
`potstill.rationales.prompts`; final answers are read in `potstill.rationales.answers`. Nothing here does either.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit, urlunsplit

from potstill.engines import running
from potstill.errors import ConfigError
from potstill.recipe.environment import is_credential
from potstill.records import canonical_json, child_seed

if TYPE_CHECKING:
    from potstill.recipe.teachers import BudgetConfig, PriceConfig, TeacherConfig
    from potstill.teachers.buying import Wire
    from potstill.teachers.ledger import Ledger
    from potstill.teachers.pacing import Budget

Message = Mapping[str, Any]
"""{"role": ..., "content": ...}"""

OnEvent = Callable[[str, str], None]
"""Called with a short code (such as n_ignored, logprobs_missing, slowed) and one sentence."""

FAILURES = ("refused", "empty", "error")
"""The values of `Completion.finish` that are not an answer."""

CAPS = ("max_completion_tokens", "max_output_tokens")
"""Names that providers use for `max_tokens`; given in `extra`, they replace it."""

CUT_BEFORE_TEXT = "cut_before_text"
"""The reason of an empty completion whose tokens were all spent on reasoning: a higher cap may help."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Everything that is asked of a model for one problem, but the index of the draw."""

    model: str
    messages: tuple[Message, ...] = ()
    """For the chat API; empty where `prompt` is given."""
    prompt: str | None = None
    """For the plain completions API."""
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    """Base seed; each index is sent `child_seed(seed, index)`. `None`: no seed is sent."""
    logprobs: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Further fields of the body, by the endpoint's own names."""
    problem_id: str | None = None
    """The problem that is asked about. Read by the replay teacher; never sent and not part of the key."""
    kind: str | None = None
    """The kind of rationale asked for (cot, pot, answer); as `problem_id`."""

    @property
    def cap(self) -> int | None:
        """The most tokens of one completion, under whichever name it is sent; `None`: the server's own limit."""
        for name in CAPS:
            if name in self.extra:
                given = self.extra[name]
                return given if isinstance(given, int) else None
        return self.max_tokens

    def key(self, endpoint: str) -> str:
        """Return the hash that completions are stored under: of every field that can change a text, and the endpoint.

        Neither the cap nor the index is in it: `Completion`s are stored with both beside the key, since a text that
        ended by itself stays valid under another cap (`potstill.teachers.ledger.is_valid`).
        """
        extra = {name: value for name, value in self.extra.items() if name not in CAPS}
        fields = {
            "endpoint": endpoint,
            "api": "chat" if self.prompt is None else "completions",
            "model": self.model,
            "messages": self.messages,
            "prompt": self.prompt,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "stop": self.stop,
            "seed": self.seed,
            "logprobs": self.logprobs,
            "extra": extra,
        }
        digest = hashlib.sha256(canonical_json(["request", fields]).encode("utf-8", "surrogatepass"))
        return "sha256:" + digest.hexdigest()[:32]

    def seed_of(self, index: int) -> int | None:
        """Return the seed that the completion `index` is asked for with."""
        return None if self.seed is None else child_seed(self.seed, index)


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """One text that came back, or the recorded reason why there is none."""

    text: str
    finish: str | None
    """stop, length (ended at the cap), refused, empty or error; `None`: unknown, in recorded files only."""
    reason: str | None = None
    """Why there is no answer, where `finish` is refused, empty or error."""
    reasoning_content: str | None = None
    usage: Mapping[str, int] = field(default_factory=dict)
    """prompt_tokens, completion_tokens, where reported cached_tokens and reasoning_tokens; estimated = 1 when we
    counted. Of a request for several choices the prompt is charged to the first and the rest shared by length."""
    logprob: float | None = None
    """Mean log-probability per generated token, in nats."""
    index: int = 0
    request: str | None = None
    """The request's key."""
    from_ledger: bool = False
    author: str | None = None
    """Who wrote the text, where that is not the teacher's `author` (a recorded file of several teachers)."""
    meta: Mapping[str, Any] = field(default_factory=dict)

    @property
    def failed(self) -> bool:
        """Whether there is no answer in it."""
        return self.finish in FAILURES


@dataclass(slots=True)
class Meter:
    """Live counters of one teacher, for progress and for the manifest."""

    sent: int = 0
    """Requests sent, retries included."""
    in_flight: int = 0
    completions: int = 0
    """Completions bought, failures included."""
    from_ledger: int = 0
    """Completions that were already in the ledger, or that another process bought meanwhile."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    money: float = 0.0
    retries: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    """Completions without an answer, by `finish:reason`."""
    events: Counter[str] = field(default_factory=Counter)
    """Failed attempts and deviations of the server, by code."""

    @property
    def tokens(self) -> int:
        """Tokens in and out."""
        return self.prompt_tokens + self.completion_tokens

    def __add__(self, other: Meter) -> Meter:
        """Return the counters of two teachers together."""
        return Meter(**{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)})


class Teacher(Protocol):
    """The boundary to models."""

    author: str
    """Who writes the texts: the model's name."""
    meter: Meter

    async def complete(self, request: Request, indices: Sequence[int]) -> list[Completion]:
        """Return exactly one completion per index, in order.

        Raises:
            RefusedError: The endpoint says no to every such request: key, model or parameters are wrong.
            BudgetError: The budget is reached; everything bought is in the ledger.
            TeacherError: The endpoint cannot be reached.
        """
        ...

    async def aclose(self) -> None:
        """Close connections."""
        ...


@asynccontextmanager
async def open_teacher(
    config: TeacherConfig,
    *,
    ledger: Ledger | None,
    budget: BudgetConfig | Budget | None = None,
    seed: int = 0,
    on_event: OnEvent | None = None,
    endpoint: str | None = None,
    run: str | None = None,
    spent: Mapping[str, float] | None = None,
    retry_failed: bool = False,
) -> AsyncIterator[Teacher]:
    """Open the teacher that a recipe describes.

    Args:
        config: An endpoint (`base_url`), a model (`local`, see `reaching.known_as`) or recorded rationales (`replay`).
        ledger: Where completions are kept; `None` keeps nothing and buys everything anew.
        budget: Hard limits, over everything that `run` has spent so far; an open one is shared with other teachers.
        seed: Seeds the jitter of retries; texts are seeded by the request.
        on_event: Told of what the server does otherwise than asked, once each.
        endpoint: The endpoint's name in keys, where its address changes from run to run (the miniature's port).
        run: Names the run in the ledger; its earlier spending counts against the budget.
        spent: {tokens, money} spent before, instead of what the ledger holds for `run`.
        retry_failed: Buy again what is on record as refused or empty.

    Raises:
        ConfigError: The configuration cannot work: a malformed address, a missing certificate file.
        DataError: The recorded file cannot be read.
    """
    from potstill.teachers.pacing import Budget

    teacher: Teacher
    config = config.resolved()
    purse = budget if isinstance(budget, Budget) else open_budget(budget, ledger, run, spent)
    require_price(config, purse.limits)
    if config.replay is not None:
        from potstill.teachers.replay import ReplayTeacher

        teacher = ReplayTeacher(config.replay, author=config.model)
    else:
        from potstill.teachers.buying import BuyingTeacher

        name = endpoint or endpoint_id(config)
        wire = open_wire(config, ledger, name, on_event)
        if (engine := running()) is not None:
            wire = engine.wire(config, wire, name)
        teacher = buyer = BuyingTeacher(
            config,
            wire,
            endpoint=name,
            ledger=ledger,
            budget=purse,
            seed=seed,
            run=run,
            on_event=on_event,
            retry_failed=retry_failed,
        )
    try:
        if config.batching is not None:
            from potstill.teachers.batches import keep_leftovers

            await keep_leftovers(wire, buyer)
        yield teacher
    finally:
        await teacher.aclose()


def open_wire(config: TeacherConfig, ledger: Ledger | None, endpoint: str, on_event: OnEvent | None) -> Wire:
    """Return the way to a teacher's model; errors as `open_teacher`."""
    if config.batching is not None:
        from potstill.teachers.batches import BatchEndpoint

        return BatchEndpoint(config, ledger, endpoint, on_event)
    if config.local is not None:
        from potstill.teachers.local import LocalModel

        return LocalModel(config)
    from potstill.teachers.openai import OpenAIEndpoint

    return OpenAIEndpoint(config)


def open_budget(
    limits: BudgetConfig | None,
    ledger: Ledger | None,
    run: str | None,
    spent: Mapping[str, float] | None = None,
) -> Budget:
    """Return a budget that counts what a run has spent so far: by the ledger, or as `spent` says."""
    from potstill.teachers.pacing import Budget

    if spent is None and run is not None and ledger is not None:
        spent = ledger.spent(run)
    return Budget(limits, spent or {})


def require_price(config: TeacherConfig, budget: BudgetConfig | None) -> None:
    """Raise `ConfigError` if a budget in money could never be reached."""
    is_sold = config.base_url is not None
    if budget is not None and budget.money is not None and config.price is None and is_sold:
        message = (
            "budget.money: set, but teacher.price is not, so nothing could be charged; give price or budget.tokens"
        )
        raise ConfigError(message)


def with_extra_body(request: Request, config: TeacherConfig) -> Request:
    """Return the request with the teacher's `extra_body` under its own extra fields; call it before taking a key."""
    if all(name in request.extra for name in config.extra_body):
        return request
    return replace(request, extra={**config.extra_body, **request.extra})


def endpoint_id(config: TeacherConfig) -> str:
    """Return what names the endpoint in keys: its address without credentials, and headers that are no credentials."""
    config = config.resolved()
    url = public_url(config.base_url or "").rstrip("/")
    headers = {name.lower(): value for name, value in config.headers.items() if not is_credential(name)}
    return canonical_json([url, headers]) if headers else url


def public_url(url: str) -> str:
    """Return the address without user name, password and query: what may be stored and shown."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        message = f"teacher.base_url: got {url[:80]!r}; expected an address such as http://localhost:8000/v1"
        raise ConfigError(message) from None
    host = f"[{parts.hostname}]" if parts.hostname and ":" in parts.hostname else parts.hostname or ""
    return urlunsplit((parts.scheme, host + port, parts.path, "", ""))


def money_for(usage: Mapping[str, int], price: PriceConfig | None) -> float:
    """Return what `usage` costs, in the currency of `price`; 0 where no price is known."""
    if price is None:
        return 0.0
    cached = min(usage.get("cached_tokens", 0), usage.get("prompt_tokens", 0))
    cached_price = price.input if price.cached_input is None else price.cached_input
    fresh = usage.get("prompt_tokens", 0) - cached
    return (fresh * price.input + cached * cached_price + usage.get("completion_tokens", 0) * price.output) / 1e6
