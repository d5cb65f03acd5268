"""Verdicts a second on recorded outputs of real models, by kind of text, beside `math-verify` alone.

    python benchmarks/bench_verification.py [verification] [--repeats N]

Reads the recorded rationales of `../shared/data/dev` (`r_*.jsonl.gz` and their questions, `q_*.jsonl.gz`), which do not
come with the project; without them it says which file is missing and measures nothing. Every measurement is a process
of its own, so that no cache is warm, and the sets take turns. One core, exact rules, no second opinion: "per CPU s"
counts the processor time of that process, "per s" the time on the clock. `math_verify` parses and compares the same
texts, one by one, with its own defaults. Results go to `benchmarks/results/verification.json`.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
import statistics
import sys
import time
from collections import Counter
from pathlib import Path

from measuring import interleaved, machine, spread, write_result

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "dev"
PER_FILE, PEER_TEXTS = 600, 60
FLOOR = 5000
GSM8K, MATH = "q_gsm8k", "q_math500_and_train1297"
SETS = {
    "unmarked prose": {"r_zeroeval_gsm8k_10teachers": GSM8K},
    "marked numbers": {"r_openai_gsm8k_4": GSM8K, "r_eit_gsm8k_train": GSM8K, "r_r1_gsm8k_3runs": GSM8K},
    "expressions": {"r_eit_math": MATH, "r_qwen_math_8_rm": MATH},
    "choices": {"r_eit_csqa": "q_csqa", "r_eit_obqa": "q_obqa"},
    "yes or no": {"r_eit_strategyqa": "q_strategyqa"},
}
PEER = ("unmarked prose", "marked numbers", "expressions")
"""The sets that math-verify can read: numbers and expressions."""


def rows(name: str) -> list[dict]:
    path = DATA / f"{name}.jsonl.gz"
    if not path.exists():
        print(
            f"bench: {path} is missing: this benchmark needs the recorded rationales of shared/data/dev",
            file=sys.stderr,
        )
        raise SystemExit(2)
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def answer_type(row: dict, questions: str) -> str:
    if questions == MATH:
        return "expression"
    if row.get("options"):
        return "choice"
    return "number" if re.fullmatch(r"-?[\d,]*\.?\d+", str(row["answer"])) else "yesno"


def texts_of(name: str, most: int = PER_FILE) -> list[tuple]:
    """Return (rationale, problem) pairs of a set: all of some problems of each file, about `most` of each."""
    from potstill.records import Problem, Rationale

    found = []
    for source, questions in SETS[name].items():
        problems = {
            row["id"]: Problem(
                id=row["id"], question=row["question"], answer=str(row["answer"]),
                answer_type=answer_type(row, questions), options=tuple(row.get("options") or ()),
            )
            for row in rows(questions)
        }  # fmt: skip
        recorded = rows(source)
        asked = sorted({row["question_id"] for row in recorded})
        wanted = set(asked[:: max(1, len(recorded) // most)])
        for number, row in enumerate(recorded):
            if row["question_id"] not in wanted:
                continue
            problem = problems[row["question_id"]]
            found.append(
                (Rationale(id=str(number), problem_id=problem.id, kind="cot", text=row["text"],
                           finish=row.get("finish_reason")), problem)
            )  # fmt: skip
    return found


def texts_for_peer() -> list[tuple]:
    return [pair for name in PEER for pair in texts_of(name, PEER_TEXTS)]


def by_potstill(pairs: list[tuple]) -> Counter:
    from potstill.rationales.verification import check

    return Counter(str(check(rationale, problem).status) for rationale, problem in pairs)


def by_math_verify(pairs: list[tuple]) -> Counter:
    from math_verify import parse, verify

    return Counter(str(verify(parse(f"${problem.answer}$"), parse(rationale.text))) for rationale, problem in pairs)


CHILDREN = {"potstill": by_potstill, "math_verify": by_math_verify}


def child(system: str, name: str) -> None:
    """Judge one set in this process and print what it took; imports and two texts come before."""
    pairs = texts_for_peer() if name == "peer" else texts_of(name)
    CHILDREN[system](pairs[-2:])
    wall, cpu = time.perf_counter(), time.process_time()
    statuses = CHILDREN[system](pairs)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    characters = sum(len(rationale.text) for rationale, _ in pairs)
    print(json.dumps({
        "texts": len(pairs), "characters": characters, "statuses": statuses,
        "per CPU s": len(pairs) / cpu, "per s": len(pairs) / wall,
    }))  # fmt: skip


def measure(repeats: int) -> dict:
    """Each set by potstill, and the peer's texts by both, taking turns."""
    jobs = [("potstill", name) for name in SETS] + [("potstill", "peer"), ("math_verify", "peer")]
    found = interleaved(__file__, jobs, repeats)
    rows_of = [
        {"system": f"{system}: {name}", "unit": f"verdicts {unit}", **spread([run[unit] for run in runs])}
        for (system, name), runs in found.items()
        for unit in ("per CPU s", "per s")
    ]
    totals = [sum(found["potstill", name][n]["texts"] for name in SETS) for n in range(repeats)]
    seconds = [
        sum(found["potstill", name][n]["texts"] / found["potstill", name][n]["per CPU s"] for name in SETS)
        for n in range(repeats)
    ]
    overall = [total / spent for total, spent in zip(totals, seconds, strict=True)]
    rows_of.insert(0, {"system": "potstill: all sets", "unit": "verdicts per CPU s", **spread(overall)})
    both = zip(found["potstill", "peer"], found["math_verify", "peer"], strict=True)
    ratio = statistics.median(ours["per CPU s"] / theirs["per CPU s"] for ours, theirs in both)
    counts = {
        f"{system}: {name}": {key: runs[0][key] for key in ("texts", "characters", "statuses")}
        for (system, name), runs in found.items()
    }
    return {"rows": rows_of, "ratios": {"math_verify": round(ratio, 1)}, "floor": FLOOR, "counts": counts}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", choices=[[], "verification"], help="which benchmarks [all]")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--child", nargs=2, metavar=("SYSTEM", "SET"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(*options.child)
        return
    for name in {source for files in SETS.values() for pair in files.items() for source in pair}:
        if not (DATA / f"{name}.jsonl.gz").exists():
            rows(name)
    started = machine()
    write_result("verification", started, {"repeats": options.repeats, **measure(options.repeats)})


if __name__ == "__main__":
    main()
