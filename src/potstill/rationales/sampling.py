"""Sampling: n rationales per problem from a teacher, as a stream, or into a file that survives a kill.

    problems ──prompts──► requests ──teacher, at most `limit` at a time──► completions ──► rationales

Every (problem, kind, index) ends as exactly one rationale; one that failed has no text, and says why in `finish` and
`reason`. Several teachers share each problem's samples by weight (`dividing`), are asked at the same time, each at its
own pace, and are charged to one budget. What a completion costs, whether it was bought before and how often it is tried
is the teacher's business (`potstill.teachers`); whether an answer is right is `potstill.rationales.verification`'s.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Container, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from potstill.errors import BudgetError, DataError, PotstillError, shorten
from potstill.files import Appender
from potstill.messages import say
from potstill.rationales.asking import Addressed, Asking, Job, Slot, Tally, askings, jobs, load_asking
from potstill.rationales.progress import Progress
from potstill.rationales.prompts import Attempts
from potstill.rationales.resuming import Found, Key, Today, keep_current, locked
from potstill.rationales.ways import parse_way
from potstill.recipe.teachers import BudgetConfig, SampleConfig, TeacherConfig
from potstill.records import Problem, Rationale, rationale_from, unique_ids
from potstill.streams import Stream, map_concurrent, merged
from potstill.teachers.base import (
    FAILURES,
    Completion,
    Meter,
    Teacher,
    endpoint_id,
    open_budget,
    open_teacher,
)

if TYPE_CHECKING:
    from potstill.teachers.ledger import Ledger

APPEND_ROWS, APPEND_S = 256, 0.5
"""Rows are written together, when so many wait or after so many seconds."""


def sample(
    problems: Iterable[Problem],
    teacher: Teacher | TeacherConfig | Sequence[TeacherConfig],
    config: SampleConfig | None = None,
    *,
    seed: int = 0,
    teacher_config: TeacherConfig | None = None,
    done: Container[Key] = (),
    progress: Callable[[Rationale], object] | None = None,
) -> Stream[Rationale]:
    """Return a stream of rationales, `config.n` per problem and kind, in the order in which they arrive.

    Args:
        teacher: An open teacher; or a configuration, or several, which are then opened with the user's ledger.
        seed: Seeds the order of demonstrations, and who of several teachers begins.
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
    if isinstance(teacher, TeacherConfig | Sequence):
        configs = [teacher] if isinstance(teacher, TeacherConfig) else list(teacher)
        return Stream(lambda: _sample_opened(problems, configs, config, seed=seed, done=done, progress=progress))
    teacher_config = teacher_config or TeacherConfig(base_url="", model=teacher.author)
    party = Party(teacher, load_asking(teacher_config, config, seed=seed))
    return Stream(lambda: _sample(problems, [party], done=done, progress=progress))


@dataclass(frozen=True, slots=True)
class Party:
    """An open teacher, and what it is asked."""

    teacher: Teacher
    asking: Asking


async def _sample_opened(
    problems: Iterable[Problem], configs: Sequence[TeacherConfig], config: SampleConfig, *, seed: int, **options: Any
) -> AsyncGenerator[Rationale, None]:
    from potstill.teachers.ledger import Ledger, default_ledger_path
    from potstill.teachers.reaching import reachable

    if len(configs) > 1:
        problems = list(problems)
    async with AsyncExitStack() as stack:
        addressed = [await stack.enter_async_context(reachable(one)) for one in configs]
        buys = any(one.replay is None for one in configs)
        ledger = stack.enter_context(Ledger(default_ledger_path())) if buys else None
        parties = []
        for asking, endpoint in askings(problems, addressed, config, seed=seed):
            opening = open_teacher(
                asking.teacher_config, ledger=ledger, seed=seed, endpoint=endpoint, retry_failed=config.retry_failed
            )
            parties.append(Party(await stack.enter_async_context(opening), asking))
        async with aclosing(_sample(problems, parties, **options)) as rows:
            async for rationale in rows:
                yield rationale


async def _sample(
    problems: Iterable[Problem],
    parties: Sequence[Party],
    *,
    done: Container[Key] = (),
    progress: Callable[[Rationale], object] | None = None,
    failed_before: int = 0,
) -> AsyncGenerator[Rationale, None]:
    parties = [_fitted(party) for party in parties]
    planned = None
    if isinstance(problems, Sequence):
        planned = sum(party.asking.total(problems) for party in parties)
        for party in parties if problems else ():
            _require_recorded(party.asking, problems)
    tally = Tally(parties[0].asking.config.max_failed_frac, planned, failed_before)
    answers = [_answers(problems, party, done, tally) for party in parties]
    together = merged(answers) if len(answers) > 1 else answers[0]
    async with aclosing(together):  # type: ignore[type-var]
        async for rationales in together:
            for rationale in rationales:
                tally.count(rationale)
                if progress is not None:
                    progress(rationale)
                yield rationale
    tally.finish()


