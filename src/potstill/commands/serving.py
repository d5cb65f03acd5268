"""`potstill serve` and `potstill doctor`: the embedded teacher's or a student's endpoint, and what this machine has."""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from potstill.commands.printing import print_json, print_text
from potstill.errors import ConfigError
from potstill.records import ANSWER_TYPES

if TYPE_CHECKING:
    from potstill.students.serving import Served


def add(verb: str, parser: argparse.ArgumentParser) -> None:
    """Add the options of `serve` or `doctor`."""
    if verb == "serve":
        parser.add_argument("student", nargs="?", metavar="STUDENT", help="the student's folder or name")
        parser.add_argument("--miniature", action="store_true", help="serve the embedded teacher")
        parser.add_argument(
            "--paths", metavar="KIND=K,…", help="answer by a vote over so many paths, e.g. cot=10,pot=10"
        )
        parser.add_argument("--answer-type", choices=ANSWER_TYPES, default="text", help="of a vote [text]")
        parser.add_argument("--port", type=int, default=0, metavar="P", help="port on loopback [a free one]")
        parser.set_defaults(call=serve)
    else:
        parser.add_argument("--base-url", metavar="URL", help="also ask this endpoint whether it answers")
        parser.set_defaults(call=doctor)


def serve(options: argparse.Namespace) -> int:
    """Serve until stopped."""
    if options.miniature == bool(options.student):
        message = "serve: give either a student's folder or name, or --miniature for the embedded teacher"
        raise ConfigError(message)
    if options.miniature:
        from potstill.miniature.server import serve as serve_miniature

        serve_miniature(options.port)
        return 0
    from potstill.miniature.loopback import run_until_stopped
    from potstill.students.serving import serving

    run_until_stopped(serving(_served(options), port=options.port))
    return 0


def _served(options: argparse.Namespace) -> Served:
    """Return the student that the options name, loaded, in the form that it was trained in."""
    from potstill.commands.given import read_pairs, recipe_of
    from potstill.students.cards import read_record
    from potstill.students.inference import mix_of, open_for_asking
    from potstill.students.loading import resolve_source
    from potstill.students.serving import Served

    settings = {"paths": read_pairs(options.paths, "--paths", int)} if options.paths else {}
    recipe = recipe_of(options, {"infer": settings})
    is_said = options.recipe or any(pair.startswith("mix.") for pair in options.set)
    source = resolve_source(options.student)
    return Served(
        loaded=open_for_asking(source),
        name=Path(options.student).name,
        mix=recipe.mix if is_said else mix_of(source),
        config=recipe.infer,
        is_trained=bool(is_said) or read_record(Path(source)) is not None,
        votes=bool(options.paths),
        answer_type=options.answer_type,
        verify=recipe.verify,
        sandbox=recipe.sandbox,
        seed=recipe.seed,
    )


def doctor(options: argparse.Namespace) -> int:
    """Print the environment."""
    facts = environment_facts(options.base_url)
    if options.json:
        print_json(facts)
    else:
        for name, value in facts.items():
            print_text(f"{name:<14}{value}")
    return 0


def environment_facts(base_url: str | None) -> dict[str, Any]:
    """Return versions, cores, accelerator, disk, the ledger's place and, if asked, the endpoint's answer."""
    from potstill.run import environment
    from potstill.teachers.ledger import default_ledger_path

    versions = environment()["versions"]
    ledger = default_ledger_path()
    facts: dict[str, Any] = {
        "python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        **{name: versions.get(name, "not installed") for name in ("potstill", "torch", "transformers", "math-verify")},
        "cores": os.cpu_count(),
        "accelerator": accelerator(),
        "disk free": f"{shutil.disk_usage(Path.cwd()).free / 1e9:.1f} GB here",
        "ledger": f"{ledger} ({'exists' if ledger.exists() else 'not made yet'}, {file_system(ledger)})",
        "sandbox": sandbox_state(),
    }
    if base_url:
        facts["endpoint"] = asyncio.run(endpoint_state(base_url))
    return facts


def sandbox_state() -> str:
    """Name the isolation that programs get on this machine, by the sandbox's own test of it."""
    from importlib.util import find_spec

    if find_spec("pydantic_monty") is None:
        return "not installed (pip install 'potstill[sandbox]'); no program is run"
    from potstill.sandbox.running import describe_isolation

    return "; ".join(f"{name} {value}" for name, value in describe_isolation().items())


def accelerator() -> str:
    """Name the accelerator that torch sees."""
    from importlib.util import find_spec

    if find_spec("torch") is None:
        return "unknown (torch is not installed: pip install 'potstill[train]')"
    import torch

    if torch.cuda.is_available():
        return f"CUDA, {torch.cuda.get_device_name(0)}"
    if torch.backends.mps.is_available():
        return "MPS"
    return "none, CPU only"


def file_system(path: Path) -> str:
    """Name the type of file system that a path lies on; SQLite must not live on a network one."""
    folder = next(parent for parent in [path, *path.parents] if parent.exists())
    mounts = Path("/proc/self/mounts")
    if not mounts.exists():
        return "file system unknown"
    best, kind = "", "unknown"
    for line in mounts.read_text(encoding="utf-8").splitlines():
        _, point, found, *_ = line.split()
        if str(folder.resolve()).startswith(point) and len(point) >= len(best):
            best, kind = point, found
    warning = (
        ": a network file system, give --ledger a local path" if kind.startswith(("nfs", "cifs", "fuse.ssh")) else ""
    )
    return f"{kind}{warning}"


async def endpoint_state(base_url: str) -> str:
    """Say whether something answers at an address; costs no tokens."""
    import aiohttp

    if urlsplit(base_url).scheme not in ("http", "https"):
        return f"{base_url}: not an http or https address"
    try:
        timeout = aiohttp.ClientTimeout(total=10)
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(f"{base_url}/models") as answer:
            return f"{base_url}: answers ({answer.status} to GET /models)"
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        return f"{base_url}: no answer ({type(error).__name__}: {error})"
