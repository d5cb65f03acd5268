"""One node, two nodes and no cluster against the loopback server: steady rate, fixed cost, processor time.

    python benchmarks/bench_cluster.py [sampling_cluster] [--repeats N]

The nodes are Ray nodes of this machine with processes of their own; one and two of them take turns with the engine of
one process. The steady rate is that of the middle 60 % of the rows by the endpoint's own log, fixed cost all time of a
command outside of its requests. Needs Ray.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
LATENCY_S, TEXT, SECONDS = 0.05, 1200, 5.0
IN_FLIGHT = (4, 8, 16)
"""Requests in flight at each node."""
MANY = 30
"""Completions of one request, in a further point of two nodes with two requests in flight each."""
NODES = {"local": 0, "one_node": 1, "two_nodes": 2}
CPUS = {1: 2, 2: 1}
"""Nodes -> what a worker takes: one of the two nodes has two CPUs, the other one."""


def child(system: str, in_flight: int, choices: int, url: str, address: str, folder: str) -> None:
    """Sample in this process, and print what it and the workers used."""
    from potstill import engines
    from potstill.purchases import buy_all
    from potstill.recipe.reading import build_recipe
    from potstill.records import Problem

    n_nodes = NODES[system]
    rows = int(SECONDS * in_flight * max(1, n_nodes) / LATENCY_S)
    teacher = {"base_url": url, "model": "m", "api_key_env": None, "max_concurrency": in_flight, "seed": 1,
               "n": choices}  # fmt: skip
    tables = {
        "problems": {"source": "unused.jsonl"}, "teachers": teacher, "sample": {"n": choices, "template": "zero_shot"},
        "ledger": f"{folder}/ledger.sqlite", "engine": "ray" if n_nodes else "local",
        "ray": {"address": address, "num_cpus": CPUS.get(n_nodes, 1)},
    }  # fmt: skip
    question = "Anna has {0} apples and buys {0} more. How many has she?"
    problems = [Problem(id=f"p{number}", question=question.format(number)) for number in range(rows)]
    recipe = build_recipe(tables)
    with engines.opened(recipe) as engine:
        if engine is not None:
            engine.require()
            assert len(engine.crew.members) == n_nodes, engine.crew.members
        own, theirs = time.process_time(), cpu_of(engine)
        counts = buy_all(recipe, problems, Path(folder) / "rationales.jsonl", run="r")
        used = {"driver": time.process_time() - own, "workers": cpu_of(engine) - theirs}
    assert (counts["rationales"], counts["failed"]) == (rows * choices, 0), counts
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        json.dumps({"rows": rows, **{f"{name}_cpu_ms": 1000 * s / rows for name, s in used.items()}, "peak_mb": peak})
    )


def cpu_of(engine) -> float:
    """Return the CPU seconds that the workers have used so far."""
    total = 0
    for member in engine.crew.members if engine is not None else []:
        fields = Path(f"/proc/{member.facts.pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def measure(system: str, in_flight: int, choices: int, url: str, address: str, log: Path) -> dict:
    """Run one system and return its figures, by the endpoint's log."""
    log.write_text("")
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        command = [sys.executable, __file__, "--child", system, str(in_flight), str(choices), url, address, folder]
        began = time.perf_counter()
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
        wall = time.perf_counter() - began
    time.sleep(1.0)
    ends = sorted(row["time"] + row["seconds"] for row in map(json.loads, log.read_text().splitlines()))
    said = json.loads(done.stdout.splitlines()[-1])
    assert len(ends) == said["rows"], (len(ends), said)
    low, high = len(ends) // 5, len(ends) * 4 // 5
    steady = (high - low) / (ends[high] - ends[low])
    return {**said, "steady_per_s": steady, "fixed_s": wall - (ends[-1] - ends[0])}


def measure_all(repeats: int) -> dict:
    """Let the systems take turns on one cluster."""
    os.environ |= {"RAY_raylet_start_wait_time_s": "120"}  # a busy machine
    from ray.cluster_utils import Cluster

    from potstill.miniature.server import launched

    store = 80 << 20
    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": store, "include_dashboard": False}
    )
    for cpus in (2, 1):
        cluster.add_node(num_cpus=cpus, object_store_memory=store)
    jobs = [(system, in_flight, 1) for in_flight in IN_FLIGHT for system in NODES] + [("two_nodes", 2, MANY)]
    found: dict[tuple[str, int, int], list[dict]] = {job: [] for job in jobs}
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        log = Path(folder) / "endpoint.jsonl"
        with launched(latency=LATENCY_S, canned=TEXT, log=str(log)) as url:
            for repeat in range(repeats):
                for job in [*jobs[repeat % len(jobs) :], *jobs[: repeat % len(jobs)]]:
                    found[job].append(measure(*job, url, cluster.address, log))
                    print(*job, json.dumps(found[job][-1]), file=sys.stderr, flush=True)
    cluster.shutdown()
    return summary(found)


def summary(found: dict[tuple[str, int, int], list[dict]]) -> dict:
    """Return the rows of the result file, and how many times faster two nodes are than one."""
    units = {"steady_per_s": "requests/s", "fixed_s": "s", "driver_cpu_ms": "CPU ms per request, here",
             "workers_cpu_ms": "CPU ms per request, workers"}  # fmt: skip
    rows = []
    for (system, in_flight, choices), measured in found.items():
        for name, unit in units.items():
            values = [one[name] for one in measured]
            numbers = {"value": statistics.median(values), "low": min(values), "high": max(values)}
            many = f", {choices} choices" if choices > 1 else ""
            row = {"system": f"{system}, {in_flight} in flight each{many}", "unit": unit}
            rows.append({**row, **{key: round(value, 4) for key, value in numbers.items()}})
    ratios = {}
    for in_flight in IN_FLIGHT:
        pairs = zip(found["two_nodes", in_flight, 1], found["one_node", in_flight, 1], strict=True)
        ratio = statistics.median(two["steady_per_s"] / one["steady_per_s"] for two, one in pairs)
        ratios[f"one_node, {in_flight} in flight each"] = round(ratio, 3)
    extra = [two["fixed_s"] - one["fixed_s"] for job, own in found.items() if job[0] == "two_nodes" and job[2] == 1
             for two, one in zip(own, found["local", job[1], 1], strict=True)]  # fmt: skip
    counts = {"latency_s": LATENCY_S, "text": TEXT, "fixed_s_over_local": round(statistics.median(extra), 2)}
    return {"rows": rows, "ratios": ratios, "floor": 1.8, "counts": counts}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", choices=[[], "sampling_cluster"], help="which benchmarks [all]")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--child", nargs=6, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        system, in_flight, choices, *rest = options.child
        child(system, int(in_flight), int(choices), *rest)
        return
    git = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    commit = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    before = os.getloadavg()[0]
    result = measure_all(options.repeats)
    machine = {
        "system": platform.platform(), "cpus": os.cpu_count(), "python": platform.python_version(),
        "load_before": before, "load_after": os.getloadavg()[0], "nice": os.nice(0),
    }  # fmt: skip
    result = {"name": "sampling_cluster", "commit": commit, "machine": machine, "repeats": options.repeats, **result}
    (RESULTS / "sampling_cluster.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps({key: result[key] for key in ("name", "rows", "ratios", "counts")}, indent=1))


if __name__ == "__main__":
    main()
