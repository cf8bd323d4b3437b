"""A storm of webhooks: many events, some of them twice, in any order, over a few connections.

Each event is a refund of one minor unit that the provider made by itself, so that what a payment
shows as refunded is the number of its events that were applied, once each.

    storm = Storm(charges, events=1_000, seed=7)
    heard = await storm.blow(url)        # every event was acknowledged in the end
    await storm.settled(url, key)        # and applied, exactly once

Bounded in events, connections, and time.
"""

import asyncio
import json
import random
import sys
import time
from collections import Counter
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from itertools import cycle
from typing import Final

import aiohttp
from msgspec import Struct
from standardwebhooks import Webhook

# A storm comes from one provider: it keeps some connections open, and repeats what was refused.
CONNECTIONS: Final = 64
# Every event is acknowledged by then, or the test has failed.
STORM_S_MAX: Final = 120.0
REPLY_S_MAX: Final = 30.0
DUPLICATES: Final = 0.1
READ_PAUSE_S: Final = 0.01
# Payments that are read in turn: their ids fit a command line.
READ_MAX: Final = 100


class Charge(Struct, frozen=True, kw_only=True):
    """A payment that was made, and its charge at the provider."""

    payment_id: str
    charge_id: str


class Heard(Struct, frozen=True, kw_only=True):
    """What the storm was answered, and how reads did meanwhile (milliseconds)."""

    statuses: Mapping[int, int]
    without_retry_after: int
    seconds: float
    read_p50_ms: float
    read_p99_ms: float
    reads: int


class Storm:
    """Events about these charges, shuffled, a tenth of them twice. The seed makes it again."""

    def __init__(
        self,
        charges: list[Charge],
        *,
        events: int,
        seed: int,
        secret: str,
        provider: str = "sandbox",
        connections: int = CONNECTIONS,
    ) -> None:
        rng = random.Random(seed)
        self.events = events
        self.expected: Counter[str] = Counter()
        self._connections = connections
        self._provider = provider
        self._charges = charges
        self._webhook = Webhook(secret)
        numbered: list[tuple[str, bytes]] = []
        for number in range(events):
            charge = charges[number % len(charges)]
            self.expected[charge.payment_id] += 1
            numbered.append((f"evt_{seed}_{number}", self._body(number, seed, charge)))
        numbered += rng.sample(numbered, round(events * DUPLICATES))
        rng.shuffle(numbered)
        self._notices = numbered

    def _body(self, number: int, seed: int, charge: Charge) -> bytes:
        data = {"amountMinor": 1, "currency": "USD", "parentTransactionID": charge.charge_id}
        event = {
            "providerID": self._provider,
            "eventType": "refund.succeeded",
            "transactionID": f"re_{seed}_{number}",
            "data": data,
            "timestamp": "2026-01-01T00:00:00Z",
        }
        return json.dumps(event).encode()

    async def blow(self, url: str, *, key: str | None = None) -> Heard:
        """Send everything until all of it is acknowledged; with a key, read payments meanwhile."""
        statuses: Counter[int] = Counter()
        impatient = 0
        notices = iter(self._notices)
        connector = aiohttp.TCPConnector(limit=self._connections + 4)
        timeout = aiohttp.ClientTimeout(total=REPLY_S_MAX)

        async def sender(
            session: aiohttp.ClientSession, waiting: Iterator[tuple[str, bytes]]
        ) -> None:
            nonlocal impatient
            path = f"{url}/api/webhooks/{self._provider}"
            for event_id, body in waiting:
                while True:
                    headers = self._signed(event_id, body)
                    async with session.post(path, data=body, headers=headers) as answer:
                        await answer.read()
                    statuses[answer.status] += 1
                    if answer.status != 503:
                        break
                    after = answer.headers.get("Retry-After", "")
                    impatient += not after.isdigit()
                    await asyncio.sleep(float(after or 1))

        async with (
            asyncio.timeout(STORM_S_MAX),
            aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
            _reading(url, key, self._charges[:READ_MAX]) as reads,
        ):
            began_s = time.perf_counter()
            await asyncio.gather(*(sender(session, notices) for _ in range(self._connections)))
            seconds = time.perf_counter() - began_s
        reads.sort()
        return Heard(
            statuses=dict(statuses),
            without_retry_after=impatient,
            seconds=seconds,
            read_p50_ms=_percentile(reads, 50),
            read_p99_ms=_percentile(reads, 99),
            reads=len(reads),
        )

    async def settled(self, url: str, key: str) -> float:
        """Wait until every event is applied, once; the seconds that it took. Raises on too many."""
        began_s = time.perf_counter()
        headers = {"Authorization": f"Bearer {key}"}
        left = dict(self.expected)
        async with (
            asyncio.timeout(STORM_S_MAX),
            aiohttp.ClientSession(headers=headers) as session,
        ):
            while left:
                for payment_id, minor in tuple(left.items()):
                    refunded = await _refunded(session, url, payment_id)
                    assert refunded <= minor, f"{payment_id}: {minor} events, {refunded} applied"
                    if refunded < minor:
                        break
                    del left[payment_id]
                else:
                    continue
                await asyncio.sleep(READ_PAUSE_S)
        return time.perf_counter() - began_s

    def _signed(self, event_id: str, body: bytes) -> dict[str, str]:
        at = datetime.now(UTC)  # noqa: TID251  # the receiver compares it with the real clock
        return {
            "Content-Type": "application/json",
            "webhook-id": event_id,
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": self._webhook.sign(event_id, at, body.decode()),
        }


