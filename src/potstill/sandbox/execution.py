"""`Execution`: what became of one program. The sandbox's only result type."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from potstill.errors import shorten
from potstill.records import content_id

Outcome = Literal["ok", "error", "timeout", "memory", "output_limit", "no_answer", "unsupported", "crashed"]
OUTCOMES: tuple[str, ...] = get_args(Outcome)
COARSE: dict[str, Outcome] = {
    "ok": "ok",
    "no_answer": "no_answer",
    "error": "error",
    "syntax": "error",
    "recursion": "error",
    "import": "error",
    "forbidden": "error",
    "timeout": "timeout",
    "memory": "memory",
    "output": "output_limit",
    "crash": "crashed",
    "protocol": "crashed",
    "unsupported": "unsupported",
}
"""The fine word for what happened -> the status. `protocol`: the program ended without a readable result."""
LED_BY_WORD = ("syntax", "recursion", "import", "forbidden", "crash", "protocol", "output", "unsupported")
"""Words that lead the error text, since the status does not say them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """The outcome of one program. Times, memory, timeouts and crashes are measured from outside the program; `answer`,
    `stdout` and an error's text are its own words, which a program can forge about itself and about no other."""

    status: Outcome
    reason: str
    """The fine word, a key of `COARSE`: syntax, recursion, import and forbidden are all status `error`."""
    answer: str | None = None
    """`str(value)` as CPython writes it; `None` unless the status is ok."""
    answer_type: str | None = None
    """The value's type by name, e.g. int, str, Rational."""
    error: str | None = None
    stdout: str = ""
    """What the program printed, at most `max_output_bytes` of it."""
    engine: str = ""
    """monty, zygote-light or zygote-heavy; empty where nothing ran."""
    isolation: str = ""
    """What stood between the program and this machine, e.g. seccomp+landlock7+rlimit."""
    cpu_ms: float = 0.0
    wall_ms: float = 0.0
    rss_mb: float | None = None
    """Peak resident memory, the interpreter's own included; `None` where it is not measured."""
    code_hash: str = ""
    limits: str = ""
    versions: str = ""
    reads_clock: bool = False
    """The program read the real clock (its text asks for the time and tier 2 ran it): it may answer otherwise later."""

    @property
    def ok(self) -> bool:
        """Whether the program ran to an answer."""
        return self.status == "ok"


def hash_program(program: str) -> str:
    """Return the content hash of a program's text."""
    return content_id("program", program)


def execution(reason: str, *, error: str | None = None, **values: Any) -> Execution:
    """Build an `Execution` from the fine word, whose place in the error text is fixed by the interface."""
    if reason in LED_BY_WORD:
        error = f"{reason}: {error}" if error else reason
    return Execution(status=COARSE[reason], reason=reason, error=error, **values)


def to_row(id_: Any, result: Execution) -> dict[str, Any]:
    """Return the line that `potstill exec` prints for one program."""
    return {
        "id": id_,
        "status": result.status,
        "answer": result.answer,
        "error": result.error,
        "stdout": result.stdout,
        "engine": result.engine,
        "isolation": result.isolation,
        "cpu_ms": round(result.cpu_ms, 3),
        "code_hash": result.code_hash,
    }


def bounded(text: str, limit: int = 1000) -> str:
    """Cut an error text on one line."""
    return shorten(text, limit)
