"""What tests of teachers share: requests, configurations, and a server that answers with given bytes."""

import asyncio
import json
import urllib.request
from contextlib import asynccontextmanager, suppress

from potstill.recipe.teachers import TeacherConfig
from potstill.teachers.base import Request, open_teacher


def asking(question, **changes):
    """A request with the fields that tests vary."""
    fields = {"model": "m", "messages": ({"role": "user", "content": question},), "max_tokens": 256, "seed": 1}
    return Request(**{**fields, **changes})


def pointing(url, **changes):
    """A teacher configuration without a key and without patience."""
    return TeacherConfig(**{"base_url": url, "model": "m", "api_key_env": None, "max_concurrency": 16, **changes})


@asynccontextmanager
async def opened(url, ledger=None, *, budget=None, run=None, spent=None, retry_failed=False, on_event=None, **changes):
    """Open a teacher on an address."""
    options = {"budget": budget, "run": run, "spent": spent, "retry_failed": retry_failed, "on_event": on_event}
    async with open_teacher(pointing(url, **changes), ledger=ledger, **options) as teacher:
        yield teacher


class RawServer:
    """A server that answers each request with bytes from a function of (head, body); counts what came."""

    def __init__(self, answer):
        self.answer = answer
        self.requests = []

    async def _talk(self, reader, writer):
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                lines = [line.split(":", 1) for line in head.splitlines() if ":" in line]
                headers = {name.strip().lower(): value.strip() for name, value in lines}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                self.requests.append((head, body))
                writer.write(self.answer(head, body))
                await writer.drain()
        writer.close()


def http(status, body, content_type="application/json", **headers):
    """A whole HTTP response as bytes."""
    payload = body if isinstance(body, bytes) else body.encode()
    extra = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    head = f"HTTP/1.1 {status} X\r\nContent-Type: {content_type}\r\nContent-Length: {len(payload)}\r\n{extra}\r\n"
    return head.encode() + payload


class Served:
    """The miniature's server as a process that many tests share: its address, its books, its knobs."""

    def __init__(self, url):
        self.url = url
        self.defaults = {**self._call("/config", {}), "canned": 200, "api_key": ""}

    def begin(self, **knobs):
        """Forget the last test; set knobs."""
        self._call("/config", {**self.defaults, **knobs})
        self._call("/reset", {})

    def stats(self, expect=1):
        return self._call(f"/stats?expect={expect}")

    def _call(self, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url.removesuffix("/v1") + path, data)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=30) as answer:
            return json.load(answer)
