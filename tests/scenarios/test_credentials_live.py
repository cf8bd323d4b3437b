"""Stored credentials over the whole gateway: tokens, who starts a payment, and step-up.

Against the sandbox's own protocol and the one of Stripe: what is said of a credential here is seen
there by what the provider then does.
"""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from inside_gateway import inside, sandbox_aside
from live_gateway import APPROVED, CONFIRM, OTHER_MERCHANT, Live, payment_request, visiting

from paygate_actors.config import Config, Limits, ProviderConfig
from paygate_actors.routing_config import Routing, Rule, When
from paygate_http.configure import sandbox_providers
from paygate_http.sandbox.stripe_calls import SECRET_KEY
from paygate_http.sandbox.stripe_tongue import WEBHOOK_SECRET

pytestmark = pytest.mark.slow

STRIPE = "sandbox_stripe"
BOTH = ("sandbox", STRIPE)
TOKENS = {"sandbox": "token_ok", STRIPE: "pm_card_visa"}
DECLINED_TOKENS = {"sandbox": "token_declined", STRIPE: "pm_card_visa_chargeDeclined"}
RECURRING = {"by": "merchant", "reason": "recurring"}
NETWORK_ID = "MCS0123456789"
FRICTIONLESS = "5555555555554444"
UNABLE = "378282246310005"
CHALLENGED = "4111111111111111"
WEALTHY = Rule(
    name="wealthy", when=When(currency=("USD",), amount_from=50_000), three_d_secure=True
)
CONFIG = Config(limits=Limits(), routing=Routing(rules=(WEALTHY,)))
BACK = "https://shop.example/back"


@pytest.fixture
async def live(tmp_path: Path) -> AsyncIterator[Live]:
    async with sandbox_aside(tmp_path) as url:
        stripe = ProviderConfig(
            id=STRIPE,
            kind="stripe",
            url=url,
            secret=SECRET_KEY,
            webhook_secret=WEBHOOK_SECRET,
            priority=3,
        )
        providers = (*sandbox_providers(url), stripe)
        async with (
            inside(tmp_path, url, config=CONFIG, providers=providers) as gateway,
            visiting(gateway.url) as live,
        ):
            await live.control("POST", "/gateway", {"url": gateway.url})
            yield live
            assert gateway.failures == []


def by_token(provider: str, token: str) -> dict[str, Any]:
    return {"type": "provider_token", "provider": provider, "token": token}


def by_ours(payment: dict[str, Any]) -> dict[str, Any]:
    return {"type": "token", "token": payment["paymentMethod"]["token"]}


async def refused(live: Live, body: object, *, key: str | None = None) -> dict[str, str]:
    """Ask for a payment that is refused; each fault's code by its place."""
    made = await (live.process(body) if key is None else live.process(body, key=key))
    assert made.status == 422, made.text
    return {each["pointer"]: each["code"] for each in made.body["errors"]}


# -------------------------------------------------------------------- a provider's own tokens


@pytest.mark.parametrize("provider", BOTH)
async def test_a_provider_s_token_is_charged_there_and_never_shown(live: Live, provider: str):
    token = TOKENS[provider]

    paid = await live.pay(paymentMethod=by_token(provider, token))

    assert (paid["status"], paid["provider"]) == ("success", provider)
    method = paid["paymentMethod"]
    assert (method["type"], method["last4"]) == ("provider_token", None)
    assert method["token"].startswith("ptk_")
    history = await live.get(f"/api/payments/{paid['id']}/events")
    assert token not in history.text
    await live.agreed(paid["id"])


async def test_a_token_that_another_merchant_left_is_not_charged_as_a_wallet(live: Live):
    await live.pay(paymentMethod=by_token(STRIPE, "pm_card_visa"))
    wallet = {"type": "wallet", "walletID": "pm_card_visa"}

    asked = payment_request(paymentMethod=wallet, provider=STRIPE)
    made = await live.process(asked, key=OTHER_MERCHANT)

    assert (made.body["status"], made.body["failure"]["code"]) == (
        "failed",
        "payment_method_not_supported",
    ), made.text
    taken = [each["operation"] for each in await live.ledger()]
    assert taken.count("charge") == 1


async def test_what_was_charged_by_a_provider_s_token_can_be_charged_by_ours(live: Live):
    first = await live.pay(paymentMethod=by_token(STRIPE, "pm_card_visa"))

    second = await live.pay(paymentMethod=by_ours(first))

    assert (second["status"], second["provider"]) == ("success", STRIPE)
    other = payment_request(paymentMethod=by_ours(first))
    assert await refused(live, other, key=OTHER_MERCHANT) == {
        "/paymentMethod/token": "unknown_token"
    }


