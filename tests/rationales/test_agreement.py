"""The unlabelled setting: majorities and agreement."""

from potstill.rationales.agreement import coverage, dissent, opinions
from potstill.records import Problem, Rationale, Status, Verdict

NO_GOLD = Problem(id="p", question="How many?", answer_type="number")


def rationale(kind, answer, *, problem_id="p", status=Status.UNVERIFIED):
    verdict = Verdict(rationale_id="r", status=status, answer=answer, reason="no_gold")
    return Rationale(id="r", problem_id=problem_id, kind=kind, text="t", verdict=verdict, problem=NO_GOLD)


def test_each_kind_has_its_own_majority_and_the_first_seen_wins_a_tie():
    """An answer that was not read, or a failed program's, is no vote."""
    rows = [rationale("cot", answer) for answer in ("3", "5", "5", "3", None)]
    rows += [rationale("pot", "9", status=Status.PROGRAM_FAILED), rationale("pot", "3")]
    opinion = opinions(rows)["p"]
    assert opinion.majority == {"cot": "3", "pot": "3"}
    assert opinion.agrees is True


def test_kinds_agree_when_their_answers_are_equal_as_answers():
    """A float and its exact value agree; one kind alone neither agrees nor disagrees."""
    found = opinions([rationale("cot", "2/3"), rationale("pot", "0.6666666666666666")])
    assert found["p"].agrees is True
    assert opinions([rationale("cot", "5"), rationale("pot", "5.5")])["p"].agrees is False
    assert opinions([rationale("cot", "5")])["p"].agrees is None


def test_who_says_otherwise_is_told_why():
    """Minority, disagreement, one kind, or the verdict's own reason."""
    rows = [rationale("cot", "5"), rationale("cot", "5"), rationale("cot", "6"), rationale("pot", "7")]
    found = opinions(rows)
    assert dissent(rows[0], found, both=False) is None
    assert dissent(rows[2], found, both=False) == ("minority", "read '6', most say '5'")
    assert dissent(rows[0], found, both=True) == ("disagreement", "cot says 5, pot says 7")
    assert dissent(rows[0], opinions(rows[:1]), both=True)[0] == "one_kind"
    failed = rationale("pot", None, status=Status.PROGRAM_FAILED)
    assert dissent(failed, found, both=False)[0] == "program_failed"


def test_coverage_counts_problems():
    """Those with an answer, with answers of both kinds, with the same of both."""
    answers = ["a cot 1", "a pot 1", "b cot 1", "b pot 2", "c cot 1"]
    rows = [rationale(kind, answer, problem_id=problem) for problem, kind, answer in map(str.split, answers)]
    rows.append(rationale("cot", None, problem_id="d"))
    assert coverage(opinions(rows)) == {
        "problems_answered": 3,
        "problems_with_both_kinds": 2,
        "problems_agreeing": 1,
    }
