"""One worker on each node of the cluster, kept so: a lost one is replaced, a node that joins gets one.

Ray places the workers and tells of nodes; which request goes to which worker is decided in `wires` and `verifying`, by
who has room.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from potstill.errors import ConfigError, shorten
from potstill.messages import say
from potstill.scale.workers import Facts, Worker, own_facts

if TYPE_CHECKING:
    from potstill.recipe.scale import RayConfig

MOST_STRIKES = 5
"""Workers of one node that may be lost before the node is left alone."""


@dataclass(slots=True, eq=False)
class Member:
    """A worker that has said hello."""

    node: str
    """Ray's id of its node."""
    name: str
    """What messages call the node."""
    actor: Any
    facts: Facts
    is_lost: bool = False


@dataclass(slots=True)
class _Recruit:
    """A worker that is being started."""

    name: str
    actor: Any
    hello: Any
    since: float


class Crew:
    """The workers. Its calls block for milliseconds and may come from any thread."""

    def __init__(self, config: RayConfig) -> None:
        self.config = config
        self.own = own_facts()
        self.members: list[Member] = []
        self._recruits: dict[str, _Recruit] = {}
        self._strikes: Counter[str] = Counter()
        self._refused: dict[str, str] = {}
        self._lock = threading.Lock()

    def start(self) -> None:
        """Start a worker on every node and wait for them.

        Raises:
            ConfigError: No node has room for one, none started, or one lacks what this process has.
        """
        if not self._fitting():
            message = (
                f"ray: no node of the cluster offers {self.config.num_cpus:g} CPU and {self.config.num_gpus:g} GPU; "
                "start nodes that do, or set ray.num_cpus and ray.num_gpus lower"
            )
            raise ConfigError(message)
        deadline = time.monotonic() + self.config.start_s
        self.refresh()
        while self._recruits and time.monotonic() < deadline:
            self._wait(0.5)
            self.refresh()
        if self._refused:
            raise ConfigError(next(iter(self._refused.values())))
        if not self.members:
            message = (
                f"ray: no worker started within {self.config.start_s:g} s (ray.start_s); other jobs may hold the "
                "cluster's CPUs: look at `ray status`, or set ray.num_cpus lower"
            )
            raise ConfigError(message)
        if self._recruits:
            late = ", ".join(sorted(recruit.name for recruit in self._recruits.values()))
            say("ray", f"no worker yet on {late}; it joins when it has started")
        say("ray", f"{len(self.members)} workers: {', '.join(sorted(member.name for member in self.members))}")

    def refresh(self) -> list[Member]:
        """Take in workers that have started, start one on each node that has none, and return those at work."""
        with self._lock:
            for node, recruit in list(self._recruits.items()):
                self._take_in(node, recruit)
            taken = {member.node for member in self.members} | self._recruits.keys() | self._refused.keys()
            for node, name in self._fitting().items():
                if node not in taken and self._strikes[node] < MOST_STRIKES:
                    actor = self._hire(node)
                    self._recruits[node] = _Recruit(name, actor, actor.hello.remote(), time.monotonic())
            return list(self.members)

    def lose(self, member: Member, why: str, asked: int = 0) -> None:
        """Give up a worker; `asked` requests of it are asked again elsewhere."""
        import ray

        with self._lock:
            if member.is_lost:
                return
            member.is_lost = True
            self.members.remove(member)
            self._strikes[member.node] += 1
        again = f"; {asked} requests are asked again" if asked else ""
        say("ray", f"the worker on {member.name} is lost ({shorten(why, 120)}){again}")
        ray.kill(member.actor)

    def stop(self) -> None:
        """End all workers."""
        import ray

        with self._lock:
            for actor in [*(m.actor for m in self.members), *(r.actor for r in self._recruits.values())]:
                ray.kill(actor)
            self.members, self._recruits = [], {}

    def _fitting(self) -> dict[str, str]:
        """Return the living nodes that are large enough for a worker: id -> name."""
        import ray

        found = {}
        for node in ray.nodes():
            has = node["Resources"]
            has_cpus = has.get("CPU", 0) >= max(self.config.num_cpus, 0.001)
            if node["Alive"] and has_cpus and has.get("GPU", 0) >= self.config.num_gpus:
                found[node["NodeID"]] = f"{node['NodeManagerAddress']}/{node['NodeID'][:6]}"
        return found

    def _hire(self, node: str) -> Any:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        return (
            ray.remote(Worker)
            .options(
                num_cpus=self.config.num_cpus,
                num_gpus=self.config.num_gpus,
                max_restarts=0,
                scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),
            )
            .remote()
        )

    def _take_in(self, node: str, recruit: _Recruit) -> None:
        """Look whether a worker has said hello; one that failed to start is tried again, one that is unfit is not."""
        import ray
        from ray.exceptions import RayError

        if not ray.wait([recruit.hello], timeout=0)[0]:
            return
        del self._recruits[node]
        try:
            facts = ray.get(recruit.hello)
        except RayError as error:
            self._strikes[node] += 1
            if (missing := missing_module(str(error))) is not None:
                self._refused[node] = (
                    f"ray: the worker on {recruit.name} has no module {missing!r}; install there what is installed "
                    f"here: pip install 'potstill[ray]=={self.own.potstill}'"
                )
                say("ray", self._refused[node])
            return
        if (unfit := misfit(recruit.name, facts, self.own)) is not None:
            self._refused[node] = unfit
            say("ray", unfit)
            ray.kill(recruit.actor)
            return
        self.members.append(Member(node, recruit.name, recruit.actor, facts))

    def _wait(self, seconds: float) -> None:
        import ray

        hellos = [recruit.hello for recruit in self._recruits.values()]
        if hellos:
            ray.wait(hellos, num_returns=1, timeout=seconds)


def misfit(name: str, found: Facts, own: Facts) -> str | None:
    """Return why a worker cannot work with this process; `None`: it can."""
    if found.potstill != own.potstill:
        return (
            f"ray: the worker on {name} runs potstill {found.potstill}, this process {own.potstill}; install the same "
            "version on every node"
        )
    missing = sorted(own.modules - found.modules)
    if missing:
        return (
            f"ray: the worker on {name} lacks {', '.join(missing)}, which this process has, so it would find other "
            "results; install the same extras there: pip install 'potstill[train,sandbox,ray]'"
        )
    return None


def missing_module(said: str) -> str | None:
    """Return the module that an error of a worker's start says it lacks; `None`: it is another error."""
    _, found, rest = said.partition("No module named ")
    return rest.lstrip()[1:].split(rest.lstrip()[0])[0] if found and rest.strip() else None