async def test_a_sick_provider_s_token_goes_to_no_other(live: Live):
    token = by_token(STRIPE, "pm_card_chargeDeclinedProcessingError")

    failed = await live.pay(paymentMethod=token)

    assert (failed["status"], failed["provider"]) == ("failed", STRIPE)
    assert failed["failure"]["retryable"]
    assert len(await live.call_keys(failed["id"])) == 1


async def test_a_token_is_refused_where_nobody_can_charge_it(live: Live):
    unknown = payment_request(paymentMethod=by_token("acme", "pm_1"))
    elsewhere = payment_request(paymentMethod=by_token("sandbox", "token_ok"), provider=STRIPE)
    hidden = payment_request(paymentMethod=by_token("sandbox", "pm_4242_4242_4242_4242"))
    blank = payment_request(paymentMethod=by_token("sandbox", "pm card"))
    bare = payment_request(paymentMethod={"type": "provider_token"})

    assert await refused(live, unknown) == {"/paymentMethod/provider": "unknown_provider"}
    assert await refused(live, elsewhere) == {"/provider": "another_provider"}
    assert await refused(live, hidden) == {"/paymentMethod/token": "card_number_in_text"}
    assert await refused(live, blank) == {"/paymentMethod/token": "invalid_token"}
    assert await refused(live, bare) == {
        "/paymentMethod/provider": "required",
        "/paymentMethod/token": "required",
    }


async def test_a_repetition_finds_its_payment_and_another_token_is_another_request(live: Live):
    body = payment_request(paymentMethod=by_token("sandbox", "token_ok"))
    other = payment_request(paymentMethod=by_token("sandbox", "token_declined"))

    first = await live.process(body, idempotency_key="k-token")
    again = await live.process(body, idempotency_key="k-token")
    reused = await live.process(other, idempotency_key="k-token")

    assert again.body["id"] == first.body["id"]
    assert again.headers["Idempotent-Replayed"] == "true"
    assert reused.code == (422, "idempotency_key_reused")
    assert [each["pointer"] for each in reused.body["errors"]] == ["/paymentMethod/token"]
    assert "token_" not in reused.text


async def test_a_call_that_was_lost_is_sent_again_with_the_token_out_of_the_vault(live: Live):
    await live.fault("reset_before_effect", operation="charge")

    paid = await live.pay(paymentMethod=by_token("sandbox", "token_ok"), wait_s=20)

    assert paid["status"] == "success"
    await live.agreed(paid["id"])


# -------------------------------------------------------------------- who starts a payment


@pytest.mark.parametrize("provider", BOTH)
async def test_a_stored_card_is_charged_again_by_the_network_s_id_of_the_payer_s_payment(
    live: Live, provider: str
):
    first = await live.pay(APPROVED, storeCredential=True, provider=provider)

    later = await live.pay(paymentMethod=by_ours(first), initiation=RECURRING, provider=provider)

    assert first["storeCredential"] is True
    assert first["networkTransactionID"] is not None
    assert later["status"] == "success"
    assert later["initiation"] == {
        **RECURRING,
        "networkTransactionID": first["networkTransactionID"],
    }


@pytest.mark.parametrize("provider", BOTH)
async def test_the_network_s_id_is_asked_for_where_a_webhook_ended_the_payment(
    live: Live, provider: str
):
    asked = await live.pay(CONFIRM, storeCredential=True, provider=provider, returnURL=BACK)
    await live.control("POST", f"/actions/{asked['providerTxnID']}/complete")
    named = await live.until_payment(asked["id"], lambda seen: seen["networkTransactionID"])

    later = await live.pay(paymentMethod=by_ours(asked), initiation=RECURRING, provider=provider)

    assert (named["status"], named["authentication"]) == ("success", "challenge")
    assert later["status"] == "success"
    assert later["initiation"]["networkTransactionID"] == named["networkTransactionID"]


@pytest.mark.parametrize("provider", BOTH)
async def test_a_payer_who_is_away_is_never_asked(live: Live, provider: str):
    method = payment_request(CONFIRM)["paymentMethod"]
    without_cvv = {name: value for name, value in method.items() if name != "cvv"}
    named = RECURRING | {"networkTransactionID": NETWORK_ID}
    never_kept = await live.pay(CONFIRM, provider=provider, returnURL=BACK)

    referred = await live.pay(paymentMethod=without_cvv, initiation=named, provider=provider)
    unreferred = await live.pay(
        paymentMethod=by_ours(never_kept), initiation=RECURRING, provider=provider
    )

    assert referred["status"] == "success"
    assert unreferred["status"] == "failed"
    assert unreferred["failure"]["code"] == "authentication_required"
    assert unreferred["nextAction"] is None


async def test_what_the_payer_did_not_agree_to_keep_lends_no_network_id(live: Live):
    once = await live.pay(APPROVED)

    later = await live.pay(paymentMethod=by_ours(once), initiation=RECURRING)

    assert later["initiation"]["networkTransactionID"] is None


