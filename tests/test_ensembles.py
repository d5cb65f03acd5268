"""Ensembles: paths of several students that vote as one system."""

import pytest

from potstill.ensembles import assemble
from potstill.errors import ConfigError
from potstill.records import Rationale


def paths(author, kind, count, problems=("p", "q")):
    """Return a greedy path and `count` sampled ones of each problem."""
    return [
        Rationale(id=f"{author}{problem}{kind}{i}", problem_id=problem, kind=kind, text="", index=i, author=author)
        for problem in problems
        for i in range(count + 1)
    ]


def test_each_member_gives_its_first_sampled_paths_and_its_greedy_one():
    """Seeds that all members have are paired."""
    systems = {"a": {0: paths("a", "cot", 3), 1: paths("a", "cot", 3)}, "b": {0: paths("b", "pot", 2)}}
    found = assemble("both", {"a": {"cot": 2}, "b": {"pot": 2}}, systems)
    assert set(found) == {0}
    mine = {(row.author, row.kind, row.index) for row in found[0] if row.problem_id == "p"}
    assert mine == {
        ("a", "cot", 0),
        ("a", "cot", 1),
        ("a", "cot", 2),
        ("b", "pot", 0),
        ("b", "pot", 1),
        ("b", "pot", 2),
    }


def test_members_of_one_kind_are_counted_on():
    """No two paths of an ensemble have the same kind and index; one greedy path of a kind settles ties."""
    systems = {"a": {None: paths("a", "cot", 2, ("p",))}, "b": {None: paths("b", "cot", 2, ("p",))}}
    found = assemble("both", {"a": {"cot": 2}, "b": {"cot": 2}}, systems)[None]
    assert sorted((row.index, row.author) for row in found) == [(0, "a"), (1, "a"), (2, "a"), (3, "b"), (4, "b")]


def test_too_few_paths_are_refused():
    """An ensemble of fewer paths than asked for would not be the comparison that it claims to be."""
    with pytest.raises(ConfigError, match=r"arms.both.ensemble.a.cot: asks for 5 sampled paths a problem, found 3 of"):
        assemble("both", {"a": {"cot": 5}}, {"a": {0: paths("a", "cot", 3)}})
    with pytest.raises(ConfigError, match="no arm is named 'z'"):
        assemble("both", {"z": {"cot": 5}}, {"a": {}})
