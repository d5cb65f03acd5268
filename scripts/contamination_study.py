"""Hide copies, renumberings and retellings of evaluation problems among 5,000 clean ones; count what is found.

    python scripts/contamination_study.py --data ../shared/data/dev [--retold gsmplus_testmini.jsonl]

Evaluated: the test split of GSM8K. Clean: 5,000 of its training problems, as they are. Planted: every third test
problem as a copy (whole, respelt, and inside a longer prompt), renumbered (by rule, and with other names too) and
retold by rule; and, with `--retold`, GSM-Plus (github.com/qtli/GSM-Plus, dataset/gsmplus_testmini.jsonl), whose
`problem understanding` items are retellings by a language model and whose `numerical substitution` and `digit
expansion` are renumberings. Problems are divided in two halves by a hash of the problem that they come from;
thresholds were chosen on the half `tuned`, so read the half `held out`.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import random
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from potstill.evaluation.statistics import wilson
from potstill.rationales.contamination import contaminated
from potstill.records import Problem, child_seed

CLEAN = 5000
NAMES = "Amara Bilal Chiara Dmitri Esperanza Farid Greta Hiroshi Ingrid Joaquin Kavita Lucian Mireille Nnamdi"
DIGITS = "zero one two three four five six seven eight nine ten eleven twelve"
RESPELT = [
    ("bought", "purchased"), ("buys", "purchases"), ("buy", "purchase"), ("total", "overall sum"),
    ("each", "every single"), ("has", "owns"), ("had", "owned"), ("gives", "hands over"), ("gave", "handed over"),
    ("sold", "traded away"), ("makes", "produces"), ("made", "produced"), ("wants to", "would like to"),
    ("needs", "requires"), ("money", "cash"), ("kids", "children"), ("costs", "is priced at"), ("cost", "price"),
    ("big", "large"), ("small", "little"), ("store", "shop"), ("house", "home"), ("day", "24 hours' time"),
    ("begins", "starts"), ("gets", "receives"), ("got", "received"), ("spends", "uses up"), ("spent", "used up"),
    ("how many", "what number of"), ("how much", "what amount of"), ("altogether", "when all is counted"),
    ("earns", "is paid"), ("works", "is at work"), ("takes", "requires"), ("more than", "above"),
    ("left", "remaining"), ("if", "assuming that"), ("also", "in addition"), ("then", "after that"),
]  # fmt: skip
"""What the retelling by rule says instead."""
KINDS = {
    "copy": "copies", "respelt copy": "copies", "copy in a longer prompt": "copies",
    "renumbered": "renumberings", "renumbered, other names": "renumberings", "numerical substitution": "renumberings",
    "digit expansion": "renumberings", "retold by rule": "paraphrases", "problem understanding": "paraphrases",
}  # fmt: skip


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with q_gsm8k.jsonl.gz")
    parser.add_argument("--retold", type=Path, help="gsmplus_testmini.jsonl of GSM-Plus")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--show", type=int, default=0, help="print so many clean problems that were dropped")
    args = parser.parse_args()
    rows = read(args.data / "q_gsm8k.jsonl.gz")
    evaluated = [problem(row, split="test") for row in rows if row["split"] == "test"]
    rng = random.Random(child_seed("contamination", args.seed))
    clean = [problem(row) for row in rng.sample([row for row in rows if row["split"] == "train"], CLEAN)]
    hidden = [*by_rule(evaluated, rng), *(by_model(args.retold, evaluated) if args.retold else [])]
    mixed = [*clean, *(item for _, _, item in hidden)]
    rng.shuffle(mixed)
    found = contaminated(mixed, evaluated)
    report(hidden, clean, found, args.show)


def read(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a JSONL file, compressed or not."""
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return [json.loads(line) for line in data.decode("utf-8").splitlines()]


def problem(row: dict[str, Any], split: str = "train") -> Problem:
    """Return a row as a problem."""
    return Problem(id=row["id"], question=row["question"], answer=str(row["answer"]), split=split)


