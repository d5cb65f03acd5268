"""Paths a second: 20 sampled paths for each of 100 questions, beside Hugging Face `generate`.

    python benchmarks/bench_inference.py [inference] [--repeats N] [--cases NAME ...] [--systems NAME]

The same model (random weights), the same prompts, 60 new tokens for every path (no stop token), T = 0.7, float32. Every
system is a process of its own that stays; they take turns, and the first turn, which warms up, does not count.
`generate` is called once per question with `num_return_sequences=20`, as people do; `generate_batched` with as many
questions at once as our own batches hold. The greedy texts of all are compared, token by token. Token counts are those
that go through the model's embedding.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import resource
import statistics
import tempfile
import time
from pathlib import Path

from bench_training import EMBEDDED, known_words, student_folder
from measuring import answering, machine, spread, taking_turns, write_result

CASES = {
    "miniature_60": {"prompt": 60, "large": False, "questions": 100},
    "miniature_600": {"prompt": 600, "large": False, "questions": 20},
    "32M_60": {"prompt": 60, "large": True, "questions": 4},
}
PATHS, NEW, TEMPERATURE, BATCH_TOKENS = 20, 60, 0.7, 16384
SYSTEMS = ("potstill", "generate", "generate_batched")
WANTED = 2.0


def prompts_of(case: dict, tokenizer: object) -> list[str]:
    """Return the same prompts for every system, of +-50 % of their length."""
    words, rng = known_words(tokenizer), random.Random(3)
    length = case["prompt"]
    return [" ".join(rng.choices(words, k=rng.randint(length // 2, length * 3 // 2))) for _ in range(case["questions"])]


def ours(model: object, prompts: list[list[int]], paths: int) -> list[list[int]]:
    """Return the continuations, a question's after another; one path is greedy."""
    from potstill.students.decoding import Prompt, Settings, generate

    settings = Settings(stop_ids=(), max_new_tokens=NEW, temperature=TEMPERATURE, batch_tokens=BATCH_TOKENS)
    seeds = tuple(range(paths)) if paths > 1 else (None,)
    asked = [Prompt(ids, seeds) for ids in prompts]
    found = {}
    for number, written in generate(model, asked, settings):
        for place, path in written:
            found[number, place] = list(path.ids)
    return [found[key] for key in sorted(found)]


def theirs(model: object, prompts: list[list[int]], paths: int, at_once: int) -> list[list[int]]:
    """Return the same by `generate`, left-padded where several questions go together."""
    import torch

    order = sorted(range(len(prompts)), key=lambda n: len(prompts[n]))
    found: dict[int, list[list[int]]] = {}
    sampling = {"do_sample": True, "temperature": TEMPERATURE, "top_k": 0} if paths > 1 else {"do_sample": False}
    for start in range(0, len(order), at_once):
        batch = order[start : start + at_once]
        width = max(len(prompts[n]) for n in batch)
        ids = torch.tensor([[0] * (width - len(prompts[n])) + prompts[n] for n in batch])
        mask = torch.tensor([[0] * (width - len(prompts[n])) + [1] * len(prompts[n]) for n in batch])
        with torch.inference_mode():
            out = model.generate(ids, attention_mask=mask, num_return_sequences=paths, max_new_tokens=NEW,
                                 eos_token_id=None, pad_token_id=0, **sampling)  # fmt: skip
        for place, number in enumerate(batch):
            found[number] = out[place * paths : (place + 1) * paths, width:].tolist()
    return [path for number in sorted(found) for path in found[number]]


def child(system: str, name: str) -> None:
    """Write all paths once per line on standard input and say what it took; the greedy texts are not timed."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    case, seen = CASES[name], [0]
    tokenizer = AutoTokenizer.from_pretrained(EMBEDDED, model_max_length=2048)
    prompts = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in prompts_of(case, tokenizer)]
    at_once = max(1, BATCH_TOKENS // ((case["prompt"] + NEW) * PATHS)) if system == "generate_batched" else 1
    with tempfile.TemporaryDirectory() as scratch:
        folder = student_folder(Path(scratch), large=case["large"])
        model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="sdpa").eval()
    model.generation_config.eos_token_id = None
    model.get_input_embeddings().register_forward_pre_hook(lambda _, given: seen.append(given[0].numel()))

    def write(asked: list[list[int]], paths: int) -> list[list[int]]:
        return ours(model, asked, paths) if system == "potstill" else theirs(model, asked, paths, at_once)

    greedy = hashlib.sha256(json.dumps(write(prompts[:8], 1)).encode()).hexdigest()[:12]

    def once() -> dict:
        seen.clear()
        began, cpu = time.perf_counter(), time.process_time()
        written = write(prompts, PATHS)
        took, spent = time.perf_counter() - began, time.process_time() - cpu
        assert len(written) == len(prompts) * PATHS and all(len(path) == NEW for path in written)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        return {"paths_per_s": len(written) / took, "cpu_ms_per_path": 1000 * spent / len(written), "peak_mb": peak,
                "tokens_per_path": sum(seen) / len(written), "passes": len(seen), "greedy": greedy,
                "threads": torch.get_num_threads()}  # fmt: skip

    answering(once)


UNITS = {"paths_per_s": "paths/s", "cpu_ms_per_path": "CPU ms per path", "peak_mb": "peak MB",
         "tokens_per_path": "tokens per path", "passes": "passes through the model"}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", choices=[[], "inference"], help="which benchmarks [all]")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    parser.add_argument("--child", nargs=2, metavar=("SYSTEM", "CASE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(*options.child)
        return
    for case in options.cases:
        started = machine()
        found = taking_turns(__file__, [(system, case) for system in options.systems], options.repeats)
        rows = [
            {"system": f"{system}: {case}", "unit": unit, **spread([run[key] for run in found[system, case]], 2)}
            for system in options.systems
            for key, unit in UNITS.items()
        ]
        ratios: dict[str, object] = {"wanted": WANTED}
        for peer in (system for system in options.systems if system != "potstill"):
            both = zip(found["potstill", case], found[peer, case], strict=True)
            ratios[peer] = round(statistics.median(a["paths_per_s"] / b["paths_per_s"] for a, b in both), 2)
            both = zip(found["potstill", case], found[peer, case], strict=True)
            by_cpu = statistics.median(b["cpu_ms_per_path"] / a["cpu_ms_per_path"] for a, b in both)
            ratios[f"{peer}_by_cpu"] = round(by_cpu, 2)
        ratios["greedy_texts_equal"] = len({run["greedy"] for runs in found.values() for run in runs}) == 1
        result = {"repeats": len(found["potstill", case]), "case": CASES[case], "rows": rows, "ratios": ratios}
        write_result("inference", started, result, part=case)


if __name__ == "__main__":
    main()
