"""Ask a student: greedy and sampled paths per problem, as rationales that the teacher's verification checks.

    problems ──render_prompt──► prompts ──decoding, or an endpoint──► Rationale (index 0 greedy, 1..k sampled)

Where kinds have prefixes, a path is made to begin with that of its kind, and the greedy path records how likely the
student would have begun so by itself (`meta["prefix_logprob"]`): that is how it routes itself. A student that was
chosen on both kinds also carries the margin between them (`meta["route_margin"]`), by which its surer text is taken.
Where both views of a chain of thought are asked for, the greedy path of each says how likely its answer was
(`meta["answer_logprob"]`); see `potstill.students.joining`.

A prompt that does not fit into the student's context is not cut: its row is recorded with a reason. Answers are read
and checked in `potstill.rationales.verification`, and voted on in `potstill.students.voting`.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from potstill.errors import ConfigError, require_extra
from potstill.rationales.ways import way_name
from potstill.recipe.students import InferConfig, MixConfig
from potstill.recipe.teachers import TeacherConfig
from potstill.records import Problem, Rationale, child_seed, content_id, rationale_from
from potstill.streams import Stream, map_concurrent
from potstill.students.cards import read_record
from potstill.students.loading import resolve_source
from potstill.students.rendering import prefix_of, render_prompt, views_asked
from potstill.students.showing import before_of, read_shown

if TYPE_CHECKING:
    from potstill.students.decoding import Path as Continuation
    from potstill.students.loading import Loaded
    from potstill.teachers.base import Request, Teacher

Done = Container[tuple[str, str, int]]
Progress = Callable[[Rationale], None]
"""Called with each path as it is written."""


@dataclass(frozen=True, slots=True)
class Ask:
    """The paths that are still wanted of one problem and kind."""

    problem: Problem
    kind: str
    prompt: str
    indices: tuple[int, ...]
    """0 is the greedy path."""
    prefix: str = ""
    """What the student is made to begin with, so that it writes this kind; not part of the path's text."""
    view: str | None = None
    is_rival: bool = False
    """Whether another view of the same problem is asked for, so that their answers' probabilities are compared."""

    @property
    def way(self) -> str:
        """The kind and its view."""
        return way_name(self.kind, self.view)


def infer(
    problems: Iterable[Problem],
    student: str | Path | TeacherConfig,
    config: InferConfig | None = None,
    *,
    mix: MixConfig | None = None,
    author: str | None = None,
    seed: int = 0,
    done: Done = (),
    stop: Sequence[str] = (),
    threads: int | None = None,
    device: str | None = None,
    progress: Progress | None = None,
    ledger: str | Path | None = None,
) -> Stream[Rationale]:
    """Return a student's paths for every problem, as they are written.

    Args:
        problems: Those to ask.
        student: A model folder or name, or an endpoint (its URL, or a `TeacherConfig`).
        mix: How prompts are rendered, as in training (default: what the student's folder says it was trained with).
        author: Whom the rationales name (default: the folder's name, the endpoint's model).
        seed: Of sampled paths; each (problem, kind, index) draws from its own stream.
        done: (problem id, way, index) of paths that exist already; a way is a kind, and its view where it has one.
        stop: Texts at which a path ends, beside the stop token; cut off the path.
        threads: CPU threads of torch (default: as they are set).
        device: Where a local student runs (default: a GPU if there is one).
        ledger: A file that keeps what an endpoint answers, and is asked first. Not the default: a student that was
            trained anew is mostly served under the name of the old one, whose answers the ledger would give.

    Raises:
        StudentError: The student cannot be loaded.
        TeacherError: The endpoint cannot be asked.
    """
    config, mix = config or InferConfig(), mix or mix_of(student)
    asks = list(plan_asks(problems, config, mix, done))
    endpoint = as_endpoint(student)
    if endpoint is not None:
        served = Endpoint(address=endpoint, config=config, chat=mix.format == "chat", author=author, seed=seed,
                          stop=tuple(stop), ledger=ledger)  # fmt: skip
        return Stream(lambda: _counted(served.paths(asks), progress))

    source = resolve_source(str(student))

    async def local() -> AsyncIterator[Rationale]:
        if not asks:
            return
        loaded = await asyncio.to_thread(open_for_asking, source, threads, device)
        left = threading.Event()
        rows = paths_of(loaded, asks, config, chat=mix.format == "chat", author=author or Path(str(student)).name,
                        seed=seed, stop=tuple(stop), is_stopped=left.is_set, margin=margin_of(source))  # fmt: skip
        try:
            async for rationale in _counted(_in_thread(rows), progress):
                yield rationale
        finally:
            left.set()

    return Stream(local)


