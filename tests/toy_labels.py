"""A toy of labelled texts, and a teacher of it on loopback that writes views and reads masked reasoning."""

import json
import re
import threading
from collections import Counter
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from potstill.records import Problem

LABELS = ("up", "down")
VERBS = {"up": "rises", "down": "falls"}
PLACES = ("north", "south", "east", "west", "river", "hill", "lake", "road", "field", "town")


def original(number, split="train"):
    """Problem number i: an even one goes up."""
    label = LABELS[number % 2]
    return _problem(f"{split}{number}", split, label, f"the {PLACES[number % 10]} price {VERBS[label]} on day {number}")


def counterfactual(parent):
    """The other label, by one word."""
    label = other(parent.answer)
    text = parent.fields["text"].replace(VERBS[parent.answer], VERBS[label])
    edits = [[VERBS[parent.answer], VERBS[label]]]
    return _edited(
        parent, f"{parent.id}.cf", label, text, {"role": "counterfactual", "kind": "relation", "edits": edits}
    )


def invariant(parent):
    """The same label, by one word."""
    text = parent.fields["text"].replace("price", "cost")
    edits = [["price", "cost"]]
    return _edited(
        parent, f"{parent.id}.same", parent.answer, text, {"role": "invariant", "kind": "entity", "edits": edits}
    )


def other(label):
    return LABELS[1 - LABELS.index(label)]


def _edited(parent, name, label, text, said):
    meta = {"counterfactual": {**said, "field": "text", "from": parent.answer, "to": label, "pair": parent.id}}
    return _problem(name, parent.split, label, text, parent_id=parent.id, meta=meta)


def _problem(name, split, label, text, **more):
    return Problem(id=name, question=f"Text: {text}\nup or down?", fields={"text": text}, answer=label, labels=LABELS,
                   answer_type="label", split=split, **more)  # fmt: skip


def written(prompt):
    """What the teacher says; without being told it gets the texts of a lake wrong."""
    text = re.search(r"^text: (.*)$", prompt, re.MULTILINE)[1]
    told = re.search(r"^Label: (\w+)$", prompt, re.MULTILINE)
    label = "up" if "rises" in text else "down"
    if "lake" in text and told is None:
        label = other(label)
    label = told[1] if told else label
    if "rules it out" in prompt:
        return f"It {VERBS[label]}, so {other(label)} is ruled out. So the answer is: {label}"
    return f"The text says that it {VERBS[label]}. So the answer is: {label}"


def read(prompt):
    """What the reader of masked reasoning answers: what the verb says, prose where a town is spoken of."""
    label = "up" if "rises" in prompt else "down" if "falls" in prompt else None
    return json.dumps({"label": label, "none": label is None})


class Books:
    """What the server was asked."""

    def __init__(self):
        self.prompts = []
        self.bodies = Counter()
        self.url = ""

    @property
    def bought_twice(self):
        return sum(count - 1 for count in self.bodies.values())


@contextmanager
def label_server(write=written, support=read):
    """Serve the teacher; yields its books."""
    books = Books()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            raw = self.rfile.read(int(self.headers["Content-Length"]))
            body = json.loads(raw)
            prompt = body["messages"][-1]["content"]
            books.prompts.append(prompt)
            books.bodies[raw] += 1
            text = support(prompt) if prompt.startswith("Which label does this reasoning support?") else write(prompt)
            usage = {"prompt_tokens": len(prompt.split()), "completion_tokens": len(text.split())}
            choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
            answer = json.dumps({"choices": [choice], "usage": usage}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *arguments):
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    books.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    try:
        yield books
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
