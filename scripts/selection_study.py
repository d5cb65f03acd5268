"""Choose 5 of 30 recorded programs per question by each rule, and measure what can be measured without training.

    python scripts/selection_study.py --data ../shared/data/dev --verdicts verdicts.jsonl

Programs: 30 draws of code-davinci-002 at T = 0.5 for each question of AQuA's test split (Program-of-Thoughts, Chen et
al. 2022, outputs/aqua_*), run in the sandbox; verdicts are kept in a file, so a second call does not run them again.
Likelihood cannot be compared: the recordings hold no log-probabilities. Per question and rule, over ten seeds:

    right        share of the chosen programs whose answer is right
    vote         whether the most frequent option of the chosen ones is right; values that are no option do not vote
    any          whether one of the chosen is right
    as_all       whether their most frequent option is that of all 30 (questions where one of the 30 gave an option)
    values       different values among the chosen, options or not
    structures   different programs among the chosen (names, layout and comments do not count)
    tokens       words of the chosen programs
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from potstill import load_problems, verify
from potstill.evaluation.statistics import hierarchical_bootstrap, paired_bootstrap
from potstill.files import Appender, read_records
from potstill.rationales.selecting import select, structure
from potstill.recipe.rationales import SelectConfig
from potstill.records import Rationale, Status, Verdict

RULES = ("random", "diverse", "structure", "short", "long", "mixed_length", "open_ended")
BATCH = 500
STYLE = "sc_t0.5_n30"
Measure = Callable[[Sequence[Rationale], str | None], float]


def main() -> None:
    """Print one table for all programs, one for the right ones."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--data", type=Path, required=True, help="folder with r_pot_codex_aqua_sc30.jsonl.gz, q_aqua.jsonl.gz"
    )
    parser.add_argument("--verdicts", type=Path, required=True, help="where verdicts are kept")
    parser.add_argument("--n", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=10)
    args = parser.parse_args()
    rows = judged(args.data, args.verdicts)
    statuses = Counter(r.verdict.status.value for r in rows if r.verdict is not None)
    sys.stdout.write(f"{len(rows)} programs of {len({r.problem_id for r in rows})} questions: {dict(statuses)}\n")
    compare("all programs", rows, args.n, args.seeds, tuple(MEASURES))
    right = [r for r in rows if r.verdict is not None and r.verdict.correct]
    compare("right programs only", right, args.n, args.seeds, ("structures", "tokens"))


def judged(data: Path, verdicts: Path) -> list[Rationale]:
    """Return the recorded programs with their verdicts, run now unless that was done before."""
    problems = {p.id: p for p in load_problems(str(data / "q_aqua.jsonl.gz"), split="test")}
    found = recorded(data / "r_pot_codex_aqua_sc30.jsonl.gz")
    rows = [replace(r, problem=problems[r.problem_id]) for r in sorted(found, key=lambda r: (r.problem_id, r.index))]
    known = {v.rationale_id for v in read_records(verdicts, Verdict)} if verdicts.exists() else set()
    left = [r for r in rows if r.id not in known]
    with Appender(verdicts) as appender:
        for at in range(0, len(left), BATCH):
            appender.append([r.verdict for r in verify(left[at : at + BATCH], problems) if r.verdict is not None])
            sys.stderr.write(f"{len(known) + at} of {len(rows)} programs run\n")
    by_id = {v.rationale_id: v for v in read_records(verdicts, Verdict)}
    return [replace(r, verdict=by_id[r.id]) for r in rows]


def recorded(path: Path) -> Iterator[Rationale]:
    """Yield the 30 draws per question."""
    for line in gzip.decompress(path.read_bytes()).decode("utf-8").splitlines():
        row = json.loads(line)
        if row["style"] == STYLE:
            id_ = f"{row['question_id']}.{row['sample']}"
            yield Rationale(id=id_, problem_id=row["question_id"], kind="pot", text=row["text"], index=row["sample"])


def compare(title: str, rows: list[Rationale], n: int, seeds: int, names: Sequence[str]) -> None:
    """Print the measures named of every rule, and its difference from random, with 95 % intervals over questions."""
    groups: dict[str, list[Rationale]] = defaultdict(list)
    for rationale in rows:
        groups[rationale.problem_id].append(rationale)
    votes = {id_: vote(members) for id_, members in groups.items()}
    marks = {rule: measured(rows, rule, n, seeds, votes) for rule in RULES}
    say = sys.stdout.write
    say(f"\n{title}: {len(rows)} of {len(groups)} questions, {n} chosen of each, {seeds} seeds; ")
    say(f"the vote over all is right on {sum(map(is_right, groups.values())) / len(groups):.3f}\n")
    for name in names:
        for rule in RULES:
            mine, random = marks[rule][name], marks["random"][name]
            low, high, _ = hierarchical_bootstrap(mine)
            against = paired_bootstrap(mine, random) if rule != "random" else None
            more = f"  {against.difference:+.3f} [{against.low:+.3f}, {against.high:+.3f}]" if against else ""
            say(f"{name:12}{rule:14}{np.nanmean(mine):7.3f} [{low:.3f}, {high:.3f}]{more}\n")


def measured(
    rows: list[Rationale], rule: str, n: int, seeds: int, votes: dict[str, str | None]
) -> dict[str, np.ndarray]:
    """Return each measure as a matrix of seeds and questions."""
    config = SelectConfig.model_validate({"by": rule, "n": n})
    marks: dict[str, list[list[float]]] = {name: [] for name in MEASURES}
    for seed in range(seeds):
        chosen: dict[str, list[Rationale]] = defaultdict(list)
        for rationale in select(rows, config, seed=seed):
            chosen[rationale.problem_id].append(rationale)
        for name, measure in MEASURES.items():
            marks[name].append([measure(chosen[id_], votes[id_]) for id_ in sorted(votes)])
    return {name: np.array(values) for name, values in marks.items()}


def vote(rationales: Sequence[Rationale]) -> str | None:
    """Return the most frequent option; of equally frequent ones that of the lowest index."""
    found = [r.verdict for r in sorted(rationales, key=lambda r: r.index) if r.verdict is not None]
    counts = Counter(verdict.answer for verdict in found if verdict.answer is not None)
    return counts.most_common(1)[0][0] if counts else None


def values(rationales: Sequence[Rationale]) -> set[str]:
    """Return the different results of programs that ran: options, and values that are none of them."""
    ran = [r.verdict for r in rationales if r.verdict is not None and r.verdict.status is not Status.PROGRAM_FAILED]
    return {verdict.answer or verdict.detail for verdict in ran}


def is_right(rationales: Sequence[Rationale]) -> float:
    """Return whether the vote is the gold answer."""
    winner = vote(rationales)
    return float(any(r.verdict is not None and r.verdict.correct and r.verdict.answer == winner for r in rationales))


MEASURES: dict[str, Measure] = {
    "right": lambda chosen, _: sum(r.verdict is not None and r.verdict.correct for r in chosen) / len(chosen),
    "vote": lambda chosen, _: is_right(chosen),
    "any": lambda chosen, _: float(any(r.verdict is not None and r.verdict.correct for r in chosen)),
    "as_all": lambda chosen, winner: float(vote(chosen) == winner) if winner is not None else np.nan,
    "values": lambda chosen, _: float(len(values(chosen))),
    "structures": lambda chosen, _: float(len({structure(r) for r in chosen})),
    "tokens": lambda chosen, _: sum(len(r.text.split()) for r in chosen) / len(chosen),
}


if __name__ == "__main__":
    main()
