"""Training: what comes out, what is refused, and that a kill costs nothing."""

import json
import os
import shutil
import signal
import time
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from tiny_students import PAIRS, examples_of, save_student, sums
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

from potstill.errors import ConfigError, StudentError
from potstill.recipe.students import InferConfig, MixConfig, StudentConfig, TrainConfig
from potstill.records import Example
from potstill.students.cards import write_student
from potstill.students.inference import infer
from potstill.students.training import last_checkpoint, train

SHORT = {"max_steps": 6, "learning_rate": 5e-3, "problems_per_step": 4, "rationales_per_problem": 2}
ASK = InferConfig(paths={"cot": 1}, max_new_tokens=20)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return save_student(tmp_path_factory.mktemp("students") / "base")


def run(base, out, examples=None, dev=(), seed=0, student=None, **changes):
    config = TrainConfig(**{**SHORT, **changes})
    student = student or StudentConfig(model=str(base))
    examples = examples_of(sums(12)) if examples is None else examples
    return train(examples, config, student=student, out=out, dev=dev, infer=ASK, seed=seed)


def weights(folder):
    return load_file(folder / "model.safetensors")


def same(one, other):
    first, second = weights(one), weights(other)
    return set(first) == set(second) and all(torch.equal(first[name], second[name]) for name in first)


def record(folder):
    return json.loads((folder / "training.json").read_text())


def test_the_student_is_a_standard_folder_that_has_learnt(base, tmp_path):
    """Loaded without potstill, it continues a prompt as it was taught, and stops."""
    out = run(base, tmp_path / "s", max_steps=60, learning_rate=1e-2, examples=examples_of(sums(4), n=1))
    assert out == tmp_path / "s"
    names = {"config.json", "model.safetensors", "tokenizer.json", "generation_config.json", "README.md",
             "training.json"}  # fmt: skip
    assert names <= {path.name for path in out.iterdir()}
    tokenizer, model = AutoTokenizer.from_pretrained(out), AutoModelForCausalLM.from_pretrained(out)
    ids = tokenizer("Q: 1 plus 7 A:", return_tensors="pt")
    text = tokenizer.decode(model.generate(**ids, max_new_tokens=20, do_sample=False)[0])
    assert text == "Q: 1 plus 7 A: 1 plus 7 So the answer is: 8 </s>"
    assert model.config.use_cache
    assert list(tmp_path.iterdir()) == [out]


