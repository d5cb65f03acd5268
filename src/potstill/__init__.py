"""Distil the reasoning of a large language model (the teacher) into a small one (the student).

    import potstill as ps
    outcome = ps.run("recipe.yaml")

Importing this needs no torch and opens nothing: heavy names load when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

# Eager, and before anything else can import the module of the same name: so `potstill.run` stays the function.
from potstill.run import run

if TYPE_CHECKING:
    from potstill.errors import (
        BudgetError,
        ConfigError,
        DataError,
        MissingExtraError,
        PotstillError,
        SandboxError,
        StudentError,
        TeacherError,
        TooManyFailures,
    )
    from potstill.evaluation.datasets import load_problems
    from potstill.evaluation.reporting import report
    from potstill.evaluation.scoring import evaluate
    from potstill.generators.counterfactuals import counterfactual
    from potstill.generators.evolution import evolve
    from potstill.rationales.sampling import sample
    from potstill.rationales.verification import verify
    from potstill.recipe.reading import load_recipe
    from potstill.recipe.whole import Recipe
    from potstill.records import Comparison, Example, Problem, Rationale, Score, Status, Verdict
    from potstill.students.inference import infer
    from potstill.students.mixing import mix
    from potstill.students.training import train
    from potstill.teachers.base import Teacher

__version__ = "0.1.0"

_HOME = {
    "Problem": "records",
    "Rationale": "records",
    "Verdict": "records",
    "Status": "records",
    "Example": "records",
    "Score": "records",
    "Comparison": "records",
    "Teacher": "teachers.base",
    "Recipe": "recipe.whole",
    "load_recipe": "recipe.reading",
    "load_problems": "evaluation.datasets",
    "sample": "rationales.sampling",
    "verify": "rationales.verification",
    "counterfactual": "generators.counterfactuals",
    "evolve": "generators.evolution",
    "mix": "students.mixing",
    "train": "students.training",
    "infer": "students.inference",
    "evaluate": "evaluation.scoring",
    "report": "evaluation.reporting",
    "PotstillError": "errors",
    "ConfigError": "errors",
    "DataError": "errors",
    "StudentError": "errors",
    "MissingExtraError": "errors",
    "TeacherError": "errors",
    "BudgetError": "errors",
    "SandboxError": "errors",
    "TooManyFailures": "errors",
}

__all__ = [  # noqa: RUF022 - in the order of the pipeline
    "Problem", "Rationale", "Verdict", "Status", "Example", "Score", "Comparison",
    "Teacher",
    "Recipe", "load_recipe", "run",
    "load_problems", "sample", "verify", "counterfactual", "evolve", "mix", "train", "infer", "evaluate", "report",
    "PotstillError", "ConfigError", "DataError", "StudentError", "MissingExtraError", "TeacherError", "BudgetError",
    "SandboxError", "TooManyFailures",
    "__version__",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        message = f"module 'potstill' has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(import_module(f"potstill.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
