"""`ray`: where the cluster is, and what a worker on it takes."""

from __future__ import annotations

from pydantic import Field

from potstill.recipe.table import Table


class RayConfig(Table):
    """`ray`: read with `engine: ray` only."""

    address: str | None = None
    """host:port of a running cluster's head, or `auto` for the one that this machine belongs to; `None`: a cluster of
    this machine alone is started, and stopped at the end."""
    num_cpus: float = Field(default=1.0, ge=0)
    """Cores that the worker of a node takes from Ray's account; nodes with fewer get no worker."""
    num_gpus: float = Field(default=0.0, ge=0)
    """The same of GPUs, for `teachers.local`."""
    processes: int = Field(default=1, ge=1)
    """Processes that train one student together, each with `num_cpus` and `num_gpus`; above 1 the run directory must
    lie where all nodes see it."""
    start_s: float = Field(default=60.0, gt=0)
    """How long workers may take to start, and how long a run without any worker waits for one."""
    lease_s: float = Field(default=30.0, gt=0)
    """A worker that has not been heard of for so long is given up; what it was asked is asked of another."""
    storage: str | None = None
    """A folder that is shared, or s3://BUCKET/PATH: the run directory is kept there too, and a run that is begun on
    another machine goes on from it."""
    storage_s: float = Field(default=60.0, gt=0)
    """Between two commits to the storage."""
    object_store_mb: int = Field(default=100, ge=80)
    """Shared memory of a cluster that is started here."""
