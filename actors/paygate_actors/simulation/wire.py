"""The way between the gateway and a provider: it loses, delays, doubles and swaps.

It stands in for the adapter's HTTP client, so the adapter itself is the real one. A request that
has left goes its way whatever becomes of the process that sent it.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextvars import Context
from functools import partial
from typing import Final

from msgspec import Struct

from paygate_actors.providers.http_client import (
    Answered,
    Broken,
    Exchange,
    HttpClient,
    NotSent,
)
from paygate_actors.providers.last_look import BARRED, may_leave
from paygate_actors.simulation.faults import Dice
from paygate_actors.simulation.links import Link
from paygate_actors.simulation.provider import SimulatedProvider
from paygate_engine.simulation import VirtualLoop

# A round trip on a good day.
_LATENCY_S: Final = (0.02, 0.2)
# Longer than any deadline of a call: the gateway has given up on it.
_LATE_S: Final = (3.0, 1_200.0)
_DONE: Final = 200
_TOO_MANY: Final = 429

Sent = Callable[[str, str, str, bytes], None]


class Request(Struct, frozen=True, kw_only=True):
    """One request on its way. `key` is that of the sandbox's own protocol, where it has one."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes | None

    @property
    def key(self) -> str:
        """The idempotency key; empty for a look-up."""
        return self.headers.get("Idempotency-Key", "")

    @property
    def moves(self) -> bool:
        """Whether it may change something there."""
        return self.body is not None


# What a provider answers; None: nothing at all.
Heard = Answered | None


class FaultyWire(HttpClient, ABC):
    """Connections to one provider over `link`. Who is at the other end, heirs say."""

    def __init__(self, *, loop: VirtualLoop, outside: Context, dice: Dice, link: Link) -> None:
        super().__init__("http://simulated.invalid")
        self._link = link
        self._loop = loop
        self._dice = dice
        self._last: Answered | None = None
        # Made outside of the process: what is on its way lives on when that is killed.
        self._outside = outside

    @property
    def may_double(self) -> bool:
        """Whether somebody on the way may repeat a request; without a key that is done twice."""
        return True

    @abstractmethod
    def leaves(self, request: Request) -> None:
        """Look at a request that leaves the process. Raises nothing."""

    @abstractmethod
    def reach(self, request: Request, heard: Callable[[Heard], None]) -> None:
        """Let the provider act on it, and hand its answer over; now or later."""

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
        if not may_leave():
            return NotSent(detail=BARRED)
        request = Request(method=method, path=path, headers=headers or {}, body=body)
        self.leaves(request)
        reply: asyncio.Future[Exchange] = self._loop.create_future()
        self._depart(request, reply)
        try:
            async with asyncio.timeout(deadline_s):
                return await reply
        except TimeoutError:
            return Broken(reason="timeout", detail="simulated")

    async def close(self) -> None:
        """Nothing to give back."""

    def _depart(self, request: Request, reply: "asyncio.Future[Exchange]") -> None:
        dice = self._dice
        if dice.strikes("request_lost"):
            self._answer(reply, Broken(reason="reset", detail="simulated"))
            return
        late = request.moves and dice.strikes("request_late")
        delay_s = dice.between(*(_LATE_S if late else _LATENCY_S)) / 2
        again_s: float | None = None
        if request.moves and self.may_double and dice.strikes("request_doubled"):
            again_s = dice.between(0.0, 5.0)
        self._later(delay_s, self._link.carry, self._arrive, request, reply, again_s)

    def _arrive(
        self, request: Request, reply: "asyncio.Future[Exchange]", again_s: float | None = None
    ) -> None:
        self.reach(request, partial(self._go_back, request, reply, again_s))

    def _go_back(
        self,
        request: Request,
        reply: "asyncio.Future[Exchange]",
        again_s: float | None,
        said: Heard,
    ) -> None:
        if again_s is not None:
            # A proxy repeats the request. What it repeats after a refusal, it answers by the
            # second answer: a gateway that hears "not looked at" may believe it.
            refused = said is not None and said.status == _TOO_MANY
            heard = reply if refused else self._loop.create_future()
            self._later(again_s, self._arrive, request, heard)
            if refused:
                return
        if said is None:
            return
        dice = self._dice
        swapped = self._last
        if said.status == _DONE:
            # A refusal names no key, so nobody could tell that it is not theirs.
            self._last = said
        if dice.strikes("reply_lost"):
            if dice.rng.random() < 0.5:  # noqa: PLR2004 - a reset, or silence until the deadline
                self._answer(reply, Broken(reason="reset", detail="simulated"))
            return
        if dice.strikes("reply_garbage"):
            said = Answered(status=200, body=b'\x00\xff{"status": "succ<html>')
        elif swapped is not None and dice.strikes("reply_swapped"):
            said = swapped
        delay_s = dice.between(*_LATENCY_S) / 2
        if dice.strikes("reply_slow"):
            delay_s += dice.between(0.5, 10.0)
        self._later(delay_s, self._link.carry, _complete, reply, said)

    def _answer(self, reply: "asyncio.Future[Exchange]", exchange: Exchange) -> None:
        self._later(self._dice.between(*_LATENCY_S), _complete, reply, exchange)

    def _later(self, delay_s: float, act: Callable[..., None], *args: object) -> None:
        self._loop.call_later(delay_s, act, *args, context=self._outside)


class SimulatedWire(FaultyWire):
    """The way to a `SimulatedProvider`; `sent(provider, path, key, body)` hears of each call."""

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
        super().__init__(loop=loop, outside=outside, dice=dice, link=link)
        self._provider = provider
        self._sent = sent

    @property
    def may_double(self) -> bool:
        """Not where there are no keys: no gateway could help it."""
        return self._provider.kind != "keyless"

    def leaves(self, request: Request) -> None:
        """Tell of a call that may move money."""
        if request.body is not None:
            self._sent(self._provider.id, request.path, request.key, request.body)

    def reach(self, request: Request, heard: Callable[[Heard], None]) -> None:
        """Ask it; it answers at once."""
        said = self._provider.receive(request.path, request.key, request.body)
        heard(None if said is None else Answered(status=said[0], body=said[1]))


def _complete(reply: "asyncio.Future[Exchange]", exchange: Exchange) -> None:
    if not reply.done():
        reply.set_result(exchange)
