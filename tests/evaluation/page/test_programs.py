"""Programs in a report."""

import re

from potstill.evaluation.page.gathering import gather
from potstill.evaluation.page.programs import outcomes, parts, program_claims
from potstill.evaluation.page.skills import cast_of, measure


def test_programs_against_chains_of_thought_on_large_numbers_can_be_read_off(mixed_run):
    """Bars with n in the heading, and the paired differences with interval, p and n, with and without large numbers."""
    facts = gather(mixed_run(test=90))
    cast = cast_of(facts)
    measured = measure(facts, cast)
    page = parts(facts, cast, measured, "has_large")
    rows = {(r.system, r.path): r for r in measured.parts["has_large"][True] if r.split == "test"}
    assert f"With large numbers, n = {rows['pot', 'pot'].n}: SCoTD: {100 * rows['scotd', 'cot'].value:.1f} %" in page
    assert "Test, with large numbers</th>" in page
    held = [pid for pid, is_large in measured.properties["has_large"].items() if is_large]
    (said, pair), _ = program_claims(facts, cast, measured, "test", held)
    assert pair.n == rows["pot", "pot"].n
    row = re.search(
        rf"Test, with large numbers</th></tr><tr[^>]*><th[^>]*>{said}</th><td class=\"number\">([^<]*)<", page
    )
    assert row[1] == f"{100 * pair.difference:+.1f}".replace("-", "−")


def test_failures_are_listed_by_reason_in_percent_of_all_programs(mixed_run):
    """Those of the teacher, and of each student that writes programs, greedy and sampled."""
    facts = gather(mixed_run())
    measured = measure(facts, cast_of(facts))
    page = outcomes(facts, measured)
    counted = measured.programs["pot"]["sampled"]
    assert (
        f'<td class="number">{counted.total():,}</td><td class="number">{100 * counted["ran"] / counted.total():.1f}<'
        in page
    )
    for head in ("gave an answer", "ran out of time", "raised an error", "ended without an answer"):
        assert f">{head}</th>" in page
    assert "teacher, to train on" in page


def test_a_run_without_programs_lists_none(made_run):
    """Nothing ran, nothing failed."""
    from potstill.evaluation.page.skills import Measured

    assert outcomes(gather(made_run()), Measured()) is None
