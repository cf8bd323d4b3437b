"""What Stripe's calls say of the payer's credential, and how a charge tells what came of it."""

from typing import Final

from paygate_http.sandbox.presence import Presence
from paygate_http.sandbox.records import Charge
from paygate_http.sandbox.stripe_form import Fields, table, text
from paygate_http.sandbox.stripe_params import bad_parameter
from paygate_http.sandbox.stripe_records import Method

Json = dict[str, object]

CONFIRMING: Final = (
    "return_url",
    "error_on_requires_action",
    "off_session",
    "setup_future_usage",
    "payment_method_options",
    "expand",
)
"""The parameters that a confirmation takes, and a creation that confirms at once."""

_RESULTS: Final = {
    "challenge": ("authenticated", "challenge"),
    "frictionless": ("authenticated", "frictionless"),
    "attempted": ("attempt_acknowledged", None),
    "none": ("not_supported", None),
}


def presence_of(fields: Fields) -> Presence:
    """Say who is there and what is demanded. Raises `StripeTrouble`."""
    options = ("payment_method_options", "card")
    demanded = text(fields, *options, "request_three_d_secure") or "automatic"
    if demanded not in ("automatic", "any", "challenge"):
        raise bad_parameter("payment_method_options", "Invalid request_three_d_secure.")
    usage = text(fields, "setup_future_usage")
    if usage not in (None, "off_session", "on_session"):
        raise bad_parameter("setup_future_usage", "Invalid setup_future_usage.")
    away = text(fields, "off_session") in ("true", "one_off", "recurring")
    if away and usage is not None:
        raise bad_parameter("setup_future_usage", "Not with off_session.")
    return Presence(
        initiator="merchant" if away else "customer",
        store=usage is not None,
        network_txn_id=text(fields, *options, "mit_exemption", "network_transaction_id"),
        # Nobody is there to be asked: Stripe declines where the issuer insists.
        step_up=demanded != "automatic" and not away,
    )


def is_expanded(fields: Fields, name: str = "latest_charge") -> bool:
    """Whether the caller wants to see the object behind this field."""
    return name in table(fields, "expand").values()


def method_details(charge: Charge, method: Method | None) -> Json | None:
    """Render how the method was charged; None for a method that is not known any more."""
    if method is None:
        return None
    return {
        "card": {
            "amount_authorized": None,
            "authorization_code": None,
            "brand": method.brand,
            "checks": None,
            "country": "US",
            "exp_month": method.exp_month,
            "exp_year": method.exp_year,
            "fingerprint": None,
            "funding": "credit",
            "installments": None,
            "last4": method.last4,
            "mandate": None,
            "network": method.brand,
            "network_transaction_id": charge.network_txn_id,
            "regulated_status": None,
            "three_d_secure": _three_d_secure(charge),
            "transaction_link_id": None,
            "wallet": None,
        },
        "type": "card",
    }


def _three_d_secure(charge: Charge) -> Json | None:
    if charge.authentication is None or charge.status in ("requires_action", "failed"):
        return None
    result, flow = _RESULTS[charge.authentication]
    return {
        "authentication_flow": flow,
        "electronic_commerce_indicator": None,
        "exemption_indicator": None,
        "result": result,
        "result_reason": None,
        "transaction_id": None,
        "version": None if result == "not_supported" else "2.2.0",
    }
