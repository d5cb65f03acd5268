"""From a row of any source to the fields of a problem."""

import json

import pytest

from potstill.errors import ConfigError, DataError
from potstill.evaluation.datasets import load_problems


def jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.fixture
def write(tmp_path):
    def make(*rows, name="rows.jsonl"):
        return jsonl(tmp_path / name, rows)

    return make


def test_columns_are_mapped_and_the_originals_of_our_names_are_kept(write):
    """`columns` says which column is which; a column that is not used goes to meta under its name."""
    path = write({"text": "Q?", "label": "pos", "answer": "no", "key": "k", "pair": "p1"})
    columns = {"question": "text", "answer": "label", "id": "key", "parent_id": "pair"}
    [problem] = load_problems(path, columns=columns, labels=("pos", "neg"))
    assert (problem.id, problem.question, problem.answer, problem.parent_id) == ("k", "Q?", "pos", "p1")
    assert (problem.answer_type, problem.labels, problem.meta) == ("label", ("pos", "neg"), {"answer": "no"})


def test_the_question_of_a_chat_is_the_last_user_turn(write):
    """The whole chat stays in meta, reasoning_content and think blocks letter for letter."""
    turns = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "<think>\nhm \n</think>\n\nHi", "reasoning_content": " greet\n"},
        {"role": "user", "content": [{"type": "text", "text": "What is 1 + 1?"}]},
        {"role": "assistant", "content": "2"},
    ]
    [problem] = load_problems(write({"messages": turns}))
    assert (problem.question, problem.answer) == ("What is 1 + 1?", None)
    assert problem.meta["messages"] == turns


def test_other_fields_of_the_field_are_read(write):
    """ShareGPT's conversations, Alpaca's instruction and input, MATH's problem."""
    rows = [
        {"conversations": [{"from": "human", "value": "Why?"}, {"from": "gpt", "value": "So."}]},
        {"instruction": "Add.", "input": "1 and 2"},
        {"problem": "Prove it."},
    ]
    assert [p.question for p in load_problems(write(*rows))] == ["Why?", "Add.\n\n1 and 2", "Prove it."]


def test_options_and_golds_come_in_one_form(write):
    """Letters, texts and indices of options all become the letter; the source's own spelling is kept."""
    rows = [
        {"question": "a?", "options": ["A)boat", "B)cart"], "answer": "B"},
        {"question": "b?", "choices": {"text": ["boat", "cart"], "label": ["A", "B"]}, "answer": "boat"},
    ]
    problems = load_problems(write(*rows))
    assert [(p.answer_type, p.options, p.answer) for p in problems] == [
        ("choice", ("boat", "cart"), "(b)"),
        ("choice", ("boat", "cart"), "(a)"),
    ]
    assert problems[1].meta["gold"] == "boat"


def test_indices_of_a_whole_column_decide_their_base(write):
    """0 occurs, so 1 is the second option."""
    rows = [{"question": f"{i}?", "options": ["boat", "cart"], "answer": i} for i in (0, 1)]
    assert [p.answer for p in load_problems(write(*rows))] == ["(a)", "(b)"]


def test_types_are_inferred_source_by_source(write):
    """A file of several benchmarks is not one type."""
    rows = [
        {"question": "a?", "answer": "1", "source": "sums"},
        {"question": "b?", "answer": "yes", "source": "facts"},
        {"question": "c?", "answer": "abc", "source": "words", "answer_type": "label", "labels": ["abc", "d"]},
    ]
    assert [p.answer_type for p in load_problems(write(*rows))] == ["number", "yesno", "label"]
    assert [p.answer_type for p in load_problems(write(*rows), answer_type="text")] == ["text"] * 3


def test_foreign_columns_of_our_names_are_not_misread(write):
    """Others keep class numbers in `labels` and mappings in `source`."""
    [problem] = load_problems(write({"question": "a?", "labels": 1, "source": {"url": "x"}, "answer": 3}))
    assert (problem.labels, problem.source, problem.meta) == ((), "rows", {"labels": 1, "source": {"url": "x"}})


def test_a_misspelled_field_in_columns_suggests_the_right_one(write):
    """The nearest field is named."""
    with pytest.raises(ConfigError, match="'qestion' is not a field of a problem; did you mean 'question'"):
        load_problems(write({"question": "x"}), columns={"qestion": "question"})


def test_what_was_inferred_is_said(write, capsys):
    """A wrong guess must not stay unseen; a type that was given is not announced."""
    path = write({"question": "a?", "answer": "1"}, {"question": "b?", "answer": "2"}, {"question": "c?"})
    load_problems(path)
    assert "2 of rows number, 1 of rows unlabelled" in capsys.readouterr().err
    load_problems(path, answer_type="number")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("meta", ["a note", None, 3])
def test_a_meta_column_of_another_kind_is_kept_as_a_column(write, meta):
    """Others use that name too."""
    [problem] = load_problems(write({"question": "a?", "meta": meta}))
    assert problem.meta == ({} if meta is None else {"meta": meta})


@pytest.mark.parametrize("columns", [{}, {"question": "text"}])
def test_a_row_without_a_question_among_others_is_named(write, columns):
    """One bad row of many: its line is in the message."""
    path = write({"question": "a?", "text": "b?"}, {"other": "c?"})
    with pytest.raises(DataError, match=r"jsonl:2: the question \(column .* is missing \(found other"):
        load_problems(path, columns=columns)