def _answers(
    problems: Iterable[Problem], party: Party, done: Container[Key], tally: Tally
) -> AsyncIterator[list[Rationale]]:
    """Return one teacher's answers as they arrive, call by call."""

    async def ask(job: Job) -> list[Rationale]:
        try:
            return await _ask(job, party.teacher, party.asking)
        except BudgetError as error:
            # Start nothing more, let what is in flight (and paid for) arrive, then raise.
            tally.stopped_by = tally.stopped_by or error
            return []

    # A call outlives its slot at the teacher by a commit, so more calls than slots keep the slots full.
    limit = 2 * party.asking.teacher_config.max_concurrency + 8
    return map_concurrent(ask, jobs(problems, party.asking, done, tally), limit)


def _fitted(party: Party) -> Party:
    """Return a party that is asked for no more of recorded rationales than there are."""
    from potstill.teachers.replay import ReplayTeacher

    if not isinstance(party.teacher, ReplayTeacher):
        return party
    return replace(party, asking=replace(party.asking, recorded=party.teacher.available))


def _require_recorded(asking: Asking, problems: Sequence[Problem]) -> None:
    """Raise `DataError` if recorded rationales answer none of the problems that they are to answer."""
    if asking.total(problems) == 0 and replace(asking, recorded=None).total(problems) > 0:
        message = (
            f"replay {asking.teacher_config.replay}: holds no {' or '.join(asking.config.ways)} rationale for any of "
            "the problems; their ids must be the problem_id of the recorded rows"
        )
        raise DataError(message)


async def _ask(job: Job, teacher: Teacher, asking: Asking) -> list[Rationale]:
    cap = asking.teacher_config.max_tokens
    try:
        request = asking.request(job.problem, job.kind)
        cap = request.cap
        completions = await teacher.complete(request, job.draws)
    except PotstillError:
        raise
    except Exception as error:  # noqa: BLE001 - this row's failure, recorded with its reason; the others go on
        reason = f"{type(error).__name__}: {shorten(error)}"
        completions = [Completion(text="", finish="error", reason=reason, index=draw) for draw in job.draws]
    return [
        _rationale(job, slot, completion, teacher.author, cap, asking)
        for slot, completion in zip(job.slots, completions, strict=True)
    ]


def _rationale(job: Job, slot: Slot, completion: Completion, author: str, cap: int | None, asking: Asking) -> Rationale:
    """Return a completion as a rationale that says which sample of whom it is, and what it corrects."""
    meta, way = dict(completion.meta), parse_way(job.kind)
    recorded_view = meta.pop("view", None)
    if way.is_given:
        meta["rationalised"] = True
    if completion.finish == "length":  # what the text was cut at: under another cap it would be another text
        meta["max_tokens"] = cap
    if asking.share is not None:
        meta |= {"teacher": asking.teacher_config.author, "draw": slot.draw}
    if (attempt := asking.attempt(job.problem.id, job.kind)) is not None:
        meta["corrects"] = attempt.path_id
    row = {
        "problem_id": job.problem.id,
        "kind": way.kind,
        "view": way.view or recorded_view,
        "text": completion.text,
        "reasoning_content": completion.reasoning_content,
        "author": completion.author or author,
        "index": slot.index,
        "finish": completion.finish,
        "reason": completion.reason,
        "request": completion.request,
        "usage": completion.usage,
        "logprob": completion.logprob,
        "meta": meta,
    }
    return replace(rationale_from(row, f"completion of {job.problem.id}"), problem=job.problem)


