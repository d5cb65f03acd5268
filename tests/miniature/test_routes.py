"""What each route answers, what each fault looks like on the wire, and what is billed."""

import http.client
import json
import socket
import struct

import pytest

FAULTS = ["429", "500", "503", "html", "reset", "drop", "trunc", "empty", "length"]


def call(server, method, path, body=None, **headers):
    """Send one request; returns (status, content type, headers, body)."""
    host, port = server.base_url.removeprefix("http://").removesuffix("/v1").split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=30)
    try:
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        connection.request(method, path, data, headers)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def ask(server, content="Q: a\nA:", **fields):
    headers = fields.pop("headers", {})
    body = {"model": "m", "messages": [{"role": "user", "content": content}], **fields}
    status, _, raw = call(server, "POST", "/v1/chat/completions", body, **headers)
    return status, json.loads(raw)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/health", 200),
        ("GET", "/v1/models", 200),
        ("GET", "/v1/models?limit=3", 200),
        ("GET", "/", 404),
        ("POST", "/v1/embeddings", 404),
        ("GET", "/v1/chat/completions", 405),
        ("DELETE", "/v1/models", 405),
        ("GET", "/stats?expect=many", 400),
    ],
)
def test_routes(teacher_server, method, path, status):
    """Unknown routes and methods get the OpenAI error shape."""
    found, headers, raw = call(teacher_server(), method, path)
    assert found == status
    assert ("error" in json.loads(raw)) == (status != 200)
    assert headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff\xfe", b"[" * 100_000])
def test_what_is_not_json_is_a_400(teacher_server, raw):
    """Whatever the bytes are."""
    status, _, body = call(teacher_server(), "POST", "/v1/chat/completions", raw)
    assert (status, json.loads(body)["error"]["type"]) == (400, "invalid_request_error")


def test_an_answer_has_the_apis_shape(teacher_server):
    """Choices in order, usage that adds up, log-probabilities per token where asked for."""
    status, body = ask(teacher_server(), n=3, seed=1, logprobs=True)
    assert status == 200
    assert [choice["index"] for choice in body["choices"]] == [0, 1, 2]
    assert body["usage"]["total_tokens"] == body["usage"]["prompt_tokens"] + body["usage"]["completion_tokens"]
    choice = body["choices"][0]
    assert "".join(row["token"] for row in choice["logprobs"]["content"]) == choice["message"]["content"]
    assert all(row["logprob"] < 0 for row in choice["logprobs"]["content"])


@pytest.mark.parametrize(("mode", "expected"), [("honour", (200, 3)), ("ignore", (200, 1)), ("reject", (400, 0))])
def test_n_is_honoured_ignored_or_rejected(teacher_server, mode, expected):
    """As real servers do."""
    status, body = ask(teacher_server(n_mode=mode), n=3)
    assert (status, len(body.get("choices", []))) == expected


@pytest.mark.parametrize(("mode", "status"), [("null", 200), ("reject", 400)])
def test_log_probabilities_may_be_missing_or_refused(teacher_server, mode, status):
    """Silently null, or a 400."""
    found, body = ask(teacher_server(logprobs_mode=mode), logprobs=True)
    assert found == status
    assert body.get("choices", [{"logprobs": None}])[0]["logprobs"] is None


def test_a_key_is_required_where_one_is_set(teacher_server):
    """401 without it and with a wrong one, and nothing is billed."""
    server = teacher_server(api_key="k1")
    wrong = {"Authorization": "Bearer k2"}
    assert ask(server)[0] == 401
    assert ask(server, headers=wrong)[1]["error"]["code"] == "invalid_api_key"
    assert call(server, "GET", "/v1/models")[0] == 401
    assert ask(server, headers={"Authorization": "Bearer k1"})[0] == 200
    assert server.stats()["billed_requests"] == 1


def test_an_unknown_model_is_a_404(teacher_server):
    """Where a list of models is given, only those are served."""
    server = teacher_server(models="m, other")
    assert ask(server)[0] == 200
    status, body = ask(server, model="gpt-9")
    assert (status, body["error"]["code"]) == (404, "model_not_found")
    assert [row["id"] for row in json.loads(call(server, "GET", "/v1/models")[2])["data"]] == ["m", "other"]


def test_reasoning_content_is_an_option(teacher_server):
    """As a reasoning model returns it, beside the content."""
    message = ask(teacher_server(reasoning=True), seed=1)[1]["choices"][0]["message"]
    assert message["content"].startswith(message["reasoning_content"])


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_has_its_face_and_its_price(teacher_server, fault):
    """What comes back, and whether it was billed."""
    server = teacher_server(**{f"p_{fault}": 1.0}, retry_after=0.25)
    body = {"model": "m", "messages": [{"role": "user", "content": "Q: a\nA:"}]}
    status, headers, raw = None, {}, b""
    try:
        status, headers, raw = call(server, "POST", "/v1/chat/completions", body)
    except http.client.IncompleteRead:
        status = "cut"
    except (http.client.RemoteDisconnected, ConnectionResetError):
        status = "nothing"
    faces = {"429": 429, "500": 500, "503": 503, "html": 502, "reset": "nothing", "drop": "cut"}
    assert status == faces.get(fault, 200)
    if fault in ("429", "503"):
        assert (headers["Retry-After"], headers["retry-after-ms"]) == ("0.25", "250")
    if fault == "html":
        assert headers["Content-Type"] == "text/html"
    if fault == "trunc":
        with pytest.raises(json.JSONDecodeError):
            json.loads(raw)
    if fault == "empty":
        assert json.loads(raw)["choices"][0]["message"]["content"] is None
    if fault == "length":
        assert json.loads(raw)["choices"][0]["finish_reason"] == "length"
    stats = server.stats()
    assert stats["faults"] == {fault: 1}
    assert stats["billed_requests"] == (fault in ("drop", "trunc", "empty", "length"))
    assert stats["in_flight"] == 0


def test_a_hanging_request_is_billed_and_then_cut(teacher_server):
    """The client's own timeout must fire first in real life; here the server gives up soon."""
    server = teacher_server(p_hang=1.0, hang_s=0.05)
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        ask(server)
    assert (server.stats()["billed_requests"], server.stats()["in_flight"]) == (1, 0)


@pytest.mark.parametrize(("bill_gone", "billed"), [(True, 1), (False, 0)])
def test_a_client_that_leaves_is_noted_and_billed_by_default(teacher_server, bill_gone, billed):
    """As after a SIGKILL: the answer is generated all the same."""
    server = teacher_server(latency=0.3, bill_gone=bill_gone)
    host, port = server.base_url.removeprefix("http://").removesuffix("/v1").split(":")
    raw = json.dumps({"model": "m", "prompt": "Q: a\nA:"}).encode()
    with socket.create_connection((host, int(port))) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        head = f"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(raw)}\r\n\r\n"
        connection.sendall(head.encode() + raw)
        while server.stats()["in_flight"] == 0:
            pass
    while server.stats()["in_flight"]:
        pass
    stats = server.stats()
    assert (stats["client_gone"], stats["billed_requests"]) == (1, billed)


def test_duplicates_are_counted_by_body(teacher_server):
    """`dup_requests` is what was billed beyond the expected number of times."""
    server = teacher_server()
    for seed in (1, 1, 1, 2):
        ask(server, seed=seed)
    assert server.stats()["dup_requests"] == 2
    assert server.stats(expect=2)["dup_requests"] == 1
    assert server.stats(expect=3)["dup_requests"] == 0
    assert (server.stats()["distinct_bodies"], server.stats()["distinct_prompts"]) == (2, 1)


def test_the_order_of_keys_does_not_make_another_body(teacher_server):
    """A body is compared as sorted JSON."""
    server = teacher_server()
    for raw in (b'{"model": "m", "prompt": "a"}', b'{"prompt":"a","model":"m"}'):
        call(server, "POST", "/v1/completions", raw)
    assert server.stats()["dup_requests"] == 1


def test_the_rate_limit_answers_429_with_how_long_to_wait(teacher_server):
    """A burst of two, then none for a long time."""
    server = teacher_server(rate=0.01, burst=2.0)
    assert [ask(server)[0] for _ in range(3)] == [200, 200, 429]


def test_too_many_at_once_get_503(teacher_server):
    """With a limit of one, a second request that arrives meanwhile is turned away."""
    server = teacher_server(max_concurrent=1, latency=0.5)
    host, port = server.base_url.removeprefix("http://").removesuffix("/v1").split(":")
    raw = json.dumps({"model": "m", "prompt": "Q: a\nA:"})
    first = http.client.HTTPConnection(host, int(port))
    first.request("POST", "/v1/completions", raw)
    while server.stats()["in_flight"] == 0:
        pass
    assert ask(server)[0] == 503
    assert first.getresponse().status == 200
    first.close()


def test_knobs_change_at_run_time_and_a_reset_forgets(teacher_server):
    """/config changes, /reset empties the books and the draws begin again."""
    server = teacher_server()
    assert ask(server)[0] == 200
    assert server.config(p_500=1.0)["p_500"] == 1.0
    assert ask(server)[0] == 500
    server.reset()
    server.config(p_500=0.0)
    assert server.stats()["requests"] == 0
    assert call(server, "POST", "/config", {"p_5000": 1})[0] == 400


def test_without_a_seed_equal_requests_differ_and_a_reset_repeats_them(teacher_server):
    """A run can be repeated."""
    server = teacher_server(wrong=0.5)

    def draw():
        return [ask(server)[1]["choices"][0]["message"]["content"] for _ in range(12)]

    first = draw()
    server.reset()
    assert len(set(first)) > 1
    assert draw() == first
