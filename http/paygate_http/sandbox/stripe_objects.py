"""Stripe's objects, rendered from the records: pure functions, one for each kind of object.

The fields are those of Stripe's own fixtures; what the sandbox knows nothing of is null.
"""

from typing import Final

from paygate_http.sandbox.records import Charge, Operation
from paygate_http.sandbox.stripe_cards import words_of
from paygate_http.sandbox.stripe_money import units_of
from paygate_http.sandbox.stripe_records import Intent, Method, RefundNote

Json = dict[str, object]

_US_PER_S: Final = 1_000_000
_INTENT_STATUS: Final = {
    "pending": "processing",
    "requires_action": "requires_action",
    "authorized": "requires_capture",
    "captured": "succeeded",
    "failed": "requires_payment_method",
    "cancelled": "canceled",
}
_REFUND_STATUS: Final = {"succeeded": "succeeded", "pending": "pending", "failed": "failed"}


def intent_status(intent: Intent, charge: Charge | None) -> str:
    """Give the intent's status in Stripe's words."""
    if charge is not None and charge.status != "failed":
        return _INTENT_STATUS[charge.status]
    if intent.cancelled_at_us is not None:
        return "canceled"
    if charge is not None:
        return _INTENT_STATUS[charge.status]
    return "requires_payment_method" if intent.method_id is None else "requires_confirmation"


def intent_json(
    intent: Intent, charge: Charge | None, operation: Operation | None, *, url: str
) -> Json:
    """Render a PaymentIntent. `operation` is the one that confirmed it, `url` the payer's way."""
    status = intent_status(intent, charge)
    cancelled_us = intent.cancelled_at_us
    reason = intent.cancellation_reason
    if status == "canceled" and cancelled_us is None:
        # It ran out of time; nobody asked for it.
        cancelled_us, reason = intent.created_at_us, "automatic"
    return {
        **_NO_INTENT_FIELDS,
        "id": intent.id,
        "object": "payment_intent",
        "amount": intent.amount,
        "amount_capturable": _capturable(intent, charge),
        "amount_received": _received(intent, charge),
        "automatic_payment_methods": None,
        "canceled_at": cancelled_us // _US_PER_S if cancelled_us is not None else None,
        "cancellation_reason": reason,
        "capture_method": intent.capture_method,
        "client_secret": f"{intent.id}_secret_sandbox",
        "confirmation_method": "automatic",
        "created": intent.created_at_us // _US_PER_S,
        "currency": intent.currency,
        "customer": intent.customer,
        "description": intent.description,
        "last_payment_error": _last_error(charge, operation),
        "latest_charge": charge_id(intent.id) if charge is not None else None,
        "livemode": False,
        "metadata": intent.metadata,
        "next_action": _next_action(charge, url=url) if status == "requires_action" else None,
        "payment_method": None if status == "requires_payment_method" else intent.method_id,
        "payment_method_options": {},
        "payment_method_types": ["card"],
        "setup_future_usage": intent.setup_future_usage,
        "status": status,
    }


def charge_json(
    intent: Intent, charge: Charge, operation: Operation | None, details: Json | None
) -> Json:
    """Render the newest charge of an intent; `details`: how its method was charged."""
    failed = charge.status == "failed"
    words = words_of(_code(operation)) if failed else None
    return {
        **_NO_CHARGE_FIELDS,
        "id": charge_id(intent.id),
        "object": "charge",
        "amount": intent.amount,
        "amount_captured": units_of(charge.captured_minor, intent.currency),
        "amount_refunded": units_of(charge.refunded_minor, intent.currency),
        "billing_details": {
            "address": None,
            "email": None,
            "name": None,
            "phone": None,
            "tax_id": None,
        },
        "captured": charge.status == "captured",
        "created": charge.created_at_us // _US_PER_S,
        "currency": intent.currency,
        "description": intent.description,
        "disputed": charge.dispute in ("open", "lost", "won"),
        "failure_code": words.code if words is not None else None,
        "failure_message": "The card was declined." if failed else None,
        "livemode": False,
        "metadata": intent.metadata,
        "paid": not failed,
        "payment_intent": intent.id,
        "payment_method": intent.method_id,
        "payment_method_details": details,
        "refunded": 0 < charge.captured_minor <= charge.refunded_minor,
        "status": "failed" if failed else "pending" if charge.status == "pending" else "succeeded",
    }


def refund_json(note: RefundNote, operation: Operation | None) -> Json:
    """Render a refund; `operation` is None for one that the provider made itself."""
    status = "succeeded"
    amount = note.amount
    if operation is not None:
        status = _REFUND_STATUS.get(operation.status, "pending")
        amount = units_of(operation.amount_minor, note.currency)
    return {
        "id": note.id,
        "object": "refund",
        "amount": amount,
        "balance_transaction": None,
        "charge": charge_id(note.intent_id),
        "created": note.created_at_us // _US_PER_S,
        "currency": note.currency,
        "customer": None,
        "customer_account": None,
        "destination_details": {"card": {"type": "refund"}, "type": "card"},
        "metadata": note.metadata,
        "payment_intent": note.intent_id,
        "payment_method": None,
        "reason": note.reason,
        "receipt_number": None,
        "source_transfer_reversal": None,
        "status": status,
        "transfer_reversal": None,
        **({"failure_reason": "declined"} if status == "failed" else {}),
    }


