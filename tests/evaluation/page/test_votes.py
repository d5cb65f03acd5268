"""Votes in a report."""

import json
import re

from potstill.evaluation.page.gathering import gather
from potstill.evaluation.page.markup import join
from potstill.evaluation.page.skills import cast_of
from potstill.evaluation.page.votes import choices, curves


def test_a_curve_has_a_line_per_system_and_a_point_per_number_of_paths(mixed_run):
    """Two numbers of paths, four systems that vote, two splits."""
    facts = gather(mixed_run())
    page = join(curves(facts, dict.fromkeys(("scotd", "pot", "ensemble", "mixed"), "other")))
    assert page.count("<polyline") == 8
    rows = {(r.system, r.metric): r for r in facts.scores if (r.split, r.seed) == ("test", None)}
    for count in (2, 4):
        row = rows["mixed", f"accuracy_at_{count}"]
        assert f"[{100 * row.low:.1f}, {100 * row.high:.1f}]" in page
        assert f"{count} paths</th>" in page


def test_without_a_curve_there_is_none(made_run):
    """Most runs vote over one number of paths, or not at all."""
    assert curves(gather(made_run()), {"scotd": "main"}) == []


def test_coverage_counts_every_problem_and_seed(mixed_run):
    """Answers where both kinds agree, of all that were asked; abstentions are the rest."""
    folder = mixed_run(seeds=2)
    facts = gather(folder)
    page = choices(facts, cast_of(facts))
    rows = json.loads((folder / "scores.json").read_text())["scores"]
    (row,) = [r for r in rows if (r["path"], r["split"], r["seed"]) == ("agreed", "test", None)]
    answered = 120 - row["meta"]["statuses"]["ABSTAINED"]
    assert f"{answered} of 120</td>" in page
    assert f">{100 * answered / 120:.1f}</td>" in page


def test_shares_of_the_kinds_add_up(mixed_run):
    """Own choice, surer text and vote, per split, in percent."""
    facts = gather(mixed_run())
    (words,) = re.findall(
        r"<title>Which kind the student takes</title><desc>([^<]*)</desc>", choices(facts, cast_of(facts))
    )
    shares = re.findall(r"CoT (\d+) %, PoT (\d+) %", words)
    assert len(shares) == 6
    assert all(99 <= int(cot) + int(pot) <= 101 for cot, pot in shares)
