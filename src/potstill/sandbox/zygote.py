"""The zygote: a process that has imported everything once and forks a locked-down child per program.

Started by `exec` with an empty environment, never forked from a process that holds keys. It talks on its standard
input and output in frames (four bytes of length, then the content). A request is one JSON object: program, pot_names,
cpu_s, wall_s, memory_mb, max_output_bytes. The reply is one JSON object of what was measured, then a frame of what the
child wrote, passed on unread. It runs one program at a time; several zygotes run side by side.

Stands alone: it imports the standard library, the packages that programs may use, and its neighbours in this folder
that do the same.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import select
import signal
import struct
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

from potstill.sandbox import answering, lockdown

STDLIB = (
    "abc", "array", "ast", "base64", "binascii", "bisect", "calendar", "cmath", "collections", "collections.abc",
    "contextlib", "copy", "csv", "dataclasses", "datetime", "decimal", "difflib", "enum", "errno", "fractions",
    "functools", "hashlib", "heapq", "inspect", "io", "itertools", "json", "keyword", "locale", "math", "numbers",
    "operator", "pprint", "queue", "random", "re", "shlex", "statistics", "string", "struct", "textwrap", "threading",
    "time", "timeit", "traceback", "types", "typing", "unicodedata", "uuid", "warnings", "weakref", "zlib", "zoneinfo",
    "_strptime", "_posixsubprocess", "subprocess", "signal", "resource", "socket", "tempfile", "pickle",
    "multiprocessing", "mmap", "encodings.idna", "encodings.ascii", "encodings.latin_1", "encodings.utf_8_sig",
)  # fmt: skip
"""Imported before the lock-down: extension modules cannot be loaded after it, and the rest is faster so."""
HEAVY = {
    "numpy": ("numpy", "numpy.linalg", "numpy.random", "numpy.fft", "numpy.polynomial", "numpy.ma"),
    "mpmath": ("mpmath",),
    "sympy": (
        "sympy", "sympy.abc", "sympy.solvers.diophantine", "sympy.stats", "sympy.physics.units", "sympy.geometry",
        "sympy.ntheory", "sympy.combinatorics", "sympy.polys.polyfuncs", "sympy.integrals.manualintegrate",
        "sympy.integrals.meijerint", "sympy.integrals.heurisch", "sympy.solvers.ode", "sympy.solvers.inequalities",
        "sympy.parsing.sympy_parser", "sympy.functions.special.hyper", "sympy.series.gruntz", "sympy.concrete.gosper",
        "sympy.utilities.lambdify", "sympy.sets.handlers.intersection", "sympy.sets.handlers.union",
        "sympy.solvers.polysys", "sympy.solvers.recurr", "sympy.matrices.expressions", "sympy.logic.algorithms.dpll2",
        "sympy.printing.latex", "sympy.printing.pretty", "sympy.polys.numberfields.minpoly", "sympy.simplify.fu",
    ),
    "dateutil": ("dateutil", "dateutil.parser", "dateutil.relativedelta", "dateutil.rrule", "dateutil.tz"),
}  # fmt: skip
WARM_UP = (
    "from sympy import *",
    "x, y = symbols('x y')",
    "solve([x + y - 3, x - y - 1], [x, y]); solve(x**2 - 3*x + 2, x); solve(Eq(2*x + 3, 7), x)",
    "simplify((x**2 - 1)/(x - 1)); expand((x + y)**3); factor(x**3 - 1); diff(sin(x)*x, x)",
    "str(integrate(x**2 + cos(x), x)); limit(sin(x)/x, x, 0); sqrt(8) + Rational(1, 3); N(pi, 20)",
    "summation(x, (x, 1, 9)); latex(x**2/3); pretty(x); lambdify(x, x**2)(3); gcd(12, 18); floor(log(8, 2))",
    "solve(x > 2, x); solveset(x**2 - 4, x); nsolve(cos(x) - x, 1); binomial(10, 3); Matrix([[1, 2], [3, 4]]).inv()",
)  # fmt: skip
"""Run once in the heavy zygote, so that what SymPy imports and caches on first use is there for every child."""


PTRACE_SEIZE = 0x4206
BUSY_FRAC = 0.02
"""A child that used less of a CPU than this was waiting."""
LONGEST = 12
"""Wall limits after which a child is ended though it is busy."""


class AllowedPackages:
    """An import finder for the packages that programs may use, and nothing else of the folder they lie in."""

    def __init__(self, folders: Mapping[str, str]) -> None:
        self.folders = dict(folders)

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> Any:
        """Find an allowed top-level package; submodules are found through their package."""
        folder = self.folders.get(name)
        found: ModuleSpec | None = PathFinder.find_spec(name, [folder]) if folder and path is None else None
        return found


def main(settings: Mapping[str, Any]) -> None:
    """Prepare, lock down, prove it, then serve programs until the host closes the pipe."""
    requests, replies = os.dup(0), os.dup(1)
    try:
        hello = _prepare(settings)
    except Exception as error:  # noqa: BLE001 - told to the host, which decides
        write_frame(replies, json.dumps({"broken": f"{type(error).__name__}: {error}"[:1000]}).encode())
        return
    serving = Serving(requests, replies, hello)
    hello["escapes"] = serving.probe() if hello["isolation"] != "rlimit" else []
    write_frame(replies, json.dumps(hello).encode())
    while (frame := read_frame(requests)) is not None:
        serving.serve(json.loads(frame))


def _prepare(settings: Mapping[str, Any]) -> dict[str, Any]:
    heavy, withheld = bool(settings["heavy"]), set(settings["withhold"])
    sys.meta_path.append(AllowedPackages(settings["packages"]))  # type: ignore[arg-type]
    for name in STDLIB:
        _import(name)
    versions = {"cpython": ".".join(map(str, sys.version_info[:3]))}
    if heavy:
        versions |= _import_packages()
    _settle()
    base = lockdown.address_space()
    null = os.open("/dev/null", os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    os.close(null)
    isolated = settings["isolation"] != "none"
    user = lockdown.drop_privileges(os.__file__) if isolated else "as the user"
    lock = 0 if "landlock" in withheld or not isolated else lockdown.restrict_paths(_readable(settings["packages"]))
    code = None if "seccomp" in withheld or not isolated else lockdown.program_filter(with_paths=bool(lock))
    words = [*(["seccomp"] if code else []), *([f"landlock{lock}"] if lock else []), "rlimit"]
    return {"isolation": "+".join(words), "user": user, "versions": versions, "address_space": base, "_filter": code}


def _import(name: str) -> str | None:
    try:
        return str(getattr(importlib.import_module(name), "__version__", ""))
    except ImportError:
        return None


def _import_packages() -> dict[str, str]:
    versions = {}
    for package, names in HEAVY.items():
        version = _import(package)
        if version is not None:
            versions[package] = version
            for name in names:
                _import(name)
    if "sympy" in versions:
        values: dict[str, Any] = {}
        for line in WARM_UP:
            exec(line, values)
    if "numpy" in versions:
        importlib.import_module("numpy").random.seed(0)
    return versions


def pot_names() -> dict[str, Any]:
    """Return the names that programs in the Program-of-Thoughts form use without importing them.

    Source: Chen et al. 2022, arXiv:2211.12588; their prompts show programs that begin after these imports, and
    `solve_it`, a `solve` that returns the first solution as a mapping, with None where there is none.
    """
    names: dict[str, Any] = {"math": sys.modules["math"], "statistics": sys.modules["statistics"]}
    if "numpy" in sys.modules:
        names["np"] = sys.modules["numpy"]
    if "sympy" in sys.modules:
        sympy: Any = sys.modules["sympy"]

        def solve_it(equation: Any, variable: Any) -> dict[Any, Any]:
            found = sympy.solve(equation, variable, dict=True)
            return found[0] if found else dict.fromkeys(variable if isinstance(variable, list) else [variable])

        names |= {name: getattr(sympy, name) for name in ("Symbol", "Eq", "solve", "simplify")}
        names["solve_it"] = solve_it
    return names


def _settle() -> None:
    """Make what programs can observe the same every time, and what they share cheap to fork."""
    import _sitebuiltins
    import builtins
    import warnings

    builtins.exit = _sitebuiltins.Quitter("exit", "Ctrl-D")  # type: ignore[assignment]
    builtins.quit = _sitebuiltins.Quitter("quit", "Ctrl-D")  # type: ignore[assignment]
    warnings.simplefilter("ignore")
    os.environ.clear()
    time.sleep = _sleep  # type: ignore[assignment]
    for name in ("potstill", "potstill.sandbox"):
        sys.modules.pop(name, None)
    gc.collect()
    gc.freeze()
    gc.disable()


def _sleep(seconds: float, /) -> None:
    """Return at once: waiting changes no answer."""
    if seconds < 0:
        message = "sleep length must be non-negative"
        raise ValueError(message)


def _readable(packages: Mapping[str, str]) -> list[tuple[str, int]]:
    """Paths that programs may read: the standard library's own files, the allowed packages, the time zones."""
    rules = [("/usr/share/zoneinfo", lockdown.READ_FILE | lockdown.READ_DIR)]
    stdlib = {os.path.dirname(os.__file__), *(path for path in sys.path if "lib" in path)}  # noqa: PTH120
    for folder in stdlib:
        rules.append((folder, lockdown.READ_DIR))
        try:
            names = os.listdir(folder)  # noqa: PTH208 - pathlib is not loaded here
        except OSError:
            continue
        rules += [
            (f"{folder}/{name}", lockdown.READ_FILE | lockdown.READ_DIR)
            for name in names
            if name not in ("site-packages", "dist-packages")
        ]
    for name, folder in packages.items():
        for path in (f"{folder}/{name}", f"{folder}/{name}.py"):
            rules.append((path, lockdown.READ_FILE | lockdown.READ_DIR))
    return rules


