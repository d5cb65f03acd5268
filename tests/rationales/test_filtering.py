"""Filtering: what is kept, and the reason of every drop."""

from collections import Counter
from dataclasses import replace

import pytest
from pydantic import ValidationError

from potstill.errors import DataError
from potstill.rationales.filtering import NO_FILTER, keep, require_kept
from potstill.recipe.rationales import FilterConfig
from potstill.records import Rationale, Status, Verdict


def rationale(id, status="CORRECT", text="2 + 2 = 4. So the answer is: 4", answer="4", **fields):
    verdict = Verdict(rationale_id=id, status=Status(status), answer=answer) if status else None
    return Rationale(id=id, problem_id=fields.pop("problem_id", "p"), kind="cot", text=text, verdict=verdict, **fields)


EVERYTHING = [
    rationale("correct"),
    rationale("wrong", "WRONG", answer="5"),
    rationale("no_answer", "NO_ANSWER", answer=None),
    rationale("unverified", "UNVERIFIED"),
    rationale("unread", "UNVERIFIED", answer=None),
    rationale("not_verified", None),
    rationale("truncated", finish="length"),
    rationale("refused", text="", finish="refused", reason="content_filter"),
    rationale("empty", text="  \n", finish="stop"),
]


@pytest.mark.parametrize(
    ("mode", "kept"),
    [
        ("correct", ["correct"]),
        ("answered", ["correct", "wrong", "unverified"]),
        ("all", ["correct", "wrong", "no_answer", "unverified", "unread", "not_verified"]),
    ],
)
def test_each_mode_keeps_its_rows_and_accounts_for_the_others(mode, kept):
    """What is not kept is a drop; nothing is both or neither."""
    found, drops = keep(EVERYTHING, FilterConfig(keep=mode))
    assert [r.id for r in found] == kept
    assert {d.id for d in drops} == {r.id for r in EVERYTHING} - set(kept)
    assert {d.stage for d in drops} == {"filter"}


def unlabelled(*answers, kind="cot", problem_id="p"):
    rows = []
    for answer in answers:
        status = (
            "PROGRAM_FAILED" if answer is None and kind == "pot" else "NO_ANSWER" if answer is None else "UNVERIFIED"
        )
        row = rationale(f"{problem_id}-{kind}-{len(rows)}", status, answer=answer, problem_id=problem_id)
        rows.append(replace(row, kind=kind))
    return rows


def test_majority_keeps_what_most_of_a_kind_say():
    """Without gold answers; a failed program is dropped as such, and a text that is ruled out does not vote."""
    rows = [*unlabelled("4", "5", "5", None), *unlabelled("4", None, "4", kind="pot")]
    rows += [replace(rationale(f"cut{i}", "UNVERIFIED", answer="4", finish="length")) for i in range(3)]
    found, drops = keep(rows, FilterConfig(keep="majority"))
    assert [r.id for r in found] == ["p-cot-1", "p-cot-2", "p-pot-0", "p-pot-2"]
    reasons = Counter(d.reason for d in drops)
    assert reasons == {"minority": 1, "no_answer": 1, "program_failed": 1, "truncated": 3}


def test_agreement_keeps_problems_on_which_both_kinds_agree():
    """A problem with one kind alone, or with two majorities, is dropped with its own reason."""
    rows = [*unlabelled("4", "4", "5"), *unlabelled("4", kind="pot")]
    rows += [*unlabelled("1", problem_id="q"), *unlabelled("2", kind="pot", problem_id="q")]
    rows += unlabelled("3", problem_id="r")
    found, drops = keep(rows, FilterConfig(keep="agreement"))
    assert [r.id for r in found] == ["p-cot-0", "p-cot-1", "p-pot-0"]
    assert Counter(d.reason for d in drops) == {"minority": 1, "disagreement": 2, "one_kind": 1}


