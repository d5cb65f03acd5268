"""System call numbers per machine, and which of them a program may make. Data only; read by `lockdown`.

Stands alone: it is imported inside the zygote, which has neither potstill's dependencies nor its package.
x86_64 is tested on Linux 6.18 with glibc. The aarch64 table is written from the kernel's generic table and is untested.
"""

from __future__ import annotations

AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
X32_BIT = 0x40000000
"""On x86_64, numbers from here on are the x32 entry points to the same calls: refused whole."""

X86_64 = {
    "read": 0, "write": 1, "open": 2, "close": 3, "stat": 4, "fstat": 5, "lstat": 6, "poll": 7, "lseek": 8, "mmap": 9,
    "mprotect": 10, "munmap": 11, "brk": 12, "rt_sigaction": 13, "rt_sigprocmask": 14, "rt_sigreturn": 15, "ioctl": 16,
    "pread64": 17, "readv": 19, "writev": 20, "access": 21, "sched_yield": 24, "mremap": 25, "madvise": 28, "dup": 32,
    "nanosleep": 35, "getpid": 39, "socket": 41, "connect": 42, "accept": 43, "sendto": 44, "sendmsg": 46, "bind": 49,
    "listen": 50, "socketpair": 53, "clone": 56, "fork": 57, "vfork": 58, "execve": 59, "exit": 60, "kill": 62,
    "uname": 63, "fcntl": 72, "getcwd": 79, "readlink": 89, "gettimeofday": 96, "getrusage": 98, "sysinfo": 99,
    "times": 100, "ptrace": 101, "getuid": 102, "getgid": 104, "geteuid": 107, "getegid": 108, "sigaltstack": 131,
    "gettid": 186, "tkill": 200, "time": 201, "futex": 202, "sched_getaffinity": 204, "getdents64": 217,
    "restart_syscall": 219, "clock_gettime": 228, "clock_getres": 229, "clock_nanosleep": 230, "exit_group": 231,
    "tgkill": 234, "openat": 257, "newfstatat": 262, "readlinkat": 267, "faccessat": 269, "ppoll": 271,
    "process_vm_readv": 310, "process_vm_writev": 311, "getrandom": 318, "memfd_create": 319, "bpf": 321,
    "execveat": 322, "statx": 332, "rseq": 334, "pidfd_send_signal": 424, "io_uring_setup": 425, "pidfd_open": 434,
    "clone3": 435, "pidfd_getfd": 438, "faccessat2": 439, "mount": 165, "unshare": 272, "setns": 308, "keyctl": 250,
    "add_key": 248, "request_key": 249, "perf_event_open": 298, "userfaultfd": 323, "chroot": 161, "setsid": 112,
    "prlimit64": 302,
}  # fmt: skip
AARCH64 = {
    "getcwd": 17, "dup": 23, "fcntl": 25, "ioctl": 29, "mount": 40, "faccessat": 48, "chroot": 51, "openat": 56,
    "close": 57, "getdents64": 61, "lseek": 62, "read": 63, "write": 64, "readv": 65, "writev": 66, "pread64": 67,
    "ppoll": 73, "readlinkat": 78, "newfstatat": 79, "fstat": 80, "exit": 93, "exit_group": 94, "unshare": 97,
    "futex": 98, "nanosleep": 101, "clock_gettime": 113, "clock_getres": 114, "clock_nanosleep": 115, "ptrace": 117,
    "sched_getaffinity": 123, "sched_yield": 124, "restart_syscall": 128, "kill": 129, "tkill": 130, "tgkill": 131,
    "sigaltstack": 132, "rt_sigaction": 134, "rt_sigprocmask": 135, "rt_sigreturn": 139, "times": 153, "setsid": 157,
    "uname": 160, "getrusage": 165, "gettimeofday": 169, "getpid": 172, "getuid": 174, "geteuid": 175, "getgid": 176,
    "getegid": 177, "gettid": 178, "sysinfo": 179, "socket": 198, "socketpair": 199, "bind": 200, "listen": 201,
    "accept": 202, "connect": 203, "sendto": 206, "sendmsg": 211, "brk": 214, "munmap": 215, "mremap": 216,
    "add_key": 217, "request_key": 218, "keyctl": 219, "clone": 220, "execve": 221, "mmap": 222, "mprotect": 226,
    "madvise": 233, "perf_event_open": 241, "prlimit64": 261, "setns": 268, "process_vm_readv": 270,
    "process_vm_writev": 271, "getrandom": 278, "memfd_create": 279, "bpf": 280, "execveat": 281, "userfaultfd": 282,
    "statx": 291, "rseq": 293, "pidfd_send_signal": 424, "io_uring_setup": 425, "pidfd_open": 434, "clone3": 435,
    "pidfd_getfd": 438, "faccessat2": 439,
}  # fmt: skip
NUMBERS = {"x86_64": X86_64, "aarch64": AARCH64}

