"""Throughput of the sandbox beside an executor of one process per program, on real model-written programs.

    python benchmarks/bench_sandbox.py [sandbox_plain] [sandbox_sympy] [--repeats N] [--programs FILE] [--n N]

The peer `humaneval` is written here from the published idea (Chen et al. 2021, arXiv:2107.03374, and its repository's
`check_correctness`): per program a manager process for the result and a forked child that guards what it can, joins
with a timeout, and is killed. Two programs run at a time in every system, the systems take turns on the same programs,
and a ratio is taken within each repeat; `value` is the median over repeats, `low` and `high` the extremes. Pools are
warm; what starting them costs stands in `counts`. The floor is bare `exec` in one process without any safety.

Programs come from `../shared/data/programs_dev.jsonl.gz` where that folder exists, else from the templates below.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import io
import json
import multiprocessing
import os
import platform
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).parent / "results"
REAL = ROOT.parent / "shared" / "data" / "programs_dev.jsonl.gz"
WORKERS = 2
PLAIN = (
    "apples = {a}\nprice = {b}\ntotal = apples * price\nans = total - {c}\n",
    "def solution():\n    start = {a}\n    left = start - {b}\n    return left * {c} / 2\n",
    "rates = [{a}, {b}, {c}]\nmean = sum(rates) / len(rates)\nprint(mean)\n",
    "import math\nn = {a}\nans = math.ceil(n / {b})\n",
)
SYMPY = (
    "from sympy import symbols, solve\nx = symbols('x')\nans = solve({a}*x - {b}, x)[0]\n",
    "from sympy import *\nx, y = symbols('x y')\nans = solve([x + y - {a}, x - y - {b}], [x, y])\n",
    "import sympy as sp\nx = sp.Symbol('x')\nprint(sp.diff({a}*x**3 + {b}*x, x).subs(x, {c}))\n",
    "from sympy import Rational, simplify\nprint(simplify(Rational({a}, {b}) + Rational({c}, 7)))\n",
)


def load_programs(kind: str, path: Path, n: int, seed: int = 0) -> tuple[list[str], str]:
    """Return n programs that CPython runs, and where they are from."""
    if not path.exists():
        draw, made = random.Random(seed), PLAIN if kind == "plain" else SYMPY
        numbers = [{name: draw.randint(2, 99) for name in "abc"} for _ in range(n)]
        return [made[i % len(made)].format(**values) for i, values in enumerate(numbers)], "templates of this file"
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    good = [row["program"] for row in rows if row["cpython_status"] == "ok" and is_kind(row["program"], kind)]
    picked = random.Random(seed).sample(good, min(n, len(good)))
    return (picked * (n // len(picked) + 1))[:n], path.name


def is_kind(program: str, kind: str) -> bool:
    """Whether a program is of the kind: sympy by its own import, plain without any of the packages."""
    if kind == "sympy":
        return "import sympy" in program or "from sympy" in program
    return not any(word in program for word in ("sympy", "Symbol", "np.", "numpy", "dateutil", "solve_it", "math."))


def answer_of(values: dict, printed: str) -> str | None:
    for name in ("solution", "solver", "main_solution"):
        if callable(values.get(name)):
            return str(values[name]())
    for name in ("ans", "answer", "result"):
        if values.get(name) is not None:
            return str(values[name])
    return printed.splitlines()[-1] if printed else None


def guarded(program: str, timeout_s: float, result) -> None:
    """The child's part of the peer: a guard by patching, an alarm, output swallowed, the answer through the list."""
    import shutil

    keep = os.rmdir, os.chdir, shutil.rmtree
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for name in ("kill", "system", "putenv", "remove", "fork", "rename", "unlink", "chmod", "rmdir", "chdir"):
            setattr(os, name, None)
        shutil.rmtree = shutil.move = subprocess.Popen = None
        out = io.StringIO()

        def stop(*_):
            raise TimeoutError

        signal.signal(signal.SIGALRM, stop)
        signal.setitimer(signal.ITIMER_REAL, timeout_s)
        try:
            values = {"__name__": "__main__"}
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
                exec(program, values)
                result.append(answer_of(values, out.getvalue()))
        except BaseException as error:  # noqa: BLE001 - as the original: any failure is the result
            result.append(f"failed: {error}")
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            os.rmdir, os.chdir, shutil.rmtree = keep
            os.chdir("/")
            import importlib

            importlib.reload(os)


