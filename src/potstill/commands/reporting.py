"""`potstill report`: one HTML file about a run, or about several beside each other, and its Markdown twin."""

from __future__ import annotations

import argparse

from potstill.commands.printing import print_json, print_text
from potstill.errors import ConfigError


def add(verb: str, parser: argparse.ArgumentParser) -> None:
    """Add the options of `report`."""
    parser.add_argument(
        "runs", nargs="*", metavar="RUN", help="run directories (or --run DIR); several are compared with the first"
    )
    parser.add_argument(
        "--out", metavar="FILE", help="the page, .html [RUN/report.html; of several FIRST/comparison.html]"
    )
    parser.set_defaults(call=report)


def report(options: argparse.Namespace) -> int:
    """Write the report of a run, or compare several."""
    from potstill.evaluation.reporting import report_runs, report_with_summary

    runs = options.runs or ([options.run] if options.run else [])
    if not runs:
        message = "report: no run given; name its directory, e.g. `potstill report runs/demo`; several are compared"
        raise ConfigError(message)
    path, numbers = report_with_summary(runs[0], options.out) if len(runs) == 1 else report_runs(runs, options.out)
    if options.json:
        print_json({"report": str(path), "markdown": str(path.with_suffix(".md")), **numbers})
    else:
        print_text(str(path))
    return 0
