"""Verdicts: five statuses, our failures kept apart from theirs, and real recorded outputs."""

import json
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from potstill.errors import TooManyFailures
from potstill.rationales.second_opinion import Opinion, SecondOpinion
from potstill.rationales.verification import check, verify
from potstill.recipe.rationales import SandboxConfig, VerifyConfig
from potstill.records import Problem, Rationale, Status

DATA = Path(__file__).parents[1] / "data"
APPLES = Problem(id="p", question="How many apples?", answer="72", answer_type="number")


def rationale(text, **fields):
    return Rationale(**{"id": "r", "problem_id": "p", "kind": "cot", "text": text, **fields})


def rows(name):
    return [json.loads(line) for line in (DATA / name).read_text(encoding="utf-8").splitlines()]


COT = {"answer": r"\cot x", "answer_type": "expression"}
STATUSES = [
    ("The answer is 72.", {}, {}, "CORRECT", "exact", "72"),
    ("The answer is $72.00.", {}, {}, "CORRECT", "exact", "72"),
    ("The answer is 71.", {}, {}, "WRONG", "exact", "71"),
    ("The answer is 72 or 73.", {}, {}, "WRONG", "exact", "72, 73"),
    ("", {}, {}, "NO_ANSWER", "empty", None),
    ("Hard to say.", {}, {}, "NO_ANSWER", "no_marker", None),
    ("The answer is 72", {"finish": "length"}, {}, "NO_ANSWER", "truncated", None),
    ("<think> it is 72", {}, {}, "NO_ANSWER", "truncated", None),
    ("", {"finish": "refused", "reason": "content_filter"}, {}, "NO_ANSWER", "refused", None),
    ("", {"finish": "error", "reason": "HTTP 500"}, {}, "UNVERIFIED", "not_sampled", None),
    ("print(72)", {"kind": "pot"}, {}, "UNVERIFIED", "not_run", None),
    ("There are 72.", {"kind": "pot"}, {}, "NO_ANSWER", "no_program", None),
    ("ans = 72", {"kind": "pot", "finish": "length"}, {}, "NO_ANSWER", "truncated", None),
    ("", {"kind": "pot", "finish": "refused"}, {}, "NO_ANSWER", "refused", None),
    ("The answer is 72.", {}, {"answer": None}, "UNVERIFIED", "no_gold", "72"),
    ("The answer is 72.", {}, {"answer": "seventy-ish"}, "UNVERIFIED", "gold_unreadable", None),
    ("72", {"kind": "answer"}, {}, "CORRECT", "exact", "72"),
    ("(2, 1)", {"kind": "answer"}, {"answer": "(1, 2)", "answer_type": "expression"}, "WRONG", "exact", "(2, 1)"),
    (
        r"\boxed{\frac{\cos x}{\sin x}}",
        {},
        {"answer": r"\cot x", "answer_type": "expression"},
        "UNVERIFIED",
        "undecided",
        None,
    ),
]


@pytest.mark.parametrize(("text", "changes", "gold", "status", "reason", "answer"), STATUSES)
def test_every_outcome_has_its_status_and_reason(text, changes, gold, status, reason, answer):
    """Only CORRECT and WRONG judge the reasoning; what we could not check is UNVERIFIED."""
    verdict = check(rationale(text, **changes), replace(APPLES, **gold))
    assert (status, reason) == (verdict.status, verdict.reason)
    if answer is not None:
        assert answer == verdict.answer


def test_a_program_is_left_to_the_sandbox():
    """Kind pot is not judged by its text."""
    verdict = check(rationale("print(72)", kind="pot"), APPLES)
    assert not verdict.scored


def test_a_cut_off_gold_answer_proves_an_answer_right_but_never_wrong():
    """Real data sets hold LaTeX that was cut at its first brace."""
    problem = replace(APPLES, answer=r"2\sqrt{5", answer_type="expression")
    assert check(rationale(r"The answer is $\sqrt{20}$."), problem).status == Status.CORRECT
    other = check(rationale("The answer is 7."), problem)
    assert (other.status, other.reason) == (Status.UNVERIFIED, "gold_unreadable")