class Serving:
    """The loop's state: the pipe to the host, the filter laid out once, and what the interpreter itself maps."""

    def __init__(self, requests: int, replies: int, hello: dict[str, Any]) -> None:
        code = hello.pop("_filter")
        self.requests, self.replies = requests, replies
        self.address_space: int = hello.pop("address_space")
        self.filter = lockdown.Filter(code) if code else None
        self.names = pot_names()

    def serve(self, request: Mapping[str, Any]) -> None:
        """Run one program in a child and send the host what was measured and what the child wrote."""
        measured, written = self.watched(request)
        write_frame(self.replies, json.dumps(measured).encode())
        write_frame(self.replies, written)

    def watched(self, request: Mapping[str, Any]) -> tuple[dict[str, Any], bytes]:
        """Fork a child for the request and watch it to its end."""
        reading, writing = os.pipe()
        started = time.monotonic()
        child = os.fork()
        if child == 0:
            self._become_child(writing, request)
        os.close(writing)
        try:
            return self._watch(child, reading, started, request)
        finally:
            os.close(reading)

    def _become_child(self, writing: int, request: Mapping[str, Any]) -> None:
        """Lock this process down and run the program; never returns."""
        try:
            os.dup2(writing, answering.RESULT_FD)
            os.closerange(answering.RESULT_FD + 1, 64)
            lockdown.prctl(lockdown.PR_SET_PDEATHSIG, signal.SIGKILL)
            memory = self.address_space + int(request["memory_mb"] * (1 << 20))
            lockdown.limit_resources(memory_bytes=memory, cpu_s=request["cpu_s"])
            if self.filter is not None:
                self.filter.install()
            if request.get("probe"):
                os.write(answering.RESULT_FD, json.dumps(_escapes(request["parent"])).encode())
            else:
                names = self.names if request["pot_names"] else {}
                answering.run_program(request["program"], request["max_output_bytes"], names)
        finally:
            os._exit(71)

    def _watch(
        self, child: int, reading: int, started: float, request: Mapping[str, Any]
    ) -> tuple[dict[str, Any], bytes]:
        """Read what the child writes until it ends, or end it: at its CPU limit, at the wall limit, at too much
        output, or when the host is gone."""
        watch = _Watch(child, started, request)
        cap = 8 * request["max_output_bytes"] + 20_000 if "max_output_bytes" in request else 20_000
        written, killed = bytearray(), ""
        handle = os.pidfd_open(child)
        poll = select.poll()
        poll.register(reading, select.POLLIN)
        poll.register(handle, select.POLLIN)
        poll.register(self.requests, 0)
        ended = False
        while not ended:
            wait_s = 1.0 if killed else watch.wait_s()
            if wait_s <= 0:
                killed = watch.limit
                os.kill(child, signal.SIGKILL)
            for descriptor, event in poll.poll(int(1000 * max(0.0, wait_s)) + 1):
                if descriptor == self.requests and event & (select.POLLHUP | select.POLLERR):
                    os.kill(child, signal.SIGKILL)
                    os._exit(0)
                elif descriptor == handle:
                    ended = True
                elif descriptor == reading and not _read_some(reading, written, cap):
                    poll.unregister(reading)
                    if len(written) > cap and not killed:
                        killed = "output"
                        os.kill(child, signal.SIGKILL)
        os.close(handle)
        _, status, usage = os.wait4(child, 0)
        _drain(reading, written, cap)
        return {
            "killed": killed,
            "signal": os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0,
            "exit": os.WEXITSTATUS(status) if os.WIFEXITED(status) else None,
            "cpu_ms": 1000 * (usage.ru_utime + usage.ru_stime),
            "wall_ms": 1000 * (time.monotonic() - started),
            "rss_mb": usage.ru_maxrss / 1024,
        }, bytes(written[:cap])

    def probe(self) -> list[str]:
        """Return what a child under the full lock-down could still do; empty when the lock holds."""
        request = {"probe": True, "parent": os.getpid(), "cpu_s": 5.0, "wall_s": 10.0, "memory_mb": 64}
        measured, written = self.watched(request)
        try:
            return [str(item) for item in json.loads(written)]
        except ValueError:
            return [f"the probe ended without a report ({measured['signal'] or measured['exit']})"]


