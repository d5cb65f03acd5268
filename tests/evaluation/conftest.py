"""A run directory as a finished run leaves it, made through the records, with seeded outcomes."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from potstill.ensembles import assemble
from potstill.evaluation.scoring import score_run
from potstill.files import write_records
from potstill.recipe.evaluation import EvaluateConfig
from potstill.recipe.reading import dump_recipe, parse_recipe
from potstill.records import Drop, Example, Problem, Rationale, Status, Verdict, to_dict

SKILL = {"untrained": 0.02, "answer_only": 0.24, "cot_n1": 0.52, "cot_n5": 0.66, "scotd": 0.74, "teacher": 0.9}
HARDER = {"test": 0.0, "ood": 0.1, "contrast": 0.03}
RECIPE = """
seed: 0
n_seeds: {seeds}
problems: {{splits: {{train: {{source: miniature}}, test: {{source: miniature}}}}}}
teachers: {{base_url: miniature, model: miniature-teacher, n: 30}}
sample: {{n: 30}}
evaluate: {{splits: [test, ood, contrast]}}
arms:
  untrained: {{train: null}}
  answer_only: {{mix: {{kinds: [answer]}}}}
  cot_n1: {{mix: {{n: 1}}}}
  cot_n5: {{mix: {{n: 5}}}}
  scotd: {{}}
