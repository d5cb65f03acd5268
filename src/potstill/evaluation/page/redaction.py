"""Leave out of a page what may grant access: header values, keys, tokens, passwords inside addresses."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

_SECRET = re.compile(r"(?i)secret|password|authorization|api.?key|(^|_)token$")


def public(value: Any, key: str = "") -> Any:
    """Return recipe data with the values of secrets replaced; names of environment variables stay."""
    if isinstance(value, dict):
        return {name: public(item, "secret" if key == "headers" else str(name)) for name, item in value.items()}
    if isinstance(value, list):
        return [public(item, key) for item in value]
    if isinstance(value, str) and _SECRET.search(key) and key != "api_key_env":
        return "(not shown)"
    return re.sub(r"//[^/@\s]+@", "//(not shown)@", value) if isinstance(value, str) else value


def public_command(command: Iterable[Any]) -> list[str]:
    """Return a command line without what may grant access."""
    shown = []
    for part in command:
        name, separator, value = str(part).partition("=")
        is_secret = separator and (_SECRET.search(name.rpartition(".")[2]) or ".headers." in name)
        shown.append(f"{name}=(not shown)" if is_secret else str(public(name + separator + value)))
    return shown