def test_shared_prompts_and_padded_rows_train_the_same_student(base, tmp_path):
    """Up to float rounding, over several steps with accumulation."""
    examples = examples_of(sums(12), n=4)
    options = {"gradient_accumulation_steps": 2, "learning_rate": 1e-3}
    shared = run(base, tmp_path / "shared", examples=examples, **options)
    padded = run(base, tmp_path / "padded", examples=examples, shared_prompt=False, **options)
    assert (record(shared)["shared_prompt"], record(padded)["shared_prompt"]) == (True, False)
    assert (record(shared)["padding_frac"], record(padded)["padding_frac"] > 0.1) == (0, True)
    assert record(shared)["tokens_read"] < record(padded)["tokens_read"]
    losses = [[point["loss"] for point in record(folder)["curve"]] for folder in (shared, padded)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert losses[0][-1] < losses[0][0]


@pytest.mark.slow
def test_three_hundred_steps_have_the_same_loss_curve_shared_as_padded(base, tmp_path):
    """Rounding does not grow into another training."""
    examples = examples_of(sums(12), n=4)
    options = {"max_steps": 300, "learning_rate": 1e-3, "logging_steps": 10}
    curves = [
        [
            point["loss"]
            for point in record(run(base, tmp_path / str(on), examples, shared_prompt=on, **options))["curve"]
        ]
        for on in (True, False)
    ]
    assert len(curves[0]) == 30
    assert curves[0] == pytest.approx(curves[1], rel=1e-2, abs=1e-3)
    assert curves[0][-1] < 0.5 * curves[0][0]


def test_mixed_precision_goes_with_a_tree(base, tmp_path):
    """bfloat16 autocast: the losses are those in float32 to its precision."""
    options = {"learning_rate": 1e-3, "logging_steps": 1, "use_cpu": True}
    half, full = (run(base, tmp_path / str(on), bf16=on, **options) for on in (True, False))
    assert (record(half)["tree"], record(full)["tree"]) == (True, True)
    losses = [[point["loss"] for point in record(folder)["curve"]] for folder in (half, full)]
    assert losses[0] == pytest.approx(losses[1], rel=2e-2)
    assert losses[0] != losses[1]


def test_accumulated_micro_batches_equal_one_large_one(base, tmp_path):
    """The token mean is over the optimizer step, whatever the cut; one rationale each, so that rows are the same."""
    examples = examples_of(sums(8), n=1) + examples_of(sums(8, "more"), n=3)[2::3]
    options = {"max_steps": 3, "rationales_per_problem": 1, "loader": "all", "optim": "sgd", "learning_rate": 0.1}
    whole = run(base, tmp_path / "whole", examples=examples, problems_per_step=16, **options)
    parts = run(base, tmp_path / "parts", examples=examples, problems_per_step=2, gradient_accumulation_steps=8,
                **options)  # fmt: skip
    first, second = weights(whole), weights(parts)
    assert all(torch.allclose(first[name], second[name], atol=1e-5) for name in first)


def test_the_same_seed_gives_the_same_student_and_another_does_not(base, tmp_path):
    """Bit for bit."""
    first, again = run(base, tmp_path / "a"), run(base, tmp_path / "b")
    assert same(first, again)
    assert not same(first, run(base, tmp_path / "c", seed=1))


def test_a_finished_student_is_not_trained_again(base, tmp_path):
    """Unless something it depends on has changed."""
    out = run(base, tmp_path / "s")
    stamp = (out / "model.safetensors").stat().st_mtime_ns
    run(base, out)
    assert (out / "model.safetensors").stat().st_mtime_ns == stamp
    run(base, out, learning_rate=1e-3)
    assert (out / "model.safetensors").stat().st_mtime_ns != stamp
    assert list(tmp_path.iterdir()) == [out]


def test_a_killed_training_goes_on_from_its_checkpoint_to_the_same_student(base, tmp_path, capfd):
    """SIGKILL in the middle of the second epoch; the result is that of an undisturbed training, bit for bit."""
    options = {"max_steps": 24, "save_steps": 4, "eval_steps": 4, "patience": 5, "dev": sums(3, "dev")}
    straight = run(base, tmp_path / "straight", **options)
    out = tmp_path / "killed"
    checkpoints = tmp_path / ".killed.partial" / "checkpoints"
    child = os.fork()
    if child == 0:
        try:
            run(base, out, **options)
        finally:
            os._exit(1)
    deadline = time.monotonic() + 60
    while not (checkpoints / "checkpoint-8").exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert checkpoints.exists()
    assert not out.exists()
    run(base, out, **options)
    assert "goes on from checkpoint-" in capfd.readouterr().err
    assert same(straight, out)
    kept = ("curve", "dev", "best_step", "target_tokens_seen", "steps", "ended")
    assert {key: record(straight)[key] for key in kept} == {key: record(out)[key] for key in kept}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["killed", "straight"]


def test_a_checkpoint_that_a_kill_left_unfinished_is_not_resumed_from(tmp_path):
    """The Trainer's state is written last."""
    for step, state in ((4, "{}"), (8, '{"global_st'), (12, None)):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        if state is not None:
            (folder / "trainer_state.json").write_text(state)
    assert last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-4")
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-4"]
    assert last_checkpoint(tmp_path / "nowhere") is None


def test_what_another_configuration_left_unfinished_is_not_resumed(base, tmp_path, capfd):
    """Its checkpoints are discarded."""
    partial = tmp_path / ".s.partial"
    (partial / "checkpoints" / "checkpoint-2").mkdir(parents=True)
    (partial / "fingerprint").write_text("another")
    run(base, tmp_path / "s")
    assert "goes on" not in capfd.readouterr().err


def test_the_dev_split_chooses_the_checkpoint_and_stops_early(base, tmp_path):
    """The curve is kept, with n, and the best step is the first of the best accuracy."""
    out = run(base, tmp_path / "s", max_steps=60, eval_steps=2, patience=3, learning_rate=1e-9, dev=sums(5, "dev"))
    found = record(out)
    assert [(point["step"], point["n"], point["n_unscored"]) for point in found["dev"]] == [
        (2, 5, 0), (4, 5, 0), (6, 5, 0), (8, 5, 0),
    ]  # fmt: skip
    assert (found["best_step"], found["steps"], found["ended"]) == (2, 8, "3 evaluations without a better one")
    assert found["dev"][0]["target_tokens"] < found["dev"][-1]["target_tokens"] == found["target_tokens_seen"]


def test_the_chosen_checkpoint_is_what_is_saved(base, tmp_path):
    """A learning rate that destroys the student later: the folder holds the weights of the best step."""
    options = {"max_steps": 8, "eval_steps": 4, "learning_rate": 1e-9, "dev": sums(5, "dev")}
    chosen = run(base, tmp_path / "chosen", **options)
    assert record(chosen)["best_step"] == 4
    straight = run(base, tmp_path / "straight", max_steps=8, learning_rate=1e-9)
    assert not same(chosen, straight)


def test_task_weights_need_exactly_the_tasks_of_the_examples(base, tmp_path):
    """A weight for a task that does not occur would silently do nothing."""
    with pytest.raises(ConfigError, match=r"train.task_weights: got \{'pot': 1.0\}; expected .* examples: cot"):
        run(base, tmp_path / "s", task_weights={"pot": 1.0})


def test_two_tasks_with_a_mean_each_can_be_learnt(base, tmp_path):
    """The longer one does not outweigh the other."""
    examples = examples_of(sums(6), n=2) + examples_of(sums(6), n=1, task="answer")
    out = run(base, tmp_path / "s", examples=examples, task_weights={"cot": 0.5, "answer": 0.5})
    assert record(out)["audit"]["tasks"] == {"cot": 12, "answer": 6}


def test_adapters_are_trained_on_a_tree(base, tmp_path):
    """The same student as on padded rows, with gradient checkpointing too."""
    student = StudentConfig(model=str(base), lora={"r": 4, "target_modules": ["q_proj", "v_proj"]})
    made = [
        run(base, tmp_path / str(n), student=student, max_steps=3, **options)
        for n, options in enumerate(({}, {"shared_prompt": False}, {"activation_checkpointing": True}))
    ]
    assert [record(folder)["tree"] for folder in made] == [True, False, True]
    first, *others = (weights(folder) for folder in made)
    assert all(torch.allclose(first[name], other[name], atol=1e-5) for other in others for name in first)


def test_lora_trains_adapters_and_saves_a_plain_student(base, tmp_path):
    """Merged into the weights; the adapter is kept beside them."""
    student = StudentConfig(model=str(base), lora={"r": 2, "target_modules": ["q_proj", "v_proj"]})
    out = run(base, tmp_path / "s", student=student, max_steps=4, eval_steps=2, dev=sums(3, "dev"))
    found = record(out)
    assert 0 < found["trained_parameters"] < found["parameters"] / 10
    assert found["shared_prompt"]
    assert (out / "adapter" / "adapter_config.json").is_file()
    before, after = weights(base), weights(out)
    assert set(before) == set(after)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert all("q_proj" in name or "v_proj" in name for name in changed)


def test_a_wrong_lora_argument_is_a_config_error(base, tmp_path):
    """By peft's own names."""
    with pytest.raises(ConfigError, match=r"student\.lora .*rank"):
        run(base, tmp_path / "s", student=StudentConfig(model=str(base), lora={"rank": 2}))


def test_gradient_checkpointing_shares_prompts_and_learns_the_same(base, tmp_path):
    """A tree keeps no cache; the weights after some steps are those without checkpointing."""
    plain, saving = (run(base, tmp_path / str(on), activation_checkpointing=on, max_steps=4) for on in (False, True))
    assert record(saving)["shared_prompt"]
    first, second = weights(plain), weights(saving)
    assert all(torch.allclose(first[name], second[name], atol=1e-5) for name in first)


def test_a_model_that_cannot_share_falls_back_to_padded_rows_and_says_so(tmp_path, capfd):
    """Once, with the reason: a recurrent one keeps no keys and values."""
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "state_size": 4}
    out = run(save_student(tmp_path / "base", "mamba", **sizes), tmp_path / "s", max_steps=2)
    said = capfd.readouterr().err
    assert said.count("prompts are not shared (MambaForCausalLM does not give the same loss over a shared cache)") == 1
    assert not record(out)["shared_prompt"]


