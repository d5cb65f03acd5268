"""Scores and comparisons: values, denominators, seeds, the shape that scripts read."""

import json
import math
from dataclasses import replace

import pytest

from potstill.errors import DataError
from potstill.evaluation.scoring import compare, evaluate, grade, score, score_run
from potstill.recipe.evaluation import EvaluateConfig
from potstill.records import Comparison, Problem, Rationale, Score, Status, Verdict, from_dict, to_dict

CONFIG = EvaluateConfig(splits=("test", "contrast"), bootstrap=300)


def problems(n, split="test", parent=None):
    return [
        Problem(id=f"{split}-{at}", question="q", answer="4", split=split, parent_id=parent and f"{parent}-{at // 2}")
        for at in range(n)
    ]


def predictions(rights, *, kind="cot", author="arm", split="test"):
    """One prediction per mark; `None`: our check could not run."""
    rows = []
    for at, right in enumerate(rights):
        status = Status.UNVERIFIED if right is None else Status.CORRECT if right else Status.WRONG
        id_ = f"{author}-{split}-{at}"
        verdict = Verdict(rationale_id=id_, status=status, answer="4")
        rows.append(Rationale(id=id_, problem_id=f"{split}-{at}", kind=kind, text="t", author=author, verdict=verdict))
    return rows


def test_accuracy_is_right_over_scored():
    """Three of four scored; the fifth is unscored, in n_unscored and in no mean."""
    (row,) = evaluate(predictions([1, 1, 0, 1, None]), problems(5), CONFIG, system="arm")
    assert (row.value, row.n, row.n_unscored, row.by) == (0.75, 4, 1, "wilson")
    assert row.low < 0.75 < row.high
    assert row.meta["statuses"] == {"CORRECT": 3, "UNVERIFIED": 1, "WRONG": 1}


def test_nothing_scored_has_no_value():
    """A score without a denominator is null, not zero."""
    (row,) = evaluate(predictions([None, None]), problems(2), CONFIG)
    assert (row.value, row.n, row.n_unscored, row.low, row.high) == (None, 0, 2, None, None)


def test_the_system_is_named_after_the_author_unless_told():
    """The predictions know who wrote them."""
    assert evaluate(predictions([1], author="me"), problems(1), CONFIG)[0].system == "me"
    assert evaluate(predictions([1], author="me"), problems(1), CONFIG, system="you", seed=2)[0].seed == 2


def test_the_row_over_seeds_is_the_mean_of_the_rows_of_the_seeds():
    """One row per seed, then one with seed null."""
    runs = {0: predictions([1, 1, 0, 0]), 1: predictions([1, 1, 1, 0]), 2: predictions([1, 0, None, 0])}
    scores, _ = score_run({"arm": runs}, problems(4), CONFIG)
    assert [row.seed for row in scores] == [0, 1, 2, None]
    assert [row.value for row in scores[:3]] == [0.5, 0.75, pytest.approx(1 / 3)]
    assert scores[3].value == pytest.approx(sum(row.value for row in scores[:3]) / 3)
    assert (scores[3].n, scores[3].n_unscored) == (4, 0)
    assert scores[3].by == "hierarchical bootstrap (3 seeds x problems)"
    assert scores[3].meta["seed_values"] == pytest.approx([0.5, 0.75, 1 / 3])


def test_sensitivity_is_the_share_of_pairs_whose_prediction_changes_exactly_as_the_label_does():
    """From the original's label to the edit's; both wrong the other way round is a change, and no such one."""
    labels = {"test-0": "a", "contrast-0": "b", "contrast-1": "a", "test-1": "b", "contrast-2": "a", "contrast-3": "c"}
    said = {"test-0": "a", "contrast-0": "b", "contrast-1": "b", "test-1": "a", "contrast-2": "b", "contrast-3": "c"}
    asked, rows = [], []
    for id_, label in labels.items():
        split, _, number = id_.partition("-")
        parent = f"test-{int(number) // 2}" if split == "contrast" else None
        asked.append(Problem(id=id_, question="q", answer=label, split=split, parent_id=parent))
        status = Status.CORRECT if said[id_] == label else Status.WRONG
        verdict = Verdict(rationale_id=id_, status=status, answer=said[id_])
        rows.append(Rationale(id=id_, problem_id=id_, kind="cot", text="t", author="arm", verdict=verdict))
    scores = {(row.split, row.metric): row for row in evaluate(rows, asked, CONFIG)}
    row = scores["contrast", "sensitivity"]
    assert (row.value, row.n) == (0.25, 4)  # a->b of the first; not a->a (changed), b->a (swapped), b->c (from a)
    assert row.meta["changes_with_label"] == 0.75
    assert row.by == "bootstrap (groups)"
    assert ("test", "sensitivity") not in scores
    assert scores["contrast", "contrast_consistency"].value == 0.0


