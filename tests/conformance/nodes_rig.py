"""Gateway processes over one database and one sandbox, and a caller who goes to each by turns.

    async with nodes_rig(tmp_path, dsn) as nodes:
        a, b = await nodes.serve("a"), await nodes.serve("b")
        load, caller = Load(rng), nodes.caller(a, b)
        calling = asyncio.create_task(load.run(caller))
        a.process.signal(signal.SIGSTOP)         # or SIGCONT, SIGKILL: by its id
        ...
        caller.hang_up()                         # what ends the load
        await calling
        await proven(nodes, load, b)

Every node has a name, a port and a log of its own. The rig ends whatever it started.
"""

import asyncio
import signal
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from gateway_words import SETTLES_S, until
from ledger_match import disagreements
from load_rig import GONE, Load
from msgspec import Struct
from postgres_rig import PostgresServer, execute, value
from process_rig import (
    OPEN,
    OPERATOR,
    Answer,
    GatewayClient,
    Process,
    ProcessRig,
    Settled,
    process_rig,
)

# Short, so that a test need not wait for long, and longer than a busy machine forgets a process.
LEASE_S: Final = 3.0
# A lease, the beats around it, and what two busy cores add.
BURIED_S: Final = 6 * LEASE_S
# Whoever is not answered by then was left in silence, whatever the gateway does.
SILENCE_S: Final = 12.0
# Between two rounds of a caller whom no node could answer.
AGAIN_S: Final = 0.1
# Between two calls of all callers together: steady, and far below what two shared cores can do, so
# that what is slow in a test is slow by what was done to it.
PACE_S: Final = 0.04

FAULTS: Final[tuple[dict[str, Any], ...]] = (
    {"fault": "reset_after_effect", "probability": 0.05},
    {"fault": "reset_before_effect", "probability": 0.04},
    {"fault": "error_500", "probability": 0.03},
    {"fault": "hang_after_effect", "probability": 0.02, "delayMs": 3_000},
    {"fault": "slow", "probability": 0.1, "delayMs": 300},
    {"fault": "pending", "probability": 0.05, "delayMs": 700},
    {"fault": "webhook_drop", "probability": 0.1},
    {"fault": "webhook_duplicate", "probability": 0.1},
    {"fault": "webhook_before_reply", "probability": 0.1},
)


class Heard(Struct, frozen=True):
    """One answer, or what there was instead: how long it took, and who gave it."""

    node: str
    what: str
    took_s: float
    answer: Answer | None
    error: str


class Node(GatewayClient):
    """A running node."""

    def __init__(self, name: str, process: Process) -> None:
        super().__init__(process)
        self.name = name

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.child.pid

    @property
    def runs(self) -> bool:
        """Whether it has not ended."""
        return self.process.child.returncode is None

    async def nodes(self) -> list[dict[str, Any]]:
        """All seats as it sees them."""
        return (await self.api("GET", "/api/nodes", caller=OPERATOR)).made()["data"]

    async def until_logged(self, word: str, *, patience_s: float = SETTLES_S) -> None:
        """Wait until its log has the word."""

        async def text() -> str:
            return await asyncio.to_thread(self.process.log.read_text)

        await until(text, lambda seen: word in seen, patience_s=patience_s)

    async def fenced(self) -> None:
        """Wait for the end of one whose place others have taken, and hold it against the rules."""
        code = await self.process.ended()
        log = self.process.log.read_text()
        assert code == 1, log[-4_000:]
        assert "others have taken this node's place" in log, log[-4_000:]


class Caller:
    """Who calls the nodes by turns, and the next one where a node is gone: as a balancer does.

    `heard` keeps all. After `hang_up` every call raises ConnectionError, which ends a `Load`.
    """

    def __init__(self, nodes: Sequence[Node]) -> None:
        self.nodes = list(nodes)
        self.heard: list[Heard] = []
        self._turn = 0
        self._over = False
        self._next_s = 0.0

    def hang_up(self) -> None:
        """Call nobody any more."""
        self._over = True

    async def pay(
        self, key: str | None, *, body: dict[str, Any] | None = None, wait_s: int = 0
    ) -> Answer:
        """Send a payment to whose turn it is."""
        return await self._ask(lambda node: node.pay(key, body=body, wait_s=wait_s), "pay")

    async def api(
        self, method: str, path: str, body: object = None, *, key: str | None = None
    ) -> Answer:
        """Send a request to whose turn it is."""
        what = path.rpartition("/")[2]
        return await self._ask(lambda node: node.api(method, path, body, key=key), what)

    async def _ask(self, call: Callable[[Node], Awaitable[Answer]], what: str) -> Answer:
        """The first answer; where no node gives one it goes on, until somebody hangs up."""
        while not self._over:
            for _ in range(len(self.nodes)):
                self._turn += 1
                node = self.nodes[self._turn % len(self.nodes)]
                await self._paced()
                began_s = time.monotonic()  # noqa: TID251  # a caller's own patience
                answer, error = None, ""
                try:
                    answer = await call(node)
                except GONE as gone:
                    error = type(gone).__name__
                took_s = time.monotonic() - began_s  # noqa: TID251
                self.heard.append(Heard(node.name, what, took_s, answer, error))
                if answer is not None:
                    return answer
            await asyncio.sleep(AGAIN_S)  # as a merchant's own pause between two tries
        raise ConnectionError("hung up")

    async def _paced(self) -> None:
        now_s = time.monotonic()  # noqa: TID251
        self._next_s = max(self._next_s, now_s) + PACE_S
        await asyncio.sleep(self._next_s - PACE_S - now_s)

    def check_manners(self) -> None:
        """Assert that nobody heard a 500, a 503 without `Retry-After`, or nothing for long."""
        for heard in self.heard:
            answer = heard.answer
            if answer is None:
                continue
            assert answer.status < 500 or answer.status == 503, heard
            assert answer.status != 503 or answer.retry_after is not None, heard
            assert heard.took_s < SILENCE_S, heard


