"""A toy of short reviews on loopback: a teacher that edits them, well and badly, and one that judges them blindly."""

import json
import re
import threading
from collections import Counter
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from potstill.recipe.whole import Recipe
from potstill.records import Problem

LABELS = ("good", "bad")
OPPOSITE = {"tasty": "awful", "awful": "tasty", "warm": "cold", "cold": "warm"}
FOODS = ("soup", "bread", "fish", "cake", "salad", "tea", "rice", "pasta")
WORDS = {"tasty": "good", "awful": "bad"}
KINDS = ("attribute", "negation", "entity", "insertion")


def review(number, **more):
    """Review i, which says twice what it thinks: an even one is good."""
    word = ("tasty", "awful")[number % 2]
    text = f"The {FOODS[number % 8]} at table {number} was {word} and we sat by the window all evening."
    return Problem(**{
        "id": f"r{number}", "question": f"Review: {text}\nGood or bad?", "fields": {"text": text},
        "answer": LABELS[number % 2], "answer_type": "label", "labels": LABELS, **more,
    })  # fmt: skip


def edited(prompt):
    """What the editor replies, by the kind of edit: right, unflipped, a rewrite from scratch, prose."""
    text = re.search(r"^text: (.*)$", prompt, re.MULTILINE)[1]
    kind = re.search(r"^Kind of edit \((\w+)\)", prompt, re.MULTILINE)[1]
    word = next(word for word in WORDS if word in text)
    if "keeps the label" in prompt:
        return reply(("window", "door"))
    if kind == "negation":
        return reply(("window", "door"))
    if kind == "entity":
        return reply((text, "A train left the harbour before anybody had finished counting the many green umbrellas."))
    if kind == "insertion":
        return "I would say that it was not so nice after all."
    return reply((word, OPPOSITE[word]))


def reply(*edits, **more):
    """A well-formed reply."""
    rows = [{"field": "text", "old": old, "new": new} for old, new in edits]
    return json.dumps({"status": "ok", "edits": rows, **more})


def judged(prompt):
    """What a juror replies: what the review says; prose where it says neither."""
    text = re.search(r"^text: (.*)$", prompt, re.MULTILINE)[1]
    found = [label for word, label in WORDS.items() if word in text]
    return json.dumps({"label": found[0], "confidence": 0.9, "ambiguous": False}) if found else "Neither, I think."


class Books:
    """What the server was asked, and how it answers."""

    def __init__(self, edit=edited, judge=judged):
        self.edit, self.judge = edit, judge
        self.prompts, self.models, self.bodies = [], Counter(), Counter()
        self.stop_after = None
        """Answer nothing more after so many requests."""
        self.stopped = threading.Event()

    def answer(self, body):
        prompt = "\n".join(message["content"] for message in body["messages"])
        self.prompts.append(prompt)
        self.models[body["model"]] += 1
        self.bodies[json.dumps(body, sort_keys=True)] += 1
        return (self.judge if "Read one item" in prompt else self.edit)(prompt)


@contextmanager
def serving(books):
    """Yield the address of the server."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if books.stop_after is not None and len(books.prompts) >= books.stop_after:
                books.stopped.set()
                return
            text = books.answer(body)
            message = {"choices": [{"index": 0, "message": {"content": text}, "finish_reason": "stop"}],
                       "usage": {"prompt_tokens": 100, "completion_tokens": 20}}  # fmt: skip
            data = json.dumps(message).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args):
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def recipe(url, folder, *, jurors=("juror",), **more):
    """A recipe whose first teacher edits and whose others judge."""
    teachers = [
        {"base_url": url, "model": name, "api_key_env": None, "weight": float(at == 0), "max_retries": 0, "seed": 0}
        for at, name in enumerate(("editor", *jurors))
    ]
    table = {"kinds": list(KINDS), "signature_frac": 1.0, **more.pop("counterfactual", {})}
    tables = {"method": "counterfactual", "problems": {"source": "given"}, "teachers": teachers,
              "ledger": str(folder / "ledger.sqlite"), "counterfactual": table}  # fmt: skip
    return Recipe.model_validate({**tables, **more})
