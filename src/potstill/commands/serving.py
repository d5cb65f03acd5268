"""`potstill serve` and `potstill doctor`: the embedded teacher's endpoint, and what this machine has."""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from potstill.commands.printing import print_json, print_text
from potstill.errors import ConfigError


def add(verb: str, parser: argparse.ArgumentParser) -> None:
    """Add the options of `serve` or `doctor`."""
    if verb == "serve":
        parser.add_argument("--miniature", action="store_true", help="serve the embedded teacher")
        parser.add_argument("--port", type=int, default=0, metavar="P", help="port on loopback [a free one]")
        parser.set_defaults(call=serve)
    else:
        parser.add_argument("--base-url", metavar="URL", help="also ask this endpoint whether it answers")
        parser.set_defaults(call=doctor)


def serve(options: argparse.Namespace) -> int:
    """Serve until stopped."""
    if not options.miniature:
        message = "serve: only the embedded teacher can be served in this version; write `potstill serve --miniature`"
        raise ConfigError(message)
    from potstill.miniature.server import serve as serve_miniature

    serve_miniature(options.port)
    return 0


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
