"""`potstill review` as a command."""

import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from urllib.parse import urlencode

import pytest

from potstill.cli import main
from potstill.review import decisions
from potstill.review.indexing import index_once


@pytest.fixture
def run(tmp_path):
    """A run of four problems that two students answered."""
    for name in ("good", "bad"):
        rows = [
            {"id": f"{name}{n}", "problem_id": f"p{n}", "kind": "cot", "text": f"{name} text", "author": name}
            for n in range(4)
        ]
        verdicts = [{"rationale_id": row["id"], "status": "CORRECT", "answer": "1"} for row in rows]
        for folder, lines in (("predictions", rows), ("verdicts", verdicts)):
            (tmp_path / folder).mkdir(exist_ok=True)
            (tmp_path / folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    problems = [{"id": f"p{n}", "question": "How many?", "answer": "1", "split": "test"} for n in range(4)]
    (tmp_path / "problems.jsonl").write_text("".join(json.dumps(line) + "\n" for line in problems))
    return tmp_path


def asked(port, path, **headers):
    """Return status and headers of a request."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status, answer.headers


def test_the_server_prints_its_address_serves_and_stops(run):
    """One line with white space after the address; a foreign Host gets 4xx; SIGTERM ends it with 0."""
    command = [sys.executable, "-m", "potstill", "review", str(run), "--no-browser", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        line = process.stdout.readline()
        port, path = re.fullmatch(r"http://127\.0\.0\.1:(\d+)(/\S*)\s+", line).groups()
        status, headers = asked(int(port), path)
        assert (status, headers["Location"]) == (303, "/")
        assert asked(int(port), "/", Cookie=headers["Set-Cookie"].split(";")[0])[0] == 200
        assert 400 <= asked(int(port), path, Host="evil.example")[0] < 500
        assert 400 <= asked(int(port), "/")[0] < 500
        process.terminate()
        assert process.wait(timeout=60) == 0


def test_a_server_that_is_killed_loses_no_decision_that_it_confirmed(run):
    """SIGKILL while decisions come in: each that was answered is on disk, and the next writer goes on."""
    index_once(run)
    command = [sys.executable, "-m", "potstill", "review", str(run), "--no-browser", "--reviewer", "Ada"]
    confirmed = []

    def decide(port, cookie):
        with suppress(http.client.HTTPException, OSError):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            connection.request("GET", "/?stage=predictions", headers={"Cookie": cookie})
            page = connection.getresponse().read().decode()
            cards = re.findall(r'name="n" value="(\d+)"/><input type="hidden" name="seal" value="([^"]+)"', page)
            for number in range(10_000):
                n, seal = cards[number % len(cards)]
                form = urlencode({"n": n, "seal": seal, "action": "accept", "reason": f"reason {number}"})
                headers = {"Cookie": cookie, "Accept": "application/json",
                           "Content-Type": "application/x-www-form-urlencoded"}  # fmt: skip
                connection.request("POST", "/decide", body=form, headers=headers)
                assert json.loads(connection.getresponse().read())["state"] == "accepted"
                confirmed.append(f"reason {number}")

    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        port, path = re.fullmatch(r"http://127\.0\.0\.1:(\d+)(/\S*)\s+", process.stdout.readline()).groups()
        cookie = asked(int(port), path)[1]["Set-Cookie"].split(";")[0]
        thread = threading.Thread(target=decide, args=(int(port), cookie))
        thread.start()
        while len(confirmed) < 20 and thread.is_alive():
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        thread.join()
    kept = {row["reason"] for row in decisions.rows_of(run)}
    assert len(confirmed) >= 20
    assert set(confirmed) <= kept
    decisions.append(run, {"by": "Ada", "action": "accept", "stage": "predictions", "job": "good", "record": "good0"})
    assert len(list(decisions.rows_of(run))) == len(kept) + 1


def test_the_result_of_a_comparison_is_printed_as_json(run, capsys):
    """Without a server; nothing judged is no rate."""
    assert main(["review", str(run), "--compare", "good", "bad", "--both-right", "--pairs", "3", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["a"], result["pairs"], result["judged_pairs"], result["rate"]) == ("good", 3, 0, None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "review: no run given; name its directory"),
        (["absent"], "absent: no such folder; give a run directory"),
        (["RUN", "--reviewer", "x" * 61], "reviewer: .* of 1 to 60 letters"),
        (["RUN", "--compare", "good", "good", "--no-browser"], "'good' is given twice"),
        (
            ["RUN", "--compare", "good", "worse", "--json"],
            "'worse' is no source of this run; expected one of bad, good",
        ),
        (["RUN", "--port", "PORT", "--no-browser"], "port .* cannot be used .* choose another with --port"),
        (["RUN", "--port", "99999", "--no-browser"], "port 99999 cannot be used"),
    ],
)
def test_what_cannot_be_served_is_one_message(run, capsys, arguments, message):
    """And exit code 1."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        names = {"RUN": str(run), "PORT": str(taken.getsockname()[1])}
        assert main(["review", *(names.get(word, word) for word in arguments)]) == 1
    assert re.search(message, capsys.readouterr().err)