ALLOWED = (
    "read", "write", "close", "fstat", "lseek", "munmap", "brk", "mremap", "madvise", "futex", "rt_sigaction",
    "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "restart_syscall", "pread64", "readv", "writev", "dup",
    "nanosleep", "clock_nanosleep", "clock_gettime", "clock_getres", "gettimeofday", "time", "times", "getpid",
    "gettid", "getuid", "getgid", "geteuid", "getegid", "getcwd", "uname", "sysinfo", "getrusage", "getrandom",
    "sched_getaffinity", "sched_yield", "poll", "ppoll", "rseq", "exit", "exit_group",
)  # fmt: skip
"""What a program may do with what it already has: compute, read and write open descriptors, ask the time, leave."""

ALLOWED_PATHS = (
    "stat", "lstat", "newfstatat", "statx", "readlink", "readlinkat", "access", "faccessat", "faccessat2", "getdents64",
)  # fmt: skip
"""Path lookups, added where Landlock decides what a path may reach; without it, no path is looked up at all."""

PROT_EXEC = 4
WRITING = 0o1 | 0o2 | 0o100 | 0o1000 | 0o2000 | 0o20000000
"""O_WRONLY, O_RDWR, O_CREAT, O_TRUNC, O_APPEND and the bit of O_TMPFILE."""

REFUSED_BITS = {"mmap": (2, PROT_EXEC), "mprotect": (2, PROT_EXEC)}
"""Call -> (argument, bits): allowed while the argument has none of the bits. No new code is ever mapped."""
REFUSED_BITS_PATHS = {"openat": (2, WRITING), "open": (1, WRITING)}
ALLOWED_VALUES = {
    # F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_DUPFD_CLOEXEC. Not F_SETOWN and F_SETSIG, which send signals.
    "fcntl": (1, (0, 1, 2, 3, 1030)),
    # TCGETS, TIOCGWINSZ, FIONCLEX, FIOCLEX: what opening a file asks. Not TIOCSTI, which types into a terminal.
    "ioctl": (1, (0x5401, 0x5413, 0x5450, 0x5451)),
}
"""Call -> (argument, values): allowed for these values only."""

REFUSED_TO_WORKERS = (
    "socket", "connect", "accept", "bind", "listen", "socketpair", "sendto", "sendmsg", "fork", "vfork", "kill",
    "tkill", "ptrace", "process_vm_readv", "process_vm_writev", "pidfd_open", "pidfd_send_signal", "pidfd_getfd",
    "memfd_create", "bpf", "io_uring_setup", "execveat", "mount", "unshare", "setns", "keyctl", "add_key",
    "request_key", "perf_event_open", "userfaultfd", "chroot",
)  # fmt: skip
"""What a tier-1 worker is refused. A list of refusals, not of permissions: the binary is not ours and changes, its own
boundary comes first, and Landlock stands beside this."""
CLONE_THREAD = 0x00010000
