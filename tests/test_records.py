"""The five records and their JSON form."""

import json
from dataclasses import FrozenInstanceError

import pytest

from potstill.errors import DataError
from potstill.records import (
    Comparison,
    Drop,
    Example,
    Problem,
    Rationale,
    Score,
    Status,
    Verdict,
    canonical_json,
    child_seed,
    content_id,
    from_dict,
    json_line,
    problem_from,
    rationale_from,
    to_dict,
    unique_ids,
)

PROBLEM = Problem(
    id="p1", question="How many?", answer="4", answer_type="choice", options=("3", "4"), split="test",
    parent_id="p0", fields={"premise": "a"}, meta={"family": "x"},
)  # fmt: skip
RECORDS = [
    PROBLEM,
    Rationale(id="r1", problem_id="p1", kind="cot", text="Two and two. So the answer is: 4", author="t", index=3,
              finish="stop", usage={"completion_tokens": 9}, logprob=-0.25, reasoning_content="hm"),
    Verdict(rationale_id="r1", status=Status.NO_ANSWER, reason="no_marker"),
    Drop(stage="filter", id="r1", reason="wrong", detail="5 is not 4"),
    Example(id="e1", prompt="Q: How many?\nA:", target=" 4", task="cot", weight=0.5, group="p1"),
    Score(task="problems", system="scotd", split="test", path="cot", metric="accuracy", value=0.5, n=2, low=0.1),
    Comparison(task="problems", a="scotd", b="cot_n1", split="test", path="cot", metric="accuracy", difference=0.1,
               low=0.0, high=0.2, p=0.04, n=100, test="paired"),
]  # fmt: skip


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_every_record_survives_the_way_to_disk_and_back(record):
    """Writing a record as a line and reading it gives an equal record."""
    assert from_dict(type(record), json.loads(json_line(record))) == record


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_unknown_keys_are_kept_under_meta(record):
    """A key that we do not know is not lost."""
    row = {**to_dict(record), "colour": "red"}
    assert from_dict(type(record), row).meta["colour"] == "red"


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_records_are_frozen(record):
    """A record cannot be changed in place."""
    with pytest.raises(FrozenInstanceError):
        record.meta = {}


def test_a_missing_field_is_named_with_file_and_line():
    """The message says where, which field, and what the record needs."""
    with pytest.raises(
        DataError, match=r"a.jsonl:7 .*: field 'text' is missing; a Rationale needs id, problem_id, kind, text"
    ):
        rationale_from({"problem_id": "p", "kind": "cot"}, "a.jsonl:7")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"problem_id": "p", "kind": "COT", "text": "x"}, r"field 'kind' is 'COT'; expected one of cot, pot, answer"),
        ({"problem_id": "p", "kind": "cot", "text": 3}, r"field 'text' is 3; expected a string"),
        (
            {"problem_id": "p", "kind": "cot", "text": "x", "index": True},
            r"field 'index' is True; expected a whole number",
        ),
        ({"problem_id": "p", "kind": "cot", "text": "x", "usage": []}, r"field 'usage' is \[\]; expected an object"),
    ],
)
def test_a_field_of_the_wrong_kind_is_refused(row, message):
    """Types are checked, and closed sets name what is allowed."""
    with pytest.raises(DataError, match=message):
        rationale_from(row)


def test_a_row_that_is_no_object_is_refused():
    """A list or a number in a line is not a record."""
    with pytest.raises(DataError, match=r"a:1: found \[1\]; expected one JSON object per line"):
        from_dict(Problem, [1], "a:1")


def test_a_verdict_has_no_truth_value():
    """Testing a verdict like a bool is an error, because four of its five outcomes are not 'wrong'."""
    verdict = Verdict(rationale_id="r", status=Status.UNVERIFIED)
    with pytest.raises(TypeError, match=r"test verdict\.correct"):
        bool(verdict)
    assert (verdict.correct, verdict.scored) == (False, False)


def test_ids_hash_the_content_and_not_the_order_of_keys():
    """Equal content gives equal ids; another answer gives another id; a given id is kept."""
    one = problem_from({"question": "Q", "answer": "1"})
    assert one.id == problem_from({"answer": "1", "question": "Q"}).id
    assert one.id != problem_from({"question": "Q", "answer": "2"}).id
    assert problem_from({"id": 17, "question": "Q"}).id == "17"
    assert one.id.startswith("sha256:")
    assert len(one.id) == len("sha256:") + 16


def test_a_rationales_id_covers_problem_author_request_and_index():
    """Two equal texts drawn for different indices are two rationales."""
    row = {"question_id": "p", "kind": "cot", "text": "same", "author": "t", "request": "k"}
    ids = {rationale_from({**row, "index": index}).id for index in range(3)}
    assert len(ids) == 3
    assert rationale_from(row).problem_id == "p"


def test_canonical_json_sorts_keys_and_refuses_nan():
    """The form that hashes are taken of is one string per value."""
    assert canonical_json({"b": 1, "a": ["é"]}) == '{"a":["é"],"b":1}'
    with pytest.raises(ValueError, match="Out of range"):
        canonical_json(float("nan"))


def test_child_seeds_differ_by_every_part_and_not_by_process():
    """A child seed is a fixed function of its parts."""
    assert child_seed(0, "p", 1) == child_seed(0, "p", 1)
    assert len({child_seed(0, "p", index) for index in range(100)}) == 100
    assert content_id("a", 1) == content_id("a", 1)


def test_lone_surrogates_survive():
    """A broken character of a model's output is written as an escape and read back unchanged."""
    record = Rationale(id="r", problem_id="p", kind="cot", text="bad \ud800 char")
    line = json_line(record)
    assert line.encode("utf-8")
    assert from_dict(Rationale, json.loads(line)).text == record.text


def test_duplicate_ids_are_refused():
    """Ids given by a source must be unique."""
    with pytest.raises(DataError, match="id 'p1' occurs twice"):
        unique_ids([PROBLEM, PROBLEM], "a.jsonl")
