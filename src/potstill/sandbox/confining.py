"""Lock a tier-1 worker down, then become it: the second wall around Monty's own.

Stands alone: started as a script of its own by `monty.MontyPool`, with an empty environment for what follows.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Sequence

from potstill.sandbox import lockdown

LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64")
ZONES = "/usr/share/zoneinfo"
MEMORY_BYTES = 4 << 30
"""Address space of a worker; its threads reserve much that they never touch, Monty's own limit is the fine one."""


def main(binary: str, arguments: Sequence[str]) -> None:
    """Give up privileges, files, network and processes, and execute the binary."""
    lockdown.drop_privileges(binary)
    files = lockdown.READ_FILE | lockdown.EXECUTE
    rules = [(path, files | lockdown.READ_DIR) for path in LIBRARIES]
    rules += [(binary, files), (ZONES, lockdown.READ_FILE), ("/etc/ld.so.cache", lockdown.READ_FILE)]
    lockdown.restrict_paths(rules)
    for kind, value in (
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(kind, (value, value))
    code = lockdown.worker_filter()
    if code is not None:
        lockdown.Filter(code).install()
    os.execve(binary, [binary, *arguments], {})
