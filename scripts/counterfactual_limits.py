"""How many edits that people made pass our filters, and how many planted bad ones do not: the numbers of the limits.

    python scripts/counterfactual_limits.py --imdb FILE --disco FILE --choices FILE [--cad FOLDER]

Reads pairs of an original and its minimal edit: IMDb reviews and text pairs of counterfactually augmented data (--cad:
a checkout of acmi-lab/counterfactually-augmented-data), GPT-3's text pairs of DISCO. Each edit is put as a reply of a
teacher and goes the way of one: read, applied to our text, filtered. Planted are, of the same originals: unchanged
copies, rewrites from scratch (another item's text), edits that name a label, edits whose span or declared text does not
match, and replies that alter the options of a multiple choice. No model is asked; who checks the label is the jury.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from potstill.evaluation.statistics import wilson
from potstill.files import read_rows
from potstill.generators.asking import Failed
from potstill.generators.edits import apply, fields_of, read_edit
from potstill.generators.filters import Case, cheap, first_refusal
from potstill.recipe.counterfactual import LimitsConfig
from potstill.records import Problem
from potstill.teachers.base import Completion

NLI = ("entailment", "neutral", "contradiction")
Pair = tuple[Problem, str, str, str]
"""Original, edited field, its text after the edit, the new label."""


def imdb_pairs(path: str) -> Iterator[Pair]:
    """Yield reviews and their revisions."""
    pairs: dict[str, dict[str, dict[str, str]]] = defaultdict(dict)
    for _, row in read_rows(path):
        pairs[row["pair_id"]][row["role"]] = row
    for pair in pairs.values():
        if {"original", "revised"} <= set(pair):
            row = pair["original"]
            problem = Problem(id=row["id"], question=row["question"], answer=row["answer"], answer_type="label",
                              labels=("positive", "negative"))  # fmt: skip
            yield problem, "question", pair["revised"]["question"], pair["revised"]["answer"]


def text_pair(premise: str, hypothesis: str, label: str) -> Problem:
    """Return a text pair as a problem."""
    fields = {"premise": premise, "hypothesis": hypothesis}
    return Problem(id="p", question=f"Premise: {premise}\nHypothesis: {hypothesis}", answer=label, answer_type="label",
                   labels=NLI, fields=fields)  # fmt: skip


def disco_pairs(path: str) -> Iterator[Pair]:
    """Yield GPT-3's edits of premises that DISCO's own filter accepted."""
    for _, row in read_rows(path):
        before, after = _split(row["original_question"]), _split(row["question"])
        if row.get("accept") and before and after and before[1] == after[1]:
            yield text_pair(*before, row["original_answer"]), "premise", after[0], row["answer"]


def _split(question: str) -> tuple[str, str] | None:
    premise, found, hypothesis = question.removeprefix("Premise: ").partition("\nHypothesis: ")
    return (premise, hypothesis) if found else None


def cad_pairs(folder: Path, split: str) -> Iterator[Pair]:
    """Yield people's edits of premises and hypotheses; each original has two of each."""
    originals = _tsv(folder / "NLI" / "original" / f"{split}.tsv")
    for field, column, other in (("premise", "sentence1", "sentence2"), ("hypothesis", "sentence2", "sentence1")):
        revised = _tsv(folder / "NLI" / f"revised_{field}" / f"{split}.tsv")
        for at, row in enumerate(originals):
            for edited in revised[2 * at : 2 * at + 2]:
                if edited[other] == row[other]:
                    problem = text_pair(row["sentence1"], row["sentence2"], row["gold_label"])
                    yield problem, field, edited[column], edited["gold_label"]


