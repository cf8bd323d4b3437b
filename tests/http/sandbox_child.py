"""A sandbox in a process of its own, for tests that kill it: prints its URL once it listens."""

import asyncio
import sys
from pathlib import Path

from paygate_http.sandbox.server import start_sandbox


async def main() -> None:
    sandbox = await start_sandbox(data_dir=Path(sys.argv[1]), seed=1, latency_ms=1, find_lag_ms=0)
    print(sandbox.url, flush=True)  # noqa: T201 - how the test learns of it
    await asyncio.Event().wait()


asyncio.run(main())
