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
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter

import aiohttp
import pytest
from msgspec import Struct

HERE = Path(__file__).resolve().parent
# None is found when the tests load this file by its path, nor the rig when it is run by itself.
sys.path += [str(HERE), str(HERE.parent / "tests" / "conformance")]

import made_requests  # noqa: E402  # see above
from closed_loop import send  # noqa: E402  # see above
from measured_nodes import Running, Setup, running  # noqa: E402  # see above
from node_servers import INSTANT, SQLITE  # noqa: E402  # see above
from postgres_rig import PostgresServer, installed, one_server  # noqa: E402  # see above
from process_rig import MERCHANT  # noqa: E402  # see above

CONNECTIONS = (8, 64)
REQUESTS = 1_000
ROUNDS = 3
REFUNDED = 8
REFUNDS = 200
# Whoever lost three races in a row is told so, and asks again; this often in a row is no bad luck.
ASKED_MAX = 50
# What is asked of a payment is recorded, and what the provider said of it; so is each webhook that
# came, and what followed from it, unless the answer to the call came last and said nothing new.
UNITS_PER_REQUEST = 2
UNITS_PER_WEBHOOK = 1
# Sums over nodes, from their metrics.
COUNTED = ("units", "groups", "conflicts")


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


async def load(setup: Running, requests: int, connections: int) -> Round:
    """Send that many payments, each a new one, and wait for the end of all of them."""
    made = made_requests.payments(requests, api_key=MERCHANT)
    latencies: list[float] = []

    async def pay() -> None:
        ports = [node.port for node in setup.nodes]
        latencies.extend((await send(ports, made, connections=connections, status=201)).latencies_s)

    webhooks = 0 if setup.setup.provider == INSTANT else requests
    return await _measured(setup, pay, latencies, webhooks=webhooks)


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

        async def contending() -> None:
            await asyncio.gather(*(refund() for _ in range(connections)))

        return await _measured(setup, contending, latencies, webhooks=0)


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
    setup: Running, work: Callable[[], object], latencies: list[float], *, webhooks: float
) -> Round:
    before = await setup.rests(units=0, webhooks=0)
    node_s, database_s = setup.cpu_s()
    began = perf_counter()
    working = work()
    assert asyncio.iscoroutine(working)
    await working
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
