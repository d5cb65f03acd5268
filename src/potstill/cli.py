"""The command line: parse, make one library call, print. No stage logic lives here.

Results go to standard output, messages and progress to standard error. Exit codes: 0 done, 1 the user's error,
2 usage, 3 failure budget exceeded, 4 money or token budget reached (resumable), 130 interrupted (resumable).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from potstill import __version__
from potstill.errors import PotstillError

VERBS = {
    "run": "run all stages of a recipe",
    "demo": "run the embedded demonstration",
    "sample": "problems → rationales",
    "verify": "rationales + problems → verdicts",
    "exec": "programs → one result line each, in the sandbox",
    "counterfactual": "labelled problems → as near as possible to them, with another label",
    "evolve": "seed instructions → evolved instructions and their trees",
    "mix": "rationales + verdicts → training examples",
    "train": "examples → a student folder",
    "infer": "problems + student → predictions",
    "evaluate": "predictions + problems → scores",
    "report": "a run → one HTML file; several → one that compares them",
    "review": "the local page on which people read, decide and compare what a run holds",
    "export": "a run → its examples and its student as folders for the Hugging Face Hub, with cards",
    "show": "counts, reasons and a few records of a file, a run or a ledger",
    "serve": "an OpenAI-compatible endpoint on loopback: a student, or the embedded teacher",
    "doctor": "the environment: versions, endpoints, GPU, disk",
}
HOME = {
    "run": "running",
    "demo": "running",
    "report": "reporting",
    "review": "reviewing",
    "export": "exporting",
    "show": "showing",
    "serve": "serving",
    "doctor": "serving",
    "exec": "executing",
    "counterfactual": "countering",
    "evolve": "evolving",
}
"""Verb -> the module in `potstill.commands` that holds it; the stage verbs are in `stages`."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    argv = list(sys.argv[1:] if argv is None else argv)
    parser = build_parser(argv[0] if argv else None)
    options = parser.parse_args(argv)
    if options.verb is None:
        parser.print_help()
        return 2
    from potstill.messages import set_quiet

    set_quiet(quiet=options.quiet)
    try:
        return int(options.call(options) or 0)
    except PotstillError as error:
        print(f"potstill: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("potstill: interrupted; the same command resumes", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 0


def build_parser(verb: str | None = None) -> argparse.ArgumentParser:
    """Return the parser; only `verb`'s own options are added, so that help for all verbs loads none of them."""
    parser = argparse.ArgumentParser(
        prog="potstill",
        description="Distil the reasoning of a large language model (the teacher) into a small one (the student).",
        epilog="Start with `potstill demo`, or `potstill sample --help` for your own file and endpoint.",
    )
    parser.add_argument("--version", action="version", version=f"potstill {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", title="verbs")
    for name, summary in VERBS.items():
        one = verbs.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
        add_common(one)
        if name == verb:
            import_module(f"potstill.commands.{HOME.get(name, 'stages')}").add(name, one)
    return parser


def add_common(parser: argparse.ArgumentParser) -> None:
    """Add the options that every verb has."""
    group = parser.add_argument_group("common options")
    group.add_argument("--recipe", metavar="FILE", help="a recipe; its tables give the defaults of every option")
    group.add_argument("--run", metavar="DIR", help="the run directory")
    group.add_argument(
        "--set", metavar="KEY=VALUE", action="append", default=[], help="change one recipe value, e.g. sample.n=5"
    )
    group.add_argument("--limit", metavar="N", type=positive, help="use the first N problems")
    group.add_argument("--dry-run", action="store_true", help="print requests, tokens and money; send nothing")
    group.add_argument("--force", action="store_true", help="redo what a changed recipe invalidates")
    group.add_argument("--json", action="store_true", help="print results as JSON")
    group.add_argument("--quiet", action="store_true", help="print no messages and no progress")


def positive(text: str) -> int:
    """Parse a whole number above zero."""
    if not text.isdigit() or int(text) < 1:
        message = f"{text!r} is not a whole number above 0"
        raise argparse.ArgumentTypeError(message)
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
