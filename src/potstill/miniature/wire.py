"""HTTP/1.1 for the miniature's server: one asyncio protocol, standard library only.

Requests of a connection are answered one after the other, so keep-alive and pipelining are safe; what arrives meanwhile
waits in the buffer. Small enough to stay far below the cost of any client that is measured against it. It serves a
loopback address and knows no TLS, no chunked request bodies and no compression.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus

MAX_HEAD_BYTES = 64 * 1024
MAX_BODY_BYTES = 32 * 1024 * 1024
MAX_WAITING_BYTES = 4 * 1024 * 1024
"""Bytes of further requests that may wait while one is being answered; beyond them reading pauses."""

JSON = "application/json"


@dataclass(slots=True)
class HttpRequest:
    """One request as it came: path without its query, header names in lower case."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes


class BadRequest(Exception):  # noqa: N818 - the protocol's own name
    """The bytes are not a request that is served; answered with `status`, then the connection is closed."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def response(status: int, body: bytes, content_type: str = JSON, headers: Mapping[str, str] | None = None) -> bytes:
    """Return the bytes of a whole response."""
    extra = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
    head = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {len(body)}\r\n{extra}\r\n"
    )
    return head.encode("latin-1") + body


class Connection(asyncio.Protocol):
    """One client. `answer(connection, request)` is called once per request and must end in `finish` or `abort`."""

    def __init__(
        self,
        answer: Callable[[Connection, HttpRequest], None],
        refuse: Callable[[BadRequest], bytes],
        live: set[Connection],
    ) -> None:
        self._answer = answer
        self._refuse = refuse
        self._live = live
        self._buffer = bytearray()
        self._busy = False
        self._advancing = False
        self._close_after = False
        self._continued = False
        self._paused = False
        self._transport: asyncio.Transport | None = None
        self.gone = False
        """Whether the other side has left, or we have closed."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport), "a TCP connection has a two-way transport"
        self._transport = transport
        self._live.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Remember that the client has gone; what is being answered still runs to its end."""
        self.gone = True
        self._live.discard(self)

    def data_received(self, data: bytes) -> None:
        """Take bytes and answer what is complete."""
        self._buffer += data
        if not self._busy:
            self._advance()
        elif len(self._buffer) > MAX_WAITING_BYTES and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def write(self, data: bytes) -> None:
        """Send a part of a response."""
        if not self.gone and self._transport is not None:
            self._transport.write(data)

    def finish(self, data: bytes = b"", *, close: bool = False) -> None:
        """Send the (last part of the) response and go on to the next request, or close."""
        if data:
            self.write(data)
        self._busy = False
        if close or self._close_after:
            self.abort(gently=True)
            return
        if self._paused and not self.gone and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        if not self._advancing:
            self._advance()

    def abort(self, *, gently: bool = False) -> None:
        """Close: after what has been written is sent (`gently`), or at once."""
        self.gone = True
        self._buffer.clear()
        if self._transport is not None:
            if gently:
                self._transport.close()
            else:
                self._transport.abort()

    def _advance(self) -> None:
        self._advancing = True
        try:
            while not self._busy and not self.gone:
                request = self._take()
                if request is None:
                    return
                self._busy = True
                self._answer(self, request)
        except BadRequest as error:
            self.write(self._refuse(error))
            self.abort(gently=True)
        finally:
            self._advancing = False

    def _take(self) -> HttpRequest | None:
        """Cut the next whole request off the buffer; `None` while it is incomplete."""
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0 or end > MAX_HEAD_BYTES:
            if len(self._buffer) > MAX_HEAD_BYTES:
                raise BadRequest(431, "the request's headers are too long")
            return None
        request_line, *lines = self._buffer[:end].decode("latin-1").split("\r\n")
        headers = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        length = _body_length(headers)
        total = end + 4 + length
        if len(self._buffer) < total:
            if "expect" in headers and not self._continued:
                self._continued = True
                self.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            return None
        self._continued = False
        body = bytes(self._buffer[end + 4 : total])
        del self._buffer[:total]
        return self._request(request_line, headers, body)

    def _request(self, line: str, headers: dict[str, str], body: bytes) -> HttpRequest:
        words = line.split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            raise BadRequest(400, "not an HTTP/1.1 request line")
        connection = headers.get("connection", "").lower()
        self._close_after = "close" in connection or (words[2] == "HTTP/1.0" and "keep-alive" not in connection)
        if "host" not in headers and words[2] != "HTTP/1.0":
            raise BadRequest(400, "the Host header is missing")
        path, _, query = words[1].partition("?")
        return HttpRequest(words[0], path, query, headers, body)


def _body_length(headers: Mapping[str, str]) -> int:
    if "transfer-encoding" in headers:
        raise BadRequest(411, "chunked request bodies are not served; send Content-Length")
    raw = headers.get("content-length", "0")
    if not (raw.isascii() and raw.isdigit()):
        raise BadRequest(400, "Content-Length is not a number")
    length = int(raw)
    if length > MAX_BODY_BYTES:
        raise BadRequest(413, f"the body is larger than {MAX_BODY_BYTES} bytes")
    return length
