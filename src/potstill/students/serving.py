"""A student as an OpenAI-compatible server on loopback, so that it can be asked, or teach, like any other endpoint.

    POST /v1/completions         goes on after the prompt, as it stands
    POST /v1/chat/completions    the messages through the student's chat template; a student that was trained without
                                 one reads the question of the last user message in its own prompt (`mix.prompt`)
    GET  /v1/models, /health

Requests that come at the same time are written in one batch, each prompt read once for its `n` paths. The same prompt,
seed and index give the same text, whatever else is in the batch (but for float rounding); temperature 0 is greedy, as
in `potstill infer`. With `paths` every answer is the student's vote: the text of a path of the winning answer.

Not served: streams, tools, penalties. Such a request is refused, never answered as if it had been heard.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from potstill.errors import StudentError, boundary, shorten
from potstill.miniature import rendering
from potstill.miniature.answering import Ask, BodyError, Choice, read_ask
from potstill.miniature.loopback import LoopbackServer, Route, listening, say_healthy
from potstill.miniature.wire import Connection, HttpRequest, response
from potstill.recipe.rationales import SandboxConfig, VerifyConfig
from potstill.recipe.students import InferConfig, MixConfig
from potstill.records import Problem, Rationale, child_seed, content_id
from potstill.students.inference import paths_of, plan_asks, refusal, settings_of, text_of
from potstill.students.queueing import Batches, Job, Written
from potstill.students.rendering import prefix_of, render_prompt, views_asked

if TYPE_CHECKING:
    from potstill.students.decoding import Path, Prompt
    from potstill.students.loading import Loaded
    from potstill.students.voting import Vote

MOST_CHOICES = 1024
REFUSED = (
    "stream", "tools", "functions", "logit_bias", "echo", "suffix", "best_of", "frequency_penalty", "presence_penalty",
    "top_logprobs",
)  # fmt: skip
"""Fields that would change the answer and are not served."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A student and how it is asked."""

    loaded: Loaded
    name: str
    mix: MixConfig
    config: InferConfig
    """`max_new_tokens` where a request gives no `max_tokens`; `batch_tokens`; of a vote, everything."""
    is_trained: bool
    """Whether the folder says how it was trained; else a chat template, where there is one, is the form to ask in."""
    votes: bool = False
    answer_type: str = "text"
    """Of a vote: how answers are read and compared."""
    verify: VerifyConfig = field(default_factory=VerifyConfig)
    sandbox: SandboxConfig = field(default_factory=SandboxConfig)
    seed: int = 0


class StudentServer(LoopbackServer):
    """Answers requests with what a student writes."""

    def __init__(self, served: Served) -> None:
        routes: dict[str, tuple[str, Route]] = {
            "/v1/chat/completions": ("POST", lambda c, r: self._ask(c, r, "chat")),
            "/v1/completions": ("POST", lambda c, r: self._ask(c, r, "completions")),
            "/v1/models": ("GET", lambda c, r: c.finish(response(200, rendering.models([served.name])))),
            "/health": ("GET", say_healthy),
        }
        super().__init__(routes)
        self._served = served
        self._count = 0
        write = (lambda *given: write_votes(served, *given)) if served.votes else lambda *g: write_paths(served, *g)
        self.batches = Batches(write)

    def _ask(self, connection: Connection, request: HttpRequest, api: str) -> None:
        self._count += 1
        try:
            ask = read_request(request.body, api, self._served)
            job = self._job(ask, connection)
        except BodyError as error:
            connection.finish(response(400, rendering.error(str(error), param=error.param, code=error.code)))
            return
        self.batches.put(job)

    def _job(self, ask: Ask, connection: Connection) -> Job:
        number = self._count
        seed = ask.seed if ask.seed is not None else child_seed("request", self._served.seed, number)

        def deliver(found: Any) -> None:
            if isinstance(found, Exception):
                body = rendering.error(f"the student failed: {type(found).__name__}: {shorten(found)}", "server_error")
                connection.finish(response(500, body))
            elif not connection.gone:
                choices, prompt_tokens, more = found
                body = rendering.completion(
                    ask, choices, number, reasoning=False, usage=True, logprobs=ask.logprobs, prompt=prompt_tokens,
                    **more,
                )  # fmt: skip
                connection.finish(response(200, body))

        asked = voter(ask, seed, self._served) if self._served.votes else prompt_for(ask, seed, self._served)
        key = None if self._served.votes else (ask.temperature, ask.top_p, ask.max_tokens, ask.stop)
        return Job(key=key, asked=(ask, asked), deliver=deliver, is_gone=lambda: connection.gone)


