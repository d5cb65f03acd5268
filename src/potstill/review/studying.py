"""Answer requests about blind comparisons, calibration and the history of decisions."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from aiohttp import web

from potstill.errors import ConfigError
from potstill.evaluation.page.markup import Html
from potstill.review import decisions, frame, queries, studies
from potstill.review.calibrating import WANTED_HALF_WIDTH, calibration, skipped
from potstill.review.comparing import (  # fmt: skip
    CHOICES,
    Comparison,
    Pair,
    a_is_first,
    comparison_of,
    judgement,
    outcome,
    pairs_of,
    sources,
    standing,
)
from potstill.review.trusting import calibration_page

if TYPE_CHECKING:
    from potstill.review.server import Review

DECISIONS_SHOWN = 200


class Studies:
    """The pages that are about many records. State: the pairs of each comparison, drawn once."""

    def __init__(self, review: Review) -> None:
        self.review = review
        self.pairs: dict[str, tuple[int, list[Pair]]] = {}

    def comparison(self, request: web.Request) -> Comparison:
        """Return the comparison that an address names."""
        key = request.match_info["key"]
        for one, _ in self.begun():
            if one.key == key:
                return one
        message = f"compare: {key} was not begun in this run; begin it on the page Compare, or with --compare A B"
        raise ConfigError(message)

    def begun(self) -> list[tuple[Comparison, int]]:
        """Return every comparison that was begun, with its number of judgements."""
        rows = list(decisions.rows_of(self.review.folder))
        found = {one.key: one for row in rows if row["action"] == "compare" for one in [comparison_of(row)]}
        return [(one, len(standing(rows, key))) for key, one in found.items()]

    def pairs_for(self, comparison: Comparison) -> list[Pair]:
        """Return a comparison's pairs; drawn anew when the index has grown."""
        size = sum(queries.sizes(self.review.index).values())
        known = self.pairs.get(comparison.key)
        if known is None or known[0] != size:
            known = self.pairs[comparison.key] = (size, pairs_of(self.review.index, comparison))
        return known[1]

    async def show_comparisons(self, request: web.Request) -> web.Response:
        """Show the comparisons begun."""
        content = studies.comparisons_page(sources(self.review.index), self.begun())
        return self.answer(request, "compare", "Compare", content)

    async def begin(self, request: web.Request) -> web.Response:
        """Begin a comparison."""
        form = await request.post()
        name = decisions.require_name(self.review.who(request))
        numbers = {key: str(form.get(key) or default) for key, default in (("n", "300"), ("seed", "0"))}
        for key, value in numbers.items():
            if not value.isdigit() or len(value) > 9:
                message = f"compare: {key} is {value[:40]!r}; expected a whole number"
                raise ConfigError(message)
        one = Comparison(
            a=str(form.get("a", "")), b=str(form.get("b", "")), only_right=bool(form.get("only_right")),
            n=max(1, int(numbers["n"])), seed=int(numbers["seed"]),
        )  # fmt: skip
        key = begin(self.review, one, name)
        return web.Response(status=303, headers={"Location": f"/compare/{key}"})

    async def show_pair(self, request: web.Request) -> web.Response:
        """Show the next pair that this rater has not judged."""
        comparison = self.comparison(request)
        rater = decisions.require_name(self.review.who(request))
        pairs = self.pairs_for(comparison)
        judged = standing(decisions.rows_of(self.review.folder), comparison.key)
        left = [pair for pair in pairs if (pair.problem, rater) not in judged]
        if not left:
            return web.Response(status=303, headers={"Location": f"/compare/{comparison.key}/result"})
        first = a_is_first(comparison, left[0].problem, rater)
        content = studies.pair_page(
            self.review.folder, self.review.index, comparison, left[0], is_a_first=first, done=len(pairs) - len(left),
            total=len(pairs),
        )  # fmt: skip
        return self.answer(request, "compare", "Compare", content)

    async def judge(self, request: web.Request) -> web.Response:
        """Append what a rater chose, and lead to the next pair."""
        comparison = self.comparison(request)
        form = await request.post()
        rater = decisions.require_name(self.review.who(request))
        choice = decisions.require_action(str(form.get("choice", "")), CHOICES)
        pair = next((pair for pair in self.pairs_for(comparison) if pair.problem == form.get("problem")), None)
        if pair is None:
            message = (
                "compare: this pair is no longer part of the comparison; the run was written anew: reload the page"
            )
            raise ConfigError(message)
        decisions.append(self.review.folder, judgement(comparison, pair, rater, choice))
        return web.Response(status=303, headers={"Location": f"/compare/{comparison.key}"})

    def result(self, request: web.Request) -> tuple[Comparison, dict[str, Any]]:
        """Return a comparison and what was found so far."""
        comparison = self.comparison(request)
        return comparison, result_of(self.review, comparison, len(self.pairs_for(comparison)))

    async def show_result(self, request: web.Request) -> web.Response:
        """Show what the raters said so far."""
        return self.answer(request, "compare", "Result", studies.result_page(*self.result(request)))

    async def result_json(self, request: web.Request) -> web.Response:
        """Return the same as JSON."""
        return web.json_response(self.result(request)[1])

    async def show_calibration(self, request: web.Request) -> web.Response:
        """Show how far each judge can be believed."""
        self.review.catch_up()
        index, width = self.review.index, half_width(request)
        found = queries.sizes(index)
        stages = [stage for stage in ("rationales", "predictions", "instructions") if found[stage]]
        stages += ["problems"] if index.execute("SELECT 1 FROM claims WHERE stage = 'problems'").fetchone() else []
        passed = sum(skipped(index, stage) for stage in stages)
        content = calibration_page(calibration(index, width), passed, stages, width)
        return self.answer(request, "calibration", "Calibration", content)

    async def calibration_json(self, request: web.Request) -> web.Response:
        """Return the same as JSON."""
        self.review.catch_up()
        return web.json_response(calibration(self.review.index, half_width(request)))

    async def show_decisions(self, request: web.Request) -> web.Response:
        """Show the last decisions."""
        view = self.review.view(request, "decisions")
        index = self.review.index
        rows = index.execute(
            "SELECT d.*, (SELECT n FROM items i INDEXED BY by_id"
            " WHERE i.id = d.record AND i.stage = d.stage AND i.job = d.job) AS n"
            " FROM decisions d ORDER BY d.rowid DESC LIMIT ?",
            (DECISIONS_SHOWN,),
        ).fetchall()
        states = index.execute("SELECT review, count(*) FROM items WHERE review != '' GROUP BY review ORDER BY 2 DESC")
        content = studies.decisions_page(rows, view.reviewer, {row[0]: row[1] for row in states})
        return self.review.page(frame.page(view, "Decisions", content))

    def answer(self, request: web.Request, here: str, title: str, content: Html) -> web.Response:
        """Return a page of these."""
        return self.review.page(frame.page(self.review.view(request, here), title, content))