def by_rule(evaluated: list[Problem], rng: random.Random) -> Iterator[tuple[str, str, Problem]]:
    """Yield (how, id of the evaluated problem, planted problem) for every third evaluated problem."""
    for original in evaluated[::3]:
        text = original.question
        renumbered = re.sub(r"\d[\d,]*", lambda m: str(rng.randint(2, 10 ** len(m[0].replace(",", "")) + 8)), text)
        for how, changed in (
            ("copy", text),
            ("respelt copy", " ".join(text.upper().replace(",", " ,").replace("$", "$ ").split())),
            ("copy in a longer prompt", f"Solve this problem step by step, and check your work.\n\n{text}\n\nAnswer:"),
            ("renumbered", renumbered),
            ("renumbered, other names", renamed(renumbered, rng)),
            ("retold by rule", retold(text, rng)),
        ):
            item = Problem(id=f"planted {how} {original.id}", question=changed)
            yield how, original.id, item


def renamed(text: str, rng: random.Random) -> str:
    """Give capitalised words that do not begin a sentence only, or that take an apostrophe, other names."""
    counts = Counter(re.findall(r"(?<![.?!] )(?<!^)\b([A-Z][a-z]{2,})\b", text))
    for name, other in zip(counts, rng.sample(NAMES.split(), min(14, len(counts))), strict=False):
        text = re.sub(rf"\b{name}\b", other, text)
    return text


def retold(text: str, rng: random.Random) -> str:
    """Say the same in other words: other names, synonyms, small numbers in words, the question first."""
    for word, other in RESPELT:
        text = re.sub(rf"\b{word}\b", other, text, flags=re.IGNORECASE)
    text = re.sub(r"(?<![\d.,$])\b(\d|1[0-2])\b(?![\d,.%/])", lambda m: DIGITS.split()[int(m[1])], renamed(text, rng))
    sentences = re.split(r"(?<=[.?!])\s+", text.strip())
    return " ".join(["Consider this:", sentences[-1], *sentences[:-1]])


def by_model(path: Path, evaluated: list[Problem]) -> Iterator[tuple[str, str, Problem]]:
    """Yield the variants of GSM-Plus whose seed question is among the evaluated ones."""
    ids = {original.question.strip(): original.id for original in evaluated}
    for number, row in enumerate(read(path)):
        how, seed = row["perturbation_type"], ids.get(row["seed_question"].strip())
        if seed is not None:
            yield how, seed, Problem(id=f"planted {how} {number}", question=row["question"])


def report(hidden: list[tuple[str, str, Problem]], clean: list[Problem], found: dict[str, str], show: int) -> None:
    """Print what was found of each kind, and what was dropped of the clean problems, with 95 % intervals."""
    say = sys.stdout.write
    rows: dict[tuple[str, str], list[bool]] = defaultdict(list)
    for how, seed, item in hidden:
        half = half_of(seed)
        for name in {how, KINDS.get(how, "extended or altered")}:
            rows[name, half].append(item.id in found)
    for (name, half), hits in sorted(rows.items()):
        say(f"{name:36} {half:9} {share(sum(hits), len(hits))}\n")
    for half in ("held out", "tuned"):
        own = [p.id in found for p in clean if half_of(p.id) == half]
        say(f"{'clean problems dropped':36} {half:9} {share(sum(own), len(own))}\n")
    dropped = [p for p in clean if p.id in found]
    ties = Counter(re.sub(r" [\d.%]+", "", found[p.id].split(": ")[1].split(" (")[0]) for p in dropped)
    say(f"  by tie: {dict(ties.most_common())}\n")
    for p in dropped[:show]:
        say(f"  {p.question[:160]}\n    {found[p.id]}\n")


def half_of(seed: str) -> str:
    """Return which half a problem belongs to."""
    return "held out" if int(hashlib.md5(seed.encode(), usedforsecurity=False).hexdigest(), 16) % 2 else "tuned"


def share(count: int, n: int) -> str:
    """Return a proportion with its interval."""
    low, high, _ = wilson(count, n)
    return f"{count / n:7.2%} [{low:.2%}, {high:.2%}] (n {n})"


if __name__ == "__main__":
    main()
