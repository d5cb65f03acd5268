"""`potstill run` and `potstill demo`: all stages of a recipe."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from potstill.commands.printing import print_json, print_text
from potstill.errors import ConfigError
from potstill.messages import say

if TYPE_CHECKING:
    from potstill.recipe.whole import Recipe

UNTIL = (
    "problems",
    "evolve",
    "counterfactual",
    "augment",
    "sample",
    "verify",
    "filter",
    "mix",
    "train",
    "infer",
    "evaluate",
    "report",
)


def add(verb: str, parser: argparse.ArgumentParser) -> None:
    """Add the options of `run` or `demo`."""
    if verb == "run":
        parser.add_argument("recipe_file", nargs="?", metavar="RECIPE", help="the recipe (or --recipe FILE)")
        parser.add_argument("--until", choices=UNTIL, default="report", help="the last stage to run")
        parser.add_argument("--only", metavar="METHOD", help="run this method's arms only")
    parser.set_defaults(call=run if verb == "run" else demo)


def run(options: argparse.Namespace) -> int:
    """Run a recipe."""
    path = options.recipe_file or options.recipe
    if path is None:
        message = "run: no recipe given; write `potstill run RECIPE`, or `potstill demo` for the embedded one"
        raise ConfigError(message)
    return run_file(path, options, options.until, options.only)


def demo(options: argparse.Namespace) -> int:
    """Run the demonstration that the package carries."""
    options.run = options.run or "runs/demo"
    return run_file(options.recipe or shipped_recipe("demo.yaml"), options, "report", None)


def shipped_recipe(name: str) -> Path:
    """Return the path of a recipe that came with the package, or with the checkout it is installed from."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "recipes", package.parents[1] / "recipes"):
        if (folder / name).exists():
            return folder / name
    message = f"recipe {name}: not found in this installation; reinstall potstill"
    raise ConfigError(message)


def run_file(path: str | Path, options: argparse.Namespace, until: str, only: str | None) -> int:
    """Run one recipe file as the options say, and print the scores."""
    from potstill.pipeline import plan_recipe, run_recipe
    from potstill.recipe.reading import load_recipe

    recipe = load_recipe(path, options.set)
    if options.limit:
        recipe = load_recipe(path, [*options.set, *limits(recipe, options.limit)])
    if only is not None:
        recipe = recipe.of_method(only)
    if options.dry_run:
        print_plan(plan_recipe(recipe), as_json=options.json)
        return 0
    folder = options.run or Path("runs") / Path(path).stem
    outcome = run_recipe(recipe, folder, force=options.force, until=until)
    if options.json:
        print_json(outcome)
    elif outcome.scores and until in ("evaluate", "report"):
        from potstill.evaluation.page.gathering import is_miniature
        from potstill.evaluation.tables import MINIATURE_NOTE, terminal_table

        note = MINIATURE_NOTE if is_miniature(recipe.model_dump()) else ""
        print_text(terminal_table(outcome.scores, outcome.comparisons, note=note))
        if outcome.report:
            print_text(f"report: {outcome.report}")
    return 0


def limits(recipe: Recipe, limit: int) -> list[str]:
    """Return `--limit` as overrides: of the source, or of every split that has one of its own."""
    if not recipe.problems.splits:
        return [f"problems.limit={limit}"]
    splits = recipe.problems.splits.items()
    return [f"problems.splits.{name}.limit={min(limit, split.limit or limit)}" for name, split in splits]


def print_plan(rows: list[dict[str, Any]], *, as_json: bool) -> None:
    """Print what each stage would buy."""
    if as_json:
        print_json(rows)
        return
    columns = list(dict.fromkeys(key for row in rows for key in row))
    print_text("  ".join(f"{name:>18}" for name in columns))
    for row in rows:
        print_text("  ".join(f"{row.get(name, '')!s:>18}" for name in columns))
    say("dry run", "nothing was sent or written")
