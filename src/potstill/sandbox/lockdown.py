"""The lock-down itself: privileges, Landlock, the seccomp filter and resource limits, by plain system calls.

Applied by a process to itself, in the zygote (privileges and Landlock, once) and in its children (limits and the
filter, per program); a worker of tier 1 is confined by the same calls before it starts. Nothing here can be undone.

Stands alone, like `syscalls`: nothing but the standard library. Not covered: what the kernel itself leaks (timing,
load), the existence and size of files where path lookups are allowed, and faults of the kernel.
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import struct
from collections.abc import Iterable, Sequence

from potstill.sandbox import syscalls

PR_SET_PDEATHSIG, PR_SET_SECCOMP, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, PR_SET_DUMPABLE = 1, 22, 24, 38, 4
LANDLOCK_CREATE, LANDLOCK_ADD, LANDLOCK_RESTRICT = 444, 445, 446
EXECUTE, READ_FILE, READ_DIR = 1 << 0, 1 << 2, 1 << 3
NOBODY = 65534
EPERM, ENOSYS = 1, 38
ALLOW, REFUSE, ABSENT, KILL = 0x7FFF0000, 0x00050000 | EPERM, 0x00050000 | ENOSYS, 0x80000000
LOAD, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
Instruction = tuple[int, int, int, int]


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
_libc.prctl.argtypes = (ctypes.c_int, *(ctypes.c_ulong,) * 4)


def prctl(option: int, argument: int = 0, pointer: int = 0) -> None:
    """Call prctl, raising `OSError` where the kernel refuses."""
    if _libc.prctl(option, argument, pointer, 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def drop_privileges(must_read: str) -> str:
    """Give up root and every capability; return what was done.

    As root the process becomes nobody, unless nobody could not read `must_read` (an interpreter inside root's home):
    then it stays root without capabilities, and Landlock alone stands between it and root's files.
    """
    if os.geteuid() != 0:
        return "as the user"
    for capability in range(64):
        try:
            prctl(PR_CAPBSET_DROP, capability)
        except OSError:
            break
    if not _readable_by_nobody(must_read):
        header = struct.pack("<Ii", 0x20080522, 0)
        # Both halves of the capability sets, zero.
        ctypes.set_errno(0)
        if _libc.capset(header, bytes(24)) != 0:
            raise OSError(ctypes.get_errno(), "capset")
        return "root without capabilities"
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    return "as nobody"


def _readable_by_nobody(path: str) -> bool:
    os.seteuid(NOBODY)
    try:
        os.close(os.open(path, os.O_RDONLY))
    except OSError:
        return False
    finally:
        os.seteuid(0)
    return True


def landlock_version() -> int:
    """Return the kernel's Landlock ABI, 0 where it has none."""
    return max(0, int(_libc.syscall(LANDLOCK_CREATE, None, ctypes.c_size_t(0), 1)))


def restrict_paths(rules: Iterable[tuple[str, int]]) -> int:
    """Forbid every file, TCP port, foreign signal and foreign abstract socket but the rules' paths; return the ABI.

    Args:
        rules: (path, rights); a path that does not exist is left out.
    """
    version = landlock_version()
    if not version:
        return 0
    files = (1 << {1: 13, 2: 14, 3: 15, 4: 15}.get(version, 16)) - 1
    attributes = struct.pack("<QQQ", files, 3, 3)[: 8 if version < 4 else 16 if version < 6 else 24]
    ruleset = int(_libc.syscall(LANDLOCK_CREATE, attributes, ctypes.c_size_t(len(attributes)), 0))
    if ruleset < 0:
        return 0
    for path, rights in rules:
        try:
            target = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue
        allowed = rights if os.path.isdir(path) else rights & ~READ_DIR  # noqa: PTH112 - pathlib is not loaded here
        _libc.syscall(LANDLOCK_ADD, ruleset, 1, struct.pack("<Qi", allowed, target), 0)
        os.close(target)
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    done = int(_libc.syscall(LANDLOCK_RESTRICT, ruleset, 0))
    os.close(ruleset)
    return version if done == 0 else 0


def program_filter(*, with_paths: bool) -> list[Instruction] | None:
    """Return the filter for programs, an allow-list; `None` on a machine without a table.

    Args:
        with_paths: Allow looking paths up and opening them for reading; only where Landlock is in force.
    """
    machine = platform.machine()
    if machine not in syscalls.NUMBERS:
        return None
    numbers = syscalls.NUMBERS[machine]
    code = _prologue(machine)
    for name in syscalls.ALLOWED + (syscalls.ALLOWED_PATHS if with_paths else ()):
        if name in numbers:
            code += [(EQUAL, 0, 1, numbers[name]), (RETURN, 0, 0, ALLOW)]
    refused_bits = syscalls.REFUSED_BITS | (syscalls.REFUSED_BITS_PATHS if with_paths else {})
    for name, (position, bits) in refused_bits.items():
        if name in numbers:
            rule = [(LOAD, 0, 0, 16 + 8 * position), (ANY_BIT, 0, 1, bits), (RETURN, 0, 0, REFUSE)]
            code += [(EQUAL, 0, len(rule) + 1, numbers[name]), *rule, (RETURN, 0, 0, ALLOW)]
    for name, (position, values) in syscalls.ALLOWED_VALUES.items():
        tests = [step for value in values for step in ((EQUAL, 0, 1, value), (RETURN, 0, 0, ALLOW))]
        rule = [(LOAD, 0, 0, 16 + 8 * position), *tests, (RETURN, 0, 0, REFUSE)]
        code += [(EQUAL, 0, len(rule), numbers[name]), *rule]
    return [*code, (RETURN, 0, 0, REFUSE)]


def worker_filter() -> list[Instruction] | None:
    """Return the filter for tier-1 workers: threads and computing, no sockets, processes, signals or tracing."""
    machine = platform.machine()
    if machine not in syscalls.NUMBERS:
        return None
    numbers = syscalls.NUMBERS[machine]
    code = _prologue(machine)
    for name in syscalls.REFUSED_TO_WORKERS:
        if name in numbers:
            code += [(EQUAL, 0, 1, numbers[name]), (RETURN, 0, 0, REFUSE)]
    # clone3 hides its flags from a filter; told that it is absent, the C library falls back on clone.
    code += [(EQUAL, 0, 1, numbers["clone3"]), (RETURN, 0, 0, ABSENT)]
    code += [(EQUAL, 0, 3, numbers["clone"]), (LOAD, 0, 0, 16), (ANY_BIT, 1, 0, syscalls.CLONE_THREAD)]
    return [*code, (RETURN, 0, 0, REFUSE), (RETURN, 0, 0, ALLOW)]


def _prologue(machine: str) -> list[Instruction]:
    code = [(LOAD, 0, 0, 4), (EQUAL, 1, 0, syscalls.AUDIT_ARCH[machine]), (RETURN, 0, 0, KILL), (LOAD, 0, 0, 0)]
    if machine == "x86_64":
        code += [(AT_LEAST, 0, 1, syscalls.X32_BIT), (RETURN, 0, 0, KILL)]
    return code


class Filter:
    """A seccomp filter laid out once and installed by one call."""

    def __init__(self, code: Sequence[Instruction]) -> None:
        packed = b"".join(struct.pack("<HBBI", *step) for step in code)
        self._code = ctypes.create_string_buffer(packed, len(packed))
        self._program = _Program(len(code), ctypes.addressof(self._code))

    def install(self) -> None:
        """Put this process, and all that it starts, under the filter, for good."""
        prctl(PR_SET_NO_NEW_PRIVS, 1)
        prctl(PR_SET_SECCOMP, 2, ctypes.addressof(self._program))


def limit_resources(*, memory_bytes: int, cpu_s: float) -> None:
    """Limit address space and CPU time, and forbid files, processes, core dumps and locked memory.

    The CPU limit here, whole seconds above the configured one, is the backstop of the zygote's finer clock.
    """
    seconds = int(cpu_s) + 2
    for kind, value in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_NOFILE, 16),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
    ):
        resource.setrlimit(kind, (value, value))


def address_space() -> int:
    """Return this process's mapped bytes; must be asked before Landlock closes /proc."""
    with open("/proc/self/statm", "rb") as file:  # noqa: PTH123 - pathlib is not loaded here
        return int(file.read().split()[0]) * resource.getpagesize()
