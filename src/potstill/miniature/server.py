"""The miniature's teacher as a real OpenAI-compatible server on loopback; also the mock server of tests and benchmarks.

    potstill serve --miniature --port 8090
    python -m potstill.miniature.server --canned 1200 --latency 0.05 --p-429 0.05 --log requests.jsonl

Routes: POST /v1/chat/completions and /v1/completions, GET /v1/models and /health; for tests POST /config (change any
knob), POST /reset (counters and log), GET /stats?expect=K. What each does is in `routes`, what can go wrong in
`faults`, the books in `witness`. It never leaves this machine: it binds to loopback and refuses a foreign Host.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from potstill.errors import ConfigError
from potstill.miniature.answering import Writer, canned_writer
from potstill.miniature.faults import Knobs
from potstill.miniature.loopback import listening, run_until_stopped
from potstill.miniature.routes import TeacherServer
from potstill.miniature.witness import Witness, open_log


@contextlib.asynccontextmanager
async def serving(
    writer: Writer, *, port: int = 0, host: str = "127.0.0.1", log: str | Path | None = None, **knobs: Any
) -> AsyncIterator[str]:
    """Serve inside the running event loop; yields the base URL, such as `http://127.0.0.1:41234/v1`.

    Raises:
        ConfigError: A knob is wrong, the host is not loopback, or the port is taken.
    """
    settings = Knobs().changed(knobs)
    with contextlib.ExitStack() as stack:
        file = open_log(log)
        if file is not None:
            stack.enter_context(file)
        server = TeacherServer(writer, settings, Witness(log=file))
        flushing = asyncio.create_task(server.flush_log())
        try:
            async with listening(server, port, host) as address:
                yield address
        finally:
            flushing.cancel()


def run_server(
    writer: Writer, port: int = 0, host: str = "127.0.0.1", *, log: str | Path | None = None,
    until_eof: bool = False, **knobs: Any,
) -> None:  # fmt: skip
    """Serve until SIGTERM or SIGINT, in the main thread; prints one line with the base URL when ready.

    Args:
        writer: What writes the answers.
        log: A file that gets one JSON line per request.
        until_eof: Stop also when standard input ends, so that the server never outlives the process that started it.
        knobs: Fields of `Knobs`.
    """
    run_until_stopped(serving(writer, port=port, host=host, log=log, **knobs), until_eof=until_eof)


def serve(port: int = 0, host: str = "127.0.0.1", **options: Any) -> None:
    """Serve the miniature's teacher until SIGTERM; `options` as of `run_server`."""
    run_server(_teacher(int(options.get("canned", 0))), port, host, **options)


@contextlib.contextmanager
def launched(**options: Any) -> Iterator[str]:
    """Start the server as a process of its own on a free port; yields its base URL and stops it in the end.

    Args:
        options: `log`, `port` and fields of `Knobs`. The process also ends when this one does.
    """
    command = [sys.executable, "-m", "potstill.miniature.server", "--until-eof"]
    for name, value in options.items():
        if value is not None:
            command += [f"--{name.replace('_', '-')}", str(value)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None, "stdout is a pipe"
            address = process.stdout.readline().strip()
            if not address:
                message = f"the miniature's server did not start (exit code {process.wait()}); its error is above"
                raise ConfigError(message)
            yield address
        finally:
            process.terminate()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the server from the command line."""
    options = vars(parser().parse_args(arguments))
    try:
        serve(**options)
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


def parser() -> argparse.ArgumentParser:
    """Return the command line: one option per knob."""
    result = argparse.ArgumentParser(prog="potstill serve --miniature", description=__doc__.splitlines()[0])
    result.add_argument("--port", type=int, default=0, help="0: a free one, printed when ready")
    result.add_argument("--host", default="127.0.0.1")
    result.add_argument("--log", help="file for one JSON line per request")
    result.add_argument("--until-eof", action="store_true", help="stop also when standard input ends")
    for name, default in ((f.name, f.default) for f in fields(Knobs)):
        read = _switch if isinstance(default, bool) else type(default)
        result.add_argument(f"--{name.replace('_', '-')}", type=read, default=default, metavar=str(default) or "TEXT")
    return result


def _switch(text: str) -> bool:
    words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if text.lower() not in words:
        message = f"expected true or false, got {text!r}"
        raise argparse.ArgumentTypeError(message)
    return words[text.lower()]


def _teacher(canned: int) -> Writer:
    if canned:
        return canned_writer(canned, Knobs().wrong)
    from potstill.miniature.speaking import write

    return write


if __name__ == "__main__":
    sys.exit(main())
