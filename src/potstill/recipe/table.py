"""The base of every recipe table."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Table(BaseModel):
    """Base of every recipe table: frozen, strict about keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())
