"""A process that buys many completions and writes down each one that was acknowledged: URL LEDGER ACKNOWLEDGED ROWS."""

import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from loopback_endpoints import asking, opened

from potstill.streams import map_concurrent
from potstill.teachers.ledger import Ledger


async def main(url, ledger_path, acknowledged, rows):
    with Ledger(ledger_path) as ledger, acknowledged.open("a", buffering=1) as out:
        async with opened(url, ledger) as teacher:

            async def one(number):
                return number, await teacher.complete(asking(f"question {number}"), [0])

            async for number, _ in map_concurrent(one, range(rows), 40):
                out.write(f"{number}\n")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4])))
