"""Rounds of a day's mixed load at one gateway, by what its processor spent; what a read costs.

A round is a closed loop: so many payments by sandbox and webhook, every tenth asked for twice,
every tenth refunded in part, every fifth read, every twentieth followed by a page of the list. It
ends when each webhook has come. What the gateway spends without any load (it walks its rows in the
background) is measured before each round and taken off.
"""

import asyncio
import itertools
import random
import time
from collections.abc import Iterator
from typing import Final

import msgspec
from callers import Lines, asking, paying, quantile_ms
from gateway_words import until
from msgspec import Struct
from process_rig import GatewayClient, ProcessRig
from stored import CUSTOMERS
from vitals import cpu_s_of, memory_of, port_of

CALLERS: Final = 32
WAIT_S: Final = 30
WEBHOOKS: Final = "paygate_webhooks_received_total"
WALKED: Final = "paygate_audit_verified_rows"


class Round(Struct, frozen=True, kw_only=True):
    """CPU microseconds for a payment and what goes with it, without the idle share; bytes."""

    cpu_us: float
    idle_share: float
    memory: int


class Reads(Struct, frozen=True, kw_only=True):
    """CPU microseconds and milliseconds (median, p99) for each; idle CPU taken off."""

    cpu_us: float
    p50_ms: float
    p99_ms: float


class Site(Struct, kw_only=True):
    """A gateway on a store of some size. `ids`: payments that lie there for long."""

    name: str
    rig: ProcessRig
    gateway: GatewayClient
    ids: list[str]
    rounds: list[Round] = []
    reads: dict[str, list[Reads]] = {}

    @property
    def pid(self) -> int:
        """The gateway's process."""
        return self.gateway.process.child.pid


_numbers = itertools.count()


class _View(Struct):
    id: str
    status: str


async def idle_share(site: Site, seconds: float) -> float:
    """Which share of a core the gateway uses while nobody asks for anything."""
    began_s, cpu_s = time.perf_counter(), cpu_s_of(site.pid)
    await asyncio.sleep(seconds)
    return (cpu_s_of(site.pid) - cpu_s) / (time.perf_counter() - began_s)


async def mixed_round(site: Site, payments: int, idle: float) -> None:
    """One round of the mix. `idle`: the share of a core that it takes without any load."""
    before = (await site.gateway.gauges()).get(WEBHOOKS, 0)
    began_s, cpu_s = time.perf_counter(), cpu_s_of(site.pid)
    room = iter(range(payments))
    async with Lines(port_of(site.gateway)) as lines:
        refunds = sum(await asyncio.gather(*(_caller(lines, room) for _ in range(CALLERS))))
    await until(site.gateway.gauges, lambda seen: seen[WEBHOOKS] - before >= payments + refunds)
    used_s = cpu_s_of(site.pid) - cpu_s - idle * (time.perf_counter() - began_s)
    site.rounds.append(
        Round(cpu_us=1e6 * used_s / payments, idle_share=idle, memory=memory_of(site.pid))
    )


async def _caller(lines: Lines, room: Iterator[int]) -> int:
    refunds = 0
    for place in room:
        request = paying(next(_numbers), "round", wait_s=WAIT_S)
        status, body = await lines.ask(request)
        assert status == 201, (status, body)
        paid = msgspec.json.decode(body, type=_View)
        if place % 10 == 0:
            status, again = await lines.ask(request)
            assert msgspec.json.decode(again, type=_View).id == paid.id, (status, again)
        if place % 10 == 5:
            await _refund(lines, paid)
            refunds += 1
        if place % 5 == 1:
            await _got(lines, f"/api/payments/{paid.id}")
        if place % 20 == 2:
            await _got(lines, "/api/payments?limit=20")
    return refunds


async def _refund(lines: Lines, paid: _View) -> None:
    path = f"/api/payments/{paid.id}/refund"
    request = asking("POST", path, '{"amount":1.00}', key=f"refund-{paid.id}", wait_s=WAIT_S)
    status, body = await lines.ask(request)
    assert status == 201, (paid, status, body)


async def _got(lines: Lines, path: str) -> float:
    began_s = time.perf_counter()
    status, body = await lines.ask(asking("GET", path))
    assert status == 200, (path, status, body)
    return time.perf_counter() - began_s


async def read_round(site: Site, count: int, idle: float, rng: random.Random) -> None:
    """Read stored payments, the list's first page, and the page of a customer's payments."""
    ids = [rng.choice(site.ids) for _ in range(count)]
    customers = [rng.randrange(CUSTOMERS) for _ in range(count)]
    paths = {
        "GET": [f"/api/payments/{each}" for each in ids],
        "list": ["/api/payments?limit=20"] * count,
        "a customer's list": [
            f"/api/payments?limit=20&customerID=customer-{each}" for each in customers
        ],
    }
    async with Lines(port_of(site.gateway)) as lines:
        for name, of in paths.items():
            await _read(site, lines, name, of, idle)


async def _read(site: Site, lines: Lines, name: str, paths: list[str], idle: float) -> None:
    began_s, cpu_s = time.perf_counter(), cpu_s_of(site.pid)
    seconds = [await _got(lines, path) for path in paths]
    used_s = cpu_s_of(site.pid) - cpu_s - idle * (time.perf_counter() - began_s)
    site.reads.setdefault(name, []).append(
        Reads(
            cpu_us=1e6 * used_s / len(paths),
            p50_ms=quantile_ms(seconds, 0.5),
            p99_ms=quantile_ms(seconds, 0.99),
        )
    )
