"""Messages of a running stage: one line to standard error, in the order in which things happen.

Results go to standard output and only `potstill.cli` writes there.
"""

from __future__ import annotations

import sys
import threading

_lock = threading.Lock()
_is_quiet = False


def set_quiet(*, quiet: bool) -> None:
    """Switch messages off or on for this process."""
    global _is_quiet
    _is_quiet = quiet


def is_quiet() -> bool:
    """Whether messages are off."""
    return _is_quiet


def say(stage: str, text: str) -> None:
    """Write one message of a stage."""
    if not _is_quiet:
        with _lock:
            sys.stderr.write(f"{stage:>12}  {text}\n")
            sys.stderr.flush()