def test_sensitivity_is_compared_pair_by_pair():
    """Like any other metric; an unscored half leaves its pair out unless the other half is wrong."""
    asked = [*problems(2), *problems(4, "contrast", parent="test")]
    graded = [
        grade(predictions(first) + predictions(second, split="contrast"), asked, CONFIG)
        for first, second in (([1, 1], [1, 1, 1, None]), ([1, 0], [1, 0, None, None]))
    ]
    found = {row.metric: row for row in compare(*([one] for one in graded), CONFIG) if row.split == "contrast"}
    assert (found["sensitivity"].n, found["sensitivity"].difference) == (3, pytest.approx(1 - 1 / 3))


def test_a_student_of_both_views_is_also_compared_by_what_it_answers():
    """Against one of a single view: path by path where they share one, and its joint answer against the other's own."""
    said = replace(predictions([0])[0].verdict, answer="5")
    both = [replace(row, view="positive", logprob=-1.0) for row in predictions([1, 0, 0])]
    both[1] = replace(both[1], verdict=replace(said, rationale_id=both[1].id))
    both += [replace(row, id=f"{row.id}n", view="negative", logprob=-0.5) for row in predictions([1, 1, 0])]
    graded = [[grade(rows, problems(3), CONFIG)] for rows in (both, predictions([1, 0, 0]))]
    for a, b, sign in ((*graded, 1), (*reversed(graded), -1)):
        rows = {row.path: row for row in compare(a, b, CONFIG)}
        assert set(rows) == {"cot", "views"}
        assert rows["cot"].difference == 0.0
        assert {rows["views"].meta["path_a"], rows["views"].meta["path_b"]} == {"views", "cot"}
        assert rows["views"].difference == pytest.approx(sign / 3)


def test_consistency_is_the_share_of_families_that_are_fully_right():
    """Originals 0 and 1 with two edits each: the second family has a wrong edit."""
    rows = predictions([1, 1]) + predictions([1, 1, 1, 0], split="contrast")
    asked = [*problems(2), *problems(4, "contrast", parent="test")]
    scores = {(row.split, row.metric): row for row in evaluate(rows, asked, CONFIG)}
    found = ["accuracy", "contrast_consistency", "sensitivity"]
    assert list(scores) == [("test", "accuracy"), *(("contrast", metric) for metric in found)]
    consistency = scores["contrast", "contrast_consistency"]
    assert (consistency.value, consistency.n) == (0.5, 2)
    assert scores["contrast", "accuracy"].value == 0.75
    assert scores["contrast", "accuracy"].by == "bootstrap (groups)"


def test_a_wrong_original_breaks_its_family():
    """All edits right, the original wrong: not consistent."""
    rows = predictions([0]) + predictions([1, 1], split="contrast")
    scores = evaluate(rows, [*problems(1), *problems(2, "contrast", parent="test")], CONFIG)
    assert [row.value for row in scores if row.metric == "contrast_consistency"] == [0.0]


def test_a_comparison_is_paired_on_the_same_problems():
    """By hand: a alone right on 4, b alone on 1, so the difference is 0.3 and p = 2 (1 + 5) / 32."""
    a, b = predictions([1] * 6 + [1, 0, 0, 0]), predictions([1, 1, 0, 0, 0, 0, 1, 1, 0, 0])
    (row,) = compare([grade(a, problems(10))], [grade(b, problems(10))], CONFIG, a_name="a", b_name="b")
    assert (row.a, row.b, row.split, row.path, row.metric, row.n) == ("a", "b", "test", "cot", "accuracy", 10)
    assert row.difference == pytest.approx(0.3)
    assert row.p == pytest.approx(12 / 32)
    assert row.low < 0.3 < row.high


