"""Arms: which students a recipe trains, and what their files are called."""

from potstill.arms import arms_of
from potstill.pipeline import fingerprints
from potstill.recipe.reading import parse_recipe

TEXT = """
problems: {source: x.jsonl}
n_seeds: 3
arms:
  untrained: {train: null}
  control: {n_seeds: 1}
  scotd: {}
  both: {ensemble: {scotd: {cot: 2}}}
"""


def test_every_arm_has_its_seeds():
    """An untrained one has none, a costly control fewer; an ensemble has no student of its own."""
    recipe = parse_recipe(TEXT)
    jobs = [arm.job for arm in arms_of(recipe, fingerprints(recipe))]
    assert jobs == ["untrained", "control.seed0", "scotd.seed0", "scotd.seed1", "scotd.seed2"]


def test_without_several_seeds_files_bear_the_bare_name():
    """As the interface has it: students/NAME, predictions/NAME.jsonl."""
    recipe = parse_recipe(TEXT, ["n_seeds=1"])
    assert [arm.job for arm in arms_of(recipe, fingerprints(recipe))] == ["untrained", "control", "scotd"]
