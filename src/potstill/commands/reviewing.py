"""`potstill review`: the local page on which people read, decide and compare."""

from __future__ import annotations

import argparse
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from potstill.commands.printing import print_json, print_text
from potstill.errors import ConfigError
from potstill.messages import say

if TYPE_CHECKING:
    from potstill.review.comparing import Comparison
    from potstill.review.server import Review


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
    parser.add_argument("--judge", default="", metavar="NAME", help="a teacher of the run judges the same pairs")
    parser.add_argument("--base-url", default="", metavar="URL", help="the judge's endpoint, where it is none of them")
    parser.add_argument("--model", default="", metavar="NAME", help="the judge's model at that endpoint")
    parser.add_argument("--api-key-env", default="", metavar="NAME", help="environment variable with its key")
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
            from potstill.review.comparing import Comparison

            index_once(Path(folder))
            first, second = options.compare
            one = Comparison(a=first, b=second, only_right=options.both_right, n=options.pairs, seed=options.seed)
            if options.judge or options.base_url:
                _have_judged(served, one, options)
            if options.json:
                print_json(result_of(served, one))
                return 0
            if options.judge or options.base_url:
                print_text(
                    f"{folder}: the same pairs for people: `potstill review {folder} --compare {first} {second}`"
                )
                return 0
            start = f"/compare/{begin(served, one, served.reviewer or 'command line')}"
        elif options.judge or options.base_url:
            message = "review: a judge is given and no --compare A B; name the two sources whose pairs it judges"
            raise ConfigError(message)
        run_review(served, options.port, start, None if options.no_browser else _open_browser)
    return 0


def _have_judged(served: Review, one: Comparison, options: argparse.Namespace) -> None:
    """Let a model judge the pairs of a comparison; begins the comparison where nobody has."""
    import asyncio

    from potstill.review.comparing import pairs_of
    from potstill.review.judging import judge_config, judge_with
    from potstill.review.studying import begin

    config = judge_config(
        served.folder, options.judge, base_url=options.base_url, model=options.model, api_key_env=options.api_key_env
    )
    pairs = pairs_of(served.index, one)
    if options.dry_run:
        say("compare", f"{config.author} would be asked {2 * len(pairs)} times: {len(pairs)} pairs in both orders")
        return
    begin(served, one, served.reviewer or "command line")
    label = f"{served.folder.resolve()} compare"
    asyncio.run(judge_with(served.folder, served.index, one, pairs, config, run=label))


def _open_browser(address: str) -> bool:
    import webbrowser

    return webbrowser.open(address)