class _Watch:
    """How much longer a child may run: by its CPU time, by the time it spent waiting, and at the very last by the wall.

    On a loaded machine a busy child gets little CPU time per wall second; only seconds in which it used next to none
    count as waiting.
    """

    def __init__(self, child: int, started: float, request: Mapping[str, Any]) -> None:
        self.clock = (~child << 3) | 2  # The kernel's id of another process's CPU clock.
        self.cpu_s, self.wall_s, self.started = request["cpu_s"], request["wall_s"], started
        self.limit = ""
        self._seen_wall, self._seen_cpu, self._waited = started, 0.0, 0.0

    def wait_s(self) -> float:
        """Return for how many seconds nothing needs a look; 0 when a limit is reached, whose name is in `limit`."""
        now, cpu = time.monotonic(), time.clock_gettime(self.clock)
        passed = now - self._seen_wall
        if cpu - self._seen_cpu < BUSY_FRAC * passed:
            self._waited += passed
        self._seen_wall, self._seen_cpu = now, cpu
        cpu_left = self.cpu_s - cpu
        wall_left = min(self.wall_s - self._waited, LONGEST * self.wall_s - (now - self.started))
        self.limit = "cpu" if cpu_left <= 0 else "wall"
        return float(max(0.0, min(cpu_left, wall_left, 0.5)))


