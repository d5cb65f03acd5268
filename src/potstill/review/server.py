"""The review as a server on loopback: routes, who may ask, and the thread that keeps the index up to date."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import signal
import sqlite3
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from aiohttp import web

from potstill.errors import ConfigError, PotstillError
from potstill.evaluation.page.markup import Html, element
from potstill.messages import say
from potstill.review import decisions, detail, folding, frame, guarding, listing, queries
from potstill.review.editing import verdict_on
from potstill.review.indexing import keep_up
from potstill.review.store import open_index, require_run, sources_of
from potstill.review.studying import Studies

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
STATIC = Path(__file__).parent / "static"
REPORT_STYLE = Path(__file__).parents[1] / "evaluation" / "page" / "templates" / "report.css"
LONGEST_FORM = 4 << 20
"""Bytes of a request; an edit is the longest thing that is sent."""


class Review:
    """One run's review. State: its folder, its index, the token; what is shown is read anew for every request."""

    def __init__(self, folder: Path, reviewer: str = "") -> None:
        require_run(folder)
        self.folder = folder
        self.index = open_index(folder)
        self.reviewer = decisions.require_name(reviewer) if reviewer else ""
        self.token = secrets.token_urlsafe(24)
        self.port = 0
        self.trouble = ""
        """What keeps the index from being up to date."""

    def app(self) -> web.Application:
        """Return the application."""
        studies = Studies(self)
        app = web.Application(middlewares=[self.guard], client_max_size=LONGEST_FORM)
        app.add_routes(
            [
                web.get("/", self.show_list),
                web.get(r"/item/{n:\d+}", self.show_item),
                web.get(r"/item/{n:\d+}/edit", self.show_edit),
                web.post("/decide", self.decide),
                web.post("/undo", self.undo),
                web.post("/name", self.name),
                web.get("/decisions", studies.show_decisions),
                web.get("/compare", studies.show_comparisons),
                web.post("/compare", studies.begin),
                web.get(r"/compare/{key:[0-9a-f]+}", studies.show_pair),
                web.post(r"/compare/{key:[0-9a-f]+}", studies.judge),
                web.get(r"/compare/{key:[0-9a-f]+}/result", studies.show_result),
                web.get(r"/compare/{key:[0-9a-f]+}/result.json", studies.result_json),
                web.get("/calibration", studies.show_calibration),
                web.get("/calibration.json", studies.calibration_json),
                web.get("/static/style.css", self.style),
                web.get("/static/review.js", self.script),
            ]
        )
        return app

    @web.middleware
    async def guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer only who may ask, and say what went wrong on a page of its own."""
        if not guarding.is_own_host(request.headers.get("Host", ""), self.port):
            return self.refused("review: this Host is not served; open the address that `potstill review` printed", 421)
        if request.method not in ("GET", "HEAD") and not guarding.is_own_origin(request.headers, self.port):
            return self.refused("review: this request came from another page; nothing was done", 403)
        given = request.query.get("token")
        if guarding.is_same(given, self.token) and request.method == "GET":
            return self.welcomed(request)
        if not guarding.is_same(request.cookies.get(self.cookie("token")), self.token):
            return self.refused("review: open the whole address that `potstill review` printed, with its token", 403)
        try:
            response = await handler(request)
        except web.HTTPException as error:
            response = self.refused(f"review: {error.reason}", error.status)
        except (PotstillError, sqlite3.Error) as error:
            response = self.failed(request, str(error))
        response.headers.update(guarding.HEADERS)
        return response

    def cookie(self, name: str) -> str:
        """Return a cookie's name; cookies do not tell ports apart."""
        return f"potstill_{name}_{self.port}"

    def welcomed(self, request: web.Request) -> web.Response:
        """Set the cookie and lead to the same page without the token in its address."""
        kept = [f"{quote(name)}={quote(value)}" for name, value in request.query.items() if name != "token"]
        response = web.Response(
            status=303,
            headers={
                "Location": guarding.local_path(request.rel_url.raw_path) + ("?" + "&".join(kept) if kept else "")
            },
        )
        response.set_cookie(self.cookie("token"), self.token, httponly=True, samesite="Strict", path="/")
        response.headers.update(guarding.HEADERS)
        return response

    def refused(self, message: str, status: int) -> web.Response:
        """Return a refusal that shows nothing of the run."""
        return web.Response(status=status, text=message + "\n", headers=guarding.HEADERS)

    def failed(self, request: web.Request, message: str) -> web.Response:
        """Return what went wrong, as a page or for the script that asked."""
        if wants_json(request):
            return web.json_response({"error": message}, status=400)
        return self.page(frame.error_page(self.view(request), message), status=400)

    def who(self, request: web.Request) -> str:
        """Return who reviews, empty where nobody said."""
        return unquote(request.cookies.get(self.cookie("name"), "")) or self.reviewer

    def view(self, request: web.Request, here: str = "", **links: str | None) -> frame.View:
        """Return what every page knows."""
        self.catch_up()
        return frame.View(
            run=self.folder.resolve().name,
            reviewer=self.who(request),
            path=request.path_qs,
            sizes=queries.sizes(self.index),
            notices=tuple(self.notices()),
            here=here,
            links={name: to for name, to in links.items() if to},
        )

    def catch_up(self) -> None:
        """Take in what other reviewers decided."""
        folding.fold(self.folder, self.index)

    def notices(self) -> list[str]:
        """Return what a reader must know about the index: not all is read yet, or some lines cannot be."""
        found = [f"The index is not up to date: {self.trouble}"] if self.trouble else []
        known = {row["name"]: row for row in self.index.execute("SELECT name, read_to, faults, fault FROM files")}
        sources = list(sources_of(self.folder))
        size = sum(source.path.stat().st_size for source in sources)
        read = sum(known[source.name]["read_to"] for source in sources if source.name in known)
        first = "SELECT (SELECT 1 FROM items LIMIT 1), (SELECT 1 FROM facets LIMIT 1)"
        holds_items, is_sorted = self.index.execute(first).fetchone()
        if read < size or (holds_items and not is_sorted):
            found.append(f"Still reading the run: {100 * read / size:.0f} % of {size / 1e6:,.1f} MB. Reload for more.")
        for name, row in known.items():
            if row["faults"]:
                lines = "1 line" if row["faults"] == 1 else f"{row['faults']:,} lines"
                found.append(f"{lines} of {name} cannot be shown; the first: {row['fault']}")
        return found

    def page(self, content: Html, *, status: int = 200) -> web.Response:
        """Return a page's response."""
        return web.Response(text=content, content_type="text/html", charset="utf-8", status=status)

    async def show_list(self, request: web.Request) -> web.Response:
        """Show the records that pass the filters."""
        filters = queries.Filters.read(request.query)
        view = self.view(request, filters.stage)
        found = queries.find(self.index, filters)
        content = listing.list_page(self.folder, filters, found, queries.facets(self.index, filters.stage))
        return self.page(frame.page(view, frame.STAGE_WORDS[filters.stage], content))

    async def show_item(self, request: web.Request) -> web.Response:
        """Show one record with what belongs to it."""
        row = queries.item(self.index, int(request.match_info["n"]))
        filters = queries.Filters.read({**request.query, "stage": request.query.get("stage") or row["stage"]})
        around = {
            name: queries.neighbour(self.index, filters, row["n"], is_back=is_back)
            for name, is_back in (("next", False), ("previous", True))
        }
        query = filters.address(page="").removeprefix("/")
        links = {name: f"/item/{n}{query}" if n is not None else None for name, n in around.items()}
        links |= {"list": filters.address()}
        view = self.view(request, row["stage"], **links)
        row = queries.item(self.index, row["n"])
        shown = detail.Shown(
            folder=self.folder,
            index=self.index,
            address=request.path_qs,
            after=links["next"] or request.path_qs,
            order=filters.order,
            is_whole=bool(request.query.get("whole")),
        )
        content = detail.detail_page(shown, row)
        return self.page(frame.page(view, frame.STAGE_WORDS[row["stage"]], _around(links), content))

    async def show_edit(self, request: web.Request) -> web.Response:
        """Show the form that edits a rationale."""
        row = queries.item(self.index, int(request.match_info["n"]))
        after = guarding.local_path(request.query.get("next"))
        content = detail.edit_page(self.folder, self.index, row, after)
        return self.page(frame.page(self.view(request, row["stage"]), "Edit", content))

    async def decide(self, request: web.Request) -> web.Response:
        """Append a decision; it is on disk before this answers."""
        form = await request.post()
        name = decisions.require_name(self.who(request))
        action = decisions.require_action(str(form.get("action", "")))
        n = str(form.get("n", ""))
        row = queries.item(self.index, int(n) if n.isdigit() else -1)
        if listing.seal(row) != form.get("seal"):
            message = f"item {n}: it is another record than the page showed; the run was written anew: reload the page"
            raise ConfigError(message)
        made: dict[str, Any] = {
            "by": name,
            "action": action,
            "stage": row["stage"],
            "job": row["job"],
            "record": row["id"],
            "reason": str(form.get("reason", "")).strip()[:500],
        }
        if form.get("queue") == "calibration":
            made["queue"] = "calibration"
        if action == "edit":
            if row["stage"] != "rationales":
                message = f"edit: this is one of the {row['stage']}; only the teacher's rationales can be edited"
                raise ConfigError(message)
            made["text"] = decisions.require_text(str(form.get("text", "")))
            made |= await asyncio.to_thread(verdict_on, self.folder, self.index, row, made["text"])
        decisions.append(self.folder, made)
        self.catch_up()
        return self.decided(request, form.get("next"), row["n"])

    async def undo(self, request: web.Request) -> web.Response:
        """Take back a decision of the reviewer's own: the one named, or the last."""
        form = await request.post()
        name = decisions.require_name(self.who(request))
        self.catch_up()
        query = "SELECT id, record FROM decisions WHERE by = ? AND NOT undone AND action NOT IN ('undo', 'compare')"
        values: tuple[str, ...] = (name,)
        if form.get("undoes"):
            query, values = query + " AND id = ?", (name, str(form["undoes"]))
        row = self.index.execute(query + " ORDER BY rowid DESC LIMIT 1", values).fetchone()
        if row is None:
            message = f"undo: {name} has no decision to take back; only one's own that still stands can be undone"
            raise ConfigError(message)
        decisions.append(self.folder, {"by": name, "action": "undo", "undoes": row["id"]})
        self.catch_up()
        return web.Response(status=303, headers={"Location": guarding.local_path(str(form.get("next", "/")))})

    async def name(self, request: web.Request) -> web.Response:
        """Keep who reviews in a cookie of this browser."""
        form = await request.post()
        name = decisions.require_name(str(form.get("name", "")))
        response = web.Response(status=303, headers={"Location": guarding.local_path(str(form.get("next", "/")))})
        response.set_cookie(
            self.cookie("name"), quote(name), httponly=True, samesite="Strict", path="/", max_age=31_536_000
        )
        return response

    def decided(self, request: web.Request, after: Any, n: int) -> web.Response:
        """Return the record's new state to the script, or lead a browser without one on."""
        if not wants_json(request):
            return web.Response(status=303, headers={"Location": guarding.local_path(str(after or "/"))})
        state = queries.item(self.index, n)["review"]
        return web.json_response({"n": n, "state": state, "words": listing.REVIEW_MARKS.get(state, "")})

    async def style(self, request: web.Request) -> web.Response:
        """Return the style sheet: the report's, and what the review adds."""
        sheets = [path.read_text(encoding="utf-8") for path in (REPORT_STYLE, STATIC / "review.css")]
        return web.Response(text="\n".join(sheets), content_type="text/css")

    async def script(self, request: web.Request) -> web.Response:
        """Return the script."""
        return web.Response(text=(STATIC / "review.js").read_text(encoding="utf-8"), content_type="text/javascript")


