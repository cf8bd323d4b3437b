"""`evolve`: folds one recorded event into a payment.

Pure: no clock, no randomness, no I/O. Nothing here decides anything; an event that is folded is
already true.
"""

from typing import Final, assert_never

import msgspec

from paygate_actors import events as e
from paygate_actors.changes import with_txn
from paygate_actors.evolving_calls import fold_call
from paygate_actors.record import IN_DOUBT, Concern, Payment, Txn
from paygate_actors.states import FINAL, after

# Payments that call for a person do so once or twice; of what a provider may report without end,
# what a person has seen is forgotten first, then the oldest; it may be raised again.
CONCERNS_MAX: Final = 16
# Of the facts that end nothing, those that merchants are told of.
_TOLD: Final = frozenset({"action_required", "held", "authorized"})


def evolve(
    payment: Payment | None,
    event: e.PaymentEvent,
    *,
    id: str,  # noqa: A002
    at_us: int,
    epoch: int = 0,
) -> Payment:
    """The payment after the event, which a node recorded in its epoch.

    The first event of a stream is `PaymentCreated`.
    """
    if payment is None:
        if not isinstance(event, e.PaymentCreated):
            raise TypeError(f"{id} does not begin with its creation")
        return _created(event, id, at_us)
    changed = _apply(payment, event, at_us, epoch)
    return msgspec.structs.replace(changed, updated_at_us=at_us, seq=payment.seq + 1)


def _created(event: e.PaymentCreated, id: str, at_us: int) -> Payment:  # noqa: A002
    first = Txn(
        id=event.transaction_id,
        type="payment",
        origin="merchant",
        status="pending",
        amount_minor=event.amount_minor,
        currency=event.currency,
        created_at_us=at_us,
        updated_at_us=at_us,
    )
    return Payment(
        id=id,
        created=event,
        created_at_us=at_us,
        updated_at_us=at_us,
        status="pending",
        txns=(first,),
    )


def _apply(payment: Payment, event: e.PaymentEvent, at_us: int, epoch: int) -> Payment:
    replace = msgspec.structs.replace
    match event:
        case e.PaymentCreated():
            raise TypeError(f"{payment.id} was created twice")
        case e.FraudScored():
            return replace(payment, fraud=event)
        case (
            e.CallStarted()
            | e.CallPrepared()
            | e.CallInDoubt()
            | e.CallPending()
            | e.ActionRequested()
            | e.CallApproved()
            | e.CallDeclined()
        ):
            return fold_call(payment, event, at_us, epoch)
        case e.CredentialNoted():
            return replace(
                payment,
                network_txn_id=payment.network_txn_id or event.network_transaction_id,
                authentication=payment.authentication or event.authentication,
            )
        case e.Moved():
            return _moved(payment, event, at_us)
        case e.TransactionOpened():
            return replace(payment, txns=(*payment.txns, _opened(event, at_us)))
        case e.TransactionSettled():
            return _settled(payment, event, at_us)
        case e.StatusAsserted():
            return with_txn(payment, event.transaction_id, at_us, asserted=event.status)
        case e.Reviewed():
            return payment
        case e.AttentionRaised():
            return _concerned(payment, event, at_us)
        case e.AttentionCleared():
            return _cleared(payment, event)
        case _:
            assert_never(event)


def _moved(payment: Payment, event: e.Moved, at_us: int) -> Payment:
    status = after(payment.status, event.fact)
    final = status in FINAL
    changed = msgspec.structs.replace(
        payment,
        status=status,
        failure=event.failure,
        expires_at_us=event.expires_at_us,
        processed_at_us=payment.processed_at_us or (at_us if final else None),
    )
    if event.fact == "cancelled" and payment.captured_minor + payment.authorized_minor:
        changed = msgspec.structs.replace(
            changed, captured_minor=0, released_minor=payment.authorized_minor
        )
    if not final:
        # What merchants are told of is shown as well, whatever an operator has said before.
        overruled = event.fact in _TOLD and payment.txns[0].asserted is not None
        first = payment.txns[0].id
        return with_txn(changed, first, at_us, asserted=None) if overruled else changed
    return with_txn(
        changed, payment.txns[0].id, at_us, status=status, failure=event.failure, asserted=None
    )


def _concerned(payment: Payment, event: e.AttentionRaised, at_us: int) -> Payment:
    new = Concern(code=event.code, detail=event.detail, seq=payment.seq + 1, at_us=at_us)
    # An earlier version raised a thing again when another had come between.
    others = [
        each for each in payment.concerns if (each.code, each.detail) != (new.code, new.detail)
    ]
    if len(others) == CONCERNS_MAX:
        others.remove(next((each for each in others if each.seen), others[0]))
    return msgspec.structs.replace(payment, concerns=(*others, new))


def _cleared(payment: Payment, event: e.AttentionCleared) -> Payment:
    replace = msgspec.structs.replace
    if event.up_to_seq is None:
        left = tuple(each for each in payment.concerns if each.code != IN_DOUBT)
        return replace(payment, concerns=left)
    seen = tuple(
        replace(each, seen=True) if each.seq <= event.up_to_seq and each.code != IN_DOUBT else each
        for each in payment.concerns
    )
    return replace(payment, concerns=seen)


def _opened(event: e.TransactionOpened, at_us: int) -> Txn:
    return Txn(
        id=event.id,
        type=event.type,
        origin=event.origin,
        status=event.status,
        amount_minor=event.amount_minor,
        currency=event.currency,
        created_at_us=at_us,
        updated_at_us=at_us,
        provider=event.provider,
        provider_txn_id=event.provider_txn_id,
        reason=event.reason,
        requested_minor=event.requested_minor,
        or_refund=event.or_refund,
        key=event.key,
        fact_at_us=event.fact_at_us,
        stray_id=event.stray_id,
    )


def _settled(payment: Payment, event: e.TransactionSettled, at_us: int) -> Payment:
    changes = dict[str, object](status=event.status, failure=event.failure, asserted=None)
    if event.provider_txn_id is not None:
        changes["provider_txn_id"] = event.provider_txn_id
    if event.amount_minor is not None:
        changes["amount_minor"] = event.amount_minor
    if event.fact_at_us is not None:
        changes["fact_at_us"] = event.fact_at_us
    return with_txn(payment, event.id, at_us, **changes)
