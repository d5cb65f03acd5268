"""How fast a sampling over N nodes is, which part saturates first, how long a job takes and what it costs.

    python benchmarks/simulate_cluster.py [--check] [--questions 1000000] [--samples 30] …

    slot ─► driver (one core) ─► worker (its cores) ─► endpoint (latency, tokens/s) ─► worker ─► driver ─► ledger
      ▲                                                                                             │
      └─────────────────────────────── the slot is free again ◄─────────────────────────────────────┘

A discrete-event simulation of the closed loop that `engine: ray` is: every node has C slots, a slot is one request on
its way. Constants that this machine can measure are read from `benchmarks/results/sampling_cluster.json` (CPU time of
the driver and of the workers per request); those that it cannot (a real endpoint's tokens per second, a network) are
arguments with a stated default. `--check` compares the simulation with the measured points.

Not simulated: failures, the tail of a job, retries. Ratios are worth more than absolute rates.
"""

from __future__ import annotations

import argparse
import heapq
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class World:
    """What a job runs on. Times in seconds; a request asks for `choices` completions of one question."""

    nodes: int = 1
    slots: int = 64
    """Requests in flight at each node."""
    choices: int = 1
    latency_s: float = 0.05
    """Of a request at an endpoint that is not saturated."""
    jitter: float = 0.0
    """Standard deviation of the logarithm of the latency."""
    tokens_per_s: float = float("inf")
    """What one endpoint writes at most, over all its requests."""
    tokens: int = 250
    """Of one completion."""
    is_shared: bool = False
    """One endpoint for all nodes instead of one each."""
    driver_s: float = 0.0009
    """CPU time of the driver per request, and per further completion in it."""
    driver_choice_s: float = 0.00025
    worker_s: float = 0.0006
    worker_choice_s: float = 0.00003
    worker_cores: float = 1.0
    machine_cores: float | None = None
    """Cores that all processes share, where everything runs on one machine; `None`: every node has its own."""
    other_s: float = 0.0
    """CPU time per request of whatever else runs on that machine (the loopback server)."""
    ledger_per_s: float = 8700.0
    """Completions that the ledger stores a second (grouped commits, synchronous = FULL)."""
    wait_s: float = 0.009
    """Time in which nothing computes: messages wait for company, and travel."""
    bytes_each: int = 4000
    """Over the driver's network, per completion, both ways."""
    network_bytes_per_s: float = 1.25e9
    storage_bytes_per_s: float = 100e6

    @property
    def driver_request_s(self) -> float:
        """The driver's CPU time for a whole request."""
        return self.driver_s + (self.choices - 1) * self.driver_choice_s

    @property
    def worker_request_s(self) -> float:
        """A worker's CPU time for a whole request."""
        return self.worker_s + (self.choices - 1) * self.worker_choice_s


class Station:
    """Servers with one queue: work goes to the one that is free first."""

    def __init__(self, servers: int) -> None:
        self._free = [0.0] * servers
        self.busy_s = 0.0

    def serve(self, now: float, work_s: float) -> float:
        """Return when work that arrives now is done."""
        start = max(now, heapq.heappop(self._free))
        heapq.heappush(self._free, start + work_s)
        self.busy_s += work_s
        return start + work_s


def simulate(world: World, *, seconds: float | None = None, seed: int = 0) -> dict[str, float]:
    """Return requests per second in the second half of a simulated time, and how busy each part was."""
    rng = random.Random(seed)
    cycle = world.latency_s + world.wait_s + 4 * world.driver_request_s
    seconds = seconds or max(6 * cycle, 2.0)
    stations = stations_of(world)
    events: list[tuple[float, int, int, int]] = []
    order = 0
    for node in range(world.nodes):
        for _ in range(world.slots):
            heapq.heappush(events, (rng.random() * cycle, order, node, 0))
            order += 1
    done = 0
    steps = path_of(world, stations, rng)
    while events:
        now, _, node, step = heapq.heappop(events)
        if now > seconds:
            break
        after = steps[step](now, node)
        if step == len(steps) - 1:
            done += now > seconds / 2
        order += 1
        heapq.heappush(events, (after, order, node, (step + 1) % len(steps)))
    rate = done / (seconds / 2)
    return {"requests_per_s": rate, "completions_per_s": rate * world.choices, **busy(world, rate)}


def stations_of(world: World) -> dict[str, list[Station]]:
    """Return what requests queue for."""
    if world.machine_cores is not None:  # all processes share the cores: one station, but the driver is one thread
        shared = Station(int(world.machine_cores))
        return {"driver": [Station(1)], "cores": [shared], "worker": [shared] * world.nodes, "ledger": [Station(1)],
                "endpoint": [Station(1) for _ in range(1 if world.is_shared else world.nodes)]}  # fmt: skip
    workers = [Station(max(1, int(world.worker_cores))) for _ in range(world.nodes)]
    return {"driver": [Station(1)], "cores": [], "worker": workers, "ledger": [Station(1)],
            "endpoint": [Station(1) for _ in range(1 if world.is_shared else world.nodes)]}  # fmt: skip


def path_of(
    world: World, stations: dict[str, list[Station]], rng: random.Random
) -> list[Callable[[float, int], float]]:
    """Return what a request passes, as functions of (time, node) that give the time afterwards."""
    driver, ledger = stations["driver"][0], stations["ledger"][0]
    half = world.driver_request_s / 2

    def at_driver(now: float, node: int) -> float:
        after = driver.serve(now, half)
        return max(after, stations["cores"][0].serve(now, half)) if stations["cores"] else after

    def at_worker(now: float, node: int) -> float:
        return stations["worker"][node].serve(now, world.worker_request_s / 2) + world.wait_s / 2

    def at_endpoint(now: float, node: int) -> float:
        if stations["cores"] and world.other_s:
            now = stations["cores"][0].serve(now, world.other_s)
        station = stations["endpoint"][0 if world.is_shared else node]
        written = station.serve(now, world.choices * world.tokens / world.tokens_per_s)
        return max(written, now + world.latency_s * rng.lognormvariate(0.0, world.jitter))

    def at_ledger(now: float, node: int) -> float:
        ledger.serve(now, world.choices / world.ledger_per_s)  # the slot is free before the commit
        return now

    return [at_driver, at_worker, at_endpoint, at_worker, at_driver, at_ledger]