def test_settings_without_effect_are_named(base, tmp_path, capfd):
    """Patience needs something to be patient about."""
    run(base, tmp_path / "s", patience=3, max_steps=1)
    assert "train.patience has no effect without a dev split" in capfd.readouterr().err


def test_a_loss_that_is_no_number_stops_the_training(base, tmp_path):
    """It does not go on to save a broken student."""
    with pytest.raises(StudentError, match=r"train: the loss is nan at step .*Lower learning_rate"):
        run(base, tmp_path / "s", learning_rate=1e30, max_steps=30, max_grad_norm=0, logging_steps=1)
    assert not (tmp_path / "s").exists()


def test_nothing_to_train_on_is_refused_before_anything_is_written(base, tmp_path):
    """One sentence."""
    with pytest.raises(StudentError, match="training examples: there are none"):
        run(base, tmp_path / "s", examples=[])
    assert list(tmp_path.iterdir()) == []


def test_examples_longer_than_the_context_are_left_out_and_counted(base, tmp_path):
    """The context is the model's own limit."""
    long = Example(id="long", prompt="Q: 1 A:", target=" 1" * 200, task="cot", group="long")
    out = run(base, tmp_path / "s", examples=[*examples_of(sums(4)), long], max_steps=1)
    assert (record(out)["audit"]["overlong"], record(out)["audit"]["max_length"]) == (1, 128)
    assert "| Left out as too long | 1 |" in (out / "README.md").read_text()


