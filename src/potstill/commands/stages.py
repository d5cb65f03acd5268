"""The stage verbs: each runs one stage on files, or a recipe's run up to that stage."""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from potstill import engines
from potstill.commands.printing import print_json, print_text
from potstill.commands.running import print_plan, run_file
from potstill.errors import ConfigError
from potstill.messages import say
from potstill.preflight import require_engine
from potstill.recipe.problems import SourceConfig
from potstill.recipe.reading import build_recipe, read_recipe
from potstill.recipe.whole import Recipe

FILES_OF = {
    "sample": (("--problems", "the problems"),),
    "verify": (("--rationales", "the rationales"), ("--problems", "the problems")),
    "mix": (("--rationales", "the rationales"), ("--verdicts", "their verdicts"), ("--problems", "the problems")),
    "train": (("--examples", "the training examples"), ("--dev", "problems to choose the checkpoint on")),
    "infer": (("--problems", "the problems"),),
    "evaluate": (("--predictions", "the predictions"), ("--problems", "the problems")),
}

OF_ANY_SOURCE = {"columns", "answer_type", "labels", "invalid"}
"""What a recipe says of its problems that also holds for another file of them."""


def add(verb: str, parser: argparse.ArgumentParser) -> None:
    """Add the options of a stage verb."""
    for flag, what in FILES_OF.get(verb, ()):
        parser.add_argument(flag, metavar="FILE", help=f"file of {what}")
    parser.add_argument("--out", metavar="PATH", help="what to write")
    {"sample": _sample_options, "infer": _infer_options, "train": _train_options, "mix": _mix_options}.get(
        verb, lambda _: None
    )(parser)
    if verb == "evaluate":
        parser.add_argument("--system", default="student", help="the system's name in the scores")
    if any(flag in ("--problems", "--dev") for flag, _ in FILES_OF.get(verb, ())):
        parser.add_argument(
            "--columns", metavar="OURS=THEIRS,…", help="column mapping, e.g. question=text,answer=label"
        )
    parser.set_defaults(call=CALLS[verb])


def _sample_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--base-url", metavar="URL", help="the endpoint, e.g. http://127.0.0.1:8000/v1, or `miniature`")
    parser.add_argument("--model", metavar="NAME", help="the model to ask for")
    parser.add_argument("--api-key-env", metavar="NAME", help="environment variable with the key [OPENAI_API_KEY]")
    parser.add_argument("--n", type=int, metavar="N", help="rationales per problem [30]")
    parser.add_argument("--kind", choices=("cot", "pot", "answer"), help="what to ask for [cot]")
    parser.add_argument("--temperature", type=float, metavar="T", help="sampling temperature [1.0]")
    parser.add_argument("--max-concurrency", type=int, metavar="C", help="requests in flight [32]")
    parser.add_argument("--ledger", metavar="FILE", help="the ledger of what was bought [in the user's cache folder]")
    parser.add_argument(
        "--retry-failed", action="store_const", const=True, help="ask again also for refused and empty rows"
    )


def _infer_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--student", metavar="PATH|URL", help="a student folder, or an endpoint")
    parser.add_argument("--model", metavar="NAME", help="the model to ask for, at an endpoint")
    parser.add_argument("--api-key-env", metavar="NAME", help="environment variable with an endpoint's key")
    parser.add_argument(
        "--ledger", metavar="FILE", help="keep an endpoint's answers here, and ask here first [nowhere]"
    )
    parser.add_argument("--paths", metavar="KIND=K,…", help="paths per kind, e.g. cot=10")


def _train_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--student", metavar="NAME", help="Hugging Face name or folder, `miniature` or `scratch`")
    parser.add_argument(
        "--judged", metavar="FILE", help="train a scorer instead: judged texts or pairs, or trees.jsonl"
    )


def _mix_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--format", default="potstill", help="potstill, trl, messages, parquet, or llamafactory (a folder)"
    )


def sample(options: argparse.Namespace) -> int:
    """Sample rationales into a file."""
    if not options.problems:
        return _stage_of_run("sample", options)
    _require_teacher(options)
    teacher = _given(options, "base_url", "model", "api_key_env", "temperature", "max_concurrency")
    settings: dict[str, Any] = _given(options, "n", "retry_failed")
    if options.kind:
        settings["kinds"] = [options.kind]
    if not options.recipe:
        settings.setdefault("template", "zero_shot")
    recipe = recipe_of(options, {"teachers": teacher, "sample": settings, **_given(options, "ledger")})
    out = Path() if options.dry_run else Path(_required(options, "out"))
    problems = _problems(options, recipe)
    if options.dry_run:
        from potstill.purchases import plan_sample

        print_plan(plan_sample(recipe, problems), as_json=options.json)
        return 0
    from potstill.purchases import buy_all

    with engines.opened(recipe):
        require_engine(recipe)
        counts = buy_all(recipe, problems, out, run=str(out.resolve()))
    _print_counts("sample", counts, options)
    return 0