async def test_a_payment_that_finds_no_payer_says_why_and_after_which_one(live: Live):
    card = payment_request(initiation={"by": "merchant"}, storeCredential=True)
    wallet = payment_request(
        paymentMethod={"type": "wallet", "walletID": "w"},
        initiation=RECURRING,
        threeDSecure="required",
    )
    customer = payment_request(
        initiation={"by": "customer", "reason": "recurring", "networkTransactionID": NETWORK_ID}
    )
    hidden = payment_request(initiation=RECURRING | {"networkTransactionID": APPROVED})
    odd = payment_request(initiation={"by": "nobody"}, threeDSecure=3, storeCredential="yes")

    assert await refused(live, card) == {
        "/initiation/reason": "required",
        "/storeCredential": "payer_absent",
        "/initiation/networkTransactionID": "network_transaction_id_required",
    }
    assert await refused(live, wallet) == {
        "/threeDSecure": "payer_absent",
        "/initiation/networkTransactionID": "network_transaction_id_required",
    }
    assert await refused(live, customer) == {
        "/initiation/reason": "not_merchant_initiated",
        "/initiation/networkTransactionID": "not_merchant_initiated",
    }
    assert await refused(live, hidden) == {
        "/initiation/networkTransactionID": "card_number_in_text"
    }
    assert set(await refused(live, odd)) == {
        "/initiation/by",
        "/threeDSecure",
        "/storeCredential",
    }


# -------------------------------------------------------------------- step-up


@pytest.mark.parametrize("provider", BOTH)
async def test_a_step_up_that_is_demanded_sends_the_payer_to_confirm(live: Live, provider: str):
    asked = await live.pay(CHALLENGED, threeDSecure="required", provider=provider, returnURL=BACK)
    assert asked["status"] == "requires_action"

    await live.control("POST", f"/actions/{asked['providerTxnID']}/complete")
    paid = await live.until_status(asked["id"], "success")

    assert (paid["threeDSecure"], paid["authentication"]) == ("required", "challenge")
    assert paid["attention"] is None


async def test_a_rule_demands_the_step_up_and_never_of_a_payer_who_is_away(live: Live):
    method = payment_request(CHALLENGED)["paymentMethod"]
    named = RECURRING | {"networkTransactionID": NETWORK_ID}

    asked = await live.pay(CHALLENGED, amount=900.00, returnURL=BACK)
    away = await live.pay(paymentMethod=method, initiation=named, amount=900.00)
    small = await live.pay(CHALLENGED, amount=9.00)

    assert asked["status"] == "requires_action"
    assert (away["status"], small["status"]) == ("success", "success")


@pytest.mark.parametrize("provider", BOTH)
@pytest.mark.parametrize(
    ("number", "proved"), [(FRICTIONLESS, "frictionless"), (APPROVED, "attempted")]
)
async def test_an_issuer_may_be_satisfied_without_the_payer(
    live: Live, provider: str, number: str, proved: str
):
    paid = await live.pay(number, threeDSecure="required", provider=provider, returnURL=BACK)

    assert (paid["status"], paid["authentication"]) == ("success", proved)
    assert paid["attention"] is None


@pytest.mark.parametrize("provider", BOTH)
async def test_a_charge_without_the_step_up_that_was_demanded_calls_a_person(
    live: Live, provider: str
):
    number = payment_request(UNABLE)
    number["paymentMethod"]["cvv"] = "1234"

    made = await live.process(number | {"threeDSecure": "required", "provider": provider})

    paid = made.body
    assert (paid["status"], paid["authentication"]) == ("success", "none")
    assert paid["attention"] == "step_up_missing"


async def test_the_history_and_the_explanation_tell_of_the_credential(live: Live):
    paid = await live.pay(FRICTIONLESS, threeDSecure="required", storeCredential=True)

    history = await live.get(f"/api/payments/{paid['id']}/events")
    explained = await live.get(f"/api/payments/{paid['id']}/explain")

    noted = [each for each in history.body["data"] if each["type"] == "credential_noted"]
    assert [each["data"]["authentication"] for each in noted] == ["frictionless"]
    assert noted[0]["data"]["networkTransactionID"] == paid["networkTransactionID"]
    assert explained.status == 200, explained.text


async def test_after_the_payer_was_asked_nobody_else_is_tried(live: Live):
    asked = await live.pay(CHALLENGED, threeDSecure="required", returnURL=BACK)
    assert asked["status"] == "requires_action"

    await live.control("POST", f"/actions/{asked['providerTxnID']}/fail")
    failed = await live.until_status(asked["id"], "failed")

    assert failed["provider"] == "sandbox"
    assert len(await live.call_keys(asked["id"])) == 1
