"""The sandbox as Adyen: keys, faults, restarts, what is told and what is kept."""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
from adyen_rig import RETURN_URL
from sandbox_rig import APPROVED, CONFIRM, Inbox, Rig, sandbox_rig

from paygate_engine.clock import ManualClock
from paygate_http.sandbox.adyen_calls import API_KEY
from paygate_http.sandbox.adyen_objects import MERCHANT_ACCOUNT

ACCOUNT = "sandbox_adyen"


@pytest.fixture
async def rig() -> AsyncGenerator[Rig]:
    async with sandbox_rig(clock=ManualClock()) as rig:
        yield rig


async def call(
    rig: Rig, path: str, body: dict[str, Any], *, key: str | None = None
) -> tuple[int, dict[str, Any]]:
    headers = {"X-API-Key": API_KEY} | ({"Idempotency-Key": key} if key else {})
    url = f"{rig.sandbox.url}/v72{path}"
    async with aiohttp.request("POST", url, json=body, headers=headers) as response:
        return response.status, await response.json()


async def pay(
    rig: Rig, number: str = APPROVED, *, key: str | None = None, **changes: Any
) -> tuple[int, dict[str, Any]]:
    body = {
        "merchantAccount": MERCHANT_ACCOUNT,
        "amount": {"value": 1_000, "currency": "EUR"},
        "reference": "order-1",
        "paymentMethod": {"type": "scheme", "number": number},
        "returnUrl": RETURN_URL,
        **changes,
    }
    return await call(rig, "/payments", body, key=key)


async def held(rig: Rig) -> str:
    _, paid = await pay(rig, additionalData={"manualCapture": "true"})
    return paid["pspReference"]


async def change(
    rig: Rig, psp: str, noun: str, units: int | None = None, *, key: str | None = None
) -> tuple[int, dict[str, Any]]:
    amount = {} if units is None else {"amount": {"value": units, "currency": "EUR"}}
    body = {"merchantAccount": MERCHANT_ACCOUNT, "reference": f"{noun}-1", **amount}
    return await call(rig, f"/payments/{psp}/{noun}", body, key=key)


def everything_in(folder: Path) -> bytes:
    """All bytes of all files in the folder."""
    return b"".join(each.read_bytes() for each in folder.rglob("*") if each.is_file())


