"""The embedded teacher as an endpoint: start the miniature's server on loopback for as long as a stage needs it.

The server is a process of its own and is spoken to over HTTP like any other endpoint. It ends with the process that
started it, also when that is killed: its standard input ends then.
"""

from __future__ import annotations

import asyncio
import hashlib
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from potstill.errors import TeacherError
from potstill.recipe.teachers import TeacherConfig

MINIATURE = "miniature"
START_TIMEOUT_S = 30.0


@asynccontextmanager
async def reachable(config: TeacherConfig) -> AsyncIterator[tuple[TeacherConfig, str | None]]:
    """Yield the teacher with a real address, and the name under which its completions are kept in the ledger.

    For `base_url: miniature` a server is started on a free port and stopped afterwards; since the port changes, the
    ledger knows it by the content of the world and teacher instead. Any other teacher is yielded as it is, with `None`.
    """
    if config.base_url != MINIATURE:
        yield config, None
        return
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "potstill.miniature.server", "--port", "0", "--until-eof",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        address = await _address(process)
        yield known_as(config).model_copy(update={"base_url": address, "api_key_env": None}), ledger_name(config)
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


def known_as(config: TeacherConfig) -> TeacherConfig:
    """Return the teacher with the model name under which it is asked."""
    if config.base_url != MINIATURE or config.model:
        return config
    return config.model_copy(update={"model": "miniature-teacher"})


def ledger_name(config: TeacherConfig) -> str | None:
    """Return the name that stands for the embedded teacher's changing address in the ledger; `None` for any other."""
    return f"miniature:{world_hash()}" if config.base_url == MINIATURE else None


def world_hash() -> str:
    """Return a hash of the sources that decide what the embedded teacher says."""
    folder = Path(__file__).parent
    digest = hashlib.sha256()
    instructions = ("instruction_grammar.py", "instructions.py", "instruction_teacher.py")
    labels = ("labels.py", "labels_edits.py", "labels_teacher.py")
    for name in ("world.py", "teacher.py", "programs.py", "answering.py", "rewording.py", *instructions, *labels):
        digest.update((folder / name).read_bytes())
    return digest.hexdigest()[:16]


async def _address(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None, "the server is started with its standard output piped"
    try:
        line = await asyncio.wait_for(process.stdout.readline(), START_TIMEOUT_S)
    except TimeoutError as cause:
        message = f"miniature: the embedded teacher did not start within {START_TIMEOUT_S:g} s; try again"
        raise TeacherError(message) from cause
    words = line.decode("utf-8", "replace").split()
    if not words or not words[0].startswith("http://"):
        message = "miniature: the embedded teacher ended at once; run `potstill serve --miniature` to see why"
        raise TeacherError(message)
    return words[0]
