"""A teacher for tests: answers from a list or a function, and keeps what it was asked."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from potstill.teachers.base import Completion, Meter, Request

Answer = str | Completion | Exception
"""A text, a whole completion, or an error to raise."""


class FakeTeacher:
    """Answers from a queue (in order of asking) or from a function of (request, index); remembers its `calls`.

    An exhausted queue gives completions with finish `error`, reason `no_more_answers`.
    """

    def __init__(
        self, answers: Iterable[Answer] | Callable[[Request, int], Answer] = (), *, author: str = "fake"
    ) -> None:
        self.author = author
        self.meter = Meter()
        self.calls: list[tuple[Request, tuple[int, ...]]] = []
        self.is_closed = False
        self._write = answers if callable(answers) else None
        self._queue: deque[Answer] = deque(() if callable(answers) else answers)

    async def complete(self, request: Request, indices: Sequence[int]) -> list[Completion]:
        """Return one completion per index."""
        self.calls.append((request, tuple(indices)))
        self.meter.sent += 1
        return [self._one(request, index) for index in indices]

    async def aclose(self) -> None:
        """Remember that it was closed."""
        self.is_closed = True

    def _one(self, request: Request, index: int) -> Completion:
        self.meter.completions += 1
        if self._write is not None:
            answer = self._write(request, index)
        elif self._queue:
            answer = self._queue.popleft()
        else:
            answer = Completion(text="", finish="error", reason="no_more_answers")
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, str):
            words = len(answer.split())
            answer = Completion(text=answer, finish="stop", usage={"completion_tokens": words, "estimated": 1})
        return replace(answer, index=index, request=request.key("fake"))
