"""What a report reads from a run directory."""

import gzip
import json

import pytest

from potstill.errors import DataError
from potstill.evaluation.page.gathering import gather, is_miniature, rows_of


def test_the_funnel_counts_every_rationale_once(made_run):
    """Sampled = kept + dropped = all verdicts; tokens and finishes are summed."""
    facts = gather(made_run(train=12, per_problem=6))
    flow = facts.funnel
    assert flow.sampled == 72
    assert flow.statuses.total() == 72
    assert flow.kept == flow.statuses["CORRECT"]
    assert flow.finishes.total() == 72
    assert list(flow.kinds) == ["cot"]
    assert flow.tokens["completion_tokens"] == 72 * 42
    assert flow.trained["scotd"] == {"examples": 72, "problems": 12, "cot": 72}


def test_examples_pair_a_kept_rationale_with_a_rejected_one(made_run):
    """Of the same problem; as many as asked for."""
    cases = gather(made_run(), examples=4).cases
    assert len(cases) == 2
    assert [[text.status == "CORRECT" for text in case.texts] for case in cases] == [[True, False]] * 2


def test_the_funnel_is_counted_per_kind(mixed_run):
    """Programs and chains of thought apart, with the reasons of the verdicts; together they are everything."""
    flow = gather(mixed_run(train=8, per_problem=6)).funnel
    assert {kind: of.sampled for kind, of in flow.kinds.items()} == {"cot": 48, "pot": 48}
    assert (flow.sampled, flow.statuses.total()) == (96, 96)
    assert flow.kinds["cot"].statuses["PROGRAM_FAILED"] == flow.kinds["pot"].statuses["NO_ANSWER"] == 0
    failed = {reason for status, reason in flow.kinds["pot"].reasons if status == "PROGRAM_FAILED"}
    assert failed <= {"timeout", "error", "no_answer"}
    assert flow.kept == flow.statuses["CORRECT"]


def test_examples_are_of_each_kind_in_turn(mixed_run):
    """A chain of thought beside a chain of thought, a program beside a program."""
    cases = gather(mixed_run(), examples=4).cases
    assert [{text.kind for text in case.texts} for case in cases] == [{"cot"}, {"pot"}]


def test_a_torn_last_line_is_left_out_and_left_alone(tmp_path):
    """A run that is being written can be looked at; damage elsewhere is an error."""
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": 1}\n{"a": 2}\n{"a"')
    assert list(rows_of(path)) == [{"a": 1}, {"a": 2}]
    assert path.read_text().endswith('{"a"')
    path.write_text('{"a": 1}\n{"a"\n{"a": 3}\n')
    with pytest.raises(DataError, match=r"rows\.jsonl:2: not valid JSON"):
        list(rows_of(path))


def test_compressed_files_are_read_in_place_of_plain_ones(tmp_path):
    """A kept study compresses its predictions."""
    with gzip.open(tmp_path / "rows.jsonl.gz", "wt") as file:
        file.write('{"a": 1}\n')
    assert list(rows_of(tmp_path / "rows.jsonl")) == [{"a": 1}]
    assert list(rows_of(tmp_path / "none.jsonl")) == []


def test_training_records_give_both_curves(made_run):
    """Loss and development accuracy, by step."""
    found = gather(made_run()).trainings["scotd"]
    assert [step for step, _ in found.loss] == [step for step, _ in found.dev] == list(range(50, 801, 50))
    assert found.record["best_step"] == 700


@pytest.mark.parametrize("name", ["scores.json", "manifest.json", "students/scotd/training.json"])
def test_a_damaged_file_is_named(made_run, name):
    """The message says which file and what to do."""
    folder = made_run()
    (folder / name).write_text("{")
    with pytest.raises(DataError, match=f"{name.split('/')[-1]}: not valid JSON"):
        gather(folder)


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        ({"student": {"model": "miniature"}}, True),
        ({"teachers": [{"base_url": "miniature"}]}, True),
        ({"problems": {"splits": {"test": {"source": "miniature"}}}}, True),
        (
            {
                "problems": {"source": "mine.jsonl"},
                "teachers": [{"base_url": "http://h/v1"}],
                "student": {"model": "m"},
            },
            False,
        ),
        ({}, False),
    ],
)
def test_a_miniature_is_one_by_any_of_its_parts(recipe, expected):
    """World, teacher or student."""
    assert is_miniature(recipe) is expected


def test_scores_of_an_unknown_shape_are_refused(made_run):
    """A row without its value is an error that names the field."""
    folder = made_run()
    rows = json.loads((folder / "scores.json").read_text())
    del rows["scores"][0]["metric"]
    (folder / "scores.json").write_text(json.dumps(rows))
    with pytest.raises(DataError, match="field 'metric' is missing"):
        gather(folder)
