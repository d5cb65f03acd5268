"""A provider's batches as the way to a model: slower by hours, mostly at half the price.

    requests that wait together ─► planned (recorded) ─► uploaded ─► submitted (recorded) ─► polled ─► each row's reply

A batch is on record in the ledger before it is submitted, and its id before it is polled, so that a run that is killed
goes on where it was: what an earlier process has submitted is collected first, and stored, before anything is asked
for. Whether a batch that was planned was also submitted is looked up at the provider, by a mark that it carries; so no
batch is submitted twice. A row that failed is sent again in a later batch, like any request.

The interface is OpenAI's (`/files`, `/batches`), which other providers and servers have taken over.
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from potstill.errors import ConfigError, RefusedError, TeacherError, shorten
from potstill.streams import Gathering
from potstill.teachers.base import OnEvent, Request
from potstill.teachers.buying import BuyingTeacher, Sold, Wire
from potstill.teachers.openai import OpenAIEndpoint, body_of
from potstill.teachers.responses import Failure, Reply, read_response

if TYPE_CHECKING:
    from potstill.recipe.teachers import TeacherConfig
    from potstill.teachers.ledger import Ledger

TABLE = (
    "create table if not exists batches (mark text primary key, endpoint text not null, owner text not null,"
    " batch text, state text not null, lines text not null, created real not null)"
)
"""An addition that older versions do not look at: the file's version stays."""
TAKE = (
    "update batches set owner = ? where endpoint = ? and state in ('planned', 'submitted')"
    " and owner not in (select owner from owners)"
)
"""Take over what a process that has ended left open."""
MINE = "select mark, batch, lines from batches where endpoint = ? and owner = ? and state in ('planned', 'submitted')"
ENDED = ("completed", "failed", "expired", "cancelled")
FIRST_POLL_S = 2.0
MOST_TROUBLES = 20
"""Failures in a row after which a provider counts as unreachable; the batch goes on there."""
LONGEST_WAIT_S = 300.0
PAGES = 50
"""Pages of the provider's list that are looked through for a batch."""


@dataclass(frozen=True, slots=True)
class Line:
    """One row of a batch: a request for some of its samples."""

    key: str
    cap: int | None
    indices: tuple[int, ...]
    body: str
    is_chat: bool


