"""What every test gets: a clean environment, no network beyond loopback, and a real teacher server on request."""

from __future__ import annotations

import json
import os
import socket
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from potstill.messages import set_quiet
from potstill.miniature.faults import Knobs
from potstill.miniature.server import launched

sys.path.insert(0, str(Path(__file__).resolve().parent))  # `toy_labels`, for the tests of every folder

LOOPBACK = ("127.0.0.1", "localhost", "::1")
SECRETS = ("KEY", "TOKEN", "SECRET", "PASSWORD")


LONGEST = ("test_pipeline.py", "test_rounds.py", "test_training.py", "test_browser.py", "test_serving.py")
"""Files that take longest, which two processes begin with, so that neither ends on one of them alone."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first; the order within a file stays."""
    order = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.name, len(LONGEST)))


class ServedTeacher:
    """A running server: its address, its books, its knobs."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url

    def stats(self, expect: int = 1) -> dict[str, Any]:
        """Return the server's own account; `dup_requests` is what was bought twice."""
        return self._call(f"/stats?expect={expect}")

    def config(self, **knobs: Any) -> dict[str, Any]:
        """Change knobs while it runs."""
        return self._call("/config", knobs)

    def reset(self) -> None:
        """Forget counters and log."""
        self._call("/reset", {})

    def _call(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base_url.removesuffix("/v1") + path, data)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=30) as answer:
            return json.load(answer)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No credentials, no proxy, no cache of the user's: a test sees only what it makes."""
    home = tmp_path_factory.mktemp("home")
    for name in list(os.environ):
        if any(word in name.upper() for word in SECRETS) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    for name in ("HOME", "XDG_CACHE_HOME", "HF_HOME"):
        monkeypatch.setenv(name, str(home))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    set_quiet(quiet=False)  # a command of an earlier test may have been quiet


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that would leave this machine fails at once, with the address in the message."""
    connect, connect_ex = socket.socket.connect, socket.socket.connect_ex

    def guarded(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(self: socket.socket, address: Any) -> Any:
            if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in LOOPBACK:
                message = f"a test tried to connect to {address[0]}; only loopback is allowed"
                raise OSError(message)
            return real(self, address)

        return call

    look_up = socket.getaddrinfo

    def guarded_look_up(host: Any, *arguments: Any, **options: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name not in (None, "", *LOOPBACK) and not name.replace(".", "").isdigit():
            message = f"a test tried to look up {name}; only loopback is allowed"
            raise socket.gaierror(socket.EAI_NONAME, message)
        return look_up(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", guarded_look_up)
    monkeypatch.setattr(socket.socket, "connect", guarded(connect))
    monkeypatch.setattr(socket.socket, "connect_ex", guarded(connect_ex))


@pytest.fixture(scope="session")
def idle_servers() -> Iterator[tuple[list[ServedTeacher], ExitStack]]:
    """Server processes that no test uses at the moment; starting one costs more than most tests."""
    with ExitStack() as stack:
        yield [], stack


@pytest.fixture
def teacher_server(
    idle_servers: tuple[list[ServedTeacher], ExitStack],
) -> Iterator[Callable[..., ServedTeacher]]:
    """A factory: `teacher_server(canned=400, p_429=0.05)` gives a real server process on a free port, its books empty.

    Canned answers of 200 characters unless told otherwise; `canned=0` is the miniature's own teacher. A process is
    used again by a later test once nothing is in flight.
    """
    idle, stack = idle_servers
    used: list[ServedTeacher] = []

    def start(**knobs: Any) -> ServedTeacher:
        server = idle.pop() if idle else ServedTeacher(stack.enter_context(launched()))
        used.append(server)
        server.config(**{**asdict(Knobs()), "canned": 200, **knobs})
        server.reset()
        return server

    yield start
    idle.extend(server for server in used if server.stats()["in_flight"] == 0)
