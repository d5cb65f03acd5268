"""The study's part on labels: its arms learn from what their names say, and every edit that is kept holds."""

from collections import Counter
from pathlib import Path

import pytest

from potstill.miniature.labels import read
from potstill.pipeline import run_recipe
from potstill.recipe.reading import load_recipe
from potstill.records import Example, Problem
from potstill.run import Run

RECIPE = Path(__file__).resolve().parents[2] / "recipes" / "counterfactual_miniature.yaml"
SMALL = {"train": 12, "extra": 8, "dev": 3, "test": 6, "ood": 3, "contrast": 6}
CONTROLS = ("originals", "shuffled", "label_preserving", "no_rationale", "positive_only")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Run the recipe, small, up to its examples; return problems and examples by arm."""
    folder = tmp_path_factory.mktemp("labels")
    sizes = [f"problems.splits.{split}.limit={size}" for split, size in SMALL.items()]
    few = ["n_seeds=1", "sample.n=4", "teachers.seed=3", f"ledger={folder / 'ledger.db'}"]
    run_recipe(load_recipe(RECIPE, [*sizes, *few]), folder / "run", until="mix")
    with Run(folder / "run") as run:
        problems = {problem.id: problem for problem in run.read("problems.jsonl", Problem)}
        arms = [path.stem for path in run.path("examples").glob("*.jsonl")]
        return problems, {arm: list(run.read(f"examples/{arm}.jsonl", Example)) for arm in arms}


def test_every_edit_that_is_kept_has_the_label_that_it_was_kept_for(made):
    """By the facts, which no juror was told; some change the label and some keep it."""
    problems, _ = made
    edits = [problem for problem in problems.values() if "counterfactual" in problem.meta]
    roles = Counter(problem.meta["counterfactual"]["role"] for problem in edits)
    assert min(roles["counterfactual"], roles["invariant"]) >= 5
    assert sum(read(problem.question).label == problem.answer for problem in edits) >= len(edits) - 1


def test_each_arm_learns_from_what_its_name_says(made):
    """Originals everywhere; beside them nothing, more of them, or edits; both views or one."""
    problems, examples = made
    assert set(examples) == {"cf_cot", "counterfactual", *(f"cf_control_{name}" for name in CONTROLS)}
    roles = {arm: {role_of(problems[example.group]) for example in rows} for arm, rows in examples.items()}
    views = {arm: {example.meta.get("view") for example in rows} for arm, rows in examples.items()}
    assert roles["cf_cot"] == {"original"}
    assert roles["cf_control_originals"] == {"original", "extra"}
    assert roles["cf_control_label_preserving"] == {"original", "invariant"}
    for arm in ("counterfactual", "cf_control_shuffled", "cf_control_no_rationale", "cf_control_positive_only"):
        assert roles[arm] == {"original", "counterfactual"}
    assert views["cf_cot"] == views["cf_control_positive_only"] == {"positive"}
    assert views["counterfactual"] == {"positive", "negative"}
    bare = {example.task for example in examples["cf_control_no_rationale"] if "pair" in example.meta}
    assert bare == {"answer"}
    assert any("donor" in example.meta for example in examples["cf_control_shuffled"])


def role_of(problem):
    """Return the role under which a problem is learnt from."""
    if problem.split == "extra":
        return "extra"
    return problem.meta.get("counterfactual", {}).get("role", "original")