def _read_some(descriptor: int, into: bytearray, cap: int) -> bool:
    part = os.read(descriptor, 65536)
    into += part
    return bool(part) and len(into) <= cap


def _drain(descriptor: int, into: bytearray, cap: int) -> None:
    """Take what an ended child left in the pipe; it cannot block, for no writer is left."""
    while len(into) <= cap and _read_some(descriptor, into, cap):
        pass


def _escapes(parent: int) -> list[str]:
    """Try, from inside the lock-down, what no program may do; return what succeeded."""
    import ctypes
    import mmap
    import socket

    libc = ctypes.CDLL(None)
    attempts: dict[str, Callable[[], object]] = {
        "read /etc/passwd": lambda: os.open("/etc/passwd", os.O_RDONLY),
        "read its environment": lambda: os.open("/proc/self/environ", os.O_RDONLY),
        "list /": lambda: os.listdir("/"),  # noqa: PTH208
        "write a file": lambda: os.open(f"/tmp/.potstill-probe-{parent}", os.O_WRONLY | os.O_CREAT, 0o600),
        "make a folder": lambda: os.mkdir(f"/tmp/.potstill-probe-{parent}"),  # noqa: PTH102
        "make a socket": lambda: socket.socket(),
        "make a socket pair": lambda: socket.socketpair(),
        "signal its parent": lambda: os.kill(parent, 0),
        "make a memory file": lambda: os.memfd_create("x"),
        "map code": lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_EXEC),
        "trace": lambda: _refused(libc.ptrace(PTRACE_SEIZE, parent, 0, 0)),
        "open an asynchronous ring": lambda: _refused(libc.syscall(425, 1, ctypes.create_string_buffer(256))),
        "start a process": lambda: os.fork() or os._exit(0),
        "run another binary": lambda: os.execv("/bin/true", ["true"]),
    }
    done = []
    for name, attempt in attempts.items():
        try:
            attempt()
        except (OSError, ValueError, AttributeError):
            continue
        done.append(name)
    return done


def _refused(result: int) -> None:
    if result == -1:
        raise PermissionError


def read_frame(descriptor: int) -> bytes | None:
    """Read one frame; `None` at the end of the stream."""
    head = _read_exactly(descriptor, 4)
    return None if head is None else _read_exactly(descriptor, struct.unpack(">I", head)[0])


def write_frame(descriptor: int, content: bytes) -> None:
    """Write one frame."""
    left = memoryview(struct.pack(">I", len(content)) + content)
    while left:
        left = left[os.write(descriptor, left) :]


def _read_exactly(descriptor: int, size: int) -> bytes | None:
    parts, left = [], size
    while left:
        part = os.read(descriptor, left)
        if not part:
            return None
        parts.append(part)
        left -= len(part)
    return b"".join(parts)