class BatchEndpoint(OpenAIEndpoint):
    """An endpoint that is asked in batches. State: the calls that wait for one, and whose ledger keeps the records."""

    def __init__(
        self, config: TeacherConfig, ledger: Ledger | None, endpoint: str, on_event: OnEvent | None = None
    ) -> None:
        super().__init__(config)
        if ledger is None:
            message = "teachers.batch: needs a ledger, which keeps what was submitted; give ledger or --ledger FILE"
            raise ConfigError(message)
        assert config.batching is not None, "made for a teacher that is asked in batches"
        self._batching = config.batching
        self._ledger = ledger
        self._endpoint = endpoint
        self._on_event = on_event
        self._calls: Gathering[Line, Reply | Failure] = Gathering(
            self._answer, quiet_s=self._batching.collect_s, most=self._batching.most, at_once=64
        )

    async def send(self, request: Request, head: str, indices: Sequence[int]) -> Reply | Failure:
        """Send a request in the next batch, and return its own row."""
        body, is_chat = body_of(request, head, indices), request.prompt is None
        line = Line(request.key(self._endpoint), request.cap, tuple(indices), body, is_chat)
        return await self._calls.ask(line)

    async def aclose(self) -> None:
        """Stop waiting, and close connections; what is submitted is collected by the next run."""
        await self._calls.aclose()
        await super().aclose()

    async def leftovers(self) -> AsyncIterator[Sold]:
        """Yield the rows of batches that a process which has ended left open, and close these."""
        await self._ledger.execute(TABLE)
        await self._ledger.execute(TAKE, (self._ledger.owner, self._endpoint))
        for mark, known, text in await self._ledger.execute(MINE, (self._endpoint, self._ledger.owner)):
            lines = json.loads(text)
            missing = {str(n): line for n, line in enumerate(lines) if not self._holds(*line)}
            batch = known or (await self._find(mark) if missing else None)
            if batch is not None and missing:
                self._tell(f"collecting batch {batch}, which an earlier run submitted ({len(missing)} rows)")
                await self._set(mark, "submitted", batch)
                rows = await self._rows(batch)
                for number, (key, cap, indices) in missing.items():
                    yield Sold(key, cap, indices, rows.get(number, EXPIRED))
            await self._set(mark, "closed", batch)

    def _holds(self, key: str, cap: int | None, indices: Sequence[int]) -> bool:
        return len(self._ledger.have(key, indices, cap)) == len(indices)

    async def _answer(self, lines: list[Line]) -> AsyncIterator[tuple[int, Reply | Failure]]:
        """Submit one batch, wait for it, and yield the number of each line with what came back."""
        mark = uuid.uuid4().hex
        record = json.dumps([[line.key, line.cap, line.indices] for line in lines])
        await self._ledger.execute(TABLE)
        await self._ledger.execute(
            "insert into batches values (?, ?, ?, null, 'planned', ?, ?)",
            (mark, self._endpoint, self._ledger.owner, record, time.time()),
        )
        batch = await self._submit(mark, lines)
        await self._set(mark, "submitted", batch)
        self._tell(f"batch {batch} of {len(lines)} requests submitted; a run that is ended collects it the next time")
        rows = await self._rows(batch)
        for number in range(len(lines)):
            yield number, rows.get(str(number), EXPIRED)

    async def _submit(self, mark: str, lines: list[Line]) -> str:
        """Upload the requests and start a batch; return its id. A start whose answer was lost is looked up."""
        file = await self._asked("POST", "files", *_upload(lines))
        route = "/v1/chat/completions" if lines[0].is_chat else "/v1/completions"
        body = {"input_file_id": file["id"], "endpoint": route, "completion_window": self._batching.window,
                "metadata": {"potstill": mark}}  # fmt: skip
        for trouble in range(MOST_TROUBLES):
            answer = await self.call("POST", "batches", json.dumps(body).encode())
            if not isinstance(answer, Failure):
                return str(json.loads(answer)["id"])
            await self._after(answer, trouble)
            if answer.kind == "broken" and (found := await self._find(mark)) is not None:
                return found
        raise self._lost()

    async def _find(self, mark: str) -> str | None:
        """Return the id of the batch that carries a mark, from the provider's list; `None`: it was not submitted."""
        after = ""
        for _ in range(PAGES):
            page = await self._asked("GET", f"batches?limit=100{after}", allow_absent=True)
            for batch in page.get("data") or []:
                if (batch.get("metadata") or {}).get("potstill") == mark:
                    return str(batch["id"])
            if not page.get("has_more") or not page.get("data"):
                return None
            after = f"&after={page['data'][-1]['id']}"
        return None

    async def _rows(self, batch: str) -> dict[str, Reply | Failure]:
        """Wait until a batch has ended; return the number of each of its lines with what came back."""
        wait_s = min(FIRST_POLL_S, self._batching.poll_s)
        while (state := await self._asked("GET", f"batches/{batch}", allow_absent=True)).get("status") not in ENDED:
            if not state:
                return {}
            await asyncio.sleep(wait_s)
            wait_s = min(self._batching.poll_s, 1.5 * wait_s)
        if state["status"] == "failed":
            raise self._refused_batch(batch, state)
        rows: dict[str, Reply | Failure] = {}
        for name in ("error_file_id", "output_file_id"):
            if state.get(name):
                text = await self._got("GET", f"files/{state[name]}/content")
                rows |= dict(read_row(line) for line in text.splitlines() if line.strip())
        return rows

    async def _set(self, mark: str, state: str, batch: str | None) -> None:
        await self._ledger.execute("update batches set state = ?, batch = ? where mark = ?", (state, batch, mark))

    async def _asked(
        self, method: str, route: str, body: bytes | None = None, content_type: str = "application/json",
        *, allow_absent: bool = False,
    ) -> dict[str, Any]:  # fmt: skip
        """Return the decoded answer of a call that may be repeated; empty where it is absent and that is allowed."""
        answer = await self._got(method, route, body, content_type, allow_absent=allow_absent)
        found = json.loads(answer or b"{}")
        return found if isinstance(found, dict) else {}

    async def _got(
        self, method: str, route: str, body: bytes | None = None, content_type: str = "application/json",
        *, allow_absent: bool = False,
    ) -> bytes:  # fmt: skip
        for trouble in range(MOST_TROUBLES):
            answer = await self.call(method, route, body, content_type)
            if not isinstance(answer, Failure):
                return answer
            if allow_absent and answer.status in (404, 405):
                return b""
            await self._after(answer, trouble)
        raise self._lost()

    async def _after(self, failure: Failure, trouble: int) -> None:
        """Wait before a call is repeated, or raise where repeating it would change nothing."""
        if failure.kind in ("user", "row"):
            raise self.refused(failure, Request(model=self.config.model))
        if failure.kind == "unreachable" and trouble >= 2:
            raise self.unreachable(failure)
        pause = min(LONGEST_WAIT_S, self._batching.poll_s, 0.5 * 2**trouble)
        await asyncio.sleep(failure.wait_s or pause)

    def _lost(self) -> TeacherError:
        message = (
            f"teacher {self.address}: its batches cannot be reached in {MOST_TROUBLES} tries; what is submitted "
            "goes on there: run the same command again later"
        )
        return TeacherError(message, retryable=True)

    def _refused_batch(self, batch: str, state: Mapping[str, Any]) -> RefusedError:
        errors = ((state.get("errors") or {}).get("data")) or [{}]
        said = shorten(str(errors[0].get("message") or "no reason given")).rstrip(".")
        message = f"teacher {self.address}: batch {batch} was refused ({said}); correct the request, or leave batch out"
        return RefusedError(self.mask(message), 400)

    def _tell(self, message: str) -> None:
        if self._on_event is not None:
            self._on_event("batch", message)


