"""Payers who come back: who is let through, what is kept of it, and how many at a time."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from paygate_actors.homecoming import WAITING_MAX, Homecoming
from paygate_actors.inbox import Inbox
from paygate_actors.messages import Refusal
from paygate_actors.provider_desk import ProviderDesk
from paygate_actors.providers.adyen_terms import Pace, capabilities_of
from paygate_actors.providers.base import ProviderEvent, Returned, SignatureInvalid
from paygate_actors.providers.last_look import may_leave
from paygate_engine.errors import Overloaded

URL = "https://shop.example/paid"
EVENT = ProviderEvent(
    event_id="P/AUTHORISATION/true", event_type="payment.succeeded", provider_txn_id="P"
)
QUERY = {"redirectResult": "X"}


class Taken:
    """An inbox that keeps what it is given, or is full."""

    def __init__(self, *, full: bool = False) -> None:
        self.full = full
        self.events: list[tuple[str, ProviderEvent]] = []

    async def take(self, provider: str, events: tuple[ProviderEvent, ...]) -> int:
        if self.full:
            raise Overloaded("full")
        self.events += [(provider, event) for event in events]
        return len(events)


def door(
    returned: Callable[[Mapping[str, str]], Awaitable[Returned]],
    inbox: Taken | None = None,
    *,
    returns: bool = True,
    deadline_s: float = 5.0,
    may_act: Callable[[], bool] = lambda: True,
) -> Homecoming:
    capabilities = capabilities_of(Pace(deadline_s=deadline_s))
    can = msgspec.structs.replace(capabilities, returns=returns)
    adapter = SimpleNamespace(capabilities=can, returned=returned)
    desk = SimpleNamespace(adapter=adapter, is_active=True)
    desks = SimpleNamespace(get={"adyen": desk, "other": desk}.get)
    return Homecoming(
        desk=cast("ProviderDesk", desks), inbox=cast("Inbox", inbox or Taken()), may_act=may_act
    )


def answering(back: Returned | Exception) -> Callable[[Mapping[str, str]], Awaitable[Returned]]:
    async def returned(_query: Mapping[str, str]) -> Returned:
        if isinstance(back, Exception):
            raise back
        return back

    return returned


def code_of(onward: str | Refusal) -> str:
    assert isinstance(onward, Refusal)
    return onward.code


async def test_what_a_payer_brings_back_is_kept_before_they_go_on():
    inbox = Taken()

    onward = await door(answering(Returned(events=(EVENT,), url=URL)), inbox).receive(
        "adyen", QUERY
    )

    assert onward == URL
    assert inbox.events == [("adyen", EVENT)]


async def test_what_is_told_of_a_payer_leaves_only_while_the_node_may_act():
    looks: list[bool] = []

    async def returned(_query: Mapping[str, str]) -> Returned:
        looks.append(may_leave())
        return Returned(url=URL)

    for may_act in (True, False):
        await door(returned, may_act=lambda may_act=may_act: may_act).receive("adyen", QUERY)

    assert looks == [True, False]


async def test_a_payer_goes_on_although_their_news_found_no_room():
    onward = await door(answering(Returned(events=(EVENT,), url=URL)), Taken(full=True)).receive(
        "adyen", QUERY
    )

    assert onward == URL


async def test_a_provider_that_needs_not_be_told_is_not():
    onward = await door(answering(RuntimeError("asked")), returns=False).receive("adyen", QUERY)

    assert onward == ""


@pytest.mark.parametrize("error", [SignatureInvalid("x"), RuntimeError("a bug of an adapter's")])
async def test_who_was_not_sent_away_is_not_let_through(error: Exception):
    inbox = Taken()

    assert (
        code_of(await door(answering(error), inbox).receive("adyen", QUERY)) == "signature_invalid"
    )
    assert inbox.events == []


async def test_nobody_comes_back_from_an_unknown_provider():
    onward = await door(answering(Returned())).receive("nobody", QUERY)

    assert code_of(onward) == "provider_not_found"


async def test_a_provider_that_hangs_keeps_no_payer_beyond_the_deadline():
    async def never(_query: Mapping[str, str]) -> Returned:
        await asyncio.Event().wait()
        raise AssertionError("it never ends")

    async with asyncio.timeout(5):
        onward = await door(never, deadline_s=0.01).receive("adyen", QUERY)

    assert onward == ""


async def test_a_flood_is_refused_and_the_door_opens_again_after_it():
    gate, full, inside = asyncio.Event(), asyncio.Event(), 0

    async def wait(_query: Mapping[str, str]) -> Returned:
        nonlocal inside
        inside += 1
        if inside == WAITING_MAX:
            full.set()
        await gate.wait()
        return Returned(url=URL)

    home = door(wait)
    crowd: list[asyncio.Task[Any]] = [
        asyncio.create_task(home.receive("adyen", QUERY)) for _ in range(WAITING_MAX)
    ]
    async with asyncio.timeout(5):
        await full.wait()

    refused = await home.receive("adyen", QUERY)
    gate.set()
    first = await asyncio.gather(*crowd)
    after = await home.receive("adyen", QUERY)

    assert code_of(refused) == "overloaded"
    assert (set(first), after) == ({URL}, URL)


async def test_a_flood_at_one_provider_keeps_nobody_from_coming_back_from_another():
    gate, full, inside = asyncio.Event(), asyncio.Event(), 0

    async def wait(query: Mapping[str, str]) -> Returned:
        nonlocal inside
        inside += 1
        if inside == WAITING_MAX:
            full.set()
        if query:
            await gate.wait()
        return Returned(url=URL)

    home = door(wait)
    crowd: list[asyncio.Task[Any]] = [
        asyncio.create_task(home.receive("adyen", QUERY)) for _ in range(WAITING_MAX)
    ]
    async with asyncio.timeout(5):
        await full.wait()
        onward = await home.receive("other", {})
    gate.set()
    await asyncio.gather(*crowd)

    assert onward == URL