def test_the_configured_answer_type_overrides_the_problems():
    """`verify.answer_type` wins."""
    problem = replace(APPLES, answer="5/10", answer_type="text")
    assert check(rationale("So the answer is: 1/3"), problem).status == Status.WRONG
    config = VerifyConfig(answer_type="number")
    assert check(rationale("So the answer is: 0.5"), problem, config).status == Status.CORRECT


@pytest.mark.parametrize("row", rows("golds.jsonl"), ids=lambda row: row["id"])
def test_every_gold_answer_is_accepted(row):
    """Bare, and as the end of a rationale; a gold that is none of its type never makes a wrong answer."""
    problem = Problem(
        id=row["id"],
        question="",
        answer=row["answer"],
        answer_type=row["answer_type"],
        options=tuple(row.get("options", ())),
    )
    verdicts = [check(rationale(text, kind=kind), problem) for text, kind in golds_of(row["answer"])]
    if row["answer"] == ":":
        assert [verdict.status for verdict in verdicts] == ["CORRECT", "UNVERIFIED"]
    else:
        assert [verdict.status for verdict in verdicts] == ["CORRECT", "CORRECT"], verdicts


def golds_of(answer):
    return [(answer, "answer"), (f"Some thought. So the answer is: {answer}", "cot")]


@pytest.mark.parametrize("row", rows("recorded_rationales.jsonl"), ids=lambda row: row["row"])
def test_recorded_outputs_of_real_models_get_the_verdict_that_a_reader_gave(row):
    """The slice oversamples the texts where the recorded label and the verifier differ."""
    fields = {key: row[key] for key in ("question", "answer", "answer_type")}
    problem = Problem(id="p", options=tuple(row.get("options", ())), **fields)
    verdict = check(rationale(row["text"]), problem)
    assert (row["status"], row["read"]) == (verdict.status, verdict.answer)


def test_the_blind_reading_meets_its_bar():
    """The fresh 400, more than half of them disagreements, and 250 after its repairs (docs/verification.md)."""
    judged = rows("verification_blind_400.jsonl")
    assert len({(row["file"], row["row"]) for row in judged}) == len(judged) == 1650
    fresh = [row for row in judged if row["round"] == 5]
    called = Counter(row["judgement"] for row in fresh if row["read_as"] == "CORRECT")
    both = Counter(row["judgement"] for row in judged if row["round"] >= 5 and row["read_as"] == "CORRECT")
    assert len(fresh) == 400
    assert sum(row["stratum"].startswith("dis") for row in fresh) == 220
    assert (called["correct"], called.total()) == (309, 310)
    assert (both["correct"], both.total()) == (498, 500)


def test_verify_sets_verdict_and_problem_and_keeps_the_order():
    """A plain loop over a plain list works, without any process."""
    texts = ["The answer is 72.", "The answer is 1.", "Hm."]
    rationales = [rationale(text, id=f"r{i}") for i, text in enumerate(texts)]
    done = list(verify(rationales, [APPLES]))
    assert [r.id for r in done] == ["r0", "r1", "r2"]
    assert [r.verdict.status for r in done] == ["CORRECT", "WRONG", "NO_ANSWER"]
    assert [r.problem for r in done] == [APPLES] * 3


def test_a_rationale_brings_its_own_problem_or_is_unverified():
    """Without a problems argument `rationale.problem` serves; an unknown id is our failure."""
    own, unknown = verify(
        [rationale("The answer is 72.", problem=APPLES), rationale("The answer is 72.", problem_id="q")]
    )
    assert own.verdict.status == Status.CORRECT
    assert (unknown.verdict.status, unknown.verdict.reason) == (Status.UNVERIFIED, "unknown_problem")


def test_the_failure_budget_stops_a_stage_that_checks_nothing():
    """Rows that our side cannot check count against `max_failed_frac`; wrong answers do not."""
    lost = [rationale("The answer is 1.", id=str(i), problem_id="unknown") for i in range(30)]
    with pytest.raises(TooManyFailures, match=r"verify: 20 of 20 .*unknown_problem.*max_failed_frac allows 0.5"):
        list(verify(lost, [APPLES], VerifyConfig(max_failed_frac=0.5)))
    wrong = [rationale("The answer is 1.", id=str(i)) for i in range(30)]
    assert len(list(verify(wrong, [APPLES], VerifyConfig(max_failed_frac=0.0)))) == 30