def half_width(request: web.Request) -> float:
    """Return the half width of an interval that an address asks for, as a fraction.

    Raises:
        ConfigError: It is not a number of points between 0.5 and 50.
    """
    given = request.query.get("width", "")
    if not given:
        return WANTED_HALF_WIDTH
    try:
        points = float(given)
    except ValueError:
        points = math.nan
    if not 0.5 <= points <= 50:
        message = f"calibration: width is {given[:40]!r}; expected a number of percentage points from 0.5 to 50"
        raise ConfigError(message)
    return points / 100


def begin(review: Review, comparison: Comparison, name: str) -> str:
    """Note a comparison in `review.jsonl` unless it is there, and return its key.

    Raises:
        ConfigError: Its sources are one and the same, are not known, or share no problem.
    """
    if comparison.a == comparison.b:
        message = f"compare: {comparison.a!r} is given twice; give two sources of {', '.join(sources(review.index))}"
        raise ConfigError(message)
    pairs_of(review.index, comparison)
    rows = decisions.rows_of(review.folder)
    if comparison.key not in {row.get("comparison") for row in rows if row["action"] == "compare"}:
        decisions.append(review.folder, {"by": name, **comparison.row()})
    return comparison.key


def result_of(review: Review, comparison: Comparison, n_pairs: int | None = None) -> dict[str, Any]:
    """Return what the judgements of a comparison say so far.

    Args:
        n_pairs: How many pairs it has; `None`: they are drawn to be counted.
    """
    count = len(pairs_of(review.index, comparison)) if n_pairs is None else n_pairs
    return outcome(comparison, decisions.rows_of(review.folder), count)
