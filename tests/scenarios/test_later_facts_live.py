"""What comes later, over real HTTP: the payer's confirmation, disputes, facts of the provider's."""

from collections.abc import AsyncGenerator, Generator
from decimal import Decimal

import pytest
from live_gateway import (
    CONFIRM,
    DECLINED,
    DISPUTED,
    Live,
    Server,
    event,
    payment_request,
    serving,
    visiting,
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    flags = ("--sandbox-latency-ms", "5", "--sandbox-find-lag-ms", "200")
    with serving(tmp_path_factory.mktemp("later"), *flags) as running:
        yield running


@pytest.fixture
async def live(server: Server) -> AsyncGenerator[Live]:
    async with visiting(server) as client:
        yield client


@pytest.mark.parametrize("how", ["automatic", "manual"])
async def test_a_payer_who_confirms_pays(live: Live, how: str):
    asked = await live.pay(CONFIRM, captureMethod=how, returnURL="https://shop.example/back")

    action = asked["nextAction"]
    page = await live.call("GET", action["url"], key=None)
    await live.control("POST", f"/actions/{asked['providerTxnID']}/complete")

    good = {"automatic": "success", "manual": "authorized"}[how]
    ended = await live.until_status(asked["id"], good)
    assert (asked["status"], action["type"]) == ("requires_action", "redirect")
    assert action["expiresAt"] > asked["createdAt"]
    assert page.status == 200
    assert ended["nextAction"] is None
    await live.agreed(asked["id"])


async def test_a_payer_who_fails_does_not_pay(live: Live):
    asked = await live.pay(CONFIRM)

    await live.control("POST", f"/actions/{asked['providerTxnID']}/fail")

    ended = await live.until_status(asked["id"], "failed")
    assert ended["failure"]["code"] == "authentication_failed"
    assert len(await live.call_keys(asked["id"])) == 1
    assert await live.effects(asked["id"]) == []


async def test_a_payment_that_waits_for_its_payer_can_be_reversed(live: Live):
    asked = await live.pay(CONFIRM)

    reverse = await live.done(asked["id"], "reverse")

    late = await live.call(
        "POST", f"{live.sandbox}/actions/{asked['providerTxnID']}/complete", key=None
    )
    ended = await live.agreed(asked["id"])
    assert (reverse["status"], ended["status"]) == ("success", "cancelled")
    assert late.status == 409
    assert await live.effects(asked["id"]) == []


@pytest.mark.parametrize(
    ("outcome", "status", "disputed"),
    [("won", "cancelled", Decimal(0)), ("lost", "success", Decimal(10))],
)
async def test_a_dispute_is_a_transaction_beside_the_payment(
    live: Live, outcome: str, status: str, disputed: Decimal
):
    paid = await live.pay(DISPUTED)
    opened = await live.until_payment(paid["id"], lambda seen: seen["amountDisputed"] == 10)

    path = f"/disputes/{paid['providerTxnID']}/close"
    await live.control("POST", path, {"outcome": outcome})

    (chargeback,) = await live.transactions(paid["id"], type="chargeback")
    closed = await live.settled(chargeback["id"])
    ended = await live.payment(paid["id"])
    refund = await live.operate(paid["id"], "refund")
    assert (opened["status"], opened["attention"]) == ("success", "disputed")
    assert (closed["status"], closed["origin"]) == (status, "provider")
    assert (ended["status"], ended["amountDisputed"]) == ("success", disputed)
    assert refund.status == (201 if outcome == "won" else 409)


async def test_a_refund_of_the_providers_own_is_booked_and_takes_headroom(live: Live):
    paid = await live.pay()

    gift = {"providerTxnID": paid["providerTxnID"], "amountMinor": 700}
    await live.control("POST", "/returns", gift)

    told = await live.until_payment(paid["id"], lambda seen: seen["amountRefunded"] == 7)
    (refund,) = await live.transactions(paid["id"], type="refund")
    too_much = await live.operate(paid["id"], "refund", {"amount": 3.01})
    rest = await live.done(paid["id"], "refund")
    assert (refund["origin"], refund["status"]) == ("provider", "success")
    assert told["attention"] == "refunded_by_provider"
    assert too_much.code == (422, "refund_exceeds_remaining")
    assert (rest["amount"], rest["status"]) == (3, "success")


async def test_a_providers_fact_is_booked_even_where_it_exceeds_ours(live: Live):
    paid = await live.pay()
    data = {"amountMinor": 1_500, "currency": "USD", "parentTransactionID": paid["providerTxnID"]}

    await live.webhook(event("refund.succeeded", "re_more", data), event_id="msg_more")

    told = await live.until_payment(paid["id"], lambda seen: seen["amountRefunded"] == 15)
    assert (told["status"], told["attention"]) == ("success", "refund_exceeds_captured")
    assert (await live.operate(paid["id"], "refund")).code == (422, "refund_exceeds_remaining")


async def test_a_refund_that_bounces_later_is_failed_and_its_headroom_is_back(live: Live):
    paid = await live.pay()
    refund = await live.done(paid["id"], "refund", {"amount": 10})
    key = (await live.call_keys(paid["id"]))[-1]
    data = {"amountMinor": 1000, "currency": "USD", "reference": key, "reason": "account_closed"}

    await live.webhook(event("refund.failed", refund["providerTxnID"], data), event_id="msg_b")

    bounced = await live.until(
        lambda: live.transaction(refund["id"]), lambda seen: seen["status"] == "failed"
    )
    ended = await live.payment(paid["id"])
    assert bounced["failure"]["code"] == "account_closed"
    assert (ended["amountRefunded"], ended["attention"]) == (0, "refund_failed")
    assert (await live.operate(paid["id"], "refund")).status == 201


async def test_a_late_success_of_what_we_gave_up_is_booked_as_stray_and_given_back(live: Live):
    # The charge is real at the provider, but was answered as declined: here by another key.
    failed = await live.pay(DECLINED)
    (key,) = await live.call_keys(failed["id"])
    method = payment_request()["paymentMethod"]
    card = {"number": method["cardNumber"], "cvv": "123"}
    charge = await live.call(
        "POST",
        f"{live.sandbox}/providers/sandbox/charges",
        {"amountMinor": 1000, "currency": "USD", "capture": True, "card": card},
        key=None,
        headers={"Idempotency-Key": "behind-our-back"},
    )
    data = {"amountMinor": 1000, "currency": "USD", "reference": key}

    body = event("payment.succeeded", charge.body["id"], data)
    await live.webhook(body, event_id="msg_stray")

    told = await live.until_payment(failed["id"], lambda seen: seen["attention"] is not None)
    (stray,) = await live.transactions(failed["id"], type="stray")
    (reverse,) = await live.transactions(failed["id"], type="reverse")
    given_back = await live.settled(reverse["id"])
    assert (told["status"], told["attention"]) == ("failed", "stray_charge")
    assert (stray["origin"], stray["status"], stray["amount"]) == ("provider", "success", 10)
    assert (given_back["origin"], given_back["status"]) == ("system", "success")
    ends = [
        line["operation"]
        for line in await live.ledger()
        if line["providerTxnID"] == charge.body["id"]
    ]
    assert ends == ["charge", "void"]
    assert (await live.payment(failed["id"]))["status"] == "failed"


async def test_a_hold_that_the_provider_cancelled_ends_the_payment(live: Live):
    held = await live.pay(captureMethod="manual")
    (key,) = await live.call_keys(held["id"])
    data = {"amountMinor": 1000, "currency": "USD", "reference": key}

    body = event("payment.cancelled", held["providerTxnID"], data)
    await live.webhook(body, event_id="msg_expired")

    ended = await live.until_status(held["id"], "cancelled")
    (reverse,) = await live.transactions(held["id"], type="reverse")
    assert (ended["amountCaptured"], ended["amountReleased"]) == (0, 10)
    assert (reverse["origin"], reverse["status"]) == ("provider", "success")
    assert (await live.operate(held["id"], "capture")).code == (409, "payment_not_capturable")
