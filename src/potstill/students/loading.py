"""Open a student: model and tokenizer from a folder, a name, the miniature, or from scratch.

Everything that can be wrong with a student folder is found here, each with one `StudentError`. Nothing here trains or
generates. torch and transformers are imported when a function runs.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from potstill.errors import ConfigError, StudentError, boundary, require_extra, shorten
from potstill.messages import say
from potstill.recipe.students import StudentConfig

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

MINIATURE = Path(__file__).resolve().parent.parent / "miniature" / "base"
CONTEXT_NAMES = ("max_position_embeddings", "n_positions", "max_sequence_length", "seq_length", "n_ctx")
PARTS = (
    (("*.safetensors", "*.bin"), "weights (no model.safetensors)"),
    (("tokenizer*", "vocab.*"), "tokenizer (no tokenizer.json)"),
)
"""What a model folder holds beside its configuration: file patterns, and their name in a message."""
SCRATCH_SPECIALS = ("<pad>", "<s>", "</s>")


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model with what generation and training need to know of it."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    name: str
    """How the base is called in a model card."""
    stop_ids: tuple[int, ...]
    """Tokens that end a text; the first is the tokenizer's own end of sequence."""
    context: int | None
    """Longest prompt + continuation in tokens, of an encoder-decoder each apart; `None`: no limit is declared."""
    remedies: tuple[str, ...] = field(default=())
    """What was put right on loading."""
    starts: tuple[int, ...] = ()
    """What the decoder of an encoder-decoder starts with; empty: the model is causal."""


def open_student(
    student: StudentConfig | str | Path, *, texts: Callable[[], Iterable[str]] | None = None, seed: int = 0
) -> Loaded:
    """Return model and tokenizer, checked and in evaluation mode, on the CPU.

    Args:
        student: A configuration, or the folder or name of a model.
        texts: The training texts, from which `scratch` makes its tokenizer.
        seed: Of the initial weights of `scratch`.

    Raises:
        StudentError: The folder is not a model's, has no tokenizer, or its tokenizer has no end-of-sequence token.
        ConfigError: `scratch` with a configuration that makes no model.
    """
    require_extra("torch", "train")
    require_extra("transformers", "train")
    config = student if isinstance(student, StudentConfig) else StudentConfig(model=str(student))
    if config.model == "scratch":
        model, tokenizer = make_scratch(config, texts() if texts else (), seed)
        name = "scratch"
    else:
        source = resolve_source(config.model)
        local = Path(source).name if Path(source).is_dir() else source
        name = "the embedded miniature" if config.model == "miniature" else local
        tokenizer = load_tokenizer(source, config)
        with quiet_bars():
            model = load_model(source, config)
    remedies = repair_tokenizer(tokenizer, name)
    require_fitting(model, tokenizer, name)
    model.eval()
    starts = decoder_starts(model, name)
    return Loaded(model, tokenizer, name, stop_ids(model, tokenizer), context_length(model), remedies, starts)


def resolve_source(name: str) -> str:
    """Return the folder or hub name to load from; a path that does not hold a model is refused here."""
    path = MINIATURE if name == "miniature" else Path(name).expanduser()
    if name == "miniature" and not path.is_dir():
        message = "student.model: 'miniature': the embedded student is not in this installation; re-install potstill"
        raise StudentError(message)
    if path.is_dir():
        if not (path / "config.json").is_file():
            message = (
                f"student {path}: no config.json; expected a Hugging Face model folder: config, weights, tokenizer"
            )
            raise StudentError(message)
        for patterns, what in PARTS:
            if not any(found for pattern in patterns for found in path.glob(pattern)):
                message = f"student {path}: has no {what} beside config.json; save it there with save_pretrained"
                raise StudentError(message)
        return str(path)
    if path.exists() or name.count("/") > 1 or name.startswith((".", "/", "~")):
        found = "a file" if path.exists() else "no such folder"
        message = f"student {name}: {found}; give a Hugging Face model folder or name, 'miniature' or 'scratch'"
        raise StudentError(message)
    return name


def model_folder(student: StudentConfig) -> str:
    """Return the folder or name that `infer` takes for a student as it is, untrained.

    Raises:
        StudentError: There is none: a student from scratch exists only once it is trained.
    """
    if student.model == "scratch":
        message = "student.model: 'scratch' has no untrained folder to ask; train it, or give a folder or name"
        raise StudentError(message)
    return resolve_source(student.model)


