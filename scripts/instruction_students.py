"""Train a student on what each search has found, and see which clauses of unseen instructions its responses heed.

    python scripts/instruction_students.py --seeds 3 --out FOLDER

Everything is equal between the arms: seed instructions, rewriting calls, gates and judge of the search; rows and
target tokens of the training; the student (a small Llama from scratch, with the words of the world); the teacher that
answers. The judge of the students is the grammar's own check (`potstill.miniature.instruction_heeding`), which guided
no search.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from search_study import grow_all

from potstill.evaluation.statistics import hierarchical_bootstrap, paired_bootstrap, seed_mean
from potstill.generators.selection import choose
from potstill.messages import say
from potstill.miniature import instruction_teacher
from potstill.miniature.instruction_grammar import CLAUSES, seeds
from potstill.miniature.instruction_heeding import graded_tests, heeded
from potstill.miniature.instructions import LOW_NOISE
from potstill.rationales.demands import unmet
from potstill.recipe.generators import EvolveConfig
from potstill.recipe.students import InferConfig, MixConfig, StudentConfig, TrainConfig
from potstill.records import Comparison, Example, Problem, Score, child_seed, problem_from

ARMS = ("seeds", "random", "beam", "tree", "published", "best_of_n")
GRADES = (1, 2, 4, 6)
PROMPT = "### Instruction:\n{question}\n\n### Response:\n"
LONGEST = 130
"""Words of a response; longer ones (at least 300 words are demanded) are left out in every arm."""
TOKEN = r"▁?[^▁\s.,:?|]+|[.,:?|]|\n|▁"
SPECIAL = ("<pad>", "<eos>", "<unk>", "<bos>")
ROWS_PER_STEP = 16


@dataclass(frozen=True, slots=True)
class Plan:
    """What is equal between the arms."""

    draw: int
    instructions: int
    """Seed instructions."""
    calls: int
    rows: int
    tokens: int
    """Target tokens that a student is trained on, repetitions included."""
    per_grade: int


def kept_instructions(arm: str, plan: Plan, seed: int) -> list[str]:
    """Return what an arm's search keeps of its trees by the library's own rules, in random order."""
    texts = seeds(plan.instructions, plan.draw)
    if arm == "seeds":
        found = texts
    else:
        config = EvolveConfig(keep="published" if arm == "published" else "best", total=plan.rows * 2)
        problems = [problem_from({"question": text}) for text in texts]
        trees = asyncio.run(grow_all(arm, texts, calls=plan.calls, noise=LOW_NOISE, seed=seed))
        kept = choose(list(zip(problems, trees, strict=True)), config, seed=seed).problems
        found = list(dict.fromkeys(problem.question for problem in kept))
    return random.Random(child_seed("kept", seed)).sample(found, len(found))


def rows_of(texts: Sequence[str], count: int, seed: int) -> list[tuple[str, str]]:
    """Return `count` pairs of instruction and the teacher's response, instructions repeated where there are too few.

    A response that breaks a demand which a program can check, or is too long, is left out, as in the library.
    """
    found, tried = list[tuple[str, str]](), 0
    while len(found) < count and tried < 20 * count:
        text = texts[tried % len(texts)]
        said = instruction_teacher.write(text, random.Random(f"{seed}\0{tried // len(texts)}\0{text}"))
        tried += 1
        if said is not None and len(said.split()) <= LONGEST and not unmet(text, said):
            found.append((text, said))
    return found


def examples_of(rows: Sequence[tuple[str, str]]) -> list[Example]:
    """Return the rows as training examples."""
    return [
        Example(id=f"{n}", prompt=PROMPT.format(question=text), target=said, task="cot", group=f"{n}")
        for n, (text, said) in enumerate(rows)
    ]


def make_base(folder: Path, seed: int) -> StudentConfig:
    """Write an untrained student with the words of the world, and return how to open it."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = _tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=96, intermediate_size=192, num_hidden_layers=3, num_attention_heads=3,
        num_key_value_heads=3, max_position_embeddings=512, tie_word_embeddings=True, bos_token_id=3, eos_token_id=1,
        pad_token_id=0, initializer_range=0.05,
    )  # fmt: skip
    torch.manual_seed(seed)
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return StudentConfig(model=str(folder))


