"""How fast the review page answers on a run with 100,000 rationales, and how much memory its server takes.

    python benchmarks/bench_review.py [review] [--rationales N] [--repeats R] [--folder DIR]

Makes a run of N rationales (30 a problem, half of them programs, three authors, five tasks), starts `potstill review`
on it as a user does, and times whole requests over loopback: the first page while the index is still being filled, then
every filter, order and search R times each. `value` is the median, `low` and `high` the extremes, in milliseconds.
`floor` is the page with nothing to look up. Memory is the server's peak resident set.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import platform
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
PER_PROBLEM = 30
PATHS = {
    "floor": "/static/review.js",
    "first page": "/",
    "verdict": "/?status=WRONG",
    "kind and verdict": "/?kind=pot&status=PROGRAM_FAILED",
    "author and task": "/?author=model-2&source=task-4",
    "length": "/?shortest=70&longest=72",
    "cost": "/?cheapest=100&dearest=102",
    "undecided": "/?review=none",
    "answers disagree": "/?disputed=1",
    "uncertain first": "/?order=next&review=none",
    "random order, page 2000": "/?order=calibration&page=2000",
    "longest first": "/?order=longest&kind=cot",
    "costliest first": "/?order=costliest&status=WRONG",
    "rarest filter": "/?split=train&finish=length&kind=cot",
    "search, rare word": "/?q=zymurgy",
    "search, common word": "/?q=the",
    "search, two common words": "/?q=the+answer",
    "search, phrase": "/?q=%22the+answer%22",
    "search, first letters": "/?q=a",
    "search with verdict": "/?q=the&status=PROGRAM_FAILED",
    "search, longest first": "/?q=the&order=longest",
    "search, nothing found": "/?q=qqqq",
    "one rationale": "/item/5000?stage=rationales&order=next",
}


def write_run(folder: Path, n: int, seed: int = 0) -> None:
    """Write problems, rationales, verdicts and drops of a run."""
    draw, words = random.Random(seed), [f"w{number}" for number in range(4000)]
    folder.mkdir(parents=True, exist_ok=True)
    names = ("problems", "rationales", "verdicts", "dropped")
    files = {name: (folder / f"{name}.jsonl").open("w", encoding="utf-8") for name in names}
    for number in range(n):
        problem, index = divmod(number, PER_PROBLEM)
        if not index:
            asked = {"id": f"p{problem}", "question": f"How many {' '.join(draw.choices(words, k=25))}?", "answer": "7",
                     "answer_type": "number", "source": f"task-{problem % 5}"}  # fmt: skip
            files["problems"].write(json.dumps(asked) + "\n")
        kind = "pot" if index % 2 else "cot"
        text = f"First the {' '.join(draw.choices(words, k=draw.randint(30, 90)))}. So the answer is 7"
        if kind == "pot":
            text = (
                "\n".join(f"{word} = {draw.randint(1, 99)}" for word in draw.choices(words, k=12))
                + "\nans = 7  # the end"
            )
        text += " zymurgy" * (number % 997 == 0)
        status = draw.choices(("CORRECT", "WRONG", "NO_ANSWER"), (70, 25, 5))[0]
        if kind == "pot" and status == "NO_ANSWER":
            status = "PROGRAM_FAILED"
        id = f"sha256:{draw.getrandbits(64):016x}"
        row = {
            "id": id, "problem_id": f"p{problem}", "kind": kind, "text": text, "author": f"model-{number % 3}",
            "index": index, "finish": "length" if number % 5000 == 0 else "stop",
            "usage": {"completion_tokens": 60 + number % 97},
        }  # fmt: skip
        files["rationales"].write(json.dumps(row) + "\n")
        answer = {"CORRECT": "7", "WRONG": str(draw.randint(8, 12))}.get(status)
        files["verdicts"].write(
            json.dumps({"rationale_id": id, "status": status, "answer": answer, "reason": "exact"}) + "\n"
        )
        if status != "CORRECT":
            files["dropped"].write(json.dumps({"stage": "filter", "id": id, "reason": status.lower()}) + "\n")
    for file in files.values():
        file.close()


class Visitor:
    """Asks the server as a browser that was given the address."""

    def __init__(self, address: str) -> None:
        host, token = re.fullmatch(r"http://([^/]+)/\?token=(\S+)", address).groups()
        self.connection = http.client.HTTPConnection(host, timeout=120)
        self.connection.request("GET", f"/?token={token}")
        answer = self.connection.getresponse()
        answer.read()
        self.cookie = answer.headers["Set-Cookie"].split(";")[0]

    def get(self, path: str) -> tuple[float, str]:
        """Return milliseconds and the page."""
        began = time.perf_counter()
        self.connection.request("GET", path, headers={"Cookie": self.cookie})
        answer = self.connection.getresponse()
        page = answer.read().decode()
        assert answer.status == 200, (path, answer.status, page[:200])
        return 1000 * (time.perf_counter() - began), page


def peak_mb(pid: int) -> float:
    """Return a process's peak resident set in MB (Linux)."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1000


def spread(values: list[float]) -> dict[str, float]:
    """Return median and extremes."""
    return {"value": round(statistics.median(values), 1), "low": round(min(values), 1), "high": round(max(values), 1)}


def measure(folder: Path, n: int, repeats: int) -> dict:
    """Return the rows and counts of one server's life."""
    command = [sys.executable, "-m", "potstill", "review", str(folder), "--no-browser", "--reviewer", "bench"]
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            visitor = Visitor(process.stdout.readline().split()[0])
            ready = time.perf_counter() - began
            first, _ = visitor.get("/")
            while "Still reading the run" in visitor.get("/")[1]:
                time.sleep(0.5)
            filled = time.perf_counter() - began
            filling_peak = peak_mb(process.pid)
            time.sleep(1.0)
            times = {name: [visitor.get(path)[0] for _ in range(repeats)] for name, path in PATHS.items()}
            peak = peak_mb(process.pid)
        finally:
            process.terminate()
    rows = [{"system": name, "unit": "ms", **spread(values)} for name, values in times.items() if name != "floor"]
    counts = {
        "rationales": n, "first_page_while_filling_ms": round(first, 1), "address_printed_s": round(ready, 2),
        "index_filled_s": round(filled, 1), "peak_mb": round(peak), "peak_mb_while_filling": round(filling_peak),
        "index_mb": round((folder / ".review" / "index.sqlite").stat().st_size / 1e6),
        "run_mb": round(sum(path.stat().st_size for path in folder.glob("*.jsonl")) / 1e6),
    }  # fmt: skip
    return {"rows": rows, "ratios": {}, "floor": statistics.median(times["floor"]), "counts": counts}


def main() -> None:
    """Make the run, measure, write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="review, the only one")
    parser.add_argument("--rationales", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="an empty folder to keep the run in")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary) / "run"
        if not (folder / "rationales.jsonl").exists():
            write_run(folder, options.rationales)
        found = measure(folder, options.rationales, options.repeats)
    git = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    commit = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    machine = {
        "system": platform.platform(),
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "load": os.getloadavg()[0],
    }
    whole = {"name": "review", "commit": commit, "machine": machine, "repeats": options.repeats, **found}
    if options.rationales >= 100_000:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "review.json").write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(whole, indent=1))


if __name__ == "__main__":
    main()
