"""Reach a Ray cluster, or start one of this machine alone; what can be wrong there is said in one message."""

from __future__ import annotations

import logging
import os
import socket
import warnings
from typing import TYPE_CHECKING, Any

from potstill.errors import ConfigError, boundary, require_extra, shorten

if TYPE_CHECKING:
    from potstill.recipe.scale import RayConfig

KNOCK_S = 5.0
"""How long the head of a cluster may take to answer."""
HERE = "leave ray.address out to start a cluster of this machine alone"


def connect(config: RayConfig) -> bool:
    """Connect this process to the cluster; return whether it was not connected before and must be disconnected.

    Raises:
        MissingExtraError: Ray is not installed.
        ConfigError: There is no cluster at the address, or not one that this process can join.
    """
    require_extra("ray", "ray")
    os.environ.setdefault(
        "RAY_raylet_start_wait_time_s", f"{config.start_s:g}"
    )  # Ray's own 30 s are short on a busy node
    import ray

    if ray.is_initialized():
        return False
    logging.getLogger("ray").setLevel(logging.ERROR)
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": False}
    if config.address is None:
        options |= {"address": "local", "include_dashboard": False}
        options["object_store_memory"] = config.object_store_mb << 20
    else:
        require_address(config.address)
        options["address"] = config.address
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Ray's own future, about which a user can do nothing
        try:
            with boundary(ConfigError, "ray"):  # Ray raises anything, bare exceptions too
                ray.init(**options)
        except ConfigError as error:
            message = explain(config.address, error.__cause__ or error)
            raise ConfigError(message) from error
    return True


def require_address(address: str) -> None:
    """Raise `ConfigError` unless something answers at `host:port`; `auto` is looked up by Ray itself.

    Ray waits long for a head that is not there: this asks first.
    """
    if address == "auto":
        return
    host, separator, port = address.rpartition(":")
    if not separator or not port.isdigit() or "/" in address:
        message = f"ray.address: got {shorten(repr(address), 80)}; expected host:port of the head, or auto; or {HERE}"
        raise ConfigError(message)
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=KNOCK_S).close()
    except (OSError, OverflowError) as cause:
        message = (
            f"ray.address: no cluster answers at {address} ({shorten(cause, 80)}); give the address that `ray start "
            f"--head` printed there, or {HERE}"
        )
        raise ConfigError(message) from cause


def explain(address: str | None, cause: BaseException) -> str:
    """Return what an error of Ray's connecting means for the user."""
    said = shorten(cause, 300)
    where = f"ray.address: {address}" if address else "ray: a cluster of this machine"
    if "ersion mismatch" in said:
        todo = f"runs other versions ({said}); install the same Ray and Python here and on every node"
    elif "Could not find any running Ray" in said:
        todo = f"no cluster runs on this machine; give host:port of its head, or {HERE}"
    elif "IP address" in said or "not found in this cluster" in said or "raylet" in said.lower():
        todo = f"this machine is no node of that cluster ({said}); run `ray start --address={address}` here first"
    else:
        todo = f"cannot be used ({said}); check it with `ray status`"
    return f"{where}: {todo}"
