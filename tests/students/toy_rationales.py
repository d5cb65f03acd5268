"""A problem and a verified rationale of it, for the tests of this folder."""

from __future__ import annotations

from potstill.records import Problem, Rationale, Status, Verdict


def problem(id: str = "p", answer: str | None = "7", **fields) -> Problem:
    """Return a problem with a number as answer."""
    return Problem(**{"id": id, "question": f"What is {id}?", "answer": answer, "answer_type": "number", **fields})


def rationale(
    id: str = "r",
    text: str = "3 + 4 = 7. So the answer is: 7",
    answer: str | None = "7",
    status: str = "CORRECT",
    of: Problem | None = None,
    **fields,
) -> Rationale:
    """Return a rationale with its verdict, right unless said otherwise."""
    of = of or problem()
    verdict = Verdict(rationale_id=id, status=Status(status), answer=answer)
    return Rationale(id=id, problem_id=of.id, kind="cot", text=text, verdict=verdict, problem=of, **fields)
