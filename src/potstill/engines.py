"""Which engine runs the stages: this process alone, or the workers of a cluster as well.

A stage does not know where it runs. Two places ask, where the world is slow: how a request travels to a model
(`teachers.base.open_wire`) and where rows are verified (`verdicts`). Everything that decides what is bought, kept and
written stays in this process under either engine: the ledger, the budget, the rate limits, the run directory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from potstill.recipe.rationales import SandboxConfig, VerifyConfig
    from potstill.recipe.scale import RayConfig
    from potstill.recipe.teachers import TeacherConfig
    from potstill.recipe.whole import Recipe
    from potstill.records import Problem, Rationale
    from potstill.sandbox.execution import Execution
    from potstill.teachers.buying import Wire


class Engine(Protocol):
    """What runs the slow parts elsewhere."""

    def require(self) -> None:
        """Be ready, or raise what is wrong before anything is spent."""
        ...

    def widened(self, config: TeacherConfig) -> TeacherConfig:
        """Return a teacher's configuration with the requests in flight that all workers together may have."""
        ...

    def wire(self, config: TeacherConfig, wire: Wire, endpoint: str) -> Wire:
        """Return the way to a teacher's model through the workers, given the one from this process."""
        ...

    def verify(
        self,
        rationales: Iterable[Rationale],
        problems: Mapping[str, Problem],
        config: VerifyConfig,
        *,
        sandbox: SandboxConfig,
    ) -> Iterator[Rationale]:
        """Yield each rationale with its verdict and problem, in any order."""
        ...

    def train(self, folder: str, name: str, seed: int, job: str) -> dict[str, Any]:
        """Train one arm of the run in `folder`; return its counts."""
        ...

    def execute(self, programs: Iterable[Any], config: SandboxConfig) -> Iterator[Execution]:
        """Yield one result per program, in order."""
        ...


_running: ContextVar[Engine | None] = ContextVar("potstill_engine", default=None)


def running() -> Engine | None:
    """Return the engine that this code runs under; `None`: this process alone."""
    return _running.get()


@contextmanager
def opened(recipe: Recipe) -> Iterator[Engine | None]:
    """Run what is inside under the recipe's engine; one that is running already goes on."""
    with opened_as(recipe.engine, recipe.ray) as engine:
        yield engine


@contextmanager
def opened_as(name: str, config: RayConfig) -> Iterator[Engine | None]:
    """Run what is inside under an engine by its name in recipes; as `opened`."""
    if name == "local" or running() is not None:
        yield running()
        return
    from potstill.scale.cluster import Cluster

    with Cluster(config) as engine, using(engine):
        yield engine


def stored(recipe: Recipe, folder: str | Path) -> AbstractContextManager[None]:
    """Keep a run directory on the engine's shared storage, where it has one, while the block runs."""
    if recipe.engine == "local" or recipe.ray.storage is None:
        return nullcontext()
    from potstill.scale.storage import kept

    return kept(recipe.ray.storage, folder, every_s=recipe.ray.storage_s)


@contextmanager
def using(engine: Engine) -> Iterator[None]:
    """Run what is inside under an engine that is open."""
    token = _running.set(engine)
    try:
        yield
    finally:
        _running.reset(token)
