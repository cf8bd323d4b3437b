"""Adyen's answers, rendered from the records: pure functions."""

from typing import Final

from paygate_http.sandbox.adyen_cards import words_of
from paygate_http.sandbox.adyen_money import units_of
from paygate_http.sandbox.adyen_records import Modification, Sale
from paygate_http.sandbox.records import Charge, Operation

Json = dict[str, object]

MERCHANT_ACCOUNT: Final = "PaygateSandbox"
"""The merchant account that the sandbox keeps."""


def amount_json(minor: int, currency: str) -> Json:
    """Render a sum."""
    return {"value": units_of(minor, currency), "currency": currency}


def payment_json(sale: Sale, charge: Charge, operation: Operation, *, url: str) -> Json:
    """Render a payment as it stands. `operation` is the one that made it, `url` the payer's way."""
    unnamed: Json = {
        "merchantReference": sale.reference,
        "amount": amount_json(operation.amount_minor, charge.currency),
    }
    common: Json = {"pspReference": sale.id, **unnamed}
    match charge.status:
        case "authorized" | "captured":
            return {
                **common,
                "resultCode": "Authorised",
                "paymentMethod": {"brand": sale.brand, "type": "scheme"},
                "additionalData": {"cardSummary": sale.last4, "networkTxReference": f"N{sale.id}"},
            }
        case "failed":
            words = words_of(operation.decline_code or "card_declined")
            return {
                **common,
                "resultCode": words.result_code,
                "refusalReason": words.text,
                "refusalReasonCode": words.code,
            }
        case "requires_action":
            action = {
                "type": "redirect",
                "method": "GET",
                "paymentMethodType": "scheme",
                "url": url,
            }
            # Adyen may give a payment its id only after its payer was there, and so it does here.
            return {**unnamed, "resultCode": "RedirectShopper", "action": action}
        case "cancelled":
            return {**common, "resultCode": "Cancelled"}
        case "pending":
            return {**common, "resultCode": "Received"}


def modification_json(made: Modification, charge: Charge) -> Json:
    """Render that a modification was taken in, which is all that Adyen ever answers."""
    common: Json = {
        "merchantAccount": MERCHANT_ACCOUNT,
        "pspReference": made.id,
        "reference": made.reference,
        "status": "received",
    }
    match made.kind:
        case "technical_cancel":
            return {**common, "paymentReference": charge.reference}
        case "cancel" | "reversal":
            return {**common, "paymentPspReference": made.sale_id}
        case "capture" | "refund":
            amount = amount_json(made.amount_minor, charge.currency)
            return {**common, "paymentPspReference": made.sale_id, "amount": amount}
