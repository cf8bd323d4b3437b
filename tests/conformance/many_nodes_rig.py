"""Several gateways over one database in memory, on one clock that is moved by hand, and one bank.

    async with many_nodes(tmp_path) as many:
        a, b = await many.start("a"), await many.start("b")
        payment_id = await a.pay()
        await many.lose(a)            # cut off, its lease runs out, and somebody buries it
        a.store.plug_in()             # it finds out

Each node is a whole gateway in this process. What they share is the database and the bank.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
from bank_rig import AMOUNT, MERCHANT, PATIENCE_S, Bank
from receiver_rig import Receivers

from paygate_actors.card import SealedCard
from paygate_actors.config import Config, Database, Limits, ProviderConfig, Sandbox
from paygate_actors.gateway import Gateway
from paygate_actors.messages import (
    PaymentReply,
    PaymentView,
    ProcessPayment,
    RefundPayment,
    Refusal,
    TransactionReply,
)
from paygate_actors.payment_methods import CardMethod
from paygate_actors.projection import KINDS, WATCHED
from paygate_actors.webhooks_out import WayOut
from paygate_engine.clock import ManualClock
from paygate_engine.stores.shared import LEASE_S
from paygate_engine.stores.shared_memory import MemoryCluster, SharedMemoryStore


class Node:
    """One gateway. `fatal` is what ended it."""

    def __init__(self, name: str, store: SharedMemoryStore, bank: Bank) -> None:
        self.name = name
        self.store = store
        self.bank = bank
        self.fatal: list[BaseException] = []
        self._gateway: Gateway | None = None

    @property
    def gateway(self) -> Gateway:
        """The running gateway."""
        assert self._gateway is not None
        return self._gateway

    @property
    def epoch(self) -> int:
        """Its epoch."""
        assert self.store.seat is not None
        return self.store.seat.epoch

    async def start(
        self, config: Config, clock: ManualClock, *, seed: int, way_out: WayOut
    ) -> None:
        """Join, furnish, adopt."""
        self._gateway = await Gateway.start(
            config,
            loop=asyncio.get_running_loop(),
            on_fatal=self.fatal.append,
            clock=clock,
            rng=random.Random(seed),
            store=self.store,
            adapters={"bank": self.bank},
            way_out=way_out,
        )
        await self.gateway.recover()

    async def pay(self, *, key: str | None = None, manual: bool = False) -> str:
        """Pay by a card with a CVV; the payment's id."""
        reply = await self.process(key=key, manual=manual)
        assert isinstance(reply, PaymentReply), reply
        return reply.payment.id

    async def process(
        self, *, key: str | None = None, manual: bool = False
    ) -> PaymentReply | Refusal:
        """Ask for a payment."""
        return await self.gateway.front.process(wanted(key, manual=manual))

    async def refund(self, payment_id: str, minor: int | None = None) -> TransactionReply | Refusal:
        """Ask for a refund."""
        command = RefundPayment(caller=MERCHANT, payment_id=payment_id, amount_minor=minor)
        return await self.gateway.front.refund(command)

    async def view(self, payment_id: str) -> PaymentView:
        """The payment as this node tells it."""
        found = await self.gateway.front.payment(MERCHANT, payment_id)
        assert isinstance(found, PaymentView), found
        return found

    async def events(self, payment_id: str) -> list[str]:
        """The payment's history, by name."""
        found = await self.gateway.front.events(MERCHANT, payment_id)
        assert isinstance(found, tuple), found
        return [event.type for event in found]

    def gauge(self, name: str) -> float:
        """A number of its metrics page."""
        return self.gateway.front.gauges()[name]


def wanted(key: str | None = None, *, manual: bool = False) -> ProcessPayment:
    """A payment by a card with a CVV."""
    return ProcessPayment(
        caller=MERCHANT,
        amount=AMOUNT,
        method=CardMethod(
            kind="card",
            card=SealedCard("4242424242424242", "123"),
            expiry_month=12,
            expiry_year=2099,
        ),
        capture_method="manual" if manual else "automatic",
        idempotency_key=key,
    )


class ManyNodes:
    """The database, the clock, the bank, and the nodes that run."""

    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock()
        self.bank = Bank()
        self.cluster = MemoryCluster(KINDS, clock=self.clock, watched=WATCHED)
        self.nodes: list[Node] = []
        self.receivers = Receivers(self.clock.now_us)
        self.config = Config(
            data_dir=str(folder),
            sandbox=Sandbox(enabled=True),
            providers=(ProviderConfig(id="bank", kind="bank", url="http://bank.invalid"),),
            limits=Limits(),
        )

    async def start(self, name: str, *, bank: Bank | None = None) -> Node:
        """One more node; with a bank of its own it hears calls apart from the others."""
        node = Node(name, self.cluster.node(), bank or self.bank)
        config = msgspec.structs.replace(self.config, database=Database(node=name))
        way_out = WayOut(sender=self.receivers)
        await node.start(config, self.clock, seed=len(self.nodes) + 1, way_out=way_out)
        self.nodes.append(node)
        return node

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Let everybody run until it is so; no time passes."""
        async with asyncio.timeout(PATIENCE_S):
            while not is_so():  # noqa: ASYNC110  # nobody would set an event
                await asyncio.sleep(0)

    async def until_status(self, node: Node, payment_id: str, status: str) -> PaymentView:
        """Wait until a node says that the payment is so; no time passes."""
        async with asyncio.timeout(PATIENCE_S):
            while (view := await node.view(payment_id)).status != status:  # noqa: ASYNC110  # each look is a question
                await asyncio.sleep(0)
        return view

    async def pass_time(self, seconds: float, *, step_s: float = 0.5) -> None:
        """Let time pass, with everything that comes due on the way."""
        left_s = seconds
        while left_s > 0:
            self.clock.advance(min(step_s, left_s))
            left_s -= step_s
            for _ in range(60):
                await asyncio.sleep(0)

    async def lose(self, node: Node) -> None:
        """Cut a node off from the database until its lease has run out and it was buried."""
        node.store.unplug()
        await self.pass_time(2 * LEASE_S)

    async def stop(self) -> None:
        """End all that run."""
        self.bank.hang_up()
        for node in self.nodes:
            node.store.plug_in()
            node.bank.hang_up()
            await node.gateway.stop()


@asynccontextmanager
async def many_nodes(folder: Path) -> AsyncGenerator[ManyNodes]:
    """A database without nodes; those that a test starts end with it."""
    many = ManyNodes(folder)
    try:
        yield many
    finally:
        await many.stop()
