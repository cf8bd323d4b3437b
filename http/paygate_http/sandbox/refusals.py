"""When a provider says no to a capture, a void or a refund: pure rules over a charge."""

from paygate_http.sandbox.records import Charge
from paygate_http.sandbox.wire import Verb

PENDING = "operation_pending"
"""Not a decline: the same call may succeed once what is under way has ended."""

_NOT_CAPTURABLE = {
    "captured": "already_captured",
    "cancelled": "charge_cancelled",
    "failed": "charge_failed",
    "requires_action": "not_confirmed",
}
_NOT_REFUNDABLE = {
    "authorized": "not_captured",
    "cancelled": "charge_cancelled",
    "failed": "charge_failed",
    "requires_action": "not_confirmed",
}


def whole_minor(verb: Verb, charge: Charge) -> int:
    """Give what "all of it" means for the verb, in minor units."""
    if verb == "refund":
        return charge.left_minor
    if verb == "void" and charge.status == "captured":
        return charge.captured_minor
    return charge.amount_minor


def refusal(
    verb: Verb,
    charge: Charge,
    *,
    amount_minor: int,
    currency: str | None,
    now_us: int,
    void_window_us: int,
) -> str | None:
    """Give the code of the provider's no, or None where it may be done."""
    if charge.status == "pending" or charge.busy_key is not None:
        return PENDING
    if currency is not None and currency != charge.currency:
        return "currency_mismatch"
    if verb == "capture":
        return _capture_refusal(charge, amount_minor)
    if verb == "refund":
        return _refund_refusal(charge, amount_minor)
    return _void_refusal(charge, now_us=now_us, void_window_us=void_window_us)


def _capture_refusal(charge: Charge, amount_minor: int) -> str | None:
    if charge.status in _NOT_CAPTURABLE:
        return _NOT_CAPTURABLE[charge.status]
    return "amount_too_large" if amount_minor > charge.amount_minor else None


def _refund_refusal(charge: Charge, amount_minor: int) -> str | None:
    if charge.status in _NOT_REFUNDABLE:
        return _NOT_REFUNDABLE[charge.status]
    if charge.dispute in ("open", "lost"):
        return "charge_disputed"
    return "amount_too_large" if not 0 < amount_minor <= charge.left_minor else None


def _void_refusal(charge: Charge, *, now_us: int, void_window_us: int) -> str | None:
    if charge.status == "cancelled":
        return "charge_cancelled"
    if charge.status == "failed":
        return "charge_failed"
    if charge.status != "captured":
        return None
    if charge.refunding_minor:
        return PENDING
    if charge.refunded_minor:
        return "charge_refunded"
    if charge.dispute in ("open", "lost"):
        return "charge_disputed"
    assert charge.captured_at_us is not None  # set together with the status
    return "already_settled" if now_us - charge.captured_at_us > void_window_us else None
