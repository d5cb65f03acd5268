"""A scorer that is trained on judgements: its forms, its head, its folder, and what it refuses."""

import json
import random

import pytest

from potstill.cli import main
from potstill.errors import DataError, StudentError
from potstill.generators.treefiles import line_of
from potstill.generators.trees import Node, attach, plant
from potstill.recipe.students import StudentConfig, TrainConfig
from potstill.students.judged import Judged, judgements_of, read_judged
from potstill.students.scorers import Ranked, Scorer, rescaled, spearman, train_scorer

TINY = {"model_type": "bert", "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 300,
        "intermediate_size": 32, "max_position_embeddings": 64, "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0}  # fmt: skip
QUICK = TrainConfig.model_validate(
    {"num_train_epochs": 6, "learning_rate": 0.005, "problems_per_step": 16, "lr_scheduler_type": "constant"}
)
GOOD, BAD = ("clear", "exact", "vivid"), ("vague", "dull", "broken")


def text_of(rng, goods):
    """Return six words, so many of them good."""
    words = [rng.choice(GOOD) for _ in range(goods)] + [rng.choice(BAD) for _ in range(6 - goods)]
    return " ".join(rng.sample(words, 6))


@pytest.fixture(scope="module")
def judged():
    """Texts whose score is the number of their good words."""
    rng = random.Random(1)
    return [
        Judged(texts=(text_of(rng, goods),), scores={"quality": float(goods)}, group=str(number))
        for number, goods in enumerate(rng.choices(range(1, 7), k=240))
    ]


@pytest.fixture(scope="module")
def folder(judged, tmp_path_factory):
    """A scorer of quality, trained on them."""
    out = tmp_path_factory.mktemp("scorer") / "quality"
    return train_scorer(judged, QUICK, student=StudentConfig(model="scratch", config=TINY), out=out, threads=1)


def test_it_ranks_texts_that_it_has_not_seen(folder):
    """What was held out is ranked alike, and the folder says so with an interval; scores stay on the scale."""
    record = json.loads((folder / "scorer.json").read_text(encoding="utf-8"))
    found = record["held_out"]["quality_rank_correlation"]
    assert found["n"] == 24
    assert found["low"] > 0.6
    scorer, rng = Scorer(folder), random.Random(9)
    worst, best = scorer.scores([text_of(rng, 0), text_of(rng, 6)])
    assert 1 <= worst["quality"] < best["quality"] <= 6


def test_a_text_is_scored_alike_whatever_stands_beside_it(folder):
    """Padding does not count."""
    scorer = Scorer(folder)
    alone = scorer.scores(["clear dull"])[0]["quality"]
    beside = scorer.scores(["clear dull", "vivid " * 20])[0]["quality"]
    assert alone == pytest.approx(beside, abs=1e-3)


def test_a_text_longer_than_the_model_reads_has_no_score(folder, judged, tmp_path):
    """Neither a cut nor a default; in training it is counted."""
    assert Scorer(folder).scores(["clear " * 100, "clear"])[0] is None
    more = [*judged[:30], Judged(texts=("clear " * 100,), scores={"quality": 6.0})]
    out = train_scorer(more, QUICK, student=StudentConfig(model="scratch", config=TINY), out=tmp_path / "s", threads=1)
    assert json.loads((out / "scorer.json").read_text(encoding="utf-8"))["too_long"] == 1


def test_choices_between_two_texts_are_enough_to_learn_from(tmp_path):
    """Which is better, in any order, and ties; held-out choices are made alike."""
    rng, rows = random.Random(2), []
    for number in range(240):
        a, b = rng.choices(range(7), k=2)
        rows.append(
            Judged(
                texts=(text_of(rng, a), text_of(rng, b)), choice=(a > b) - (a < b), group=str(number), term="helpful"
            )
        )
    out = train_scorer(rows, QUICK, student=StudentConfig(model="scratch", config=TINY), out=tmp_path / "p", threads=1)
    record = json.loads((out / "scorer.json").read_text(encoding="utf-8"))
    assert record["held_out"]["helpful_choices_alike"]["low"] > 0.6
    assert Scorer(out).terms == ("helpful",)


def test_a_finished_scorer_is_not_trained_again(folder, judged):
    """The same judgements and settings: the same folder, at once."""
    before = (folder / "scorer.json").stat().st_mtime_ns
    train_scorer(judged, QUICK, student=StudentConfig(model="scratch", config=TINY), out=folder)
    assert (folder / "scorer.json").stat().st_mtime_ns == before


def test_judgements_are_read_from_scores_pairs_and_trees(tmp_path):
    """What a search measured itself, novelty, is no judgement; a tree is one group."""
    tree = plant(Node(text="seed", scores={"quality": 3.0, "votes": 2.0}, value=3.0))
    tree, _ = attach(tree, 0, Node(text="child", action="goals", scores={"quality": 4.0, "novelty": 5.0}, value=9.0))
    path = tmp_path / "rows.jsonl"
    rows = [{"text": "a", "scores": {"quality": 2}}, {"texts": ["a", "b"], "choice": -1}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + line_of("s1", tree), encoding="utf-8")
    found = read_judged(path)
    assert [(row.texts, dict(row.scores), row.choice) for row in found] == [
        (("a",), {"quality": 2}, None), (("a", "b"), {}, -1), (("seed",), {"quality": 3.0}, None),
        (("child",), {"quality": 4.0}, None),
    ]  # fmt: skip
    assert [row.group for row in found[2:]] == ["s1", "s1"]


@pytest.mark.parametrize(
    "row",
    [
        {"text": "a"},
        {"text": "a", "scores": {"quality": "good"}},
        {"texts": ["a"], "choice": 1},
        {"texts": ["a", "b"], "choice": 2},
    ],
)
def test_a_row_of_another_form_is_named(row):
    """Nothing is guessed."""
    with pytest.raises(DataError, match=r"rows.jsonl:1: found .* expected text and scores"):
        list(judgements_of(row, "rows.jsonl:1"))


def test_a_longer_scale_is_mapped_and_equal_ranks_are_shared():
    """Ten becomes six, one stays one."""
    rows = [Judged(texts=("a",), scores={"q": 10.0, "r": 6.0}), Judged(texts=("b",), scores={"q": 1.0})]
    assert [dict(row.scores) for row in rescaled(rows, ["q", "r"])] == [{"q": 6.0, "r": 6.0}, {"q": 1.0}]
    assert spearman([Ranked("", a, b) for a, b in ((1, 5), (2, 7), (3, 9))]) == pytest.approx(1.0)
    assert spearman([Ranked("", a, 4) for a in (1, 2, 3)]) is None


def test_the_command_trains_a_scorer_from_a_file(tmp_path, judged, capsys):
    """`potstill train --judged`: too few judgements, and a folder that is none, are one message each."""
    path = tmp_path / "judged.jsonl"
    path.write_text(
        "".join(json.dumps({"text": row.texts[0], "scores": dict(row.scores)}) + "\n" for row in judged[:40]),
        encoding="utf-8",
    )
    sizes = [pair for name, value in TINY.items() for pair in ("--set", f"student.config.{name}={value}")]
    command = ["train", "--student", "scratch", *sizes, "--set", "train.max_steps=2", "--out", str(tmp_path / "s")]
    assert main([*command, "--judged", str(path)]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "s")
    assert Scorer(tmp_path / "s").terms == ("quality",)
    path.write_text(path.read_text(encoding="utf-8").split("\n")[0] + "\n", encoding="utf-8")
    assert main([*command, "--judged", str(path)]) == 1
    assert "at least 10 that fit are needed" in capsys.readouterr().err
    with pytest.raises(StudentError, match=r"no readable scorer\.json"):
        Scorer(tmp_path)