def _tsv(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def as_reply(before: str, after: str, field: str) -> dict[str, object]:
    """Return the reply of a teacher that makes this edit: the words between what both texts begin and end with."""
    old, new = before.split(" "), after.split(" ")
    start = 0
    while start < min(len(old), len(new)) - 1 and old[start] == new[start]:
        start += 1
    end = 0
    while end < min(len(old), len(new)) - start - 1 and old[-1 - end] == new[-1 - end]:
        end += 1
    edit = {"field": field, "old": " ".join(old[start : len(old) - end]), "new": " ".join(new[start : len(new) - end])}
    return {"status": "ok", "edits": [edit], "edited": after}


def judged(problem: Problem, reply: dict[str, object], target: str) -> str:
    """Return why a reply is refused; empty: it goes to the jury."""
    completion = Completion(text=json.dumps(reply), finish="stop")
    draft = read_edit(completion, problem, list(fields_of(problem)))
    if isinstance(draft, Failed):
        return draft.reason
    text = apply(fields_of(problem)[draft.field], draft)
    if isinstance(text, Failed):
        return text.reason
    return first_refusal(Case(problem, draft.field, text, target), cheap(LimitsConfig())).reason


def planted(pairs: Sequence[Pair], rng: random.Random) -> Iterator[tuple[str, Problem, dict[str, object], str]]:
    """Yield (what is wrong with it, original, reply, target) of bad edits of the same originals."""
    for problem, field, after, target in pairs:
        before = fields_of(problem)[field]
        yield "unchanged copy", problem, as_reply(before, before.rstrip(".").upper() + ".", field), target
        other, its_field, _, _ = rng.choice(pairs)
        if its_field == field and fields_of(other)[field] != before:
            yield "rewrite from scratch", problem, as_reply(before, fields_of(other)[field], field), target
        yield "label word leaked", problem, as_reply(before, f"{after} It is {target}.", field), target
        reply = as_reply(before, after, field)
        yield "declared text differs", problem, {**reply, "edited": f"{after} And more."}, target
        edit = dict(reply["edits"][0])  # type: ignore[index]
        edit["old"] = f"nowhere {edit['old']}"
        yield "span not there", problem, {**reply, "edits": [edit]}, target


def altered(path: str) -> Iterator[tuple[str, Problem, dict[str, object], str]]:
    """Yield replies that change an option of a multiple choice, openly or as an edit."""
    for _, row in read_rows(path):
        options = [str(one) for one in row["options"]]
        problem = Problem(id=row["id"], question=row["question"], answer="(a)", answer_type="choice",
                          options=tuple(options))  # fmt: skip
        words = row["question"].split(" ")
        edit = {"field": "question", "old": words[-1], "new": "elsewhere?"}
        yield "options altered", problem, {"status": "ok", "edits": [edit], "options": [*options[1:], "x"]}, "(b)"
        edit = {"field": "options", "old": options[1], "new": "x"}
        yield "options altered", problem, {"status": "ok", "edits": [edit]}, "(b)"


def show(name: str, reasons: Sequence[str], *, of_passing: bool) -> None:
    """Print one row of the table."""
    passing = sum(not reason for reason in reasons)
    count = passing if of_passing else len(reasons) - passing
    bounds = wilson(count, len(reasons))
    most = ", ".join(f"{n} {reason}" for reason, n in Counter(filter(None, reasons)).most_common(4))
    word = "pass" if of_passing else "refused"
    sys.stdout.write(f"{name:38} {len(reasons):6,} {word:>8} {100 * count / len(reasons):5.1f} % "
        f"[{100 * bounds.low:.1f}, {100 * bounds.high:.1f}]  {most}\n")  # fmt: skip


def main() -> None:
    """Print the shares."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--imdb", metavar="FILE")
    parser.add_argument("--disco", metavar="FILE")
    parser.add_argument("--choices", metavar="FILE")
    parser.add_argument("--cad", metavar="FOLDER", type=Path)
    parser.add_argument("--split", default="train", help="of --cad")
    options = parser.parse_args()
    sets: dict[str, list[Pair]] = {}
    if options.imdb:
        sets["IMDb, people"] = list(imdb_pairs(options.imdb))
    if options.cad:
        found = list(cad_pairs(options.cad, options.split))
        sets["NLI premise, people"] = [pair for pair in found if pair[1] == "premise"]
        sets["NLI hypothesis, people"] = [pair for pair in found if pair[1] == "hypothesis"]
    if options.disco:
        sets["NLI premise, DISCO (GPT-3)"] = list(disco_pairs(options.disco))
    bad: dict[str, list[str]] = defaultdict(list)
    for name, pairs in sets.items():
        replies = [judged(p, as_reply(fields_of(p)[f], after, f), target) for p, f, after, target in pairs]
        show(name, replies, of_passing=True)
        small = [reason for reason in replies if reason not in ("label_leaked", "banned_text", "copies_field")]
        show("  by format and minimality alone", [*small, *[""] * (len(replies) - len(small))], of_passing=True)
        for kind, problem, reply, target in planted(pairs, random.Random(0)):
            bad[f"{kind}, {name.partition(',')[0]}"].append(judged(problem, reply, target))
    for kind, problem, reply, target in altered(options.choices) if options.choices else ():
        bad[kind].append(judged(problem, reply, target))
    for name, reasons in sorted(bad.items()):
        show(name, reasons, of_passing=False)
    show("all planted", [reason for reasons in bad.values() for reason in reasons], of_passing=False)


if __name__ == "__main__":
    main()