def humaneval(programs: list[str], timeout_s: float = 3.0) -> list[str | None]:
    """One manager and one forked process per program, two programs at a time."""
    context = multiprocessing.get_context("fork")

    def check(program: str) -> str | None:
        with context.Manager() as manager:
            result = manager.list()
            process = context.Process(target=guarded, args=(program, timeout_s, result))
            process.start()
            process.join(timeout_s + 1)
            if process.is_alive():
                process.kill()
            return result[0] if result else None

    with ThreadPoolExecutor(WORKERS) as pool:
        return list(pool.map(check, programs))


def bare(programs: list[str]) -> list[str | None]:
    """The floor: `exec`, in this process, one after the other."""
    answers = []
    for program in programs:
        values, out = {"__name__": "__main__"}, io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(program, values)
            answers.append(answer_of(values, out.getvalue()))
    return answers


def serve(system: str) -> None:
    """A system in a process of its own: a line of JSON with programs in, seconds, CPU seconds and answers out."""
    if system == "potstill":
        from potstill.recipe.rationales import SandboxConfig
        from potstill.sandbox.running import Sandbox

        with Sandbox(SandboxConfig(workers=WORKERS)) as sandbox, ThreadPoolExecutor(WORKERS) as pool:
            answer_lines(lambda programs: [r.answer for r in pool.map(sandbox.run, programs)])
    else:
        answer_lines({"humaneval": humaneval, "exec": bare}[system])


def answer_lines(run) -> None:
    for line in sys.stdin:
        started = time.perf_counter()
        answers = run(json.loads(line))
        print(json.dumps([time.perf_counter() - started, answers]), flush=True)


class System:
    """One system's process."""

    def __init__(self, name: str) -> None:
        self.name = name
        command = [sys.executable, __file__, "--serve", name]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        self.rates: list[float] = []

    def run(self, programs: list[str]) -> tuple[float, list[str | None]]:
        self.process.stdin.write(json.dumps(programs) + "\n")
        self.process.stdin.flush()
        seconds, answers = json.loads(self.process.stdout.readline())
        return len(programs) / seconds, answers

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def measure(name: str, repeats: int, path: Path, n: int) -> dict:
    """Run the systems in turn and return the result object of the interface."""
    kind = name.removeprefix("sandbox_")
    programs, source = load_programs(kind, path, n)
    # The peer gets fewer programs per turn, the same ones: its rate does not depend on how many.
    sizes = {"potstill": n, "humaneval": max(4, n // (8 if kind == "plain" else 4)), "exec": n}
    systems = {key: System(key) for key in sizes}
    started = time.perf_counter()
    first = {key: system.run(programs[: 4 * WORKERS])[1] for key, system in systems.items()}
    start_s = time.perf_counter() - started
    agreed = sum(a == b for a, b in zip(first["potstill"], first["exec"], strict=True))
    load = []
    for _ in range(repeats):
        load.append(os.getloadavg()[0])
        for key, system in systems.items():
            rate, answers = system.run(programs[: sizes[key]])
            system.rates.append(rate)
            if key == "potstill":
                ours = answers
            elif key == "exec":
                agreed = sum(a == b for a, b in zip(ours, answers, strict=True))
    for system in systems.values():
        system.close()
    rows = [
        {"system": key, "value": round(statistics.median(s.rates), 2), "unit": "programs/s",
         "low": round(min(s.rates), 2), "high": round(max(s.rates), 2)}
        for key, s in systems.items()
    ]  # fmt: skip
    ratios = [a / b for a, b in zip(systems["potstill"].rates, systems["humaneval"].rates, strict=True)]
    return {
        "name": name,
        "commit": commit(),
        "machine": f"{os.cpu_count()} cores, {platform.platform()}, Python {platform.python_version()}",
        "repeats": repeats,
        "rows": rows,
        "ratios": {"humaneval": round(statistics.median(ratios), 2)},
        "floor": next(row["value"] for row in rows if row["system"] == "exec"),
        "counts": {
            "programs": n, "source": source, "same_answer_as_exec": agreed, "workers": WORKERS,
            "first_turn_s": round(start_s, 2), "load_average": [round(value, 1) for value in load],
            "ratio_low": round(min(ratios), 2), "ratio_high": round(max(ratios), 2),
        },
    }  # fmt: skip


def commit() -> str:
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip()


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=["sandbox_plain", "sandbox_sympy"])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--programs", type=Path, default=REAL)
    parser.add_argument("--n", type=int, help="programs per turn [400 plain, 48 sympy]")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.serve:
        serve(options.serve)
        return
    for name in options.names:
        n = options.n or (400 if name == "sandbox_plain" else 48)
        result = measure(name, options.repeats, options.programs, n)
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
        print(json.dumps(result))


if __name__ == "__main__":
    main()
