"""Setups of nodes that `bench_nodes` compares: started on fresh stores, looked at from outside."""

import asyncio
import tempfile
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import aiohttp
from bench_postgres import server_cpu_s
from measured_server import MeasuredServer, serving
from msgspec import Struct
from node_servers import INSTANT, SQLITE
from postgres_rig import PostgresServer, execute, until
from process_rig import METRICS
from sandbox_process import sandbox

from paygate_http.registering import register

HERE = Path(__file__).resolve().parent
# Everything that a round began is over within seconds, or never will be.
RESTS_S = 60.0
# As often in a row nothing has changed when a round is over: metrics do not show a group that is
# being written.
STILL_LOOKS = 5
STIRRING = (
    "paygate_provider_calls_running",
    "paygate_provider_calls_waiting",
    "paygate_journal_backlog",
    "paygate_webhooks_busy",
)


class Setup(Struct, frozen=True, kw_only=True):
    """What is compared: `nodes` is how many share the store. The name is the line's."""

    name: str
    store: str = "postgresql"
    provider: str = INSTANT
    nodes: int = 1
    statements: int = 0


class Running(Struct, frozen=True, kw_only=True):
    """A setup that runs. `database` is the server of all setups, idle but for the one measured."""

    setup: Setup
    nodes: tuple[MeasuredServer, ...]
    database: PostgresServer | None
    store: str

    async def vacuum(self) -> None:
        """Rid the database of dead rows, as it would be all the time, before it is measured."""
        if self.database is not None:
            await execute(self.store, "VACUUM (ANALYZE)")

    def cpu_s(self) -> tuple[float, float]:
        """CPU seconds so far: of all nodes, and of the server."""
        database_s = 0.0 if self.database is None else server_cpu_s(self.database)
        return sum(node.cpu_s() for node in self.nodes), database_s

    async def gauges(self) -> dict[str, float]:
        """The nodes' metrics, added up; those of one name are added up over their labels."""
        found: dict[str, float] = {}
        headers = {"Authorization": f"Bearer {METRICS}"}
        async with aiohttp.ClientSession(headers=headers, trust_env=False) as session:
            for node in self.nodes:
                async with session.get(f"{node.url}/metrics") as answer:
                    page = await answer.text()
                for line in page.splitlines():
                    if line and line[0] != "#":
                        name, _, value = line.rpartition(" ")
                        plain = name.partition("{")[0]
                        found[plain] = found.get(plain, 0.0) + float(value)
        return found

    async def rests(self, *, units: float, webhooks: float) -> dict[str, float]:
        """Wait until so many were written and came, and nothing is under way; the metrics then."""
        looks: list[dict[str, float]] = []

        async def nothing_stirs() -> bool:
            looks.append(await self.gauges())
            newest = looks[-STILL_LOOKS:]
            written = {each["paygate_journal_units_total"] for each in newest}
            return (
                len(newest) == STILL_LOOKS
                and len(written) == 1
                and min(written) >= units
                and newest[-1]["paygate_webhooks_received_total"] >= webhooks
                and not any(newest[-1].get(name, 0.0) for name in STIRRING)
            )

        await until(nothing_stirs, wait_s=RESTS_S)
        return looks[-1]


@contextmanager
def running(server: PostgresServer, setup: Setup) -> Generator[Running]:
    """Start a setup on a fresh store."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        is_shared = setup.store != SQLITE
        store = (
            server.create_database(f"nodes_{server.next_number()}") if is_shared else setup.store
        )
        is_called = setup.provider != INSTANT
        provider = stack.enter_context(sandbox()) if is_called else setup.provider
        words = (store, provider, str(setup.statements), folder)
        nodes = tuple(
            stack.enter_context(serving(HERE / "node_servers.py", *words))
            for _ in range(setup.nodes)
        )
        if is_called:
            asyncio.run(register(provider, nodes[0].url))
        yield Running(setup=setup, nodes=nodes, database=server if is_shared else None, store=store)
