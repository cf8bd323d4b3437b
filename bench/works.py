"""What is measured at a server: payments to their end, reads, webhooks. One run gives one figure.

CPU is the server's, all threads, by the kernel's account, from the first request until nothing that
it began is under way any more. `prepare` is done once before anything is measured, and warms up.
"""

import asyncio
from collections.abc import Iterable
from typing import Protocol

import made_requests
import msgspec
from closed_loop import Sent, send
from instant_provider import ID
from measured_server import Answer, MeasuredServer
from msgspec import Struct

CONNECTIONS = 64
# More than the gateway keeps in memory of those that are over (`region.LINGER_MAX`).
EVICTING = 1_100


class Figure(Struct, frozen=True, kw_only=True):
    """One run: CPU microseconds for one of what is counted; milliseconds a reply took.

    `own_us` is what one request cost the load, `refused` how often one was told to come again.
    Where nothing is sent they are 0, and so is the rest.
    """

    cpu_us: float
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    own_us: float = 0.0
    refused: int = 0


class Work(Protocol):
    """Something that a server does many times."""

    def prepare(self, server: MeasuredServer) -> None:
        """Bring about what is needed."""
        ...

    def run(self, server: MeasuredServer) -> Figure:
        """Have it done, and measure it."""
        ...


class Told(Struct, rename="camel"):
    """What is wanted of a payment that was read."""

    id: str
    provider_txn_id: str | None = msgspec.field(name="providerTxnID", default=None)


def load(
    server: MeasuredServer, requests: list[bytes], *, connections: int, status: int
) -> tuple[Sent, list[bytes]]:
    """Send them all; what was answered."""
    bodies: list[bytes] = []
    sent = asyncio.run(
        send([server.port], requests, connections=connections, status=status, heard=bodies.append)
    )
    return sent, bodies


def pay(server: MeasuredServer, count: int, *, connections: int = CONNECTIONS) -> list[str]:
    """Make payments, and wait until they are over; their ids."""
    requests = made_requests.payments(count)
    _, bodies = load(server, requests, connections=connections, status=201)
    server.ask("rest 0")
    return [msgspec.json.decode(body, type=Told).id for body in bodies]


def figure(server: MeasuredServer, cpu_s: float, sent: Sent, count: int) -> Figure:
    """The figure of what began when the server had used that much CPU."""
    return Figure(
        cpu_us=1e6 * (server.cpu_s() - cpu_s) / count,
        p50_ms=sent.latency_ms(50),
        p99_ms=sent.latency_ms(99),
        own_us=sent.own_cpu_us,
        refused=sent.refused,
    )


class Paying:
    """Payments, each a new one, to their end. `webhooks`: the provider sends one for each."""

    def __init__(
        self, count: int, *, connections: int = CONNECTIONS, webhooks: bool = False
    ) -> None:
        self._count = count
        self._connections = connections
        self._webhooks = webhooks
        self._came = 0

    def prepare(self, server: MeasuredServer) -> None:
        """Warm up."""
        self._pay(server, max(self._count // 5, self._connections))

    def run(self, server: MeasuredServer) -> Figure:
        """Pay, and hold it that every payment came to its end."""
        return self._pay(server, self._count)

    def _pay(self, server: MeasuredServer, count: int) -> Figure:
        requests = made_requests.payments(count)
        before, cpu_s = self._rest(server), server.cpu_s()
        sent, _ = load(server, requests, connections=self._connections, status=201)
        self._came += count if self._webhooks else 0
        after = self._rest(server)
        found = figure(server, cpu_s, sent, count)
        _grew(before, after, "settled", count)
        return found

    def _rest(self, server: MeasuredServer) -> Answer:
        return server.ask(f"rest {self._came}")


class Reading:
    """Reads of a few payments in turn: of those in memory, or (`stored`) long out of it.

    In memory they are where the server's provider leaves them pending; elsewhere any may go.
    """

    FEW = 200

    def __init__(self, count: int, *, stored: bool) -> None:
        self._count = count
        self._stored = stored
        self._ids: list[str] = []

    def prepare(self, server: MeasuredServer) -> None:
        """Make the payments."""
        self._ids = pay(server, self.FEW)

    def run(self, server: MeasuredServer) -> Figure:
        """Read."""
        requests = made_requests.reads(
            self._ids[number % self.FEW] for number in range(self._count)
        )
        if self._stored and self._live(server):
            pay(server, EVICTING)
        assert self._live(server) in (None, not self._stored)
        cpu_s = server.cpu_s()
        sent, _ = load(server, requests, connections=CONNECTIONS, status=200)
        return figure(server, cpu_s, sent, self._count)

    def _live(self, server: MeasuredServer) -> bool | None:
        """Whether they are in memory; a bare handler has none."""
        found = [server.ask(f"live {each}").get("live") for each in (self._ids[0], self._ids[-1])]
        return None if None in found else any(found)


class Hearing:
    """Webhooks, each a new refund by the provider, until each has changed its payment."""

    FEW = 500

    def __init__(self, count: int) -> None:
        self._count = count
        self._charges: list[str] = []
        self._came = 0

    def prepare(self, server: MeasuredServer) -> None:
        """Warm up."""
        self._pay_anew(server)
        self._hear(server, self._count // 5)

    def run(self, server: MeasuredServer) -> Figure:
        """Send, and hold it that each was applied, once."""
        self._pay_anew(server)
        return self._hear(server, self._count)

    def _pay_anew(self, server: MeasuredServer) -> None:
        """Make payments, and look up what their charges are called at the provider.

        For each run its own: a payment costs more with every refund that it has already.
        """
        ids = pay(server, self.FEW)
        told = load(server, made_requests.reads(ids), connections=CONNECTIONS, status=200)[1]
        charges = (msgspec.json.decode(body, type=Told).provider_txn_id for body in told)
        self._charges = [each or "ch_nobody" for each in charges]

    def _hear(self, server: MeasuredServer, count: int) -> Figure:
        charges: Iterable[str] = (
            self._charges[number % len(self._charges)] for number in range(count)
        )
        requests = made_requests.webhooks(ID, charges)
        before, cpu_s = server.ask(f"rest {self._came}"), server.cpu_s()
        sent, _ = load(server, requests, connections=CONNECTIONS, status=200)
        self._came += count
        after = server.ask(f"rest {self._came}")
        found = figure(server, cpu_s, sent, count)
        _grew(before, after, "refunds", count)
        return found


def _grew(before: Answer, after: Answer, name: str, count: int) -> None:
    """Every one came to its end, once; a bare handler counts nothing."""
    if name in after:
        assert after[name] - before[name] == count, (name, count, before, after)


class Alone:
    """A part that a process does by itself, so many times, and times itself (`alone_server.py`)."""

    def __init__(self, what: str, count: int) -> None:
        self._words = f"{what} {count}"

    def prepare(self, server: MeasuredServer) -> None:
        """Warm up."""
        self.run(server)

    def run(self, server: MeasuredServer) -> Figure:
        """Have it done."""
        return Figure(cpu_us=server.ask(self._words)["cpu_us"])