@contextlib.asynccontextmanager
async def serving(served: Served, *, port: int = 0) -> AsyncIterator[str]:
    """Serve a student inside the running event loop; yields the base URL.

    Raises:
        ConfigError: The port is taken.
    """
    server = StudentServer(served)
    working = asyncio.create_task(server.batches.work())
    try:
        async with listening(server, port) as address:
            yield address
    finally:
        server.batches.close()
        working.cancel()


def read_request(raw: bytes, api: str, served: Served) -> Ask:
    """Return what a request asks for.

    Raises:
        BodyError: It is no request of this API, or asks for what is not served.
    """
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError) as cause:
        message = f"We could not parse the JSON body of your request: {shorten(cause)}"
        raise BodyError(message) from cause
    ask = read_ask(body, api)
    for name in REFUSED:
        if body.get(name):
            message = f"'{name}' is not served by a local student; leave it out"
            raise BodyError(message, name)
    shape = body.get("response_format")
    if isinstance(shape, Mapping) and shape.get("type", "text") != "text":
        message = "'response_format' must be text; a local student writes nothing else"
        raise BodyError(message, "response_format")
    if ask.temperature < 0 or not 0 < ask.top_p <= 1:
        message = f"'temperature' must be 0 or more and 'top_p' in (0, 1]; got {ask.temperature} and {ask.top_p}"
        raise BodyError(message, "temperature" if ask.temperature < 0 else "top_p")
    most = 1 if served.votes else MOST_CHOICES
    if ask.n > most:
        message = f"'n' is {ask.n}; at most {most}" + (": every answer is a vote already" if served.votes else "")
        raise BodyError(message, "n")
    return ask


@dataclass(frozen=True, slots=True)
class Prepared:
    """One request as the decoder takes it."""

    prompt: Prompt
    prompt_tokens: int
    n: int
    """Choices asked for; of greedy ones one is written."""
    lead: str = ""
    """The beginning of a thought, where the student's chat template ends its prompts with one."""


def prompt_for(ask: Ask, seed: int, served: Served) -> Prepared:
    """Return the tokens of a request's prompt, and a seed for each of its paths.

    Raises:
        BodyError: The prompt is empty, does not fit, or the chat template refuses the messages.
    """
    from potstill.students.decoding import Prompt
    from potstill.students.encoding import encode_prefix, encode_prompt, opened_thought

    loaded, apart = served.loaded, bool(served.loaded.starts)
    prefix: list[int] = []
    lead = ""
    if ask.api == "completions":
        text, forced = split_prefix(ask.prompt, served.mix) if apart else (ask.prompt, "")
        ids = encode_prompt(text, loaded.tokenizer, apart=apart)
        prefix = encode_prefix(forced, loaded.tokenizer)
    elif loaded.tokenizer.chat_template and (served.mix.format == "chat" or not served.is_trained):
        ids = list(loaded.tokenizer(render_messages(ask, loaded), add_special_tokens=False)["input_ids"])
        lead = opened_thought(loaded.tokenizer)
    else:
        kind = ask.kind if ask.kind in served.mix.kinds else served.mix.kinds[0]
        problem = Problem(id="asked", question=ask.question)
        view = views_asked(InferConfig(), served.mix, kind)[0]
        ids = encode_prompt(render_prompt(problem, served.mix, kind, view), loaded.tokenizer, apart=apart)
        prefix = encode_prefix(prefix_of(kind, served.mix, view), loaded.tokenizer)
    begin = (*loaded.starts, *prefix) if apart else ()
    ids = ids if apart else [*ids, *prefix]
    reason = refusal(max(len(ids), len(begin)), loaded.context)
    if reason is not None:
        raise BodyError(reason, "messages" if ask.api == "chat" else "prompt", code="context_length_exceeded")
    seeds = tuple(child_seed("served", seed, content_id(ask.prompt), index) for index in range(ask.n))
    prompt = Prompt(ids, seeds if ask.temperature > 0 else (None,), begin)
    return Prepared(prompt, len(ids) + (len(prefix) if apart else 0), ask.n, lead)


def split_prefix(prompt: str, mix: MixConfig) -> tuple[str, str]:
    """Return a plain prompt as an encoder reads it, and the kind's prefix at its end: the decoder begins with it."""
    found = max((text for text in mix.prefixes.values() if prompt.endswith(text)), key=len, default="")
    return prompt.removesuffix(found), found


def render_messages(ask: Ask, loaded: Loaded) -> str:
    """Return a conversation as the student's own chat template writes it, up to where the answer begins."""
    try:
        with boundary(StudentError, "the student's chat template cannot render these messages"):
            return str(
                loaded.tokenizer.apply_chat_template(list(ask.messages), tokenize=False, add_generation_prompt=True)
            )
    except StudentError as error:
        raise BodyError(str(error), "messages") from error


