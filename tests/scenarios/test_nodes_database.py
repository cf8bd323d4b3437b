"""Several gateway processes whose database breaks: cut off, frozen, killed, taken over.

Nobody waits in silence, nothing is acknowledged that could be lost, and no node has to be started
again.
"""

import asyncio
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

import pytest
from cutting_proxy import cutting_proxy
from gateway_words import payment, seed_of, until
from load_rig import Load
from nodes_rig import (
    BURIED_S,
    Caller,
    Node,
    NodesRig,
    empty_database,
    nodes_rig,
    proven,
)
from postgres_rig import (
    USER,
    Installation,
    PostgresServer,
    execute,
    installed,
    one_server,
    server_pair,
    value,
)
from postgres_rig import until as until_so
from process_rig import Answer

from paygate_engine.clock import SystemClock

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

# A failover that takes longer than this is felt by merchants who wait for an answer.
GOES_ON_S: Final = 30.0
TERMINATED: Final = 150
# Groups whose answer is lost, one after another.
LOST: Final = 10
# No other request is so long as one that brings events.
GROUP_BYTES_MIN: Final = 1_500
# Calls that are on record and wait for their turn: few are out at a time, and each takes its whole
# deadline of two seconds, so that a lease runs out before the last one has had its turn.
WAITING: Final = 12
FEW: Final = {"PAYGATE__LIMITS__PROVIDER_CONCURRENCY": "2"}
UNANSWERED: Final = ({"fault": "hang_after_effect", "delayMs": 60_000},)
# A lease that does not run out while a test looks on.
UNSEEN_S: Final = 60.0
CANCEL_GROUPS: Final = (
    "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity"
    " WHERE wait_event = 'SyncRep' AND query LIKE '%commit_group%'"
)
# Those of the gateways: none of the test's own, and none of the server's.
TERMINATE: Final = """
SELECT count(pg_terminate_backend(pid)) FROM (
    SELECT pid FROM pg_stat_activity
    WHERE datname = $1 AND backend_type = 'client backend' AND pid <> pg_backend_pid()
    ORDER BY random() LIMIT 1
) AS one
"""


@pytest.fixture(scope="module")
def programs() -> Generator[Installation]:
    with installed() as programs:
        yield programs


@pytest.fixture(scope="module")
def server(programs: Installation) -> Generator[PostgresServer]:
    with one_server(programs, "broken") as running:
        yield running


@asynccontextmanager
async def under_load(
    nodes: NodesRig,
    load: Load,
    *,
    charges: int,
    dsn: str | None = None,
    env: dict[str, str] | None = None,
) -> AsyncGenerator[tuple[Node, Node, Caller]]:
    """Two nodes and callers, for as long as the block runs. `dsn` and `env` are the first one's."""
    await nodes.plant()
    a, b = await nodes.serve("a", dsn=dsn, env=env), await nodes.serve("b")
    caller = nodes.caller(a, b)
    calling = asyncio.create_task(load.run(caller))
    try:
        await until(lambda: nodes.sandbox.calls("charge"), lambda calls: len(calls) >= charges)
        yield a, b, caller
    finally:
        caller.hang_up()
        await calling


@asynccontextmanager
async def replicated(
    programs: Installation, name: str
) -> AsyncGenerator[tuple[PostgresServer, PostgresServer, str]]:
    """A primary, its standby, which commits wait for, and the address of a database on both."""
    synchronous = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'"
    with server_pair(programs, name) as (primary, standby):
        await until_so(lambda: value(primary.dsn(), synchronous))
        await execute(primary.dsn(), "CREATE DATABASE books")
        hosts = f"127.0.0.1:{primary.port},127.0.0.1:{standby.port}"
        dsn = f"postgresql://{USER}@{hosts}/books?target_session_attrs=read-write"
        yield primary, standby, dsn


async def epochs(nodes: NodesRig, *running: Node) -> list[int]:
    return [await nodes.epoch_of(node) for node in running]


async def acked(load: Load) -> int:
    return len(load.acked)


async def readiness(node: Node) -> int:
    return (await node.ask("GET", "/readyz")).status


