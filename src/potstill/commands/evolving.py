"""`potstill evolve`: seed instructions → evolved instructions and their trees."""

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
    seeds = _seeds(options, recipe)
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
    recipe = options.recipe
    if recipe is None and options.run and (Path(options.run) / "recipe.yaml").exists():
        recipe = Path(options.run) / "recipe.yaml"
    if recipe is None:
        message = "evolve: nothing to read; give --problems FILE (and --out), or --recipe FILE --run DIR"
        raise ConfigError(message)
    given = {name: getattr(options, name) for name in TABLE}
    given["judge.scorer"] = options.scorer
    options.set = [*options.set, *(f"evolve.{name}={value}" for name, value in given.items() if value is not None)]
    return run_file(recipe, options, "evolve", None)


def _recipe(options: argparse.Namespace) -> Recipe:
    """Return the recipe given, or the method's defaults, with the command's own options on top."""
    data: dict[str, Any] = read_recipe(options.recipe) if options.recipe else {"method": "idea_mcts"}
    data.setdefault("problems", {"source": "given on the command line"})
    teacher = _given(options, "base_url", "model", "api_key_env", "max_concurrency")
    if teacher:
        own = data.get("teachers") or {}
        data["teachers"] = {**(own[0] if isinstance(own, list) and len(own) == 1 else own), **teacher}
    data["evolve"] = {**(data.get("evolve") or {}), **_given(options, *TABLE)}
    if options.scorer is not None:
        data["evolve"]["judge"] = {**(data["evolve"].get("judge") or {}), "scorer": options.scorer}
    data |= _given(options, "ledger")
    is_named = bool(data.get("teachers")) or any(pair.startswith("teachers.") for pair in options.set)
    if not is_named or (not options.recipe and not options.model and options.base_url not in (None, "miniature")):
        message = "evolve: no teacher; give --base-url URL and --model NAME, or --recipe FILE"
        raise ConfigError(message)
    return build_recipe(data, options.set, options.recipe or "command line")


def _seeds(options: argparse.Namespace, recipe: Recipe) -> list[Any]:
    from potstill.evaluation.datasets import load_problems

    own: dict[str, Any] = {"columns": dict(recipe.problems.columns), "invalid": "drop", "source": options.problems}
    for pair in (options.columns or "").split(","):
        key, separator, column = pair.partition("=")
        if separator:
            own["columns"][key.strip()] = column.strip()
    return load_problems(SourceConfig(**own, **_given(options, "limit")))


def _given(options: argparse.Namespace, *names: str) -> dict[str, Any]:
    return {name: value for name in names if (value := getattr(options, name)) is not None}