def write_paths(served: Served, jobs: Sequence[Job], written: Written, is_stopped: Callable[[], bool]) -> None:
    """Write the continuations of requests that share temperature, top_p, length and stop texts."""
    from potstill.students.decoding import generate

    ask: Ask = jobs[0].asked[0]
    prepared: list[Prepared] = [job.asked[1] for job in jobs]
    config = served.config.model_copy(
        update={"temperature": ask.temperature, "top_p": ask.top_p}
        | ({"max_new_tokens": ask.max_tokens} if ask.max_tokens else {})
    )
    found: dict[int, dict[int, Path]] = defaultdict(dict)
    settings = settings_of(served.loaded, config, ask.stop, is_stopped)
    for number, paths in generate(served.loaded.model, [one.prompt for one in prepared], settings):
        found[number].update(paths)
        one, job = prepared[number], jobs[number]
        if len(found[number]) < len(one.prompt.seeds):
            continue
        own = [found[number][place] for place in range(len(one.prompt.seeds))]
        choices = [choice_of(path, job.asked[0], one, served.loaded) for path in own]
        written(job, (choices * one.n if len(choices) < one.n else choices, one.prompt_tokens, {}))


def choice_of(path: Path, ask: Ask, prepared: Prepared, loaded: Loaded) -> Choice:
    """Return a path as a choice of the API, cut at its stop text."""
    text, finish = text_of(path, loaded, ask.stop, lead=prepared.lead)
    each = token_logprobs(path, prepared, loaded) if ask.logprobs else ()
    return Choice(text.strip() if ask.api == "chat" else text, finish, path.n_tokens, path.logprob, each)


def token_logprobs(path: Path, prepared: Prepared, loaded: Loaded) -> tuple[tuple[str, float], ...]:
    """Return each token of a path and its log-probability at temperature 1, in nats, by reading the path once more."""
    import torch
    from accelerate.utils import send_to_device

    from potstill.students.batching import Row
    from potstill.students.collating import collate
    from potstill.students.encoding import Encoded, as_ids
    from potstill.students.sharing import target_nll

    if not path.ids:
        return ()
    prompt, begin = prepared.prompt.ids, prepared.prompt.begin
    row = Encoded("path", "path", "cot", 1.0, as_ids(prompt), as_ids(path.ids))
    device = next(loaded.model.parameters()).device
    with torch.no_grad():
        batch = send_to_device(collate([Row(row, 1.0)], shared=False, starts=begin), device)
        nll = target_nll(loaded.model, batch, head=False).tolist()
    return tuple((loaded.tokenizer.decode([token]), -value) for token, value in zip(path.ids, nll, strict=True))


def voter(ask: Ask, seed: int, served: Served) -> Problem:
    """Return the question of a request as a problem whose paths vote."""
    return Problem(id=content_id("served", ask.prompt, seed), question=ask.question, answer_type=served.answer_type)


def write_votes(served: Served, jobs: Sequence[Job], written: Written, is_stopped: Callable[[], bool]) -> None:
    """Ask each question for all its paths, and let them vote."""
    from potstill.rationales.verification import verify
    from potstill.students.voting import vote

    problems = {job.asked[1].id: job.asked[1] for job in jobs}
    asks = list(plan_asks(problems.values(), served.config, served.mix))
    chat = served.mix.format == "chat"
    rows = paths_of(served.loaded, asks, served.config, chat=chat, author=served.name, seed=served.seed,
                    is_stopped=is_stopped)  # fmt: skip
    of_problem: dict[str, list[Rationale]] = defaultdict(list)
    for row in verify([row for part in rows for row in part], None, served.verify, sandbox=served.sandbox):
        of_problem[row.problem_id].append(row)
    for job in jobs:
        paths = sorted(of_problem[job.asked[1].id], key=lambda row: (row.index == 0, row.index, row.kind))
        sampled = [row for row in paths if row.index > 0] or paths
        written(job, voted(vote(sampled), paths))


def voted(found: Vote, paths: Sequence[Rationale]) -> tuple[list[Choice], int, dict[str, Any]]:
    """Return a vote as the one choice of an answer: a text of the winning answer, or the first where none is valid."""
    spoken = found.winner or paths[0]
    tokens = sum(row.usage.get("completion_tokens", 0) for row in paths)
    tally = {"answer": found.answer, "support": found.support, "n_valid": found.n_valid, "n_paths": found.n_paths,
             "margin": round(found.margin, 4)}  # fmt: skip
    choice = Choice(spoken.text.strip(), spoken.finish or "stop", tokens, spoken.logprob)
    return [choice], spoken.usage.get("prompt_tokens", 0), {"vote": tally}
