"""How a payment, its transactions and its history are shown: pure functions of the record.

Views are what the projections hold and what the doors render. They carry no card number: the
record has none.
"""

from typing import Final

import msgspec

from paygate_actors import events as e
from paygate_actors.credentials import Initiation
from paygate_actors.messages import (
    EventView,
    Failure,
    NextAction,
    PaymentView,
    TransactionView,
)
from paygate_actors.record import Payment, Txn
from paygate_actors.sums import disputed, expected_by_us, in_doubt, refunded, returned

SET_BY_OPERATOR: Final = Failure(
    code="set_by_operator",
    message="An operator said so; the provider's own word counts as soon as it comes.",
)
_NOT_DONE: Final = ("failed", "cancelled")


def payment_view(payment: Payment) -> PaymentView:
    """The one representation of a payment."""
    created = payment.created
    first = payment.txns[0]
    fraud = payment.fraud
    return PaymentView(
        id=payment.id,
        transaction_id=first.id,
        merchant=created.merchant,
        status=first.asserted or payment.status,
        amount_minor=created.amount_minor,
        currency=created.currency,
        capture_method=created.capture_method,
        method=created.method,
        created_at_us=payment.created_at_us,
        updated_at_us=payment.updated_at_us,
        livemode=created.livemode,
        amount_authorized_minor=payment.authorized_minor,
        amount_captured_minor=payment.captured_minor,
        amount_released_minor=payment.released_minor,
        amount_refunded_minor=refunded(payment),
        amount_returned_minor=returned(payment),
        amount_disputed_minor=disputed(payment),
        billing=created.billing,
        provider=payment.provider,
        provider_txn_id=payment.provider_txn_id,
        fraud_score_milli=fraud.score_milli if fraud else None,
        risk_level=fraud.risk_level if fraud else None,
        metadata=created.metadata,
        description=created.description,
        return_url=created.return_url,
        failure=payment.failure or (SET_BY_OPERATOR if first.asserted in _NOT_DONE else None),
        in_doubt=in_doubt(payment),
        attention=payment.attention,
        next_action=_next_action(payment),
        expected_by_us=expected_by_us(payment),
        processed_at_us=payment.processed_at_us,
        initiation=_initiation(created),
        store_credential=created.store_credential,
        three_d_secure=created.three_d_secure,
        network_txn_id=payment.network_txn_id,
        authentication=payment.authentication,
    )


def transaction_view(payment: Payment, txn: Txn) -> TransactionView:
    """A transaction of the payment."""
    first = txn is payment.txns[0]
    return TransactionView(
        id=txn.id,
        payment_id=payment.id,
        merchant=payment.created.merchant,
        type=txn.type,
        origin=txn.origin,
        status=txn.asserted or txn.status,
        amount_minor=txn.amount_minor,
        currency=txn.currency,
        created_at_us=txn.created_at_us,
        updated_at_us=txn.updated_at_us,
        livemode=payment.created.livemode,
        provider=payment.provider if first else txn.provider,
        provider_txn_id=payment.provider_txn_id if first else txn.provider_txn_id,
        reason=txn.reason,
        failure=txn.failure,
    )


def event_view(seq: int, at_us: int, event: e.PaymentEvent) -> EventView:
    """One line of the history. What serves only to recognise a repetition stays inside."""
    data = msgspec.to_builtins(event)
    assert isinstance(data, dict)
    for inner in ("key", "fingerprint"):
        if not isinstance(event, _WITH_CALL_KEY):
            data.pop(inner, None)  # pyright: ignore[reportUnknownMemberType]
    return EventView(seq=seq, type=e.public_name(event), at_us=at_us, data=data)  # pyright: ignore[reportUnknownArgumentType]


_WITH_CALL_KEY = (
    e.CallStarted,
    e.CallPrepared,
    e.CallInDoubt,
    e.CallPending,
    e.ActionRequested,
    e.CallApproved,
    e.CredentialNoted,
    e.CallDeclined,
)


def _initiation(created: e.PaymentCreated) -> Initiation:
    found = created.follows_network_transaction_id
    if found is None:
        return created.initiation
    return msgspec.structs.replace(created.initiation, network_transaction_id=found)


def _next_action(payment: Payment) -> NextAction | None:
    if payment.status != "requires_action":
        return None
    for call in reversed(payment.calls):
        if call.state == "action" and call.url is not None and call.expires_at_us is not None:
            return NextAction(url=call.url, expires_at_us=call.expires_at_us)
    return None
