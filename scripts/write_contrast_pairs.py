"""Write pairs of an original and an edited item, as people or models wrote them, as problems and recorded labels.

    python scripts/write_contrast_pairs.py --imdb FILE --disco FILE --gsm-plus FILE --out runs/pairs

Reads files of originals and edits (JSON Lines, also .gz) and writes, for each one given, `NAME.jsonl`: problems, of
which an edited one names its original in `parent_id` and carries `meta.counterfactual`. Beside them `labels_NAME.jsonl`
holds the gold labels of the training problems as recorded answers, so that a student can learn them without a teacher.

    imdb       people's counterfactual reviews (Kaushik et al. 2020, arXiv:1909.12434), `pair_id` and `role`
    disco      GPT-3's counterfactual premises (Chen et al. 2023, arXiv:2212.10534), with `original_question`
    gsm_plus   variations of GSM8K (Li Qintong et al. 2024, arXiv:2402.19255), with `seed_question`

Splits: the file's training pairs are `train`; of the others the originals are `test` and the edits `contrast`. A file
without training pairs is divided by pair, drawn by the pair's name. Nothing is cut; texts that occur twice stay. Pairs
of which both rows claim the same role are left out and counted.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from potstill.files import read_rows, write_records
from potstill.records import Problem, Rationale, child_seed, content_id, to_dict

NLI = ("entailment", "neutral", "contradiction")
HELD_OUT = 0.3
"""Of the pairs of a file that has no split of its own."""
_PAIR = re.compile(r"Premise: (.*)\nHypothesis: (.*)", re.DOTALL)


def main() -> None:
    """Write the files that are asked for, and say what is in them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("imdb", "disco", "gsm-plus"):
        parser.add_argument(f"--{name}", metavar="FILE")
    parser.add_argument("--out", default="runs/pairs", metavar="DIR")
    options = parser.parse_args()
    makers = {"imdb": imdb, "disco": disco, "gsm_plus": gsm_plus}
    for name, make in makers.items():
        if source := getattr(options, name):
            problems = list(make([row for _, row in read_rows(source)]))
            write(problems, Path(options.out), name)


def imdb(rows: list[dict[str, Any]]) -> Iterator[Problem]:
    """Yield the reviews: each original, and what people made of it so that its sentiment turns."""
    roles: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        roles[row["pair_id"]].add(row["role"])
    unclear = {pair for pair, found in roles.items() if len(found) < 2}
    say(f"imdb: {len(unclear)} pairs left out, whose rows have one role: {', '.join(sorted(unclear))}")
    rows = [row for row in rows if row["pair_id"] not in unclear]
    originals = {row["pair_id"]: row for row in rows if row["role"] == "original"}
    for row in rows:
        parent = None if row["role"] == "original" else originals[row["pair_id"]]
        split = "train" if row["split"] == "train" else "test" if parent is None else "contrast"
        text = " ".join(row["question"].replace("<br />", " ").split())
        yield _problem(row["id"], text, {"text": text}, row["answer"], ("positive", "negative"), split, parent)


def disco(rows: list[dict[str, Any]]) -> Iterator[Problem]:
    """Yield premises and hypotheses: each original once, and the accepted edits of its premise."""
    seen: set[str] = set()
    for row in rows:
        if not row["accept"]:
            continue
        split = _divided(row["original_question"])
        old = content_id("disco", row["original_question"])
        first = {"id": old, "answer": row["original_answer"]}
        if old not in seen:
            seen.add(old)
            yield _nli(old, row["original_question"], row["original_answer"], split, None)
        yield _nli(row["id"], row["question"], row["answer"], "contrast" if split == "test" else split, first)


def gsm_plus(rows: list[dict[str, Any]]) -> Iterator[Problem]:
    """Yield word problems and their variations; one that has the original's answer keeps its label."""
    seen: set[str] = set()
    for row in rows:
        first = {"id": row["seed_id"], "answer": str(row["seed_answer"])}
        split = _divided(row["seed_id"])
        if row["seed_id"] not in seen:
            seen.add(row["seed_id"])
            yield Problem(id=row["seed_id"], question=row["seed_question"], answer=first["answer"],
                          answer_type="number", split=split, source="gsm_plus")  # fmt: skip
        said = _said(first["answer"], str(row["answer"]), row["seed_id"], row["perturbation_type"])
        yield Problem(id=row["id"], question=row["question"], answer=str(row["answer"]), answer_type="number",
                      split="contrast" if split == "test" else split, parent_id=row["seed_id"], source="gsm_plus",
                      meta=said)  # fmt: skip


def _nli(name: str, text: str, answer: str, split: str, parent: dict[str, Any] | None) -> Problem:
    found = _PAIR.fullmatch(text)
    fields = {"premise": found[1], "hypothesis": found[2]} if found else {"question": text}
    return _problem(name, f"{text}\nIs it entailment, neutral or contradiction?", fields, answer, NLI, split, parent)


def _problem(
    name: str, question: str, fields: dict[str, str], answer: str, labels: tuple[str, ...], split: str,
    parent: dict[str, Any] | None,
) -> Problem:  # fmt: skip
    meta = {} if parent is None else _said(parent["answer"], answer, parent["id"], "")
    return Problem(id=name, question=question, answer=answer, answer_type="label", labels=labels, fields=fields,
                   split=split, parent_id=parent and parent["id"], meta=meta)  # fmt: skip


def _said(old: str, new: str, pair: str, kind: str) -> dict[str, Any]:
    role = "invariant" if old == new else "counterfactual"
    return {"counterfactual": {"role": role, "from": old, "to": new, "kind": kind, "pair": pair, "author": "recorded"}}


def _divided(pair: str) -> str:
    return "test" if child_seed("contrast pairs", pair) % 1000 < 1000 * HELD_OUT else "train"


def say(line: str) -> None:
    """Write a line to stdout."""
    sys.stdout.write(line + "\n")


def write(problems: list[Problem], folder: Path, name: str) -> None:
    """Write the problems, and the labels of those that are learnt from as recorded answers."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({**to_dict(p), "split": p.split}, ensure_ascii=False) + "\n" for p in problems]
    (folder / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
    labels = [
        Rationale(id=content_id("label", p.id), problem_id=p.id, kind="answer", author="recorded", finish="stop",
                  text=f"So the answer is: {p.answer}")
        for p in problems if p.split == "train"
    ]  # fmt: skip
    write_records(folder / f"labels_{name}.jsonl", labels)
    counts = Counter(f"{p.split} {'edited' if p.parent_id else 'original'} {p.answer}" for p in problems if p.labels)
    counts = counts or Counter(f"{p.split} {'edited' if p.parent_id else 'original'}" for p in problems)
    say(f"{name}: {len(problems)} problems ({', '.join(f'{n} {what}' for what, n in sorted(counts.items()))})")


if __name__ == "__main__":
    main()