report: {{title: SCoTD in the miniature}}
"""


class MadeRun:
    """Writes a run directory; outcomes are drawn with a seed, so every call makes the same files."""

    def __init__(self, folder: Path, *, train: int, test: int, per_problem: int, seeds: int) -> None:
        self.folder, self.random, self.seeds = folder, random.Random(7), seeds
        self.per_problem = per_problem
        self.train = [self._problem(f"train-{at}", "train") for at in range(train)]
        self.tested = [self._problem(f"test-{at}", "test") for at in range(test)]
        self.tested += [self._problem(f"ood-{at}", "ood") for at in range(test // 3)]
        edits = [self._problem(f"edit-{at}", "contrast") for at in range(test // 2)]
        self.tested += [replace(edit, parent_id=f"test-{at // 2}") for at, edit in enumerate(edits)]

    def write(self) -> Path:
        """Write all files and return the folder."""
        write_records(self.folder / "problems.jsonl", [*self.train, *self.tested])
        self._write_rationales()
        systems: dict[str, dict[int | None, list[Rationale]]] = {}
        for name in SKILL:
            is_trained = name not in ("untrained", "teacher")
            for seed in range(self.seeds if is_trained else 1):
                job = f"{name}.seed{seed}" if is_trained and self.seeds > 1 else name
                systems.setdefault(name, {})[seed if name != "teacher" else None] = self._write_predictions(name, job)
                if is_trained:
                    self._write_student(name, job)
        self._write_scores(systems)
        return self.folder

    def _problem(self, name: str, split: str) -> Problem:
        have, more = self.random.randint(3, 40), self.random.randint(2, 30)
        question = (
            f"Mara keeps {have} jars of honey in the cellar. Her neighbour brings {more} more, and on Sunday they "
            f"give a third of all jars to the market stall. How many jars are left in the cellar?"
        )
        left = (have + more) - (have + more) // 3
        return Problem(id=name, question=question, answer=str(left), answer_type="number", split=split)

    def _rationale(self, problem: Problem, author: str, index: int, kind: str, status: Status) -> Rationale:
        answer = str(problem.answer) if status is Status.CORRECT else str(int(problem.answer or 0) + 7)
        steps = f"Together there are {index + 9} jars at first. A third of them leaves. The rest stays."
        text = f" {steps} So the answer is: {answer}" if kind == "cot" else f" So the answer is: {answer}"
        if status is Status.NO_ANSWER:
            text = " Together there are many jars, and on Sunday a third of them, and on Sunday a third of them"
        verdict = Verdict(
            rationale_id=f"{author}-{problem.id}-{index}",
            status=status,
            answer=None if status is Status.NO_ANSWER else answer,
        )
        return Rationale(
            id=verdict.rationale_id, problem_id=problem.id, kind=kind, text=text, author=author, index=index,
            finish="length" if status is Status.NO_ANSWER else "stop", verdict=verdict,
            usage={"prompt_tokens": 180, "completion_tokens": 42},
        )  # fmt: skip

    def _write_rationales(self) -> None:
        drawn = (Status.CORRECT,) * 13 + (Status.WRONG,) * 6 + (Status.NO_ANSWER,)
        rows = [
            self._rationale(problem, "miniature-teacher", index, "cot", self.random.choice(drawn))
            for problem in self.train
            for index in range(self.per_problem)
        ]
        verdicts = [row.verdict for row in rows if row.verdict is not None]
        reasons = {Status.WRONG: "wrong", Status.NO_ANSWER: "truncated"}
        drops = [Drop(stage="filter", id=v.rationale_id, reason=reasons[v.status]) for v in verdicts if not v.correct]
        write_records(self.folder / "rationales.jsonl", rows)
        write_records(self.folder / "verdicts.jsonl", verdicts)
        write_records(self.folder / "dropped.jsonl", drops)

    def _write_predictions(self, name: str, job: str) -> list[Rationale]:
        kind = "answer" if name == "answer_only" else "cot"
        drift = self.random.gauss(0, 0.02) if self.seeds > 1 else 0.0
        rows = []
        for problem in self.tested:
            is_right = self.random.random() < max(0.0, SKILL[name] + drift - HARDER[problem.split])
            failed = Status.NO_ANSWER if self.random.random() < 0.1 else Status.WRONG
            row = self._rationale(problem, name, 0, kind, Status.CORRECT if is_right else failed)
            rows.append(replace(row, meta={"path": "greedy"}))
        write_records(self.folder / f"predictions/{job}.jsonl", rows)
        write_records(self.folder / f"verdicts/{job}.jsonl", [row.verdict for row in rows if row.verdict is not None])
        return rows

    def _write_student(self, name: str, job: str) -> None:
        tokens = {"answer_only": 1, "cot_n1": 1, "cot_n5": 4, "scotd": 20}[name]
        examples = [
            Example(id=f"{p.id}-{at}", prompt="Q", target=" A", task="cot", group=p.id)
            for p in self.train for at in range(min(tokens, self.per_problem))
        ]  # fmt: skip
        write_records(self.folder / f"examples/{job}.jsonl", examples)
        top = SKILL[name]
        steps = range(50, 801, 50)
        loss = [{"step": s, "loss": 0.4 + 2.2 * 0.97 ** (s / 8) + self.random.uniform(0, 0.03)} for s in steps]
        dev = [
            {"step": s, "accuracy": max(0.0, top * (1 - 0.985 ** (s / 3)) + self.random.uniform(-0.02, 0.02))}
            for s in steps
        ]
        record = {"curve": loss, "dev": dev, "steps": 800, "best_step": 700, "problems": len(self.train),
                  "target_tokens_seen": 123456, "cpu_s": 61.2, "ended": "all steps"}  # fmt: skip
        path = self.folder / f"students/{job}/training.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(record), encoding="utf-8")

    def _write_scores(self, systems: dict[str, dict[int | None, list[Rationale]]]) -> None:
        config = EvaluateConfig(splits=("test", "ood", "contrast"), bootstrap=400)
        scores, comparisons = score_run(systems, self.tested, config)
        rows: dict[str, Any] = {"scores": [to_dict(s) for s in scores]}
        rows["comparisons"] = [to_dict(c) for c in comparisons]
        (self.folder / "scores.json").write_text(json.dumps(rows), encoding="utf-8")
        recipe = parse_recipe(RECIPE.format(seeds=self.seeds))
        (self.folder / "recipe.yaml").write_text(dump_recipe(recipe), encoding="utf-8")
        manifest = {
            "schema_version": 1,
            "created": "2026-11-21T12:00:00Z",
            "versions": {"potstill": "0.1.0", "torch": "2.13.0", "transformers": "5.23.0"},
            "git": "0a1b2c3d4e5f",
            "host": {"system": "Linux-6.1-x86_64", "machine": "x86_64", "cpus": 2},
            "command": ["potstill", "run", "recipes/demo.yaml", "--run", "runs/demo"],
            "stages": {
                "sample": {"counts": {"requests": 400, "money": 0.0}},
                "students/scotd": {"counts": {"cpu_s": 61.2}},
                "predictions/scotd": {"counts": {"cpu_s": 9.8}},
            },
        }
        (self.folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")


MIXED_SKILL = {
    "untrained": {"cot": (0.02, 0.02)},
    "scotd": {"cot": (0.62, 0.28)},
    "pot": {"pot": (0.58, 0.55)},
    "mixed": {"cot": (0.6, 0.3), "pot": (0.56, 0.5)},
    "teacher": {"cot": (0.9, 0.9)},
}
"""System -> kind -> how often right, on small and on large numbers."""
MIXED_RECIPE = """
method: mixed_distillation
n_seeds: {seeds}
problems: {{splits: {{train: {{source: miniature}}, test: {{source: miniature}}}}}}
teachers: {{base_url: miniature, model: miniature-teacher, n: 12}}
sample: {{n: 12}}
infer: {{paths: {{cot: 2, pot: 2}}}}
evaluate: {{splits: [test, ood], curve: [2, 4], bootstrap: 100}}
arms:
  untrained: {{train: null}}
  scotd: {{mix: {{kinds: [cot]}}, infer: {{paths: {{cot: 4}}}}}}
  pot: {{mix: {{kinds: [pot]}}, infer: {{paths: {{pot: 4}}}}}}
  mixed: {{}}
  ensemble: {{ensemble: {{scotd: {{cot: 2}}, pot: {{pot: 2}}}}}}
