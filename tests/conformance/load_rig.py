"""Callers that pay, capture, refund and reverse while their gateway dies, and what they heard.

    load = Load(rng)
    await load.run(gateway)                  # until the gateway is gone
    ...                                      # a restart
    wrong = await load.send_again(gateway)   # each acknowledged request answers as it did

A load remembers every request by its key, so that one which was not answered can be told later
from one which was never made.
"""

import asyncio
import random
from collections import Counter
from typing import Any, Final, Protocol

import aiohttp
from gateway_words import payment
from msgspec import Struct
from process_rig import Answer

# Concurrent callers: enough that a group of the journal holds several, few enough for two cores.
CALLERS: Final = 8
# What says that a gateway is gone: no connection, a cut one, or silence.
GONE: Final = (aiohttp.ClientError, ConnectionError, TimeoutError)
# The table of test cards: mostly approved, some declined, some that fail over.
CARDS: Final = (
    *("4242424242424242",) * 6,
    "5555555555554444",
    "378282246310005",
    "4000000000000002",
    "4000000000000119",
)


class Sent(Struct, kw_only=True):
    """A request under a key, and the id that a 2xx gave, if one came."""

    path: str
    body: dict[str, Any]
    acked: str | None = None


class Called(Protocol):
    """Who is called: a gateway, or several of them by turns."""

    async def pay(
        self, key: str | None, *, body: dict[str, Any] | None = None, wait_s: int = 0
    ) -> Answer:
        """Send a payment."""
        ...

    async def api(
        self, method: str, path: str, body: object = None, *, key: str | None = None
    ) -> Answer:
        """Send a request."""
        ...


class Load:
    """Callers that pay, capture, refund and reverse. `name` begins each of their keys."""

    def __init__(self, rng: random.Random, *, name: str = "") -> None:
        self._rng = rng
        self._name = name
        self.payments: dict[str, Sent] = {}
        self.operations: dict[str, Sent] = {}
        self.refused: Counter[str] = Counter()

    @property
    def acked(self) -> set[str]:
        """The ids of all payments that were acknowledged."""
        return {sent.acked for sent in self.payments.values() if sent.acked is not None}

    async def run(self, gateway: Called, *, turns: int | None = None) -> None:
        """Call until the gateway is gone, or each caller had that many turns."""
        await asyncio.gather(*(self._caller(gateway, turns) for _ in range(CALLERS)))

    async def _caller(self, gateway: Called, turns: int | None) -> None:
        turn = 0
        while turn != turns:
            turn += 1
            try:
                await self._pay(gateway)
                await self._operate(gateway)
            except GONE:
                return

    async def _pay(self, gateway: Called) -> None:
        rng = self._rng
        key = f"{self._name}pay-{len(self.payments)}"
        body = payment(
            minor=rng.randrange(100, 50_000),
            card=rng.choice(CARDS),
            manual=rng.random() < 0.25,
            metadata={"key": key},
        )
        self.payments[key] = sent = Sent(path="/api/payments/process", body=body)
        self._note(sent, await gateway.pay(key, body=body, wait_s=rng.choice((0, 0, 1))))

    async def _operate(self, gateway: Called) -> None:
        rng = self._rng
        known = [sent.acked for sent in self.payments.values() if sent.acked is not None]
        if not known:
            return
        # The young ones are the interesting ones: their charge is still on its way.
        payment_id = rng.choice(known[-30:])
        verb = rng.choice(("refund", "refund", "capture", "reverse"))
        body: dict[str, Any] = {}
        if verb == "refund" and rng.random() < 0.7:
            body = {"amount": 1}
        elif verb == "reverse":
            body = {"orRefund": rng.random() < 0.5}
        path = f"/api/payments/{payment_id}/{verb}"
        key = f"{self._name}{verb}-{len(self.operations)}"
        self.operations[key] = sent = Sent(path=path, body=body)
        self._note(sent, await gateway.api("POST", path, body, key=key))

    def _note(self, sent: Sent, answer: Answer) -> None:
        if answer.status == 201:
            sent.acked = answer.body["id"]
            return
        assert answer.status in (409, 422, 503), answer
        self.refused[answer.body["code"]] += 1

    async def send_again(self, gateway: Called) -> list[str]:
        """Repeat every request under its key; what is not as it was acknowledged."""
        wrong: list[str] = []
        waiting = iter((*self.payments.items(), *self.operations.items()))

        async def repeat() -> None:
            for key, sent in waiting:
                answer = await gateway.api("POST", sent.path, sent.body, key=key)
                if sent.acked is None:
                    self._note(sent, answer)
                elif answer.status != 201 or answer.body["id"] != sent.acked or not answer.replayed:
                    wrong.append(f"{key} was {sent.acked}, now {answer}")

        await asyncio.gather(*(repeat() for _ in range(CALLERS)))
        return wrong
