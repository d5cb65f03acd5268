"""Vote over recorded chains of thought and programs of real models, and say what both kinds together are worth.

    python scripts/vote_study.py --data ../shared/data/dev --verdicts v.jsonl --out docs/study/recorded_votes.json

Nothing is sampled or trained: the paths are what real models once wrote for the same questions, verified here (programs
in the sandbox; verdicts are kept in a file, so that a second call does not run them again). A voter is one model with
one way of being asked, and has one path per question; AQuA alone has 30 draws of one model. So a vote of k is mostly an
ENSEMBLE of k different models and not k samples of one student: how it grows with k is no estimate of self-consistency,
and a kind that looks better may be a better model. Two parts of the output allow for that: `swap`, where one voter of a
committee is exchanged for one of the other kind that is about as often right by itself, and `single` of every row, the
mean accuracy of its voters alone.

    single      each voter alone
    curve       votes of k: chains of thought only, programs only, as many of each; `draws` random committees
    differences votes of both kinds against those of one, at equal k
    swap        a program for a chain of thought of equal accuracy, in committees of chains of thought
    weights     all voters, the weight of a kind chosen on one half of the families and used on the other
    gated       answer only where the majority of both kinds agree: coverage, and what is right
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import random
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from potstill import load_problems, verify
from potstill.evaluation.statistics import compare_marks, hierarchical_bootstrap, paired_bootstrap, seed_mean
from potstill.files import Appender, read_records
from potstill.rationales.families import families
from potstill.records import Problem, Rationale, Verdict, child_seed
from potstill.students.voting import valid_answer, vote

BATCH = 500
WEIGHTS = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)
"""What a program's vote may count where that of a chain of thought counts 1."""
NEAR = 0.03
"""Voters whose accuracies differ by no more count as equally good."""
Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Setting:
    """Questions, and who answered them how: pairs of a file and the voters read from it (empty: all)."""

    questions: str
    prefix: str
    split: str | None
    files: tuple[tuple[str, tuple[str, ...]], ...]


GSM8K_TEACHERS = "r_zeroeval_gsm8k_10teachers"
SETTINGS = {
    "gsm8k": Setting(
        "q_gsm8k",
        "gsm8k-test-",
        "test",
        tuple(
            (name, ())
            for name in (GSM8K_TEACHERS, "r_openai_gsm8k_4", "r_kojima_davinci002", "r_pot_codex", "r_tora_gsm8k")
        ),
    ),
    "gsm8k, models of 2021-22": Setting(
        "q_gsm8k",
        "gsm8k-test-",
        "test",
        tuple((name, ()) for name in ("r_openai_gsm8k_4", "r_kojima_davinci002", "r_pot_codex")),
    ),
    "svamp": Setting(
        "q_svamp",
        "svamp-",
        None,
        tuple((name, ()) for name in ("r_reasoning_teacher_davinci002", "r_dss_palm_svamp", "r_pot_codex")),
    ),
    "aqua": Setting(
        "q_aqua",
        "aqua-test-",
        "test",
        (("r_kojima_davinci002", ()), ("r_pot_codex_aqua_sc30", ("sc_t0.5_n30", "cot"))),
    ),
}


def main() -> None:
    """Verify what was recorded, vote, and write one JSON file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with the q_* and r_* files named in SETTINGS")
    parser.add_argument("--verdicts", type=Path, required=True, help="where verdicts are kept")
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    parser.add_argument("--draws", type=int, default=20, help="random committees of each size")
    args = parser.parse_args()
    report = {}
    for name, setting in SETTINGS.items():
        problems, paths = recorded(args.data, setting)
        pool = Pool.of(judged(paths, problems, args.verdicts), problems)
        sys.stderr.write(f"{name}: {len(pool.ids)} questions, {len(pool.paths)} voters\n")
        report[name] = studied(pool, args.draws)
    args.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def recorded(data: Path, setting: Setting) -> tuple[dict[str, Problem], list[Rationale]]:
    """Return the questions, and every voter's path for each."""
    problems = {p.id: p for p in load_problems(str(data / f"{setting.questions}.jsonl.gz"), split=setting.split)}
    found: dict[str, Rationale] = {}
    for file, styles in setting.files:
        for row in rows_of(data / f"{file}.jsonl.gz"):
            if row["question_id"].startswith(setting.prefix) and (not styles or row.get("style") in styles):
                path = path_of(row)
                found.setdefault(path.id, path)
    return {id_: p for id_, p in problems.items() if id_.startswith(setting.prefix)}, list(found.values())


