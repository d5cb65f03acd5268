"""A server of this machine only: requests are routed by path, a foreign Host is refused, SIGTERM ends it.

What a route answers is its server's own matter: the miniature's teacher (`miniature.routes`), a student
(`students.serving`).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from functools import lru_cache
from urllib.parse import urlsplit

from potstill.errors import ConfigError, shorten
from potstill.miniature import rendering
from potstill.miniature.wire import BadRequest, Connection, HttpRequest, response

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
Route = Callable[[Connection, HttpRequest], None]


class LoopbackServer:
    """Answers requests by a table of routes: path -> (method, what answers)."""

    def __init__(self, routes: Mapping[str, tuple[str, Route]]) -> None:
        self._routes = routes
        self._live: set[Connection] = set()

    def connect(self) -> Connection:
        """Return the protocol of a new connection."""
        return Connection(self.answer, refusal, self._live)

    def answer(self, connection: Connection, request: HttpRequest) -> None:
        """Route one request."""
        if is_foreign(request.headers):
            connection.finish(response(403, rendering.error("only loopback hosts are served here")), close=True)
            return
        if request.path not in self._routes:
            body = rendering.error(f"Unknown request URL: {request.method} {shorten(request.path)}", code="unknown_url")
            connection.finish(response(404, body))
            return
        method, route = self._routes[request.path]
        if method != request.method:
            body = rendering.error(f"{shorten(request.method)} is not allowed for {request.path}")
            connection.finish(response(405, body, headers={"Allow": method}))
        else:
            route(connection, request)

    def drop_connections(self) -> None:
        """Close every connection at once."""
        for connection in list(self._live):
            connection.abort()


@contextlib.asynccontextmanager
async def listening(server: LoopbackServer, port: int = 0, host: str = "127.0.0.1") -> AsyncIterator[str]:
    """Let a server listen inside the running event loop; yields its base URL, such as `http://127.0.0.1:41234/v1`.

    Raises:
        ConfigError: The host is not loopback, or the port is taken.
    """
    if host not in LOOPBACK:
        message = f"server.host: got {host!r}; it serves this machine only: {', '.join(sorted(LOOPBACK))}"
        raise ConfigError(message)
    try:
        listener = await asyncio.get_running_loop().create_server(server.connect, host, port, backlog=4096)
    except OSError as cause:
        message = f"server.port: {port} cannot be used ({cause.strerror or cause}); choose another, or 0 for any"
        raise ConfigError(message) from cause
    try:
        shown = f"[{host}]" if ":" in host else host
        yield f"http://{shown}:{listener.sockets[0].getsockname()[1]}/v1"
    finally:
        listener.close()
        server.drop_connections()
        await asyncio.sleep(0)


def run_until_stopped(opened: contextlib.AbstractAsyncContextManager[str], *, until_eof: bool = False) -> None:
    """Run an opened server until SIGTERM or SIGINT, in the main thread; prints one line with its address when ready.

    Args:
        opened: What yields the address.
        until_eof: Stop also when standard input ends, so that the server never outlives the process that started it.
    """

    async def serve_on() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        if until_eof:
            loop.add_reader(sys.stdin.fileno(), lambda: None if os.read(sys.stdin.fileno(), 4096) else stop.set())
        async with opened as address:
            sys.stdout.write(f"{address} \n")
            sys.stdout.flush()
            await stop.wait()
        if until_eof:
            loop.remove_reader(sys.stdin.fileno())

    asyncio.run(serve_on())


def say_healthy(connection: Connection, request: HttpRequest) -> None:
    """Answer that the server runs."""
    connection.finish(response(200, b'{"status": "ok"}'))


def refusal(error: BadRequest) -> bytes:
    """Return the answer to bytes that are no request."""
    return response(error.status, rendering.error(str(error)), headers={"Connection": "close"})


def is_foreign(headers: Mapping[str, str]) -> bool:
    """Whether a request names another host than loopback, as a web page that was lured here would."""
    host, origin = headers.get("host"), headers.get("origin")
    return (host is not None and not _is_loopback(f"//{host}")) or (bool(origin) and not _is_loopback(str(origin)))


@lru_cache(maxsize=256)
def _is_loopback(url: str) -> bool:
    try:
        return urlsplit(url).hostname in LOOPBACK
    except ValueError:
        return False
