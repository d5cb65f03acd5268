"""The error tree: one class per boundary that was crossed.

PotstillError                 everything potstill raises on purpose
├── ConfigError(ValueError)   a recipe, an option or an environment variable
├── DataError(ValueError)     a file, a record, a data set, a run directory
├── TeacherError              a model endpoint; carries `status` and `retryable`
│   ├── RefusedError          the endpoint understood and said no (400, 401, 403, 404)
│   └── BudgetError           the budget in tokens or money is reached; the run is resumable
├── SandboxError              isolation is weaker than configured, or the sandbox broke
├── StudentError(ValueError)  a model folder, a tokenizer, a training set that cannot be learnt from
├── MissingExtraError(ImportError)  an optional dependency is absent
└── TooManyFailures           a stage lost more rows than `max_failed_frac` allows

try:
    run = potstill.run("recipe.yaml")
except potstill.PotstillError as error:
    print(error)              # where · what was found · what is allowed · what to do
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class PotstillError(Exception):
    """Base of every error that potstill raises on purpose; `exit_code` is what the command line returns for it."""

    exit_code = 1


class ConfigError(PotstillError, ValueError):
    """A recipe, a command-line option or an environment variable is wrong."""


class DataError(PotstillError, ValueError):
    """A file, a record or a run directory is wrong or cannot be read or written."""


class StudentError(PotstillError, ValueError):
    """A student folder, its tokenizer or its training set cannot be used."""


class MissingExtraError(PotstillError, ImportError):
    """An optional dependency is not installed; the message holds the command that installs it."""


class TeacherError(PotstillError):
    """A model endpoint failed.

    Pickles whole: Ray sends it between processes.
    """

    def __init__(self, message: str, status: int | None = None, *, retryable: bool = False) -> None:
        super().__init__(message, status)
        self.status = status
        self.retryable = retryable

    def __str__(self) -> str:
        return str(self.args[0])

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild_teacher_error, (type(self), self.args[0], self.status, self.retryable))


class RefusedError(TeacherError):
    """The endpoint understood the request and will never serve it as it is (400, 401, 403, 404)."""


class BudgetError(TeacherError):
    """The budget is reached. Nothing bought is lost; raise the budget and run again to resume."""

    exit_code = 4


class SandboxError(PotstillError):
    """The isolation obtained is weaker than configured, or the sandbox itself broke."""


class TooManyFailures(PotstillError):  # noqa: N818 - the interface's name
    """A stage lost more rows than its failure budget allows; every lost row is on record with its reason."""

    exit_code = 3


def _rebuild_teacher_error(cls: type[TeacherError], message: str, status: int | None, retryable: bool) -> TeacherError:
    return cls(message, status, retryable=retryable)


@contextmanager
def boundary(error: type[PotstillError], where: str, *foreign: type[Exception]) -> Iterator[None]:
    """Turn a foreign exception into ours, keeping its cause. The one place where foreign exceptions become ours.

    Args:
        error: The class to raise.
        where: What was being done, the first part of the message.
        foreign: The exception classes expected here (default: any `Exception`).
    """
    try:
        yield
    except PotstillError:
        raise
    except Exception as cause:
        if foreign and not isinstance(cause, foreign):
            raise
        message = f"{where}: {shorten(str(cause) or type(cause).__name__)}"
        raise error(message) from cause


def shorten(text: object, limit: int = 200) -> str:
    """Cut the text of a message to `limit` characters, on one line."""
    line = " ".join(str(text).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def require_extra(module: str, extra: str) -> None:
    """Raise `MissingExtraError` with the exact install command unless `module` can be imported."""
    from importlib.util import find_spec

    if find_spec(module.split(".")[0]) is None:
        message = f"'{module}' is not installed; this needs it: pip install 'potstill[{extra}]'"
        raise MissingExtraError(message)
