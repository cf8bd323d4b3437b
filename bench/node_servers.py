"""A node that `bench_nodes` measures, in a process of its own on a free port.

`node_servers.py STORE PROVIDER STATEMENTS FOLDER`. STORE is `sqlite`, or the address of the
PostgreSQL database that the nodes share. PROVIDER is `instant` (`instant_provider.py`), which
approves inside the process, or the URL of a sandbox that runs. STATEMENTS are those that each
connection keeps prepared. FOLDER holds SQLite's file and the vault's keys; nodes of one database
share it.
"""

import asyncio
import os
import sys

from gateway_server import opened
from instant_provider import CONFIG, instant
from instant_provider import ID as INSTANT
from measured_server import serve

from paygate_actors.config import Config, Database, Sandbox
from paygate_actors.providers.base import Provider
from paygate_http.configure import sandbox_providers
from paygate_http.logs import configure_logs

SQLITE = "sqlite"


async def main(store: str, provider: str, statements: str, folder: str) -> None:
    """Serve until the parent closes our standard input."""
    configure_logs("error")
    adapters: dict[str, Provider] | None = None
    if provider == INSTANT:
        providers = (CONFIG,)
        adapters = {INSTANT: instant()}
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
    built, runner = await opened(config, adapters)
    await serve(runner)
    await built.stop()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:5]))