def plan_asks(problems: Iterable[Problem], config: InferConfig, mix: MixConfig, done: Done = ()) -> Iterator[Ask]:
    """Yield what is to be asked: one path is greedy (index 0); more are sampled (1..k), beside the greedy if set."""
    shown = read_shown(config)
    for problem in problems:
        for kind, count in config.paths.items():
            wanted = [0] if count == 1 else [*([0] if config.greedy else []), *range(1, count + 1)]
            views = views_asked(config, mix, kind)
            for view in views:
                indices = tuple(i for i in wanted if (problem.id, way_name(kind, view), i) not in done)
                if indices:
                    before = before_of(problem, shown, mix, kind)
                    prompt, prefix = before + render_prompt(problem, mix, kind, view), prefix_of(kind, mix, view)
                    yield Ask(problem, kind, prompt, indices, prefix, view, is_rival=len(views) > 1)


def mix_of(student: str | Path | TeacherConfig) -> MixConfig:
    """Return how the prompts of a student's training were rendered; the default where its folder does not say."""
    table = (read_record(Path(student)) or {}).get("mix") if isinstance(student, str | Path) else None
    return MixConfig(**table) if isinstance(table, dict) else MixConfig()


def margin_of(student: str | Path) -> float | None:
    """Return the margin of the surer path that was fitted for the checkpoint of a student's folder, if one was."""
    record = read_record(Path(student)) or {}
    chosen = [point for point in record.get("dev", ()) if point.get("step") == record.get("best_step")]
    return chosen[-1].get("route_margin") if chosen else None


def as_endpoint(student: str | Path | TeacherConfig) -> TeacherConfig | None:
    """Return the endpoint that `student` names, or `None` if it is a model."""
    if isinstance(student, TeacherConfig):
        return student
    name = str(student)
    return TeacherConfig(base_url=name, model="student") if name.startswith(("http://", "https://")) else None


def paths_of(
    loaded: Loaded,
    asks: Sequence[Ask],
    config: InferConfig,
    *,
    chat: bool,
    author: str,
    seed: int = 0,
    stop: tuple[str, ...] = (),
    is_stopped: Callable[[], bool] = lambda: False,
    margin: float | None = None,
) -> Iterator[list[Rationale]]:
    """Yield the paths of a loaded student, a problem's at a time; prompts that do not fit come first."""
    from potstill.students.decoding import Prompt, generate
    from potstill.students.encoding import encode_prefix, encode_prompt, opened_thought
    from potstill.students.joining import answer_logprob
    from potstill.students.routing import prefix_logprobs

    request = content_id("infer", author, config.temperature, config.top_p, config.max_new_tokens, seed, chat, stop)
    lead = opened_thought(loaded.tokenizer) if chat else ""
    fitting = []
    for ask in asks:
        prompt = encode_prompt(ask.prompt, loaded.tokenizer, chat=chat, apart=bool(loaded.starts))
        prefix = encode_prefix(ask.prefix, loaded.tokenizer)
        ids, begin = (prompt, (*loaded.starts, *prefix)) if loaded.starts else ([*prompt, *prefix], ())
        reason = refusal(max(len(ids), len(begin)), loaded.context)
        if reason is None:
            seeds = tuple(_path_seed(ask, index, seed) for index in ask.indices)
            fitting.append((ask, Prompt(ids, seeds, begin), len(prompt) + len(prefix)))
            continue
        yield [_rationale(ask, i, author, request, text="", finish="error", reason=reason) for i in ask.indices]
    prompts = [prompt for _, prompt, _ in fitting]
    routes = prefix_logprobs(loaded, [ask for ask, _, _ in fitting], chat=chat, batch_tokens=config.batch_tokens)
    settings = settings_of(loaded, config, stop, is_stopped)
    settings = replace(settings, keeps_logprobs=any(ask.is_rival for ask, _, _ in fitting))
    for number, written in generate(loaded.model, prompts, settings):
        ask, _, prompt_tokens = fitting[number]
        route = {"prefix_logprob": routes.get((ask.problem.id, ask.kind)), "route_margin": margin}
        rows = []
        for place, path in written:
            text, finish = text_of(path, loaded, stop, lead=lead)
            usage = {"prompt_tokens": prompt_tokens, "completion_tokens": path.n_tokens}
            values = {"text": text, "finish": finish, "logprob": path.logprob, "usage": usage}
            if ask.is_rival:
                route["answer_logprob"] = answer_logprob(path, loaded.tokenizer)
            rows.append(_rationale(ask, ask.indices[place], author, request, route=route, **values))
        yield rows


def refusal(prompt_tokens: int, context: int | None) -> str | None:
    """Return why a prompt cannot be asked, or `None`."""
    if prompt_tokens == 0:
        return "the prompt has no tokens"
    if context is not None and prompt_tokens >= context:
        return f"prompt_too_long: {prompt_tokens} tokens, the student's context holds {context}"
    return None


