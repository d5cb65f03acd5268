"""The embedded teacher as an endpoint: its server lives exactly as long as it is needed."""

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

from potstill.miniature.embedded import reachable
from potstill.recipe.teachers import TeacherConfig

HOLD = """
import asyncio, sys
from potstill.miniature.embedded import reachable
from potstill.recipe.teachers import TeacherConfig

async def hold():
    async with reachable(TeacherConfig(base_url="miniature")) as (teacher, _):
        print(teacher.base_url, flush=True)
        await asyncio.Event().wait()

asyncio.run(hold())
"""


def answers(address):
    try:
        with urllib.request.urlopen(f"{address}/models") as answer:
            return answer.status == 200
    except (urllib.error.URLError, ConnectionError):
        return False


async def test_the_server_ends_with_the_block_and_others_are_left_as_they_are():
    """The teacher gets an address and a name; any other endpoint is yielded untouched."""
    async with reachable(TeacherConfig(base_url="miniature")) as (teacher, name):
        assert (teacher.model, teacher.api_key_env) == ("miniature-teacher", None)
        assert name.startswith("miniature:")
        assert answers(teacher.base_url)
    assert not answers(teacher.base_url)
    other = TeacherConfig(base_url="http://127.0.0.1:9/v1", model="m")
    async with reachable(other) as found:
        assert found == (other, None)


def test_the_server_ends_with_a_process_that_is_killed():
    """SIGKILL runs no clean-up; no server may stay behind all the same."""
    with subprocess.Popen([sys.executable, "-c", HOLD], stdout=subprocess.PIPE, text=True) as process:
        address = process.stdout.readline().strip()
        assert answers(address)
        os.kill(process.pid, signal.SIGKILL)
    for _ in range(600):
        if not answers(address):
            return
        time.sleep(0.05)
    raise AssertionError("the server outlived its process")
