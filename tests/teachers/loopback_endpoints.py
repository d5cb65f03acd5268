"""What tests of teachers share: requests, configurations, and a server that answers with given bytes."""

import asyncio
import json
import urllib.request
from collections import Counter
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


class BatchServer:
    """A real HTTP server with the batch interface: `/files`, `/batches`; counts what was submitted and billed.

    answer: From a row's body to (status, body of its response); `None`: the row expires.
    looks: How often a batch is looked at before it has ended.
    lose_starts: So many answers to `POST /batches` are lost after the batch has been started.
    """

    def __init__(self, answer=None, *, looks=2, lose_starts=0, end="completed"):
        self.answer, self.looks, self.lose_starts, self.end = answer or answered, looks, lose_starts, end
        self.files, self.batches, self.rows = {}, {}, Counter()
        self.seen, self.was_seen = [], asyncio.Event()

    def application(self):
        from aiohttp import web

        app = web.Application()
        app.router.add_post("/v1/files", self._upload)
        app.router.add_get("/v1/files/{id}/content", self._content)
        app.router.add_post("/v1/batches", self._start)
        app.router.add_get("/v1/batches", self._list)
        app.router.add_get("/v1/batches/{id}", self._look)
        return app

    async def _upload(self, request):
        from aiohttp import web

        parts = await request.post()
        assert parts["purpose"] == "batch"
        name = f"file-{len(self.files)}"
        self.files[name] = parts["file"].file.read().decode()
        return web.json_response({"id": name, "object": "file"})

    async def _content(self, request):
        from aiohttp import web

        return web.Response(text=self.files[request.match_info["id"]], content_type="application/octet-stream")

    async def _start(self, request):
        from aiohttp import web

        body = await request.json()
        name = f"batch-{len(self.batches)}"
        rows = [json.loads(line) for line in self.files[body["input_file_id"]].splitlines()]
        assert {row["url"] for row in rows} == {body["endpoint"]}
        self.batches[name] = {
            "id": name,
            "metadata": body["metadata"],
            "rows": rows,
            "looks": 0,
            "status": "validating",
        }
        self.rows.update(json.dumps(row["body"], sort_keys=True) for row in rows)
        if self.lose_starts:
            self.lose_starts -= 1
            request.transport.abort()
        return web.json_response(self._shown(name))

    async def _list(self, request):
        from aiohttp import web

        names = [*reversed(self.batches)]
        start = names.index(request.query["after"]) + 1 if "after" in request.query else 0
        page = names[start : start + 1]  # the smallest page, so that paging is needed
        return web.json_response({"data": [self._shown(n) for n in page], "has_more": start + 1 < len(names)})

    async def _look(self, request):
        from aiohttp import web

        name = request.match_info["id"]
        batch = self.batches[name]
        batch["looks"] += 1
        self.seen.append(name)
        self.was_seen.set()
        batch["status"] = "in_progress"
        if batch["looks"] >= self.looks:
            self._finish(batch)
        return web.json_response(self._shown(name))

    def _finish(self, batch):
        if batch["status"] == self.end:
            return
        batch["status"] = self.end
        if self.end == "failed":
            batch["errors"] = {"data": [{"code": "invalid", "message": "The model does not exist.", "line": 1}]}
            return
        lines = {"output": [], "error": []}
        for row in reversed(batch["rows"]):  # in no particular order
            found = self.answer(row["body"])
            if found is None:
                error = {"code": "batch_expired", "message": "This request could not be executed in time."}
                lines["error"].append({"custom_id": row["custom_id"], "response": None, "error": error})
                continue
            response = {"status_code": found[0], "request_id": "r", "body": found[1]}
            kind = "output" if found[0] == 200 else "error"
            lines[kind].append({"custom_id": row["custom_id"], "response": response, "error": None})
        for kind, rows in lines.items():
            if rows:
                name = f"file-{len(self.files)}"
                self.files[name] = "".join(json.dumps(row) + "\n" for row in rows)
                batch[f"{kind}_file_id"] = name

    def _shown(self, name):
        return {key: value for key, value in self.batches[name].items() if key not in ("rows", "looks")}


def answered(body):
    """A response that holds what was asked, and the seed."""
    text = f"{body['messages'][-1]['content']} {body.get('seed')}"
    choices = [
        {"index": i, "message": {"content": f"{text} {i}"}, "finish_reason": "stop"} for i in range(body.get("n", 1))
    ]
    return 200, {"choices": choices, "usage": {"prompt_tokens": 10, "completion_tokens": 4 * len(choices)}}