def items(told: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Every event as (code, success), whatever their order."""
    read = [each["notificationItems"][0]["NotificationRequestItem"] for each in told]
    return sorted((each["eventCode"], each["success"]) for each in read)


async def test_a_second_request_with_a_key_that_is_at_work_is_told_so():
    async with sandbox_rig(clock=ManualClock(), latency_ms=200) as rig:
        answers = await asyncio.gather(*(pay(rig, key="key-1") for _ in range(3)))

        codes = sorted(str(body.get("errorCode", body.get("resultCode"))) for _, body in answers)

        assert codes == ["704", "704", "Authorised"]
        assert len(await rig.ledger()) == 1


async def test_keys_books_and_modifications_outlive_the_process(tmp_path: Path):
    async with Inbox() as inbox:
        clock = ManualClock()
        options: dict[str, Any] = {"clock": clock, "data_dir": tmp_path, "gateway_url": inbox.url}
        async with sandbox_rig(**options) as rig:
            psp = await held(rig)
            await rig.fault("pending", delayMs=60_000)
            _, first = await change(rig, psp, "captures", 600, key="key-1")

        async with sandbox_rig(**options) as rig:
            _, again = await change(rig, psp, "captures", 600, key="key-1")
            clock.advance(61)
            told = await inbox.wait_for(2)
            effects = [line["operation"] for line in await rig.ledger()]

    assert again == first
    assert items(told) == [("AUTHORISATION", "true"), ("CAPTURE", "true")]
    assert effects == ["authorize", "capture"]


async def test_a_key_is_forgotten_after_a_week(rig: Rig):
    clock = rig.clock
    assert isinstance(clock, ManualClock)
    _, first = await pay(rig, key="key-1")
    clock.advance(7 * 86_400 - 1)
    _, within = await pay(rig, key="key-1")
    clock.advance(1)

    _, after = await pay(rig, key="key-1")

    assert first == within
    assert after["pspReference"] != first["pspReference"]


async def test_no_card_number_is_kept(tmp_path: Path):
    async with sandbox_rig(clock=ManualClock(), data_dir=tmp_path) as rig:
        await pay(rig, key="key-1")
        await pay(rig, paymentMethod={"encryptedCardNumber": f"test_{APPROVED}", "cvc": "987"})

    kept = everything_in(tmp_path)
    assert b"sandbox_adyen" in kept
    assert APPROVED.encode() not in kept


async def test_a_reset_forgets_payments_and_keys(rig: Rig):
    _, paid = await pay(rig, key="key-1")
    await rig.post("/reset")

    status, refused = await change(rig, paid["pspReference"], "refunds", 100)
    _, anew = await pay(rig, key="key-1")

    assert (status, refused["errorCode"]) == (422, "167")
    assert anew["pspReference"] != paid["pspReference"]
    assert len(await rig.ledger()) == 1


@pytest.mark.parametrize(
    ("fault", "status", "field", "value"),
    [
        ("error_500", 500, "errorType", "internal"),
        ("too_many_requests", 429, "errorType", "internal"),
        ("decline", 200, "resultCode", "Refused"),
        ("pending", 200, "resultCode", "Received"),
        ("error_500_stored", 500, "errorType", "internal"),
    ],
)
async def test_a_fault_speaks_adyen(rig: Rig, fault: str, status: int, field: str, value: str):
    await rig.fault(fault, provider=ACCOUNT, delayMs=60_000)

    answer = await pay(rig, key="key-1")

    assert (answer[0], answer[1][field]) == (status, value)
    assert await rig.ledger() == []


async def test_a_stored_500_stays_under_its_key_and_an_ordinary_one_does_not(rig: Rig):
    await rig.fault("error_500_stored", provider=ACCOUNT)
    await pay(rig, key="key-1")
    await rig.fault("error_500", provider=ACCOUNT)
    await pay(rig, key="key-2")

    assert (await pay(rig, key="key-1"))[0] == 500
    assert (await pay(rig, key="key-2"))[1]["resultCode"] == "Authorised"


async def test_a_fault_of_another_account_does_not_strike_this_one(rig: Rig):
    await rig.fault("error_500", provider="sandbox_stripe")

    assert (await pay(rig))[0] == 200


async def test_another_sum_is_answered_booked_and_told_alike():
    async with (
        Inbox() as inbox,
        sandbox_rig(clock=ManualClock(), gateway_url=inbox.url) as rig,
    ):
        await rig.fault("wrong_amount", provider=ACCOUNT)
        _, paid = await pay(rig)
        (told,) = await inbox.wait_for(1)

        item = told["notificationItems"][0]["NotificationRequestItem"]
        (line,) = await rig.ledger()
        assert paid["amount"]["value"] == item["amount"]["value"] == line["amountMinor"] == 999


async def test_modifications_that_come_to_nothing_are_taken_in_and_told():
    async with (
        Inbox() as inbox,
        sandbox_rig(clock=ManualClock(), gateway_url=inbox.url) as rig,
    ):
        _, paid = await pay(rig)
        psp = paid["pspReference"]
        answers = [
            await change(rig, psp, "cancels"),
            await change(rig, psp, "captures", 100),
            await change(rig, psp, "refunds", 1_001),
            await change(rig, await held(rig), "refunds", 100),
        ]
        told = await inbox.wait_for(6)

        assert {(status, body["status"]) for status, body in answers} == {(201, "received")}
        assert items(told) == [
            ("AUTHORISATION", "true"),
            ("AUTHORISATION", "true"),
            ("CANCELLATION", "false"),
            ("CAPTURE", "false"),
            ("REFUND", "false"),
            ("REFUND", "false"),
        ]
        assert len(await rig.ledger()) == 2


async def test_a_cancellation_that_crosses_a_capture_fails():
    async with (
        Inbox() as inbox,
        sandbox_rig(clock=ManualClock(), gateway_url=inbox.url) as rig,
    ):
        psp = await held(rig)
        await rig.fault("pending", provider=ACCOUNT, delayMs=60_000)
        await change(rig, psp, "captures", 600)
        await change(rig, psp, "cancels")

        told = await inbox.wait_for(2)

        assert items(told) == [("AUTHORISATION", "true"), ("CANCELLATION", "false")]


async def test_a_payer_who_fails_is_told_as_refused():
    async with (
        Inbox() as inbox,
        sandbox_rig(clock=ManualClock(), gateway_url=inbox.url) as rig,
    ):
        _, asked = await pay(rig, CONFIRM)
        await rig.post(f"{urlsplit(str(asked['action']['url'])).path}/fail")
        (told,) = await inbox.wait_for(1)

        item = told["notificationItems"][0]["NotificationRequestItem"]
        assert (item["success"], item["reason"]) == ("false", "3D Not Authenticated")


async def test_amounts_are_in_adyen_s_units_on_the_wire_and_in_ours_in_the_books(rig: Rig):
    _, isk = await pay(rig, amount={"value": 50_000, "currency": "ISK"})
    _, idr = await pay(rig, amount={"value": 12_000, "currency": "IDR"})

    minor = [line["amountMinor"] for line in await rig.ledger()]
    assert minor == [500, 1_200_000]
    assert (isk["amount"]["value"], idr["amount"]["value"]) == (50_000, 12_000)


@pytest.mark.parametrize("key", ["k" * 65, "two words", "é"])
async def test_a_key_that_is_none_is_refused(rig: Rig, key: str):
    status, refused = await pay(rig, key=key)

    assert (status, refused["errorCode"]) == (422, "702")
    assert await rig.ledger() == []
