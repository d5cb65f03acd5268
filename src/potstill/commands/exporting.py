"""`potstill export`: a run's examples and student as two folders for the Hugging Face Hub, each with its card."""

from __future__ import annotations

import argparse

from potstill.commands.printing import print_json, print_text
from potstill.errors import ConfigError
from potstill.messages import say


def add(verb: str, parser: argparse.ArgumentParser) -> None:
    """Add the options of `export`."""
    parser.add_argument("path", nargs="?", metavar="RUN", help="the run directory (or --run DIR)")
    parser.add_argument("--out", metavar="DIR", help="where dataset/ and model/ are written")
    parser.add_argument("--system", metavar="NAME", help="the system, or one seed of it [the only one]")
    parser.add_argument(
        "--format", default="parquet", help="parquet, trl, messages, llamafactory or potstill [parquet]"
    )
    parser.add_argument("--license", default="unknown", metavar="ID", help="licence of the questions [unknown]")
    parser.add_argument("--model-license", default="unknown", metavar="ID", help="licence of the base model [unknown]")
    parser.add_argument(
        "--teacher-terms", default="unknown", metavar="TEXT", help="what the teacher's provider allows [unknown]"
    )
    parser.set_defaults(call=export)


def export(options: argparse.Namespace) -> int:
    """Write the two folders and print where they are."""
    from potstill.evaluation.publishing import Terms, publish

    run = options.path or options.run
    for flag, value in (("RUN", run), ("--out", options.out)):
        if not value:
            message = f"export: {flag} is missing; write `potstill export RUN --out DIR`"
            raise ConfigError(message)
    terms = Terms(
        data_license=options.license, model_license=options.model_license, teacher_terms=options.teacher_terms
    )
    found = publish(
        run, options.out, system=options.system, format=options.format, terms=terms, is_trial=options.dry_run
    )
    if options.json:
        print_json(found)
        return 0
    if options.dry_run:
        say("dry run", "nothing was written")
    print_text(f"{found['dataset']}: {found['examples']} examples of {found['system']}")
    print_text(f"{found['model']}: the student" if found["model"] else "no student: this system was not trained")
    return 0
