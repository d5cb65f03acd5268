"""`${VAR}` in a recipe, and which headers hold secrets."""

from __future__ import annotations

import os
import re
from typing import Any

from potstill.errors import ConfigError

CREDENTIAL_WORDS = ("authorization", "api-key", "apikey", "token", "secret", "cookie", "password")
"""A header with one of these in its name holds a secret."""


def is_credential(header: str) -> bool:
    """Whether a header's name says that its value is a secret."""
    return any(word in header.lower().replace("_", "-") for word in CREDENTIAL_WORDS)


def interpolated(value: Any, where: str) -> Any:
    """Return raw recipe data with every `${VAR}` replaced.

    Raises:
        ConfigError: A variable is not set.
    """
    if isinstance(value, dict):
        return {key: interpolated(item, where) for key, item in value.items()}
    if isinstance(value, list):
        return [interpolated(item, where) for item in value]
    if isinstance(value, str):
        return re.sub(r"\$\{(\w+)\}", lambda match: _variable(match[1], where), value)
    return value


def _variable(name: str, where: str) -> str:
    value = os.environ.get(name)
    if value is None:
        message = f"{where}: ${{{name}}} is used but the environment variable {name} is not set; export it first"
        raise ConfigError(message)
    return value
