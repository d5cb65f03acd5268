"""`potstill evolve`: seed instructions → evolved instructions and their trees."""

from __future__ import annotations

import argparse
from pathlib import Path

from potstill.commands.given import given, problems_of, recipe_of, recipe_to_run, require_asked
from potstill.commands.printing import print_json, print_text
from potstill.commands.running import print_plan, run_file
from potstill.errors import ConfigError
from potstill.recipe.whole import Recipe

STRATEGIES = ("beam", "tree", "published", "random", "best_of_n")
TABLE = ("strategy", "calls", "share_after", "actions")
"""Options that are keys of the recipe's table `evolve`."""


def add(verb: str, parser: argparse.ArgumentParser) -> None:
    """Add the options of `evolve`."""
    parser.add_argument("--problems", metavar="FILE", help="file of the seed instructions")
    parser.add_argument(
        "--columns", metavar="OURS=THEIRS,…", help="column mapping, e.g. question=text; `instruction` is known"
    )
    parser.add_argument("--out", metavar="FILE", help="what to write, .jsonl; trees, actions and drops go beside it")
    parser.add_argument("--base-url", metavar="URL", help="the endpoint, e.g. http://127.0.0.1:8000/v1, or `miniature`")
    parser.add_argument("--model", metavar="NAME", help="the model to ask for")
    parser.add_argument("--api-key-env", metavar="NAME", help="environment variable with the key [OPENAI_API_KEY]")
    parser.add_argument("--strategy", choices=STRATEGIES, help="how to search [beam]")
    parser.add_argument("--calls", type=int, metavar="N", help="rewriting calls per seed [24]")
    parser.add_argument(
        "--share-after", type=int, metavar="N", help="learn which actions help from trees N seeds before [64]"
    )
    parser.add_argument("--scorer", metavar="FOLDER", help="judge by a scorer of `potstill train --judged`")
    parser.add_argument("--actions", metavar="FILE", help="YAML file of your own actions")
    parser.add_argument("--max-concurrency", type=int, metavar="C", help="requests in flight [32]")
    parser.add_argument("--ledger", metavar="FILE", help="the ledger of what was bought [in the user's cache folder]")
    parser.set_defaults(call=evolve)


def evolve(options: argparse.Namespace) -> int:
    """Evolve the seeds of a file, or of a recipe's run."""
    if not options.problems:
        return _stage_of_run(options)
    from potstill.instructions import Places, evolve_files, plan_evolve, require_sound_evolving

    recipe = _recipe(options)
    seeds = problems_of(options, recipe, invalid="drop")
    require_sound_evolving(recipe)
    if options.dry_run:
        print_plan(plan_evolve(recipe, seeds).rows, as_json=options.json)
        return 0
    if not options.out:
        message = "evolve: --out is missing; it is needed with the files given"
        raise ConfigError(message)
    from potstill.files import write_records

    out = Path(options.out)
    stem = out.name.split(".jsonl")[0]
    places = Places(out.with_name(f"{stem}.trees.jsonl"), out.with_name(f"{stem}.actions.json"))
    found = evolve_files(recipe, seeds, places, run=str(out.resolve()))
    write_records(out, found.problems)
    write_records(out.with_name(f"{stem}.dropped.jsonl"), found.drops)
    if options.json:
        print_json(found.counts)
    else:
        print_text(f"evolve: {', '.join(f'{value} {name}' for name, value in found.counts.items())}")
    return 0


def _stage_of_run(options: argparse.Namespace) -> int:
    changes = given(options, *TABLE)
    if options.scorer is not None:
        changes["judge.scorer"] = options.scorer
    options.set = [*options.set, *(f"evolve.{name}={value}" for name, value in changes.items())]
    return run_file(recipe_to_run("evolve", options, "--problems"), options, "evolve", None)


def _recipe(options: argparse.Namespace) -> Recipe:
    """Return the recipe given, or the method's defaults, with the command's own options on top."""
    require_asked(options)
    if options.scorer is not None:
        options.set = [f"evolve.judge.scorer={options.scorer}", *options.set]
    teacher = given(options, "base_url", "model", "api_key_env", "max_concurrency")
    tables = {"teachers": teacher, "evolve": given(options, *TABLE), **given(options, "ledger")}
    return recipe_of(options, tables, method="idea_mcts")
