"""A teacher in this process: a Hugging Face model that is asked in batches, through the ledger like any other.

    requests that wait together ──prompts──► decoding: each prompt read once for all its samples ──► replies

A chat template is used where the model has one. Every sample draws from its own stream of random numbers, so it does
not depend on what it was batched with (but for float rounding), and a run that is resumed gives the same texts. The
model is loaded when the first text is asked for: a run that finds everything in the ledger loads none.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from potstill.errors import ConfigError, RefusedError, StudentError, TeacherError, boundary, require_extra
from potstill.records import child_seed
from potstill.streams import Gathering
from potstill.teachers.base import Request
from potstill.teachers.responses import Choice, Failure, Reply, read_finish

if TYPE_CHECKING:
    from potstill.recipe.teachers import TeacherConfig
    from potstill.students.decoding import Path as Continuation
    from potstill.students.decoding import Prompt
    from potstill.students.loading import Loaded

TOGETHER = 256
"""Prompts that may wait together; how many are read at a time is decided by their length."""
ALL_CHOICES = 1_000_000
"""All samples of a problem are asked for at once: its prompt is read once for them."""
QUIET_S = 0.02
UNCAPPED = 4096
"""Most tokens of a completion without a cap, of a model that declares no context."""
PARTS = ("config.json", "generation_config.json", "tokenizer*", "vocab*", "merges*", "*chat_template*", "*.safetensors",
         "*.bin")  # fmt: skip
"""Files of a model's folder that decide what it says."""
WINDOWS, WINDOW_BYTES = 64, 1 << 16
"""Of a large file, so many evenly spaced windows are hashed: training changes weights everywhere."""


def settled(config: TeacherConfig) -> TeacherConfig:
    """Return a local teacher's configuration as it is asked: its name, its API, all samples of a problem at once."""
    assert config.local is not None, "only a local teacher is settled"
    known: dict[str, Any] = {"n": ALL_CHOICES, "max_concurrency": TOGETHER, "model": config.model or config.author}
    if config.api is None:
        known["api"] = "chat" if has_chat_template(config.local) else "completions"
    return config.model_copy(update=known)


def model_source(name: str) -> str:
    """Return the folder or hub name to load from.

    Raises:
        ConfigError: A path that does not hold a model; a name on the hub is believed until it is loaded.
    """
    from potstill.students.loading import resolve_source

    try:
        return resolve_source(name)
    except StudentError as error:
        message = f"teachers.local: {str(error).removeprefix('student ')}"
        raise ConfigError(message) from error


