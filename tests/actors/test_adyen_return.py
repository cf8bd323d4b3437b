"""Payers who come back from Adyen: whose address is taken, what Adyen is told, what is heard."""

import asyncio
import json
from collections.abc import AsyncIterator
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec
import pytest
from adyen_rig import RETURN_URL, adyen_adapter, told_by
from hypothesis import given
from hypothesis import strategies as st
from provider_suite import charge_call
from sandbox_rig import APPROVED, CONFIRM, Inbox, Rig, sandbox_rig
from stranger_rig import adapter_of_stranger, answer, saying

from paygate_actors.outcomes import ActionRequired, Approved
from paygate_actors.providers.adyen import RESULT_LENGTH_MAX, RETURNS_MAX, AdyenProvider
from paygate_actors.providers.adyen_return import URL_LENGTH_MAX, CameBack, ReturnDoor
from paygate_actors.providers.adyen_visits import CALLS_MAX, REFERENCES_MAX, Visits
from paygate_actors.providers.base import Returned, SignatureInvalid
from paygate_engine.clock import ManualClock
from paygate_http.sandbox.adyen_calls import API_KEY

SHOP = "https://shop.example/orders/7?paid=yes&lang=de"
DOOR = ReturnDoor(RETURN_URL, secret=API_KEY)


def query_of(address: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(address).query, keep_blank_values=True))


def back(reference: str = "txn_1-1", **more: str) -> dict[str, str]:
    """What a payer comes back with."""
    return {**query_of(DOOR.address(reference, SHOP)), "redirectResult": "X6XtfGC3!Y", **more}


# ---------------------------------------------------------------------------- the address


@pytest.mark.parametrize("url", [SHOP, None, "https://shop.example/größe?a=%20b#c"])
def test_an_address_gives_back_what_it_was_written_with(url: str | None):
    address = DOOR.address("txn_1-1.hold", url)

    assert DOOR.read(query_of(address)) == CameBack(reference="txn_1-1.hold", url=url)


def test_the_door_s_own_address_may_have_a_query():
    address = ReturnDoor("https://pay.example/back?tenant=1", secret="x").address("txn_1-1", None)

    assert address.startswith("https://pay.example/back?tenant=1&for=txn_1-1&")


@given(st.integers(1, 2_048))
def test_no_address_is_longer_than_adyen_takes(length: int):
    address = DOOR.address("k" * 64 + ".hold", "https://shop.example/" + "x" * length)

    assert len(address) <= URL_LENGTH_MAX
    assert DOOR.read(query_of(address)).reference == "k" * 64 + ".hold"


@pytest.mark.parametrize(
    "changes",
    [
        {"to": "aHR0cHM6Ly9ldmlsLmV4YW1wbGU"},
        {"to": ""},
        {"for": "txn_9-1"},
        {"by": ""},
        {"by": "é"},
        {"by": "0" * 64},
    ],
)
def test_an_address_that_we_did_not_write_leads_nowhere(changes: dict[str, str]):
    for query in ({**back(), **changes}, {}, {"to": SHOP}):
        with pytest.raises(SignatureInvalid):
            DOOR.read(query)


def test_another_account_s_address_does_not_fit():
    with pytest.raises(SignatureInvalid):
        ReturnDoor(RETURN_URL, secret="another").read(back())


# --------------------------------------------------------------------------- at the sandbox


@pytest.fixture
async def inbox() -> AsyncIterator[Inbox]:
    async with Inbox() as inbox:
        yield inbox


@pytest.fixture
async def rig(inbox: Inbox) -> AsyncIterator[Rig]:
    async with sandbox_rig(clock=ManualClock(), gateway_url=inbox.url) as rig:
        yield rig


@pytest.fixture
async def provider(rig: Rig) -> AsyncIterator[AdyenProvider]:
    provider = adyen_adapter(rig.sandbox.url, clock=rig.clock, return_url=RETURN_URL)
    yield provider
    await provider.close()


async def asked(provider: AdyenProvider, *, capture: bool = True) -> ActionRequired:
    call = charge_call(CONFIRM, "txn_1-1", capture=capture)
    outcome = await provider.charge(msgspec.structs.replace(call, return_url=SHOP))
    assert isinstance(outcome, ActionRequired)
    return outcome


@pytest.mark.parametrize(
    ("verdict", "capture", "event_type"),
    [
        ("complete", True, "payment.succeeded"),
        ("complete", False, "payment.authorized"),
        ("fail", True, "payment.failed"),
    ],
)
async def test_what_a_payer_brings_back_tells_what_the_webhook_tells_under_the_same_id(
    rig: Rig, inbox: Inbox, provider: AdyenProvider, verdict: str, event_type: str, *, capture: bool
):
    psp = (await asked(provider, capture=capture)).url.rpartition("/")[2]
    await rig.post(f"/actions/{psp}/{verdict}")
    reference = "txn_1-1" if capture else "txn_1-1.hold"

    returned = await provider.returned(back(reference, redirectResult=psp))

    await inbox.wait_for(1)
    (webhook,) = provider.parse({}, inbox.received[0][1])
    (event,) = returned.events
    assert returned.url == SHOP
    assert event.event_type == webhook.event_type == event_type
    assert (event.event_id, event.reference) == (webhook.event_id, webhook.reference)
    assert (event.amount, event.reason) == (webhook.amount, webhook.reason)


