"""Sampling against the loopback server: speed beside other clients, what a kill costs, what faults cost.

    python benchmarks/bench_sampling.py [sampling_50ms] [sampling_kill] [sampling_faults] [--repeats N] [--systems NAME]

Every client is a process of its own, the server another one, and the systems take turns, so that a busy machine slows
all of them alike. Clients of others (`peer_clients.py`) run in environments of their own in `benchmarks/.peers`; one
that cannot be installed, or that fails its warm-up, is named and left out. `value` is the median over repeats, `low`
and `high` the extremes. Results are written to `benchmarks/results/NAME.json`. A kill is not a power loss.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import random
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from measuring import peer_python

RESULTS = Path(__file__).parent / "results"
PEERS = {
    "openai": ("openai==3.54.0",),
    "curator": ("bespokelabs-curator==0.1.31",),
    "distilabel": ("distilabel==1.5.3", "requests", "openai", "beautifulsoup4"),
}
LATENCY_S, IN_FLIGHT, ROWS, TEXT = 0.05, 64, 2000, 1200
FAULTS = {"p_429": 0.05, "p_500": 0.03, "p_trunc": 0.02, "p_drop": 0.02, "p_html": 0.01, "p_empty": 0.01, "slow": 0.03}


def request_of(number: int):
    from potstill.teachers.base import Request

    question = f"Question {number}: Anna has {number} apples and buys {number + 3} more. How many has she?"
    messages = ({"role": "system", "content": "Answer step by step."}, {"role": "user", "content": question})
    return Request(model="m", messages=messages, temperature=1.0, max_tokens=512, seed=number)


def config_of(url: str):
    from potstill.recipe.teachers import TeacherConfig

    return TeacherConfig(base_url=url, model="m", api_key_env=None, max_concurrency=IN_FLIGHT)


async def bare(url: str, wanted: range, folder: str) -> None:
    """The floor: aiohttp alone, the same bodies, the text taken out of every answer."""
    import aiohttp

    from potstill.teachers.openai import OpenAIEndpoint

    endpoint, numbers = OpenAIEndpoint(config_of(url)), iter(wanted)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=IN_FLIGHT)) as session:

        async def work() -> None:
            for number in numbers:
                request = request_of(number)
                body = f'{endpoint.prepare(request)}, "seed": {request.seed_of(0)}}}'.encode()
                headers = {"Content-Type": "application/json"}
                async with session.post(f"{url}/chat/completions", data=body, headers=headers) as response:
                    assert json.loads(await response.read())["choices"][0]["message"]["content"]

        await asyncio.gather(*(work() for _ in range(IN_FLIGHT)))


async def teacher(url: str, wanted: range, folder: str) -> None:
    """Our teacher with its ledger; each acknowledged row is written to `acknowledged` before the next is asked for."""
    from potstill.streams import map_concurrent
    from potstill.teachers.base import open_teacher
    from potstill.teachers.ledger import Ledger

    out = Path(f"{folder}/acknowledged").open("a", buffering=1)  # noqa: ASYNC230, SIM115 - closed by the with below
    with Ledger(f"{folder}/ledger.sqlite") as ledger, out:
        async with open_teacher(config_of(url), ledger=ledger) as opened:

            async def one(number: int):
                return number, (await opened.complete(request_of(number), [0]))[0]

            async for number, completion in map_concurrent(one, wanted, 2 * IN_FLIGHT + 8):
                out.write(f"{number} {completion.finish} {completion.reason or ''}\n")


async def sample(url: str, wanted: range, folder: str) -> None:
    """The whole stage, as `potstill sample` runs it: prompts, teacher, ledger, records, file."""
    from potstill.rationales.sampling import sample_to_file
    from potstill.recipe.teachers import SampleConfig
    from potstill.records import Problem
    from potstill.teachers.ledger import Ledger

    question = "Anna has {0} apples and buys {0} more. How many has she?"
    problems = [Problem(id=f"p{number}", question=question.format(number)) for number in wanted]
    with Ledger(f"{folder}/ledger.sqlite") as ledger:
        config = SampleConfig(n=1, template="zero_shot")
        await sample_to_file(problems, config_of(url), config, f"{folder}/rationales.jsonl", ledger=ledger)


CHILDREN = {"aiohttp": bare, "potstill_teacher": teacher, "potstill": sample}


def child(system: str, url: str, rows: int, folder: str) -> None:
    """Run one client in this process and print what it took; imports and the first connection are not counted."""
    own = 1_000_000 + 1000 * os.getpid()
    asyncio.run(CHILDREN[system](url, range(own, own + 8), tempfile.mkdtemp(dir=folder)))
    wall, cpu = time.perf_counter(), time.process_time()
    asyncio.run(CHILDREN[system](url, range(rows), folder))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 if sys.platform == "darwin" else 1024)
    print(json.dumps({"requests_per_s": rows / wall, "cpu_s_per_1000": 1000 * cpu / rows, "peak_mb": peak}))


def command(system: str, url: str, rows: int, folder: str) -> list[str]:
    return [sys.executable, __file__, "--child", system, url, str(rows), folder]


def stats(url: str, path: str = "/stats", body: bytes | None = None) -> dict:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(urllib.request.Request(url.removesuffix("/v1") + path, body), timeout=30) as answer:
        return json.load(answer)


def measured(start: list[str]) -> dict:
    """Run one client in a folder of its own; return what it says."""
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        run = [*start, folder]
        done = subprocess.run(run, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True, timeout=300)
    found: dict = json.loads(done.stdout.splitlines()[-1])
    return found


def starts(url: str, systems: Sequence[str]) -> dict[str, list[str]]:
    """Return what starts each client; a peer that cannot be installed or run is left out."""
    found = {system: command(system, url, ROWS, "")[:-1] for system in CHILDREN if system in systems}
    for peer in PEERS:
        python = peer_python(peer, *PEERS[peer]) if peer in systems else None
        if python is None:
            continue
        start = [str(python), str(Path(__file__).parent / "peer_clients.py"), peer, url]
        try:
            measured([*start, "64"])
        except (subprocess.SubprocessError, ValueError, IndexError) as cause:
            print(f"bench: {peer} does not run and is left out: {cause}", file=sys.stderr)
            continue
        found[peer] = [*start, str(ROWS)]
    return found


def measure_speed(repeats: int, systems: Sequence[str] = (*CHILDREN, *PEERS)) -> dict:
    """Request rate, processor time and memory of each system, taking turns."""
    from potstill.miniature.server import launched

    with launched(latency=LATENCY_S, canned=TEXT) as url:
        clients = starts(url, systems)
        found: dict[str, list[dict]] = {system: [] for system in clients}
        for repeat in range(repeats):
            order, turn = list(clients), repeat % len(clients)
            for system in order[turn:] + order[:turn]:
                stats(url, "/reset", b"{}")
                run = measured(clients[system])
                run["billed"] = stats(url)["billed_requests"]
                found[system].append(run)
                print(f"{repeat + 1}/{repeats}", system, json.dumps(run), file=sys.stderr, flush=True)
        most = stats(url)["max_in_flight"]
    units = {"requests_per_s": "requests/s", "cpu_s_per_1000": "CPU s per 1,000 requests", "peak_mb": "MB resident"}
    rows = [
        row_of(system, unit, [run[name] for run in found[system]]) for system in found for name, unit in units.items()
    ]
    pairs = zip(found["potstill"], found["aiohttp"], strict=True)
    ratio = statistics.median(ours["requests_per_s"] / theirs["requests_per_s"] for ours, theirs in pairs)
    pairs = zip(found["potstill_teacher"], found["aiohttp"], strict=True)
    of_teacher = statistics.median(ours["requests_per_s"] / theirs["requests_per_s"] for ours, theirs in pairs)
    ratios = {"aiohttp": round(ratio, 3)}
    for peer in found.keys() & PEERS.keys():
        for name, kind in (("requests_per_s", "rate"), ("cpu_s_per_1000", "cpu")):
            pairs = zip(found["potstill"], found[peer], strict=True)
            ratios[f"{peer}_{kind}"] = round(statistics.median(ours[name] / theirs[name] for ours, theirs in pairs), 3)
    counts = {
        "billed": {system: [run["billed"] for run in runs] for system, runs in found.items()},
        "rows": ROWS, "in_flight": IN_FLIGHT, "latency_s": LATENCY_S, "max_in_flight_seen": most,
        "teacher_alone_to_aiohttp": round(of_teacher, 3), "ceiling_requests_per_s": IN_FLIGHT / LATENCY_S,
    }  # fmt: skip
    return {"rows": rows, "ratios": ratios, "floor": 0.75, "counts": counts}


def kill_once(url: str, rng: random.Random) -> dict:
    """Kill a sampling process group at a random moment, look, run again to the end, look again."""
    from potstill.teachers.accounts import Reader

    stats(url, "/reset", b"{}")
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        start = command("potstill_teacher", url, ROWS, folder)
        wanted = rng.randrange(100, ROWS - 100)
        with subprocess.Popen(start, stdout=subprocess.DEVNULL, start_new_session=True) as process:
            while process.poll() is None and stats(url)["billed_requests"] < wanted:
                time.sleep(0.01 * rng.random())
            os.killpg(process.pid, signal.SIGKILL)
        time.sleep(4 * LATENCY_S)
        billed = stats(url)["billed_requests"]
        acknowledged = {int(line.split()[0]) for line in complete_lines(Path(folder) / "acknowledged")}
        with Reader(f"{folder}/ledger.sqlite") as reader:
            stored = {n for n in range(ROWS) if reader.have(request_of(n).key(url), [0], 512)}
        subprocess.run(start, stdout=subprocess.DEVNULL, check=True)
        rows = {int(line.split()[0]) for line in complete_lines(Path(folder) / "acknowledged")}
        end = stats(url)
    return {
        "billed_at_kill": billed, "acknowledged": len(acknowledged), "lost": len(acknowledged - stored),
        "bought_twice": end["dup_requests"], "rows_missing": ROWS - len(rows),
    }  # fmt: skip


def complete_lines(path: Path) -> list[str]:
    return path.read_text().rpartition("\n")[0].splitlines() if path.exists() else []


def measure_kill(repeats: int) -> dict:
    """Acknowledged completions lost and completions bought twice, over kills at random moments."""
    from potstill.miniature.server import launched

    rng = random.Random(0)
    with launched(latency=LATENCY_S, canned=TEXT) as url:
        trials = [kill_once(url, rng) for _ in range(repeats)]
    units = {
        "lost": "acknowledged completions lost",
        "bought_twice": "completions bought twice",
        "rows_missing": "rows",
    }
    rows = [row_of("potstill", unit, [trial[name] for trial in trials]) for name, unit in units.items()]
    counts = {"rows": ROWS, "in_flight": IN_FLIGHT, "most_uncommitted": IN_FLIGHT, "trials": trials}
    return {"rows": rows, "ratios": {}, "floor": IN_FLIGHT, "counts": counts}


def measure_faults(repeats: int) -> dict:
    """Rows without an end, purchases beyond those that faults force, and seconds, under all faults at once."""
    from potstill.miniature.server import launched

    found: dict[str, list[float]] = {"rows_without_end": [], "needless_purchases": [], "seconds": [], "answers": []}
    totals = []
    for repeat in range(repeats):
        with (
            launched(latency=LATENCY_S, canned=TEXT, seed=repeat, **FAULTS) as url,
            tempfile.TemporaryDirectory(dir=Path.cwd()) as folder,
        ):
            start, began = command("potstill_teacher", url, 500, folder), time.perf_counter()
            subprocess.run(start, stdout=subprocess.DEVNULL, check=True, timeout=300)
            found["seconds"].append(time.perf_counter() - began)
            ends = [line.split() for line in complete_lines(Path(folder) / "acknowledged")]
            subprocess.run(start, stdout=subprocess.DEVNULL, check=True, timeout=300)
            seen = stats(url)
        broken = seen["faults"].get("trunc", 0) + seen["faults"].get("drop", 0)
        found["rows_without_end"].append(500 - len({end[0] for end in ends}))
        found["needless_purchases"].append(seen["dup_requests"] - broken)
        found["answers"].append(sum(end[1] in ("stop", "length") for end in ends))
        totals.append({"server": seen, "reasons": sorted({" ".join(end[1:]) for end in ends})})
    units = {"rows_without_end": "rows", "needless_purchases": "completions", "seconds": "s", "answers": "of 500 rows"}
    rows = [row_of(f"potstill: {name}", units[name], values) for name, values in found.items()]
    return {"rows": rows, "ratios": {}, "floor": 0, "counts": {"faults": FAULTS, "runs": totals}}


def row_of(system: str, unit: str, values: list[float]) -> dict:
    numbers = {"value": statistics.median(values), "low": min(values), "high": max(values)}
    return {"system": system, "unit": unit, **{name: round(value, 4) for name, value in numbers.items()}}


MEASURED = {"sampling_50ms": measure_speed, "sampling_kill": measure_kill, "sampling_faults": measure_faults}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", choices=[[], *MEASURED], help="which benchmarks [all]")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--systems", nargs="+", choices=[*CHILDREN, *PEERS], default=[*CHILDREN, *PEERS])
    parser.add_argument("--child", nargs=4, metavar=("SYSTEM", "URL", "ROWS", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child[0], options.child[1], int(options.child[2]), options.child[3])
        return
    git = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    commit = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    for name in options.names or MEASURED:
        before = os.getloadavg()[0]
        speed = {"systems": options.systems} if name == "sampling_50ms" else {}
        result = MEASURED[name](options.repeats, **speed)
        machine = {
            "system": platform.platform(), "cpus": os.cpu_count(), "python": platform.python_version(),
            "load_before": before, "load_after": os.getloadavg()[0], "nice": os.nice(0),
        }  # fmt: skip
        result = {"name": name, "commit": commit, "machine": machine, "repeats": options.repeats, **result}
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
        print(json.dumps({key: result[key] for key in ("name", "rows", "ratios")}))


if __name__ == "__main__":
    main()
