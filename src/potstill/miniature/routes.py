"""The server's routes: what each request gets, which faults come in between, what is billed.

Billing: a request is billed when its answer has been generated, so 200s, also truncated, dropped, hung and empty ones,
and also when the client has left by then. 4xx, 5xx and reset are not.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
from dataclasses import fields
from urllib.parse import parse_qs

from potstill.errors import ConfigError, shorten
from potstill.miniature import rendering
from potstill.miniature.answering import (
    Ask,
    BodyError,
    Choice,
    Writer,
    canned_writer,
    prompt_tokens,
    read_ask,
    write_choices,
)
from potstill.miniature.faults import FAULTS, Knobs, TokenBucket, draw_fault, draw_latency
from potstill.miniature.loopback import LoopbackServer, Route, say_healthy
from potstill.miniature.wire import Connection, HttpRequest, response
from potstill.miniature.witness import Ticket, Witness

FLUSH_S = 0.05

_CANONICAL = json.JSONEncoder(sort_keys=True).encode
_SSE_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\nConnection: close\r\n\r\n"
)
_HTML = b"<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"
_INJECTED = {"429": "rate_limit_exceeded", "500": "server_error", "503": "overloaded"}


class TeacherServer(LoopbackServer):
    """Answers requests as the teacher. State: the knobs, the books, the token bucket, a generator for latencies."""

    def __init__(self, writer: Writer, knobs: Knobs, witness: Witness) -> None:
        self._teacher = writer
        self._witness = witness
        self._bucket = TokenBucket()
        routes: dict[str, tuple[str, Route]] = {
            "/v1/chat/completions": ("POST", lambda c, r: self._ask(c, r, "chat")),
            "/v1/completions": ("POST", lambda c, r: self._ask(c, r, "completions")),
            "/v1/models": ("GET", self._models),
            "/health": ("GET", say_healthy),
            "/config": ("POST", self._config),
            "/reset": ("POST", self._reset),
            "/stats": ("GET", self._stats),
        }
        super().__init__(routes)
        self._use(knobs)

    def connect(self) -> Connection:
        """Return the protocol of a new connection, and count it."""
        self._witness.connections += 1
        return super().connect()

    async def flush_log(self) -> None:
        """Flush the request log, for ever."""
        while True:
            await asyncio.sleep(FLUSH_S)
            self._witness.flush()

    def _use(self, knobs: Knobs) -> None:
        self.knobs = knobs
        self._rng = random.Random(knobs.seed)
        self._is_faulty = any(getattr(knobs, name) for name in (*FAULTS, "slow"))
        self._writer = canned_writer(knobs.canned, knobs.wrong) if knobs.canned else self._teacher
        self._served = frozenset(knobs.served_models()) if knobs.models else None

    def _models(self, connection: Connection, request: HttpRequest) -> None:
        refused = self._unauthorised(request)
        connection.finish(refused or response(200, rendering.models(self.knobs.served_models())))

    def _config(self, connection: Connection, request: HttpRequest) -> None:
        try:
            changes = json.loads(request.body or b"{}")
            if not isinstance(changes, dict):
                message = "server: expected a JSON object of knobs"
                raise ConfigError(message)
            self._use(self.knobs.changed(changes))
        except (ValueError, RecursionError) as error:
            connection.finish(response(400, rendering.error(shorten(error))))
            return
        shown = {f.name: getattr(self.knobs, f.name) for f in fields(Knobs) if f.name != "api_key"}
        connection.finish(response(200, json.dumps(shown).encode()))

    def _reset(self, connection: Connection, request: HttpRequest) -> None:
        self._witness.reset()
        self._use(self.knobs)
        connection.finish(response(200, b"{}"))

    def _stats(self, connection: Connection, request: HttpRequest) -> None:
        expect = parse_qs(request.query).get("expect", ["1"])[-1]
        if not expect.isdigit():
            connection.finish(response(400, rendering.error("'expect' must be a number")))
            return
        self._witness.flush()
        connection.finish(response(200, json.dumps(self._witness.stats(int(expect))).encode()))

    def _unauthorised(self, request: HttpRequest) -> bytes | None:
        key = self.knobs.api_key
        if not key or request.headers.get("authorization") == f"Bearer {key}":
            return None
        body = rendering.error("Incorrect API key provided.", "authentication_error", code="invalid_api_key")
        return response(401, body)

    def _ask(self, connection: Connection, request: HttpRequest, api: str) -> None:
        ticket = self._witness.open()
        read = self._read(request, api, ticket)
        if isinstance(read, bytes):
            self._witness.close(ticket, int(read[9:12]))
            connection.finish(read)
            return
        attempt = self._witness.identify(ticket)
        ticket.fault, slow_s = draw_fault(self.knobs, ticket.key, attempt) if self._is_faulty else (None, 0.0)
        early = self._early_fault(ticket.fault)
        if early is not None:
            self._witness.close(ticket, int(early[9:12]) if early else 0)
            if early:
                connection.finish(early)
            else:
                connection.abort()
            return
        try:
            choices = self._choices(read, ticket)
        except Exception as error:  # noqa: BLE001 - the writer's fault is this request's 500, never the server's end
            self._witness.close(ticket, 500)
            body = rendering.error(f"the writer failed: {type(error).__name__}: {shorten(error)}", "server_error")
            connection.finish(response(500, body))
            return
        delay = slow_s + draw_latency(self.knobs, self._rng, max(choice.tokens for choice in choices))
        if delay > 0:
            asyncio.get_running_loop().call_later(delay, self._deliver, connection, read, ticket, choices)
        else:
            self._deliver(connection, read, ticket, choices)

    def _read(self, request: HttpRequest, api: str, ticket: Ticket) -> Ask | bytes:
        """Return what is asked for, or the response that refuses it."""
        refused = self._unauthorised(request)
        if refused:
            return refused
        try:
            body = json.loads(request.body)
            ticket.key = hash_of(_CANONICAL(body))
            ask = read_ask(body, api)
        except BodyError as error:
            return response(400, rendering.error(str(error), param=error.param))
        except (ValueError, RecursionError) as error:
            return response(400, rendering.error(f"We could not parse the JSON body of your request: {shorten(error)}"))
        ticket.prompt, ticket.n = hash_of(ask.prompt), ask.n
        return self._unserved(ask) or self._overload() or ask

    def _unserved(self, ask: Ask) -> bytes | None:
        if self._served is not None and ask.model not in self._served:
            message = f"The model '{shorten(ask.model)}' does not exist or you do not have access to it."
            return response(404, rendering.error(message, code="model_not_found", param="model"))
        if ask.n > 1 and self.knobs.n_mode == "reject":
            return response(400, rendering.error("Only n=1 is supported.", code="unsupported_value", param="n"))
        if ask.logprobs and self.knobs.logprobs_mode == "reject":
            return response(400, rendering.error("'logprobs' is not supported.", param="logprobs"))
        return None

    def _overload(self) -> bytes | None:
        knobs = self.knobs
        if knobs.max_concurrent and self._witness.in_flight > knobs.max_concurrent:
            return rejection("503", knobs.retry_after)
        if knobs.rate:
            wait = self._bucket.take(knobs.rate, knobs.burst, asyncio.get_running_loop().time())
            if wait:
                return rejection("429", wait)
        return None

    def _early_fault(self, fault: str | None) -> bytes | None:
        """Return the response of a fault that comes before any text is written; empty bytes: a reset."""
        if fault in _INJECTED:
            return rejection(fault, self.knobs.retry_after)
        if fault == "html":
            return response(502, _HTML, "text/html")
        return b"" if fault == "reset" else None

    def _choices(self, ask: Ask, ticket: Ticket) -> list[Choice]:
        seed = f"{self.knobs.seed}#{self._witness.prompts[ticket.prompt]}"
        count = ask.n if self.knobs.n_mode == "honour" else 1
        return write_choices(ask, self._writer, seed=seed, count=count, fault=ticket.fault)

    def _deliver(self, connection: Connection, ask: Ask, ticket: Ticket, choices: list[Choice]) -> None:
        """Bill an answer and send it, as far as its fault lets it through."""
        witness, is_gone = self._witness, connection.gone
        if not is_gone or self.knobs.bill_gone:
            witness.bill(ticket, len(choices), prompt_tokens(ask) + sum(choice.tokens for choice in choices))
        if ticket.fault == "hang" and not is_gone:
            asyncio.get_running_loop().call_later(self.knobs.hang_s, self._give_up, connection, ticket)
            return
        witness.close(ticket, 0 if is_gone else 200, is_gone=is_gone)
        if is_gone:
            return
        parts = self._parts(ask, choices, ticket)
        if ticket.fault == "drop":
            whole = b"".join(parts)
            connection.write(whole[: len(whole) * 2 // 3])
            connection.abort(gently=True)
        else:
            connection.finish(b"".join(parts), close=ask.stream)

    def _give_up(self, connection: Connection, ticket: Ticket) -> None:
        self._witness.close(ticket, 0, is_gone=connection.gone)
        connection.abort()

    def _parts(self, ask: Ask, choices: list[Choice], ticket: Ticket) -> list[bytes]:
        knobs = self.knobs
        if ask.stream:
            events = rendering.stream(ask, choices, ticket.id, usage=knobs.usage, done=knobs.done)
            return [_SSE_HEAD, *events]
        show = ask.logprobs and knobs.logprobs_mode == "honour"
        body = rendering.completion(
            ask, choices, ticket.id, reasoning=knobs.reasoning, usage=knobs.usage, logprobs=show
        )
        return [response(200, body[: len(body) * 2 // 3] if ticket.fault == "trunc" else body)]


def rejection(status: str, wait_s: float) -> bytes:
    """Return an injected or real 429, 500 or 503, with how long to wait: whole seconds, and exact milliseconds."""
    headers = {} if status == "500" else {"Retry-After": f"{wait_s:g}", "retry-after-ms": f"{wait_s * 1000:.0f}"}
    code = _INJECTED[status]
    body = rendering.error(f"The server says {status}: {code.replace('_', ' ')}.", code, code=code)
    return response(int(status), body, headers=headers)


def hash_of(text: str) -> str:
    """Return 16 hex digits over a text."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