report: {{title: Two skills}}
"""
FAILURES = ("timeout", "error", "no_answer")


class MixedRun(MadeRun):
    """A run of Mixed Distillation: a student of two skills, students of one, and their ensemble."""

    def write(self) -> Path:
        """Write all files and return the folder."""
        self.tested = [problem for problem in self.tested if problem.split != "contrast"]
        write_records(self.folder / "problems.jsonl", [*self.train, *self.tested])
        self._write_rationales()
        systems: dict[str, dict[int | None, list[Rationale]]] = {}
        for name in MIXED_SKILL:
            for seed in range(self.seeds if name in ("scotd", "pot", "mixed") else 1):
                job = f"{name}.seed{seed}" if name in ("scotd", "pot", "mixed") and self.seeds > 1 else name
                systems.setdefault(name, {})[seed if name != "teacher" else None] = self._write_predictions(name, job)
        self._write_scores(systems)
        return self.folder

    def _problem(self, name: str, split: str) -> Problem:
        return replace(super()._problem(name, split), meta={"has_large": self.random.random() < 0.4, "n_moves": 3})

    def _write_rationales(self) -> None:
        kinds = [(problem, kind) for problem in self.train for kind in ("cot", "pot")]
        drawn = (Status.CORRECT,) * 6 + (Status.WRONG,) * 3
        rows = [
            self._path(problem, "miniature-teacher", kind, index, self.random.choice((*drawn, self._failed(kind))))
            for problem, kind in kinds for index in range(self.per_problem)
        ]  # fmt: skip
        verdicts = [row.verdict for row in rows if row.verdict is not None]
        write_records(self.folder / "rationales.jsonl", rows)
        write_records(self.folder / "verdicts.jsonl", verdicts)
        drops = [Drop(stage="filter", id=v.rationale_id, reason=v.status.lower()) for v in verdicts if not v.correct]
        write_records(self.folder / "dropped.jsonl", drops)

    @staticmethod
    def _failed(kind: str) -> Status:
        return Status.PROGRAM_FAILED if kind == "pot" else Status.NO_ANSWER

    def _path(self, problem: Problem, author: str, kind: str, index: int, status: Status) -> Rationale:
        row = self._rationale(problem, f"{author}-{kind}", index, kind, status)
        verdict = row.verdict
        assert verdict is not None
        if kind == "pot":
            body = f"    jars = {index + 20}\n    if 3 < jars & 7 <= 9:\n        jars -= 1\n    return jars"
            text = f"def solution():\n{body}"
            reason = self.random.choice(FAILURES) if status is Status.PROGRAM_FAILED else ""
            answer = None if status is Status.PROGRAM_FAILED else verdict.answer
            row = replace(row, text=text, verdict=replace(verdict, reason=reason, answer=answer))
        return replace(row, author=author)

    def _write_predictions(self, name: str, job: str) -> list[Rationale]:
        rows = []
        for problem in self.tested:
            for kind, skill in MIXED_SKILL[name].items():
                count = 4 // len(MIXED_SKILL[name]) if name in ("scotd", "pot", "mixed") else 0
                for index in range(count + 1):
                    rows.append(self._drawn(problem, name, kind, index, skill[bool(problem.meta["has_large"])]))
        write_records(self.folder / f"predictions/{job}.jsonl", rows)
        write_records(self.folder / f"verdicts/{job}.jsonl", [row.verdict for row in rows if row.verdict is not None])
        return rows

    def _drawn(self, problem: Problem, name: str, kind: str, index: int, skill: float) -> Rationale:
        is_right = self.random.random() < skill
        failed = self._failed(kind) if self.random.random() < 0.3 else Status.WRONG
        row = self._path(problem, name, kind, index, Status.CORRECT if is_right else failed)
        meta = {"path": "sampled" if index else "greedy"}
        if not index and name == "mixed":
            meta["prefix_logprob"] = -self.random.random() / (1 + (kind == "pot") * int(problem.meta["has_large"]))
            meta["route_margin"] = -0.02
            row = replace(row, logprob=-0.1 - 0.1 * (not is_right))
        return replace(row, meta=meta)

    def _write_scores(self, systems: dict[str, dict[int | None, list[Rationale]]]) -> None:
        recipe = parse_recipe(MIXED_RECIPE.format(seeds=self.seeds))
        members = recipe.arms["ensemble"].ensemble
        systems["ensemble"] = assemble("ensemble", members, systems)
        method = recipe.method
        scores, comparisons = score_run(systems, self.tested, recipe.evaluate, method=method, voting=("ensemble",))
        rows = {"scores": [to_dict(s) for s in scores], "comparisons": [to_dict(c) for c in comparisons]}
        (self.folder / "scores.json").write_text(json.dumps(rows), encoding="utf-8")
        (self.folder / "recipe.yaml").write_text(dump_recipe(recipe), encoding="utf-8")


@pytest.fixture
def mixed_run(tmp_path: Path) -> Callable[..., Path]:
    """A factory: `mixed_run(seeds=2)` writes a run of a student of two skills and returns its path."""

    def make(*, train: int = 8, test: int = 60, per_problem: int = 6, seeds: int = 1) -> Path:
        return MixedRun(tmp_path / "run", train=train, test=test, per_problem=per_problem, seeds=seeds).write()

    return make


@pytest.fixture
def made_run(tmp_path: Path) -> Callable[..., Path]:
    """A factory: `made_run(seeds=3)` writes a run directory and returns its path."""

    def make(*, train: int = 12, test: int = 60, per_problem: int = 6, seeds: int = 1) -> Path:
        folder = tmp_path / "run"
        return MadeRun(folder, train=train, test=test, per_problem=per_problem, seeds=seeds).write()

    return make
