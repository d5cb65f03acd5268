"""`potstill review`: the local page on which people read, decide and compare."""

from __future__ import annotations

import argparse
from contextlib import closing
from pathlib import Path

from potstill.commands.printing import print_json
from potstill.errors import ConfigError


def add(verb: str, parser: argparse.ArgumentParser) -> None:
    """Add the options of `review`."""
    parser.add_argument("folder", nargs="?", metavar="RUN", help="the run directory (or --run DIR)")
    parser.add_argument("--port", type=int, default=0, metavar="P", help="port on loopback [a free one]")
    parser.add_argument("--no-browser", action="store_true", help="print the address only")
    parser.add_argument("--reviewer", default="", metavar="NAME", help="who reviews, unless a browser says otherwise")
    parser.add_argument(
        "--compare",
        nargs=2,
        metavar=("A", "B"),
        help="judge pairs of two sources blindly; with --json print the result",
    )
    parser.add_argument("--both-right", action="store_true", help="compare only where both answers are right")
    parser.add_argument("--pairs", type=int, default=300, metavar="N", help="pairs to compare [300]")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="draws the pairs and their sides [0]")
    parser.set_defaults(call=review)


def review(options: argparse.Namespace) -> int:
    """Serve the review of a run until stopped, or print the result of a comparison."""
    from potstill.review.indexing import index_once
    from potstill.review.server import Review, run_review
    from potstill.review.studying import begin, result_of

    folder = options.folder or options.run
    if not folder:
        message = "review: no run given; name its directory, e.g. `potstill review runs/demo`"
        raise ConfigError(message)
    served = Review(Path(folder), options.reviewer)
    with closing(served.index):
        start = ""
        if options.compare:
            from potstill.review.comparing import Comparison, pairs_of

            index_once(Path(folder))
            first, second = options.compare
            one = Comparison(a=first, b=second, only_right=options.both_right, n=options.pairs, seed=options.seed)
            if options.json:
                print_json(result_of(served, one, len(pairs_of(served.index, one))))
                return 0
            start = f"/compare/{begin(served, one, served.reviewer or 'command line')}"
        run_review(served, options.port, start, None if options.no_browser else _open_browser)
    return 0


def _open_browser(address: str) -> bool:
    import webbrowser

    return webbrowser.open(address)
