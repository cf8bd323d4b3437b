"""`evolve`: folds one recorded event into a payment.

Pure: no clock, no randomness, no I/O. Nothing here decides anything; an event that is folded is
already true.
"""

from typing import Final, assert_never

import msgspec

from paygate_actors import events as e
from paygate_actors.record import (
    IN_DOUBT,
    Call,
    Concern,
    Payment,
    Txn,
    is_own_reverse,
    is_release,
    is_stray,
)
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
            return _apply_call(payment, event, at_us, epoch)
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
            return _with_txn(payment, event.transaction_id, at_us, asserted=event.status)
        case e.Reviewed():
            return payment
        case e.AttentionRaised():
            return _concerned(payment, event, at_us)
        case e.AttentionCleared():
            return _cleared(payment, event)
        case _:
            assert_never(event)


def _apply_call(
    payment: Payment,
    event: e.CallStarted
    | e.CallPrepared
    | e.CallInDoubt
    | e.CallPending
    | e.ActionRequested
    | e.CallApproved
    | e.CallDeclined,
    at_us: int,
    epoch: int,
) -> Payment:
    # Intents say who follows the call from here on, and so do doubts about a node that is gone.
    # Answers may come by anybody, also those that know nothing.
    match event:
        case e.CallStarted():
            return _call_started(payment, event, at_us, epoch)
        case e.CallPrepared():
            return _call_prepared(payment, event, at_us, epoch)
        case e.CallInDoubt():
            if event.reason != "restarted":
                return _with_call(payment, event.key, in_doubt=True)
            call = _call_of(payment, event.key)
            # Where the payer was asked, it is for him to say: that our node died is no doubt.
            in_doubt = call.in_doubt or call.state != "action"
            return _with_call(payment, event.key, in_doubt=in_doubt, epoch=epoch)
        case e.CallPending():
            return _with_call(
                payment,
                event.key,
                state="pending",
                in_doubt=False,
                provider_txn_id=event.provider_txn_id,
                expected_by_us=event.expected_by_us,
            )
        case e.ActionRequested():
            changed = _with_call(
                payment,
                event.key,
                state="action",
                in_doubt=False,
                provider_txn_id=event.provider_txn_id,
                expires_at_us=event.expires_at_us,
                url=event.url,
            )
            return msgspec.structs.replace(
                changed, provider_txn_id=event.provider_txn_id, expires_at_us=event.expires_at_us
            )
        case e.CallApproved():
            return _call_approved(payment, event, at_us)
        case e.CallDeclined():
            return _call_declined(payment, event, at_us)
        case _:
            assert_never(event)


def _call_started(payment: Payment, event: e.CallStarted, at_us: int, epoch: int) -> Payment:
    call = Call(
        key=event.key,
        transaction_id=event.transaction_id,
        verb=event.verb,
        provider=event.provider,
        amount_minor=event.amount_minor,
        target=event.target,
        started_at_us=at_us,
        prepares=event.prepares,
        epoch=epoch,
    )
    replace = msgspec.structs.replace
    if not call.charges:
        changed = payment
        if not is_release(payment, call):
            changed = _with_txn(payment, event.transaction_id, at_us, provider=event.provider)
        return replace(changed, calls=(*payment.calls, call))
    # What an earlier attempt left at another provider is not this one's.
    changed = _with_txn(
        payment, event.transaction_id, at_us, provider=event.provider, provider_txn_id=None
    )
    return replace(
        changed,
        calls=(*payment.calls, call),
        provider=event.provider,
        provider_txn_id=None,
        route=event.route or payment.route,
    )


def _call_prepared(payment: Payment, event: e.CallPrepared, at_us: int, epoch: int) -> Payment:
    changed = _with_call(
        payment,
        event.key,
        in_doubt=False,
        provider_txn_id=event.provider_txn_id,
        prepared_id=event.provider_txn_id,
        prepared_at_us=at_us,
        epoch=epoch,
    )
    return msgspec.structs.replace(changed, provider_txn_id=event.provider_txn_id)


