"""How rows are dealt out for verification."""

from potstill.records import Problem, rationale_from
from potstill.scale.verifying import CHUNK, chunks


def row(number, kind):
    found = {"problem_id": f"p{number % 7}", "kind": kind, "text": f"t{number}", "author": "a", "index": number}
    return rationale_from(found, "test")


def test_every_row_is_in_one_chunk_with_its_problem_and_programs_are_apart():
    """Nothing is lost or doubled, whatever the mixture."""
    rows = [row(i, "pot" if i % 3 == 0 else "cot") for i in range(5 * CHUNK + 3)]
    problems = {f"p{i}": Problem(id=f"p{i}", question="?") for i in range(7)}
    found = list(chunks(rows, problems))
    assert sorted(r.id for chunk in found for r in chunk.work.rationales) == sorted(r.id for r in rows)
    for chunk in found:
        assert {r.kind == "pot" for r in chunk.work.rationales} == {chunk.has_programs}
        assert {r.problem_id for r in chunk.work.rationales} == set(chunk.work.problems)
        assert len(chunk.work.rationales) <= CHUNK
