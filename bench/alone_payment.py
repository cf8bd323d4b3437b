"""One payment as pure decisions see it, for what a bench times without actors, journal or HTTP."""

from functools import cache
from typing import Final

import made_requests

from paygate_actors import events as e
from paygate_actors import facts
from paygate_actors.creating import create
from paygate_actors.draft import Context, Draft, first_transaction_id
from paygate_actors.messages import Address, FraudCheck, MethodView, PaymentView
from paygate_actors.money import Money
from paygate_actors.outcomes import Approved
from paygate_actors.views import payment_view

ID: Final = "pay_" + "0" * 26
NOW_US: Final = 1_800_000_000_000_000
PROVIDER: Final = "instant"
CONTEXT: Final = Context(now_us=NOW_US, routes=(PROVIDER,), key_life_us=1, in_doubt_flag_us=1)
CREATED: Final = e.PaymentCreated(
    merchant="merchant_0500",
    by="key_0500",
    transaction_id=first_transaction_id(ID),
    amount_minor=10_000,
    currency="USD",
    capture_method="automatic",
    method=MethodView(
        kind="card",
        brand="visa",
        last4="4242",
        expiry_month=12,
        expiry_year=2049,
        holder_name="Jane Doe",
        token="tok_" + "0" * 26,
    ),
    livemode=False,
    fingerprint="0" * 64,
    billing=Address(
        country="US", street="1 Main Street", city="San Francisco", state="CA", zip_code="94105"
    ),
    metadata={"orderID": "order-1", "customerID": "customer-1"},
    key=e.RequestKey(name="key-1", mac="0" * 64),
)
CHECK: Final = FraudCheck(
    transaction_id=CREATED.transaction_id,
    score_milli=0,
    risk_level="low",
    factors=(),
    blocked=False,
    created_at_us=NOW_US,
)


def recorded() -> e.PaymentCreated:
    """The first event, which is the largest."""
    return CREATED


def created_draft() -> Draft:
    """The decision to take a payment."""
    return create(ID, CREATED, CHECK, review=False, ctx=CONTEXT)


def approved(draft: Draft) -> None:
    """What its provider's approval leads to."""
    call = draft.payment.calls[0]
    said = Approved(provider_txn_id="ch_1", amount=Money(10_000, "USD"), captured=True)
    facts.said(draft, call, said, CONTEXT)


@cache
def view() -> PaymentView:
    """The payment as it is shown in the end."""
    draft = created_draft()
    approved(draft)
    return payment_view(draft.payment)


@cache
def raw_request() -> bytes:
    """The body that asks for it."""
    return made_requests.body_of(made_requests.payments(1)[0])
