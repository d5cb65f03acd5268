"""The server as a process: start, address, end, and that it serves this machine only."""

import asyncio
import http.client
import json
import os
import signal
import subprocess
import sys
import urllib.request

import pytest

from potstill.errors import ConfigError
from potstill.miniature.answering import canned_writer
from potstill.miniature.server import launched, parser, serving


def start(*options, stdin=subprocess.DEVNULL):
    command = [sys.executable, "-m", "potstill.miniature.server", "--canned", "100", *options]
    return subprocess.Popen(command, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ask(base_url, **body):
    request = urllib.request.Request(base_url + "/chat/completions", json.dumps(body).encode())
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def test_prints_its_address_with_white_space_after_it_and_ends_cleanly_on_sigterm():
    """Scripts wait for the line, use its first word, and stop the server with SIGTERM."""
    with start() as process:
        line = process.stdout.readline()
        with urllib.request.urlopen(line.split()[0].removesuffix("/v1") + "/health", timeout=30) as answer:
            status = answer.status
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
        assert line.startswith("http://127.0.0.1:")
        assert line.endswith("/v1 \n")
        assert status == 200
        assert process.stderr.read() == ""


def test_sigterm_ends_it_while_requests_are_in_flight():
    """A hanging request does not keep the server alive."""
    with start("--latency", "60") as process:
        host, port = process.stdout.readline().split()[0].removeprefix("http://").removesuffix("/v1").split(":")
        connection = http.client.HTTPConnection(host, int(port))
        body = {"model": "m", "messages": [{"role": "user", "content": "Q: a\nA:"}]}
        connection.request("POST", "/v1/chat/completions", json.dumps(body))
        with urllib.request.urlopen(f"http://{host}:{port}/stats", timeout=30) as answer:
            in_flight = json.load(answer)["in_flight"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
        assert in_flight == 1
        connection.close()


def test_until_eof_ends_with_the_process_that_started_it():
    """When the starter's end of the pipe closes, for whatever reason, the server goes."""
    with start("--until-eof", stdin=subprocess.PIPE) as process:
        process.stdout.readline()
        process.stdin.close()
        assert process.wait(timeout=30) == 0


def test_a_taken_port_is_one_clear_message():
    """The port's number and what to do; exit code 1, no traceback."""
    with start() as first:
        port = first.stdout.readline().split()[0].removesuffix("/v1").rpartition(":")[2]
        with start("--port", port) as second:
            assert second.wait(timeout=30) == 1
            assert second.stderr.read().startswith(f"server.port: {port} cannot be used")
        first.terminate()


async def test_it_refuses_to_leave_loopback():
    """A host that other machines could reach is an error."""
    with pytest.raises(ConfigError, match=r"server.host: got '0.0.0.0'"):
        async with serving(canned_writer(10, 0.0), host="0.0.0.0"):
            pass


async def test_serves_inside_a_running_event_loop():
    """`serving` needs no process of its own."""
    async with serving(canned_writer(100, 0.0)) as address:
        answer = await asyncio.to_thread(ask, address, model="m", messages=[{"role": "user", "content": "Q: a"}])
    assert "So the answer is: " in answer["choices"][0]["message"]["content"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "127.0.0.1:9"}, 200),
        ({"Host": "localhost"}, 200),
        ({"Host": "[::1]:80"}, 200),
        ({"Host": "example.com"}, 403),
        ({"Host": "127.0.0.1.example.com"}, 403),
        ({"Host": "127.0.0.1@example.com"}, 403),
        ({"Host": ""}, 403),
        ({"Host": "localhost", "Origin": "https://example.com"}, 403),
        ({"Host": "localhost", "Origin": "null"}, 403),
        ({"Host": "localhost", "Origin": "http://localhost:3000"}, 200),
    ],
)
def test_answers_a_foreign_host_or_origin_with_403(teacher_server, headers, status):
    """A page elsewhere on the web cannot use the server through the user's browser."""
    host, port = teacher_server().base_url.removeprefix("http://").removesuffix("/v1").split(":")
    connection = http.client.HTTPConnection(host, int(port))
    connection.putrequest("GET", "/v1/models", skip_host=True)
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    assert answer.status == status
    assert ("error" in json.loads(answer.read())) == (status != 200)
    connection.close()


def test_the_embedded_teacher_reads_the_question_and_answers_it():
    """Without `canned`, the miniature's own teacher writes: twice the same for a seed, another for another."""
    from potstill.miniature import teacher

    with launched() as base_url:
        prompt = "Q: Old question?\nA: Old. So the answer is: 1\n\nQ: Which square is reached?\nA:"
        messages = [{"role": "user", "content": prompt}]
        texts = [
            ask(base_url, model="m", messages=messages, seed=3)["choices"][0]["message"]["content"] for _ in range(2)
        ]
    assert texts == [teacher.UNREAD] * 2


def test_every_knob_is_an_option():
    """The command line and POST /config know the same knobs."""
    options = vars(parser().parse_args(["--p-429", "0.1", "--usage", "no", "--n-mode", "ignore"]))
    assert (options["p_429"], options["usage"], options["n_mode"]) == (0.1, False, "ignore")


def test_the_log_is_on_disk_before_the_server_is_killed(tmp_path):
    """The witness survives a SIGKILL of the server."""
    log = tmp_path / "log.jsonl"
    with start("--log", str(log)) as process:
        base_url = process.stdout.readline().split()[0]
        ask(base_url, model="m", messages=[{"role": "user", "content": "Q: a"}], n=2)
        urllib.request.urlopen(base_url.removesuffix("/v1") + "/stats", timeout=30).close()
        os.kill(process.pid, signal.SIGKILL)
    row = json.loads(log.read_text())
    assert (row["n"], row["status"], row["billed"], row["fault"], row["client_gone"]) == (2, 200, 2, None, False)
