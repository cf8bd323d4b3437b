"""What a payment costs with many nodes: CPU of the gateway and of PostgreSQL, beside SQLite.

Every node is a process with the whole HTTP edge (`node_servers.py`), the server a real PostgreSQL
of its own that syncs every commit and is vacuumed between rounds (`bench_footprint.py` says what
that costs); the load is a closed loop of keep-alive connections in this process, spread over the
nodes. All setups run at the same time and are measured in turn, round by round; CPU is that of all
processes of a setup (by the kernel's account), from the first request until nothing is under way
any more. The wall clock is noise on a machine of two cores: payments a
second and latencies are for orientation.

`instant`: the provider approves inside the node. `sandbox`: it is called over HTTP and sends a
webhook for each charge, to the first node whichever has the payment; its own CPU is not counted.
The last table is about few payments that are refunded through all nodes at once.
"""

import asyncio
import math
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import perf_counter

import aiohttp
import pytest
from msgspec import Struct

HERE = Path(__file__).resolve().parent
# None is found when the tests load this file by its path, nor the rig when it is run by itself.
sys.path += [str(HERE), str(HERE.parent / "tests" / "conformance")]

from bench_http import pay  # noqa: E402  # see above
from bench_postgres import server_cpu_s  # noqa: E402  # see above
from measured_server import MeasuredServer, serving  # noqa: E402  # see above
from node_servers import INSTANT, SQLITE  # noqa: E402  # see above
from postgres_rig import PostgresServer, execute, installed, one_server, until  # noqa: E402  # see above
from process_rig import MERCHANT, METRICS  # noqa: E402  # see above

from paygate_http.registering import register  # noqa: E402  # see above

CONNECTIONS = (8, 64)
REQUESTS = 1_000
ROUNDS = 3
REFUNDED = 8
REFUNDS = 200
# Everything that a round began is over within seconds, or never will be.
RESTS_S = 60.0
# Whoever lost three races in a row is told so, and asks again; this often in a row is no bad luck.
ASKED_MAX = 50
# What is asked of a payment is recorded, and what the provider said of it; so is each webhook that
# came, and what followed from it, unless the answer to the call came last and said nothing new.
UNITS_PER_REQUEST = 2
UNITS_PER_WEBHOOK = 1
# As often in a row nothing has changed when a round is over: metrics do not show a group that is
# being written.
STILL_LOOKS = 5
# Sums over nodes, from their metrics.
COUNTED = ("units", "groups", "conflicts")
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


SETUPS = (
    Setup(name="SQLite, 1 process", store=SQLITE),
    Setup(name="PostgreSQL, 1 node"),
    Setup(name="the same, prepared", statements=100),
    Setup(name="PostgreSQL, 2 nodes", nodes=2),
    Setup(name="the same, prepared", nodes=2, statements=100),
    Setup(name="SQLite, sandbox", store=SQLITE, provider="sandbox"),
    Setup(name="PostgreSQL, 1, sandbox", provider="sandbox"),
    Setup(name="the same, prepared", provider="sandbox", statements=100),
    Setup(name="PostgreSQL, 2, sandbox", provider="sandbox", nodes=2),
    Setup(name="the same, prepared", provider="sandbox", nodes=2, statements=100),
)
# Vacuuming would be counted for whichever setup happens to be measured. All setups are connected
# all the time, each node up to six times.
SETTINGS = ("autovacuum = off", "max_connections = 200")


