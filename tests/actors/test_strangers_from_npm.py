"""Webhooks that the official npm clients sign are taken; those of the sandbox, they take."""

import random

import pytest
from node_rig import Refused, ask

from paygate_actors.providers.base import SignatureInvalid
from paygate_actors.providers.stripe_signature import StripeSignature
from paygate_actors.providers.webhook_signature import WebhookSignature
from paygate_engine.clock import SystemClock
from paygate_engine.ids import Ids
from paygate_http.sandbox.books import Books
from paygate_http.sandbox.folder import Nowhere
from paygate_http.sandbox.records import Notice
from paygate_http.sandbox.server import WEBHOOK_SECRET
from paygate_http.sandbox.stripe_tongue import WEBHOOK_SECRET as STRIPE_SECRET
from paygate_http.sandbox.stripe_tongue import StripeTongue
from paygate_http.sandbox.tongues import StandardTongue

pytestmark = pytest.mark.slow

BODY = '{"id": "evt_1", "amount": 1000, "note": "naïve: 10 €"}'
NOW_S = 1_767_225_600
NOW_US = NOW_S * 1_000_000


def test_a_header_that_stripes_npm_client_signs_is_taken_for_its_very_body():
    header = ask("stripeSign", body=BODY, secret=STRIPE_SECRET, timestamp=NOW_S)
    check = StripeSignature([STRIPE_SECRET]).check

    check({"stripe-signature": header}, BODY.encode(), now_us=NOW_US)

    with pytest.raises(SignatureInvalid):
        check({"stripe-signature": header}, BODY.encode() + b" ", now_us=NOW_US)


def test_stripes_npm_client_takes_a_webhook_of_the_sandbox_and_no_changed_one():
    now_us = SystemClock().now_us()
    tongue = StripeTongue(
        provider="sandbox_stripe",
        books=Books(Nowhere()),
        ids=Ids(SystemClock(), random.Random(1)),
        url="http://127.0.0.1:1",
        secret=STRIPE_SECRET,
    )
    header = tongue.sign(notice(), now_us=now_us)["Stripe-Signature"]
    signed = {"header": header, "secret": STRIPE_SECRET, "at": now_us // 1_000_000}

    assert ask("stripeVerify", body=BODY, **signed) == "evt_1"
    assert ask("stripeVerify", body=BODY + " ", **signed) == Refused(
        "StripeSignatureVerificationError"
    )


def test_a_signature_of_the_standard_webhooks_npm_client_is_taken_for_its_very_body():
    signature = ask("standardSign", id="msg_1", body=BODY, secret=WEBHOOK_SECRET, timestamp=NOW_S)
    check = WebhookSignature(WEBHOOK_SECRET).check
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(NOW_S),
        "webhook-signature": signature,
    }

    check(headers, BODY.encode(), now_us=NOW_US)

    with pytest.raises(SignatureInvalid):
        check({**headers, "webhook-id": "msg_2"}, BODY.encode(), now_us=NOW_US)


@pytest.mark.parametrize("client", ["standardVerify", "svixVerify"])
def test_npm_clients_take_the_sandboxs_own_webhooks_and_no_changed_ones(client: str):
    tongue = StandardTongue(
        provider="sandbox", ids=Ids(SystemClock(), random.Random(1)), secret=WEBHOOK_SECRET
    )
    headers = tongue.sign(notice(), now_us=SystemClock().now_us())

    taken = ask(client, headers=headers, body=BODY, secret=WEBHOOK_SECRET)
    changed = ask(client, headers=headers, body=BODY + " ", secret=WEBHOOK_SECRET)

    assert taken == "evt_1"
    assert changed == Refused("WebhookVerificationError")


def notice() -> Notice:
    return Notice(id="msg_1", provider="sandbox", body=BODY.encode(), due_at_us=0)
