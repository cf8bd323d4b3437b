"""What PayPal's answers mean, as outcomes: pure functions of what came back.

Nothing is taken for what it should be before it was checked: an answer about another order,
another key, or in words that the documents do not have, is not known. An order is what we charge,
so its id is the id of everything that is done to it, but for refunds, which have ids of their own.
"""

from typing import Final

from paygate_actors.money import Money
from paygate_actors.outcomes import (
    ActionRequired,
    Approved,
    Authentication,
    Declined,
    Outcome,
    Pending,
    Prepared,
    Unknown,
)
from paygate_actors.providers.base import FollowUpCall
from paygate_actors.providers.intelligible import Unintelligible
from paygate_actors.providers.paypal_answers import found
from paygate_actors.providers.paypal_bodies import CANCELLED
from paygate_actors.providers.paypal_codes import declined_by_processor
from paygate_actors.providers.paypal_session import Reply
from paygate_actors.providers.paypal_wire import (
    Order,
    Payment,
    Refund,
    Unit,
    decode_order,
    decode_payment,
    decode_refund,
    time_us,
)

# PayPal gives a payer three hours from when the order was made, unless the account has more.
ACTION_S: Final = 3 * 3_600
PAYER_LINKS: Final = ("payer-action", "approve")

_US_PER_S: Final = 1_000_000

_TAKEN: Final = frozenset({"COMPLETED", "PARTIALLY_REFUNDED", "REFUNDED"})
_REFUSED: Final = frozenset({"DECLINED", "FAILED", "DENIED"})
_CAPTURED_HOLD: Final = frozenset({"CAPTURED", "PARTIALLY_CAPTURED"})
# Whether the payer had to do something on the issuer's page, PayPal does not say: he was there.
_AUTHENTICATED: Final[dict[str, Authentication]] = {"Y": "challenge", "A": "attempted"}


def order_of(reply: Reply, order_id: str) -> Order | Unknown:
    """Turn the reading of an order into the order, or into why it could not be read."""
    orders: list[Order] = []

    def read(body: bytes) -> Outcome:
        orders.append(own_order(body, order_id))
        return Unknown(reason="not_visible")

    outcome = found(reply, read)
    if orders:
        return orders[0]
    assert isinstance(outcome, Unknown), "nothing but an order was read"
    return outcome


def own_order(body: bytes, order_id: str) -> Order:
    """Read an order, which must be this one. Raises `Unintelligible`."""
    order = decode_order(body)
    if order.id != order_id:
        raise Unintelligible
    return order


def unit_of(order: Order) -> Unit:
    """What the order is for. Raises `Unintelligible` where it is for several things, or none."""
    if len(order.purchase_units) != 1:
        raise Unintelligible
    return order.purchase_units[0]


def is_given_up(order: Order) -> bool:
    """Tell whether we gave the order up: no request of before can pay for it any more."""
    return (unit_of(order).custom_id or "").endswith(CANCELLED)


def read_prepared(body: bytes, *, key: str) -> Prepared:
    """Read the answer to the first step: the order as it was made."""
    order = decode_order(body)
    _check_key(order, key)
    return Prepared(provider_txn_id=order.id)


def read_confirmed(body: bytes, *, key: str, order_id: str) -> Outcome:
    """Read the answer to a confirmation."""
    order = own_order(body, order_id)
    _check_key(order, key)
    outcome = order_outcome(order)
    if isinstance(outcome, Unknown):
        raise Unintelligible  # it answers a confirmation and says that there was none
    return outcome


def order_outcome(order: Order) -> Outcome:
    """What an order says about the charge that it stands for."""
    payments = unit_of(order).payments
    if payments.authorizations:
        return _hold_outcome(order, payments.authorizations[-1])
    if payments.captures:
        return _capture_outcome(order.id, payments.captures[-1], _authentication(order))
    match order.status:
        case "VOIDED":
            return _cancelled(order.id)
        case "CREATED" | "SAVED" | "APPROVED" | "PAYER_ACTION_REQUIRED" if is_given_up(order):
            return _cancelled(order.id)
        case "CREATED" | "SAVED" | "APPROVED":
            return Unknown(
                reason="not_visible", detail="not confirmed so far", provider_txn_id=order.id
            )
        case "PAYER_ACTION_REQUIRED":
            return action_required(order)
        case _:
            raise Unintelligible


def action_required(order: Order) -> ActionRequired:
    """Where the payer goes to confirm the order. Raises `Unintelligible` where nobody says."""
    url = order.link(*PAYER_LINKS)
    if url is None or not url.startswith(("https://", "http://")) or order.create_time is None:
        raise Unintelligible
    return ActionRequired(
        provider_txn_id=order.id,
        url=url,
        expires_at_us=time_us(order.create_time) + ACTION_S * _US_PER_S,
    )


