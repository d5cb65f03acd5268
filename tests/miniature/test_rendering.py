"""Streams, as a client reads them."""

import http.client
import json

import pytest


def stream(server, path, **body):
    """Send a streaming request; returns the events' data."""
    host, port = server.base_url.removeprefix("http://").removesuffix("/v1").split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=30)
    connection.request("POST", path, json.dumps({"model": "m", "stream": True, **body}))
    answer = connection.getresponse()
    assert answer.headers["Content-Type"] == "text/event-stream"
    events = answer.read().decode().split("\n\n")
    connection.close()
    return [event.removeprefix("data: ") for event in events if event]


def test_a_streamed_chat_is_the_whole_text_in_pieces(teacher_server):
    """The role first, the finish last, usage in a chunk of its own, then [DONE]."""
    server = teacher_server()
    messages = [{"role": "user", "content": "Q: a\nA:"}]
    *chunks, end = stream(
        server, "/v1/chat/completions", messages=messages, seed=1, stream_options={"include_usage": True}
    )
    rows = [json.loads(chunk) for chunk in chunks]
    deltas = [row["choices"][0] for row in rows if row["choices"]]
    connection = http.client.HTTPConnection(*server.base_url.split("/")[2].split(":"))
    connection.request("POST", "/v1/chat/completions", json.dumps({"model": "m", "messages": messages, "seed": 1}))
    whole = json.loads(connection.getresponse().read())
    connection.close()
    assert end == "[DONE]"
    assert deltas[0]["delta"]["role"] == "assistant"
    assert "".join(d["delta"].get("content", "") for d in deltas) == whole["choices"][0]["message"]["content"]
    assert [d["finish_reason"] for d in deltas if d["finish_reason"]] == ["stop"]
    assert rows[-1]["usage"] == whole["usage"]


@pytest.mark.parametrize(("done", "usage"), [(False, True), (True, False)])
def test_a_stream_may_lack_its_end_or_its_usage(teacher_server, done, usage):
    """As transformers serve and llama.cpp do."""
    events = stream(
        teacher_server(done=done, usage=usage), "/v1/completions", prompt="a", stream_options={"include_usage": True}
    )
    assert (events[-1] == "[DONE]") == done
    assert any('"usage"' in event for event in events) == usage