def ledger_name(name: str) -> str:
    """Return what a model is known by in the ledger's keys: a folder by its content, a name on the hub by itself."""
    folder = Path(model_source(name))
    if not folder.is_dir():
        return f"local:{name}"
    files = sorted({file for pattern in PARTS for file in folder.glob(pattern) if file.is_file()})
    stamps = tuple((str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files)
    return f"local:{_content_hash(stamps)}"


@cache
def _content_hash(stamps: tuple[tuple[str, int, int], ...]) -> str:
    """Return a hash over files; the times in `stamps` only say when to take it anew."""
    digest = hashlib.sha256()
    for name, size, _ in stamps:
        digest.update(f"{Path(name).name} {size}\n".encode())
        step = max(WINDOW_BYTES, size // WINDOWS)
        with Path(name).open("rb") as file:
            for at in range(0, size, step):
                file.seek(at)
                digest.update(file.read(WINDOW_BYTES))
            file.seek(max(0, size - WINDOW_BYTES))
            digest.update(file.read())
    return digest.hexdigest()[:32]


@cache
def has_chat_template(name: str) -> bool:
    """Whether a model's tokenizer has a chat template; of a name on the hub the tokenizer is loaded to know."""
    from potstill.recipe.students import StudentConfig
    from potstill.students.loading import load_tokenizer

    require_extra("transformers", "train")
    return load_tokenizer(model_source(name), StudentConfig(model=name)).chat_template is not None


@dataclass(frozen=True, slots=True)
class Call:
    """One request for some of its samples."""

    request: Request
    indices: tuple[int, ...]


class LocalModel:
    """A model in this process as a way to ask it; its state is the model, once loaded."""

    def __init__(self, config: TeacherConfig) -> None:
        assert config.local is not None, "made for a local teacher"
        self.address = f"local:{config.author}"
        self._source = config.local
        self._loaded: Loaded | None = None
        self._left = threading.Event()
        self._calls: Gathering[Call, Reply | Failure] = Gathering(self._answer, quiet_s=QUIET_S, most=TOGETHER)

    def __repr__(self) -> str:
        return f"LocalModel({self._source!r})"

    def prepare(self, request: Request) -> str:
        """Return the prompt as text."""
        return json.dumps(request.prompt if request.prompt is not None else [dict(m) for m in request.messages])

    async def send(self, request: Request, head: str, indices: Sequence[int]) -> Reply | Failure:
        """Return a choice per index, written together with what else is asked for at the moment."""
        return await self._calls.ask(Call(request, tuple(indices)))

    def refused(self, failure: Failure, request: Request) -> RefusedError:
        """Return the error of a request that the model cannot serve."""
        return RefusedError(f"teacher {self.address}: {failure.message}; change the request or the model")

    def unreachable(self, failure: Failure) -> TeacherError:
        """Return the error of a model that cannot be used."""
        return TeacherError(f"teacher {self.address}: {failure.message}; choose another model")

    async def aclose(self) -> None:
        """Stop writing, and free the model."""
        self._left.set()
        await self._calls.aclose()
        self._loaded = None

    async def _answer(self, calls: list[Call]) -> AsyncIterator[tuple[int, Reply | Failure]]:
        """Yield the number of each call with its reply, as batches finish."""
        with boundary(TeacherError, f"teacher {self.address}: writing failed"):
            if self._loaded is None:
                self._loaded = await asyncio.to_thread(_open, self._source)
            replies = self._write(self._loaded, calls)
            while (found := await asyncio.to_thread(next, replies, None)) is not None:
                yield found

    def _write(self, loaded: Loaded, calls: list[Call]) -> Iterator[tuple[int, Reply | Failure]]:
        """Yield replies; calls with the same sampling parameters are written together."""
        groups: dict[Any, list[int]] = {}
        for number, call in enumerate(calls):
            r = call.request
            groups.setdefault((r.temperature, r.top_p, r.cap, r.stop), []).append(number)
        for numbers in groups.values():
            yield from self._write_alike(loaded, calls, numbers)

    def _write_alike(
        self, loaded: Loaded, calls: list[Call], numbers: list[int]
    ) -> Iterator[tuple[int, Reply | Failure]]:
        from potstill.students.decoding import generate

        fitting: list[tuple[int, Prompt]] = []
        for number in numbers:
            prompt = prompt_of(calls[number], loaded)
            if isinstance(prompt, Failure):
                yield number, prompt
            else:
                fitting.append((number, prompt))
        paths: list[dict[int, Continuation]] = [{} for _ in fitting]
        settings = _settings(loaded, calls[numbers[0]].request, self._left)
        for at, written in generate(loaded.model, [prompt for _, prompt in fitting], settings):
            paths[at] |= dict(written)
            number, prompt = fitting[at]
            if len(paths[at]) == len(prompt.seeds):  # a prompt with many samples comes in parts
                ordered = [paths[at][place] for place in range(len(prompt.seeds))]
                yield number, reply_of(ordered, len(prompt.ids), loaded, calls[number].request)


def prompt_of(call: Call, loaded: Loaded) -> Prompt | Failure:
    """Return a request's tokens with the seeds of its samples, or why it cannot be asked."""
    from potstill.students.decoding import Prompt
    from potstill.students.encoding import encode_prompt
    from potstill.students.inference import refusal

    request = call.request
    if request.prompt is None:
        text = chat_text(request, loaded.tokenizer)
        ids = list(loaded.tokenizer(text, add_special_tokens=False)["input_ids"])
    else:
        ids = encode_prompt(request.prompt, loaded.tokenizer, apart=bool(loaded.starts))
    reason = refusal(len(ids), loaded.context)
    if reason is not None:
        return Failure("row", "context_length", reason)
    return Prompt(ids, tuple(_seed(request, index) for index in call.indices), loaded.starts)


def chat_text(request: Request, tokenizer: Any) -> str:
    """Return a chat request as the text that the model's own template makes of it, up to where the answer begins."""
    options = dict(request.extra.get("chat_template_kwargs") or {})
    messages = [dict(message) for message in request.messages]
    with boundary(TeacherError, "teacher: its chat template cannot hold the messages; set api: completions"):
        return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, **options))


def reply_of(paths: Sequence[Continuation], prompt_tokens: int, loaded: Loaded, request: Request) -> Reply:
    """Return what was written as a reply, with exact token counts."""
    choices = tuple(_choice(path, loaded, request.stop) for path in paths)
    return Reply(choices, {"prompt_tokens": prompt_tokens, "completion_tokens": sum(path.n_tokens for path in paths)})


def _choice(path: Continuation, loaded: Loaded, stop: tuple[str, ...]) -> Choice:
    from potstill.students.encoding import spelled
    from potstill.students.rendering import split_think

    text, ended = spelled(list(path.ids), loaded.tokenizer), str(path.finish)
    cut = min((at for mark in stop if (at := text.find(mark)) >= 0), default=None)
    if cut is not None:
        text, ended = text[:cut], "stop"
    reasoning, text = split_think(text)
    finish, reason = read_finish(ended, None, text, reasoning)
    return Choice(text, finish, reason, reasoning, path.logprob, path.n_tokens)


def _seed(request: Request, index: int) -> int | None:
    """Return the seed of one sample, `None` for the greedy text.

    The prompt is part of it: under one seed for all, the i-th samples of all problems would be drawn alike.
    """
    if request.temperature == 0:
        return None
    return child_seed("local", request.seed, request.prompt, [dict(message) for message in request.messages], index)


def _settings(loaded: Loaded, request: Request, left: threading.Event) -> Any:
    from potstill.students.decoding import Settings

    def ends(ids: Sequence[int]) -> bool:
        text = loaded.tokenizer.decode(ids, skip_special_tokens=True)
        return any(mark in text for mark in request.stop)

    return Settings(
        stop_ids=loaded.stop_ids,
        max_new_tokens=request.cap or loaded.context or UNCAPPED,
        temperature=1.0 if request.temperature is None else request.temperature,
        top_p=1.0 if request.top_p is None else request.top_p,
        context=loaded.context,
        is_stopped=left.is_set,
        ends=ends if request.stop else None,
    )


def _open(source: str) -> Loaded:
    require_extra("torch", "train")
    import torch

    from potstill.students.loading import open_student

    loaded = open_student(source)
    loaded.model.to("cuda" if torch.cuda.is_available() else "cpu")  # type: ignore[arg-type]
    return loaded
