"""Where a teacher is: the embedded one gets a server, a local one its model, and both a name that lasts in the ledger.

An endpoint is known by its address. The embedded teacher's port changes from run to run, and a folder's content may:
these are known by what decides what they say.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from potstill.engines import running
from potstill.miniature import embedded
from potstill.recipe.teachers import TeacherConfig
from potstill.teachers import local


def known_as(config: TeacherConfig) -> TeacherConfig:
    """Return the teacher as it is asked: by its model's name, through the API that it knows, a batch at a time."""
    if config.batching is not None:
        return config.model_copy(update={"max_concurrency": config.batching.most})
    return local.settled(config) if config.local is not None else embedded.known_as(config)


def ledger_name(config: TeacherConfig) -> str | None:
    """Return the name that stands in the ledger's keys for a teacher without a lasting address; `None` for others."""
    return local.ledger_name(config.local) if config.local is not None else embedded.ledger_name(config)


@asynccontextmanager
async def reachable(config: TeacherConfig) -> AsyncIterator[tuple[TeacherConfig, str | None]]:
    """Yield the teacher as it can be opened now, and its name in the ledger's keys; see `ledger_name`."""
    async with embedded.reachable(known_as(config)) as (reached, _):
        engine = running()
        yield reached if engine is None else engine.widened(reached), ledger_name(config)
