"""Sampling: n rationales per problem from a teacher, as a stream, or into a file that survives a kill.

    problems ──prompts──► requests ──teacher, at most `limit` at a time──► completions ──► rationales

Every (problem, kind, index) ends as exactly one rationale; one that failed has no text, and says why in `finish` and
`reason`. What a completion costs, whether it was bought before and how often it is tried is the teacher's business
(`potstill.teachers`); whether an answer is right is `potstill.rationales.verification`'s.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Container, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from potstill.errors import BudgetError, DataError, PotstillError, shorten
from potstill.files import Appender
from potstill.messages import say
from potstill.rationales.asking import Asking, Job, Tally, jobs, load_asking
from potstill.rationales.progress import Progress
from potstill.rationales.resuming import Found, Key, Today, keep_current, locked
from potstill.recipe.teachers import BudgetConfig, SampleConfig, TeacherConfig
from potstill.records import Problem, Rationale, rationale_from, unique_ids
from potstill.streams import Stream, map_concurrent
from potstill.teachers.base import FAILURES, Completion, Meter, Request, Teacher, endpoint_id, money_for, open_teacher

if TYPE_CHECKING:
    from potstill.teachers.ledger import Ledger

APPEND_ROWS, APPEND_S = 256, 0.5
"""Rows are written together, when so many wait or after so many seconds."""
CHARACTERS_PER_TOKEN = 4
"""For the estimate of a plan, before any tokenizer is known."""


def sample(
    problems: Iterable[Problem],
    teacher: Teacher | TeacherConfig,
    config: SampleConfig | None = None,
    *,
    seed: int = 0,
    teacher_config: TeacherConfig | None = None,
    done: Container[Key] = (),
    progress: Callable[[Rationale], object] | None = None,
) -> Stream[Rationale]:
    """Return a stream of rationales, `config.n` per problem and kind, in the order in which they arrive.

    Args:
        teacher: An open teacher; or its configuration, which is then opened with the user's ledger.
        seed: Seeds the order of demonstrations.
        teacher_config: Sampling parameters for an open teacher (its configuration, where it was made from one).
        done: (problem id, kind, index) that are there already and are not asked for.
        progress: Told of each rationale.

    Raises (when read):
        TooManyFailures: More rows failed than `config.max_failed_frac` allows. Found at the end, since the rows that
            succeed are worth having; or early, when most rows fail (`Tally`). Every row has been yielded.
        BudgetError: The budget is reached; what was in flight has been yielded.
        TeacherError: The endpoint refuses every request, or cannot be reached.

    Source: Li et al. 2023, arXiv:2306.14050, section 2 (N = 30 draws per question at T = 1.0).
    """
    config = config or SampleConfig()
    if isinstance(teacher, TeacherConfig):
        return Stream(lambda: _sample_opened(problems, teacher, config, seed=seed, done=done, progress=progress))
    teacher_config = teacher_config or TeacherConfig(base_url="", model=teacher.author)
    asking = load_asking(teacher_config, config, seed=seed)
    return Stream(lambda: _sample(problems, teacher, asking, done=done, progress=progress))


async def _sample_opened(
    problems: Iterable[Problem], teacher_config: TeacherConfig, config: SampleConfig, *, seed: int, **options: Any
) -> AsyncGenerator[Rationale, None]:
    from potstill.miniature.embedded import reachable
    from potstill.teachers.ledger import Ledger, default_ledger_path

    async with AsyncExitStack() as stack:
        teacher_config, endpoint = await stack.enter_async_context(reachable(teacher_config))
        ledger = stack.enter_context(Ledger(default_ledger_path())) if teacher_config.replay is None else None
        opening = open_teacher(
            teacher_config, ledger=ledger, seed=seed, endpoint=endpoint, retry_failed=config.retry_failed
        )
        teacher = await stack.enter_async_context(opening)
        asking = load_asking(teacher_config, config, seed=seed)
        async with aclosing(_sample(problems, teacher, asking, **options)) as rows:
            async for rationale in rows:
                yield rationale


async def _sample(
    problems: Iterable[Problem],
    teacher: Teacher,
    asking: Asking,
    *,
    done: Container[Key] = (),
    progress: Callable[[Rationale], object] | None = None,
    failed_before: int = 0,
) -> AsyncGenerator[Rationale, None]:
    asking = _fitted(asking, teacher)
    planned = asking.total(problems) if isinstance(problems, Sequence) else None
    if problems and planned == 0:
        message = (
            f"replay {asking.teacher_config.replay}: holds no {' or '.join(asking.config.kinds)} rationale for any of "
            "the problems; their ids must be the problem_id of the recorded rows"
        )
        raise DataError(message)
    tally = Tally(asking.config.max_failed_frac, planned, failed_before)

    async def ask(job: Job) -> list[Rationale]:
        try:
            return await _ask(job, teacher, asking)
        except BudgetError as error:
            # Start nothing more, let what is in flight (and paid for) arrive, then raise.
            tally.stopped_by = tally.stopped_by or error
            return []

    # A call outlives its slot at the teacher by a commit, so more calls than slots keep the slots full.
    limit = 2 * asking.teacher_config.max_concurrency + 8
    answers = map_concurrent(ask, jobs(problems, asking, done, tally), limit)
    async with aclosing(answers):  # type: ignore[type-var]
        async for rationales in answers:
            for rationale in rationales:
                tally.count(rationale)
                if progress is not None:
                    progress(rationale)
                yield rationale
    tally.finish()


def _fitted(asking: Asking, teacher: Teacher) -> Asking:
    """Return an asking that wants no more of recorded rationales than there are."""
    from potstill.teachers.replay import ReplayTeacher

    return replace(asking, recorded=teacher.available) if isinstance(teacher, ReplayTeacher) else asking


async def _ask(job: Job, teacher: Teacher, asking: Asking) -> list[Rationale]:
    cap = asking.teacher_config.max_tokens
    try:
        request = asking.request(job.problem, job.kind)
        cap = request.cap
        completions = await teacher.complete(request, job.indices)
    except PotstillError:
        raise
    except Exception as error:  # noqa: BLE001 - this row's failure, recorded with its reason; the others go on
        reason = f"{type(error).__name__}: {shorten(error)}"
        completions = [Completion(text="", finish="error", reason=reason, index=index) for index in job.indices]
    return [_rationale(job, completion, teacher.author, cap) for completion in completions]


def _rationale(job: Job, completion: Completion, author: str, cap: int | None) -> Rationale:
    row = {
        "problem_id": job.problem.id,
        "kind": job.kind,
        "text": completion.text,
        "reasoning_content": completion.reasoning_content,
        "author": completion.author or author,
        "index": completion.index,
        "finish": completion.finish,
        "reason": completion.reason,
        "request": completion.request,
        "usage": completion.usage,
        "logprob": completion.logprob,
        # What the text was cut at: under another cap it would be another text.
        "meta": {**completion.meta, "max_tokens": cap} if completion.finish == "length" else completion.meta,
    }
    return replace(rationale_from(row, f"completion of {job.problem.id}"), problem=job.problem)


async def sample_to_file(
    problems: Sequence[Problem],
    teacher_config: TeacherConfig,
    config: SampleConfig,
    out: str | Path,
    *,
    ledger: Ledger | None,
    budget: BudgetConfig | None = None,
    seed: int = 0,
    endpoint: str | None = None,
    run: str | None = None,
    stage: str = "sample",
    counts: Mapping[tuple[str, str], int] | None = None,
) -> dict[str, Any]:
    """Sample into a JSONL file, exactly one line per (problem, kind, index), and return the counts of that plan.

    What the file already holds is kept where it answers the same request; a line whose request has changed is moved to
    `<out>.superseded.jsonl`, one that ended in an error is asked for again. Lines of other problems are left alone.

    Args:
        ledger: Where completions are kept, open; `None` keeps nothing but the file.
        endpoint: The endpoint's name in keys, where its address changes from run to run.
        run: Names the run in the ledger, for its budget.
        counts: (problem id, kind) -> how many rationales, instead of `config.n`; see `potstill.rationales.budgeting`.

    Raises:
        As `sample`; every finished row is in the file by then, and the same call resumes.
    """
    unique_ids(problems, stage)
    out = Path(out)
    asking = replace(load_asking(teacher_config, config, seed=seed), counts=counts)
    lacks_form = asking.template.needs_demonstrations and not asking.demonstrations
    if lacks_form and endpoint is None and teacher_config.replay is None:
        say(stage, f"template {config.template!r} shows its form by demonstrations; sample.demonstrations is not set")
    with locked(out) as lock_again:
        wanted, today = _wanted(problems, asking), _today(problems, asking, endpoint)
        found = await asyncio.to_thread(keep_current, out, wanted, today, retry_failed=config.retry_failed)
        lock_again()
        finishes = Counter(found.finishes)
        async with open_teacher(
            teacher_config, ledger=ledger, budget=budget, seed=seed, endpoint=endpoint, run=run,
            retry_failed=config.retry_failed, on_event=lambda code, text: say(stage, text),
        ) as teacher:  # fmt: skip
            total = _fitted(asking, teacher).total(problems)
            asked = asking.total(problems)
            if total < asked:
                say(stage, f"{total} of {asked} rationales are recorded; the others are left out")
            progress = _progress(asking, total, found, stage, teacher.meter)
            rows = _sample(problems, teacher, asking, done=found.done, failed_before=found.failed)
            with Appender(out) as appender, progress:
                async with progress.ticking(), aclosing(rows):
                    await _append_all(rows, appender, finishes, progress)
            return _counts(finishes, teacher.meter)


def plan(
    problems: Sequence[Problem],
    config: SampleConfig,
    teacher_config: TeacherConfig,
    *,
    seed: int = 0,
    ledger: str | Path | None = None,
    endpoint: str | None = None,
) -> dict[str, Any]:
    """Return what sampling would request and at most cost, sending nothing; what the ledger holds is free.

    Tokens are estimates: `CHARACTERS_PER_TOKEN` for prompts, `max_tokens` for every completion. `max_money` is `None`
    without a price.
    """
    from potstill.teachers.accounts import Reader
    from potstill.teachers.ledger import default_ledger_path

    asking = load_asking(teacher_config, config, seed=seed)
    name = endpoint or endpoint_id(teacher_config)
    usage: Counter[str] = Counter(prompt_tokens=0, completion_tokens=0)
    held = requests = 0
    with Reader(ledger or default_ledger_path()) as reader:
        for problem, kind in ((p, k) for p in problems for k in config.kinds):
            if teacher_config.replay is not None:
                break
            request = asking.request(problem, kind)
            have = len(reader.have(request.key(name), range(config.n), request.cap))
            n_requests = -(-(config.n - have) // teacher_config.n)
            held, requests = held + have, requests + n_requests
            usage["prompt_tokens"] += n_requests * _prompt_tokens(request)
            usage["completion_tokens"] += (config.n - have) * (request.cap or 0)
    return {
        "problems": len(problems),
        "rationales": len(problems) * len(config.kinds) * config.n,
        "in_ledger": held,
        "requests": requests,
        "prompt_tokens": usage["prompt_tokens"],
        "max_completion_tokens": usage["completion_tokens"],
        "max_money": None if teacher_config.price is None else round(money_for(usage, teacher_config.price), 4),
    }


async def _append_all(
    rows: AsyncGenerator[Rationale, None], appender: Appender, counts: Counter[str], progress: Progress
) -> None:
    """Write rows as they come, several together; on the way out, whatever happens, the rest."""
    batch: list[Rationale] = []
    last = time.monotonic()
    try:
        async for rationale in rows:
            progress.count(rationale)
            counts[str(rationale.finish)] += 1
            batch.append(rationale)
            if len(batch) >= APPEND_ROWS or time.monotonic() - last >= APPEND_S:
                full, batch = batch, []
                await asyncio.to_thread(appender.append, full)
                last = time.monotonic()
    finally:
        appender.append(batch)


def _counts(finishes: Counter[str], meter: Meter) -> dict[str, Any]:
    """Return the counts of a sampling: rows by finish, then what this call has bought."""
    return {
        "rationales": finishes.total(),
        "failed": sum(finishes[finish] for finish in FAILURES),
        **{f"finish_{finish}": count for finish, count in sorted(finishes.items())},
        "requests": meter.sent,
        "retries": meter.retries,
        "from_ledger": meter.from_ledger,
        "prompt_tokens": meter.prompt_tokens,
        "completion_tokens": meter.completion_tokens,
        "money": round(meter.money, 6),
    }


def _wanted(problems: Sequence[Problem], asking: Asking) -> Callable[[Key], bool]:
    by_plan = replace(asking, recorded=None)
    kinds: tuple[str, ...] = asking.config.kinds
    counts = {(problem.id, kind): by_plan.count(problem, kind) for problem in problems for kind in kinds}
    return lambda key: key[2] < counts.get((key[0], key[1]), 0)


def _today(problems: Sequence[Problem], asking: Asking, endpoint: str | None) -> Callable[[str, str], Today]:
    """Return the lookup of the request that would be sent for (problem id, kind)."""
    if asking.teacher_config.replay is not None:
        return lambda problem_id, kind: (None, None)
    by_id = {problem.id: problem for problem in problems}
    name = endpoint or endpoint_id(asking.teacher_config)

    @cache
    def today(problem_id: str, kind: str) -> Today:
        request = asking.request(by_id[problem_id], kind)
        return request.key(name), request.cap

    return today


def _progress(asking: Asking, total: int, found: Found, stage: str, meter: Meter) -> Progress:
    has_price = asking.teacher_config.price is not None
    return Progress(total, done=len(found.done), stage=stage, meter=meter, has_price=has_price)


def _prompt_tokens(request: Request) -> int:
    text = request.prompt or "".join(str(message["content"]) for message in request.messages)
    return len(text) // CHARACTERS_PER_TOKEN + 1
