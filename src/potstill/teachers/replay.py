"""A teacher without a model: recorded rationales, served again.

Reads files of recorded rationales (`question_id` or `problem_id`, `kind`, `text`, `teacher` or `author`, `finish` or
`finish_reason`), also our own `rationales.jsonl`. The i-th one recorded for a problem and kind is completion i; what
was not recorded is a completion that says so. Nothing is sent, charged or kept in a ledger.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from potstill.errors import ConfigError, DataError
from potstill.files import read_rows
from potstill.teachers.base import Completion, Meter, Request

_OURS = ("question_id", "problem_id", "kind", "text", "teacher", "author", "finish", "finish_reason")
_READ = frozenset((*_OURS, "reason", "reasoning_content", "logprob", "usage"))
_FINISHES = {"stop": "stop", "length": "length", "max_tokens": "length", "content_filter": "refused"}


class ReplayTeacher:
    """Serves recorded rationales in the order in which they stand in the file."""

    def __init__(self, path: str | Path | Sequence[str | Path], *, author: str = "") -> None:
        """Read the file, or several one after another.

        Args:
            path: The recorded rationales.
            author: Serve this author's only; empty: everybody's.

        Raises:
            DataError: The file cannot be read or a row lacks a field.
            ConfigError: Nobody in the file has that name.
        """
        paths = [Path(path)] if isinstance(path, str | Path) else [Path(one) for one in path]
        self.path = ", ".join(str(one) for one in paths)
        self.author = author or f"replay:{'+'.join(one.name for one in paths)}"
        self.meter = Meter()
        self._recorded: dict[tuple[str, str], list[Completion]] = {}
        self._by_problem: dict[str, list[Completion]] = {}
        authors: set[str] = set()
        for where, row in (pair for one in paths for pair in read_rows(one)):
            problem_id, kind, completion = read_recorded(row, where)
            view = completion.meta.get("view")
            authors.add(completion.author or "")
            if not author or completion.author == author:
                for way in (kind, *([f"{kind}/{view}"] if view else [])):
                    self._recorded.setdefault((problem_id, way), []).append(completion)
                self._by_problem.setdefault(problem_id, []).append(completion)
        self._require_any(author, authors)

    def __repr__(self) -> str:
        return f"ReplayTeacher({self.path!r})"

    def available(self, problem_id: str, kind: str | None = None) -> int:
        """Return how many are recorded for a problem (and kind)."""
        return len(self._of(problem_id, kind))

    async def complete(self, request: Request, indices: Sequence[int]) -> list[Completion]:
        """Return the recorded completions of the request's problem; as `Teacher.complete`."""
        if request.problem_id is None:
            message = f"replay {self.path}: the request names no problem; set Request.problem_id"
            raise DataError(message)
        recorded = self._of(request.problem_id, request.kind)
        return [self._one(recorded, index) for index in indices]

    async def aclose(self) -> None:
        """Close nothing."""

    def _of(self, problem_id: str, kind: str | None) -> list[Completion]:
        if kind is None:
            return self._by_problem.get(problem_id, [])
        return self._recorded.get((problem_id, kind.removesuffix("/given")), [])

    def _one(self, recorded: Sequence[Completion], index: int) -> Completion:
        self.meter.completions += 1
        if index < len(recorded):
            found = replace(recorded[index], index=index)
        else:
            reason = f"not_recorded: {len(recorded)} recorded for this problem"
            found = Completion(text="", finish="error", reason=reason, index=index)
        if found.failed:
            self.meter.failures[f"{found.finish}:{(found.reason or '').partition(':')[0]}"] += 1
        return found

    def _require_any(self, author: str, authors: set[str]) -> None:
        if not authors:
            message = f"replay {self.path}: the file is empty; give recorded rationales, one per line"
            raise DataError(message)
        if not self._recorded:
            found = ", ".join(sorted(authors)[:10])
            message = f"teacher.model: {author!r} wrote nothing in {self.path}; authors there: {found}"
            raise ConfigError(message)


def read_recorded(row: Mapping[str, Any], where: str) -> tuple[str, str, Completion]:
    """Return (problem id, kind, completion) of one recorded row; columns that are not ours are kept under `meta`.

    Raises:
        DataError: The problem's id, the kind or the text is missing.
    """
    problem_id, kind, text = row.get("problem_id", row.get("question_id")), row.get("kind"), row.get("text")
    if not isinstance(problem_id, str) or not isinstance(kind, str) or "text" not in row:
        message = f"{where}: a recorded rationale needs problem_id (or question_id), kind and text; correct the file"
        raise DataError(message)
    if text is not None and not isinstance(text, str):
        message = f"{where}: field 'text' is {type(text).__name__}; expected a string or null"
        raise DataError(message)
    finish, reason = _finish(row, text)
    usage = row.get("usage") if isinstance(row.get("usage"), dict) else {}
    logprob = row.get("logprob")
    completion = Completion(
        text=text or "",
        finish=finish,
        reason=reason,
        reasoning_content=row.get("reasoning_content"),
        usage=usage or {},
        logprob=logprob if isinstance(logprob, int | float) else None,
        author=str(row.get("author") or row.get("teacher") or "") or None,
        meta={name: value for name, value in row.items() if name not in _READ},
    )
    return problem_id, kind, completion


def _finish(row: Mapping[str, Any], text: str | None) -> tuple[str | None, str | None]:
    """Return (finish, reason) of a recorded row; `None` where the recording does not say."""
    raw = row.get("finish") or row.get("finish_reason")
    reason = row.get("reason") if isinstance(row.get("reason"), str) else None
    if raw in ("refused", "empty", "error"):
        return raw, reason or "recorded"
    if not (text or "").strip():
        return "empty", reason or ("null_content" if text is None else "empty_content")
    return _FINISHES.get(str(raw)), reason
