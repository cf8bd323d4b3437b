"""What each test card and wallet does."""

import aiohttp
import pytest
from sandbox_rig import CONFIRM, sandbox_rig

from paygate_engine.clock import ManualClock


@pytest.mark.parametrize(
    "number",
    [
        "4242424242424242",
        "4111111111111111",
        "5555555555554444",
        "378282246310005",
        "6011111111111117",
        "4000000000000259",
        "4012888888881881",
    ],
)
async def test_a_good_card_is_approved_and_booked_once(number: str):
    async with sandbox_rig() as rig:
        status, answer = await rig.charge("k", number=number, minor=1_250)

        assert (status, answer["status"], answer["captured"]) == (200, "succeeded", True)
        assert (answer["amountMinor"], answer["currency"]) == (1_250, "USD")
        assert await rig.effects() == [("charge", "k", 1_250)]


@pytest.mark.parametrize(
    ("number", "code"),
    [
        ("4000000000000002", "card_declined"),
        ("4000000000009995", "insufficient_funds"),
        ("4000000000009987", "lost_card"),
        ("4000000000009979", "stolen_card"),
        ("4000000000000069", "expired_card"),
        ("4000000000000127", "incorrect_cvc"),
        ("4000000000000119", "processing_error"),
    ],
)
async def test_a_bad_card_is_declined_and_moves_nothing(number: str, code: str):
    async with sandbox_rig() as rig:
        status, answer = await rig.charge("k", number=number)

        assert (status, answer["error"]["code"]) == (402, code)
        assert await rig.effects() == []
        found = await rig.found("k")
        assert (found["status"], found["declineCode"]) == ("failed", code)


async def test_a_processing_error_at_one_account_is_none_at_the_other():
    async with sandbox_rig() as rig:
        first, _ = await rig.charge("k", number="4000000000000119")

        second, _ = await rig.charge("k", number="4000000000000119", provider="sandbox_backup")

        assert (first, second) == (402, 200)
        assert [line["provider"] for line in await rig.ledger()] == ["sandbox_backup"]


@pytest.mark.parametrize(("wallet", "status"), [("wallet_ok", 200), ("wallet_declined", 402)])
async def test_a_wallet_does_what_its_name_says(wallet: str, status: int):
    async with sandbox_rig() as rig:
        answered, _ = await rig.charge("k", card=None, wallet={"id": wallet})

        assert answered == status
        assert len(await rig.effects()) == (1 if status == 200 else 0)


async def test_a_confirmed_payment_moves_money_and_an_unconfirmed_one_does_not():
    async with sandbox_rig() as rig:
        _, answer = await rig.charge("k", number=CONFIRM)
        assert answer["status"] == "requires_action"
        assert await rig.effects() == []

        await rig.post(f"/actions/{answer['id']}/complete")

        assert await rig.effects() == [("charge", "k", 1_000)]
        assert (await rig.found("k"))["status"] == "succeeded"


async def test_a_payer_who_fails_to_confirm_pays_nothing():
    async with sandbox_rig() as rig:
        charge_id = await rig.charged("k", number=CONFIRM)

        await rig.post(f"/actions/{charge_id}/fail")

        assert await rig.effects() == []
        assert (await rig.found("k"))["declineCode"] == "authentication_failed"
        assert (await rig.post(f"/actions/{charge_id}/complete"))[0] == 409
        assert await rig.effects() == []


async def test_a_payer_who_does_not_confirm_in_time_is_cancelled():
    clock = ManualClock()
    async with sandbox_rig(clock=clock) as rig:
        charge_id = await rig.charged("k", number=CONFIRM)

        clock.advance(15 * 60 + 1)
        await rig.until(lambda found: found["status"] == "cancelled", "/operations/k")

        assert (await rig.post(f"/actions/{charge_id}/complete"))[0] == 409
        assert await rig.effects() == []


async def test_the_payers_page_shows_buttons_until_the_payer_has_decided():
    async with sandbox_rig() as rig:
        _, answer = await rig.charge("k", number=CONFIRM)
        path = answer["nextAction"]["url"].removeprefix(rig.sandbox.url)

        before = await rig.text(path)
        await rig.post(f"{path}/complete")
        after = await rig.text(path)

        assert f"{path}/complete" in before and f"{path}/fail" in before
        assert "<form" not in after


@pytest.mark.parametrize(
    ("return_url", "location"),
    [
        ("https://shop.example/thanks", "https://shop.example/thanks"),
        ("javascript:alert(1)", "/actions/"),
        ("https://shop.example/\r\nSet-Cookie: a=b", "/actions/"),
        (None, "/actions/"),
    ],
)
async def test_the_payers_button_leads_back_to_the_shop_and_nowhere_else(
    return_url: str | None, location: str
):
    async with sandbox_rig() as rig, aiohttp.ClientSession(rig.sandbox.url) as browser:
        charge_id = await rig.charged("k", number=CONFIRM, returnURL=return_url)

        async with browser.post(
            f"/actions/{charge_id}/complete", data={"": ""}, allow_redirects=False
        ) as response:
            answered = (response.status, response.headers["Location"])

        assert answered[0] == 303
        assert answered[1].startswith(location)
        assert await rig.effects() == [("charge", "k", 1_000)]