def test_a_student_from_scratch_gets_its_tokenizer_from_the_examples(base, tmp_path):
    """And can be loaded like any other."""
    config = {"model_type": "gpt2", "n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 64, "vocab_size": 300}
    out = run(base, tmp_path / "s", student=StudentConfig(model="scratch", config=config), max_steps=2)
    tokenizer = AutoTokenizer.from_pretrained(out)
    assert tokenizer.decode(tokenizer(" So the answer is: 7")["input_ids"]) == " So the answer is: 7"
    assert AutoModelForCausalLM.from_pretrained(out).config.vocab_size == len(tokenizer)


def test_a_t5_is_trained_and_asked_like_any_other(tmp_path):
    """A forced beginning, task weights, a dev split; loaded without potstill, it writes what it learnt."""
    base = save_student(tmp_path / "t5", "t5")
    mix = MixConfig(prefixes={"cot": " plus"}, prompt="Q: {question} A:")
    examples = [replace(e, target=" plus" + e.target, meta={"prefix": " plus"}) for e in examples_of(sums(4), n=2)]
    config = TrainConfig(
        **{**SHORT, "max_steps": 60, "eval_steps": 30, "learning_rate": 1e-2, "task_weights": {"cot": 1}}
    )
    dev = [replace(problem, split="dev") for problem in sums(4)]
    out = train(
        examples, config, student=StudentConfig(model=str(base)), out=tmp_path / "s", dev=dev, infer=ASK, mix=mix
    )
    found = record(out)
    assert (found["shared_prompt"], found["encoder_decoder"], found["audit"]["longest"]) == (True, True, 19)
    assert found["dev"][-1]["accuracy"] == 1.0
    assert "AutoModelForSeq2SeqLM" in (out / "README.md").read_text()
    tokenizer, model = AutoTokenizer.from_pretrained(out), AutoModelForSeq2SeqLM.from_pretrained(out)
    written = model.generate(**tokenizer("Q: 1 plus 7 A:", return_tensors="pt"), max_new_tokens=20, do_sample=False)
    [row] = infer(sums(2)[1:], out, InferConfig(paths={"cot": 1}, max_new_tokens=20))
    assert tokenizer.decode(written[0], skip_special_tokens=True) == f"plus {row.text}"
    assert row.text.endswith("So the answer is: 8")


def test_a_t5_trains_the_same_shared_as_padded(tmp_path):
    """The loss curve over several steps with accumulation."""
    base = save_student(tmp_path / "t5", "flan-t5")
    options = {"gradient_accumulation_steps": 2, "learning_rate": 1e-3, "examples": examples_of(sums(12), n=4)}
    both = [run(base, tmp_path / str(shared), shared_prompt=shared, **options) for shared in (True, False)]
    assert [record(folder)["shared_prompt"] for folder in both] == [True, False]
    losses = [[point["loss"] for point in record(folder)["curve"]] for folder in both]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def interrupted(*args, **kwargs):
    raise InterruptedError


def test_a_t5_goes_on_from_its_checkpoint(tmp_path, capfd):
    """What a kill left is taken up, to the same weights."""
    base = save_student(tmp_path / "t5", "t5")
    straight = run(base, tmp_path / "straight", max_steps=8, save_steps=4)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(InterruptedError):
        patch.setattr("potstill.students.training.write_student", interrupted)
        run(base, tmp_path / "killed", max_steps=8, save_steps=4)
    kept = tmp_path / ".killed.partial" / "checkpoints"
    shutil.rmtree(kept / "checkpoint-8")
    out = run(base, tmp_path / "killed", max_steps=8, save_steps=4)
    assert "goes on from checkpoint-4" in capfd.readouterr().err
    assert same(straight, out)


def test_adapters_are_placed_in_a_t5(tmp_path):
    """LoRA of an encoder-decoder, merged into a plain student in the end."""
    base = save_student(tmp_path / "t5", "t5")
    student = StudentConfig(model=str(base), lora={"r": 2, "target_modules": ["q", "v"]})
    out = run(base, tmp_path / "s", student=student, max_steps=2, eval_steps=1, dev=sums(2, "dev"))
    assert record(out)["shared_prompt"]
    assert 0 < record(out)["trained_parameters"] < record(out)["parameters"] / 5
    settings = json.loads((out / "adapter" / "adapter_config.json").read_text())
    assert settings["task_type"] == "SEQ_2_SEQ_LM"


@pytest.mark.parametrize("model_type", ["t5", "bart"])
def test_an_encoder_decoder_from_scratch_can_be_trained(tmp_path, model_type):
    """Its configuration needs no token ids."""
    sizes = {**PAIRS[model_type], "vocab_size": 300}
    config = {"model_type": model_type, **{k: v for k, v in sizes.items() if not k.endswith("token_id")}}
    out = run(None, tmp_path / "s", student=StudentConfig(model="scratch", config=config), max_steps=2)
    [row] = infer(sums(1), out, InferConfig(paths={"cot": 1}, max_new_tokens=4))
    assert row.finish in ("stop", "length")
    assert record(out)["encoder_decoder"]


def test_adapters_can_be_trained_on_quantized_weights(tmp_path):
    """QLoRA: the student that is saved is plain, and computes what the chosen checkpoint computed."""
    pytest.importorskip("bitsandbytes")
    base = save_student(tmp_path / "base", "llama", hidden_size=64, intermediate_size=128)
    student = StudentConfig(model=str(base), quantization="4bit", lora={"r": 4, "target_modules": "all-linear"})
    kept = {}

    def write(out, loaded, model, *rest, **options):
        kept["logits"] = model(torch.tensor([[5, 6, 7]])).logits.detach()
        write_student(out, loaded, model, *rest, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("potstill.students.training.write_student", write)
        out = run(base, tmp_path / "s", student=student, learning_rate=0.02, eval_steps=3, dev=sums(2, "dev"))
    found = record(out)
    assert (found["quantization"], found["shared_prompt"]) == ("4bit", True)
    assert 0 < found["trained_parameters"] < found["parameters"] / 2
    plain = AutoModelForCausalLM.from_pretrained(out)
    assert "quantization_config" not in json.loads((out / "config.json").read_text())
    assert torch.allclose(plain(torch.tensor([[5, 6, 7]])).logits, kept["logits"], atol=1e-3)
    assert {name: tensor.dtype for name, tensor in weights(out).items()} == dict.fromkeys(weights(base), torch.float32)
    assert "| Quantized while trained | 4 bit (NF4)" in (out / "README.md").read_text()