def _call_approved(payment: Payment, event: e.CallApproved, at_us: int) -> Payment:
    call = _call_of(payment, event.key)
    # Of a hold that its provider captured by itself, less than the whole is no difference.
    part = call.state == "approved" and event.amount_minor < call.amount_minor
    other = event.amount_minor != call.amount_minor and not part
    changed = _with_call(
        payment,
        event.key,
        state="approved",
        in_doubt=False,
        provider_txn_id=event.provider_txn_id,
        captured=event.captured,
        confirmed_minor=event.amount_minor,
        differs=call.differs or other or event.currency != payment.created.currency,
    )
    if is_release(payment, call):
        # That an attempt was given up says nothing of the payment's own transaction.
        return _voided(changed, call)
    if is_stray(payment, call) and call.charges:
        # Its own transaction knows it; the payment's says no more of what became of the payment.
        return _with_txn(changed, call.transaction_id, at_us)
    changed = _with_txn(
        changed, call.transaction_id, at_us, provider_txn_id=event.provider_txn_id, asserted=None
    )
    if is_stray(payment, call):
        # The sums of the payment do not know it, its own transaction does.
        return changed
    replace = msgspec.structs.replace
    minor = event.amount_minor
    match call.verb:
        case "charge" | "authorize":
            # Approved a second time, it is a hold that the provider captured by itself.
            held = max(payment.authorized_minor, minor) if call.state == "approved" else minor
            taken = minor if event.captured else 0
            return replace(
                changed,
                provider=call.provider,
                provider_txn_id=event.provider_txn_id,
                authorized_minor=held,
                captured_minor=taken,
                released_minor=held - taken if event.captured else 0,
            )
        case "capture":
            held = max(payment.authorized_minor, minor)
            return replace(
                changed, authorized_minor=held, captured_minor=minor, released_minor=held - minor
            )
        case "void":
            return _voided(changed, call)
        case "refund":
            return changed
        case _:
            assert_never(call.verb)


def _voided(payment: Payment, void: Call) -> Payment:
    txn = payment.txn(void.transaction_id)
    named = (void.provider, void.target) == (payment.provider, payment.provider_txn_id)
    if not named and (txn is None or not is_own_reverse(txn)):
        return payment  # the reversal of a stray
    calls = tuple(
        msgspec.structs.replace(call, state="declined", in_doubt=False)
        if call.charges and call.unresolved
        else call
        for call in payment.calls
    )
    return msgspec.structs.replace(
        payment, calls=calls, captured_minor=0, released_minor=payment.authorized_minor
    )


def _call_declined(payment: Payment, event: e.CallDeclined, at_us: int) -> Payment:
    call = _call_of(payment, event.key)
    changed = _with_call(
        payment,
        event.key,
        state="declined",
        in_doubt=False,
        declined=event.failure.code,
        provider_txn_id=event.provider_txn_id or call.provider_txn_id,
    )
    if is_release(payment, call):
        return changed
    return _with_txn(changed, call.transaction_id, at_us, asserted=None)


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
        return _with_txn(changed, first, at_us, asserted=None) if overruled else changed
    return _with_txn(
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
    return _with_txn(payment, event.id, at_us, **changes)


def _call_of(payment: Payment, key: str) -> Call:
    call = payment.call(key)
    if call is None:
        raise TypeError(f"{payment.id} has no call {key}")
    return call


def _with_call(payment: Payment, key: str, **changes: object) -> Payment:
    calls = tuple(
        msgspec.structs.replace(call, **changes) if call.key == key else call
        for call in payment.calls
    )
    return msgspec.structs.replace(payment, calls=calls)


def _with_txn(payment: Payment, transaction_id: str, at_us: int, **changes: object) -> Payment:
    txns = tuple(
        msgspec.structs.replace(txn, updated_at_us=at_us, **changes)
        if txn.id == transaction_id
        else txn
        for txn in payment.txns
    )
    return msgspec.structs.replace(payment, txns=txns)
