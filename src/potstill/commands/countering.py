"""`potstill counterfactual`: labelled problems → counterfactual problems, with every edit and why it was refused."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from potstill.commands.printing import print_json, print_text
from potstill.commands.running import print_plan, run_file
from potstill.errors import ConfigError
from potstill.recipe.problems import SourceConfig
from potstill.recipe.reading import build_recipe, read_recipe
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
    recipe = options.recipe
    if recipe is None and options.run and (Path(options.run) / "recipe.yaml").exists():
        recipe = Path(options.run) / "recipe.yaml"
    if recipe is None:
        message = "counterfactual: nothing to read; give --problems FILE (and --out), or --recipe FILE --run DIR"
        raise ConfigError(message)
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
    data: dict[str, Any] = read_recipe(options.recipe) if options.recipe else {"method": "counterfactual"}
    data.setdefault("problems", {"source": "given on the command line"})
    data |= _given(options, "ledger", "task")
    teacher = _given(options, "base_url", "model", "api_key_env", "max_concurrency")
    if teacher:
        own = data.get("teachers") or {}
        data["teachers"] = {**(own[0] if isinstance(own, list) and len(own) == 1 else own), **teacher}
    if options.jury:
        writer = data.get("teachers")
        if not isinstance(writer, dict):
            message = "counterfactual: --jury names models of the endpoint of --base-url; with a recipe name teachers"
            raise ConfigError(message)
        names = [name.strip() for name in options.jury.split(",") if name.strip()]
        others = [{**writer, "model": name, "weight": 0} for name in names if name != writer.get("model")]
        data["teachers"] = [writer, *others]
        data["counterfactual"] = {**(data.get("counterfactual") or {}), "jury": {"teachers": names}}
    is_named = bool(data.get("teachers")) or any(pair.startswith("teachers.") for pair in options.set)
    if not is_named or (not options.recipe and not options.model and options.base_url not in (None, "miniature")):
        message = "counterfactual: no teacher; give --base-url URL and --model NAME, or --recipe FILE"
        raise ConfigError(message)
    changes = [f"counterfactual.{name}={value}" for name, value in _changes(options).items()]
    return build_recipe(data, [*changes, *options.set], options.recipe or "command line")


def _problems(options: argparse.Namespace, recipe: Recipe) -> list[Any]:
    from potstill.evaluation.datasets import load_problems

    table = recipe.problems
    own: dict[str, Any] = {"columns": dict(table.columns), "question": table.question, "invalid": "drop"}
    own |= {"answer_type": table.answer_type, "labels": table.labels, "source": options.problems}
    for pair in (options.columns or "").split(","):
        key, separator, column = pair.partition("=")
        if separator:
            own["columns"][key.strip()] = column.strip()
    return load_problems(SourceConfig(**own, **_given(options, "limit")))


def _given(options: argparse.Namespace, *names: str) -> dict[str, Any]:
    return {name: value for name in names if (value := getattr(options, name)) is not None}
