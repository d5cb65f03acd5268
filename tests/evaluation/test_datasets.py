"""Problems from any source, and splits that keep families apart."""

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from potstill.errors import DataError
from potstill.evaluation.datasets import hold_out, load_problems, load_splits
from potstill.rationales.families import families, related
from potstill.rationales.verification import check
from potstill.recipe.problems import ProblemsConfig, SourceConfig
from potstill.records import Problem, Rationale, Status


def story(i):
    """A problem that shares hardly a word with the others."""
    rng = random.Random(i)
    words = ["".join(rng.choices("abcdefghijklmnop", k=5)) for _ in range(9)]
    return f"{' '.join(words)} {i} times. How many {words[0]}?"


def jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.fixture
def write(tmp_path):
    def make(*rows, name="rows.jsonl"):
        return jsonl(tmp_path / name, rows)

    return make


def test_a_row_becomes_a_problem_and_what_is_not_used_is_kept(write):
    """GSM8K's form: the solution is cut to the final answer and stays in meta."""
    path = write({"id": 5, "question": "How many?", "answer": "1 + 1 = 2. #### 2", "grade": 3, "meta": {"x": 1}})
    [problem] = load_problems(path)
    assert (problem.id, problem.question, problem.answer, problem.answer_type) == ("5", "How many?", "2", "number")
    assert (problem.source, problem.split) == ("rows", "train")
    assert problem.meta == {"x": 1, "grade": 3, "gold_solution": "1 + 1 = 2. #### 2"}


def test_ids_that_are_missing_are_made_of_the_content(write):
    """The same row has the same id in any file; the same row twice is one problem."""
    [problem] = load_problems(write({"question": "a?", "answer": "1"}, {"question": "a?", "answer": "1"}))
    again = load_problems(write({"question": "b?"}, {"question": "a?", "answer": "1", "extra": 2}, name="other.jsonl"))
    assert problem.id.startswith("sha256:")
    assert again[1].answer_type == "number"
    assert problem.id == again[1].id


def test_a_duplicate_id_is_refused(write):
    """Two rows may not claim one id."""
    with pytest.raises(DataError, match="id 'x' occurs twice"):
        load_problems(write({"id": "x", "question": "a?"}, {"id": "x", "question": "b?"}))


def test_rows_are_chosen_by_split_where_and_limit(write):
    """`where` compares columns; `limit` takes the first, or with a seed a nested draw."""
    rows = [{"question": f"{i}?", "split": "test" if i % 2 else "train", "level": i % 3} for i in range(30)]
    path = write(*rows)
    assert len(load_problems(path, split="test")) == 15
    assert {p.meta["level"] for p in load_problems(path, where={"level": [0, 1]})} == {0, 1}
    assert [p.question for p in load_problems(path, limit=2)] == ["0?", "1?"]
    few, more = (load_problems(path, limit=n, seed=0) for n in (5, 10))
    assert {p.id for p in few} < {p.id for p in more}
    assert [p.question for p in few] != [f"{i}?" for i in range(5)]


@pytest.mark.parametrize(
    ("row", "config", "found"),
    [
        ({"text": "x"}, {}, "no column 'question'; found columns text; .*--set problems.columns.question=text"),
        (
            {"question": "x"},
            {"columns": {"answer": "gold"}},
            "columns.answer names column 'gold'; found columns question",
        ),
        ({"question": " "}, {}, "the question .* expected a text"),
        ({"question": 3}, {}, "the question .* expected a text"),
        ({"question": "x", "answer": "maybe"}, {"labels": ("pos", "neg")}, "'maybe' is not among the labels pos, neg"),
        ({"question": "x", "answer": "E", "options": ["a1", "b1"]}, {}, "'E' is none of the options"),
        ({"question": "x", "answer": "few"}, {"answer_type": "number"}, "'few' is not a number"),
        ({"question": "x", "answer": "maybe"}, {"answer_type": "yesno"}, "'maybe' is neither yes nor no"),
        ({"question": "x", "answer_type": "nubmer"}, {}, "answer_type is 'nubmer'; expected one of number"),
        ({"question": "x"}, {"split": "test"}, "no column 'split'"),
        ({"question": "x", "split": "train"}, {"split": "test"}, "no problems found"),
        ({"question": "x"}, {"where": {"level": 3}}, "where.level: no such column"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, {}, "a chat without a user turn"),
    ],
)
def test_bad_rows_get_one_clear_message(write, row, config, found):
    """Where, what was found, what is allowed, what to do."""
    with pytest.raises(DataError, match=found):
        load_problems(write(row), **config)


