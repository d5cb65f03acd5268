"""The pair margin over shared prompts, against the model asked row by row."""

import pytest
import torch
from tiny_students import PAIRS, make_model, make_tokenizer

from potstill.recipe.students import PairMarginConfig, StudentConfig, TrainConfig
from potstill.records import Example
from potstill.students.batching import Row
from potstill.students.collating import collate
from potstill.students.contrasts import with_contrasts
from potstill.students.encoding import encode, fit
from potstill.students.losses import pair_margin, task_totals
from potstill.students.sharing import target_nll

UP, DOWN, EVEN = (f" So the answer is: {n}" for n in (1, 22, 33))


def pair(number, contrast=(UP, DOWN), n=2):
    """n rows of one problem of a pair."""
    more = "plus " * number
    fixed = {"prompt": f"Q: {more}{number} A:", "task": "cot", "group": str(number)}
    fixed["meta"] = {"contrast": list(contrast)} if len(contrast) > 1 else {}
    return [Example(id=f"{number}.{k}", target=f" {number} and {k}{contrast[0]}", **fixed) for k in range(n)]


EXAMPLES = [*pair(1), *pair(2, (DOWN, UP)), *pair(3, (UP, DOWN, EVEN)), *pair(4, (UP,))]


def rows_of(examples=EXAMPLES, **options):
    return [Row(example, example.weight) for example in encode(examples, make_tokenizer(), **options)]


def plain_margin(model, margin, starts=()):
    """The same by one unpadded row at a time, through the model's own logits."""
    tokenizer, total, count = make_tokenizer(), torch.zeros(()), 0
    for example in {e.group: e for e in EXAMPLES}.values():
        prompt = tokenizer(example.prompt)["input_ids"]

        def logp(text, prompt=prompt):
            target = [*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
            if starts:
                read = torch.tensor([[*starts, *target[:-1]]])
                logits = model(input_ids=torch.tensor([prompt]), decoder_input_ids=read).logits[0, len(starts) - 1 :]
            else:
                logits = model(torch.tensor([[*prompt, *target[:-1]]])).logits[0, len(prompt) - 1 :]
            return logits.log_softmax(-1).gather(1, torch.tensor(target)[:, None]).sum()

        right, *wrong = example.meta.get("contrast", [""])
        for text in wrong:
            total, count = total + (margin - (logp(right) - logp(text))).clamp_min(0), count + 1
    return total, count


@pytest.mark.parametrize(("family", "shared"), [("llama", True), ("gpt2", True), ("llama", False), ("t5", True)])
def test_the_margin_and_its_gradients_are_those_of_rows_read_one_by_one(family, shared):
    """Over prompts of different length, three labels in one pair, and a problem without a pair beside them."""
    model = make_model(family)
    starts = (0,) if family in PAIRS else ()
    rows, found = with_contrasts(rows_of(apart=bool(starts)))
    batch = collate(rows, shared=shared, starts=starts)
    lengths, pairs = torch.tensor(found.lengths), torch.tensor(found.pairs)
    # T5's logits are not its output embedding of the last state, as a trial finds before training.
    ours = pair_margin(target_nll(model, batch, head=not starts), lengths, pairs, 5.0)
    ours.backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    plain, count = plain_margin(model, 5.0, starts)
    plain.backward()
    assert len(found.pairs) == count == 4
    assert ours.item() > 0
    assert ours.item() == pytest.approx(plain.item(), rel=1e-4)
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            assert torch.allclose(
                gradients[name], parameter.grad, atol=1e-4 * max(1.0, float(parameter.grad.abs().max()))
            )


def test_label_only_rows_carry_no_loss_of_their_own():
    """One set for each problem of a pair, behind the step's rows, on the prompts that are there; weight 0."""
    plain = rows_of()
    rows, found = with_contrasts(plain)
    assert rows[: len(plain)] == plain
    assert [row.weight for row in rows[len(plain) :]] == [0.0] * 7
    assert found.pairs == [(0, 1), (2, 3), (4, 5), (4, 6)]
    assert {id(row.example.prompt) for row in rows} == {id(row.example.prompt) for row in plain}
    batches = [collate(some, shared=True) for some in (plain, rows)]
    totals = [task_totals(batch["weights"], batch["tasks"], 1) for batch in batches]
    assert totals[0] == totals[1]


def test_a_step_without_pairs_has_no_margin():
    """Zero, not an error."""
    rows, found = with_contrasts(rows_of(pair(4, (UP,))))
    assert (len(rows), found.lengths, found.pairs) == (2, [], [])
    empty = pair_margin(torch.ones(3), torch.tensor([], dtype=torch.long), torch.zeros(0, 2, dtype=torch.long), 1.0)
    assert float(empty) == 0.0


def test_a_margin_that_is_kept_costs_nothing():
    """max(0, m - lead) by hand: leads of 1.5 and -1 with m = 1, the latter missing it by 2."""
    nll = torch.tensor([9.0, 1.0, 0.5, 3.0, 4.0, 3.0])
    lengths, pairs = torch.tensor([2, 1, 1, 1]), torch.tensor([[0, 1], [2, 3]])
    assert float(pair_margin(nll, lengths, pairs, 1.0)) == pytest.approx(0.0 + 2.0)


def test_a_label_that_does_not_fit_counts_for_the_length():
    """The longest of what continues the prompt decides."""
    [row] = encode(pair(1, (UP, DOWN), n=1), make_tokenizer())
    longest = len(row.prompt) + len(row.target)
    assert fit([row], longest)[1] == ()
    long = encode(pair(1, (UP, " and" * 40), n=1), make_tokenizer())
    assert [drop.reason for drop in fit(long, longest)[1]] == ["overlong"]


def test_training_with_a_margin_widens_the_lead_of_the_right_labels(tmp_path):
    """Over training with the margin the right labels gain on the others; the record says how it was trained."""
    from tiny_students import save_student

    from potstill.students.cards import read_record
    from potstill.students.training import train

    def lead(**options):
        out = tmp_path / f"out{len(options)}"
        config = TrainConfig(max_steps=12, learning_rate=3e-3, problems_per_step=4, rationales_per_problem=2, **options)
        train(EXAMPLES, config, student=StudentConfig(model=str(save_student(tmp_path / "student"))), out=out)
        from transformers import AutoModelForCausalLM

        model = AutoModelForCausalLM.from_pretrained(out).eval()
        with torch.no_grad():
            return float(plain_margin(model, 50.0)[0]), read_record(out)

    plain, record = lead()
    strong, told = lead(pair_margin=PairMarginConfig(weight=2.0, margin=50.0), pairs_together=True)
    assert strong < plain - 4
    assert (record["pair_margin"], told["pair_margin"]) == (None, {"weight": 2.0, "margin": 50.0})
    assert told["target_tokens_seen"] == record["target_tokens_seen"]