def dispute_json(intent: Intent, charge: Charge, *, now_us: int) -> Json:
    """Render the dispute about an intent's charge."""
    statuses = {"open": "needs_response", "won": "won", "lost": "lost"}
    return {
        "id": "du_" + intent.id.partition("_")[2],
        "object": "dispute",
        "amount": units_of(charge.disputed_minor, intent.currency),
        "balance_transactions": [],
        "charge": charge_id(intent.id),
        "created": now_us // _US_PER_S,
        "currency": intent.currency,
        "enhanced_eligibility_types": [],
        "evidence": {},
        "evidence_details": {
            "due_by": now_us // _US_PER_S + 7 * 86_400,
            "enhanced_eligibility": {},
            "has_evidence": False,
            "past_due": False,
            "submission_count": 0,
        },
        "is_charge_refundable": False,
        "livemode": False,
        "metadata": {},
        "payment_intent": intent.id,
        "payment_method_details": None,
        "reason": "fraudulent",
        "status": statuses.get(charge.dispute or "open", "needs_response"),
    }


def method_json(method: Method) -> Json:
    """Render a payment method."""
    return {
        "id": method.id,
        "object": "payment_method",
        "allow_redisplay": "unspecified",
        "billing_details": {
            "address": None,
            "email": None,
            "name": method.holder_name,
            "phone": None,
            "tax_id": None,
        },
        "card": {
            "brand": method.brand,
            "checks": None,
            "country": "US",
            "exp_month": method.exp_month,
            "exp_year": method.exp_year,
            "fingerprint": None,
            "funding": "credit",
            "generated_from": None,
            "last4": method.last4,
            "networks": None,
            "three_d_secure_usage": {"supported": True},
            "wallet": None,
        },
        "created": method.created_at_us // _US_PER_S,
        "customer": None,
        "customer_account": None,
        "livemode": False,
        "metadata": {},
        "type": "card",
    }


def event_json(
    id_: str, type_: str, content: Json, *, now_us: int, key: str | None, version: str
) -> Json:
    """Render an event about an object."""
    return {
        "id": id_,
        "object": "event",
        "api_version": version,
        "created": now_us // _US_PER_S,
        "data": {"object": content},
        "livemode": False,
        "pending_webhooks": 1,
        "request": {"id": None, "idempotency_key": key},
        "type": type_,
    }


def list_json(url: str, data: list[Json], *, has_more: bool, kind: str = "list") -> Json:
    """Render a page."""
    return {"object": kind, "data": data, "has_more": has_more, "url": url}


def charge_id(intent_id: str) -> str:
    """Give the id of an intent's newest charge: both are one object in the books."""
    return "ch_" + intent_id.partition("_")[2]


def _capturable(intent: Intent, charge: Charge | None) -> int:
    if charge is None or charge.status != "authorized":
        return 0
    return units_of(charge.amount_minor, intent.currency)


def _received(intent: Intent, charge: Charge | None) -> int:
    return units_of(charge.captured_minor, intent.currency) if charge is not None else 0


def _last_error(charge: Charge | None, operation: Operation | None) -> Json | None:
    if charge is None or charge.status != "failed":
        return None
    words = words_of(_code(operation))
    error: Json = {
        "type": words.type,
        "code": words.code,
        "charge": charge_id(charge.id),
        "message": "The payment was declined.",
    }
    if words.decline_code is not None:
        error["decline_code"] = words.decline_code
    return error


def _code(operation: Operation | None) -> str:
    return (operation.decline_code if operation is not None else None) or "card_declined"


def _next_action(charge: Charge | None, *, url: str) -> Json:
    if charge is not None and charge.return_url is not None:
        return {
            "type": "redirect_to_url",
            "redirect_to_url": {"return_url": charge.return_url, "url": url},
        }
    return {
        "type": "use_stripe_sdk",
        "use_stripe_sdk": {"type": "three_d_secure_redirect", "stripe_js": url},
    }


_NO_INTENT_FIELDS: Final[Json] = {
    "amount_details": {"tip": {}},
    "application": None,
    "application_fee_amount": None,
    "customer_account": None,
    "excluded_payment_method_types": None,
    "managed_payments": None,
    "on_behalf_of": None,
    "payment_method_configuration_details": None,
    "processing": None,
    "receipt_email": None,
    "review": None,
    "shipping": None,
    "source": None,
    "statement_descriptor": None,
    "statement_descriptor_suffix": None,
    "transfer_data": None,
    "transfer_group": None,
}

_NO_CHARGE_FIELDS: Final[Json] = {
    "application": None,
    "application_fee": None,
    "application_fee_amount": None,
    "balance_transaction": None,
    "calculated_statement_descriptor": None,
    "customer": None,
    "failure_balance_transaction": None,
    "fraud_details": {},
    "on_behalf_of": None,
    "outcome": None,
    "receipt_email": None,
    "receipt_number": None,
    "receipt_url": None,
    "refunds": None,
    "review": None,
    "shipping": None,
    "source": None,
    "source_transfer": None,
    "statement_descriptor": None,
    "statement_descriptor_suffix": None,
    "transfer_data": None,
    "transfer_group": None,
}