@pytest.mark.usefixtures("sandboxed")
def test_each_kind_has_its_own_rule_for_duplicates():
    """Programs but for their names, chains of thought by their equations; each drop says which rule dropped it."""
    texts = [("pot", "a = 4\nans = a"), ("pot", "b = 4\nans = b"), ("cot", "2 + 2 = 4."), ("cot", "So 2 + 2 = 4!")]
    rows = [replace(rationale(str(i), text=text), kind=kind) for i, (kind, text) in enumerate(texts)]
    found, drops = keep(rows, FilterConfig(dedup={"cot": "equations", "pot": "renamed"}))
    assert [r.id for r in found] == ["0", "2"]
    assert [(d.id, d.reason) for d in drops] == [("1", "same_program"), ("3", "same_equations")]
    assert keep(rows, FilterConfig(dedup={"pot": "exact"}))[1] == []


def test_a_rule_for_duplicates_must_fit_its_kind():
    """Equations are of chains of thought, names of programs."""
    with pytest.raises(ValidationError, match="equations is for cot, renamed for pot"):
        FilterConfig(dedup={"pot": "equations"})
    with pytest.raises(ValidationError, match="dedup"):
        FilterConfig(dedup="renamed")


def test_every_drop_has_its_own_reason():
    """A failure is never counted as a wrong answer."""
    _, drops = keep(EVERYTHING, FilterConfig())
    reasons = {d.id: d.reason for d in drops}
    assert reasons == {
        "wrong": "wrong",
        "no_answer": "no_answer",
        "unverified": "unverified",
        "unread": "unverified",
        "not_verified": "not_verified",
        "truncated": "truncated",
        "refused": "refused",
        "empty": "empty",
    }
    assert {d.id: d.detail for d in drops}["refused"] == "content_filter"


def test_truncated_texts_are_kept_on_request():
    """`allow_truncated` lets a text that ended at max_tokens pass if it is right."""
    found, drops = keep([rationale("a", finish="length")], FilterConfig(allow_truncated=True))
    assert ([r.id for r in found], drops) == (["a"], [])


def test_overlong_texts_are_dropped_by_words():
    """The limit counts white-space separated words and is inclusive."""
    rows = [rationale("fits", text="one two three"), rationale("long", text="one two three four")]
    found, drops = keep(rows, FilterConfig(max_tokens=3))
    assert [r.id for r in found] == ["fits"]
    assert [(d.id, d.reason, d.detail) for d in drops] == [("long", "overlong", "4 words, at most 3 are allowed")]


def test_exact_duplicates_of_a_problem_are_dropped_only_when_asked():
    """The same text of another problem is no duplicate, and a dropped text does not shadow a later one."""
    rows = [
        rationale("bad", "WRONG", text="same"),
        rationale("a", text="same"),
        rationale("b", text=" same "),
        rationale("other", text="same", problem_id="q"),
    ]
    found, drops = keep(rows, FilterConfig(dedup="exact"))
    assert [r.id for r in found] == ["a", "other"]
    assert [(d.id, d.reason) for d in drops] == [("bad", "wrong"), ("b", "duplicate")]
    assert [r.id for r in keep(rows, FilterConfig())[0]] == ["a", "b", "other"]


def test_rationales_of_contaminated_problems_are_dropped_with_what_was_found():
    """Contamination comes before the verdict and is reported in detail."""
    _, drops = keep([rationale("a"), rationale("b", "WRONG")], contaminated={"p": "e1 in split test: same text"})
    assert [(d.id, d.reason, d.detail) for d in drops] == [
        ("a", "contaminated", "e1 in split test: same text"),
        ("b", "contaminated", "e1 in split test: same text"),
    ]


def test_no_filter_keeps_all_texts():
    """Only what has no text is left out."""
    found, _ = keep(EVERYTHING, NO_FILTER)
    assert [r.id for r in found if r.id == "truncated"] == ["truncated"]


def test_keeping_nothing_says_why_with_counts():
    """The message counts the reasons and says what to do about the first."""
    kept, drops = keep([rationale("a", "UNVERIFIED"), rationale("b", "UNVERIFIED"), rationale("c", "WRONG")])
    with pytest.raises(
        DataError, match=r"none of 3 rationales is kept \(2 unverified, 1 wrong\).*filter.keep to majority"
    ):
        require_kept(kept, drops)


def test_nothing_in_is_not_a_failure_of_the_filter():
    """An empty input, or anything kept, passes."""
    require_kept([], [])
    require_kept(*keep(EVERYTHING))
