"""One exchange: what is sent, what is never shown, what a failure is called."""

import asyncio
import contextlib
import json
import ssl

import pytest
from loopback_endpoints import asking, http, pointing

from potstill.errors import ConfigError
from potstill.teachers.openai import OpenAIEndpoint
from potstill.teachers.responses import Failure, Reply

KEY = "sk-very-secret-key"
GOOD = json.dumps({"choices": [{"index": 0, "message": {"content": "hi"}, "finish_reason": "stop"}]})


async def exchange(config, request=None, indices=(0,)):
    """Send one request; returns the outcome."""
    request = request or asking("q")
    endpoint = OpenAIEndpoint(config)
    try:
        return await endpoint.send(request, endpoint.prepare(request), indices)
    finally:
        await endpoint.aclose()


async def test_the_body_holds_what_was_asked_and_nothing_else(raw_server):
    """Unset fields are left out; n = 1 is not sent; further fields go as they are."""
    url, raw = await raw_server(lambda head, body: http(200, GOOD))
    request = asking(
        "q ü", temperature=0.5, stop=("\n",), logprobs=True, extra={"top_k": 3}, problem_id="p", kind="cot"
    )
    assert isinstance(await exchange(pointing(url), request, [0, 1]), Reply)
    assert isinstance(await exchange(pointing(url), asking("q", seed=None)), Reply)
    first, second = (json.loads(body) for _, body in raw.requests)
    assert first == {
        "model": "m", "messages": [{"role": "user", "content": "q ü"}], "temperature": 0.5, "max_tokens": 256,
        "stop": ["\n"], "logprobs": True, "top_k": 3, "seed": request.seed_of(0), "n": 2,
    }  # fmt: skip
    assert second == {"model": "m", "messages": [{"role": "user", "content": "q"}], "max_tokens": 256}
    assert raw.requests[0][0].startswith("POST /v1/chat/completions HTTP/1.1\r\n")


async def test_a_prompt_goes_to_the_plain_completions_api(raw_server):
    """Where log-probabilities are asked for by number."""
    body = json.dumps({"choices": [{"index": 0, "text": "hi", "finish_reason": "length"}]})
    url, raw = await raw_server(lambda head, _: http(200, body))
    outcome = await exchange(pointing(url + "/"), asking("", messages=(), prompt="Q: q\nA:", logprobs=True))
    assert outcome.choices[0].finish == "length"
    assert raw.requests[0][0].startswith("POST /v1/completions HTTP/1.1\r\n")
    assert json.loads(raw.requests[0][1]) == {
        "model": "m", "prompt": "Q: q\nA:", "max_tokens": 256, "logprobs": 1, "seed": asking("").seed_of(0),
    }  # fmt: skip


async def test_a_cap_under_another_name_replaces_max_tokens(raw_server):
    """Some models refuse `max_tokens`."""
    url, raw = await raw_server(lambda head, body: http(200, GOOD))
    await exchange(pointing(url), asking("q", extra={"max_completion_tokens": 7}))
    sent = json.loads(raw.requests[0][1])
    assert sent["max_completion_tokens"] == 7
    assert "max_tokens" not in sent


async def test_the_key_comes_from_the_environment_and_headers_from_the_recipe(raw_server, monkeypatch):
    """White space around a key, as files leave it, is not part of it."""
    monkeypatch.setenv("MY_KEY", f"{KEY}\n")
    url, raw = await raw_server(lambda head, body: http(200, GOOD))
    await exchange(pointing(url, api_key_env="MY_KEY", headers={"X-Route": "b"}))
    head = raw.requests[0][0]
    assert f"Authorization: Bearer {KEY}\r\n" in head
    assert "X-Route: b\r\n" in head


@pytest.mark.parametrize("form", ["key", "header", "password", "query"])
async def test_no_secret_is_in_a_message_or_in_a_repr(raw_server, monkeypatch, form):
    """Not even where the server repeats it."""
    monkeypatch.setenv("MY_KEY", KEY)
    said = http(401, json.dumps({"error": {"message": f"Incorrect API key provided: {KEY}"}}))
    url, _ = await raw_server(lambda head, body: said)
    config = {
        "key": pointing(url, api_key_env="MY_KEY"),
        "header": pointing(url, headers={"Authorization": "Token ${MY_KEY}"}),
        "password": pointing(url.replace("//", "//user:${MY_KEY}@")),
        "query": pointing(f"{url}?api-key={KEY}"),
    }[form]
    endpoint = OpenAIEndpoint(config.resolved())
    outcome = await endpoint.send(asking("q"), endpoint.prepare(asking("q")), [0])
    error = endpoint.refused(outcome, asking("q"))
    await endpoint.aclose()
    assert "Incorrect API key provided" in str(error)
    for shown in (str(error), repr(error), repr(endpoint), repr(outcome), endpoint.address):
        assert KEY not in shown


async def test_a_redirect_is_not_followed(raw_server):
    """A key goes to the address that was configured and to no other."""
    elsewhere, other = await raw_server(lambda head, body: http(200, GOOD))
    url, _ = await raw_server(lambda head, body: http(307, "", Location=elsewhere))
    config = pointing(url)
    outcome = await exchange(config)
    assert (outcome.kind, outcome.code) == ("user", "http_307")
    assert "redirects elsewhere" in str(OpenAIEndpoint(config).refused(outcome, asking("q")))
    assert other.requests == []