def _tokenizer() -> Any:
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    splitter = pre_tokenizers.Split(Regex(TOKEN), "isolated")
    words = {word for text in _texts() for word, _ in splitter.pre_tokenize_str(text.replace(" ", "▁"))}
    vocabulary = {word: number for number, word in enumerate((*SPECIAL, *sorted(words)))}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    core.normalizer, core.pre_tokenizer = normalizers.Replace(" ", "▁"), splitter
    core.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse()])
    return PreTrainedTokenizerFast(
        tokenizer_object=core, unk_token="<unk>", eos_token="<eos>", pad_token="<pad>", bos_token="<bos>",
        clean_up_tokenization_spaces=False, padding_side="left",
    )  # fmt: skip


def _texts() -> Iterator[str]:
    """Yield texts that hold every word of the world, as prompts and as responses in each form."""
    from potstill.miniature.instruction_grammar import DOMAINS, UNKNOWABLE, VAGUE, VERBS, read

    rng = random.Random(0)
    tasks = [verb.format(topic) for verb in VERBS for topics in DOMAINS.values() for topic in topics]
    sentences = [*(s for own in CLAUSES.values() for s in own), *VAGUE, *UNKNOWABLE, "Use at least 300 words"]
    for number, task in enumerate(tasks):
        yield PROMPT.format(question=f"{task}. {'. '.join(sentences[number % len(sentences) :][:3])}.")
        for form in ("", *CLAUSES["output_format"]):
            clauses = [sentences[(number + at) % len(sentences)] for at in (0, 11, 23, 31, 47)]
            text = ". ".join([task, *clauses, *([form] if form else [])])
            yield str(instruction_teacher.answer(read(f"{text}."), rng))


def steps_for(examples: Sequence[Example], tokenizer: Any, tokens: int) -> int:
    """Return after how many optimizer steps a student has seen about so many target tokens."""
    per_row = np.mean([len(tokenizer(example.target)["input_ids"]) + 1 for example in examples])
    return max(1, round(tokens / (ROWS_PER_STEP * per_row)))


def train_and_ask(arm: str, plan: Plan, number: int, folder: Path) -> dict[str, Any]:
    """Return the responses of an arm's student, and what it was trained on."""
    from potstill.students.inference import infer
    from potstill.students.training import train

    began, seed = time.process_time(), child_seed("instruction students", plan.draw, number)
    texts = kept_instructions(arm, plan, seed)
    rows = rows_of(texts, plan.rows, seed)
    examples, base = examples_of(rows), folder / f"base{number}"
    student = StudentConfig(model=str(base)) if base.exists() else make_base(base, number)
    steps = steps_for(examples, _tokenizer(), plan.tokens)
    config = TrainConfig.model_validate(
        {
            "max_steps": steps, "learning_rate": 0.003, "lr_scheduler_type": "cosine", "warmup_steps": 20,
            "weight_decay": 0.01, "problems_per_step": ROWS_PER_STEP, "rationales_per_problem": 1, "logging_steps": 50,
        }
    )  # fmt: skip
    mix = MixConfig(prompt=PROMPT, target="{rationale}")
    out = train(examples, config, student=student, out=folder / f"{arm}.seed{number}", mix=mix, seed=number, threads=1)
    tested = [_problem(grade, text) for grade, text in tests_of(plan)]
    asked = InferConfig(max_new_tokens=170)
    said = list(infer(tested, out, asked, mix=mix, author=f"student_{arm}", threads=1))
    by_id = {path.problem_id: path.text for path in said}
    used = {
        "instructions": len({text for text, _ in rows}), "rows": len(rows), "steps": steps,
        "clauses": round(float(np.mean([len(_clauses(text)) for text, _ in rows])), 2),
        "target_words": round(float(np.mean([len(said.split()) for _, said in rows])), 1),
        "cpu_s": round(time.process_time() - began, 1),
    }  # fmt: skip
    say("students", f"{arm} seed {number}: {used}")
    answers = [
        {"grade": problem.meta["grade"], "instruction": problem.question, "response": by_id.get(problem.id, "")}
        for problem in tested
    ]
    return {"arm": arm, "seed": number, "trained_on": used, "answers": answers}


def _clauses(text: str) -> tuple[tuple[str, str], ...]:
    from potstill.miniature.instruction_grammar import read

    return read(text).clauses


def tests_of(plan: Plan) -> list[tuple[int, str]]:
    """Return the held-out instructions: tasks that no seed has."""
    return graded_tests(plan.per_grade, GRADES, plan.draw, tuple(seeds(plan.instructions, plan.draw)))


def _problem(grade: int, text: str) -> Problem:
    return replace(problem_from({"question": text, "split": "test"}), meta={"grade": grade})