@contextmanager
def quiet_bars() -> Iterator[None]:
    """Keep transformers' own progress bars off standard error for a while."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def load_tokenizer(source: str, config: StudentConfig) -> PreTrainedTokenizerBase:
    """Return the tokenizer of a model folder or name."""
    from transformers import AutoTokenizer

    with boundary(StudentError, f"student {source}: the tokenizer cannot be loaded"):
        return AutoTokenizer.from_pretrained(source, trust_remote_code=config.trust_remote_code)


def load_model(source: str, config: StudentConfig) -> PreTrainedModel:
    """Return the causal or encoder-decoder model of a folder or name."""
    import torch

    dtype = config.dtype if config.dtype == "auto" else getattr(torch, config.dtype)
    made_by = model_class(read_config(source, config), source)
    more = {} if config.quantization is None else {"quantization_config": quantized(config)}
    with boundary(StudentError, f"student {source}: the model cannot be loaded"):
        return made_by.from_pretrained(source, dtype=dtype, trust_remote_code=config.trust_remote_code, **more)


def quantized(config: StudentConfig) -> Any:
    """Return how bitsandbytes is to hold the weights: NF4 with double quantization, computed in the model's own type.

    Raises:
        MissingExtraError: bitsandbytes is not installed.

    Source: Dettmers et al. 2023, arXiv:2305.14314, section 3.
    """
    require_extra("bitsandbytes", "qlora")
    import torch
    from transformers import BitsAndBytesConfig

    compute = torch.bfloat16 if config.dtype == "auto" else getattr(torch, config.dtype)
    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=compute
    )


def merged(model: Any, adapter: Path) -> Any:
    """Return a plain model of one with adapters, which lie saved in `adapter`.

    Adapters on quantized weights are merged into what these weights stand for: the student computes what was trained
    and chosen, where merging into 4 bits would round it.
    """
    if not getattr(model.get_base_model(), "is_quantized", False):
        return model.merge_and_unload()
    from peft import PeftModel

    plain = model.unload().dequantize()
    with _quiet_peft():
        return PeftModel.from_pretrained(plain, str(adapter)).merge_and_unload()


def read_config(source: str, config: StudentConfig) -> Any:
    """Return the configuration of the model in a folder or of a name."""
    from transformers import AutoConfig

    with boundary(StudentError, f"student {source}: its configuration cannot be read"):
        return AutoConfig.from_pretrained(source, trust_remote_code=config.trust_remote_code)


def model_class(settings: Any, name: str) -> Any:
    """Return the class of transformers that makes a student of a model's configuration.

    Raises:
        StudentError: The model neither goes on with a text nor writes one after reading another (BERT, say).
    """
    from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM
    from transformers.models.auto import modeling_auto

    kind, own = settings.model_type, getattr(settings, "auto_map", None) or {}
    pairs, causal = (
        modeling_auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES, modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    )  # fmt: skip
    # BERT and its kin are listed as causal for those who make decoders of them.
    masked = kind in modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES and not getattr(settings, "is_decoder", False)
    if settings.is_encoder_decoder and (kind in pairs or "AutoModelForSeq2SeqLM" in own):
        return AutoModelForSeq2SeqLM
    if not settings.is_encoder_decoder and ((kind in causal and not masked) or "AutoModelForCausalLM" in own):
        return AutoModelForCausalLM
    message = (
        f"student {name}: a model of type {kind!r} writes no text; take a causal model (Llama, Qwen, OPT, GPT-2 …) or "
        "an encoder-decoder (T5, FLAN-T5, BART …)"
    )
    raise StudentError(message)


def decoder_starts(model: PreTrainedModel, name: str) -> tuple[int, ...]:
    """Return the tokens that the decoder of an encoder-decoder starts with; none for a causal model.

    Raises:
        StudentError: Its configuration names no start token.
    """
    if not model.config.is_encoder_decoder:
        return ()
    start = _configured(model, "decoder_start_token_id")
    start = _configured(model, "bos_token_id") if start is None else start
    if start is None:
        message = f"student {name}: its configuration has no decoder_start_token_id; set it in config.json"
        raise StudentError(message)
    forced = _configured(model, "forced_bos_token_id")
    return (int(start),) if forced is None else (int(start), int(forced))


def _configured(model: PreTrainedModel, name: str) -> Any:
    value = getattr(model.generation_config, name, None)
    return getattr(model.config, name, None) if value is None else value


def plain_generation(loaded: Loaded) -> Any:
    """Return a generation configuration with the student's marks and nothing else.

    A student does not inherit the sampling defaults and penalties of its base.
    """
    from transformers import GenerationConfig

    stops, starts, tokenizer = list(loaded.stop_ids), dict(enumerate(loaded.starts)), loaded.tokenizer
    return GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=stops if len(stops) > 1 else stops[0],
        pad_token_id=tokenizer.pad_token_id,
        decoder_start_token_id=starts.get(0),
        forced_bos_token_id=starts.get(1),
    )


def make_scratch(
    config: StudentConfig, texts: Iterable[str], seed: int
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Return a freshly initialised model and a byte-level BPE tokenizer learnt from the training texts."""
    import torch

    scratch_config(config)
    tokenizer = train_tokenizer(texts, int(config.config.get("vocab_size", 4096)))
    own = {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id}
    own |= {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    made = scratch_config(config, **own)
    if made.is_encoder_decoder and getattr(made, "decoder_start_token_id", None) is None:
        made.decoder_start_token_id = tokenizer.pad_token_id  # as T5 does
    where = f"student.config: no {made.model_type} model can be made of it"
    with boundary(ConfigError, where), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = model_class(made, "scratch").from_config(made)
    return model.to(torch.float32 if config.dtype == "auto" else getattr(torch, config.dtype)), tokenizer


def scratch_config(config: StudentConfig, **own: Any) -> Any:
    """Return the configuration of a model from scratch; `own` goes over what the recipe says.

    Raises:
        ConfigError: It names no kind of model, or transformers does not accept it.
        StudentError: A model of this kind writes no text.
    """
    from transformers import AutoConfig

    settings = {**config.config, **own}
    model_type = settings.pop("model_type", None)
    if model_type is None:
        message = "student.config: 'scratch' needs model_type and sizes, e.g. {model_type: llama, hidden_size: 256, …}"
        raise ConfigError(message)
    with boundary(ConfigError, f"student.config: no {model_type} model can be made of it"):
        made = AutoConfig.for_model(model_type, **settings)
    model_class(made, "scratch")
    return made


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> PreTrainedTokenizerBase:
    """Return a byte-level BPE tokenizer learnt from `texts`; it can spell any text, seen or not.

    Raises:
        StudentError: There is no text, or `vocab_size` does not hold the 256 bytes and 3 special tokens.
    """
    from tokenizers import ByteLevelBPETokenizer
    from tokenizers.pre_tokenizers import Digits
    from tokenizers.pre_tokenizers import Sequence as InTurn
    from transformers import PreTrainedTokenizerFast

    texts = list(texts)
    if not texts:
        message = "student 'scratch': no training texts to make a tokenizer of; train on at least one example"
        raise StudentError(message)
    if vocab_size < 256 + len(SCRATCH_SPECIALS):
        least = 256 + len(SCRATCH_SPECIALS)
        message = f"student.config.vocab_size: got {vocab_size}; a byte-level tokenizer needs at least {least}"
        raise ConfigError(message)
    bpe = ByteLevelBPETokenizer()
    core = bpe._tokenizer
    # Each digit is a token of its own: a number that training never showed is read and written like any other.
    core.pre_tokenizer = InTurn([Digits(individual_digits=True), core.pre_tokenizer])
    bpe.train_from_iterator(
        texts, vocab_size=vocab_size, min_frequency=2, special_tokens=list(SCRATCH_SPECIALS), show_progress=False
    )
    pad, bos, eos = SCRATCH_SPECIALS
    return PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token=pad, bos_token=bos, eos_token=eos, clean_up_tokenization_spaces=False
    )


