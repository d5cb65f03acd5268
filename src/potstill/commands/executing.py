"""`potstill exec`: a file of programs through the sandbox, one result line each."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from potstill import engines
from potstill.commands.printing import print_text
from potstill.errors import ConfigError, shorten
from potstill.files import read_rows
from potstill.messages import say
from potstill.recipe.explaining import validated
from potstill.recipe.rationales import SandboxConfig
from potstill.recipe.scale import RayConfig
from potstill.streams import stream

TRUST = "none_because_i_trust_every_program"


def add(verb: str, parser: argparse.ArgumentParser) -> None:
    """Add the options of `exec`."""
    parser.add_argument("file", metavar="FILE", help='programs, one {"id", "program"} per line')
    parser.add_argument("--out", metavar="FILE", help="where to write the results [standard output]")
    parser.add_argument("--cpu-s", type=float, metavar="S", help="CPU seconds per program [2]")
    parser.add_argument("--memory-mb", type=int, metavar="MB", help="memory per program [256; 512 with numpy or sympy]")
    parser.add_argument("--max-output-bytes", type=int, metavar="N", help="longest output and answer [65536]")
    parser.add_argument("--workers", type=int, metavar="N", help="programs run at a time [one per core, at most 4]")
    parser.add_argument("--isolation", choices=("strong", "seccomp"), help="least isolation accepted [strong]")
    parser.add_argument(
        "--no-isolation-because-i-trust-every-program", action="store_true", help="run with resource limits only"
    )
    parser.add_argument(
        "--tiers", choices=("both", "monty", "cpython"), help="the engines that may run programs [both]"
    )
    parser.set_defaults(call=execute)


def execute(options: argparse.Namespace) -> int:
    """Run a file of programs and write one line for each; a failing program is a result."""
    config = sandbox_config(options)
    engine, cluster = engine_config(options)
    if options.dry_run:
        n_programs = sum(1 for _ in islice(read_rows(options.file), options.limit))
        print_text(f"{n_programs} programs; nothing was run")
        return 0
    with engines.opened_as(engine, cluster):
        counts = asyncio.run(_run(options, config))
    say("exec", f"{sum(counts.values())} programs: " + ", ".join(f"{name} {n}" for name, n in counts.most_common()))
    return 0


async def _run(options: argparse.Namespace, config: SandboxConfig) -> Counter[str]:
    counts: Counter[str] = Counter()
    lines = _lines(options, config)
    if options.out is None:
        async for status, line in lines:
            counts[status] += 1
            print_text(line)
        return counts
    with Path(options.out).open("w", encoding="utf-8") as file:  # noqa: ASYNC230 - nothing else waits on this loop
        async for status, line in lines:
            counts[status] += 1
            file.write(line + "\n")
    return counts


async def _lines(options: argparse.Namespace, config: SandboxConfig) -> AsyncIterator[tuple[str, str]]:
    from potstill.sandbox.execution import to_row
    from potstill.sandbox.running import run_programs

    ids: list[Any] = []

    def programs() -> Iterator[Any]:
        for where, row in islice(read_rows(options.file), options.limit):
            ids.append(row.get("id", where))
            yield row.get("program")

    engine = engines.running()
    results = run_programs(programs(), config) if engine is None else engine.execute(programs(), config)
    async for result in stream(results):
        yield result.status, json.dumps(to_row(ids.pop(0), result))


def sandbox_config(options: argparse.Namespace) -> SandboxConfig:
    """Return the sandbox's settings from the options and from `--set sandbox.KEY=VALUE`.

    Raises:
        ConfigError: A key is unknown or a value out of range.
    """
    given: dict[str, Any] = {}
    for name in ("cpu_s", "memory_mb", "max_output_bytes", "workers", "isolation", "tiers"):
        if getattr(options, name) is not None:
            given[name] = getattr(options, name)
    if "memory_mb" in given:
        given["heavy_memory_mb"] = given["memory_mb"]
    if options.no_isolation_because_i_trust_every_program:
        given["isolation"] = TRUST
    for pair in options.set:
        key, separator, value = pair.partition("=")
        if separator and (key == "engine" or key.startswith("ray.")):
            continue
        if not separator or not key.startswith("sandbox."):
            message = (
                f"--set {pair}: `exec` reads the sandbox's settings and the engine's only; give sandbox.KEY=VALUE, "
                "engine=ray, ray.KEY=VALUE"
            )
            raise ConfigError(message)
        given[key.removeprefix("sandbox.")] = yaml.safe_load(value)
    try:
        return SandboxConfig(**given)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        known = ", ".join(SandboxConfig.model_fields)
        message = f"sandbox.{name}: found {shorten(repr(first['input']), 80)}; {first['msg']}; the settings are {known}"
        raise ConfigError(message) from error


def engine_config(options: argparse.Namespace) -> tuple[str, RayConfig]:
    """Return the engine's name and the cluster's settings from `--set engine=ray` and `--set ray.KEY=VALUE`.

    Raises:
        ConfigError: There is no such engine, a key is unknown, or a value out of range.
    """
    pairs = [pair.partition("=") for pair in options.set]
    names = [value for key, _, value in pairs if key == "engine"]
    if any(name not in ("local", "ray") for name in names):
        message = f"engine: got {shorten(repr(names[-1]), 80)}; expected local or ray"
        raise ConfigError(message)
    given = {key.removeprefix("ray."): yaml.safe_load(value) for key, _, value in pairs if key.startswith("ray.")}
    return names[-1] if names else "local", validated(RayConfig, given, "ray")
