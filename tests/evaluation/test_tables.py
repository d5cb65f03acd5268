"""Scores as text."""

from dataclasses import replace

from potstill.evaluation.tables import MINIATURE_NOTE, in_order, markdown_table, p_value, signed, terminal_table, voters
from potstill.records import Comparison, Score


def row(system, value=0.5, split="test", metric="accuracy", n=300, **extra):
    label = {"task": "problems", "path": "cot", "low": value - 0.05, "high": value + 0.05, "by": "wilson", **extra}
    return Score(system=system, value=value, split=split, metric=metric, n=n, **label)


PAIR = Comparison(
    task="problems", a="scotd", b="cot_n1", split="test", path="cot", metric="accuracy", difference=0.123,
    low=0.05, high=0.2, p=0.0004, n=300, test="exact McNemar",
)  # fmt: skip


def test_the_terminal_table_lines_numbers_up_with_interval_and_n():
    """Systems in the order of a paper's table, one column per split."""
    scores = [row("teacher", 0.9), row("scotd", 0.7), row("scotd", 0.06, "ood", n=100), row("scotd", 0.1, seed=0)]
    lines = terminal_table(scores, [PAIR], note=MINIATURE_NOTE, width=100).splitlines()
    assert lines[:3] == [
        "                    test, n 300       ood, n 100",
        "scotd    cot  70.0 [65.0, 75.0]  6.0 [1.0, 11.0]",
        "teacher  cot  90.0 [85.0, 95.0]",
    ]
    assert "scotd - cot_n1  test  cot  +12.3  [+5.0, +20.0]  p < 0.001  n 300" in lines
    assert lines[-1] == MINIATURE_NOTE


def test_a_table_too_wide_for_the_terminal_is_broken_into_blocks():
    """No line is wider than the terminal."""
    splits = ("test", "ood", "contrast", "another_split", "yet_another")
    text = terminal_table([row("a_system_name", split=split) for split in splits], width=80)
    assert max(map(len, text.splitlines()[:-1])) <= 80
    assert all(split in text for split in splits)


def test_an_n_of_its_own_and_unscored_rows_are_said():
    """A row with another denominator than its column shows it."""
    text = terminal_table([row("a"), row("b", n=290, n_unscored=10)], width=100)
    assert "n 290" in text
    assert "10 unscored" in text


def test_no_scores_make_a_table_too():
    """Nothing to show is no error."""
    assert terminal_table([]).startswith("Percent right")


def test_the_markdown_twin_holds_the_same_rows():
    """One line per score over all seeds, and per comparison."""
    text = markdown_table([row("scotd", 0.7), row("scotd", 0.6, seed=1)], [PAIR], note=MINIATURE_NOTE)
    assert "| scotd | cot | test | accuracy | 70.0 | [65.0, 75.0] | 300 | 0 |" in text
    assert text.count("| scotd |") == 1
    assert "| scotd - cot_n1 | cot | test | accuracy | +12.3 | [+5.0, +20.0] | < 0.001 | 300 | exact McNemar |" in text
    assert text.endswith(MINIATURE_NOTE + "\n")


def test_a_name_cannot_break_a_markdown_row():
    """A vertical bar in a system's name is escaped."""
    assert "| a\\|b |" in markdown_table([row("a|b")])


def test_systems_stand_in_the_order_of_a_papers_table():
    """Known ones first, the teacher last, others between in their own order."""
    assert in_order(["teacher", "mine", "scotd", "untrained"]) == ["untrained", "scotd", "mine", "teacher"]
    known = ["untrained", "answer_only", "cot_n1", "cot_n5", "scotd", "pot", "mixture", "mixed", "ensemble", "teacher"]
    assert in_order(reversed(known)) == known


def test_a_system_of_many_paths_is_named_once():
    """Its paths stand in one order, whatever their order in the scores."""
    paths = ("vote", "agreed", "pot", "cot", "oracle", "routed")
    lines = terminal_table([row("mixed", path=path) for path in paths] + [row("ensemble", path="vote")]).splitlines()
    assert [line.split()[:2] for line in lines[1:3]] == [["mixed", "cot"], ["pot", "50.0"]]
    assert [line[10:].split()[0] for line in lines[1:8]] == ["cot", "pot", "routed", "vote", "oracle", "agreed", "vote"]
    assert "oracle: either greedy path is right, a bound" in lines[-1]


def test_votes_by_number_of_paths_stand_apart_on_the_first_split():
    """In order of the number, not of its digits, and in no column of the main table."""
    scores = [row("mixed", path="vote", metric=f"accuracy_at_{k}", split=s) for s in ("ood", "test") for k in (20, 4)]
    text = terminal_table([row("mixed", path="vote"), *scores], width=100)
    main, curve, _ = text.split("\n\n")
    assert main.splitlines()[0].split() == ["test,", "n", "300"]
    assert curve.splitlines()[0].split(",")[1:] == [" 4 paths", " n 300  test", " 20 paths", " n 300"]
    assert [voters(name) for name in ("accuracy_at_20", "accuracy")] == [20, None]


def test_a_long_list_of_comparisons_is_cut_and_says_so():
    """Accuracy on the first split, and how many more there are."""
    pairs = [replace(PAIR, split=split, b=f"b{at}") for at in range(9) for split in ("test", "ood", "contrast")]
    lines = terminal_table([], pairs).splitlines()
    assert sum(line.startswith("scotd - b") for line in lines) == 9
    assert "and 18 more on other splits and metrics, in scores.json and the report" in lines


def test_numbers_are_spelled_as_papers_spell_them():
    """Signs, no negative zero, small p-values."""
    assert [signed(v) for v in (0.1, -0.1, -0.0001)] == ["+10.0", "-10.0", "0.0"]
    assert [p_value(p) for p in (0.0001, 0.0412, 1.0)] == ["< 0.001", "0.041", "1.000"]