class Round(Struct, frozen=True, kw_only=True):
    """One load on one setup; CPU in microseconds for a request, latencies in milliseconds."""

    rate: float
    node_us: float
    database_us: float
    counted: dict[str, float]
    p50_ms: float
    p99_ms: float

    @property
    def group_units(self) -> float:
        """Units in a group, on average."""
        return self.counted["units"] / max(self.counted["groups"], 1)


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
def sandbox() -> Generator[str]:
    """A sandbox with its books in memory, that answers without delay; its URL."""
    words = ("sandbox", "--port", "0", "--latency-ms", "0", "--seed", "1", "--until-eof")
    process = subprocess.Popen(
        [sys.executable, "-m", "paygate_http", *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield process.stdout.readline().split()[-1]
    finally:
        process.stdin.close()
        process.stdout.close()
        process.kill()
        process.wait()


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


async def load(setup: Running, requests: int, connections: int) -> Round:
    """Send that many payments, each a new one, and wait for the end of all of them."""
    numbers = iter(range(requests))
    latencies: list[float] = []

    async def send() -> None:
        ports = [node.port for node in setup.nodes]
        places = [ports[n % len(ports)] for n in range(connections)]
        await asyncio.gather(*(pay(port, numbers, latencies) for port in places))

    webhooks = 0 if setup.setup.provider == INSTANT else requests
    return await _measured(setup, send, latencies, webhooks=webhooks)


async def contend(setup: Running, refunds: int, connections: int) -> Round:
    """Refund the same few payments through all nodes at once, some cents each time."""
    latencies: list[float] = []
    headers = {"Authorization": f"Bearer {MERCHANT}"}
    connector = aiohttp.TCPConnector(limit=connections)
    async with aiohttp.ClientSession(
        headers=headers, connector=connector, trust_env=False
    ) as session:
        paid = [await _paid(session, setup.nodes[0].url) for _ in range(REFUNDED)]
        numbers = iter(range(refunds))

        async def refund() -> None:
            for number in numbers:
                node = setup.nodes[number % len(setup.nodes)]
                url = f"{node.url}/api/payments/{paid[number // 2 % len(paid)]}/refund"
                began = perf_counter()
                await _refunded(session, url)
                latencies.append(perf_counter() - began)

        async def send() -> None:
            await asyncio.gather(*(refund() for _ in range(connections)))

        return await _measured(setup, send, latencies, webhooks=0)


async def _paid(session: aiohttp.ClientSession, url: str) -> str:
    card = {"type": "card", "cardNumber": "4242424242424242", "expiryMonth": 12}
    method = {**card, "expiryYear": 2049, "cvv": "123"}
    body = {"amount": 100, "currency": "USD", "paymentMethod": method}
    headers = {"Prefer": "wait=10"}
    async with session.post(f"{url}/api/payments/process", json=body, headers=headers) as answer:
        found = await answer.json()
    assert found["status"] == "success", found
    return found["id"]


async def _refunded(session: aiohttp.ClientSession, url: str) -> None:
    """Ask until it is taken."""
    said = ""
    for _ in range(ASKED_MAX):
        async with session.post(url, json={"amount": 0.01}) as answer:
            said = await answer.text()
        if "operation_in_progress" not in said:
            assert answer.status < 300, (answer.status, said)
            return
    raise AssertionError(f"{ASKED_MAX} times refused: {said}")


async def _measured(
    setup: Running, send: Callable[[], object], latencies: list[float], *, webhooks: float
) -> Round:
    before = await setup.rests(units=0, webhooks=0)
    node_s, database_s = setup.cpu_s()
    began = perf_counter()
    sending = send()
    assert asyncio.iscoroutine(sending)
    await sending
    seconds = perf_counter() - began
    count = len(latencies)
    units = UNITS_PER_REQUEST * count + UNITS_PER_WEBHOOK * webhooks
    after = await setup.rests(
        units=before["paygate_journal_units_total"] + units,
        webhooks=before["paygate_webhooks_received_total"] + webhooks,
    )
    node_end_s, database_end_s = setup.cpu_s()
    latencies.sort()
    names = {each: f"paygate_journal_{each}_total" for each in COUNTED}
    return Round(
        rate=count / seconds,
        node_us=1e6 * (node_end_s - node_s) / count,
        database_us=1e6 * (database_end_s - database_s) / count,
        counted={each: after[name] - before[name] for each, name in names.items()},
        p50_ms=1e3 * latencies[count // 2],
        p99_ms=1e3 * latencies[count * 99 // 100],
    )


Found = dict[tuple[int, int], list[Round]]


def measure(
    server: PostgresServer,
    setups: Sequence[Setup],
    *,
    requests: int,
    rounds: int,
    connections: Sequence[int],
    refunds: int,
) -> tuple[Found, Found]:
    """Rounds by place of the setup and number of connections: of payments, and of refunds.

    Refunds are sent where the provider is in the node, over as many connections as there are at
    the fewest.
    """
    paid: Found = {}
    refunded: Found = {}
    with ExitStack() as stack:
        live = [stack.enter_context(running(server, setup)) for setup in setups]
        for each in live:
            asyncio.run(load(each, max(requests // 5, *connections), max(connections)))
        for _ in range(rounds):
            for count in connections:
                for place, each in enumerate(live):
                    asyncio.run(each.vacuum())
                    found = asyncio.run(load(each, requests, count))
                    paid.setdefault((place, count), []).append(found)
            count = min(connections)
            for place, each in enumerate(live):
                if each.setup.provider == INSTANT:
                    found = asyncio.run(contend(each, refunds, count))
                    refunded.setdefault((place, count), []).append(found)
    return paid, refunded


def median(rounds: Sequence[Round], of: Callable[[Round], float]) -> float:
    return statistics.median(map(of, rounds))


def show(found: Found, setups: Sequence[Setup]) -> None:
    titles = ("conn", "a second", "node us (min-max)", "database us (min-max)", "units/group")
    print(
        f"{'':24} {titles[0]:>5} {titles[1]:>9} {titles[2]:>22} {titles[3]:>22} {titles[4]:>11}",
        end="",
    )
    print(f" {'conflicts':>9} {'p50 ms':>7} {'p99 ms':>7}")
    for (place, connections), rounds in sorted(found.items()):
        print(
            f"{setups[place].name:24} {connections:>5} {median(rounds, lambda it: it.rate):>9.0f}"
            f" {_spread([each.node_us for each in rounds]):>22}"
            f" {_spread([each.database_us for each in rounds]):>22}"
            f" {median(rounds, lambda it: it.group_units):>11.1f}"
            f" {sum(each.counted['conflicts'] for each in rounds):>9.0f}"
            f" {median(rounds, lambda it: it.p50_ms):>7.1f}"
            f" {median(rounds, lambda it: it.p99_ms):>7.1f}"
        )


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.0f} ({min(values):.0f}-{max(values):.0f})"


def break_even(sqlite_us: float, node_us: float, database_us: float) -> int | None:
    """How many nodes pass one process on SQLite, with the database on one core of its own.

    k nodes carry min(k / node, 1 / database) payments a microsecond. None: no number does, since
    the database's core is full before.
    """
    if database_us >= sqlite_us:
        return None
    return math.floor(node_us / sqlite_us) + 1


def say_break_even(paid: Found, setups: Sequence[Setup], connections: int) -> None:
    for provider in dict.fromkeys(setup.provider for setup in setups):
        of = {n: each for n, each in enumerate(setups) if each.provider == provider}
        base = next(n for n, each in of.items() if each.store == SQLITE)
        sqlite_us = median(paid[base, connections], lambda it: it.node_us)
        for place, setup in of.items():
            if setup.store == SQLITE:
                continue
            node_us = median(paid[place, connections], lambda it: it.node_us)
            database_us = median(paid[place, connections], lambda it: it.database_us)
            nodes = break_even(sqlite_us, node_us, database_us)
            said = "no number of nodes passes" if nodes is None else f"{nodes} nodes pass"
            print(
                f"{setup.name} ({setup.nodes}, {provider}), {connections} connections:"
                f" min(k/{node_us:.0f}, 1/{database_us:.0f}) against 1/{sqlite_us:.0f}: {said} it;"
                f" the database's core is full at {1e6 / database_us:.0f} a second,"
                f" which {node_us / database_us:.1f} nodes send"
            )


def main() -> None:
    """Print the tables."""
    with installed() as programs, one_server(programs, "nodes", *SETTINGS) as server:
        paid, refunded = measure(
            server,
            SETUPS,
            requests=REQUESTS,
            rounds=ROUNDS,
            connections=CONNECTIONS,
            refunds=REFUNDS,
        )
    print(f"{REQUESTS} payments a round, {ROUNDS} rounds; conflicts are of all rounds")
    show(paid, SETUPS)
    for connections in CONNECTIONS:
        say_break_even(paid, SETUPS, connections)
    print(f"{REFUNDS} refunds a round of the same {REFUNDED} payments, through all nodes")
    show(refunded, SETUPS)


@pytest.mark.slow
def test_payments_and_refunds_are_counted_at_every_node() -> None:
    setups = (SETUPS[0], SETUPS[3], SETUPS[8])
    with installed() as programs, one_server(programs, "nodes", *SETTINGS) as server:
        paid, refunded = measure(
            server, setups, requests=64, rounds=1, connections=(8,), refunds=32
        )

    assert set(paid) == {(0, 8), (1, 8), (2, 8)}
    assert set(refunded) == {(0, 8), (1, 8)}
    assert paid[0, 8][0].counted["units"] == 2 * 64
    assert paid[1, 8][0].counted["units"] == 2 * 64
    assert paid[2, 8][0].counted["units"] > 3 * 64
    assert paid[0, 8][0].counted["conflicts"] == 0
    assert all(rounds[0].node_us > 0 for rounds in paid.values())


def test_a_database_that_is_dearer_than_sqlite_is_never_made_up_for() -> None:
    assert break_even(500, 500, 600) is None
    assert break_even(500, 500, 400) == 2
    assert break_even(500, 1_100, 400) == 3
    assert break_even(500, 400, 300) == 1


if __name__ == "__main__":
    main()
