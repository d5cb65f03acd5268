"""The HTTP protocol, spoken byte by byte."""

import json
import socket
import time

import pytest

BODY = json.dumps({"model": "m", "messages": [{"role": "user", "content": "Q: a\nA:"}], "seed": 1}).encode()


def connect(server):
    host, port = server.base_url.removeprefix("http://").removesuffix("/v1").split(":")
    return socket.create_connection((host, int(port)), timeout=30)


def post(body=BODY, path="/v1/chat/completions", extra=""):
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n{extra}\r\n"
    return head.encode() + body


def read_answers(connection, count):
    """Read `count` responses; returns [(status, body)]."""
    file = connection.makefile("rb")
    answers = []
    for _ in range(count):
        status = int(file.readline().split()[1])
        length = 0
        while (line := file.readline().strip()) != b"":
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        answers.append((status, file.read(length)))
    return answers


def test_pipelined_requests_are_answered_in_order(teacher_server):
    """Ten requests, in one packet and one by one, give ten answers, each to its own question in its own turn."""
    server = teacher_server(latency=0.01, jitter=1.0)
    bodies = [json.dumps({"model": str(i), "prompt": f"Q: {i}\nA:"}).encode() for i in range(10)]
    with connect(server) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(b"".join(post(body, "/v1/completions") for body in bodies[:3]))
        for body in bodies[3:]:
            time.sleep(0.001)  # a packet of its own
            connection.sendall(post(body, "/v1/completions"))
        answers = read_answers(connection, 10)
    assert [status for status, _ in answers] == [200] * 10
    assert [json.loads(body)["model"] for _, body in answers] == [str(i) for i in range(10)]


def test_a_request_may_arrive_byte_by_byte(teacher_server):
    """A slow sender is waited for."""
    with connect(teacher_server()) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in post():
            connection.sendall(bytes([byte]))
        assert read_answers(connection, 1)[0][0] == 200


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET /v1/models HTTP/1.1\r\n\r\n", 400),
        (b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n", 411),
        (b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n", 413),
        (b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 70_000, 431),
    ],
)
def test_what_is_no_request_is_refused_and_the_connection_closed(teacher_server, sent, status):
    """Malformed bytes get one answer in the error shape, then the end of the stream."""
    with connect(teacher_server()) as connection:
        connection.sendall(sent)
        found, body = read_answers(connection, 1)[0]
        assert found == status
        assert json.loads(body)["error"]["message"]
        assert connection.recv(1) == b""


def test_expect_continue_is_answered_before_the_body(teacher_server):
    """A client that asks first is told to go on."""
    request = post(extra="Expect: 100-continue\r\n")
    with connect(teacher_server()) as connection:
        head, _, body = request.partition(b"\r\n\r\n")
        connection.sendall(head + b"\r\n\r\n")
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert read_answers(connection, 1)[0][0] == 200


def test_connection_close_is_obeyed(teacher_server):
    """The server closes after the answer when it is asked to."""
    with connect(teacher_server()) as connection:
        connection.sendall(post(extra="Connection: close\r\n"))
        assert read_answers(connection, 1)[0][0] == 200
        assert connection.recv(1) == b""
