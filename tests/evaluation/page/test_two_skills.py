"""The section about two skills: every path beside its rivals, and the differences that the method is about."""

import re

from potstill.evaluation.page.gathering import gather
from potstill.evaluation.page.markup import join
from potstill.evaluation.page.two_skills import sections_of


def shown(folder, most=4):
    return join([part for part in sections_of(gather(folder), most) if part is not None])


def test_each_path_stands_in_its_group_with_every_system_that_has_it(mixed_run):
    """Chain of thought, program, own choice, bound, vote: in words in the chart's description."""
    (words,) = re.findall(r"<title>Test: paths and votes</title><desc>([^<]*)</desc>", shown(mixed_run()))
    wanted = ["Chain of thought", "Program, run", "Own choice before writing", "The surer of two texts",
              "Either right", "Vote over 4 paths"]  # fmt: skip
    assert re.findall(f"({'|'.join(wanted)}): ", words) == wanted
    assert words.count("mixed: ") == 6
    assert words.count("ensemble: ") == 1
    assert words.count("SCoTD, N = 12: ") == words.count("PoT, N = 12: ") == 2


def test_the_claims_are_the_scored_comparisons(mixed_run):
    """Mixed against the ensemble, by vote, with the numbers of scores.json; and what it does not hold, computed."""
    facts = gather(mixed_run())
    page = join([part for part in sections_of(facts, 0) if part is not None])
    (pair,) = [
        p for p in facts.comparisons if (p.b, p.split, p.path, p.metric) == ("ensemble", "test", "vote", "accuracy")
    ]
    row = re.search(r">Vote over 4 paths: mixed − ensemble</th><td class=\"number\">([^<]*)<", page)
    assert row[1] == f"{100 * pair.difference:+.1f}".replace("-", "−")
    assert ", the best of one kind</th>" in page
    for said in (
        "CoT: mixed − SCoTD",
        "PoT: mixed − PoT",
        "PoT − CoT, one skill each: PoT − SCoTD",
        "Own choice − always",
        "The surer text − always",
    ):
        assert said in page


def test_a_run_of_one_kind_has_no_such_section(made_run):
    """Nothing is said about skills where there is one."""
    assert shown(made_run()) == ""


def test_incomplete_predictions_leave_a_remark(mixed_run):
    """What was scored is shown; what cannot be computed is said to be missing."""
    folder = mixed_run()
    (folder / "predictions/mixed.jsonl").write_text("")
    page = shown(folder)
    assert "Not computed: mixed: none of the 80 problems has a prediction" in page
    assert "Vote over 4 paths" in page


def test_programs_are_shown_as_code(mixed_run):
    """Escaped, with indentation, beside the chain of thought of the same problem, with answer and status."""
    page = shown(mixed_run())
    assert '<pre class="program"><code>def solution():\n    jars = 20\n    if 3 &lt; jars &amp; 7 &lt;= 9:' in page
    assert re.search(r"program failed: (timeout|error|no answer)", page)
    assert "The same problem, two ways" in page