def test_systems_without_a_common_path_are_compared_by_their_own():
    """A student that reasons against one that only answers; the row says so."""
    reasons, answers = grade(predictions([1, 1]), problems(2)), grade(predictions([0, 1], kind="answer"), problems(2))
    (row,) = compare([reasons], [answers], CONFIG)
    assert (row.path, row.meta["path_a"], row.meta["path_b"]) == ("cot", "cot", "answer")


def test_a_comparison_agrees_with_the_scores():
    """difference = value of a - value of b, over several seeds too."""
    systems = {
        "scotd": {0: predictions([1, 1, 1, 0, 1]), 1: predictions([1, 1, 0, 0, 1])},
        "answer_only": {0: predictions([0, 1, 0, 0, 1]), 1: predictions([0, 0, 0, 0, 1])},
    }
    scores, comparisons = score_run(systems, problems(5), CONFIG)
    values = {row.system: row.value for row in scores if row.seed is None}
    assert [(c.a, c.b) for c in comparisons] == [("scotd", "answer_only")]
    assert comparisons[0].difference == pytest.approx(values["scotd"] - values["answer_only"])
    assert comparisons[0].test.startswith("paired hierarchical bootstrap")


def test_the_configured_pairs_replace_the_methods_own():
    """An unknown name is refused with the names that exist."""
    systems = {name: {None: predictions([1, 0])} for name in ("one", "two")}
    config = EvaluateConfig(compare=(("two", "one"),))
    _, comparisons = score_run(systems, problems(2), config)
    assert [(c.a, c.b) for c in comparisons] == [("two", "one")]
    with pytest.raises(DataError, match="no system is named 'three'; systems of this run: one, two"):
        score_run(systems, problems(2), EvaluateConfig(compare=(("three", "one"),)))


def test_scores_have_the_shape_that_scripts_read():
    """The keys of the interface, every one in every row, and a round trip through JSON."""
    systems = {"scotd": {None: predictions([1, 1, 0])}, "answer_only": {None: predictions([0, None, 0])}}
    scores, comparisons = score_run(systems, problems(3), CONFIG)
    rows = json.loads(json.dumps([to_dict(row) for row in scores], allow_nan=False))
    keys = {"task", "system", "split", "path", "metric", "value", "n", "n_unscored", "low", "high", "seed", "by"}
    assert [set(row) - {"meta"} for row in rows] == [keys] * len(rows)
    assert [from_dict(Score, row) for row in rows] == scores
    pairs = json.loads(json.dumps([to_dict(row) for row in comparisons], allow_nan=False))
    keys = {"task", "a", "b", "split", "path", "metric", "difference", "low", "high", "p", "n", "test"}
    assert [set(row) - {"meta"} for row in pairs] == [keys] * len(pairs)
    assert [from_dict(Comparison, row) for row in pairs] == comparisons


def test_scoring_again_gives_the_same_numbers():
    """Every interval is drawn with a seed of its own."""
    systems = {"arm": {0: predictions([1, 0, 1, 1]), 1: predictions([0, 0, 1, 1])}}
    assert score_run(systems, problems(4), CONFIG) == score_run(systems, problems(4), CONFIG)


def test_a_seed_without_a_path_is_left_out_of_that_paths_rows():
    """Rows exist where predictions do."""
    runs = {
        0: grade(predictions([1, 0]), problems(2)),
        1: grade(predictions([1, 1], kind="answer"), problems(2)),
    }
    rows = {(row.path, row.seed): row.value for row in score("arm", runs, CONFIG)}
    assert rows == {("cot", 0): 0.5, ("cot", None): 0.5, ("answer", 1): 1.0, ("answer", None): 1.0}
    assert not any(math.isnan(value) for value in rows.values())
