"""One exchange with an OpenAI-compatible endpoint, over aiohttp called directly.

Builds the body, sends it, reads what comes back into a `Reply` or a `Failure`. When to send, whether to try again and
what is kept is decided in `buying`. It sends no request that was not asked for (no probe, no list of models), needs no
SDK, reads no proxy settings from the environment and follows no redirect: a key goes to the configured address only.
"""

from __future__ import annotations

import json
import os
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

import aiohttp
from yarl import URL

from potstill.errors import ConfigError, RefusedError, TeacherError, shorten
from potstill.recipe.environment import is_credential
from potstill.teachers.base import CAPS, Request, public_url
from potstill.teachers.pacing import retry_after
from potstill.teachers.responses import Failure, Reply, read_refusal, read_response

if TYPE_CHECKING:
    from potstill.recipe.teachers import TeacherConfig

DEFAULT_KEY = "OPENAI_API_KEY"
CONNECT_S = 10.0
MOST_BYTES = 64 << 20
"""Longest body that is read."""
OURS = ("messages", "prompt", "n", "seed", "stream", "model")
"""Fields of the body that decide which completion is which; `extra_body` may not set them."""


class OpenAIEndpoint:
    """An endpoint and how to speak to it. Holds the key; neither its `repr` nor any message shows it."""

    def __init__(self, config: TeacherConfig) -> None:
        self.config = config
        self.address = public_url(config.base_url or "").rstrip("/")
        self._chat, self._plain = (_route(config, name) for name in ("chat/completions", "completions"))
        self._headers, self._secrets = _headers(config)
        self._tls = _tls(config)
        self._session: aiohttp.ClientSession | None = None
        for name in OURS:
            if name in config.extra_body:
                message = f"teacher.extra_body: sets {name!r}, which potstill sets itself; use the teacher's own key"
                raise ConfigError(message)

    def __repr__(self) -> str:
        return f"OpenAIEndpoint({self.address!r}, model={self.config.model!r})"

    def prepare(self, request: Request) -> str:
        """Return the body of a request but for `seed` and `n`, as JSON without its closing brace."""
        body: dict[str, Any] = {"model": request.model}
        if request.prompt is None:
            body["messages"] = [dict(message) for message in request.messages]
        else:
            body["prompt"] = request.prompt
        for name in ("temperature", "top_p", "max_tokens"):
            if getattr(request, name) is not None:
                body[name] = getattr(request, name)
        if request.stop:
            body["stop"] = list(request.stop)
        if request.logprobs:
            body["logprobs"] = True if request.prompt is None else 1
        if any(name in request.extra for name in CAPS):
            body.pop("max_tokens", None)
        body.update(request.extra)
        return json.dumps(body)[:-1]

    async def send(self, request: Request, head: str, indices: Sequence[int]) -> Reply | Failure:
        """Send one request for a choice per index and return what came back; a failure is returned, never raised."""
        body = body_of(request, head, indices).encode("ascii")
        outcome = await self._post(self._chat if request.prompt is None else self._plain, body)
        return outcome if isinstance(outcome, Reply) or not outcome.message else self._masked(outcome)

    async def call(
        self, method: str, route: str, body: bytes | None = None, content_type: str = "application/json"
    ) -> bytes | Failure:
        """Send a request that asks for no text and return the body of its answer; a failure is returned, not raised.

        Args:
            route: What follows the address, such as `batches`; may end in a query.
        """
        if self._session is None:
            self._session = self._open_session()
        url, headers, status = _route(self.config, route), {"Content-Type": content_type}, None
        proxy = self.config.proxy
        try:
            async with self._session.request(
                method, url, data=body, headers=headers, allow_redirects=False, proxy=proxy
            ) as response:
                status, raw = response.status, await response.read()
                if 200 <= status < 300:
                    return raw
                kind = response.headers.get("Content-Type", "")
                return self._masked(read_refusal(status, kind, raw, retry_after(response.headers)))
        except (aiohttp.ClientError, TimeoutError, ValueError) as cause:
            return self._masked(classify(cause, status))

    async def aclose(self) -> None:
        """Close connections."""
        if self._session is not None:
            await self._session.close()

    def refused(self, failure: Failure, request: Request) -> RefusedError:
        """Return the error of a request that the endpoint will never serve as it is."""
        where, env = f"teacher {self.address}", self.config.api_key_env
        if failure.status == 401:
            if env and os.environ.get(env):
                found = f"the key in {env} was refused"
            else:
                found = f"no key was sent ({env} is not set)" if env else "no key was sent (api_key_env is null)"
            todo = f"{found}; export a valid key under the name that api_key_env gives"
        elif failure.status == 403:
            todo = f"the key may not use model {request.model!r}; choose another model or key"
        elif failure.status == 404:
            todo = (
                f"model {request.model!r} does not exist there, or base_url is wrong (it usually ends in /v1); "
                "correct 'model' or 'base_url'"
            )
        elif failure.code == "quota" or failure.status == 402:
            todo = "the account has no credit or quota left; add credit, then run the same command to resume"
        elif failure.status is not None and 300 <= failure.status < 400:
            todo = "the address redirects elsewhere; give the final address as base_url"
        else:
            todo = "it does not accept this request; change the parameter that it names (extra_body sets any field)"
        message = f"{where}: {failure.status} {shorten(failure.message).rstrip('.')}: {todo}"
        return RefusedError(message, failure.status)

    def unreachable(self, failure: Failure) -> TeacherError:
        """Return the error of an endpoint that cannot be reached."""
        if failure.code == "tls":
            todo = "its certificate is not trusted; give the authority's file as ca_file, or correct base_url"
        elif failure.code == "proxy":
            todo = f"the proxy {public_url(self.config.proxy or '')} did not let it through; correct 'proxy'"
        else:
            todo = "check that the server runs and base_url names its host and port; everything bought so far is kept"
        message = f"teacher {self.address}: cannot be reached ({shorten(failure.message)}); {todo}"
        return TeacherError(message, failure.status, retryable=failure.code not in ("tls", "proxy"))

    def mask(self, text: str) -> str:
        """Return the text with every secret of this endpoint blotted out."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text

    async def _post(self, url: URL, body: bytes) -> Reply | Failure:
        if self._session is None:
            self._session = self._open_session()
        status = None
        try:
            async with self._session.post(url, data=body, allow_redirects=False, proxy=self.config.proxy) as response:
                status = response.status
                raw = await _body(response)
                if raw is None:
                    return Failure("broken", "endless", f"over {MOST_BYTES:,} bytes in one answer", status, billed=True)
                wait_s = retry_after(response.headers) if status != 200 else None
                return read_response(status, response.headers.get("Content-Type", ""), raw, wait_s=wait_s)
        except (aiohttp.ClientError, TimeoutError, ValueError) as cause:
            return classify(cause, status)

    def _open_session(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(limit=self.config.max_concurrency, ssl=self._tls)
        return aiohttp.ClientSession(
            connector=connector,
            headers=self._headers,
            timeout=aiohttp.ClientTimeout(total=self.config.timeout_s, sock_connect=CONNECT_S),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    def _masked(self, failure: Failure) -> Failure:
        return replace(failure, message=self.mask(failure.message))


def body_of(request: Request, head: str, indices: Sequence[int]) -> str:
    """Return the whole body of a request for a choice per index, from what `OpenAIEndpoint.prepare` gave."""
    seed, n = request.seed_of(indices[0]), len(indices)
    seed_part = "" if seed is None else f', "seed": {seed}'
    n_part = "" if n == 1 else f', "n": {n}'
    return f"{head}{seed_part}{n_part}}}"


async def _body(response: aiohttp.ClientResponse) -> bytes | None:
    """Return a whole body, or `None` for one of over `MOST_BYTES`: memory must not depend on what a server sends."""
    if response.content_length is not None and "Content-Encoding" not in response.headers:
        return await response.read() if response.content_length <= MOST_BYTES else None
    parts: list[bytes] = []
    size = 0
    async for part in response.content.iter_any():
        size += len(part)
        if size > MOST_BYTES:
            return None
        parts.append(part)
    return b"".join(parts)


def classify(cause: Exception, status: int | None) -> Failure:
    """Class an exception of the exchange; `status` is what had been received by then."""
    said = shorten(str(cause) or type(cause).__name__)
    if isinstance(cause, aiohttp.ClientConnectorCertificateError):
        return Failure("unreachable", "tls", said)
    if isinstance(cause, aiohttp.ClientProxyConnectionError | aiohttp.ClientHttpProxyError):
        return Failure("unreachable", "proxy", said)
    if isinstance(cause, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
        return Failure("unreachable", "connect", said)
    if isinstance(cause, TimeoutError):
        return Failure("broken", "timeout", "no answer within timeout_s", status, billed=True)
    if isinstance(cause, aiohttp.ClientPayloadError):
        return Failure("broken", "dropped", said, status, billed=status == 200)
    return Failure("broken", "disconnected", said, status, billed=status == 200)


def _route(config: TeacherConfig, name: str) -> URL:
    parts = urlsplit(config.base_url or "")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        message = (
            f"teacher.base_url: got {shorten(repr(public_url(config.base_url or '')), 80)}; "
            "expected an address such as http://localhost:8000/v1"
        )
        raise ConfigError(message)
    name, _, own = name.partition("?")
    query = "&".join(part for part in (parts.query, own) if part)
    return URL(f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}/{name}{'?' if query else ''}{query}")


def _headers(config: TeacherConfig) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the headers to send, and the secrets that no message may show."""
    headers = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "potstill"}
    secrets: list[str] = []
    name = config.api_key_env
    key = os.environ.get(name, "").strip() if name else ""
    if key:
        headers["Authorization"] = f"Bearer {key}"
        secrets.append(key)
    elif name and name != DEFAULT_KEY:
        message = (
            f"teacher.api_key_env: the environment variable {name} is not set; export the key under that name, "
            "or write api_key_env: null for an endpoint without one"
        )
        raise ConfigError(message)
    for header, value in config.headers.items():
        headers = {name: old for name, old in headers.items() if name.lower() != header.lower()} | {header: value}
        if is_credential(header):
            secrets += [value, value.partition(" ")[2]]
    _require_sendable(headers, name)
    for url in (config.base_url, config.proxy):
        parts = urlsplit(url or "")
        secrets += [
            parts.password or "",
            unquote(parts.password or ""),
            *(value for _, value in parse_qsl(parts.query)),
        ]
    return headers, tuple(sorted({secret for secret in secrets if len(secret) > 3}, key=len, reverse=True))


def _require_sendable(headers: Mapping[str, str], key_name: str | None) -> None:
    for header, value in headers.items():
        if not (value.isprintable() and value.isascii() and header.isascii()):
            source = key_name if header == "Authorization" else f"teacher.headers.{header}"
            message = f"{source}: holds characters that a header cannot carry (line ends, accents); correct its value"
            raise ConfigError(message)


def _tls(config: TeacherConfig) -> ssl.SSLContext | bool:
    if config.ca_file is None:
        return True
    if not Path(config.ca_file).is_file():
        message = f"teacher.ca_file: {config.ca_file} is not a file; give a PEM file of the certificate authority"
        raise ConfigError(message)
    try:
        return ssl.create_default_context(cafile=config.ca_file)
    except (ssl.SSLError, OSError) as cause:
        message = f"teacher.ca_file: {config.ca_file} holds no certificate ({shorten(cause, 80)}); give a PEM file"
        raise ConfigError(message) from cause
