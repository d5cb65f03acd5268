"""`potstill counterfactual`: labelled problems → counterfactual problems, with every edit and why it was refused."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from potstill.commands.given import given, problems_of, recipe_of, recipe_to_run, require_asked
from potstill.commands.printing import print_json, print_text
from potstill.commands.running import print_plan, run_file
from potstill.errors import ConfigError
from potstill.recipe.reading import read_recipe
from potstill.recipe.whole import Recipe


def add(verb: str, parser: argparse.ArgumentParser) -> None:
    """Add the options of `counterfactual`."""
    parser.add_argument("--problems", metavar="FILE", help="file of labelled problems")
    parser.add_argument("--task", metavar="NAME", help="what they are: nli, sentiment, …, or a task file of your own")
    parser.add_argument("--columns", metavar="OURS=THEIRS,…", help="column mapping, e.g. answer=label")
    parser.add_argument("--out", metavar="FILE", help="what to write, .jsonl; candidates and drops go beside it")
    parser.add_argument("--base-url", metavar="URL", help="the endpoint, e.g. http://127.0.0.1:8000/v1, or `miniature`")
    parser.add_argument("--model", metavar="NAME", help="the model that edits")
    parser.add_argument("--jury", metavar="MODEL,…", help="models of the endpoint that judge [the one that edits]")
    parser.add_argument("--api-key-env", metavar="NAME", help="environment variable with the key [OPENAI_API_KEY]")
    parser.add_argument("--candidates", type=int, metavar="K", help="edits asked for per problem and target [4]")
    parser.add_argument("--votes", type=int, metavar="N", help="votes of the jury on each edit [5]")
    parser.add_argument("--to", metavar="LABEL,…", help="the only labels to aim at [all]")
    parser.add_argument("--invariants", action="store_true", help="make edits that keep the label, too")
    parser.add_argument("--max-concurrency", type=int, metavar="C", help="requests in flight [32]")
    parser.add_argument("--ledger", metavar="FILE", help="the ledger of what was bought [in the user's cache folder]")
    parser.add_argument(
        "--gold", metavar="FILE", help="instead: let the jury judge these problems, each with `accept` true or false, "
        "and say how often it errs; `review`: by people's decisions in --run; with --run also what that corrects",
    )  # fmt: skip
    parser.set_defaults(call=counterfactual)


def counterfactual(options: argparse.Namespace) -> int:
    """Make counterfactuals of a file's problems or of a recipe's run, or measure the jury."""
    if options.gold:
        return _measure(options)
    if not options.problems:
        return _stage_of_run(options)
    from potstill.counterfactuals import counterfactual_files, plan_counterfactuals, require_sound_counterfactuals

    recipe = _recipe(options)
    problems = _problems(options, recipe)
    require_sound_counterfactuals(recipe)
    if options.dry_run:
        print_plan(plan_counterfactuals(recipe, problems)[0], as_json=options.json)
        return 0
    if not options.out:
        message = "counterfactual: --out is missing; it is needed with the files given"
        raise ConfigError(message)
    from potstill.files import write_records

    out = Path(options.out)
    stem = out.name.split(".jsonl")[0]
    made = counterfactual_files(recipe, problems, out.with_name(f"{stem}.candidates.jsonl"), run=str(out.resolve()))
    write_records(out, made.problems)
    write_records(out.with_name(f"{stem}.dropped.jsonl"), made.drops)
    if options.json:
        print_json(made.counts)
    else:
        told = {name: value for name, value in made.counts.items() if not isinstance(value, dict | list | bool)}
        print_text(f"counterfactual: {', '.join(f'{value} {name}' for name, value in told.items())}")
    return 0


def _measure(options: argparse.Namespace) -> int:
    """Print what the jury is worth."""
    from potstill.juries import REVIEW, judge_gold, observed, require_gold, reviewed, worth

    folder = Path(options.run) if options.run else None
    if options.gold == REVIEW and folder is None:
        message = "counterfactual: --gold review reads people's decisions of a run; give --run DIR"
        raise ConfigError(message)
    if options.gold == REVIEW and folder is not None:
        judged = reviewed(folder)
    else:
        if options.recipe is None and folder is not None and (folder / "recipe.yaml").exists():
            options.recipe = folder / "recipe.yaml"
        recipe = _recipe(options)
        options.problems = options.gold
        gold = require_gold(_problems(options, recipe))
        judged = judge_gold(recipe, gold, run=str(Path(options.gold).resolve()))
    found = worth(judged, observed(folder) if folder is not None else None)
    if options.json:
        print_json(found)
        return 0
    print_text(f"gold: {found.pop('n')} items")
    for name, row in found.items():
        if row is None or row["value"] is None:
            print_text(f"{name}: not known; it takes items of both kinds, and a jury that tells them apart")
        else:
            n = f", n = {row['n']}" if "n" in row else ""
            print_text(f"{name}: {row['value']:.3f} [{row['low']:.3f}, {row['high']:.3f}]{n}")
    return 0


def _stage_of_run(options: argparse.Namespace) -> int:
    recipe = recipe_to_run("counterfactual", options, "--problems")
    options.set = [*options.set, *(f"counterfactual.{name}={value}" for name, value in _changes(options).items())]
    if "counterfactual" not in read_recipe(recipe):
        options.set = ["counterfactual={}", *options.set]
    return run_file(recipe, options, "counterfactual", None)


def _changes(options: argparse.Namespace) -> dict[str, Any]:
    """Return what the options change in the table `counterfactual`."""
    found: dict[str, Any] = {}
    if options.candidates is not None:
        found["candidates"] = options.candidates
    if options.votes is not None:
        found["jury.votes"] = options.votes
    if options.to is not None:
        found["to"] = f"[{options.to}]"
    if options.invariants:
        found["roles"] = "[counterfactual, invariant]"
    return found


def _recipe(options: argparse.Namespace) -> Recipe:
    """Return the recipe given, or the method's defaults, with the command's own options on top."""
    require_asked(options)
    changes = [f"counterfactual.{name}={value}" for name, value in _changes(options).items()]
    options.set = [*changes, *options.set]
    tables: dict[str, Any] = {"teachers": given(options, "base_url", "model", "api_key_env", "max_concurrency")}
    if options.jury:
        names = [name.strip() for name in options.jury.split(",") if name.strip()]
        tables |= {"teachers": _with_jurors(options, tables["teachers"], names)}
        tables |= {"counterfactual": {"jury": {"teachers": names}}}
    tables |= given(options, "ledger", "task")
    return recipe_of(options, tables, method="counterfactual")


def _with_jurors(options: argparse.Namespace, writer: dict[str, Any], names: list[str]) -> list[dict[str, Any]]:
    """Return the teacher that edits, and the models of its endpoint that judge and write nothing."""
    if options.recipe or not writer:
        message = "counterfactual: --jury names models of the endpoint of --base-url; in a recipe name teachers"
        raise ConfigError(message)
    return [writer, *({**writer, "model": name, "weight": 0} for name in names if name != writer.get("model"))]


def _problems(options: argparse.Namespace, recipe: Recipe) -> list[Any]:
    return problems_of(options, recipe, question=recipe.problems.question, invalid="drop")
