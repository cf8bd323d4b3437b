"""The way between the gateway and a provider: it loses, delays, doubles and swaps.

It stands in for the adapter's HTTP client, so the adapter itself is the real one. A request that
has left goes its way whatever becomes of the process that sent it.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextvars import Context
from typing import Final

from paygate_actors.providers.http_client import (
    Answered,
    Broken,
    Exchange,
    HttpClient,
    NotSent,
)
from paygate_actors.simulation.faults import Dice
from paygate_actors.simulation.links import Link
from paygate_actors.simulation.provider import Reply, SimulatedProvider
from paygate_engine.simulation import VirtualLoop

# A round trip on a good day.
_LATENCY_S: Final = (0.02, 0.2)
# Longer than any deadline of a call: the gateway has given up on it.
_LATE_S: Final = (3.0, 1_200.0)
_DONE: Final = 200
_TOO_MANY: Final = 429

Sent = Callable[[str, str, str, bytes], None]


class SimulatedWire(HttpClient):
    """Connections to one provider over `link`; `sent(provider, path, key, body)` hears of each."""

    def __init__(
        self,
        provider: SimulatedProvider,
        *,
        loop: VirtualLoop,
        outside: Context,
        dice: Dice,
        link: Link,
        sent: Sent,
    ) -> None:
        super().__init__("http://simulated.invalid")
        self._provider = provider
        self._link = link
        self._loop = loop
        self._dice = dice
        self._sent = sent
        self._last_reply: Reply | None = None
        # Made outside of the process: what is on its way lives on when that is killed.
        self._outside = outside

    async def send(
        self,
        method: str,
        path: str,
        *,
        deadline_s: float,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Exchange:
        """Send one request; what comes back, or how far it got."""
        if self._dice.strikes("not_sent"):
            return NotSent(detail="simulated")
        key = (headers or {}).get("Idempotency-Key", "")
        if body is not None:
            self._sent(self._provider.id, path, key, body)
        reply: asyncio.Future[Exchange] = self._loop.create_future()
        self._depart(path, key, body, reply)
        try:
            async with asyncio.timeout(deadline_s):
                return await reply
        except TimeoutError:
            return Broken(reason="timeout", detail="simulated")

    async def close(self) -> None:
        """Nothing to give back."""

    def _depart(
        self, path: str, key: str, body: bytes | None, reply: "asyncio.Future[Exchange]"
    ) -> None:
        dice = self._dice
        if dice.strikes("request_lost"):
            self._answer(reply, Broken(reason="reset", detail="simulated"))
            return
        late = body is not None and dice.strikes("request_late")
        delay_s = dice.between(*(_LATE_S if late else _LATENCY_S)) / 2
        again_s: float | None = None
        if body is not None and dice.strikes("request_doubled"):
            again_s = dice.between(0.0, 5.0)
        self._later(delay_s, self._link.carry, self._arrive, path, key, body, reply, again_s)

    def _arrive(
        self,
        path: str,
        key: str,
        body: bytes | None,
        reply: "asyncio.Future[Exchange]",
        again_s: float | None = None,
    ) -> None:
        said = self._provider.receive(path, key, body)
        if again_s is not None:
            # A proxy repeats the request. What it repeats after a refusal, it answers by the
            # second answer: a gateway that hears "not looked at" may believe it.
            refused = said is not None and said[0] == _TOO_MANY
            heard = reply if refused else self._loop.create_future()
            self._later(again_s, self._arrive, path, key, body, heard)
            if refused:
                return
        if said is None:
            return
        dice = self._dice
        swapped = self._last_reply
        if said[0] == _DONE:
            # A refusal names no key, so nobody could tell that it is not theirs.
            self._last_reply = said
        if dice.strikes("reply_lost"):
            if dice.rng.random() < 0.5:  # noqa: PLR2004 - a reset, or silence until the deadline
                self._answer(reply, Broken(reason="reset", detail="simulated"))
            return
        if dice.strikes("reply_garbage"):
            said = 200, b'\x00\xff{"status": "succ<html>'
        elif swapped is not None and dice.strikes("reply_swapped"):
            said = swapped
        delay_s = dice.between(*_LATENCY_S) / 2
        if dice.strikes("reply_slow"):
            delay_s += dice.between(0.5, 10.0)
        status, content = said
        answered = Answered(status=status, body=content)
        self._later(delay_s, self._link.carry, _complete, reply, answered)

    def _answer(self, reply: "asyncio.Future[Exchange]", exchange: Exchange) -> None:
        self._later(self._dice.between(*_LATENCY_S), _complete, reply, exchange)

    def _later(self, delay_s: float, act: Callable[..., None], *args: object) -> None:
        self._loop.call_later(delay_s, act, *args, context=self._outside)


def _complete(reply: "asyncio.Future[Exchange]", exchange: Exchange) -> None:
    if not reply.done():
        reply.set_result(exchange)