@pytest.mark.parametrize(
    ("answer", "kind", "code", "billed"),
    [
        (b"", "broken", "disconnected", False),
        (b"not http\r\n\r\n", "broken", "disconnected", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{", "broken", "dropped", True),
    ],
)
async def test_a_broken_connection_is_a_failure_that_may_have_been_billed(answer, kind, code, billed):
    """After a 200 has begun, it was."""

    async def talk(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(talk, "127.0.0.1", 0) as listening:
        outcome = await exchange(pointing(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/v1"))
    assert (outcome.kind, outcome.code, outcome.billed) == (kind, code, billed)


async def test_an_endless_answer_is_cut_off_and_is_a_failure(monkeypatch):
    """Memory must not depend on what a server sends; a chunked body declares no length."""
    monkeypatch.setattr("potstill.teachers.openai.MOST_BYTES", 1 << 16)

    async def talk(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(b"400\r\n" + b"x" * 1024 + b"\r\n")
                await writer.drain()
        writer.close()

    async with await asyncio.start_server(talk, "127.0.0.1", 0) as listening:
        outcome = await exchange(pointing(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/v1"))
    assert (outcome.kind, outcome.code, outcome.billed) == ("broken", "endless", True)


async def test_a_silent_server_times_out(server):
    """Within the timeout of the configuration; the answer may have been billed."""
    server.begin(p_hang=1.0, hang_s=5.0)
    outcome = await exchange(pointing(server.url, timeout_s=0.3))
    assert (outcome.kind, outcome.code, outcome.billed) == ("broken", "timeout", True)


async def test_a_closed_port_is_unreachable():
    """The message says what to check."""
    config = pointing("http://127.0.0.1:9/v1")
    outcome = await exchange(config)
    assert (outcome.kind, outcome.code) == ("unreachable", "connect")
    message = str(OpenAIEndpoint(config).unreachable(outcome))
    assert message.startswith("teacher http://127.0.0.1:9/v1: cannot be reached")
    assert "check that the server runs" in message


async def test_a_proxy_is_used_and_named_when_it_fails(raw_server, monkeypatch):
    """Requests go to the proxy; its password is not shown."""
    monkeypatch.setenv("MY_KEY", KEY)
    url, raw = await raw_server(lambda head, body: http(200, GOOD))
    assert isinstance(await exchange(pointing("http://127.0.0.1:9/v1", proxy=url)), Reply)
    assert raw.requests[0][0].startswith("POST http://127.0.0.1:9/v1/chat/completions HTTP/1.1\r\n")
    config = pointing(url, proxy="http://user:${MY_KEY}@127.0.0.1:9").resolved()
    outcome = await exchange(config)
    assert outcome.code == "proxy"
    message = str(OpenAIEndpoint(config).unreachable(outcome))
    assert "the proxy http://127.0.0.1:9" in message
    assert KEY not in message


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"base_url": "localhost:8000"}, r"teacher.base_url: got .*expected an address"),
        ({"base_url": ""}, r"teacher.base_url: got ''"),
        ({"extra_body": {"stream": True}}, r"teacher.extra_body: sets 'stream'"),
        ({"extra_body": {"n": 3}}, r"teacher.extra_body: sets 'n'"),
        ({"ca_file": "absent.pem"}, r"teacher.ca_file: absent.pem is not a file"),
        ({"api_key_env": "NOT_SET"}, r"NOT_SET is not set; export the key under that name"),
        ({"headers": {"X-A": "a\r\nb"}}, r"teacher.headers.X-A: holds characters that a header cannot carry"),
    ],
)
def test_a_configuration_that_cannot_work_is_refused_at_once(changes, message):
    """Before anything is sent."""
    with pytest.raises(ConfigError, match=message):
        OpenAIEndpoint(pointing("http://h/v1").model_copy(update=changes))


def test_a_file_without_a_certificate_is_refused(tmp_path):
    """With the name of the key."""
    (tmp_path / "ca.pem").write_text("nothing")
    with pytest.raises(ConfigError, match=r"teacher.ca_file: .*holds no certificate"):
        OpenAIEndpoint(pointing("https://h/v1", ca_file=str(tmp_path / "ca.pem")))


def test_an_untrusted_certificate_names_the_option():
    """ca_file is what to give."""
    failure = Failure("unreachable", "tls", str(ssl.SSLError("CERTIFICATE_VERIFY_FAILED")))
    assert "give the authority's file as ca_file" in str(OpenAIEndpoint(pointing("https://h/v1")).unreachable(failure))


@pytest.mark.parametrize(
    ("status", "code", "part"),
    [
        (401, "http_401", r"no key was sent \(api_key_env is null\)"),
        (403, "http_403", "the key may not use model 'm'"),
        (404, "http_404", "model 'm' does not exist there, or base_url is wrong"),
        (402, "http_402", "no credit or quota left"),
        (429, "quota", "no credit or quota left"),
        (400, "http_400", "change the parameter that it names"),
    ],
)
def test_a_refusal_says_what_to_do(status, code, part):
    """Each in its own words, with the server's."""
    with pytest.raises(Exception, match=part) as caught:
        raise OpenAIEndpoint(pointing("http://h/v1")).refused(Failure("user", code, "said so", status), asking("q"))
    assert "said so" in str(caught.value)
    assert caught.value.status == status
