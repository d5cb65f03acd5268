"""The Trainer's hooks: the loss of a step in parts, per task, and what is counted."""

import pytest
import torch
from tiny_students import examples_of, make_model, make_tokenizer, sums
from transformers import TrainingArguments

from potstill.recipe.rationales import VerifyConfig
from potstill.recipe.students import InferConfig, MixConfig
from potstill.students.batching import Schedule
from potstill.students.collating import collate
from potstill.students.encoding import encode
from potstill.students.loading import Loaded
from potstill.students.selection import DevSplit
from potstill.students.sharing import Layout, route, target_nll
from potstill.students.trainer import Course, StudentTrainer

TASKS = ["cot", "answer"]


@pytest.fixture
def trainer(tmp_path):
    tokenizer, model = make_tokenizer(), make_model()
    examples = examples_of(sums(4), n=2) + examples_of(sums(4), n=1, task="answer")
    rows = encode(examples, tokenizer)
    schedule = Schedule(rows, loader="all", problems_per_step=2, rationales_per_problem=3, seed=0)
    layout = Layout(shared=True, head=True)
    route(model, layout)
    args = TrainingArguments(
        output_dir=str(tmp_path), report_to="none", disable_tqdm=True, remove_unused_columns=False, use_cpu=True,
        dataloader_pin_memory=False, per_device_train_batch_size=1,
    )  # fmt: skip
    split = DevSplit(problems=[], infer=InferConfig(), verify=VerifyConfig(), mix=MixConfig())
    course = Course(
        name="s", schedule=schedule, layout=layout, tasks=TASKS, task_weights=torch.tensor([0.25, 0.75]), split=split,
        loaded=Loaded(model, tokenizer, "tiny", (2,), 128), patience=None,
    )  # fmt: skip
    return StudentTrainer(model, args, course)


def test_the_loss_of_a_step_is_a_mean_per_task_over_all_its_micro_batches(trainer):
    """The parts add up to lambda-weighted means taken over the whole step."""
    batches = list(trainer.get_train_dataloader())
    assert len(batches) == 2
    totals = trainer._get_num_items_in_batch(batches, "cpu")
    parts = sum(trainer.compute_loss(trainer.model, batch, num_items_in_batch=totals) for batch in batches)
    nll = torch.cat([target_nll(trainer.model, batch) for batch in batches])
    tasks = torch.cat([batch["tasks"] for batch in batches])
    expected = 0.25 * nll[tasks == 0].mean() + 0.75 * nll[tasks == 1].mean()
    assert parts.item() == pytest.approx(expected.item(), rel=1e-5)
    assert totals.tolist() == [(tasks == 0).sum(), (tasks == 1).sum(), 0]  # the last one counts contrasts of pairs


def test_target_tokens_are_counted_in_the_state_that_checkpoints_keep(trainer):
    """They say how much each arm has learnt from."""
    batch = next(iter(trainer.get_train_dataloader()))
    trainer._track_num_input_tokens(batch)
    assert trainer.state.num_input_tokens_seen == len(batch["targets"])


def test_batches_are_the_schedules(trainer):
    """One item of the data loader is one micro-batch, in the schedule's order, also in the next epoch."""
    loader = trainer.get_train_dataloader()
    loader.set_epoch(1)
    schedule = trainer._course.schedule
    expected = [collate(schedule[step], shared=True, tasks=TASKS) for step in range(len(schedule))]
    for batch, wanted in zip(loader, expected, strict=True):
        assert set(batch) == set(wanted)
        assert all(torch.equal(batch[name], wanted[name]) for name in set(wanted) - {"branches"})
        pairs = zip(batch["branches"], wanted["branches"], strict=True)
        assert all(torch.equal(one, other) for part in pairs for one, other in zip(*part, strict=True))
    schedule.set_epoch(0)
    assert not torch.equal(collate(schedule[0], shared=True, tasks=TASKS)["targets"], expected[0]["targets"])