def repair_tokenizer(tokenizer: PreTrainedTokenizerBase, name: str) -> tuple[str, ...]:
    """Give a tokenizer without pad token its end-of-sequence token as one; return what was done.

    Raises:
        StudentError: There is no end-of-sequence token either: the student could not learn when to stop.
    """
    if tokenizer.eos_token_id is None:
        message = (
            f"student {name}: the tokenizer has no end-of-sequence token, so the student cannot learn to stop; "
            "set one that is in its vocabulary (tokenizer.eos_token = …) and save the tokenizer into the folder"
        )
        raise StudentError(message)
    if tokenizer.pad_token_id is not None:
        return ()
    tokenizer.pad_token = tokenizer.eos_token
    remedy = f"the tokenizer has no pad token; {tokenizer.eos_token!r} pads batches (padding carries no loss)"
    say("student", f"{name}: {remedy}")
    return (remedy,)


def require_fitting(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, name: str) -> None:
    """Raise `StudentError` unless every token has an embedding."""
    rows = model.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > rows:
        message = (
            f"student {name}: the tokenizer has {len(tokenizer)} tokens, the model {rows} embeddings; "
            "they do not belong together: resize the embeddings or take the model's own tokenizer"
        )
        raise StudentError(message)


def stop_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """Return the tokens that end a text: the tokenizer's, then those of the generation configuration."""
    listed = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    more: Sequence[int] = listed if isinstance(listed, list | tuple) else [] if listed is None else [listed]
    return tuple(dict.fromkeys([int(tokenizer.eos_token_id), *(int(token) for token in more)]))


def context_length(model: PreTrainedModel) -> int | None:
    """Return the longest sequence that the model's configuration declares, in tokens.

    Relative positions (T5) have no end; the 512 in those configurations is what the model was trained on.
    """
    config = model.config.get_text_config()
    if getattr(config, "relative_attention_num_buckets", None):
        return None
    lengths = [value for name in CONTEXT_NAMES if isinstance(value := getattr(config, name, None), int) and value > 0]
    return min(lengths) if lengths else None


@contextmanager
def _quiet_peft() -> Iterator[None]:
    """Keep a warning off standard error: peft asks transformers by a name that it is giving up."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield


def adapt(model: PreTrainedModel, settings: dict[str, Any]) -> Any:
    """Return the model with LoRA adapters; `settings` are arguments of peft's `LoraConfig`, by their own names.

    Raises:
        ConfigError: peft does not know an argument or cannot place the adapters.
    """
    require_extra("peft", "lora")
    from peft import LoraConfig, get_peft_model

    task = "SEQ_2_SEQ_LM" if model.config.is_encoder_decoder else "CAUSAL_LM"
    where = f"student.lora {shorten(json.dumps(settings, default=str), 80)}"
    with boundary(ConfigError, where), _quiet_peft():
        return get_peft_model(model, LoraConfig(**{"task_type": task, **settings}))
