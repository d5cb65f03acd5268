"""The cluster as an engine: connected when it is first needed, and left as it was found."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from potstill.recipe.scale import RayConfig
from potstill.records import Problem, Rationale

if TYPE_CHECKING:
    from potstill.recipe.rationales import SandboxConfig, VerifyConfig
    from potstill.recipe.teachers import TeacherConfig
    from potstill.sandbox.execution import Execution
    from potstill.scale.crew import Crew
    from potstill.teachers.buying import Wire


class Cluster:
    """An engine (`potstill.engines.Engine`) on Ray; a context manager."""

    def __init__(self, config: RayConfig) -> None:
        self.config = config
        self._crew: Crew | None = None
        self._is_ours = False

    def __enter__(self) -> Cluster:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._crew is not None:
            self._crew.stop()
        if self._is_ours:
            import ray

            ray.shutdown()

    @property
    def crew(self) -> Crew:
        """The workers, started."""
        if self._crew is None:
            from potstill.scale.crew import Crew

            self._connect()
            crew = Crew(self.config)
            crew.start()
            self._crew = crew
        return self._crew

    def _connect(self) -> None:
        from potstill.scale.connecting import connect

        self._is_ours |= connect(self.config)

    def require(self) -> None:
        """Connect and start the workers; raises what is wrong with them."""
        assert self.crew.members, "a crew that has started has members"

    def widened(self, config: TeacherConfig) -> TeacherConfig:
        """Return a teacher's configuration with its requests in flight on every worker."""
        if not travels(config):
            return config
        return config.model_copy(update={"max_concurrency": config.max_concurrency * len(self.crew.members)})

    def wire(self, config: TeacherConfig, wire: Wire, endpoint: str) -> Wire:
        """Return the way through the workers; batches and recorded rationales need none."""
        if not travels(config):
            return wire
        from potstill.scale.wires import ClusterWire

        room = max(1, config.max_concurrency // len(self.crew.members))
        name = config.api_key_env
        secrets = {name: os.environ[name]} if name and name in os.environ else {}
        return ClusterWire(self.crew, config, wire, name=endpoint, room=room, secrets=secrets)

    def verify(
        self,
        rationales: Iterable[Rationale],
        problems: Mapping[str, Problem],
        config: VerifyConfig,
        *,
        sandbox: SandboxConfig,
    ) -> Iterator[Rationale]:
        """Yield each rationale with its verdict and problem, as workers return them."""
        from potstill.scale.verifying import verify_on

        return verify_on(self.crew, rationales, problems, config, sandbox)

    def execute(self, programs: Iterable[Any], config: SandboxConfig) -> Iterator[Execution]:
        """Yield one result per program, in order."""
        from potstill.scale.verifying import execute_on

        return execute_on(self.crew, programs, config)

    def train(self, folder: str, name: str, seed: int, job: str) -> dict[str, Any]:
        """Train one arm, here or with several processes, and return its counts."""
        from potstill.arms import train_arm

        if self.config.processes == 1:
            return train_arm(folder, name, seed, job)
        from potstill.scale.training import train_on

        self._connect()
        if self._crew is not None:  # its room is needed; it starts again when there is something to send
            self._crew.stop()
            self._crew = None
        return train_on(self.config, str(Path(folder).resolve()), name, seed, job)


def travels(config: TeacherConfig) -> bool:
    """Whether a teacher's requests are sent by workers: not those of recorded rationales or of a provider's batches."""
    return config.replay is None and config.batching is None
