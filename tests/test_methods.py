"""Methods: their defaults lie beneath the recipe, and only beneath."""

import pytest

from potstill.errors import ConfigError
from potstill.methods import DEFAULTS, PAIRS
from potstill.recipe.reading import parse_recipe
from potstill.recipe.whole import Recipe

BASE = "method: {}\nproblems: {{source: x.jsonl}}\n"


@pytest.mark.parametrize("method", DEFAULTS)
def test_every_method_makes_a_recipe(method):
    """Its defaults are keys and values that a recipe allows, and it has comparisons."""
    assert parse_recipe(BASE.format(method)).method == method
    assert PAIRS[method]


def test_a_recipe_overrides_its_method_key_by_key():
    """What it does not name stays the method's."""
    recipe = parse_recipe(BASE.format("mixed_distillation") + "mix: {balance: none}\nsample: {n: 4}")
    assert (recipe.mix.balance, recipe.mix.kinds, recipe.sample.n) == ("none", ("cot", "pot"), 4)
    assert recipe.sample.kinds == ("cot", "pot")


def test_scotd_is_what_the_tables_say():
    """Its defaults are the tables' own."""
    data = {"problems": {"source": "x.jsonl"}}
    assert parse_recipe(BASE.format("scotd")) == Recipe.model_validate(data)


def test_an_unknown_method_names_the_known():
    """Before anything is read."""
    with pytest.raises(ConfigError, match="'scotd', 'mixed_distillation', 'counterfactual' or 'idea_mcts'"):
        parse_recipe(BASE.format("md"))


def test_only_the_arms_of_a_method_and_what_its_ensembles_need_are_kept():
    """Comparisons of systems that are left out go too."""
    text = (
        BASE.format("scotd")
        + """
arms:
  cot_n1: {mix: {n: 1}}
  scotd: {}
  pot: {method: mixed_distillation, mix: {kinds: [pot]}}
  ensemble: {method: mixed_distillation, ensemble: {scotd: {cot: 2}, pot: {pot: 2}}}
evaluate: {compare: [[scotd, cot_n1], [ensemble, pot]]}
"""
    )
    recipe = parse_recipe(text)
    mine = recipe.of_method("mixed_distillation")
    assert set(mine.arms) == {"scotd", "pot", "ensemble"}
    assert mine.evaluate.compare == (("ensemble", "pot"),)
    assert set(recipe.of_method("scotd").arms) == {"cot_n1", "scotd"}
    with pytest.raises(ConfigError, match="--only idea_mcts: this recipe holds the arms of mixed_distillation, scotd"):
        recipe.of_method("idea_mcts")


def test_an_ensemble_is_made_of_arms_that_exist():
    """And that have students of their own."""
    text = BASE.format("scotd") + "arms: {scotd: {}, both: {ensemble: {scotd: {cot: 2}, pto: {pot: 2}}}}"
    with pytest.raises(ConfigError, match=r"arms.both.ensemble: 'pto' is not an arm with a student of its own"):
        parse_recipe(text)
