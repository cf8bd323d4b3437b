"""Several gateway processes over one PostgreSQL: frozen, killed, replaced, and asked both at once.

Whatever happens to a node: one charge for each intent, nothing that was acknowledged is lost, and
every node says the same.
"""

import asyncio
import signal
from collections.abc import Generator
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec
import pytest
from aiohttp import web
from gateway_words import payment, seed_of, until
from ledger_match import disagreements
from load_rig import Load
from nodes_rig import BURIED_S, Node, empty_database, nodes_rig, proven
from postgres_rig import PostgresServer, installed, one_server, value
from process_rig import MERCHANT
from receiver_rig import receiver
from standardwebhooks import Webhook

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

LONG_LEASE_S: Final = 16.0
KEYS: Final = 24
# Payments that are sent to a node while it is frozen.
LATE: Final = 8
# Copies of one request, by turns to each node; an odd number, so that each is the first one that
# hears of half of the keys.
COPIES: Final = 7
# How many events there are under an epoch.
WRITTEN: Final = "SELECT count(*) FROM paygate.events WHERE epoch = $1"


@pytest.fixture(scope="module")
def server() -> Generator[PostgresServer]:
    with installed() as programs, one_server(programs, "nodes") as running:
        yield running


@pytest.fixture
async def dsn(server: PostgresServer) -> str:
    return await empty_database(server)


async def test_a_node_that_slept_longer_than_its_lease_ends_and_charged_nobody_twice(
    dsn: str, tmp_path: Path
):
    rng = seed_of("a frozen node")
    load = Load(rng)
    async with nodes_rig(tmp_path, dsn, seed=rng.randrange(1 << 32)) as nodes:
        await nodes.plant()
        a, b = await nodes.serve("a"), await nodes.serve("b")
        caller = nodes.caller(a, b)
        calling = asyncio.create_task(load.run(caller))
        await until(lambda: nodes.sandbox.calls("charge"), lambda calls: len(calls) >= 40)

        epoch = await nodes.epoch_of(a)
        a.process.signal(signal.SIGSTOP)
        caller.nodes = [b]
        await b.until_logged('"nodes_gone"', patience_s=BURIED_S)
        written = await value(dsn, WRITTEN, epoch)
        # They lie in its sockets when it wakes: there is something for it to write.
        waiting = [await left_at(a, f"late-{number}") for number in range(LATE)]
        a.process.signal(signal.SIGCONT)
        await a.fenced()
        answers = [await heard(each) for each in waiting]
        late = await value(dsn, WRITTEN, epoch) - written
        again = await nodes.serve("a2")
        caller.nodes = [again, b]
        came = len(load.payments)
        await until(lambda: counted(load), lambda count: count >= came + 20)
        caller.hang_up()
        await calling

        assert written > 0
        assert late == 0
        assert all(answer == b"" or b" 503 " in answer[:20] for answer in answers), answers
        caller.check_manners()
        await proven(nodes, load, b, again)
        states = {row["name"]: row["state"] for row in await b.nodes()}
    assert states == {"a2": "live", "b": "live"}