def worker(body):
    """A worker that greets and then runs `body` for each line it reads."""
    greeting = "import json, os, sys, time\nprint(json.dumps({'ready': True}), flush=True)"
    return (sys.executable, "-c", f"{greeting}\nfor line in sys.stdin:\n    {body}\n")


HOSTILE = [
    ("time.sleep(60)", Opinion(None, "timeout")),
    ("os._exit(3)", Opinion(None, "crashed")),
    ("print('not json', flush=True)", Opinion(None, "crashed")),
    ("print('[1]', flush=True)", Opinion(None, "crashed")),
    ("print(json.dumps({'equal': None, 'error': 'TokenError'}), flush=True)", Opinion(None, "TokenError")),
    ("print(json.dumps({'equal': 'yes', 'error': ''}), flush=True)", Opinion(None, "no boolean")),
    ("print(json.dumps({'equal': json.loads(line) == ['g', 'a']}), flush=True)", Opinion(True)),
]


@pytest.mark.parametrize(("body", "opinion"), HOSTILE, ids=[body[:25] for body, _ in HOSTILE])
async def test_a_worker_that_hangs_dies_or_babbles_gives_no_opinion_and_is_replaced(body, opinion):
    """Gold goes first; every failure is `None`, never False; the next question finds a fresh worker."""
    async with SecondOpinion(timeout_s=0.5, command=worker(body)) as second:
        assert opinion == await second.ask("g", "a")
        assert opinion == await second.ask("g", "a")
        assert (2 if opinion.error in ("timeout", "crashed") else 0) == second.restarts


def test_math_verify_decides_what_the_exact_rules_leave_open():
    """The real checker, in its process: equal trigonometry is CORRECT, unequal WRONG, the rest stays exact."""
    pytest.importorskip("math_verify")
    problem = replace(APPLES, answer=r"\cot x", answer_type="expression")
    texts = [r"\boxed{\frac{\cos x}{\sin x}}", r"\boxed{\frac{\sin x}{\cos x}}", r"\boxed{\cot x}"]
    done = list(verify([rationale(text) for text in texts], [problem], VerifyConfig(timeout_s=60)))
    assert [(r.verdict.status, r.verdict.reason) for r in done] == [
        ("CORRECT", "second_opinion"),
        ("WRONG", "second_opinion"),
        ("CORRECT", "exact"),
    ]


def test_without_math_verify_an_open_comparison_stays_unverified():
    """`verify.math_verify: false` starts no process."""
    problem = replace(APPLES, answer=r"\cot x", answer_type="expression")
    (done,) = verify([rationale(r"\boxed{\frac{1}{\tan x}}")], [problem], VerifyConfig(math_verify=False))
    assert (done.verdict.status, done.verdict.reason) == (Status.UNVERIFIED, "undecided")


@pytest.mark.usefixtures("sandboxed")
def test_a_problems_definitions_stand_before_its_programs():
    """Quantities that the problem names are known to a program; without them it fails; other columns are no code."""
    known = replace(APPLES, meta={"definitions": "A = 8\nB = 9\n"})
    done = [
        next(iter(verify(programs("ans = A * B"), [p]))) for p in (known, APPLES, replace(APPLES, meta={"a": "A = 1"}))
    ]
    assert [row.verdict.status for row in done] == [Status.CORRECT, Status.PROGRAM_FAILED, Status.PROGRAM_FAILED]


def programs(*texts, **fields):
    return [rationale(text, id=f"r{i}", kind="pot", **fields) for i, text in enumerate(texts)]