@contextlib.asynccontextmanager
async def serving(review: Review, port: int = 0) -> AsyncIterator[str]:
    """Serve inside the running event loop; yields the address with its token.

    Raises:
        ConfigError: The port is taken.
    """
    runner = web.AppRunner(review.app(), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    stop = threading.Event()
    indexing = threading.Thread(
        target=keep_up, args=(review.folder, stop, lambda said: setattr(review, "trouble", said))
    )
    try:
        site = web.TCPSite(runner, "127.0.0.1", port)
        try:
            await site.start()
        except (OSError, OverflowError) as cause:
            message = f"review: port {port} cannot be used ({cause}); choose another with --port, or 0 for a free one"
            raise ConfigError(message) from cause
        review.port = runner.addresses[0][1]
        indexing.start()
        yield f"http://127.0.0.1:{review.port}/?token={review.token}"
    finally:
        stop.set()
        await runner.cleanup()
        if indexing.is_alive():
            indexing.join()
        review.index.close()


def run_review(review: Review, port: int = 0, start: str = "", opened: Callable[[str], object] | None = None) -> None:
    """Serve until SIGTERM or SIGINT, in the main thread; prints one line with the address when ready.

    Args:
        review: The run.
        start: A path to open instead of the list, such as `/compare/KEY`.
        opened: Called with the address, to open a browser.
    """

    async def serve_on() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        async with serving(review, port) as address:
            address = address.replace("/?", f"{start or '/'}?")
            sys.stdout.write(f"{address} \n")
            sys.stdout.flush()
            say("review", "stop with Ctrl-C; decisions are in review.jsonl of the run")
            if opened is not None:
                await asyncio.to_thread(opened, address)
            await stop.wait()

    asyncio.run(serve_on())


def wants_json(request: web.Request) -> bool:
    """Whether the review's own script asks, which shows the answer without a new page."""
    return "application/json" in request.headers.get("Accept", "")


def _around(links: dict[str, str | None]) -> Html:
    named = (("previous", "Previous"), ("next", "Next"), ("list", "List"))
    shown = [element("a", words, href=links[name]) for name, words in named if links.get(name)]
    return element("nav", *shown, class_="pager", aria_label="Records")
