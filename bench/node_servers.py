"""A node that `bench_nodes` measures, in a process of its own on a free port.

`node_servers.py STORE PROVIDER STATEMENTS FOLDER`. STORE is `sqlite`, or the address of the
PostgreSQL database that the nodes share. PROVIDER is `instant`, for the one of `http_servers.py`
that approves inside the process, or the URL of a sandbox that runs. STATEMENTS are those that each
connection keeps prepared. FOLDER holds SQLite's file and the vault's keys; nodes of one database
share it.
"""

import asyncio
import os
import sys

from http_servers import InstantProvider, opened
from measured_server import serve

from paygate_actors.config import Config, Database, ProviderConfig, Sandbox
from paygate_actors.providers.base import Provider
from paygate_http.configure import sandbox_providers
from paygate_http.logs import configure_logs
from paygate_http.runner import EdgeRunner

SQLITE = "sqlite"
INSTANT = "instant"


async def main(store: str, provider: str, statements: str, folder: str) -> None:
    """Serve until the parent closes our standard input."""
    configure_logs("error")
    adapters: dict[str, Provider] | None = None
    if provider == INSTANT:
        providers = (ProviderConfig(id=INSTANT, kind=INSTANT, url="http://127.0.0.1"),)
        adapters = {INSTANT: InstantProvider(INSTANT)}
    else:
        providers = sandbox_providers(provider)
    database = Database(
        url=None if store == SQLITE else store,
        node=f"bench:{os.getpid()}",
        statements=int(statements),
    )
    config = Config(
        data_dir=folder, database=database, sandbox=Sandbox(enabled=True), providers=providers
    )
    built, app = await opened(config, adapters)
    await serve(EdgeRunner(app))
    await built.stop()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:5]))