RUNS = [
    ("ans = 8 * 9", {}, "CORRECT", "exact", "72"),
    ("Let us count.\n```python\napples = 8 * 9.0\nprint(apples)\n```\nThere are 80.", {}, "CORRECT", "exact", "72"),
    ("def solution():\n    return 71", {}, "WRONG", "exact", "71"),
    ("ans = 72 / 0", {}, "PROGRAM_FAILED", "error", None),
    ("ans = (", {}, "PROGRAM_FAILED", "error", None),
    ("apples = 72", {}, "PROGRAM_FAILED", "no_answer", None),
    ("ans = float('nan')", {}, "PROGRAM_FAILED", "no_answer", None),
    ("while True: pass", {}, "PROGRAM_FAILED", "timeout", None),
    ("ans = [1, 2][2]", {"answer": None}, "PROGRAM_FAILED", "error", None),
    ("ans = 'many'", {}, "NO_ANSWER", "unreadable", None),
    ("ans = 72", {"answer": None}, "UNVERIFIED", "no_gold", "72"),
    ("ans = 72", {"answer": "seventy-ish"}, "UNVERIFIED", "gold_unreadable", None),
    ("ans = 'seventy-ish'", {"answer": "seventy-ish"}, "CORRECT", "exact", "seventy-ish"),
    ("ans = 3 > 2", {"answer": "yes", "answer_type": "yesno"}, "CORRECT", "exact", "yes"),
    ("ans = 9 * 8", {"answer": "B", "answer_type": "choice", "options": ("71", "72")}, "CORRECT", "exact", "(b)"),
]


@pytest.mark.usefixtures("sandboxed")
@pytest.mark.parametrize(("text", "gold", "status", "reason", "answer"), RUNS)
def test_a_program_is_judged_by_what_it_computes(text, gold, status, reason, answer):
    """Not by the prose around it; one that fails is PROGRAM_FAILED with the sandbox's status and message."""
    (done,) = verify(programs(text), [replace(APPLES, **gold)], sandbox=SandboxConfig(cpu_s=0.3))
    assert (done.verdict.status, done.verdict.reason, done.verdict.answer) == (status, reason, answer)
    if reason == "error":
        assert "Error" in done.verdict.detail


@pytest.mark.usefixtures("sandboxed")
def test_programs_and_chains_of_thought_come_back_in_order():
    """However long each program takes, and whatever stands between them."""
    slow = "x = 0\nfor i in range(200000):\n    x += 1\nans = 72"
    texts = [("pot", slow), ("cot", "The answer is 72."), ("pot", "ans = 72"), ("pot", "ans ="), ("cot", "Hm.")] * 20
    mixed = [rationale(text, id=f"r{i}", kind=kind) for i, (kind, text) in enumerate(texts)]
    done = list(verify(mixed, [APPLES], VerifyConfig(workers=2)))
    assert [r.id for r in done] == [r.id for r in mixed]
    assert Counter(r.verdict.status for r in done) == {"CORRECT": 60, "PROGRAM_FAILED": 20, "NO_ANSWER": 20}


@pytest.mark.usefixtures("sandboxed")
def test_leaving_a_verification_early_ends_it(recwarn):
    """What is in flight is cancelled; no task and no process is left behind."""
    for row in verify(programs(*(f"ans = {number}" for number in range(200))), [APPLES]):
        assert row.id == "r0"
        break
    assert not recwarn.list


def test_programs_that_cannot_be_run_are_our_failure(monkeypatch):
    """Without isolation nothing is run, and nobody is blamed: UNVERIFIED, counted against the failure budget."""
    monkeypatch.setattr("potstill.sandbox.running.is_supported", lambda: "this system has no seccomp")
    rows = programs(*(f"ans = {number}" for number in range(30)))
    done = list(verify(rows, [APPLES], sandbox=SandboxConfig(tiers="cpython")))
    assert {(r.verdict.status, r.verdict.reason) for r in done} == {("UNVERIFIED", "unsupported")}
    assert "no seccomp" in done[0].verdict.detail
    with pytest.raises(TooManyFailures, match="unsupported"):
        list(verify(rows, [APPLES], VerifyConfig(max_failed_frac=0.5), sandbox=SandboxConfig(tiers="cpython")))


@pytest.mark.usefixtures("sandboxed")
def test_recorded_programs_of_real_models_get_the_verdict_that_was_read():
    """Codex, PAL and ToRA outputs as they were sampled; half of them are cases where the recorded label differs."""
    found = rows("recorded_programs.jsonl")
    asked = []
    for row in found:
        fields = {key: row[key] for key in ("question", "answer", "answer_type")}
        problem = Problem(id=row["row"], options=tuple(row.get("options", ())), **fields)
        asked.append(rationale(row["text"], id=row["row"], kind="pot", problem=problem, problem_id=row["row"]))
    done = {r.id: (r.verdict.status.value, r.verdict.answer) for r in verify(asked)}
    assert done == {row["row"]: (row["status"], row["read"]) for row in found}