def test_invalid_rows_can_be_left_out_and_are_named(write, capsys):
    """`invalid: drop` keeps the rest; every row left out is said."""
    path = write(
        {"question": "a?", "answer": "E", "options": ["x", "y"]},
        {"question": "b?", "answer": "B", "options": ["x", "y"]},
    )
    [problem] = load_problems(SourceConfig(source=path, invalid="drop"))
    assert problem.question == "b?"
    assert "left out: " in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"", b"\n\n"])
def test_an_empty_file_is_an_error(tmp_path, content):
    """No problems is never a success."""
    (tmp_path / "empty.jsonl").write_bytes(content)
    with pytest.raises(DataError, match="no problems found"):
        load_problems(tmp_path / "empty.jsonl")


def test_invalid_utf8_names_the_line(tmp_path):
    """Not a crash, and not replaced silently."""
    (tmp_path / "bad.jsonl").write_bytes(b'{"question": "ok"}\n{"question": "\xff"}\n')
    with pytest.raises(DataError, match=r"bad.jsonl:2: not UTF-8"):
        load_problems(tmp_path / "bad.jsonl")


@pytest.mark.parametrize(
    "row",
    [
        {"answer": "1,234.5", "answer_type": "number"},
        {"answer": "-7 / 2", "answer_type": "number"},
        {"answer": "cart", "options": ["boat", "cart"]},
        {"answer": "False"},
        {"answer": "NEUTRAL", "answer_type": "label", "labels": ["neutral", "entailment"]},
        {"answer": "\\frac{3}{4}\\sqrt{2}"},
        {"answer": "New York City"},
        {"answer": "(C)"},
        {"answer": "48/2 = 24, so #### 72"},
    ],
)
def test_the_verifier_accepts_every_gold_answer(write, row):
    """A gold answer that would be called wrong is a fault of the loader or the verifier."""
    [problem] = load_problems(write({"question": "a?", **row}))
    said = Rationale(id="r", problem_id=problem.id, kind="cot", text=f"Hm. So the answer is: {problem.answer}")
    assert check(said, problem).status is Status.CORRECT


def test_splits_may_each_have_a_source(write):
    """What a split leaves out is taken from the table above; every problem carries our name of its split."""
    path = write({"q": "a?", "a": "1", "part": "x"}, {"q": "b?", "a": "2", "part": "y"})
    columns = {"question": "q", "answer": "a", "split": "part"}
    splits = {"train": SourceConfig(source=path, split="x"), "test": SourceConfig(source=path, split="y")}
    found = load_splits(ProblemsConfig(splits=splits, columns=columns))
    assert {name: [(p.question, p.split) for p in rows] for name, rows in found.items()} == {
        "train": [("a?", "train")],
        "test": [("b?", "test")],
    }


def test_a_problem_in_two_splits_is_refused(write):
    """The same id cannot be trained on and tested."""
    path = write({"question": "a?"})
    splits = {"train": SourceConfig(source=path), "test": SourceConfig(source=path)}
    with pytest.raises(DataError, match="occurs twice"):
        load_splits(ProblemsConfig(splits=splits))


def test_a_source_with_its_own_splits_keeps_them(write):
    """Without a hold-out the split column decides."""
    path = write({"question": "a?", "split": "train"}, {"question": "b?", "split": "valid"})
    assert {k: len(v) for k, v in load_splits(ProblemsConfig(source=path)).items()} == {"train": 1, "valid": 1}


def stories(n, start=0):
    return [Problem(id=f"s{i}", question=story(i), answer="1") for i in range(start, start + n)]