def busy(world: World, rate: float) -> dict[str, float]:
    """Return the share of each part's capacity that a rate of requests takes."""
    completions = rate * world.choices
    endpoints = 1 if world.is_shared else world.nodes
    return {
        "driver": rate * world.driver_request_s,
        "workers": rate * world.worker_request_s / (world.nodes * max(1, int(world.worker_cores))),
        "endpoint": completions * world.tokens / (endpoints * world.tokens_per_s),
        "slots": rate * (world.latency_s + world.wait_s) / (world.nodes * world.slots),
        "ledger": completions / world.ledger_per_s,
        "network": completions * world.bytes_each / world.network_bytes_per_s,
        "storage": completions * world.bytes_each / world.storage_bytes_per_s,
    }


def plan(world: World, questions: int, samples: int, node_price: float, fixed_s: float) -> dict[str, float | str]:
    """Return the hours and the money that a job takes, and the part that limits it."""
    found = simulate(world)
    parts = {name: share for name, share in found.items() if not name.endswith("_per_s") and name != "slots"}
    hours = (questions * samples / found["completions_per_s"] + fixed_s) / 3600
    return {
        "completions_per_s": found["completions_per_s"], "hours": hours, "money": hours * world.nodes * node_price,
        "limit": max(parts, key=lambda name: parts[name]),
    }  # fmt: skip


def measured(name: str = "sampling_cluster") -> dict[str, dict[str, float]]:
    """Return the benchmark's points: system -> unit -> value."""
    result = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    found: dict[str, dict[str, float]] = {}
    for row in result["rows"]:
        found.setdefault(row["system"], {})[row["unit"]] = row["value"]
    return found


def constants(points: dict[str, dict[str, float]]) -> dict[str, float]:
    """Return what three points of the benchmark give; the others are predictions.

    CPU time of a request at the highest rate, of a further completion from requests for many, and the time in which
    nothing computes from a node that is far from busy.
    """
    busiest = points["two_nodes, 16 in flight each"]
    many = next(units for name, units in points.items() if name.endswith("choices"))
    n_many = next(int(name.split()[-2]) for name in points if name.endswith("choices"))
    idle = points["one_node, 4 in flight each"]
    here, there = "CPU ms per request, here", "CPU ms per request, workers"
    own = {
        "driver_s": busiest[here] / 1000,
        "worker_s": busiest[there] / 1000,
        "driver_choice_s": (many[here] - busiest[here]) / (n_many - 1) / 1000,
        "worker_choice_s": (many[there] - busiest[there]) / (n_many - 1) / 1000,
    }
    return {**own, "wait_s": 4 / idle["requests/s"] - World.latency_s - own["driver_s"] - own["worker_s"]}


def check() -> list[tuple[str, float, float]]:
    """Return (point, measured, simulated) requests per second for every measured point on the cluster."""
    points = measured()
    own = constants(points)
    rows = []
    for system, units in points.items():
        name, in_flight, *rest = system.split(", ")
        nodes = {"one_node": 1, "two_nodes": 2}.get(name)
        if nodes is not None:
            choices = int(rest[0].split()[0]) if rest else 1
            world = World(
                nodes=nodes, slots=int(in_flight.split()[0]), choices=choices, machine_cores=2, other_s=0.0003
            )
            rows.append((system, units["requests/s"], simulate(replace(world, **own))["requests_per_s"]))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare with the measured points")
    parser.add_argument("--questions", type=int, default=1_000_000)
    parser.add_argument("--samples", type=int, default=30)
    parser.add_argument("--nodes", type=int, nargs="*", default=[1, 8, 64])
    parser.add_argument("--choices", type=int, nargs="*", default=[1, 30], help="completions of one request")
    parser.add_argument("--tokens-per-s", type=float, nargs="*", default=[2500, 20000], help="of one node's endpoint")
    parser.add_argument("--tokens", type=int, default=250, help="of one completion")
    parser.add_argument("--node-price", type=float, default=20.0, help="money per node and hour")
    options = parser.parse_args()
    if options.check:
        for system, real, simulated in check():
            print(f"{system:<40}{real:>10.0f}/s{simulated:>10.0f}/s{simulated / real:>8.2f}")
        return
    own = constants(measured())
    print(f"{'tokens/s':>9}{'choices':>9}{'nodes':>7}{'completions/s':>15}{'hours':>9}{'money':>10}  limit")
    for speed in options.tokens_per_s:
        for choices in options.choices:
            for nodes in options.nodes:
                # an endpoint that writes 256 completions at a time, at its full speed
                slots, latency = max(1, 256 // choices), 256 * options.tokens / speed
                world = World(nodes=nodes, slots=slots, choices=choices, latency_s=latency, tokens_per_s=speed,
                              tokens=options.tokens, worker_cores=8)  # fmt: skip
                found = plan(replace(world, **own), options.questions, options.samples, options.node_price, 30.0)
                print(
                    f"{speed:>9.0f}{choices:>9}{nodes:>7}{found['completions_per_s']:>15.0f}{found['hours']:>9.1f}"
                    f"{found['money']:>10.0f}  {found['limit']}"
                )


if __name__ == "__main__":
    main()
