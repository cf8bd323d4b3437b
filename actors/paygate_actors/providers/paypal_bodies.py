"""What PayPal is told: the bodies of its requests. The one place where a sealed card is opened."""

import re
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from paygate_actors.money import Money
from paygate_actors.providers.base import ChargeCall, FollowUpCall
from paygate_actors.providers.paypal_amounts import to_paypal

CANCELLED: Final = ".cancelled"
"""What the reference of an order that was given up ends with."""

Json = dict[str, Any]
Kind = Literal["card", "vault", "agreement", "approval"]

_DESCRIPTION_MAX: Final = 127
_UNIT: Final = "/purchase_units/@reference_id=='default'"
_VAULT_ID = re.compile(r"[0-9A-Za-z_-]{1,255}")
_AGREEMENT: Final = "B-"
_WALLET: Final = "paypal:"
_EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s]{1,190}")


class Source(Struct, frozen=True):
    """What pays. `approval`: the payer goes to PayPal and says yes there."""

    kind: Kind
    body: Json

    def __repr__(self) -> str:
        return f"<{self.kind}>"


APPROVED: Final = Source("approval", {})
"""What the payer approved at PayPal, which names it itself."""


def source_of(call: ChargeCall, *, return_url: str | None) -> Source | None:
    """Say what pays; None: nothing that PayPal takes.

    A provider's token is a saved card's, `paypal:...` a saved wallet's, `B-...` an agreement's. A
    wallet is the payer's own at PayPal, who must be there and be able to come back.
    """
    instrument = call.instrument
    if instrument.card is not None:
        return Source("card", {"card": _card(call, return_url=return_url)})
    if instrument.provider_token is not None:
        return _saved(instrument.provider_token, call)
    if instrument.wallet_id is None or call.initiator == "merchant" or return_url is None:
        return None
    context = {
        "return_url": return_url,
        "cancel_url": return_url,
        "user_action": "PAY_NOW",
        "shipping_preference": "NO_SHIPPING",
    }
    wallet: Json = {"experience_context": context}
    if _EMAIL.fullmatch(instrument.wallet_id):
        wallet["email_address"] = instrument.wallet_id
    return Source("approval", {"paypal": wallet})


def order_body(call: ChargeCall, source: Source) -> bytes:
    """Write an order, without any card. Raises `NotRepresentable`."""
    unit: Json = {
        "reference_id": "default",
        "custom_id": call.key,
        # An account refuses an invoice that was paid before: a second net under the first.
        "invoice_id": call.key,
        "amount": _amount(call.amount),
    }
    if call.description:
        unit["description"] = call.description[:_DESCRIPTION_MAX]
    body: Json = {"intent": "CAPTURE" if call.capture else "AUTHORIZE", "purchase_units": [unit]}
    if source.kind == "approval":
        body["payment_source"] = source.body
    return msgspec.json.encode(body)


def confirm_body(source: Source) -> bytes:
    """Write what pays for an order; nothing where the payer approved it at PayPal."""
    if source.kind == "approval":
        return b"{}"
    return msgspec.json.encode({"payment_source": source.body})


def capture_body(call: FollowUpCall) -> bytes:
    """Write the capture of a hold; PayPal releases the rest. Raises `NotRepresentable`."""
    return msgspec.json.encode(
        {"amount": _amount(call.amount), "invoice_id": call.key, "final_capture": True}
    )


def refund_body(call: FollowUpCall) -> bytes:
    """Write a refund of this amount. Raises `NotRepresentable`."""
    return msgspec.json.encode(
        {"amount": _amount(call.amount), "custom_id": call.key, "invoice_id": call.key}
    )


def fence_body(key: str, *, intent: Literal["CAPTURE", "AUTHORIZE"]) -> bytes:
    """Write the change after which no request that is under way can pay for the order."""
    return msgspec.json.encode(
        [
            {"op": "replace", "path": "/intent", "value": intent},
            {"op": "replace", "path": f"{_UNIT}/custom_id", "value": key + CANCELLED},
        ]
    )


def _amount(amount: Money) -> Json:
    return {"currency_code": amount.currency, "value": to_paypal(amount)}


def _card(call: ChargeCall, *, return_url: str | None) -> Json:
    instrument = call.instrument
    assert instrument.card is not None, "only a card is written as one"
    number, cvv = instrument.card.reveal()
    card: Json = {"number": number}
    if instrument.expiry_month is not None and instrument.expiry_year is not None:
        card["expiry"] = f"{instrument.expiry_year:04d}-{instrument.expiry_month:02d}"
    # PayPal refuses a security code where the payer is not there.
    if cvv is not None and call.initiator == "customer":
        card["security_code"] = cvv
    if instrument.holder_name is not None:
        card["name"] = instrument.holder_name
    stored = _stored_credential(call)
    if stored is not None:
        card["stored_credential"] = stored
    if call.initiator == "customer":
        method = "SCA_ALWAYS" if call.three_d_secure == "required" else "SCA_WHEN_REQUIRED"
        card["attributes"] = {"verification": {"method": method}}
        if return_url is not None:
            card["experience_context"] = {"return_url": return_url, "cancel_url": return_url}
    return card


def _saved(token: str, call: ChargeCall) -> Source | None:
    id_ = token.removeprefix(_WALLET)
    if _VAULT_ID.fullmatch(id_) is None:
        return None
    if token.startswith(_WALLET):
        return Source("vault", {"paypal": {"vault_id": id_}})
    if token.startswith(_AGREEMENT):
        return Source("agreement", {"token": {"id": id_, "type": "BILLING_AGREEMENT"}})
    card: Json = {"vault_id": id_}
    stored = _stored_credential(call)
    if stored is not None:
        card["stored_credential"] = stored
    return Source("vault", {"card": card})


def _stored_credential(call: ChargeCall) -> Json | None:
    # PayPal has no word for instalments: each of them recurs.
    type_ = {"recurring": "RECURRING", "installment": "RECURRING", "unscheduled": "UNSCHEDULED"}
    if call.initiator == "merchant":
        stored: Json = {
            "payment_initiator": "MERCHANT",
            "payment_type": type_[call.reason or "unscheduled"],
            "usage": "SUBSEQUENT",
        }
        if call.network_txn_id is not None:
            stored["previous_network_transaction_reference"] = {"id": call.network_txn_id}
        return stored
    if not call.store:
        return None
    return {
        "payment_initiator": "CUSTOMER",
        "payment_type": type_[call.reason] if call.reason is not None else "ONE_TIME",
        "usage": "FIRST",
    }
