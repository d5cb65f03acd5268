"""What is wrong with an address is said at once."""

import socket

import pytest

from potstill.errors import ConfigError
from potstill.scale.connecting import explain, require_address


def test_no_cluster_at_the_address_is_said_at_once():
    """A port that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    with pytest.raises(ConfigError, match=rf"no cluster answers at 127\.0\.0\.1:{port}.*ray start --head"):
        require_address(f"127.0.0.1:{port}")


@pytest.mark.parametrize("address", ["head", "ray://head:10001", "head:port"])
def test_an_address_is_host_and_port(address):
    """Anything else is refused with what is allowed."""
    with pytest.raises(ConfigError, match="expected host:port"):
        require_address(address)


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("Version mismatch: The cluster was started with: Ray: 2.50.0 Python: 3.11", "install the same Ray and Python"),
        ("Could not find any running Ray instance. Please specify", "no cluster runs on this machine"),
        ("This node has an IP address of 10.0.0.9, and Ray expects", "run `ray start --address=h:1` here first"),
        ("something else", "ray status"),
    ],
)
def test_what_ray_says_becomes_what_to_do(said, found):
    """Each cause has its own remedy."""
    assert found in explain("h:1", RuntimeError(said))