def verify(options: argparse.Namespace) -> int:
    """Verify rationales into a file of verdicts."""
    if not options.rationales:
        return _stage_of_run("verify", options)
    from potstill.files import read_records, write_records
    from potstill.rationales.verification import verify as verify_stage
    from potstill.records import Rationale

    recipe = recipe_of(options, {})
    problems = _problems(options, recipe)
    rationales = read_records(options.rationales, Rationale)
    with engines.opened(recipe) as engine:
        check = verify_stage if engine is None else engine.verify
        verified = check(rationales, {p.id: p for p in problems}, recipe.verify, sandbox=recipe.sandbox)
        verdicts = [r.verdict for r in verified if r.verdict is not None]
    if not options.dry_run:
        write_records(_required(options, "out"), verdicts)
    _print_counts("verify", dict(Counter(v.status.value for v in verdicts).most_common()), options)
    return 0


def mix(options: argparse.Namespace) -> int:
    """Turn verified rationales into training examples."""
    if not options.rationales:
        return _stage_of_run("mix", options)
    from potstill.files import read_records
    from potstill.records import Rationale, Verdict
    from potstill.students.curriculum import noted
    from potstill.students.exports import export
    from potstill.students.mixing import mix as mix_stage

    recipe = recipe_of(options, {})
    problems = {p.id: p for p in _problems(options, recipe)}
    verdicts = {v.rationale_id: v for v in read_records(options.verdicts, Verdict)} if options.verdicts else {}
    rationales = [
        replace(r, verdict=verdicts.get(r.id), problem=problems.get(r.problem_id))
        for r in read_records(options.rationales, Rationale)
    ]
    if not options.verdicts:
        from potstill.rationales.verification import verify as verify_stage

        rationales = list(verify_stage(rationales, problems, recipe.verify, sandbox=recipe.sandbox))
    examples = mix_stage(
        rationales, recipe.mix, problems=list(problems.values()), filter=recipe.filter, seed=recipe.seed,
        difficulty=noted(recipe.train.curriculum),
    )  # fmt: skip
    if not options.dry_run:
        export(examples, _required(options, "out"), options.format)
    _print_counts("mix", {"examples": len(examples), "problems": len({e.group for e in examples})}, options)
    return 0


def train(options: argparse.Namespace) -> int:
    """Train a student on examples, or a scorer on judgements."""
    if options.judged:
        return _train_scorer(options)
    if not options.examples:
        return _stage_of_run("train", options)
    from potstill.files import read_records
    from potstill.records import Example
    from potstill.students.training import train as train_stage

    recipe = recipe_of(options, {"student": {"model": options.student}} if options.student else {})
    if options.student is None and not options.recipe:
        message = "train: --student is missing; give a Hugging Face name or folder, `miniature`, or --recipe FILE"
        raise ConfigError(message)
    examples = list(read_records(options.examples, Example))
    dev: list[Any] = []
    if options.dev:
        options.problems = options.dev
        dev = _problems(options, recipe)
    if options.dry_run:
        _print_counts("train", {"examples": len(examples), "problems": len({e.group for e in examples})}, options)
        return 0
    out = train_stage(
        examples,
        recipe.train,
        student=recipe.student,
        out=options.out or "students/student",
        dev=dev,
        infer=recipe.infer,
        verify=recipe.verify,
        sandbox=recipe.sandbox,
        mix=recipe.mix,
        seed=recipe.seed,
    )
    print_text(str(out))
    return 0


def _train_scorer(options: argparse.Namespace) -> int:
    from potstill.students.judged import read_judged, terms_of
    from potstill.students.scorers import train_scorer

    recipe = recipe_of(options, {"student": {"model": options.student}} if options.student else {})
    if options.student is None and not options.recipe:
        message = "train: --student is missing; give a Hugging Face name or folder, `scratch`, or --recipe FILE"
        raise ConfigError(message)
    judged = read_judged(options.judged)
    if options.dry_run:
        _print_counts("train", {"judgements": len(judged), "terms": len(terms_of(judged))}, options)
        return 0
    out = train_scorer(
        judged, recipe.train, student=recipe.student, out=options.out or "students/scorer", seed=recipe.seed
    )
    print_text(str(out))
    return 0


def infer(options: argparse.Namespace) -> int:
    """Ask a student, into a file of predictions."""
    if not options.problems:
        return _stage_of_run("infer", options)
    from potstill.recipe.teachers import TeacherConfig
    from potstill.students.predicting import infer_to_file

    settings = {"paths": read_pairs(options.paths, "--paths", int)} if options.paths else {}
    recipe = recipe_of(options, {"infer": settings})
    problems = _problems(options, recipe)
    student: Any = _required(options, "student")
    if str(student).startswith(("http://", "https://")):
        if not options.model:
            message = "infer: --model is missing; an endpoint is asked for a model by its name"
            raise ConfigError(message)
        student = TeacherConfig(base_url=student, model=options.model, **_given(options, "api_key_env"))
    if options.dry_run:
        from potstill.students.inference import plan_asks

        count = sum(len(ask.indices) for ask in plan_asks(problems, recipe.infer, recipe.mix))
    else:
        count = infer_to_file(
            problems,
            student,
            recipe.infer,
            _required(options, "out"),
            mix=recipe.mix if options.recipe or any(pair.startswith("mix.") for pair in options.set) else None,
            seed=recipe.seed,
            ledger=options.ledger,
        )
    _print_counts("infer", {"problems": len(problems), "paths": count}, options)
    return 0