Line = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def left_at(node: Node, key: str) -> Line:
    """Send a payment to a node that may be frozen: it lies in the node's socket then."""
    address = urlsplit(node.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    body = msgspec.json.encode(payment())
    head = (
        f"POST /api/payments/process HTTP/1.1\r\nHost: {address.netloc}\r\n"
        f"Authorization: Bearer {MERCHANT}\r\nIdempotency-Key: {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    # Into an empty buffer of the kernel's: it is there when this returns.
    writer.write(head.encode("ascii") + body)
    return reader, writer


async def heard(line: Line) -> bytes:
    """What was answered until the node hung up; nothing where it did so first."""
    reader, writer = line
    try:
        return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def counted(load: Load) -> int:
    return len(load.payments)


async def test_what_a_killed_node_had_open_is_adopted_and_finished(dsn: str, tmp_path: Path):
    rng = seed_of("a killed node")
    load = Load(rng)
    async with nodes_rig(tmp_path, dsn, seed=rng.randrange(1 << 32)) as nodes:
        await nodes.plant()
        a, b = await nodes.serve("a"), await nodes.serve("b")
        epoch = await nodes.epoch_of(a)
        caller = nodes.caller(a, b)
        calling = asyncio.create_task(load.run(caller))
        await until(lambda: nodes.sandbox.calls("charge"), lambda calls: len(calls) >= 30)
        # Calls that hang, and of which no webhook tells the other node.
        for fault in ("hang_after_effect", "webhook_drop"):
            await nodes.sandbox.fault(fault, count=40, delayMs=60_000)
        await until(lambda: nodes.owned(epoch), lambda count: count >= 10)

        a.process.signal(signal.SIGKILL)
        await a.process.ended()
        await until(lambda: nodes.owned(epoch), lambda count: count == 0, patience_s=BURIED_S)
        taken = (await b.gauges())["paygate_node_adopted_total"]
        caller.hang_up()
        await calling

        assert taken > 0
        caller.check_manners()
        await proven(nodes, load, b)


@pytest.mark.parametrize("killed", [False, True])
async def test_one_key_on_both_nodes_at_once_is_one_payment_and_one_charge(
    dsn: str, tmp_path: Path, *, killed: bool
):
    async with nodes_rig(tmp_path, dsn) as nodes:
        a, b = await nodes.serve("a"), await nodes.serve("b")
        caller = nodes.caller(a, b)
        heard: dict[str, set[str]] = {f"key-{number}": set() for number in range(KEYS)}

        async def ask(key: str) -> None:
            while (answer := await caller.pay(key)).status == 503:
                assert answer.body["code"] in {"overloaded", "outcome_unknown"}, answer
            heard[key].add(answer.made()["id"])

        async def ask_many(key: str) -> None:
            await asyncio.gather(*(ask(key) for _ in range(COPIES)))

        if killed:
            # Charged, and nobody hears of it but who asks.
            for fault in ("hang_after_effect", "webhook_drop"):
                await nodes.sandbox.fault(fault, count=KEYS, delayMs=60_000)
        asking = [asyncio.create_task(ask_many(key)) for key in heard]
        if killed:
            epoch = await nodes.epoch_of(a)
            await until(lambda: nodes.owned(epoch), lambda count: count >= 3)
            a.process.signal(signal.SIGKILL)
            await a.process.ended()
            caller.nodes = [b]
        await asyncio.gather(*asking)
        seen = await b.settled()
        ledger = await nodes.sandbox.ledger()

    assert [len(ids) for ids in heard.values()] == [1] * KEYS
    assert {row["id"] for row in seen.payments} == set[str]().union(*heard.values())
    assert {row["status"] for row in seen.payments} == {"success"}
    assert len(seen.payments) == KEYS == len(ledger)
    assert disagreements(seen, ledger) == []


async def test_one_courier_sends_for_an_endpoint_and_another_follows_when_it_dies(
    dsn: str, tmp_path: Path
):
    async with receiver() as shop, nodes_rig(tmp_path, dsn) as nodes:
        a, b = await nodes.serve("a"), await nodes.serve("b")
        hook = (await a.api("POST", "/api/webhook-endpoints", {"url": shop.url})).made()
        caller = nodes.caller(a, b)
        await until(lambda: endpoints_known(a, b), lambda counts: counts == [1, 1])

        async def pay(first: int, count: int) -> None:
            keys = [f"key-{number}" for number in range(first, first + count)]
            await asyncio.gather(*(caller.pay(key) for key in keys))

        await pay(0, 20)
        before = [*await shop.until(lambda got: len(got) >= 20)]
        sent = {node: await sent_by(node) for node in (a, b)}
        courier, other = (a, b) if sent[a] else (b, a)
        shop.reply = hangs_for_ever
        await pay(20, 10)
        await shop.until(lambda got: len(got) > len(before))
        courier.process.signal(signal.SIGKILL)
        await courier.process.ended()
        shop.reply, caller.nodes = None, [other]
        await pay(30, 10)
        feed = await until(lambda: feed_of(other), lambda events: len(events) == 40)
        await until(
            lambda: undelivered(other, hook["endpoint"]["id"]),
            lambda left: not left,
            patience_s=BURIED_S,
        )

        assert min(sent.values()) == 0 < max(sent.values()), (
            "whichever node committed, one of them sends"
        )
        assert len(before) == len({each.id for each in before}) == 20
        assert {each.id for each in shop.got} == set(feed)
        assert len(feed) == len(set(feed))
        for each in shop.got:
            Webhook(hook["secret"]).verify(each.body, dict(each.headers))


async def hangs_for_ever(_: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    return web.Response()


async def sent_by(node: Node) -> int:
    """How many webhooks to merchants a node has delivered."""
    gauges = await node.gauges()
    return int(gauges['paygate_notices_sent_total{outcome="delivered"}'])


async def endpoints_known(*nodes: Node) -> list[float]:
    """How many endpoints each node knows of: one that another made it hears of by its next beat."""
    return [(await node.gauges())["paygate_notice_endpoints"] for node in nodes]


async def feed_of(node: Node) -> list[str]:
    """The ids of all events of the merchant, in order."""
    found: list[str] = []
    path = "/api/events?limit=15"
    while True:
        page = (await node.api("GET", path)).made()
        found += [event["id"] for event in page["data"]]
        if not page["hasMore"]:
            return found
        path = f"/api/events?limit=15&after={page['nextCursor']}"


async def undelivered(node: Node, endpoint_id: str) -> list[str]:
    """What an endpoint was not told yet."""
    path = f"/api/webhook-endpoints/{endpoint_id}/deliveries?limit=100"
    page = (await node.api("GET", path)).made()
    return [each["status"] for each in page["data"] if each["status"] != "delivered"]


async def test_a_rolling_restart_is_felt_by_nobody(dsn: str, tmp_path: Path):
    # A lease that is longer than the test waits: what is adopted was handed over.
    rng = seed_of("a rolling restart")
    load = Load(rng)
    async with nodes_rig(tmp_path, dsn, lease_s=LONG_LEASE_S, seed=rng.randrange(1 << 32)) as nodes:
        await nodes.plant()
        running = [await nodes.serve("a"), await nodes.serve("b")]
        caller = nodes.caller(*running)
        calling = asyncio.create_task(load.run(caller))
        await until(lambda: nodes.sandbox.calls("charge"), lambda calls: len(calls) >= 20)

        for place, name in enumerate(("a2", "b2")):
            old = running[place]
            epoch = await nodes.epoch_of(old)
            await nodes.sandbox.fault("hang_after_effect", count=6, delayMs=60_000)
            await until(lambda epoch=epoch: nodes.owned(epoch), lambda count: count >= 2)
            old.process.signal(signal.SIGTERM)
            assert await old.process.ended() == 0, old.process.tail()
            await until(
                lambda epoch=epoch: nodes.owned(epoch),
                lambda count: count == 0,
                patience_s=LONG_LEASE_S * 0.9,
            )
            running[place] = await nodes.serve(name)
            caller.nodes = running
        caller.hang_up()
        await calling

        # Whoever finds no door goes to the next one. No request was lost on its way.
        assert {heard.error for heard in caller.heard} <= {"", "ClientConnectorError"}
        caller.check_manners()
        await proven(nodes, load, *running)