async def test_back_ends_that_are_terminated_are_not_missed(server: PostgresServer, tmp_path: Path):
    rng = seed_of("terminated back ends")
    load = Load(rng)
    dsn = await empty_database(server)
    database = urlsplit(dsn).path.removeprefix("/")
    async with nodes_rig(tmp_path, dsn, seed=rng.randrange(1 << 32)) as nodes:
        async with under_load(nodes, load, charges=10) as (a, b, caller):
            before = await epochs(nodes, a, b)

            ended = 0
            async with asyncio.timeout(GOES_ON_S):
                while ended < TERMINATED:
                    ended += await value(server.dsn(), TERMINATE, database)
            came = len(load.acked)
            await until(lambda: acked(load), lambda count: count >= came + 10)

        caller.check_manners()
        assert all(heard.answer is not None for heard in caller.heard)
        assert await epochs(nodes, a, b) == before
        await proven(nodes, load, a, b)


async def test_a_group_whose_answer_is_lost_is_there_and_there_once(
    server: PostgresServer, tmp_path: Path
):
    """Whose back end is terminated has its group rolled back; here it has been committed."""
    rng = seed_of("lost answers")
    load = Load(rng)
    dsn = await empty_database(server)
    async with (
        cutting_proxy(server.port) as proxy,
        nodes_rig(tmp_path, dsn, seed=rng.randrange(1 << 32)) as nodes,
    ):
        through = server.dsn(urlsplit(dsn).path.removeprefix("/"), port=proxy.port)
        async with under_load(nodes, load, charges=10, dsn=through) as (a, b, caller):
            before = await epochs(nodes, a, b)

            for lost in range(1, LOST + 1):
                proxy.lose_answer(of_bytes=GROUP_BYTES_MIN)
                await until_so(lambda lost=lost: proxy.cuts == lost)
                came = len(load.acked)
                await until(lambda: acked(load), lambda count, came=came: count >= came + 5)

        caller.check_manners()
        assert all(heard.answer is not None for heard in caller.heard)
        assert await epochs(nodes, a, b) == before
        await proven(nodes, load, a, b)


async def test_a_primary_that_is_killed_is_followed_by_its_standby_without_a_restart(
    programs: Installation, tmp_path: Path
):
    rng = seed_of("failover")
    load, clock = Load(rng), SystemClock()
    async with (
        replicated(programs, "failover") as (primary, standby, dsn),
        nodes_rig(tmp_path, dsn, seed=rng.randrange(1 << 32)) as nodes,
    ):
        async with under_load(nodes, load, charges=30) as (a, b, caller):
            before = await epochs(nodes, a, b)

            primary.kill()
            for node in (a, b):
                await until(lambda node=node: readiness(node), lambda status: status == 503)
            said = len(caller.heard)
            # Without a primary for longer than a lease, which nobody is to be buried for.
            await a.until_logged('"paused"')
            await b.until_logged('"paused"')
            meanwhile = [heard.answer for heard in caller.heard[said:]]
            standby.promote()
            since_s = clock.monotonic_s()
            for node in (a, b):
                await until(lambda node=node: readiness(node), lambda status: status == 200)
            came = len(load.acked)
            await until(lambda: acked(load), lambda count: count >= came + 20)
            gone_s = clock.monotonic_s() - since_s

        assert gone_s < GOES_ON_S
        assert meanwhile
        assert {answer.status for answer in meanwhile if answer} <= {503}
        caller.check_manners()
        assert all(heard.answer is not None for heard in caller.heard)
        assert await epochs(nodes, a, b) == before
        await proven(nodes, load, a, b)


async def test_nothing_is_said_to_be_done_while_the_standby_does_not_have_it(
    programs: Installation, tmp_path: Path
):
    rng = seed_of("a frozen standby")
    load = Load(rng)
    async with (
        replicated(programs, "frozen") as (_, standby, dsn),
        nodes_rig(tmp_path, dsn, seed=rng.randrange(1 << 32)) as nodes,
    ):
        a, b = await nodes.serve("a"), await nodes.serve("b")
        await load.run(nodes.caller(a, b), turns=2)
        standby.freeze()
        caller = nodes.caller(a, b)
        calling = asyncio.create_task(load.run(caller))

        # Until both have found out by themselves; those who asked before that have an answer too.
        for node in (a, b):
            await until(lambda node=node: readiness(node), lambda status: status == 503)
        heard = await until(lambda: told(caller), lambda answers: len(answers) >= 30)
        standby.thaw()
        came = len(load.acked)
        await until(lambda: acked(load), lambda count: count >= came + 10)
        caller.hang_up()
        await calling

        assert {answer.status for answer in heard} <= {409, 422, 503}, "nothing was done"
        assert "outcome_unknown" in {answer.body["code"] for answer in heard}
        caller.check_manners()
        seen = await proven(nodes, load, a, b)
    assert len(seen.payments) == len(load.payments)


