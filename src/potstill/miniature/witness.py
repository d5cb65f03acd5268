"""The server's own books: what was asked, what was billed, and what was bought twice.

The witness of every kill, resume, lease and top-up test: the client's account of itself is not evidence.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any


@dataclass(slots=True, kw_only=True)
class Ticket:
    """One request, from its arrival to its line in the log."""

    id: int
    began: float
    key: str = ""
    """Hash of the body as sorted JSON."""
    prompt: str = ""
    """Hash of the prompt."""
    n: int = 1
    fault: str | None = None
    stage: str = ""
    status: int = 0
    tokens: int = 0
    completions: int = 0
    """Choices billed; 0: not billed."""
    is_gone: bool = False


@dataclass(slots=True)
class Witness:
    """Counters since the start or the last reset, and the request log."""

    log: IO[str] | None = None
    in_flight: int = 0
    max_in_flight: int = 0
    requests: int = 0
    completions: int = 0
    tokens: int = 0
    connections: int = 0
    gone: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    billed: Counter[str] = field(default_factory=Counter)
    """Body key -> times billed."""
    bodies: Counter[str] = field(default_factory=Counter)
    """Body key -> times asked."""
    prompts: Counter[str] = field(default_factory=Counter)

    def open(self) -> Ticket:
        """Count a request in."""
        self.requests += 1
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        return Ticket(id=self.requests, began=time.time())

    def identify(self, ticket: Ticket) -> int:
        """Count a readable body; return how often it had come before."""
        before = self.bodies[ticket.key]
        self.bodies[ticket.key] = before + 1
        self.prompts[ticket.prompt] += 1
        return before

    def bill(self, ticket: Ticket, completions: int, tokens: int) -> None:
        """Charge an answer that has been generated."""
        ticket.completions, ticket.tokens = completions, tokens
        self.completions += completions
        self.tokens += tokens
        self.billed[ticket.key] += 1

    def close(self, ticket: Ticket, status: int, *, is_gone: bool = False) -> None:
        """Count a request out and write its line; status 0: no answer was sent."""
        self.in_flight -= 1
        self.statuses[status] += 1
        if ticket.fault:
            self.faults[ticket.fault] += 1
        self.gone += is_gone
        ticket.status, ticket.is_gone = status, is_gone
        if self.log is not None:
            self.log.write(json.dumps(_line(ticket), separators=(",", ":")) + "\n")

    def stats(self, expect: int = 1) -> dict[str, Any]:
        """Return the counters; `dup_requests` is what was billed beyond `expect` times per body ("paid twice")."""
        return {
            "requests": self.requests,
            "billed_requests": self.billed.total(),
            "billed_completions": self.completions,
            "billed_tokens": self.tokens,
            "distinct_bodies": len(self.bodies),
            "distinct_prompts": len(self.prompts),
            "dup_requests": sum(times - expect for times in self.billed.values() if times > expect),
            "client_gone": self.gone,
            "in_flight": self.in_flight,
            "max_in_flight": self.max_in_flight,
            "connections": self.connections,
            "statuses": {str(status): count for status, count in sorted(self.statuses.items())},
            "faults": dict(sorted(self.faults.items())),
        }

    def reset(self) -> None:
        """Forget everything but what is in flight."""
        log, in_flight = self.log, self.in_flight
        if log is not None:
            log.seek(0)
            log.truncate()
        for name, value in _fresh().items():
            setattr(self, name, value)
        self.log, self.in_flight = log, in_flight

    def flush(self) -> None:
        """Hand the log's lines to the system."""
        if self.log is not None:
            self.log.flush()


def open_log(path: str | Path | None) -> IO[str] | None:
    """Open a request log for appending; the caller closes it."""
    return None if path is None else Path(path).open("a", encoding="utf-8")


def _fresh() -> dict[str, Any]:
    fresh = Witness()
    return {name: getattr(fresh, name) for name in Witness.__slots__}


def _line(ticket: Ticket) -> dict[str, Any]:
    return {
        "time": round(ticket.began, 6),
        "seconds": round(time.time() - ticket.began, 6),
        "id": ticket.id,
        "key": ticket.key,
        "prompt": ticket.prompt,
        "n": ticket.n,
        "status": ticket.status,
        "fault": ticket.fault,
        "tokens": ticket.tokens,
        "billed": ticket.completions,
        "client_gone": ticket.is_gone,
    }