def rows_of(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a compressed file."""
    for line in gzip.decompress(path.read_bytes()).decode("utf-8").splitlines():
        yield json.loads(line)


def path_of(row: Mapping[str, Any]) -> Rationale:
    """Return a recorded row as a path; the voter's name is its author.

    Where the model was asked for its answer apart from its reasoning (a second prompt, a JSON field), the recordings
    hold the two apart, and what it said is both.
    """
    style = row.get("style") or ""
    voter = f"{row['teacher']} {row['kind']}" + (f" {style}" if style not in ("", "cot") else "")
    if style.startswith("sc_"):
        voter += f" #{row['sample']:02d}"
    apart = row.get("answer_completion") or row.get("raw_answer") or (row.get("json_ok") and row["answer_extracted"])
    text = f"{row['text']}\nTherefore, the answer is {str(apart).strip()}" if apart else row["text"]
    finish = "length" if row.get("finish_reason") == "length" and not apart else None
    id_ = f"{row['question_id']}/{voter}"
    return Rationale(id=id_, problem_id=row["question_id"], kind=row["kind"], text=text, author=voter, finish=finish)


def judged(paths: Sequence[Rationale], problems: Mapping[str, Problem], file: Path) -> list[Rationale]:
    """Return the paths with their verdicts, found now unless that was done before."""
    known = {v.rationale_id for v in read_records(file, Verdict)} if file.exists() else set()
    left = [path for path in paths if path.id not in known and path.problem_id in problems]
    with Appender(file) as appender:
        for at in range(0, len(left), BATCH):
            appender.append([p.verdict for p in verify(left[at : at + BATCH], problems) if p.verdict is not None])
    by_id = {v.rationale_id: v for v in read_records(file, Verdict)}
    return [replace(path, text="", verdict=by_id[path.id]) for path in paths if path.id in by_id]


@dataclass(frozen=True, slots=True)
class Pool:
    """Every voter's verified path for the questions that all of them answered."""

    ids: list[str]
    groups: list[str]
    """The family of each question."""
    voters: dict[str, list[str]]
    """Kind -> its voters."""
    paths: dict[str, list[Rationale]]
    """Voter -> its path for each of `ids`."""
    right: dict[str, Matrix]
    """Voter -> whether each is right."""

    @classmethod
    def of(cls, paths: Sequence[Rationale], problems: Mapping[str, Problem]) -> Pool:
        """Return the pool over the questions that every voter answered and that could be checked."""
        by_voter: dict[str, dict[str, Rationale]] = defaultdict(dict)
        kinds: dict[str, set[str]] = defaultdict(set)
        for path in paths:
            by_voter[path.author or ""][path.problem_id] = path
            kinds[path.kind].add(path.author or "")
        ids = sorted(set.intersection(*(set(held) for held in by_voter.values())))
        family = families(problems[id_] for id_ in ids)
        held = {voter: [of[id_] for id_ in ids] for voter, of in by_voter.items()}
        right = {voter: np.array([mark(path) for path in rows]) for voter, rows in held.items()}
        voters = {kind: sorted(names) for kind, names in kinds.items()}
        return cls(ids, [family[id_] for id_ in ids], voters, held, right)

    def voted(self, committee: Sequence[str], weights: Mapping[str, float] | None = None, *, seed: int = 0) -> Matrix:
        """Return whether the vote of a committee is right on each question; of tied answers a random one wins."""
        order = random.Random(seed)
        marks = []
        for at in range(len(self.ids)):
            paths = [self.paths[voter][at] for voter in order.sample(list(committee), len(committee))]
            winner = vote(paths, weights=weights).winner
            marks.append(0.0 if winner is None else mark(winner))
        return np.array(marks)

    def single(self, committee: Sequence[str]) -> float:
        """Return the mean accuracy of the voters by themselves."""
        return float(np.nanmean([self.right[voter] for voter in committee]))


def mark(path: Rationale) -> float:
    """Return 1 for right, 0 for not right, NaN for what could not be checked."""
    assert path.verdict is not None, "judged sets every verdict"
    return float(path.verdict.correct) if path.verdict.scored else float("nan")


def studied(pool: Pool, draws: int) -> dict[str, Any]:
    """Return every part of the study for one set of questions."""
    curve, votes = grown(pool, draws)
    return {
        "questions": len(pool.ids),
        "families": len(set(pool.groups)),
        "single": [alone(pool, kind, voter) for kind, names in pool.voters.items() for voter in grouped(names)],
        "curve": curve,
        "differences": differences(pool, votes),
        "swap": swapped(pool, draws),
        "weights": weighed(pool),
        "gated": gated(pool),
    }


def grouped(names: Sequence[str]) -> list[str]:
    """Return the voters to list by themselves: of the draws of one model the first."""
    return [name for name in names if "#" not in name or name.endswith("#00")]


def alone(pool: Pool, kind: str, voter: str) -> dict[str, Any]:
    """Return one voter's accuracy, and what its paths came to."""
    statuses = Counter(path.verdict.status.value for path in pool.paths[voter] if path.verdict is not None)
    return {"voter": voter, "kind": kind, **scored(pool, pool.right[voter]), "statuses": dict(sorted(statuses.items()))}


def scored(pool: Pool, marks: Matrix) -> dict[str, Any]:
    """Return the mean of marks (questions, or draws and questions) with its 95 % interval."""
    matrix = np.atleast_2d(marks)
    low, high, _ = hierarchical_bootstrap(matrix, pool.groups)
    return {"right": figure(seed_mean(matrix)), "low": figure(low), "high": figure(high)}


def figure(value: float) -> float:
    """Return a share with four decimals."""
    return round(float(value), 4)


def committees(pool: Pool, parts: Mapping[str, int], draws: int) -> list[list[str]]:
    """Return random committees with so many voters of each kind, no two alike; all of them where there are few."""
    options = [list(itertools.islice(itertools.combinations(pool.voters[k], n), 5000)) for k, n in parts.items()]
    total = int(np.prod([len(option) for option in options]))
    if total <= draws:
        return [list(itertools.chain(*choice)) for choice in itertools.product(*options)]
    rng = random.Random(child_seed("committees", *parts.values()))
    found: dict[tuple[str, ...], None] = {}
    while len(found) < draws:
        found[tuple(v for kind, n in parts.items() for v in sorted(rng.sample(pool.voters[kind], n)))] = None
    return [list(choice) for choice in found]


def grown(pool: Pool, draws: int) -> tuple[list[dict[str, Any]], dict[tuple[str, int], Matrix]]:
    """Return the vote's accuracy for every composition and number of paths, and the marks of each."""
    most = {kind: len(names) for kind, names in pool.voters.items()}
    rows, votes = [], {}
    for paths in (1, 2, 3, 4, 6, 8, 10, 15, 20, 30):
        each = min(paths // 2, most["cot"])
        parts = {"cot only": {"cot": paths}, "pot only": {"pot": paths}}
        if paths > 1 and (paths % 2 == 0 or each == most["cot"]):
            parts["both"] = {"cot": each, "pot": paths - each}
        for name, wanted in parts.items():
            if any(count > most[kind] for kind, count in wanted.items()):
                continue
            chosen = committees(pool, wanted, draws)
            matrix = np.array([pool.voted(one, seed=child_seed(name, paths, at)) for at, one in enumerate(chosen)])
            votes[name, paths] = matrix
            single = float(np.mean([pool.single(one) for one in chosen]))
            label = {"of": name, "paths": paths, **wanted, "draws": len(chosen), "single": figure(single)}
            rows.append({**label, **scored(pool, matrix)})
    return rows, votes


def differences(pool: Pool, votes: Mapping[tuple[str, int], Matrix]) -> list[dict[str, Any]]:
    """Return the vote of both kinds minus that of one kind, at equal numbers of paths."""
    rows = []
    for (name, paths), matrix in votes.items():
        for other in ("cot only", "pot only"):
            if name == "both" and (other, paths) in votes:
                found = paired_bootstrap(matrix, votes[other, paths], pool.groups)
                rows.append({"a": name, "b": other, "paths": paths, **difference(found)})
    return rows


def difference(found: Any) -> dict[str, float]:
    """Return a paired difference with its interval."""
    return {"difference": figure(found.difference), "low": figure(found.low), "high": figure(found.high)}


def swapped(pool: Pool, draws: int) -> list[dict[str, Any]]:
    """Return what it brings to exchange a chain of thought for a program of equal accuracy, the others as before."""
    cots, pots = pool.voters["cot"], grouped(pool.voters["pot"])
    pairs = [(p, c) for p in pots for c in cots if abs(pool.single([p]) - pool.single([c])) <= NEAR]
    rows = []
    for size in (2, 3, 4, 6, 8):
        gains, chosen = [], []
        for pot, cot in pairs:
            rest = [voter for voter in cots if voter != cot]
            rng = random.Random(child_seed("swap", size, pot, cot))
            for draw in range(draws if len(rest) >= size else 0):
                others = rng.sample(rest, size - 1)
                a, b = (pool.voted([one, *others], seed=draw) for one in (pot, cot))
                gains.append(a - b)
                chosen.append((pot, cot))
        if gains:
            found = scored(pool, np.array(gains))
            row = {"paths": size, "draws": len(gains), "pairs": sorted({f"{p} for {c}" for p, c in chosen})}
            rows.append({**row, "difference": found.pop("right"), **found})
    return rows


def weighed(pool: Pool) -> dict[str, Any]:
    """Return the votes of all voters: unweighted, and with the weight of programs chosen on other families."""
    everyone = [voter for names in pool.voters.values() for voter in names]
    votes = {weight: pool.voted(everyone, {"pot": weight}, seed=0) for weight in WEIGHTS}
    half = np.array([child_seed("half", group) % 2 for group in pool.groups])
    chosen, fitted = {}, np.zeros(len(half))
    for side in (0, 1):
        best = max(WEIGHTS, key=lambda weight: (float(np.nanmean(votes[weight][half == side])), -abs(weight - 1)))
        fitted[half != side] = votes[best][half != side]
        chosen[f"chosen_on_half_{side}"] = best
    return {
        "voters": {kind: len(names) for kind, names in pool.voters.items()},
        "by_weight": [{"pot": weight, **scored(pool, marks)} for weight, marks in votes.items()],
        **chosen,
        "chosen": scored(pool, fitted),
        "chosen_minus_equal": difference(compare_marks(fitted, votes[1.0], pool.groups)),
        "equal_minus_best_voter": difference(compare_marks(votes[1.0], best_voter(pool), pool.groups)),
    }


def best_voter(pool: Pool) -> Matrix:
    """Return the marks of the voter that is right most often."""
    return max(pool.right.values(), key=lambda marks: float(np.nanmean(marks)))


def gated(pool: Pool) -> dict[str, Any]:
    """Return coverage and accuracy where the majorities of both kinds agree, and of every pair of single voters."""
    cots, pots = (majority(pool, pool.voters[kind]) for kind in ("cot", "pot"))
    agree = np.array([agreeing(a, b) for a, b in zip(cots, pots, strict=True)])
    found = {"majorities": gate(pool, agree, np.array([mark(path) for path in cots]))}
    for title, kinds in (("two of one kind", ("cot", "cot")), ("one of each", ("cot", "pot"))):
        names = [list(pool.voters[kind]) for kind in kinds]
        pairs = {tuple(sorted(p)) for p in itertools.product(names[0], grouped(names[1])) if p[0] != p[1]}
        marks = [pool.right[a] for a, _ in pairs]
        same = [np.array(list(map(agreeing, pool.paths[a], pool.paths[b]))) for a, b in pairs]
        if pairs:
            found[title] = {**gate(pool, np.array(same), np.array(marks)), "pairs": len(pairs),
                            "single": figure(np.mean([pool.single(pair) for pair in pairs]))}  # fmt: skip
    return found


def gate(pool: Pool, agree: Any, marks: Matrix) -> dict[str, Any]:
    """Return how many questions are answered, and how many of those are right."""
    agree, marks = np.atleast_2d(agree), np.atleast_2d(marks)
    answered = scored(pool, np.where(agree, marks, np.nan))
    return {"coverage": figure(agree.mean()), **answered, "right_elsewhere": figure(np.nanmean(marks[~agree]))}


def majority(pool: Pool, names: Sequence[str]) -> list[Rationale]:
    """Return a path with the majority answer of some voters for each question; any path where none has an answer."""
    rows = [[pool.paths[voter][at] for voter in names] for at in range(len(pool.ids))]
    return [vote(paths).winner or paths[0] for paths in rows]


def agreeing(a: Rationale, b: Rationale) -> bool:
    """Return whether two paths give the same answer."""
    return valid_answer(a) is not None and valid_answer(a) == valid_answer(b)


if __name__ == "__main__":
    main()