class NodesRig:
    """A database, a sandbox that outlives all, and the nodes."""

    def __init__(self, rig: ProcessRig, dsn: str, *, lease_s: float) -> None:
        self.dsn = dsn
        self.sandbox = rig.sandbox
        self.nodes: list[Node] = []
        self._rig = rig
        self._lease_s = lease_s

    async def serve(
        self,
        name: str,
        *flags: str,
        dsn: str | None = None,
        env: dict[str, str] | None = None,
        prefix: Sequence[str] = (),
    ) -> Node:
        """Start a node and wait until it is ready. `dsn`: its own way to the database."""
        own = {
            "PAYGATE__DATABASE__LEASE_S": str(self._lease_s),
            "PAYGATE__DATABASE__NODE": name,
        }
        self._rig.log = self._rig.folder / f"{name}.log"
        where = ("--database", self.dsn if dsn is None else dsn)
        process = await self._rig.spawn(*where, *flags, env=own | (env or {}), prefix=prefix)
        node = Node(name, await process.listening())
        self.nodes.append(node)
        return node

    def caller(self, *nodes: Node) -> Caller:
        """Somebody who calls these by turns."""
        return Caller(nodes)

    async def tell(self, node: Node) -> None:
        """Have the sandbox's webhooks go to this one: it knows one address, as a provider does."""
        (await self.sandbox.ask("POST", "/gateway", {"url": node.url})).made()

    async def plant(self, faults: Sequence[dict[str, Any]] = FAULTS) -> None:
        """Let these go wrong at the sandbox, again and again."""
        for fault in faults:
            await self.sandbox.fault(**fault, count=1_000_000)

    async def owned(self, epoch: int) -> int:
        """How many open streams belong to an epoch, as the database has it."""
        statement = "SELECT count(*) FROM paygate.wakes WHERE owner = $1"
        return await value(self.dsn, statement, epoch)

    async def epoch_of(self, node: Node) -> int:
        """The epoch that a node bears."""
        return int((await node.gauges())["paygate_node_epoch"])

    async def close(self) -> None:
        """Close what talks; the rig below ends the processes, frozen ones too."""
        for node in self.nodes:
            await node.close()
            node.process.signal(signal.SIGCONT)


@asynccontextmanager
async def nodes_rig(
    folder: Path,
    dsn: str,
    *,
    lease_s: float = LEASE_S,
    latency_ms: int = 5,
    find_lag_ms: int = 200,
    seed: int = 1,
) -> AsyncGenerator[NodesRig]:
    """A sandbox, and no node yet; all that is started ends with the block."""
    async with process_rig(
        folder, latency_ms=latency_ms, find_lag_ms=find_lag_ms, seed=seed
    ) as rig:
        nodes = NodesRig(rig, dsn, lease_s=lease_s)
        try:
            yield nodes
        finally:
            await nodes.close()


async def empty_database(server: PostgresServer) -> str:
    """The address of a database that no other test has."""
    name = f"books_{server.next_number()}"
    await execute(server.dsn(), f"CREATE DATABASE {name}")
    return server.dsn(name)


async def proven(nodes: NodesRig, load: Load, *running: Node) -> Settled:
    """Wait until nothing is open; assert that all nodes say the same, and what the books say.

    And that what was acknowledged is there, that a repeated key finds what it found, that each
    request has one payment, and that no audit chain is broken.
    """
    await nodes.sandbox.clear_faults()
    first = running[0]
    wrong = await load.send_again(first)
    await _settled(first)
    wrong += await load.send_again(running[-1])
    seen = await _settled(first)
    assert wrong == []
    assert {row["metadata"]["key"]: row["id"] for row in seen.payments} == {
        key: sent.acked for key, sent in load.payments.items()
    }
    assert len(seen.payments) == len(load.payments)
    assert disagreements(seen, await nodes.sandbox.ledger()) == []
    for node in running:
        assert await _settled(node) == seen
        gauges = await node.gauges()
        assert gauges["paygate_audit_broken"] == 0
    return seen


async def _settled(node: Node) -> Settled:
    """Everything, once nothing is open; what does not come to its end is told with its history."""
    try:
        return await node.settled()
    except AssertionError as error:
        rows = (*await node.every("payments"), *await node.every("transactions"))
        left = {row.get("paymentID") for row in rows if row["status"] in OPEN or row.get("inDoubt")}
        told = [
            f"{payment_id}: {await node.payment(payment_id)} {await node.events(payment_id)}"
            for payment_id in sorted(filter(None, left))
        ]
        raise AssertionError("\n".join(told)) from error