async def keep_leftovers(endpoint: Wire, teacher: BuyingTeacher) -> None:
    """Store what batches of earlier processes have brought, before anything is asked for again."""
    assert isinstance(endpoint, BatchEndpoint), "the others leave nothing"
    async for sold in endpoint.leftovers():
        await teacher.keep(sold)


EXPIRED = Failure("broken", "batch_expired", "the batch ended without this row")


def read_row(text: bytes) -> tuple[str, Reply | Failure]:
    """Return the number of a line and what came back for it, from a row of an output or error file."""
    try:
        row = json.loads(text)
        number, response, error = str(row["custom_id"]), row.get("response"), row.get("error")
    except (ValueError, KeyError, TypeError, AttributeError):
        return "", Failure("broken", "malformed_row", shorten(text[:200].decode("utf-8", "replace")), billed=True)
    if isinstance(response, Mapping) and isinstance(response.get("status_code"), int):
        body = json.dumps(response.get("body")).encode()
        return number, read_response(response["status_code"], "application/json", body)
    code = str((error or {}).get("code") or "batch_row") if isinstance(error, Mapping) else "batch_row"
    return number, Failure("broken", code, shorten(str(error)))


def _upload(lines: Sequence[Line]) -> tuple[bytes, str]:
    """Return the body and content type of the upload of a batch's requests."""
    rows = []
    for number, line in enumerate(lines):
        url = "/v1/chat/completions" if line.is_chat else "/v1/completions"
        rows.append(f'{{"custom_id": "{number}", "method": "POST", "url": "{url}", "body": {line.body}}}\n')
    boundary = uuid.uuid4().hex
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--{boundary}\r\n'
        'Content-Disposition: form-data; name="file"; filename="batch.jsonl"\r\n'
        "Content-Type: application/jsonl\r\n\r\n"
    )
    body = head.encode() + "".join(rows).encode() + f"\r\n--{boundary}--\r\n".encode()
    return body, f"multipart/form-data; boundary={boundary}"
