"""Several gateway processes with something between them: a pooler, or two hours of clock."""

import asyncio
import shutil
import signal
import subprocess
from collections.abc import Generator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
import pytest
from gateway_words import seed_of, signed, until
from ledger_match import disagreements
from load_rig import Load
from needing import needs
from nodes_rig import BURIED_S, Node, empty_database, nodes_rig, proven
from pgbouncer_rig import pgbouncer
from postgres_rig import PostgresServer, installed, one_server, value
from receiver_rig import Sent, receiver
from standardwebhooks import Webhook

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

# Two hours lie between the nodes, and neither has the database's time.
FAST_S: Final = 3_600
SLOW_S: Final = -3_600
SECOND: Final = timedelta(seconds=1)
HOUR: Final = timedelta(hours=1)
# Two leases of them: a node beats four times in each.
BEATS: Final = 8


@pytest.fixture(scope="module")
def server() -> Generator[PostgresServer]:
    with installed() as programs, one_server(programs, "between") as running:
        yield running


@pytest.fixture
async def dsn(server: PostgresServer) -> str:
    return await empty_database(server)


async def test_behind_a_pooler_a_killed_node_is_followed_and_merchants_are_told(
    server: PostgresServer, dsn: str, tmp_path: Path
):
    rng = seed_of("behind a pooler")
    load = Load(rng)
    with pgbouncer(server, urlsplit(dsn).path.removeprefix("/")) as pooled:
        async with (
            receiver() as shop,
            nodes_rig(tmp_path, dsn, seed=rng.randrange(1 << 32)) as nodes,
        ):
            a, b = await nodes.serve("a", dsn=pooled), await nodes.serve("b", dsn=pooled)
            hook = (await a.api("POST", "/api/webhook-endpoints", {"url": shop.url})).made()
            await until(lambda: endpoints_known(b), lambda count: count == 1)
            # One of them sends. What the other one commits it has to find by itself.
            for node in (a, b):
                await load.run(nodes.caller(node), turns=1)
                await shop.until(lambda got: load.acked <= {payment_of(it) for it in got})
            await nodes.plant()
            caller = nodes.caller(a, b)
            calling = asyncio.create_task(load.run(caller))
            await until(lambda: nodes.sandbox.calls("charge"), lambda calls: len(calls) >= 30)

            a.process.signal(signal.SIGKILL)
            await a.process.ended()
            await b.until_logged('"nodes_gone"', patience_s=BURIED_S)
            came = len(load.payments)
            await until(lambda: asked(load), lambda count: count >= came + 10)
            caller.hang_up()
            await calling

            caller.check_manners()
            seen = await proven(nodes, load, b)
            last = seen.payments[0]["id"]
            await shop.until(lambda got: any(last == payment_of(it) for it in got))
            for each in shop.got:
                Webhook(hook["secret"]).verify(each.body, dict(each.headers))
            used = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            # The pooler's, and the one that asks; that nothing goes past it.
            assert await value(dsn, used) <= 3 + 1


def payment_of(sent: Sent) -> str:
    """The payment that a webhook to the merchant tells of."""
    return msgspec.json.decode(sent.body)["paymentID"]


async def endpoints_known(node: Node) -> float:
    """How many endpoints a node knows of: it hears of others' by its next beat."""
    return (await node.gauges())["paygate_notice_endpoints"]


async def asked(load: Load) -> int:
    return len(load.payments)


def clock_off_by(seconds: int) -> dict[str, str]:
    """The environment of a process whose wall clock goes wrong, and nothing else does."""
    program = shutil.which("faketime")
    needs("faketime is not installed", met=program is not None)
    assert program is not None
    # It would run the process as its child, which outlives it; so it is only asked how it does it.
    said = subprocess.run(
        [program, "-f", f"{seconds:+d}s", "env"], capture_output=True, text=True, check=True
    )
    found = dict(line.split("=", 1) for line in said.stdout.splitlines() if "=" in line)
    wrong = {name: found[name] for name in ("LD_PRELOAD", "FAKETIME")}
    return wrong | {"FAKETIME_DONT_FAKE_MONOTONIC": "1"}


async def test_nodes_whose_clocks_are_two_hours_apart_agree_on_every_time(dsn: str, tmp_path: Path):
    async with nodes_rig(tmp_path, dsn) as nodes:
        a = await nodes.serve("a", env=clock_off_by(FAST_S))
        b = await nodes.serve("b", env=clock_off_by(SLOW_S))

        made: list[dict[str, Any]] = []
        for number, node in enumerate((a, b) * 3):
            before = await now(dsn)
            answer = (await node.pay(f"key-{number}", wait_s=10)).made()
            after = await now(dsn)
            made.append(answer)
            assert before - SECOND <= moment(answer["createdAt"]) <= after + SECOND
        # A key of the one lives at the other; whatever the provider signs now is new to both.
        repeated = [await node.pay(f"key-{number}") for number, node in enumerate((b, a) * 3)]
        events = [event_of(row) for row in made]
        taken = [
            (await node.webhook(f"msg_{number}", event)).status
            for number, (node, event) in enumerate(zip((a, b) * 3, events, strict=True))
        ]
        late = [await replayed(node, events[0], by=by) for node in (a, b) for by in (-HOUR, HOUR)]
        # For as long as it takes to be taken for dead.
        beats = [await beats_of(node) for node in (a, b)]
        for node, count in zip((a, b), beats, strict=True):
            await until(lambda node=node: beats_of(node), lambda it, c=count: it >= c + BEATS)
        seen = await a.settled()
        states = [(row["name"], row["state"]) for row in await a.nodes()]
        wrong = [own_time(node) - await now(dsn) for node in (a, b)]

        assert wrong[0] > HOUR / 2
        assert wrong[1] < -HOUR / 2
        assert seen == await b.settled()
        assert disagreements(seen, await nodes.sandbox.ledger()) == []
        assert [answer.made()["id"] for answer in repeated] == [row["id"] for row in made]
        assert all(answer.replayed for answer in repeated)
        assert taken == [200] * len(events)
        assert late == [401] * len(late)
        assert states == [("a", "live"), ("b", "live")]
        assert [row["id"] for row in seen.payments] == [row["id"] for row in made[::-1]]
        assert a.runs
        assert b.runs


def moment(text: str) -> datetime:
    """An instant as the API spells it."""
    return datetime.fromisoformat(text)


def own_time(node: Node) -> datetime:
    """What a node's own clock said when it wrote the last line of its log."""
    last = node.process.log.read_text().splitlines()[-1]
    return moment(msgspec.json.decode(last)["at"])


async def now(dsn: str) -> datetime:
    """The database's time."""
    return await value(dsn, "SELECT clock_timestamp()")


async def beats_of(node: Node) -> float:
    """How many beats of a node were answered."""
    return (await node.gauges())["paygate_node_beats_total"]


def event_of(row: dict[str, Any]) -> dict[str, Any]:
    """What the provider says of a payment that succeeded."""
    return {
        "providerID": "sandbox",
        "eventType": "payment.succeeded",
        "transactionID": row["providerTxnID"],
        "data": {},
        "timestamp": row["createdAt"],
    }


async def replayed(node: Node, event: dict[str, Any], *, by: timedelta) -> int:
    """What becomes of an event that was signed an hour before or after its time."""
    raw = msgspec.json.encode(event)
    return (
        await node.ask(
            "POST", "/api/webhooks/sandbox", raw, headers=signed(f"late{by}", raw, moved=by)
        )
    ).status