async def test_a_payer_who_comes_back_too_early_brings_nothing(
    rig: Rig, inbox: Inbox, provider: AdyenProvider
):
    psp = (await asked(provider)).url.rpartition("/")[2]

    returned = await provider.returned(back(redirectResult=psp))
    await rig.post(f"/actions/{psp}/complete")

    assert returned == Returned(url=SHOP)
    assert isinstance(await told_by(inbox, provider, "txn_1-1"), Approved)


async def test_a_payment_of_somebody_else_is_not_told_of(rig: Rig, provider: AdyenProvider):
    psp = (await asked(provider)).url.rpartition("/")[2]
    await rig.post(f"/actions/{psp}/complete")

    returned = await provider.returned(back("txn_2-1", redirectResult=psp))

    assert returned == Returned(url=SHOP)


# ------------------------------------------------------------------------- before strangers


PAYMENT: dict[str, Any] = {
    "resultCode": "Authorised",
    "pspReference": "V4HZ4RBFJGXXGN82",
    "merchantReference": "txn_1-1",
    "amount": {"value": 1_000, "currency": "USD"},
}


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (200, b"<html>"),
        (200, b"\xff"),
        (200, {}),
        (200, {**PAYMENT, "merchantReference": "txn_2-1"}),
        (200, {**PAYMENT, "merchantReference": None}),
        (200, {**PAYMENT, "pspReference": None}),
        (200, {**PAYMENT, "amount": None}),
        (200, {**PAYMENT, "amount": {"value": 501, "currency": "ISK"}}),
        (200, {**PAYMENT, "resultCode": "Pending"}),
        (422, {"status": 422, "errorCode": "101", "message": "x", "errorType": "validation"}),
        (500, {"status": 500}),
    ],
)
async def test_what_is_not_understood_waits_for_the_webhook(status: int, said: Any):
    content = said if isinstance(said, bytes) else json.dumps(said).encode()

    async with adapter_of_stranger(saying(answer(status, content)), adyen_adapter) as provider:
        assert await provider.returned(back()) == Returned(url=SHOP)


@pytest.mark.parametrize("result", ["", "x" * (RESULT_LENGTH_MAX + 1)])
async def test_who_brings_nothing_or_too_much_is_sent_on_without_a_call(result: str):
    called = asyncio.Event()

    async def handle(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        called.set()

    async with adapter_of_stranger(handle, adyen_adapter) as provider:
        assert await provider.returned(back(redirectResult=result)) == Returned(url=SHOP)
        with pytest.raises(SignatureInvalid):
            await provider.returned({"redirectResult": "x"})

    assert not called.is_set()


# ------------------------------------------------------- one address, and no end of requests


class Hanging:
    """Adyen, which says nothing about payers until `gate` opens, and takes every charge at once."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.told = 0
        self.arrived = asyncio.Event()
        self.wanted = 1

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        about_a_payer = b"/payments/details" in head
        if about_a_payer:
            self.told += 1
            if self.told >= self.wanted:
                self.arrived.set()
            await self.gate.wait()
        said = {**PAYMENT, "resultCode": "Received" if about_a_payer else "Authorised"}
        writer.write(answer(200, json.dumps(said).encode(), b"Connection: close"))
        await writer.drain()


async def test_one_payer_s_address_is_told_of_once_at_a_time_and_five_times_in_all():
    adyen = Hanging()
    async with adapter_of_stranger(adyen, adyen_adapter) as provider:
        first = asyncio.create_task(provider.returned(back(redirectResult="0")))
        async with asyncio.timeout(5):
            await adyen.arrived.wait()
            beside = await provider.returned(back(redirectResult="1"))
        at_once = adyen.told
        adyen.gate.set()
        await first

        after = [await provider.returned(back(redirectResult=str(each))) for each in range(20)]

    assert beside == Returned(url=SHOP)
    assert after == [Returned(url=SHOP)] * 20
    assert (at_once, adyen.told) == (1, CALLS_MAX)


async def test_payers_who_come_back_leave_the_connections_to_charges():
    adyen = Hanging()
    adyen.wanted = RETURNS_MAX
    # More payers than all connections of the account.
    crowd = RETURNS_MAX * 2
    async with adapter_of_stranger(
        adyen, partial(adyen_adapter, connections_max=RETURNS_MAX)
    ) as provider:
        payers = [
            asyncio.create_task(provider.returned(back(f"txn_{each}-1"))) for each in range(crowd)
        ]
        async with asyncio.timeout(5):
            await adyen.arrived.wait()
            charged = await provider.charge(charge_call(APPROVED, "txn_1-1"))
        told = adyen.told
        adyen.gate.set()
        await asyncio.gather(*payers)

    assert isinstance(charged, Approved)
    assert told == RETURNS_MAX


async def test_what_never_left_for_adyen_counts_for_nothing():
    provider = adyen_adapter("http://127.0.0.1:9")
    for _ in range(CALLS_MAX * 2):
        assert await provider.returned(back()) == Returned(url=SHOP)
    await provider.close()

    visits = Visits()
    for _ in range(CALLS_MAX * 2):
        with visits.visit("txn_1-1") as may:
            assert may
            visits.unsaid("txn_1-1")


def test_no_more_payers_are_remembered_than_there_is_room_for():
    visits = Visits()
    for _ in range(CALLS_MAX):
        with visits.visit("first"):
            pass
    for each in range(REFERENCES_MAX):
        with visits.visit(str(each)) as may:
            assert may

    with visits.visit("first") as again:
        assert again
    with visits.visit(str(REFERENCES_MAX - 1)) as again, visits.visit("first") as other:
        assert (again, other) == (True, True)