async def sample_to_file(
    problems: Sequence[Problem],
    teachers: TeacherConfig | Sequence[Addressed],
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
    attempts: Attempts | None = None,
) -> dict[str, Any]:
    """Sample into a JSONL file, exactly one line per (problem, kind, index), and return the counts of that plan.

    What the file already holds is kept where it answers the same request; a line whose request has changed is moved to
    `<out>.superseded.jsonl`, one that ended in an error is asked for again. Lines of other problems are left alone.

    Args:
        teachers: One, or several that share each problem's samples by weight.
        ledger: Where completions are kept, open; `None` keeps nothing but the file.
        endpoint: The name of the one endpoint in keys, where its address changes from run to run.
        run: Names the run in the ledger, for its budget.
        counts: (problem id, kind) -> how many rationales, instead of `config.n`; see `potstill.rationales.budgeting`.
        attempts: (problem id, kind) -> a wrong attempt that is to be corrected; only these are asked for.

    Raises:
        As `sample`; every finished row is in the file by then, and the same call resumes.
    """
    unique_ids(problems, stage)
    out = Path(out)
    addressed = [(teachers, endpoint)] if isinstance(teachers, TeacherConfig) else list(teachers)
    asked = askings(problems, addressed, config, seed=seed, counts=counts, attempts=attempts)
    for asking, name in asked:
        _point_out_bare(asking, name, stage)
    with locked(out) as lock_again:
        today = _today(problems, asked)
        found = await asyncio.to_thread(keep_current, out, *today, retry_failed=config.retry_failed)
        lock_again()
        finishes = Counter(found.finishes)
        async with AsyncExitStack() as stack:
            purse = open_budget(budget, ledger, run)
            parties = []
            for asking, name in asked:
                opening = open_teacher(
                    asking.teacher_config, ledger=ledger, budget=purse, seed=seed, endpoint=name, run=run,
                    retry_failed=config.retry_failed, on_event=lambda code, text: say(stage, text),
                )  # fmt: skip
                parties.append(Party(await stack.enter_async_context(opening), asking))
            total = sum(_fitted(party).asking.total(problems) for party in parties)
            wanted = sum(asking.total(problems) for asking, _ in asked)
            if total < wanted:
                say(stage, f"{total} of {wanted} rationales are recorded; the others are left out")
            progress = _progress(parties, total, found, stage)
            rows = _sample(problems, parties, done=found.done, failed_before=found.failed)
            with Appender(out) as appender, progress:
                async with progress.ticking(), aclosing(rows):
                    await _append_all(rows, appender, finishes, progress)
            return _counts(finishes, parties)


def _point_out_bare(asking: Asking, endpoint: str | None, stage: str) -> None:
    """Say that a template which shows its form by demonstrations alone has none."""
    uses_template = any(parse_way(way).view is None for way in asking.config.ways)
    lacks_form = uses_template and asking.template.needs_demonstrations and not asking.demonstrations
    if lacks_form and endpoint is None and asking.teacher_config.replay is None:
        name = asking.config.template
        say(stage, f"template {name!r} shows its form by demonstrations; sample.demonstrations is not set")


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


def _counts(finishes: Counter[str], parties: Sequence[Party]) -> dict[str, Any]:
    """Return the counts of a sampling: rows by finish, then what this call has bought; of several teachers, of each."""
    meters = [party.teacher.meter for party in parties]
    counts = {
        "rationales": finishes.total(),
        "failed": sum(finishes[finish] for finish in FAILURES),
        **{f"finish_{finish}": count for finish, count in sorted(finishes.items())},
        **_bought(sum(meters, Meter())),
    }
    if len(parties) > 1:
        counts["teachers"] = {party.teacher.author: _bought(party.teacher.meter) for party in parties}
    return counts


def _bought(meter: Meter) -> dict[str, Any]:
    return {
        "requests": meter.sent,
        "retries": meter.retries,
        "from_ledger": meter.from_ledger,
        "prompt_tokens": meter.prompt_tokens,
        "completion_tokens": meter.completion_tokens,
        "money": round(meter.money, 6),
    }


def _today(
    problems: Sequence[Problem], asked: Sequence[tuple[Asking, str | None]]
) -> tuple[Callable[[Key], bool], Callable[[Key], Today]]:
    """Return whether a row is wanted, and the lookup of the request that would be sent for it."""
    by_id = {problem.id: problem for problem in problems}
    ways = asked[0][0].config.ways

    @cache
    def slots(problem_id: str, kind: str) -> dict[int, tuple[int, int]]:
        """Return index -> (number of the teacher, its draw)."""
        problem = by_id[problem_id]
        return {
            s.index: (number, s.draw) for number, (asking, _) in enumerate(asked) for s in asking.slots(problem, kind)
        }

    @cache
    def request(number: int, problem_id: str, kind: str) -> tuple[str | None, int | None]:
        asking, name = asked[number]
        if asking.teacher_config.replay is not None:
            return None, None
        found = asking.request(by_id[problem_id], kind)
        return found.key(name or endpoint_id(asking.teacher_config)), found.cap

    def wanted(key: Key) -> bool:
        return key[0] in by_id and key[1] in ways and key[2] in slots(key[0], key[1])

    def today(key: Key) -> Today:
        number, draw = slots(key[0], key[1])[key[2]]
        asking = asked[number][0]
        name = asking.teacher_config.author if asking.share is not None else None
        return Today(*request(number, key[0], key[1]), draw=draw, teacher=name)

    return wanted, today


def _progress(parties: Sequence[Party], total: int, found: Found, stage: str) -> Progress:
    has_price = any(party.asking.teacher_config.price is not None for party in parties)
    meters = [party.teacher.meter for party in parties]
    return Progress(total, done=len(found.done), stage=stage, meter=lambda: sum(meters, Meter()), has_price=has_price)
