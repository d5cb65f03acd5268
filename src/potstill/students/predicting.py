"""Predictions of one student into one file, without a run: what is interrupted is taken up again.

Paths are appended to a hidden file beside the output, named after everything that they depend on, and become the output
when the last one is there. A run directory keeps its own books (`potstill.arms`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from potstill.files import Appender, drop_torn_line, read_records, write_records
from potstill.rationales.progress import Progress
from potstill.rationales.resuming import locked
from potstill.rationales.ways import place_of
from potstill.recipe.students import InferConfig, MixConfig
from potstill.recipe.teachers import TeacherConfig
from potstill.records import Problem, Rationale, content_id
from potstill.students.inference import infer, mix_of, plan_asks

APPEND_ROWS = 64


def infer_to_file(
    problems: Sequence[Problem],
    student: str | TeacherConfig,
    config: InferConfig,
    out: str | Path,
    *,
    mix: MixConfig | None = None,
    seed: int = 0,
    ledger: str | Path | None = None,
) -> int:
    """Ask a student every problem, write all paths into `out` and return their number; the same call resumes.

    Raises:
        As `infer`; and DataError if another process is at it, or the file cannot be written.
    """
    out, mix = Path(out), mix or mix_of(student)
    partial = out.with_name(f".{out.name}.{_mark(problems, student, config, mix, seed)[-8:]}.partial.jsonl")
    with locked(partial):
        drop_torn_line(partial)
        done = {place_of(row) for row in read_records(partial, Rationale)}
        total = len(done) + sum(len(ask.indices) for ask in plan_asks(problems, config, mix, done))
        batch: list[Rationale] = []
        with Appender(partial) as appender, Progress(total, done=len(done), stage="infer") as progress:
            try:
                for row in infer(problems, student, config, mix=mix, seed=seed, done=done, ledger=ledger):
                    batch.append(row)
                    progress.count(row)
                    progress.tick()
                    if len(batch) >= APPEND_ROWS:
                        full, batch = batch, []
                        appender.append(full)
            finally:
                appender.append(batch)
        count = write_records(out, read_records(partial, Rationale))
        partial.unlink()
        return count


def _mark(
    problems: Sequence[Problem], student: str | TeacherConfig, config: InferConfig, mix: MixConfig, seed: int
) -> str:
    """Return a hash of all that the paths depend on; a student trained anew is another student."""
    who: object
    if isinstance(student, TeacherConfig):
        who = student.model_dump(mode="json", exclude={"api_key_env", "max_concurrency", "timeout_s", "max_retries"})
    else:
        files = sorted(path for path in Path(student).glob("*") if path.is_file() and path.suffix != ".md")
        who = [student, [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]]
    asked = [[problem.id, problem.question] for problem in problems]
    return content_id("predicting", who, config.model_dump(mode="json"), mix.model_dump(mode="json"), seed, asked)