def open_for_asking(student: str, threads: int | None = None, device: str | None = None) -> Loaded:
    """Return a loaded student where it is to run: on a GPU if there is one and nothing else is said."""
    require_extra("torch", "train")
    import torch

    from potstill.students.loading import open_student

    if threads is not None:
        torch.set_num_threads(threads)
    loaded = open_student(student)
    loaded.model.to(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    return loaded


def _path_seed(ask: Ask, index: int, seed: int) -> int | None:
    return None if index == 0 else child_seed("path", seed, ask.problem.id, ask.way, index)


def settings_of(loaded: Loaded, config: InferConfig, stop: tuple[str, ...], is_stopped: Callable[[], bool]) -> Any:
    """Return how a loaded student's paths are drawn and where they end."""
    from potstill.students.decoding import Settings

    def ends(ids: Sequence[int]) -> bool:
        text = loaded.tokenizer.decode(ids, skip_special_tokens=True)
        return any(mark in text for mark in stop)

    return Settings(
        stop_ids=loaded.stop_ids,
        max_new_tokens=config.max_new_tokens,
        temperature=config.temperature,
        top_p=config.top_p,
        context=loaded.context,
        batch_tokens=config.batch_tokens,
        is_stopped=is_stopped,
        ends=ends if stop else None,
    )


def text_of(path: Continuation, loaded: Loaded, stop: tuple[str, ...], *, lead: str = "") -> tuple[str, str]:
    """Return a path's text, cut at the first stop text, and its finish.

    Args:
        lead: The beginning of a thought that its prompt ended with; without it the thought would be read as an answer.
    """
    from potstill.students.encoding import spelled

    text = spelled(list(path.ids), loaded.tokenizer)
    cut = min((at for mark in stop if (at := text.find(mark)) >= 0), default=None)
    return (lead + text, path.finish) if cut is None else (lead + text[:cut], "stop")


def _rationale(
    ask: Ask, index: int, author: str, request: str, *, route: Mapping[str, float | None] | None = None, **values: Any
) -> Rationale:
    meta: dict[str, Any] = {"path": "greedy" if index == 0 else "sampled"}
    if route is not None and index == 0:
        meta |= {key: value for key, value in route.items() if value is not None}
    row = {"problem_id": ask.problem.id, "kind": ask.kind, "view": ask.view, "author": author, "index": index}
    row["request"] = request
    return replace(rationale_from({**row, **values, "meta": meta}), problem=ask.problem)


async def _in_thread(parts: Iterator[list[Rationale]]) -> AsyncIterator[Rationale]:
    """Yield from a blocking iterator of lists whose work is done in a thread."""
    while (rows := await asyncio.to_thread(next, parts, None)) is not None:
        for row in rows:
            yield row


async def _counted(rows: AsyncIterator[Rationale], progress: Progress | None) -> AsyncIterator[Rationale]:
    async for row in rows:
        if progress is not None:
            progress(row)
        yield row


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A student that is served somewhere, and how it is asked."""

    address: TeacherConfig
    config: InferConfig
    chat: bool
    author: str | None
    seed: int
    stop: tuple[str, ...]
    ledger: str | Path | None = None

    async def paths(self, asks: Sequence[Ask]) -> AsyncIterator[Rationale]:
        """Yield the paths over the teacher's protocol; a failed row carries its reason."""
        from potstill.teachers.base import open_teacher
        from potstill.teachers.ledger import Ledger

        async with AsyncExitStack() as stack:
            ledger = stack.enter_context(Ledger(self.ledger)) if self.ledger is not None else None
            teacher = await stack.enter_async_context(open_teacher(self.address, ledger=ledger, seed=self.seed))
            limit = self.address.max_concurrency
            async for rows in map_concurrent(lambda ask: self._ask(teacher, ask), asks, limit):
                for row in rows:
                    yield row

    async def _ask(self, teacher: Teacher, ask: Ask) -> list[Rationale]:
        sampled = [index for index in ask.indices if index > 0]
        plans = [([0], 0.0)] if 0 in ask.indices else []
        plans += [(sampled, self.config.temperature)] if sampled else []
        rows = []
        for indices, temperature in plans:
            for completion in await teacher.complete(self._request(ask, temperature), indices):
                values = {name: getattr(completion, name) for name in ("text", "finish", "reason", "logprob")}
                values |= {"usage": dict(completion.usage), "reasoning_content": completion.reasoning_content}
                author = self.author or teacher.author
                rows.append(_rationale(ask, completion.index, author, completion.request or "", **values))
        return rows

    def _request(self, ask: Ask, temperature: float) -> Request:
        from potstill.teachers.base import Request, with_extra_body

        if self.chat and ask.prefix:
            message = (
                f"mix.prefixes.{ask.kind}: a chat endpoint cannot be made to begin its answer with {ask.prefix!r}; "
                "give each kind a prompt of its own (mix.prompts), or serve plain completions"
            )
            raise ConfigError(message)
        asked = (
            {"messages": ({"role": "user", "content": ask.prompt},)}
            if self.chat
            else {"prompt": ask.prompt + ask.prefix}
        )
        request = Request(
            model=self.address.model,
            **asked,  # type: ignore[arg-type]
            temperature=temperature,
            top_p=self.config.top_p if temperature > 0 else None,
            max_tokens=self.config.max_new_tokens,
            stop=(*self.address.stop, *self.stop),
            seed=None if temperature == 0 else child_seed("endpoint", self.seed, ask.problem.id, ask.way),
            logprobs=self.address.logprobs,
            problem_id=ask.problem.id,
            kind=ask.kind,
        )
        return with_extra_body(request, self.address)
