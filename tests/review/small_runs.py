"""A small run to review, and the review of it as a real server."""

from __future__ import annotations

import contextlib
import json

import aiohttp

from potstill.review.indexing import index_once
from potstill.review.server import Review, serving


def write_lines(path, rows):
    """Write rows as JSON lines; broken surrogates stay escapes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def rationale(problem, number, text, kind="cot", **more):
    """Return a rationale's row."""
    name = more.pop("id", f"r-{problem}-{kind}-{number}")
    return {"id": name, "problem_id": problem, "kind": kind, "text": text, "author": "big", "index": number, **more}


def write_run(folder, texts=None):
    """Write a run of three problems (one made from another), six rationales or the given texts, and two students."""
    problems = [
        {"id": "p1", "question": "Ann has 3 red apples and 4 green ones. How many?", "answer": "7", "source": "shop"},
        {
            "id": "p2",
            "question": "Bob walks 2 miles and 5 back. How far?",
            "answer": "7",
            "source": "road",
            "split": "test",
        },
        {
            "id": "p3",
            "question": "Ann has 3 red apples and 9 green ones. How many?",
            "answer": "12",
            "source": "shop",
            "split": "test",
            "parent_id": "p1",
        },
    ]
    rows = [rationale("p1", at, text) for at, text in enumerate(texts or ["3 and 4 is 7.", "3 times 4 is 12."])]
    rows.append(rationale("p1", 0, "ans = 3 + 4  # apples", kind="pot"))
    verdicts = [
        {
            "rationale_id": row["id"],
            "status": "WRONG" if "12" in row["text"] else "CORRECT",
            "answer": "12" if "12" in row["text"] else "7",
            "reason": "exact",
        }
        for row in rows
    ]
    write_lines(folder / "problems.jsonl", problems)
    write_lines(folder / "rationales.jsonl", rows)
    write_lines(folder / "verdicts.jsonl", verdicts)
    write_lines(folder / "dropped.jsonl", [{"stage": "filter", "id": "r-p1-cot-1", "reason": "wrong"}])
    for job, text, status in (("untrained", "Hm.", "NO_ANSWER"), ("scotd", "It is 7.", "CORRECT")):
        made = [rationale(pid, 0, text, id=f"{job}-{pid}", author=job) for pid in ("p2", "p3")]
        write_lines(folder / "predictions" / f"{job}.jsonl", made)
        judged = [
            {"rationale_id": row["id"], "status": status, "answer": "7" if status == "CORRECT" else None}
            for row in made
        ]
        write_lines(folder / "verdicts" / f"{job}.jsonl", judged)
    example = {
        "id": "e1",
        "prompt": "Q: How many?\nA:",
        "target": " Think. 3 and 4 is 7.",
        "task": "cot",
        "group": "p1",
        "rationale_id": "r-p1-cot-0",
        "meta": {"prefix": " Think."},
    }
    write_lines(folder / "examples" / "scotd.jsonl", [example])
    return folder


class Reader:
    """Asks a review as a browser that was given the address would."""

    def __init__(self, session, base):
        self.session, self.base = session, base

    async def get(self, path="/", **options):
        """Return (status, text) of a page."""
        async with self.session.get(self.base + path, **options) as answer:
            return answer.status, await answer.text()

    async def post(self, path, data=None, **options):
        """Return (status, text) of sending a form, without following where it leads."""
        async with self.session.post(self.base + path, data=data or {}, allow_redirects=False, **options) as answer:
            return answer.status, await answer.text()

    async def decide(self, row, action, **fields):
        """Send a decision on a row of the index; return what the server says."""
        from potstill.review.listing import seal

        data = {"n": row["n"], "seal": seal(row), "action": action, **fields}
        headers = {"Accept": "application/json"}
        async with self.session.post(self.base + "/decide", data=data, headers=headers) as answer:
            return await answer.json()


@contextlib.asynccontextmanager
async def opened(folder, reviewer="Ada", index=True):
    """Yield (review, reader) of a served run whose index is complete."""
    if index:
        index_once(folder)
    review = Review(folder, reviewer)
    async with serving(review) as address, aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        async with session.get(address) as answer:
            assert answer.status == 200
        yield review, Reader(session, address.split("/?")[0])
