"""The suite of attacks: run through the whole engine, and through tier 2 alone, under watch."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.sandbox.attacks import ATTACKS

from potstill.sandbox.routing import choose_route

SECRET = "SAND" + "CASTLE-7"


class Watch:
    """What attacks aim at, and whether anything reached it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.chmod(0o777)
        self.secret = folder / "secret.txt"
        self.secret.write_text(SECRET)
        self.secret.chmod(0o666)
        self.before = self.state()
        self.tcp, self.udp = socket.socket(), socket.socket(type=socket.SOCK_DGRAM)
        self.tcp.bind(("127.0.0.1", 0))
        self.port = self.tcp.getsockname()[1]
        self.udp.bind(("127.0.0.1", self.port))
        self.name = f"potstill-{os.getpid()}"
        self.unix = socket.socket(socket.AF_UNIX)
        self.unix.bind("\0" + self.name)
        for listening in (self.tcp, self.unix):
            listening.listen()
        for watched in (self.tcp, self.udp, self.unix):
            watched.setblocking(False)

    def state(self) -> list[tuple[object, ...]]:
        """Return everything about the folder that an attack could change."""
        facts = [(path.name, path.stat().st_mode, path.stat().st_mtime) for path in sorted(self.folder.iterdir())]
        return [*facts, (self.secret.read_text() if self.secret.exists() else "gone",)]

    def contacted(self) -> list[str]:
        """Return which sockets were reached."""
        reached = []
        for name, knock in (("tcp", self.tcp.accept), ("unix", self.unix.accept), ("udp", lambda: self.udp.recv(9))):
            try:
                knock()
                reached.append(name)
            except BlockingIOError:
                pass
        return reached

    def close(self) -> None:
        for opened in (self.tcp, self.udp, self.unix):
            opened.close()


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Watch]:
    for parent in (tmp_path, *tmp_path.parents):
        if parent.name.startswith("pytest-"):
            # Nobody must be able to get there: what stops the attacks shall be the sandbox, not the folder's rights.
            parent.chmod(0o755)
    watched = Watch(tmp_path)
    yield watched
    watched.close()


def descendants() -> set[int]:
    """Return all processes that descend from this one."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            parents[int(entry.name)] = int(fields[1])
    found = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {os.getpid()}


def programs(watch: Watch) -> dict[str, str]:
    return {
        name: text.format(dir=watch.folder, port=watch.port, unix=watch.name)
        if "{dir}" in text or "{" in text
        else text
        for name, (_, text) in ATTACKS.items()
    }


BENIGN = {
    "import math\nans = math.sqrt(16) + len(str(12345))": "9.0",
    "import random\nclass A(list):\n    pass\nans = random.random()": "0.8444218515250481",
    "import json\ndef f():\n    yield json.dumps([1])\nprint(*f())": "[1]",
    "import sympy\nans = sympy.Rational(1, 3) + 1": "4/3",
}


def run_under_watch(opened, watch: Watch, texts: dict[str, str]) -> None:
    """Run the attacks, then benign programs; fail with the list of what got through."""
    for program in BENIGN:
        opened.run(program)
    opened.run(f"note = '{SECRET}'\nclass Kept(list):\n    text = note\nans = 1")
    processes = descendants()
    with ThreadPoolExecutor(opened.workers) as pool:
        results = dict(zip(texts, pool.map(opened.run, texts.values()), strict=True))
    wrong = {name: (r.status, r.answer, r.error) for name, r in results.items() if r.status not in ATTACKS[name][0]}
    assert wrong == {}, "these ended otherwise than a stopped program does"
    leaks = {name: r for name, r in results.items() if SECRET in f"{r.answer}{r.stdout}{r.error}"}
    assert leaks == {}, "these brought the secret back"
    assert watch.state() == watch.before, "something was written, renamed or deleted"
    assert watch.contacted() == [], "something was sent"
    assert {name for name, r in results.items() if (r.rss_mb or 0) > 700} == set(), "these took too much memory"
    assert max(len(r.stdout) for r in results.values()) <= opened.config.max_output_bytes
    after = {program: opened.run(program).answer for program in BENIGN}
    assert after == BENIGN, "a later program was affected"
    deadline = time.monotonic() + 10
    while (left := descendants() - processes) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(left) <= 2 * opened.workers, "processes were left behind"


def test_no_attack_gets_through_the_two_tiers(sandbox, watch, monkeypatch):
    """Nothing is written, read, sent, spawned, leaked or left behind, and later programs are unaffected."""
    monkeypatch.setenv("SANDBOX_SECRET", SECRET)
    run_under_watch(sandbox, watch, programs(watch))


def test_no_attack_gets_through_cpython_alone(cpython, watch, monkeypatch):
    """The same where Monty's refusals do not help: what it would have been asked first runs as real Python."""
    monkeypatch.setenv("SANDBOX_SECRET", SECRET)
    texts = {name: text for name, text in programs(watch).items() if choose_route(text).engine == "monty"}
    assert len(texts) > 20
    run_under_watch(cpython, watch, texts)
