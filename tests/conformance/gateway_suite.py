"""What the whole gateway does, whoever its provider is: inherit from `GatewaySuite`.

The provider is the sandbox, in that provider's own language; the gateway is the product, all of it
(`inside_gateway`). What the gateway says is held against the sandbox's books.
"""

import re
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

import pytest
from inside_gateway import inside, sandbox_aside
from live_gateway import CONFIRM, DECLINED, DISPUTED, FAILS_OVER, Live, visiting

from paygate_actors.config import ProviderConfig

# Where the shop has a payer sent back to.
BACK = "https://shop.example/back"


@asynccontextmanager
async def gateway_with(
    folder: Path, provider: Callable[[str], ProviderConfig]
) -> AsyncGenerator[Live]:
    """Run a gateway with one provider, made from the sandbox's URL, and come in as its client.

    Nothing may have been reported as fatal in the end.
    """
    async with (
        sandbox_aside(folder) as url,
        inside(folder, url, providers=(provider(url),)) as gateway,
        visiting(gateway.url) as live,
    ):
        await live.control("POST", "/gateway", {"url": gateway.url})
        yield live
        assert gateway.failures == []


async def charged_once(live: Live, fault: str, operation: str, **more: object) -> None:
    """Assert that a payment succeeds and is charged once, whatever goes wrong with one call."""
    await live.fault(fault, operation=operation, **more)

    paid = await live.pay()
    payment = await live.until_status(paid["id"], "success")

    assert await live.effects(payment["id"]) == [("charge", 1_000)]
    assert (await live.agreed(payment["id"]))["inDoubt"] is False


class GatewaySuite:
    """Give it a fixture `live`."""

    provider_id: ClassVar[str]
    # What the provider's names of charges look like, and its word for a card that is declined.
    txn_id: ClassVar[re.Pattern[str]]
    decline_code: ClassVar[str]

    async def test_a_payment_is_charged_refunded_and_agrees_with_the_books(self, live: Live):
        paid = await live.pay()
        await live.done(paid["id"], "refund", {"amount": 2.50})

        payment = await live.agreed(paid["id"])

        assert (paid["status"], payment["provider"]) == ("success", self.provider_id)
        assert self.txn_id.fullmatch(payment["providerTxnID"])
        assert payment["amountRefunded"] * 100 == 250

    async def test_a_hold_is_captured_in_part_and_another_is_reversed(self, live: Live):
        held = [await live.pay(captureMethod="manual") for _ in range(2)]

        await live.done(held[0]["id"], "capture", {"amount": 4.00})
        await live.done(held[1]["id"], "reverse")

        taken, reversed_ = [await live.agreed(each["id"]) for each in held]
        assert (taken["status"], taken["amountCaptured"] * 100) == ("success", 400)
        assert reversed_["status"] == "cancelled"

    async def test_what_is_captured_is_reversed_as_a_refund_or_not_at_all(self, live: Live):
        first, second = await live.pay(), await live.pay()

        refused = await live.done(first["id"], "reverse")
        await live.done(second["id"], "reverse", {"orRefund": True})

        assert refused["status"] == "failed"
        assert (await live.agreed(first["id"]))["status"] == "success"
        assert (await live.agreed(second["id"]))["amountRefunded"] * 100 == 1_000

    async def test_a_decline_is_told_in_the_gateway_s_own_words(self, live: Live):
        declined = await live.pay(DECLINED)
        sick = await live.pay(FAILS_OVER)

        assert (declined["status"], declined["failure"]["code"]) == ("failed", "card_declined")
        assert declined["failure"]["declineCode"] == self.decline_code
        assert (sick["failure"]["code"], sick["failure"]["retryable"]) == ("processing_error", True)

    async def test_a_payer_confirms_and_the_payment_is_taken(self, live: Live):
        asked = await live.pay(CONFIRM, returnURL=BACK)
        assert asked["status"] == "requires_action"

        await live.control("POST", f"{urlsplit(str(asked['nextAction']['url'])).path}/complete")
        payment = await live.until_status(asked["id"], "success")

        assert asked["nextAction"]["url"].startswith(live.sandbox)
        assert payment["amountCaptured"] * 100 == 1_000

    async def test_a_dispute_stands_beside_the_payment(self, live: Live):
        paid = await live.pay(DISPUTED)

        async def disputes() -> list[str]:
            return [each["type"] for each in await live.transactions(paid["id"])]

        await live.until(disputes, lambda seen: "chargeback" in seen)
        assert (await live.payment(paid["id"]))["status"] == "success"

    @pytest.mark.parametrize(
        "fault", ["reset_after_effect", "reset_before_effect", "garbage", "webhook_before_reply"]
    )
    async def test_a_lost_answer_is_asked_for_and_charged_once(self, live: Live, fault: str):
        await charged_once(live, fault, "charge")

    @pytest.mark.parametrize("fault", ["reset_after_effect", "reset_before_effect"])
    async def test_a_lost_refund_is_asked_for_and_made_once(self, live: Live, fault: str):
        paid = await live.pay()
        await live.fault(fault, operation="refund")

        refund = await live.done(paid["id"], "refund", {"amount": 2.50})

        assert refund["status"] == "success"
        assert await live.effects(paid["id"]) == [("charge", 1_000), ("refund", 250)]

    async def test_another_amount_than_ours_is_never_a_success(self, live: Live):
        await live.fault("wrong_amount", operation="charge")

        paid = await live.pay()
        payment = await live.until_payment(paid["id"], lambda seen: seen["attention"] is not None)

        assert payment["attention"] == "amount_mismatch"
        assert payment["status"] != "success"


class TwoStepGatewaySuite(GatewaySuite):
    """Of a provider whose charge is prepared first."""

    @pytest.mark.parametrize("fault", ["reset_after_effect", "error_500"])
    async def test_a_preparation_that_is_lost_is_made_again_and_charged_once(
        self, live: Live, fault: str
    ):
        await charged_once(live, fault, "prepare")