def read_captured(body: bytes, call: FollowUpCall) -> Outcome:
    """Read the answer to the capture of a hold."""
    capture = decode_payment(body)
    if capture.invoice_id not in (None, call.key):
        raise Unintelligible
    if capture.order_id not in (None, call.provider_txn_id):
        raise Unintelligible
    return _capture_outcome(call.provider_txn_id, capture, None)


def read_refunded(body: bytes, call: FollowUpCall) -> Outcome:
    """Read the answer to a refund."""
    refund = decode_refund(body)
    if call.key not in (refund.custom_id, refund.invoice_id):
        raise Unintelligible
    return refund_outcome(refund)


def read_found_refund(body: bytes, *, key: str, refund_id: str) -> Outcome:
    """What a refund says of itself, if it is the key's."""
    refund = decode_refund(body)
    if refund.id != refund_id:
        raise Unintelligible
    if key not in (refund.custom_id, refund.invoice_id):
        return Unknown(reason="not_visible")
    return refund_outcome(refund)


def refund_outcome(refund: Refund) -> Outcome:
    """What a refund says of itself."""
    match refund.status:
        case "COMPLETED" if refund.amount is not None:
            return Approved(provider_txn_id=refund.id, amount=refund.amount.money)
        case "PENDING":
            return Pending(provider_txn_id=refund.id)
        case "FAILED" | "CANCELLED":
            return Declined(
                code="refund_failed" if refund.status == "FAILED" else "refund_cancelled",
                message="The refund did not reach the payer.",
                decline_code=refund.status,
                provider_txn_id=refund.id,
            )
        case _:
            raise Unintelligible


def found_in_order(order: Order, key: str) -> Outcome | None:
    """What an order says about the call with this key; None: it knows of no such call."""
    unit = unit_of(order)
    for refund in unit.payments.refunds:
        if key in (refund.custom_id, refund.invoice_id):
            return refund_outcome(refund)
    if (unit.custom_id or "").removesuffix(CANCELLED) == key:
        return order_outcome(order)
    for capture in unit.payments.captures:
        if capture.invoice_id == key:
            return _capture_outcome(order.id, capture, None)
    return None


def processor_declined(payment: Payment, order_id: str) -> Declined:
    """A definite no of the issuer's, in our words."""
    said = payment.processor_response.response_code if payment.processor_response else None
    why = declined_by_processor(said)
    return Declined(
        code=why.code,
        message=why.message,
        decline_code=said or payment.status,
        retryable=why.retryable,
        provider_txn_id=order_id,
    )


def _check_key(order: Order, key: str) -> None:
    # Some answers leave the reference out; another one's is never taken.
    named = unit_of(order).custom_id
    if named is not None and named.removesuffix(CANCELLED) != key:
        raise Unintelligible


def _hold_outcome(order: Order, hold: Payment) -> Outcome:
    if hold.status == "CREATED":
        return _approved(order.id, hold, hold.amount.money, _authentication(order), captured=False)
    if hold.status in _CAPTURED_HOLD:
        sums = [
            each.amount.money for each in unit_of(order).payments.captures if each.status in _TAKEN
        ]
        if not sums:
            raise Unintelligible
        taken = sum((each.minor for each in sums), 0)
        amount = Money(taken, sums[0].currency)
        return _approved(order.id, hold, amount, _authentication(order), captured=True)
    if hold.status == "VOIDED":
        return _cancelled(order.id)
    if hold.status == "PENDING":
        return Pending(provider_txn_id=order.id)
    if hold.status in _REFUSED:
        return processor_declined(hold, order.id)
    raise Unintelligible


def _capture_outcome(
    order_id: str, capture: Payment, authentication: Authentication | None
) -> Outcome:
    if capture.status in _TAKEN:
        return _approved(order_id, capture, capture.amount.money, authentication, captured=True)
    if capture.status == "PENDING":
        return Pending(provider_txn_id=order_id)
    if capture.status in _REFUSED:
        return processor_declined(capture, order_id)
    raise Unintelligible


def _approved(
    order_id: str,
    payment: Payment,
    amount: Money,
    authentication: Authentication | None,
    *,
    captured: bool,
) -> Approved:
    network = payment.network_transaction_reference
    return Approved(
        provider_txn_id=order_id,
        amount=amount,
        captured=captured,
        network_txn_id=network.id if network is not None else None,
        authentication=authentication,
    )


def _authentication(order: Order) -> Authentication | None:
    card = order.payment_source.card if order.payment_source is not None else None
    result = card.authentication_result if card is not None else None
    secure = result.three_d_secure if result is not None else None
    status = secure.authentication_status if secure is not None else None
    return _AUTHENTICATED.get(status or "")


def _cancelled(order_id: str) -> Declined:
    return Declined(
        code="cancelled",
        message="The payment was cancelled at the provider.",
        provider_txn_id=order_id,
    )
