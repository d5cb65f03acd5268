"""When two rationales of a problem are one."""

import pytest

from potstill.rationales.duplicates import equations, keys
from potstill.records import Rationale, Status, Verdict


def rationale(text, *, kind="cot", answer="7", problem_id="p"):
    id_ = f"{problem_id} {kind} {text}"
    verdict = Verdict(rationale_id=id_, status=Status.CORRECT, answer=answer)
    return Rationale(id=id_, problem_id=problem_id, kind=kind, text=text, verdict=verdict)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("3 + 4 = 7.", ("3+4=7",)),
        ("First 2 x $3.50 = $7.00, then 7 - 1 = 6", ("2*3.50=7.00", "7-1=6")),
        ("He has 3+4=<<3+4=7>>7 left, 7*2=<<7*2=14>>14.", ("3+4=7", "7*2=14")),
        ("(1,000 + 2) ÷ 2 = 501", ("(1000+2)/2=501",)),
        ("x = 7, so it is 7", ()),
        ("2023-01-05 is a day", ()),
    ],
)
def test_equations_are_read_in_order(text, found):
    """Calculator marks go before free text; spaces, commas and currency signs do not count."""
    assert equations(text) == found


def test_texts_are_the_same_but_for_white_space():
    """Not but for problem or kind."""
    rows = [rationale("a b"), rationale(" a\n b "), rationale("a b", problem_id="q"), rationale("a b", kind="answer")]
    one, two, other, bare = keys(rows, {"cot": "exact", "answer": "exact"})
    assert one == two
    assert len({one, other, bare}) == 3
    assert keys(rows, {}) == [None] * 4


def test_chains_of_thought_with_the_same_equations_are_one():
    """Other words do not count, another answer does; a text without equations is compared as it stands."""
    rows = [
        rationale("He has 3 + 4 = 7 apples."),
        rationale("Adding them, 3+4 = 7."),
        rationale("Then 4 + 3 = 7."),
        rationale("He has 3 + 4 = 7, minus one.", answer="6"),
        rationale("Seven."),
        rationale("Seven!"),
    ]
    found = keys(rows, {"cot": "equations"})
    assert found[0] == found[1]
    assert len(set(found)) == 5


@pytest.mark.usefixtures("sandboxed")
def test_programs_that_differ_in_names_are_one():
    """Fences and prose around them do not count; a text without a program is compared as it stands."""
    rows = [
        rationale("a = 7\nans = a", kind="pot"),
        rationale("Here:\n```python\nsum_ = 7  # all\nans = sum_\n```", kind="pot"),
        rationale("a = 8\nans = a", kind="pot", answer="8"),
        rationale("None.", kind="pot"),
        rationale("a = 7\nans = a"),
    ]
    found = keys(rows, {"pot": "renamed", "cot": "exact"})
    assert found[0] == found[1]
    assert len(set(found)) == 4
