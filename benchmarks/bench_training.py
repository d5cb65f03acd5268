"""Samples a second in fine-tuning on many rationales of the same questions, beside TRL's SFTTrainer.

    python benchmarks/bench_training.py [training] [--repeats N] [--cases NAME ...] [--systems NAME ...]

The same model, the same rows, as many rows in every optimizer step, float32, AdamW, loss on the rationale only. Every
system is a process of its own that stays; they take turns, and the first turn, which warms up, does not count. Timed
from the beginning of the training to the end of its last optimizer step, data loading included. `trl_padded`,
`trl_packed` and `trl_padding_free` are TRL's layouts (installed into `benchmarks/.peers`; the last two with sdpa, since
flash attention has no CPU kernel); `ours_padded` is our own trainer with `shared_prompt: false`. TRL's slower layouts
are left out after the turn that warms up. Texts are random words of the miniature's vocabulary, one token each, prompts
and rationales of +-50 % of their length; weights are random. Peak memory is the process's. Tokens are those that go
through the model in an optimizer step. Where other processes keep the machine busy, set OMP_NUM_THREADS=1 and read the
CPU seconds: two threads that wait for each other say nothing then.
"""

from __future__ import annotations

import argparse
import random
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from measuring import answering, machine, peer_folder, spread, taking_turns, write_result

from potstill.students.loading import MINIATURE as EMBEDDED

N = 30
CASES = {
    "miniature_60_60": {"prompt": 60, "rationale": 60, "questions": 8, "at_once": 1, "steps": 2, "large": False},
    "miniature_600_60": {"prompt": 600, "rationale": 60, "questions": 2, "at_once": 1, "steps": 1, "large": False},
    "32M_60_60": {"prompt": 60, "rationale": 60, "questions": 1, "at_once": 1, "steps": 1, "large": True},
    "32M_600_60": {"prompt": 600, "rationale": 60, "questions": 1, "at_once": 1, "steps": 1, "large": True},
}
"""Tokens of prompt and rationale, questions in an optimizer step (30 rationales each) and in one of our
forward passes, optimizer steps."""
TARGETS = {"miniature_60_60": 2.5, "miniature_600_60": 8.0, "32M_60_60": 1.6, "32M_600_60": 6.0}
PEERS = ("trl_padded", "trl_packed", "trl_padding_free")
SYSTEMS = ("potstill", "ours_padded", *PEERS)
LARGE = {"hidden_size": 512, "intermediate_size": 1408, "num_hidden_layers": 10, "num_attention_heads": 8,
         "num_key_value_heads": 8}  # fmt: skip
TRL = "trl==1.16.0"
ROWS_AT_ONCE = {"trl_padded": 30, "trl_packed": 4, "trl_padding_free": 6}
"""Rows of one forward pass in TRL's layouts, the rest is gradient accumulation; few where masks are dense."""