def evaluate(options: argparse.Namespace) -> int:
    """Score predictions."""
    if not options.predictions:
        return _stage_of_run("evaluate", options)
    from potstill.evaluation.scoring import evaluate as evaluate_stage
    from potstill.evaluation.tables import terminal_table
    from potstill.files import read_records, write_atomic
    from potstill.records import Rationale, to_dict

    recipe = recipe_of(options, {})
    problems = _problems(options, recipe)
    predictions = list(read_records(options.predictions, Rationale))
    scores = evaluate_stage(
        predictions,
        problems,
        recipe.evaluate,
        system=options.system,
        task=recipe.task,
        verify=recipe.verify,
        sandbox=recipe.sandbox,
    )
    rows = {"scores": [to_dict(s) for s in scores], "comparisons": []}
    if options.out and not options.dry_run:
        import json

        write_atomic(options.out, json.dumps(rows, indent=1) + "\n")
    if options.json:
        print_json(rows)
    else:
        print_text(terminal_table(scores, ()))
    return 0


CALLS = {
    "sample": sample,
    "verify": verify,
    "mix": mix,
    "train": train,
    "infer": infer,
    "evaluate": evaluate,
}


def _stage_of_run(stage: str, options: argparse.Namespace) -> int:
    """Run a recipe up to a stage; without a recipe, go on with the one that the run directory holds."""
    recipe = options.recipe
    if recipe is None and options.run and (Path(options.run) / "recipe.yaml").exists():
        recipe = Path(options.run) / "recipe.yaml"
    if recipe is None:
        first = FILES_OF[stage][0][0]
        message = f"{stage}: nothing to read; give {first} FILE (and --out), or --recipe FILE --run DIR"
        raise ConfigError(message)
    return run_file(recipe, options, stage, None)


def recipe_of(options: argparse.Namespace, tables: dict[str, Any]) -> Recipe:
    """Return the recipe given, or the defaults, with the command's own options on top."""
    data = read_recipe(options.recipe) if options.recipe else {}
    data.setdefault("problems", {"source": "given on the command line"})
    for name, table in tables.items():
        given = data.get(name) or {}
        if name == "teachers" and isinstance(given, list) and len(given) == 1:
            given = given[0]
        data[name] = {**given, **table} if isinstance(table, dict) and isinstance(given, dict) else table or given
    if "teachers" in data and not data["teachers"]:
        del data["teachers"]
    return build_recipe(data, options.set, options.recipe or "command line")


def _problems(options: argparse.Namespace, recipe: Recipe) -> list[Any]:
    from potstill.evaluation.datasets import load_problems

    own = recipe.problems.model_dump(include=OF_ANY_SOURCE if options.recipe else {*SourceConfig.model_fields})
    own["columns"] |= read_pairs(options.columns, "--columns", str) if options.columns else {}
    own |= {"source": _required(options, "problems"), **_given(options, "limit")}
    return load_problems(SourceConfig(**own))


def _required(options: argparse.Namespace, name: str) -> str:
    value: str | None = getattr(options, name, None)
    if not value:
        message = f"{options.verb}: --{name} is missing; it is needed with the files given"
        raise ConfigError(message)
    return value


def _require_teacher(options: argparse.Namespace) -> None:
    """Raise unless something says whom to ask."""
    if options.recipe or any(pair.startswith("teachers.") for pair in options.set):
        return
    for name in ("base_url", "model"):
        if not getattr(options, name) and options.base_url != "miniature":
            flag = f"--{name.replace('_', '-')}"
            message = f"sample: {flag} is missing; give --base-url URL and --model NAME, or --recipe FILE"
            raise ConfigError(message)


def _given(options: argparse.Namespace, *names: str) -> dict[str, Any]:
    return {name: value for name in names if (value := getattr(options, name)) is not None}


def read_pairs(text: str, flag: str, convert: type[Any]) -> dict[str, Any]:
    """Return the pairs of an option such as `cot=10,pot=10`.

    Raises:
        ConfigError: It is not of that form.
    """
    pairs = {}
    for part in text.split(","):
        key, separator, value = part.partition("=")
        if not separator or not key or not value or (convert is int and not value.isdigit()):
            message = f"{flag} {text!r}: expected KEY=VALUE pairs with commas between them"
            raise ConfigError(message)
        pairs[key.strip()] = convert(value.strip())
    return pairs


def _print_counts(stage: str, counts: Any, options: argparse.Namespace) -> None:
    if options.json:
        print_json({"stage": stage, **counts})
    else:
        say(stage, ", ".join(f"{key} {value}" for key, value in counts.items() if not isinstance(value, dict)))
        for name, own in counts.get("teachers", {}).items():
            say(stage, f"{name}: " + ", ".join(f"{key} {value}" for key, value in own.items()))
