"""One real cluster of several processes for all tests of this folder; without Ray they are skipped."""

import os
import sys
import warnings
from pathlib import Path

import pytest

from potstill.recipe.scale import RayConfig

sys.path.insert(0, str(Path(__file__).parent))

STORE = 80 << 20
"""Shared memory of a node in bytes, near Ray's least."""


class Nodes:
    """Ray nodes on this machine, each with processes of its own."""

    def __init__(self):
        from ray.cluster_utils import Cluster

        head = {"num_cpus": 1, "object_store_memory": STORE, "include_dashboard": False}
        self.ray = Cluster(initialize_head=True, head_node_args=head)
        self.address = self.ray.address
        self.add()

    def add(self):
        return self.ray.add_node(num_cpus=1, object_store_memory=STORE)

    def kill(self, node):
        self.ray.remove_node(node, allow_graceful=False)


@pytest.fixture(scope="session")
def nodes():
    """A cluster of two nodes, joined by this process."""
    ray = pytest.importorskip("ray", reason="needs Ray: pip install 'potstill[ray]'")
    from potstill.scale.connecting import connect

    os.environ |= {"RAY_prestart_worker_first_driver": "0", "RAY_raylet_start_wait_time_s": "120"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = Nodes()
        connect(RayConfig(address=found.address))
        yield found
        ray.shutdown()
        found.ray.shutdown()


@pytest.fixture(scope="session")
def engine(nodes):
    """The engine with a worker on each node, shared by all tests."""
    from potstill.scale.cluster import Cluster

    with Cluster(RayConfig(address=nodes.address, lease_s=4, start_s=120)) as opened:
        opened.require()
        yield opened