@asynccontextmanager
async def _reading(url: str, key: str | None, charges: list[Charge]) -> AsyncGenerator[list[float]]:
    """Read payments in a process of its own, so that sending is not what reading waits for.

    The seconds that each read took are in the list when the block has ended.
    """
    seconds: list[float] = []
    if key is None:
        yield seconds
        return
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        __file__,
        url,
        key,
        *(charge.payment_id for charge in charges),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        assert await process.stdout.readline() == b"reading\n"
        yield seconds
        process.stdin.close()
        async with asyncio.timeout(2 * REPLY_S_MAX):
            seconds += json.loads(await process.stdout.read())
            await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def read_until_closed(url: str, key: str, payment_ids: list[str]) -> list[float]:
    """Read payments in turn, at a steady pace, until our standard input is closed."""
    seconds: list[float] = []
    closed = asyncio.ensure_future(asyncio.to_thread(sys.stdin.read))
    async with aiohttp.ClientSession() as session:
        for payment_id in cycle(payment_ids):
            if closed.done():
                return seconds
            began_s = time.perf_counter()
            await _refunded(session, url, payment_id, key=key)
            if not seconds:
                sys.stdout.write("reading\n")
                sys.stdout.flush()
            seconds.append(time.perf_counter() - began_s)
            await asyncio.sleep(READ_PAUSE_S)
    return seconds


async def make_charges(url: str, key: str, count: int) -> list[Charge]:
    """Make payments of 100.00 USD, and give each with its charge."""
    method = {"type": "card", "cardNumber": "4242424242424242", "cvv": "123"}
    method |= {"expiryMonth": 12, "expiryYear": 2099}
    made: list[Charge] = []
    numbers = iter(range(count))

    async def payer(session: aiohttp.ClientSession) -> None:
        for number in numbers:
            body = {"amount": 100, "currency": "USD", "paymentMethod": method}
            body["metadata"] = {"orderID": f"storm-{number}"}
            path = f"{url}/api/payments/process"
            async with session.post(path, json=body, headers={"Prefer": "wait=10"}) as answer:
                paid = await answer.json()
                assert answer.status == 201, paid
            assert paid["status"] == "success", paid
            made.append(Charge(payment_id=paid["id"], charge_id=paid["providerTxnID"]))

    headers = {"Authorization": f"Bearer {key}"}
    async with (
        asyncio.timeout(STORM_S_MAX),
        aiohttp.ClientSession(headers=headers) as session,
    ):
        await asyncio.gather(*(payer(session) for _ in range(8)))
    return made


async def _refunded(
    session: aiohttp.ClientSession, url: str, payment_id: str, *, key: str | None = None
) -> int:
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    async with session.get(f"{url}/api/payments/{payment_id}", headers=headers) as answer:
        payment = await answer.json()
        assert answer.status == 200, payment
    return round(payment["amountRefunded"] * 100)


def _percentile(values: list[float], percent: int) -> float:
    return 1_000 * values[min(len(values) - 1, len(values) * percent // 100)] if values else 0.0


if __name__ == "__main__":
    _, given_url, given_key, *given_ids = sys.argv
    read = asyncio.run(read_until_closed(given_url, given_key, given_ids))
    sys.stdout.write(json.dumps(read))
