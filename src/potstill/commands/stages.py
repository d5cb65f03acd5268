"""The stage verbs: each runs one stage on files, or a recipe's run up to that stage."""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from potstill import engines
from potstill.commands.given import given, problems_of, read_pairs, recipe_of, recipe_to_run, require_asked, required
from potstill.commands.printing import print_json, print_text
from potstill.commands.running import print_plan, run_file
from potstill.errors import ConfigError
from potstill.messages import say
from potstill.preflight import require_engine

FILES_OF = {
    "sample": (("--problems", "the problems"),),
    "verify": (("--rationales", "the rationales"), ("--problems", "the problems")),
    "mix": (("--rationales", "the rationales"), ("--verdicts", "their verdicts"), ("--problems", "the problems")),
    "train": (("--examples", "the training examples"), ("--dev", "problems to choose the checkpoint on")),
    "infer": (("--problems", "the problems"),),
    "evaluate": (("--predictions", "the predictions"), ("--problems", "the problems")),
}


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
    require_asked(options)
    teacher = given(options, "base_url", "model", "api_key_env", "temperature", "max_concurrency")
    settings: dict[str, Any] = given(options, "n", "retry_failed")
    if options.kind:
        settings["kinds"] = [options.kind]
    if not options.recipe:
        settings.setdefault("template", "zero_shot")
    recipe = recipe_of(options, {"teachers": teacher, "sample": settings, **given(options, "ledger")})
    out = Path() if options.dry_run else Path(required(options, "out"))
    problems = problems_of(options, recipe)
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
    problems = problems_of(options, recipe)
    rationales = read_records(options.rationales, Rationale)
    with engines.opened(recipe) as engine:
        check = verify_stage if engine is None else engine.verify
        verified = check(rationales, {p.id: p for p in problems}, recipe.verify, sandbox=recipe.sandbox)
        verdicts = [r.verdict for r in verified if r.verdict is not None]
    if not options.dry_run:
        write_records(required(options, "out"), verdicts)
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
    problems = {p.id: p for p in problems_of(options, recipe)}
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
        export(examples, required(options, "out"), options.format)
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
        dev = problems_of(options, recipe)
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
    problems = problems_of(options, recipe)
    student: Any = required(options, "student")
    if str(student).startswith(("http://", "https://")):
        if not options.model:
            message = "infer: --model is missing; an endpoint is asked for a model by its name"
            raise ConfigError(message)
        student = TeacherConfig(base_url=student, model=options.model, **given(options, "api_key_env"))
    if options.dry_run:
        from potstill.students.inference import plan_asks

        count = sum(len(ask.indices) for ask in plan_asks(problems, recipe.infer, recipe.mix))
    else:
        count = infer_to_file(
            problems,
            student,
            recipe.infer,
            required(options, "out"),
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
    problems = problems_of(options, recipe)
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
    """Run a recipe up to a stage."""
    return run_file(recipe_to_run(stage, options, FILES_OF[stage][0][0]), options, stage, None)


def _print_counts(stage: str, counts: Any, options: argparse.Namespace) -> None:
    if options.json:
        print_json({"stage": stage, **counts})
    else:
        say(stage, ", ".join(f"{key} {value}" for key, value in counts.items() if not isinstance(value, dict)))
        for name, own in counts.get("teachers", {}).items():
            say(stage, f"{name}: " + ", ".join(f"{key} {value}" for key, value in own.items()))
