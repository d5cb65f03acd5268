"""Makes `loopback_endpoints` importable, and starts servers that answer with given bytes."""

import asyncio
import sys
from pathlib import Path

import pytest

from potstill.miniature.server import launched

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
async def raw_server():
    """A factory: `await raw_server(answer)` gives (url, server)."""
    from loopback_endpoints import RawServer

    servers = []

    async def start(answer):
        raw = RawServer(answer)
        server = await asyncio.start_server(raw._talk, "127.0.0.1", 0)
        servers.append(server)
        return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", raw

    yield start
    for server in servers:
        server.close()


@pytest.fixture
async def batch_server():
    """A factory: `await batch_server(**options)` gives (url, BatchServer)."""
    from aiohttp import web
    from loopback_endpoints import BatchServer

    runners = []

    async def start(*arguments, **options):
        served = BatchServer(*arguments, **options)
        runner = web.AppRunner(served.application(), access_log=None)
        runners.append(runner)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}/v1", served

    yield start
    for runner in runners:
        await runner.cleanup()


@pytest.fixture(scope="session")
def served_once():
    from loopback_endpoints import Served

    with launched() as url:
        yield Served(url)


@pytest.fixture
def server(served_once):
    """The real server with canned answers and no faults; `server.begin(p_429=0.1)` begins anew with other knobs."""
    served_once.begin()
    return served_once
