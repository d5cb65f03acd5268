"""Opening students: what is wrong with a folder is said in one sentence."""

import json
from importlib.util import find_spec

import pytest
import torch
from tiny_students import make_tokenizer, save_student

from potstill.errors import ConfigError, MissingExtraError, StudentError
from potstill.recipe.students import StudentConfig
from potstill.students.loading import model_folder, open_student


def test_a_folder_gives_model_tokenizer_stop_tokens_and_context(tmp_path):
    """In evaluation mode and float32."""
    loaded = open_student(save_student(tmp_path / "base"))
    assert (loaded.name, loaded.stop_ids, loaded.context) == ("base", (2,), 128)
    assert (loaded.model.dtype, loaded.model.training, loaded.remedies) == (torch.float32, False, ())


def test_further_stop_tokens_come_from_the_generation_configuration(tmp_path):
    """An instruct model may end its turns with a token of its own."""
    folder = save_student(tmp_path)
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [9, 2]}))
    assert open_student(folder).stop_ids == (2, 9)


def test_a_missing_pad_token_is_put_right_and_said(tmp_path, capsys):
    """Padding carries no loss, so the end-of-sequence token serves."""
    folder = save_student(tmp_path / "base")
    make_tokenizer(pad_token=None).save_pretrained(folder)
    loaded = open_student(folder)
    assert loaded.tokenizer.pad_token == "</s>"
    assert "no pad token; '</s>' pads batches" in loaded.remedies[0]
    assert "base: the tokenizer has no pad token" in capsys.readouterr().err


def test_a_missing_stop_token_is_refused(tmp_path):
    """The student could not learn to stop."""
    folder = save_student(tmp_path / "base")
    make_tokenizer(eos_token=None).save_pretrained(folder)
    with pytest.raises(StudentError, match="student base: the tokenizer has no end-of-sequence token"):
        open_student(folder)


def test_a_folder_without_tokenizer_is_refused(tmp_path):
    """With what to do."""
    folder = save_student(tmp_path)
    for file in folder.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(StudentError, match=r"has no tokenizer .*save it there with save_pretrained"):
        open_student(folder)


def test_a_folder_that_is_no_model_is_refused(tmp_path):
    """Neither is a file, nor a path that does not exist."""
    with pytest.raises(StudentError, match=r"no config.json; expected a Hugging Face model folder"):
        open_student(tmp_path)
    with pytest.raises(StudentError, match="no such folder; give a Hugging Face model folder or name"):
        open_student(tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    with pytest.raises(StudentError, match="a file; give a Hugging Face model folder"):
        open_student(tmp_path / "file")


def test_damaged_weights_are_refused(tmp_path):
    """In one sentence, not a stack of foreign ones."""
    folder = save_student(tmp_path)
    (folder / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(StudentError, match="the model cannot be loaded: "):
        open_student(folder)


def test_a_tokenizer_larger_than_the_model_is_refused(tmp_path):
    """They do not belong together."""
    folder = save_student(tmp_path / "base")
    tokenizer = make_tokenizer()
    tokenizer.add_tokens(["new"])
    tokenizer.save_pretrained(folder)
    with pytest.raises(StudentError, match="student base: the tokenizer has 55 tokens, the model 54 embeddings"):
        open_student(folder)


SCRATCH = {"model_type": "llama", "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1,
           "num_attention_heads": 2, "num_key_value_heads": 2, "vocab_size": 300}  # fmt: skip


def test_scratch_learns_a_tokenizer_that_spells_everything():
    """Byte-level: also what it has never seen."""
    loaded = open_student(StudentConfig(model="scratch", config=SCRATCH), texts=lambda: ["a cat sat on a mat"] * 9)
    ids = loaded.tokenizer(" a zebra, 5 €")["input_ids"]
    assert loaded.tokenizer.decode(ids) == " a zebra, 5 €"
    assert loaded.model.get_input_embeddings().weight.shape[0] == len(loaded.tokenizer) <= 300
    assert loaded.stop_ids == (loaded.tokenizer.convert_tokens_to_ids("</s>"),)


def test_scratch_weights_come_from_the_seed_alone():
    """And the global random state is left as it was."""
    config = StudentConfig(model="scratch", config=SCRATCH)
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    one, same, other = (open_student(config, texts=lambda: ["a cat"], seed=seed).model for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    weights = [next(model.parameters()) for model in (one, same, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": None}, "'scratch' needs model_type"),
        ({"model_type": "llamma"}, "no llamma model can be made of it"),
        ({"vocab_size": 50}, "student.config.vocab_size: got 50; a byte-level tokenizer needs at least 259"),
    ],
)
def test_a_scratch_configuration_that_makes_no_model_is_refused(changes, message):
    """Before any training."""
    config = {key: value for key, value in {**SCRATCH, **changes}.items() if value is not None}
    with pytest.raises(ConfigError, match=message):
        open_student(StudentConfig(model="scratch", config=config), texts=lambda: ["a cat"])


def test_scratch_has_no_untrained_folder():
    """It exists only once it is trained."""
    with pytest.raises(StudentError, match="'scratch' has no untrained folder to ask"):
        model_folder(StudentConfig(model="scratch"))


@pytest.mark.parametrize("family", ["bert", "distilbert", "vit"])
def test_a_model_that_writes_no_text_is_refused(tmp_path, family):
    """Neither causal nor an encoder-decoder; said before it is loaded."""
    folder = save_student(tmp_path / "base")
    (folder / "config.json").write_text(json.dumps({"model_type": family}))
    with pytest.raises(StudentError, match=f"base: a model of type '{family}' writes no text; take a causal model"):
        open_student(folder)


def test_an_encoder_decoder_says_what_its_decoder_starts_with(tmp_path):
    """The start token, and the one that its configuration forces next; T5's relative positions have no end."""
    t5 = open_student(save_student(tmp_path / "t5", "t5"))
    assert (t5.starts, t5.context) == ((0,), None)
    folder = save_student(tmp_path / "bart", "bart")
    assert open_student(folder).starts == (2,)
    (folder / "generation_config.json").write_text(json.dumps({"decoder_start_token_id": 2, "forced_bos_token_id": 1}))
    bart = open_student(folder)
    assert (bart.starts, bart.context) == ((2, 1), 128)
    assert open_student(save_student(tmp_path / "llama")).starts == ()


def test_quantized_weights_need_bitsandbytes(tmp_path):
    """The message holds the command that installs it."""
    if find_spec("bitsandbytes") is not None:
        pytest.skip("it is installed; see test_training")
    student = StudentConfig(model=str(save_student(tmp_path)), quantization="4bit", lora={"r": 2})
    with pytest.raises(MissingExtraError, match=r"pip install 'potstill\[qlora\]'"):
        open_student(student)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (
            {"quantization": "4bit"},
            "4bit weights are not trained, and lora is not set; take a trained model with adapt",
        ),
        ({"quantization": "4bit", "lora": {"r": 2}, "model": "scratch"}, "scratch has no weights to keep"),
    ],
)
def test_quantized_weights_need_adapters(table, message):
    """They are frozen."""
    with pytest.raises(ValueError, match=message):
        StudentConfig(**table)
