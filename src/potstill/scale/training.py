"""Training by several processes on the nodes of the cluster: Ray starts them, torch lets them talk to each other.

Every process reads the run directory, so it lies where all nodes see it; the first one writes the student. A training
whose process dies starts again from its last checkpoint, with as many processes as there is room for: what a step
learns from does not depend on how many there are.
"""

from __future__ import annotations

import contextlib
import io
import os
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from potstill.errors import ConfigError, DataError
from potstill.messages import say

if TYPE_CHECKING:
    from potstill.recipe.scale import RayConfig

MOST_STARTS = 4
"""How often a training is begun, the first time included, when its processes die."""
LOOK_S = 1.0


class Rank:
    """One process of a training. State: what it has said."""

    def __init__(self) -> None:
        self._said = io.StringIO()
        self._read = 0

    def address(self, folder: str) -> tuple[str, int, bool]:
        """Return this node's address, a free port on it, and whether it sees the run directory."""
        import ray

        with socket.socket() as free:
            free.bind(("", 0))
            port = free.getsockname()[1]
        return ray.util.get_node_ip_address(), port, os.path.exists(f"{folder}/manifest.json")  # noqa: PTH110

    def train(self, environment: dict[str, str], folder: str, name: str, seed: int, job: str) -> dict[str, Any]:
        """Train one arm together with the other processes; return its counts."""
        import torch

        from potstill.arms import train_arm

        os.environ.update(environment)  # what torchrun would set
        try:
            with contextlib.redirect_stderr(self._said):
                return train_arm(folder, name, seed, job)
        finally:
            if torch.distributed.is_initialized():
                torch.distributed.destroy_process_group()

    def said(self) -> str:
        """Return what has been said since the last call."""
        text = self._said.getvalue()
        new, self._read = text[self._read :], len(text)
        return new


def train_on(config: RayConfig, folder: str, name: str, seed: int, job: str) -> dict[str, Any]:
    """Train one arm into `students/JOB` with `config.processes` processes; return its counts.

    Raises:
        ConfigError: There is no room for a process, or a node does not see the run directory.
        DataError: Processes died again and again.
        PotstillError: What training raises.
    """
    import ray
    from ray.exceptions import RayActorError, RayTaskError

    for _ in range(MOST_STARTS):
        with _started(config, folder) as (ranks, environments):
            running = [
                rank.train.remote(own, folder, name, seed, job) for rank, own in zip(ranks, environments, strict=True)
            ]
            try:
                _listen(ranks[0], running)
                counts: dict[str, Any] = ray.get(running)[0]
            except RayTaskError as error:
                if not _is_connection(error):
                    raise error.cause from error
                why = "lost its peers"
            except RayActorError:
                why = "died"
            else:
                return {**counts, "processes": len(ranks)}
        say("train", f"{job}: a process {why}; training goes on from the last checkpoint")
    message = f"train {job}: its processes died {MOST_STARTS} times; look for memory on the nodes (`ray status`)"
    raise DataError(message)


def _is_connection(error: Any) -> bool:
    """Whether a process failed because another one went: torch says so in words only."""
    words = ("onnection closed by peer", "onnection reset by peer", "Broken pipe", "DistBackendError", "gloo", "NCCL")
    return isinstance(error.cause, RuntimeError) and any(word in str(error.cause) for word in words)


def _listen(first: Any, running: Sequence[Any]) -> None:
    """Pass on what the first process says until one has ended."""
    import ray

    while not ray.wait(list(running), num_returns=1, timeout=LOOK_S)[0]:
        sys.stderr.write(ray.get(first.said.remote()))
    sys.stderr.write(ray.get(first.said.remote()))
    done, _ = ray.wait(list(running), num_returns=1)
    ray.get(done)  # raises what went wrong there, before the others are waited for


@contextlib.contextmanager
def _started(config: RayConfig, folder: str) -> Iterator[tuple[list[Any], list[dict[str, str]]]]:
    """Start processes, as many as there is room for, and yield them with what torch reads from the environment."""
    import ray

    make = ray.remote(Rank).options(
        num_cpus=config.num_cpus, num_gpus=config.num_gpus, max_concurrency=2, scheduling_strategy="SPREAD"
    )
    every = [make.remote() for _ in range(config.processes)]
    try:
        places = {rank: rank.address.remote(folder) for rank in every}
        done, late = ray.wait(list(places.values()), num_returns=len(every), timeout=config.start_s)
        if late and done:
            say("train", f"room for {len(done)} of {len(every)} processes; training with these")
        ranks = [rank for rank, place in places.items() if place in done]
        yield ranks, _environments([ray.get(places[rank]) for rank in ranks], folder, config)
    finally:
        for rank in every:
            ray.kill(rank)
        time.sleep(0.1)


def _environments(places: Sequence[tuple[str, int, bool]], folder: str, config: RayConfig) -> list[dict[str, str]]:
    """Return what `torchrun` would tell each process; each sees its own devices only, so all are first on them."""
    if not places:
        message = (
            f"ray.processes: no process started within {config.start_s:g} s (ray.start_s); the cluster has no room for "
            f"{config.num_cpus:g} CPU and {config.num_gpus:g} GPU: look at `ray status`"
        )
        raise ConfigError(message)
    blind = [host for host, _, sees in places if not sees]
    if blind:
        message = (
            f"ray.processes: {blind[0]} does not see {folder}; with several processes the run directory lies on a file "
            "system that all nodes share: give --run a path there"
        )
        raise ConfigError(message)
    host, port, _ = places[0]
    common = {"MASTER_ADDR": host, "MASTER_PORT": str(port), "WORLD_SIZE": str(len(places)), "LOCAL_RANK": "0",
              "LOCAL_WORLD_SIZE": "1"}  # fmt: skip
    return [{**common, "RANK": str(number)} for number in range(len(places))]
