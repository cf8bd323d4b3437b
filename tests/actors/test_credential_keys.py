"""Idempotency keys and what a request says of the payer's credential."""

from typing import Any

import msgspec
import pytest

from paygate_actors import events as e
from paygate_actors.card import SealedCard
from paygate_actors.credentials import Initiation, SealedToken
from paygate_actors.idempotency import creation_key, differences
from paygate_actors.messages import Caller, MethodView, ProcessPayment
from paygate_actors.money import Money
from paygate_actors.payment_methods import CardMethod, ProviderTokenMethod, TokenMethod
from paygate_actors.vault import Vault

NUMBER = "4242424242424242"
BY_MERCHANT = Initiation(by="merchant", reason="recurring")
BOX = Vault((("k", b"o" * 32),), b"h" * 32, random=lambda count: b"0" * count)


def request(**changes: Any) -> ProcessPayment:
    plain = ProcessPayment(
        caller=Caller(role="merchant", merchant="m_1", key_id="key_1"),
        amount=Money(1_000, "USD"),
        method=CardMethod(kind="card", card=SealedCard(NUMBER), expiry_month=12, expiry_year=2099),
        metadata={"orderID": "o-1"},
        description="Tea",
        idempotency_key="k-1",
    )
    return msgspec.structs.replace(plain, **changes)


def theirs(token: str = "pm_1", provider: str = "stripe") -> ProviderTokenMethod:
    return ProviderTokenMethod(provider=provider, token=SealedToken(token))


def key_of(command: ProcessPayment) -> e.RequestKey:
    method = command.method
    fingerprint = BOX.fingerprint(NUMBER)
    if isinstance(method, ProviderTokenMethod):
        fingerprint = BOX.token_fingerprint(method.provider, method.token.reveal())
    made = creation_key(command, BOX, fingerprint)
    assert made is not None
    return made


def test_a_request_that_says_nothing_of_it_keeps_the_hash_that_it_always_had():
    derived = key_of(request(idempotency_key=None))

    # As the version wrote it that had no words for credentials: its keys live on in its folders.
    assert key_of(request()).mac == (
        "79cb15af98c9ea0621af10f5c94e51d3b137f27afad953ad022e9dd04ced13ed"
    )
    assert derived.name == (
        "m_1\x1fderived\x1f31e00c63c314094cb2089c7718fc32b6a828ee5990effb89ac44b00441349646"
    )


def test_whatever_is_said_of_it_is_part_of_the_request():
    said = [
        request(),
        request(store_credential=True),
        request(three_d_secure="required"),
        request(initiation=BY_MERCHANT),
        request(initiation=Initiation(by="merchant", reason="unscheduled")),
        request(
            initiation=Initiation(by="merchant", reason="recurring", network_transaction_id="N1")
        ),
        request(method=theirs()),
        request(method=theirs("pm_2")),
        request(method=theirs(provider="adyen")),
        request(method=TokenMethod(token="pm_1")),
    ]

    assert len({key_of(each).mac for each in said}) == len(said)


def test_an_order_paid_by_another_token_is_another_payment():
    by_order = {"idempotency_key": None}
    names = {
        key_of(request(method=method, **by_order)).name
        for method in (theirs(), theirs("pm_2"), theirs(provider="adyen"))
    }

    assert len(names) == 3
    assert key_of(request(method=theirs(), **by_order)).name in names
    assert not any("pm_" in name for name in names)


def recorded(command: ProcessPayment) -> e.PaymentCreated:
    """The event of a payment by a provider's token, as the request made it."""
    method = command.method
    assert isinstance(method, ProviderTokenMethod)
    return e.PaymentCreated(
        merchant="m_1",
        by="key_1",
        transaction_id="txn_1",
        amount_minor=1_000,
        currency="USD",
        capture_method="automatic",
        method=MethodView(kind="provider_token", token="ptk_1"),
        livemode=False,
        fingerprint=BOX.token_fingerprint(method.provider, method.token.reveal()),
        metadata=command.metadata,
        description=command.description,
        provider_pin=method.provider,
        initiation=command.initiation,
        store_credential=command.store_credential,
        three_d_secure=command.three_d_secure,
        follows_network_transaction_id="FOUND",
    )


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({}, []),
        ({"method": theirs("pm_2")}, ["paymentMethod.token"]),
        (
            {"method": theirs(provider="adyen")},
            ["paymentMethod.provider", "paymentMethod.token"],
        ),
        ({"store_credential": True}, ["storeCredential"]),
        ({"three_d_secure": "required"}, ["threeDSecure"]),
        ({"initiation": BY_MERCHANT}, ["initiation"]),
        ({"description": "Coffee"}, ["description"]),
    ],
)
def test_what_differs_is_named_and_nothing_else(changes: dict[str, Any], named: list[str]):
    first = request(method=theirs())
    again = msgspec.structs.replace(first, **changes)
    method = again.method
    assert isinstance(method, ProviderTokenMethod)
    fingerprint = BOX.token_fingerprint(method.provider, method.token.reveal())

    assert differences(recorded(first), again, fingerprint) == named


def test_a_card_in_place_of_a_token_is_named_by_its_type():
    found = differences(recorded(request(method=theirs())), request(), BOX.fingerprint(NUMBER))

    assert "paymentMethod.type" in found