def rows_of(case: dict, words: list[str]) -> list[tuple[str, str, str]]:
    """Return (group, prompt, rationale) for all steps: the same for every system."""
    rng = random.Random(7)

    def text(length: int) -> str:
        return " ".join(rng.choices(words, k=rng.randint(length // 2, length * 3 // 2)))

    rows = []
    for question in range(case["questions"] * case["steps"]):
        prompt = text(case["prompt"])
        rows += [(f"q{question}", prompt, " " + text(case["rationale"])) for _ in range(N)]
    return rows


def known_words(tokenizer: Any) -> list[str]:
    """Return words that are one token each, also behind a space."""
    pieces = {piece.lstrip("\u0120\u2581 ") for piece in tokenizer.get_vocab()}
    known = [word for word in sorted(pieces) if word.isalpha() and word.isascii()]
    encoded = tokenizer([f" {word}" for word in known], add_special_tokens=False)["input_ids"]
    return [word for word, ids in zip(known, encoded, strict=True)
            if len(ids) == 1 and ids[0] != tokenizer.unk_token_id]  # fmt: skip


def student_folder(folder: Path, *, large: bool) -> Path:
    """Write a model with random weights over the miniature's vocabulary."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(EMBEDDED, model_max_length=2048)
    config = AutoConfig.from_pretrained(EMBEDDED)
    config.max_position_embeddings, config.dtype = 2048, "float32"
    if large:
        config.head_dim = LARGE["hidden_size"] // LARGE["num_attention_heads"]
        for key, value in LARGE.items():
            setattr(config, key, value)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


class Clock:
    """Notes when training begins and every optimizer step ends, and counts tokens, in whichever trainer it happens."""

    def __init__(self) -> None:
        import torch
        from transformers.trainer_callback import CallbackHandler

        self.begins, self.cpu, self.ends, self.tokens = 0.0, 0.0, [(0.0, 0.0)], 0
        began, stepped, embedded = CallbackHandler.on_train_begin, torch.optim.AdamW.step, torch.nn.Embedding.forward

        def on_train_begin(*args: object, **kwargs: object) -> object:
            self.ends, self.tokens = [], 0
            self.begins, self.cpu = time.perf_counter(), time.process_time()
            return began(*args, **kwargs)

        def step(*args: object, **kwargs: object) -> object:
            result = stepped(*args, **kwargs)
            self.ends.append((time.perf_counter(), time.process_time()))
            return result

        def forward(module: object, ids: torch.Tensor) -> object:
            self.tokens += ids.numel()
            return embedded(module, ids)

        CallbackHandler.on_train_begin = on_train_begin
        torch.optim.AdamW.step, torch.nn.Embedding.forward = step, forward


def potstill(folder: Path, rows: list[tuple[str, str, str]], case: dict, out: Path, *, shared: bool) -> float:
    """Train with our trainer; return the rows of an optimizer step."""
    from potstill.recipe.students import MixConfig, StudentConfig, TrainConfig
    from potstill.records import Example
    from potstill.students.training import train

    examples = [
        Example(id=f"e{n}", prompt=prompt, target=target, task="cot", group=group)
        for n, (group, prompt, target) in enumerate(rows)
    ]
    at_once = case["at_once"] if shared else 1
    config = TrainConfig(
        shared_prompt=shared, loader="all", rationales_per_problem=N, max_steps=case["steps"], learning_rate=1e-4,
        problems_per_step=at_once, gradient_accumulation_steps=case["questions"] // at_once,
        save_strategy="no", logging_steps=1000,
    )  # fmt: skip
    train(examples, config, student=StudentConfig(model=str(folder)), out=out, mix=MixConfig(), resume=False)
    return case["questions"] * N


def trl(system: str, folder: Path, rows: list[tuple[str, str, str]], case: dict, out: Path) -> float:
    """Train with TRL; return the rows of an optimizer step."""
    sys.path.insert(0, str(peer_folder("trl", TRL)))
    from datasets import Dataset, disable_progress_bars
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    disable_progress_bars()
    at_once, per_step = ROWS_AT_ONCE[system], case["questions"] * N
    longest = (case["prompt"] + case["rationale"]) * 3 // 2 + 8
    options: dict[str, Any] = {
        "output_dir": str(out), "max_steps": case["steps"], "learning_rate": 1e-4, "report_to": "none", "bf16": False,
        "save_strategy": "no", "completion_only_loss": True, "gradient_checkpointing": False, "use_cpu": True,
        "dataloader_pin_memory": False, "disable_tqdm": True, "logging_steps": 1000,
        "per_device_train_batch_size": at_once, "gradient_accumulation_steps": per_step // at_once,
    }  # fmt: skip
    if system == "trl_padding_free":
        options |= {"padding_free": True, "max_length": None}
    else:
        options |= {"packing": system == "trl_packed", "max_length": longest}
    data = Dataset.from_list([{"prompt": prompt, "completion": target} for _, prompt, target in rows])

    def trainer(**changes: Any) -> SFTTrainer:
        return SFTTrainer(
            model=AutoModelForCausalLM.from_pretrained(folder, attn_implementation="sdpa"),
            args=SFTConfig(**{**options, **changes}),
            train_dataset=data,
            processing_class=AutoTokenizer.from_pretrained(folder),
        )

    made = trainer()
    if system == "trl_packed":  # as many optimizer steps for the same rows: so many bins are in one
        bins = len(made.train_dataset)
        passes = max(1, round(bins / case["steps"] / at_once))
        made = trainer(gradient_accumulation_steps=passes)
        per_step = len(rows) * passes * at_once / bins
    made.train()
    return per_step


def child(system: str, name: str) -> None:
    """Train once per line on standard input and say what it took."""
    import os
    import warnings

    import torch
    from transformers import AutoTokenizer
    from transformers.utils import logging

    warnings.simplefilter("ignore")
    os.environ["HF_DATASETS_DISABLE_PROGRESS_BARS"] = "1"
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    case, clock = CASES[name], Clock()
    rows = rows_of(case, known_words(AutoTokenizer.from_pretrained(EMBEDDED, model_max_length=2048)))
    with tempfile.TemporaryDirectory() as scratch:
        folder, out = student_folder(Path(scratch) / "base", large=case["large"]), Path(scratch) / "out"
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

        def once() -> dict:
            if system in ("potstill", "ours_padded"):
                per_step = potstill(folder, rows, case, out, shared=system == "potstill")
            else:
                per_step = trl(system, folder, rows, case, out)
            seconds = (clock.ends[-1][0] - clock.begins) / len(clock.ends)
            cpu = (clock.ends[-1][1] - clock.cpu) / len(clock.ends)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            return {"samples_per_s": per_step / seconds, "s_per_step": seconds, "samples_per_cpu_s": per_step / cpu,
                    "cpu_s_per_step": cpu, "threads": torch.get_num_threads(), "peak_mb": peak / 1024,
                    "before_mb": before / 1024, "tokens_per_sample": clock.tokens / len(clock.ends) / per_step,
                    "steps": len(clock.ends)}  # fmt: skip

        answering(once)


UNITS = {
    "samples_per_s": "samples/s",
    "samples_per_cpu_s": "samples per CPU s",
    "peak_mb": "peak MB",
    "tokens_per_sample": "tokens per sample",
}


def measure(name: str, repeats: int, systems: Sequence[str]) -> tuple[list[dict], dict, dict]:
    """Return rows of figures, ratios and every run of one case."""
    found = taking_turns(
        __file__, [(system, name) for system in systems], repeats, among=PEERS, best="samples_per_cpu_s"
    )
    runs = {system: found[system, name] for system in systems}
    best = max(set(PEERS) & set(systems), key=lambda system: (len(runs[system]), runs[system][-1]["samples_per_cpu_s"]))
    rows = [
        {"system": f"{system}: {name}", "unit": unit, "runs": len(took), **spread([run[key] for run in took], 2)}
        for system, took in runs.items()
        for key, unit in UNITS.items()
    ]

    def over(system: str, key: str = "samples_per_s") -> float:
        pairs = zip(runs["potstill"], runs[system], strict=True)
        return statistics.median(ours[key] / theirs[key] for ours, theirs in pairs)

    ratios = {"trl_best": over(best), "trl_best_by_cpu": over(best, "samples_per_cpu_s"), "wanted": TARGETS[name],
              "memory_to_trl_best": over(best, "peak_mb")}  # fmt: skip
    if "ours_padded" in runs:
        fewer = over("ours_padded", "tokens_per_sample")
        ratios |= {"ours_padded": over("ours_padded"), "step_to_token_floor": over("ours_padded", "s_per_step") / fewer,
                   "cpu_to_token_floor": over("ours_padded", "cpu_s_per_step") / fewer}  # fmt: skip
    ratios = {"is": best} | {key: round(value, 2) for key, value in ratios.items()}
    return rows, ratios, {"case": CASES[name], "runs": runs}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", choices=[[], "training"], help="which benchmarks [all]")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    parser.add_argument("--child", nargs=2, metavar=("SYSTEM", "CASE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(*options.child)
        return
    peer_folder("trl", TRL)
    for name in options.cases:
        started = machine()
        rows, ratios, runs = measure(name, options.repeats, options.systems)
        write_result(
            "training",
            started,
            {"repeats": max(row["runs"] for row in rows), "rows": rows, "ratios": ratios, **runs},
            part=name,
        )


if __name__ == "__main__":
    main()
