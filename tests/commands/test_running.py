"""`potstill run`: what its options do to a recipe."""

import json

from potstill.cli import main
from potstill.commands.running import limits
from potstill.recipe.reading import parse_recipe

SPLITS = """
problems: {splits: {train: {source: a.jsonl, limit: 60}, dev: {source: b.jsonl}, test: {source: c.jsonl, limit: 2}}}
teachers: {base_url: miniature}
"""


def test_a_limit_holds_for_every_split_and_raises_none():
    """`--limit N` is at most N problems, wherever they come from."""
    recipe = parse_recipe(SPLITS, limits(parse_recipe(SPLITS), 5))
    assert {name: split.limit for name, split in recipe.problems.splits.items()} == {"train": 5, "dev": 5, "test": 2}
    one = parse_recipe("problems: {source: a.jsonl}", ["problems.limit=5"])
    assert limits(one, 5) == ["problems.limit=5"]


def test_a_limited_plan_counts_the_limited_problems(tmp_path, monkeypatch, capsys):
    """The option reaches a recipe of the miniature, whose splits have limits of their own."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "r.yaml").write_text(
        "problems: {splits: {train: {source: miniature, split: train, limit: 60}, "
        "test: {source: miniature, split: test}}}\n"
        "teachers: {base_url: miniature}\nsample: {n: 2}\nledger: l.db\n"
    )
    assert main(["run", "r.yaml", "--dry-run", "--json", "--limit", "3"]) == 0
    assert [row["problems"] for row in json.loads(capsys.readouterr().out)] == [3, 3]
