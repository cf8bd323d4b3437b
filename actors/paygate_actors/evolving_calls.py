"""`evolve` for calls: what was intended at a provider, and what became of it. Pure."""

from typing import assert_never

import msgspec

from paygate_actors import events as e
from paygate_actors.changes import call_of, with_call, with_txn
from paygate_actors.record import Call, Payment, is_own_reverse, is_release, is_stray

CallEvent = (
    e.CallStarted
    | e.CallPrepared
    | e.CallInDoubt
    | e.CallPending
    | e.ActionRequested
    | e.CallApproved
    | e.CallDeclined
)


def fold_call(payment: Payment, event: CallEvent, at_us: int, epoch: int) -> Payment:
    """The payment after an event about one of its calls."""
    # Intents say who follows the call from here on, and so do doubts about a node that is gone.
    # Answers may come by anybody, also those that know nothing.
    match event:
        case e.CallStarted():
            return _call_started(payment, event, at_us, epoch)
        case e.CallPrepared():
            return _call_prepared(payment, event, at_us, epoch)
        case e.CallInDoubt():
            if event.reason != "restarted":
                return with_call(payment, event.key, in_doubt=True)
            call = call_of(payment, event.key)
            # Where the payer was asked, it is for him to say: that our node died is no doubt.
            in_doubt = call.in_doubt or call.state != "action"
            return with_call(payment, event.key, in_doubt=in_doubt, epoch=epoch)
        case e.CallPending():
            return with_call(
                payment,
                event.key,
                state="pending",
                in_doubt=False,
                provider_txn_id=event.provider_txn_id,
                expected_by_us=event.expected_by_us,
            )
        case e.ActionRequested():
            changed = with_call(
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
            changed = with_txn(payment, event.transaction_id, at_us, provider=event.provider)
        return replace(changed, calls=(*payment.calls, call))
    # What an earlier attempt left at another provider is not this one's.
    changed = with_txn(
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
    changed = with_call(
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
    call = call_of(payment, event.key)
    # Of a hold that its provider captured by itself, less than the whole is no difference.
    part = call.state == "approved" and event.amount_minor < call.amount_minor
    other = event.amount_minor != call.amount_minor and not part
    changed = with_call(
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
        return with_txn(changed, call.transaction_id, at_us)
    changed = with_txn(
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
    call = call_of(payment, event.key)
    changed = with_call(
        payment,
        event.key,
        state="declined",
        in_doubt=False,
        declined=event.failure.code,
        provider_txn_id=event.provider_txn_id or call.provider_txn_id,
    )
    if is_release(payment, call):
        return changed
    return with_txn(changed, call.transaction_id, at_us, asserted=None)
