"""How busy 64 searches at once keep an endpoint, beside plain sampling: a loopback teacher that takes 50 ms a reply.

    python benchmarks/bench_evolving.py [evolving_50ms] [--repeats N]

`value` of a row is the mean number of requests in flight: requests times 50 ms by the seconds taken, the median over
repeats, with the extremes. Searches and sampling take turns, each a process of its own, all with their ledger; the room
for requests (`max_concurrency`) is the same for both. Growing from an empty ledger to the last tree is counted, the
last trees, when fewer than 64 grow, included. `benchmarks/results/evolving_50ms.json` holds the result.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.measuring import interleaved, machine, spread, write_result

LATENCY_S, SEEDS, CALLS, SAMPLES, TREES = 0.05, 128, 24, 12, 64
JOBS = (("sample", "16"), ("beam", "16"), ("tree", "16"))
"""What is done, and the room for requests."""


def problems() -> list:
    """Return the seeds: 128 instructions of the miniature."""
    from potstill.miniature.instruction_grammar import seeds
    from potstill.records import problem_from

    return [problem_from({"question": text}) for text in seeds(SEEDS, 77)]


async def sample(config, folder: str) -> int:
    """Sample responses to all of them; return the number of requests."""
    from potstill.rationales.sampling import sample_to_file
    from potstill.recipe.teachers import SampleConfig
    from potstill.teachers.ledger import Ledger

    with Ledger(f"{folder}/ledger.sqlite") as ledger:
        table = SampleConfig(n=SAMPLES, template="instruction")
        await sample_to_file(problems(), config, table, f"{folder}/rationales.jsonl", ledger=ledger)
    return SEEDS * SAMPLES


async def grow(strategy: str, config, folder: str) -> int:
    """Grow a tree of each of them, 64 at once; return the number of requests."""
    from potstill.generators.evolution import grow_to_file
    from potstill.recipe.generators import EvolveConfig
    from potstill.teachers.ledger import Ledger

    table = EvolveConfig(strategy=strategy, calls=CALLS, at_once=TREES)
    with Ledger(f"{folder}/ledger.sqlite") as ledger:
        counts = await grow_to_file(problems(), [(config, None)], table, Path(folder) / "trees.jsonl", ledger=ledger)
    return int(counts["requests"])


def child(what: str, room: int) -> None:
    """Do one job against a server of its own, and print how many requests were in flight on average."""
    from potstill.messages import set_quiet
    from potstill.miniature.server import launched
    from potstill.recipe.teachers import TeacherConfig

    set_quiet(quiet=True)
    with launched(latency=LATENCY_S) as url, tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        config = TeacherConfig(base_url=url, model="m", api_key_env=None, max_concurrency=room, max_tokens=400)
        wall, cpu = time.perf_counter(), time.process_time()
        done = asyncio.run(sample(config, folder) if what == "sample" else grow(what, config, folder))
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    in_flight = done * LATENCY_S / wall
    print(json.dumps({"in_flight": in_flight, "requests": done, "wall_s": wall, "cpu_s_per_1000": 1000 * cpu / done}))


def measure(repeats: int) -> dict:
    """Return the result file's contents but for name, commit and machine."""
    found = interleaved(__file__, JOBS, repeats)
    rows, ratios = [], {}
    for (what, room), runs in found.items():
        system = f"potstill_{what}_{room}"
        rows.append({"system": system, "unit": "requests in flight", **spread([r["in_flight"] for r in runs], 2)})
        rows.append({"system": system, "unit": "CPU s per 1,000 requests",
                     **spread([r["cpu_s_per_1000"] for r in runs], 2)})  # fmt: skip
        if what != "sample":
            plain = found["sample", room]
            shares = [run["in_flight"] / other["in_flight"] for run, other in zip(runs, plain, strict=True)]
            ratios[f"{what}_to_sampling_{room}"] = round(statistics.median(shares), 3)
    counts = {f"{what}_{room}": runs[0]["requests"] for (what, room), runs in found.items()}
    counts |= {"trees_at_once": TREES, "latency_s": LATENCY_S}
    return {"repeats": repeats, "rows": rows, "ratios": ratios, "floor": 0.85, "counts": counts}


def main() -> None:
    """Measure, or be one of the children that are measured."""
    parser = argparse.ArgumentParser()
    parser.add_argument("name", nargs="?", default="evolving_50ms")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--child", nargs=2)
    options = parser.parse_args()
    if options.child:
        child(options.child[0], int(options.child[1]))
        return
    started = machine()
    write_result("evolving_50ms", started, measure(options.repeats))


if __name__ == "__main__":
    main()
