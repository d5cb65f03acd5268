"""The filter's code, run by a small interpreter of its own: what it allows and refuses, on both tables."""

import platform

import pytest

from potstill.sandbox import lockdown, syscalls
from potstill.sandbox.lockdown import ABSENT, ALLOW, ANY_BIT, AT_LEAST, EQUAL, KILL, LOAD, REFUSE, RETURN

TABLES = sorted(syscalls.NUMBERS)


def decide(code, number, arguments=(), arch=None, machine="x86_64"):
    """Run the filter as the kernel would and return its verdict."""
    words = {0: number, 4: syscalls.AUDIT_ARCH[machine] if arch is None else arch}
    words |= {16 + 8 * position: value for position, value in enumerate(arguments)}
    at, value = 0, 0
    while True:
        kind, if_true, if_false, k = code[at]
        at += 1
        if kind == RETURN:
            return k
        if kind == LOAD:
            value = words.get(k, 0)
        else:
            holds = {EQUAL: value == k, AT_LEAST: value >= k, ANY_BIT: bool(value & k)}[kind]
            at += if_true if holds else if_false


@pytest.fixture(params=TABLES)
def machine(request, monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: request.param)
    return request.param


@pytest.mark.parametrize("with_paths", [True, False])
def test_only_the_listed_calls_are_allowed(machine, with_paths):
    """Every number up to 600 that is not on the list is refused, on both machines."""
    code = lockdown.program_filter(with_paths=with_paths)
    numbers = syscalls.NUMBERS[machine]
    listed = {*syscalls.ALLOWED, *syscalls.REFUSED_BITS, *(syscalls.ALLOWED_PATHS if with_paths else ())}
    listed |= set(syscalls.REFUSED_BITS_PATHS) if with_paths else set()
    allowed = {number for number in range(600) if decide(code, number, machine=machine) == ALLOW}
    # All arguments zero: F_DUPFD is an allowed fcntl, 0 no allowed ioctl.
    assert allowed == {numbers[name] for name in listed if name in numbers} | {numbers["fcntl"]}
    for name in (
        "socket",
        "clone",
        "clone3",
        "execve",
        "kill",
        "ptrace",
        "memfd_create",
        "io_uring_setup",
        "prlimit64",
    ):
        assert decide(code, numbers[name], machine=machine) == REFUSE


def test_arguments_decide_where_a_call_can_do_harm(machine):
    """No new code, no opening for writing, no signals by file, no typing into terminals."""
    code = lockdown.program_filter(with_paths=True)
    numbers = syscalls.NUMBERS[machine]

    def verdict(name, *arguments):
        return decide(code, numbers[name], arguments, machine=machine)

    assert [verdict("mmap", 0, 4096, prot) for prot in (0, 1, 3, 4, 5, 7)] == [ALLOW] * 3 + [REFUSE] * 3
    assert [verdict("mprotect", 0, 4096, prot) for prot in (3, 4)] == [ALLOW, REFUSE]
    assert [verdict("openat", 0, 0, flags) for flags in (0, 0o2000000, 1, 2, 0o100, 0o20200000)] == [ALLOW] * 2 + [
        REFUSE
    ] * 4
    assert [verdict("fcntl", 3, command) for command in (1, 1030, 4, 8, 10)] == [ALLOW] * 2 + [REFUSE] * 3
    assert [verdict("ioctl", 0, request) for request in (0x5401, 0x5412)] == [ALLOW, REFUSE]


def test_another_architecture_is_killed(machine):
    """Numbers mean other calls there; on x86_64 the x32 calls too."""
    code = lockdown.program_filter(with_paths=True)
    assert decide(code, 0, arch=0x40000003, machine=machine) == KILL
    if machine == "x86_64":
        assert decide(code, syscalls.X32_BIT + 1, machine=machine) == KILL


def test_a_worker_may_start_threads_but_no_process(machine):
    """Tier 1's filter: clone3 is said to be absent, clone needs the thread flag."""
    code = lockdown.worker_filter()
    numbers = syscalls.NUMBERS[machine]
    assert decide(code, numbers["clone3"], machine=machine) == ABSENT
    assert decide(code, numbers["clone"], (0x3D0F00,), machine=machine) == ALLOW
    assert decide(code, numbers["clone"], (17,), machine=machine) == REFUSE
    assert decide(code, numbers["socket"], machine=machine) == REFUSE
    assert decide(code, numbers["read"], machine=machine) == ALLOW


def test_a_machine_without_a_table_has_no_filter(monkeypatch):
    """And so no tier 2: nothing is guessed."""
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    assert lockdown.program_filter(with_paths=True) is None
    assert lockdown.worker_filter() is None