def marks_of(answers: Sequence[dict[str, Any]]) -> dict[tuple[str, str], list[float]]:
    """Return (split, metric) -> one mark per instruction: all heeded and nothing else claimed, and the share heeded."""
    found: dict[tuple[str, str], list[float]] = {}
    for row in answers:
        is_clean, clauses = heeded(row["instruction"], row["response"])
        for split in ("test", f"test_{row['grade']}_clauses"):
            found.setdefault((split, "accuracy"), []).append(float(is_clean and all(clauses)))
            found.setdefault((split, "clauses_heeded"), []).append(float(np.mean(clauses)))
    return found


def score_students(runs: Sequence[dict[str, Any]], calls: int) -> tuple[list[Score], list[Comparison]]:
    """Return score rows per arm, seed and grade, and the paired differences between arms."""
    marks: dict[str, dict[tuple[str, str], list[list[float]]]] = {}
    for one in sorted(runs, key=lambda one: one["seed"]):
        for key, row in marks_of(one["answers"]).items():
            marks.setdefault(one["arm"], {}).setdefault(key, []).append(row)
    scores, comparisons = list[Score](), list[Comparison]()
    for arm, found in marks.items():
        for (split, metric), rows in found.items():
            label: dict[str, Any] = {
                "task": "instructions", "system": f"student_{arm}", "split": split, "path": f"calls_{calls}",
                "metric": metric, "n": len(rows[0]),
            }  # fmt: skip
            scores += [Score(**label, value=float(np.mean(row)), seed=number) for number, row in enumerate(rows)]
            low, high, by = hierarchical_bootstrap(rows, resamples=2000)
            scores.append(Score(**label, value=seed_mean(rows), low=low, high=high, by=by))
    for a, b in PAIRS:
        for split, metric in marks.get(a, {}) if b in marks else ():
            found_pair = paired_bootstrap(marks[a][split, metric], marks[b][split, metric])
            comparisons.append(
                Comparison(
                    task="instructions", a=f"student_{a}", b=f"student_{b}", split=split, path=f"calls_{calls}",
                    metric=metric, **found_pair._asdict(),
                )
            )  # fmt: skip
    return scores, comparisons


PAIRS = (
    ("beam", "seeds"), ("tree", "seeds"), ("random", "seeds"), ("tree", "random"), ("beam", "random"),
    ("tree", "published"), ("tree", "beam"),
)  # fmt: skip


def plan_of(options: argparse.Namespace) -> Plan:
    """Return the plan that the options describe."""
    return Plan(options.draw, options.instructions, options.calls, options.rows, options.tokens, options.per_grade)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what the comparison of students can be changed by."""
    parser.add_argument("--draw", type=int, default=11, help="draws instructions, worlds and tests anew")
    parser.add_argument("--instructions", type=int, default=200, help="seed instructions")
    parser.add_argument("--calls", type=int, default=25, help="evolver calls per instruction")
    parser.add_argument("--rows", type=int, default=600, help="training rows of every arm")
    parser.add_argument("--tokens", type=int, default=200_000, help="target tokens of every training")
    parser.add_argument("--per-grade", type=int, default=50, help="test instructions with 1, 2, 4 and 6 clauses each")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of every arm")
    parser.add_argument("--only", nargs="+", choices=ARMS, default=list(ARMS), help="these arms only")


def main() -> None:
    """Train, ask and score from the command line; finished students are not trained again."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_options(parser)
    parser.add_argument("--out", type=Path, required=True, help="folder of students and answers")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    runs = [
        run_one(arm, plan_of(options), number, options.out) for number in range(options.seeds) for arm in options.only
    ]
    scores, comparisons = score_students(runs, options.calls)
    for row in scores:
        if row.seed is None:
            print(f"{row.system:20} {row.split:16} {row.metric:15} {row.value:.3f} [{row.low:.3f}, {row.high:.3f}]")  # noqa: T201
    for pair in comparisons:
        if pair.split == "test":
            print(f"{pair.a} - {pair.b} {pair.metric}: {pair.difference:+.3f} [{pair.low:+.3f}, {pair.high:+.3f}]")  # noqa: T201


def run_one(arm: str, plan: Plan, number: int, folder: Path) -> dict[str, Any]:
    """Return one student's answers, from its file where it is finished."""
    path = folder / f"answers.{arm}.seed{number}.json.gz"
    if path.exists():
        found: dict[str, Any] = json.loads(gzip.decompress(path.read_bytes()))
        return found
    found = train_and_ask(arm, plan, number, folder)
    path.write_bytes(gzip.compress(json.dumps(found).encode(), mtime=0))
    return found


if __name__ == "__main__":
    main()
