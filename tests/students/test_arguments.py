"""The Trainer's arguments by their own names, and clear words about the others."""

import pytest

from potstill.errors import ConfigError
from potstill.recipe.students import TrainConfig
from potstill.students.arguments import batch_shape, trainer_arguments


def arguments(tmp_path, *, has_dev=False, steps_per_epoch=40, **train):
    return trainer_arguments(TrainConfig(**train), tmp_path, seed=7, steps_per_epoch=steps_per_epoch, has_dev=has_dev)


def test_arguments_reach_the_trainer_by_their_own_names(tmp_path):
    """And win over our defaults."""
    args = arguments(tmp_path, learning_rate=2e-5, warmup_steps=500, adam_epsilon=1e-5, logging_steps=3, max_steps=20)
    assert (args.learning_rate, args.warmup_steps, args.adam_epsilon) == (2e-5, 500, 1e-5)
    assert (args.logging_steps, args.max_steps, args.seed) == (3, 20, 7)
    assert args.report_to == []
    assert str(args.output_dir) == str(tmp_path)


def test_a_number_that_yaml_reads_as_text_is_a_number(tmp_path):
    """YAML 1.1 takes 2e-5, without a point, for a string."""
    args = arguments(tmp_path, learning_rate="2e-5", max_steps="30")
    assert (args.learning_rate, args.max_steps) == (2e-5, 30)
    with pytest.raises(ConfigError, match=r"train.learning_rate: got 'fast'; expected a number"):
        arguments(tmp_path, learning_rate="fast")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("learning_rat", "did you mean learning_rate"),
        ("problem_per_step", "did you mean problems_per_step"),
        ("warmup_ratio", r"did you mean warmup_steps \(a value below 1 is a fraction"),
        ("max_seq_length", "did you mean max_length"),
        ("zzzz", "see the Hugging Face TrainingArguments"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(tmp_path, name, hint):
    """Among our options, the Trainer's arguments, and names that have changed."""
    with pytest.raises(ConfigError, match=f"train.{name}: neither an option of potstill.*{hint}"):
        arguments(tmp_path, **{name: 1})


@pytest.mark.parametrize("name", ["output_dir", "load_best_model_at_end", "remove_unused_columns"])
def test_arguments_that_are_ours_to_set_are_refused(tmp_path, name):
    """With the reason."""
    with pytest.raises(ConfigError, match=f"train.{name}: cannot be set; "):
        arguments(tmp_path, **{name: True})


def test_a_value_that_the_trainer_refuses_is_a_config_error(tmp_path):
    """In its own words."""
    with pytest.raises(ConfigError, match=r"train: the Trainer does not accept these arguments: .*constan"):
        arguments(tmp_path, lr_scheduler_type="constan")


def test_a_dev_split_evaluates_saves_and_keeps_the_best(tmp_path):
    """Ten times in the training if the recipe says nothing: 40 steps an epoch, 3 epochs."""
    args = arguments(tmp_path, has_dev=True)
    assert (args.eval_steps, args.save_steps, str(args.eval_strategy.value)) == (12, 12, "steps")
    assert (args.load_best_model_at_end, args.metric_for_best_model, args.greater_is_better) == (True, "accuracy", True)
    args = arguments(tmp_path, has_dev=True, eval_steps=7)
    assert (args.eval_steps, args.save_steps) == (7, 7)
    assert not arguments(tmp_path).load_best_model_at_end


@pytest.mark.parametrize(
    ("train", "expected"),
    [
        ({}, (8, 6)),
        ({"per_device_train_batch_size": 32}, (32, 1)),
        ({"per_device_train_batch_size": 32, "rationales_per_problem": 4}, (8, 4)),
        ({"per_device_train_batch_size": 32, "problems_per_step": 4}, (4, 8)),
        ({"per_device_train_batch_size": 12, "problems_per_step": 4, "rationales_per_problem": 3}, (4, 3)),
    ],
)
def test_rows_per_step_may_be_given_as_the_trainer_calls_them(train, expected):
    """SCoTD's batch of 32 is 32 problems with one rationale each."""
    assert batch_shape(TrainConfig(**train)) == expected


def test_sizes_that_contradict_each_other_are_refused():
    """32 rows are not 5 problems' worth."""
    with pytest.raises(ConfigError, match="per_device_train_batch_size: got 32; it must be problems_per_step x"):
        batch_shape(TrainConfig(per_device_train_batch_size=32, problems_per_step=5))