async def test_a_repetition_is_not_answered_before_the_standby_has_what_it_repeats(
    programs: Installation, tmp_path: Path
):
    """Another node reads what a cancelled wait has left on the primary alone."""
    async with (
        replicated(programs, "repeated") as (primary, standby, dsn),
        nodes_rig(tmp_path, dsn, lease_s=UNSEEN_S) as nodes,
    ):
        await nodes.plant([{"fault": "webhook_drop"}])  # a group of its own would come first
        a, b = await nodes.serve("a"), await nodes.serve("b")
        held = (await a.pay("key-1", body=payment(manual=True), wait_s=10)).made()["id"]
        known = len(await b.events(held))
        standby.freeze()
        first = asyncio.create_task(a.operate(held, "capture", key="key-2"))

        async def read() -> int:
            await value(primary.dsn(), CANCEL_GROUPS)
            return len(await b.events(held))

        await until(read, lambda count: count > known)

        again = await b.operate(held, "capture", key="key-2")
        standby.thaw()

        assert (again.status, again.body["code"]) == (503, "outcome_unknown")
        assert (await first).status == 503
        async with asyncio.timeout(GOES_ON_S):
            ends = [await capture(node, held) for node in (a, b)]
        assert ends[0] == ends[1]


async def capture(node: Node, payment_id: str) -> str:
    """The id of the one capture, asked for until it is told."""
    answer = await until(
        lambda: node.operate(payment_id, "capture", key="key-2"), lambda it: it.status != 503
    )
    return answer.made()["id"]


async def told(caller: Caller) -> list[Answer]:
    return [heard.answer for heard in caller.heard if heard.answer is not None]


@pytest.mark.parametrize("swallowed", ["request", "answer"])
async def test_a_node_whose_way_to_the_database_is_open_in_one_direction_alone_does_nothing(
    server: PostgresServer, tmp_path: Path, swallowed: Literal["request", "answer"]
):
    rng = seed_of(f"a lost {swallowed}")
    load = Load(rng)
    dsn = await empty_database(server)
    async with (
        cutting_proxy(server.port) as proxy,
        nodes_rig(tmp_path, dsn, seed=rng.randrange(1 << 32)) as nodes,
    ):
        through = server.dsn(urlsplit(dsn).path.removeprefix("/"), port=proxy.port)
        async with under_load(nodes, load, charges=10, dsn=through, env=FEW) as (a, b, caller):
            epoch = await nodes.epoch_of(a)
            await nodes.plant(UNANSWERED)
            await until(lambda: calls(a, "waiting"), lambda count: count >= WAITING)
            proxy.deaf, proxy.mute = swallowed == "request", swallowed == "answer"

            await a.until_logged('"paused"')
            # What had left before comes home, or is given up; from then on nothing leaves.
            await until(lambda: calls(a, "running"), lambda count: count == 0)
            kept = await calls(a, "waiting")
            said, seen = len(caller.heard), set[float]()

            async def left() -> int:
                seen.add(await calls(a, "running"))
                return await nodes.owned(epoch)

            await until(left, lambda count: count == 0, patience_s=BURIED_S)
            came = len(load.acked)
            await until(lambda: acked(load), lambda count: count >= came + 10)
            await left()
            alone = [heard for heard in caller.heard[said:] if heard.node == "a"]
            proxy.deaf = proxy.mute = False
            await a.fenced()

        assert {heard.answer.status for heard in alone if heard.answer} <= {503}
        caller.check_manners()
        assert kept > 0
        assert seen == {0}
        await proven(nodes, load, b)


async def calls(node: Node, state: Literal["running", "waiting"]) -> float:
    """How many calls to providers a node has out, or has on record and not out, by its metrics."""
    name = f"paygate_provider_calls_{state}"
    return sum(n for each, n in (await node.gauges()).items() if each.startswith(name))