def test_a_hold_out_keeps_families_whole_and_the_splits_uncontaminated():
    """No family lies in two splits, so nothing in train is contaminated."""
    problems = [
        replica
        for p in stories(60)
        for replica in (p, Problem(id=p.id + "x", question=p.question.replace("times", "7")))
    ]
    splits = hold_out(problems, {"dev": 0.2, "test": 0.3})
    family = families(problems)
    owners = {}
    for name, rows in splits.items():
        for p in rows:
            assert owners.setdefault(family[p.id], name) == name
    assert related(splits["train"], splits["dev"] + splits["test"]) == {}
    assert sum(map(len, splits.values())) == 120


@settings(max_examples=15, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(1, 40))
def test_a_hold_out_is_pinned_by_a_hash(shuffled, extra):
    """Neither the order of rows nor rows of other families added later move a problem to another split."""
    problems = stories(40)
    family = families([*problems, *stories(extra, start=100)])
    before = {p.id: name for name, rows in hold_out(problems, {"dev": 0.2, "test": 0.3}).items() for p in rows}
    more = [p for p in stories(extra, start=100) if family[p.id] not in {family[q.id] for q in problems}]
    mixed = [*problems, *more]
    shuffled.shuffle(mixed)
    after = {p.id: name for name, rows in hold_out(mixed, {"dev": 0.2, "test": 0.3}).items() for p in rows}
    assert before == {id: after[id] for id in before}


def test_another_seed_draws_another_hold_out():
    """The recipe's seed salts the hash."""
    draws = [{p.id for p in hold_out(stories(60), {"test": 0.3}, seed)["test"]} for seed in (0, 1)]
    assert draws[0] != draws[1]


def test_a_hold_out_of_a_split_is_taken_from_train(write):
    """With one source per split, `holdout` carves from `train` and leaves the others whole."""
    train = write(*({"id": p.id, "question": p.question} for p in stories(40)))
    ood = write({"question": "Something else?"}, name="ood.jsonl")
    config = ProblemsConfig(
        splits={"train": SourceConfig(source=train), "ood": SourceConfig(source=ood)}, holdout={"test": 0.25}
    )
    found = load_splits(config)
    assert sorted(found) == ["ood", "test", "train"]
    assert len(found["train"]) + len(found["test"]) == 40
    assert len(found["ood"]) == 1


def test_an_empty_hold_out_says_how_many_families_there_are(write):
    """Three rows of one family cannot be divided."""
    path = write(*({"question": f"Ann has {i} dogs and a very old cat at home. How many legs?"} for i in range(3)))
    with pytest.raises(DataError, match=r"leaves \w+ empty: 3 problems are 1 families"):
        load_splits(ProblemsConfig(source=path, holdout={"test": 0.5}))


def test_the_miniatures_contrast_items_point_at_test_problems():
    """Parents are in the test split under the ids that they have there, and nothing is contaminated."""
    splits = {
        name: SourceConfig(source="miniature", split=name, limit=20)
        for name in ("train", "dev", "test", "ood", "contrast")
    }
    found = load_splits(ProblemsConfig(splits=splits), seed=3)
    parents = {p.parent_id for p in found["contrast"]}
    assert parents <= {p.id for p in found["test"]}
    assert len(parents) == 10
    assert related(found["train"], [p for name in ("dev", "test", "ood", "contrast") for p in found[name]]) == {}
    assert load_splits(ProblemsConfig(splits=splits), seed=4)["train"][0].question != found["train"][0].question


def test_the_labels_worlds_contrast_items_point_at_test_problems():
    """As in the first world; no problem of one split repeats one of another."""
    named = {"train": 20, "extra": 20, "test": 10, "ood": 20, "contrast": 20}
    options = {"world": "labels"}
    splits = {n: SourceConfig(source="miniature", split=n, limit=size, options=options) for n, size in named.items()}
    found = load_splits(ProblemsConfig(splits=splits), seed=3)
    assert {p.parent_id for p in found["contrast"]} == {p.id for p in found["test"]}
    assert {p.answer_type for split in found.values() for p in split} == {"label"}
    assert related(found["train"], [p for name in ("test", "ood", "contrast") for p in found[name]]) == {}
