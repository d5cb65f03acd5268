"""What the benchmarks share: children that take turns, the machine, result files, peers in folders of their own."""

from __future__ import annotations

import contextlib
import io
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

FOLDER = Path(__file__).parent
RESULTS = FOLDER / "results"
PEERS = FOLDER / ".peers"
"""Peers that are installed for a benchmark, each into a folder of its own; not in the repository."""
Job = tuple[str, ...]


def interleaved(script: str, jobs: Sequence[Job], repeats: int) -> dict[Job, list[dict]]:
    """Run `script --child JOB` for every job, `repeats` times, each a process of its own, and return what they say.

    The order turns by one with every repeat, so that no job always meets the same neighbour.
    """
    found: dict[Job, list[dict]] = {job: [] for job in jobs}
    for repeat in range(repeats):
        for job in _turned(jobs, repeat):
            command = [sys.executable, script, "--child", *job]
            done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
            found[job].append(json.loads(done.stdout.splitlines()[-1]))
            print(f"{repeat + 1}/{repeats}", *job, json.dumps(found[job][-1]), file=sys.stderr, flush=True)
    return found


def _turned(jobs: Sequence[Job], repeat: int) -> list[Job]:
    turn = repeat % len(jobs)
    return [*jobs[turn:], *jobs[:turn]]


def taking_turns(
    script: str, jobs: Sequence[Job], repeats: int, *, among: Sequence[str] = (), best: str = ""
) -> dict[Job, list[dict]]:
    """Start `script --child JOB` for every job, ask each once to warm up and then `repeats` times in turns.

    Of the jobs that begin with a name in `among` only the one with the highest `best` in its first answer is asked on;
    the others' only answer is that one. Interrupted or terminated, it returns what is complete.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    children = {
        job: subprocess.Popen([sys.executable, script, "--child", *job], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              text=True)
        for job in jobs
    }  # fmt: skip
    try:
        first = {job: _ask(children[job], "warm", job) for job in jobs}
        rivals = [job for job in jobs if job[0] in among]
        left_out = set(rivals) - {max(rivals, key=lambda job: first[job][best])} if rivals else set()
        found = {job: [first[job]] if job in left_out else [] for job in jobs}
        asked = [job for job in jobs if job not in left_out]
        with contextlib.suppress(KeyboardInterrupt):
            for repeat in range(repeats):
                turn = {job: _ask(children[job], f"{repeat + 1}/{repeats}", job) for job in _turned(asked, repeat)}
                for job, answer in turn.items():
                    found[job].append(answer)
        if not all(found.values()):
            raise SystemExit("bench: interrupted before the first turn was complete; nothing is written")
        return found
    finally:
        for process in children.values():
            process.kill()
            process.communicate()


def _ask(process: subprocess.Popen[str], turn: str, job: Job) -> dict:
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write("go\n")
    process.stdin.flush()
    line = process.stdout.readline()
    if not line:
        raise SystemExit(f"bench: {' '.join(job)} ended without an answer; its error is above")
    print(turn, *job, line.strip(), file=sys.stderr, flush=True)
    answer: dict = json.loads(line)
    return answer


def answering(once: Callable[[], dict]) -> None:
    """Call `once` for every line on standard input and print what it says; whatever else is printed is kept quiet."""
    for _ in sys.stdin:
        with contextlib.redirect_stdout(io.StringIO()):
            said = once()
        print(json.dumps(said), flush=True)


def spread(values: Sequence[float], digits: int = 1) -> dict[str, float]:
    """Return the median, lowest and highest of some values."""
    numbers = {"value": statistics.median(values), "low": min(values), "high": max(values)}
    return {name: round(value, digits) for name, value in numbers.items()}


def machine() -> dict:
    """Return what the figures depend on."""
    return {
        "system": platform.platform(), "cpus": os.cpu_count(), "python": platform.python_version(),
        "load": os.getloadavg()[0], "nice": os.nice(0),
    }  # fmt: skip


def write_result(name: str, started: dict, result: dict, *, part: str = "") -> None:
    """Write `results/NAME.json` with the commit and the machine before and after, and print its figures.

    Args:
        part: One of several that are measured apart; it gets a file of its own, `NAME_PART.json`.
    """
    name = f"{name}_{part}" if part else name
    git = ["git", "-C", str(FOLDER), "describe", "--always", "--dirty"]
    commit = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    load = {"load_before": started["load"], "load_after": machine()["load"]}
    whole = {"name": name, "commit": commit, "machine": {**started, **load}, **result}
    whole["machine"].pop("load")
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
    print(json.dumps({key: whole[key] for key in ("name", "rows", "ratios")}))


def peer_folder(name: str, *requirements: str) -> Path:
    """Return the folder of a peer, installed there by pip (without what is here already) when it is missing."""
    folder = PEERS / name
    if not folder.is_dir():
        command = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps"]
        subprocess.run([*command, "--target", str(folder), *requirements], check=True)
    return folder


def peer_python(name: str, *requirements: str) -> Path | None:
    """Return the Python of a peer's own environment, made when it is missing; `None` if it cannot be installed."""
    python = PEERS / name / "bin" / "python"
    if not (PEERS / name / "installed").exists():
        try:
            subprocess.run([sys.executable, "-m", "venv", str(PEERS / name)], check=True)
            command = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", *requirements]
            subprocess.run(command, check=True)
        except subprocess.CalledProcessError as cause:
            print(f"bench: {name} cannot be installed and is left out: {cause}", file=sys.stderr)
            return None
        (PEERS / name / "installed").touch()
    return python
