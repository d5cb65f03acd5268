"""The host's side of a zygote: start it, prove its isolation, hand it programs, replace it when it dies."""

from __future__ import annotations

import json
import os
import select
import struct
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from potstill.errors import SandboxError, shorten
from potstill.recipe.rationales import SandboxConfig
from potstill.sandbox.routing import HEAVY_PACKAGES

START_S = 120.0
"""Longest start of a heavy zygote; on an idle machine it takes two seconds."""
LONGEST = 12
"""A program that makes some progress on a loaded machine is ended after this many wall limits; the zygote knows it as
`zygote.LONGEST`."""
GRACE_S = 20.0
"""How long a zygote may be silent after its own last limit before it counts as broken."""
MAX_FRAME = 1 << 28
BOOTSTRAP = (
    "import sys, types\n"
    "for name, path in (('potstill', {package!r}), ('potstill.sandbox', {folder!r})):\n"
    "    module = types.ModuleType(name)\n"
    "    module.__path__ = [path]\n"
    "    sys.modules[name] = module\n"
    "from potstill.sandbox.zygote import main\n"
    "main({settings!r})\n"
)
"""Imports the zygote without importing potstill: the package's dependencies stay outside."""
ENVIRONMENT = {"PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
"""All that a zygote inherits; it clears even this before the first program."""


class ZygoteDied(Exception):  # noqa: N818 - says what happened
    """The zygote ended, or fell silent, in the middle of a program."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """What the zygote measured of one program, and what the program's process wrote."""

    killed: str
    """cpu, wall or output where the zygote ended it; empty where it ended by itself."""
    signal: int
    exit: int | None
    cpu_ms: float
    wall_ms: float
    rss_mb: float
    written: bytes


@dataclass(slots=True)
class Zygote:
    """One zygote process. Used by one thread at a time."""

    heavy: bool
    config: SandboxConfig
    withhold: Sequence[str] = ()
    """Kernel features to do without, as a machine without them would: landlock, seccomp. For tests."""
    isolation: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    _process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process and check what isolation it obtained.

        Raises:
            SandboxError: It cannot start, is less isolated than configured, or its probe escaped.
        """
        settings = {
            "heavy": self.heavy,
            "packages": package_folders() if self.heavy else {},
            "withhold": list(self.withhold),
            "isolation": "none" if self.config.isolation.startswith("none") else "locked",
        }
        folder = Path(__file__).resolve().parent
        code = BOOTSTRAP.format(package=str(folder.parent), folder=str(folder), settings=settings)
        self._process = subprocess.Popen(
            [sys.executable, "-s", "-S", "-P", "-B", "-X", "utf8", "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=ENVIRONMENT,
            cwd="/",
            start_new_session=True,
            bufsize=0,
        )
        try:
            hello = json.loads(self._read(time.monotonic() + START_S))
        except ZygoteDied:
            self.stop()
            message = (
                f"sandbox: the {self.name} process ended before it was ready; `potstill doctor` shows what it needs"
            )
            raise SandboxError(message) from None
        self.isolation, self.versions = hello.get("isolation", ""), hello.get("versions", {})
        problem = judge_isolation(self.config, hello)
        if problem:
            self.stop()
            raise SandboxError(problem)

    @property
    def name(self) -> str:
        """The engine's name in results."""
        return "zygote-heavy" if self.heavy else "zygote-light"

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._process.pid if self._process is not None else None

    def run(self, program: str, *, pot_names: bool = False) -> Ended:
        """Run one program in a child of the zygote.

        Args:
            pot_names: Let it use the names of the Program-of-Thoughts form without importing them.

        Raises:
            ZygoteDied: The zygote was killed or fell silent; it is stopped, and the next `start` makes a new one.
        """
        config = self.config
        wall_s = config.cpu_s * config.wall_factor
        request = {
            "program": program,
            "pot_names": pot_names,
            "cpu_s": config.cpu_s,
            "wall_s": wall_s,
            "memory_mb": config.heavy_memory_mb if self.heavy else config.memory_mb,
            "max_output_bytes": config.max_output_bytes,
        }
        try:
            self._write(json.dumps(request).encode("ascii"))
            deadline = time.monotonic() + LONGEST * wall_s + GRACE_S
            measured = json.loads(self._read(deadline))
            return Ended(**measured, written=self._read(deadline))
        except ZygoteDied:
            self.stop()
            raise

    def is_running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        """End the process and the program it may be running; both are gone on return."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None, "started with pipes"
        assert process.stdout is not None, "started with pipes"
        process.stdin.close()
        process.stdout.close()
        try:
            process.wait(timeout=2.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _write(self, content: bytes) -> None:
        assert self._process is not None, "started"
        assert self._process.stdin is not None, "started with pipes"
        left = memoryview(struct.pack(">I", len(content)) + content)
        try:
            while left:
                left = left[os.write(self._process.stdin.fileno(), left) :]
        except OSError as error:
            raise ZygoteDied from error

    def _read(self, deadline: float) -> bytes:
        (size,) = struct.unpack(">I", self._read_exactly(4, deadline))
        if size > MAX_FRAME:
            raise ZygoteDied
        return self._read_exactly(size, deadline)

    def _read_exactly(self, size: int, deadline: float) -> bytes:
        assert self._process is not None, "started"
        assert self._process.stdout is not None, "started with pipes"
        descriptor = self._process.stdout.fileno()
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        parts, left = [], size
        while left:
            if not poll.poll(max(0, int(1000 * (deadline - time.monotonic())))):
                raise ZygoteDied
            part = os.read(descriptor, left)
            if not part:
                raise ZygoteDied
            parts.append(part)
            left -= len(part)
        return b"".join(parts)


def judge_isolation(config: SandboxConfig, hello: Mapping[str, Any]) -> str | None:
    """Return why what a zygote obtained is not enough, and what to do; `None` when it is."""
    if "broken" in hello:
        return f"sandbox: the process for programs could not be prepared ({shorten(hello['broken'])})"
    if config.isolation.startswith("none"):
        return None
    obtained = hello["isolation"]
    if "seccomp" not in obtained:
        return (
            f"sandbox.isolation: this machine gives {obtained}, without a seccomp filter; programs in CPython need one "
            "(Linux on x86_64 or aarch64, with seccomp not disabled for this container)"
        )
    if config.isolation == "strong" and "landlock" not in obtained:
        return (
            f"sandbox.isolation: this machine gives {obtained}, 'strong' needs Landlock too; use Linux 5.13 or newer "
            "with landlock in its `lsm=` list, or set sandbox.isolation to seccomp, where programs open no file"
        )
    if hello["escapes"]:
        return f"sandbox: the start-up test could still {', '.join(hello['escapes'])}; programs in CPython are refused"
    return None


def is_supported() -> str | None:
    """Return why this platform cannot have zygotes; `None` when it may."""
    if sys.platform != "linux":
        return f"programs in CPython are isolated on Linux only; this is {sys.platform}, where tier 1 alone runs"
    if not hasattr(os, "pidfd_open"):
        return "this Python was built without pidfd_open; programs in CPython need it"
    return None


def package_folders() -> dict[str, str]:
    """Return the folder that each allowed package, and what it needs, lies in; absent ones are left out."""
    folders = {}
    for name in (*HEAVY_PACKAGES, "six"):
        spec = find_spec(name)
        if spec is not None and spec.origin is not None:
            path = Path(spec.origin)
            folders[name] = str(path.parent.parent if spec.submodule_search_locations else path.parent)
    return folders
