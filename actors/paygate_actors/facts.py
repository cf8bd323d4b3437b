"""What arrives unasked: webhooks, the passing of time, an operator's correction. Pure.

An event binds to a call by our key first, then by the provider's id, always within the provider
that it came from. Facts merge by the table: their order does not matter, and none is refused.
"""

from typing import Final

import msgspec

from paygate_actors import credential_use
from paygate_actors import events as e
from paygate_actors.by_provider import dispute_reported, refund_reported
from paygate_actors.charging import SETTLED, charge_said
from paygate_actors.draft import Answer, Context, Draft
from paygate_actors.following import follow_up_said
from paygate_actors.messages import Refusal, SetTransactionStatus, TransactionStatus
from paygate_actors.money import Money
from paygate_actors.outcomes import Approved, Declined, Outcome
from paygate_actors.preparing import give_up, released
from paygate_actors.providers.base import ProviderEvent
from paygate_actors.record import (
    IN_DOUBT,
    REVIEW_EXPIRED,
    Call,
    Payment,
    Txn,
    is_own_reverse,
    is_release,
)
from paygate_actors.sums import asserted, captured_ever, charge_of, open_txn, unclear
from paygate_actors.undoing import reverse_by_system

CHARGE_EVENTS: Final = frozenset(
    {"payment.succeeded", "payment.authorized", "payment.failed", "payment.cancelled"}
)
REFUND_EVENTS: Final = frozenset({"refund.succeeded", "refund.failed"})
DISPUTE_EVENTS: Final = frozenset({"dispute.opened", "dispute.closed"})
# What is left of a hold lapsed: all of it, or what a partial capture did not take.
EXPIRED: Final = "payment.expired"
# The charge cannot be undone any more; it is told of the charge, and not of the void.
VOID_FAILED: Final = "void.failed"
# The payer approved it there, and nothing has moved: it is for us to take it now.
PAYER_DONE: Final = "payment.payer_done"

# A void is told that it comes too late, a capture that it is done.
SETTLED_BY_OTHERS: Final = frozenset({*SETTLED, "already_captured"})
# Captures and refunds take providers hours; a day and a night more, and somebody should ask them.
PENDING_FLAG_US: Final = 48 * 3_600 * 1_000_000


def said(
    draft: Draft, call: Call, outcome: Outcome, ctx: Context, *, at_us: int | None = None
) -> None:
    """What became of a call, whichever it is."""
    if call.charges:
        charge_said(draft, call, outcome, ctx)
        _end_voids(draft, call)
    elif is_release(draft.payment, call):
        released(draft, call, outcome, ctx)
    else:
        follow_up_said(draft, call, outcome, ctx, at_us=at_us)


def _end_voids(draft: Draft, charge: Call) -> None:
    """That a charge is cancelled ends the void that its provider took on, and may never mention."""
    known = draft.payment.call(charge.key)
    if known is None or (known.state, known.declined) != ("declined", "cancelled"):
        return
    for call in draft.payment.calls:
        if (
            call.verb == "void"
            and call.state == "pending"
            and _is_about(draft.payment, call, known)
        ):
            draft.approve(
                call,
                provider_txn_id=known.provider_txn_id or call.target or charge.key,
                minor=call.amount_minor,
                currency=draft.payment.created.currency,
            )


def reported(draft: Draft, event: ProviderEvent, provider: str, ctx: Context) -> None:
    """What a verified webhook reports. An event that concerns nothing here changes nothing."""
    if not any(call.provider == provider for call in draft.payment.calls):
        # Another account's word is not about this payment's money. But where nobody was ever
        # called, somebody reports a charge that we never made: a person should know.
        if not draft.payment.calls:
            draft.attend("event_of_no_call", event.event_id)
        return
    call = _bind(draft.payment, event, provider)
    if event.event_type in CHARGE_EVENTS and call is not None:
        call = _meant(draft.payment, call, event)
        said(draft, call, _outcome(draft.payment, call, event), ctx, at_us=event.at_us)
    elif event.event_type == VOID_FAILED and call is not None:
        void = _open_follow_up(draft.payment, call, "void")
        if void is not None:
            said(draft, void, _outcome(draft.payment, void, event), ctx)
    elif event.event_type == EXPIRED:
        _lapsed(draft, call, ctx)
    elif event.event_type in REFUND_EVENTS:
        if call is not None and call.verb == "refund":
            outcome = _outcome(draft.payment, call, event)
            said(draft, call, outcome, ctx, at_us=event.at_us)
        else:
            refund_reported(draft, event, provider)
    elif event.event_type in DISPUTE_EVENTS:
        dispute_reported(draft, event, provider)


def told_too_little(draft: Draft) -> Call | None:
    """The charge that was just taken to be done, where more should be known of its credential."""
    done = [new.key for new in draft.events if isinstance(new, e.CallApproved)]
    call = draft.payment.call(done[0]) if done else None
    if call is None or not call.charges:
        return None
    return call if credential_use.told_too_little(draft.payment) else None


def _lapsed(draft: Draft, call: Call | None, ctx: Context) -> None:
    payment = draft.payment
    if call is None or not call.charges or payment.captured_minor:
        return  # the rest of what was captured in part is of no interest to anybody
    if open_txn(payment, "capture") is not None:
        return  # it is about to say itself whether it found anything to take
    said(draft, call, Declined(code="cancelled", message="The hold expired."), ctx)


def taken_at_its_word(draft: Draft, event: ProviderEvent) -> str | None:
    """The key of the call that the event was just taken to have done, without naming a sum."""
    if event.amount is not None:
        return None
    done = [new.key for new in draft.events if isinstance(new, e.CallApproved)]
    return done[0] if done else None


def settled_unheard(draft: Draft) -> Call | None:
    """The hold of which a refusal just said that it has settled, and nobody how much of it."""
    charge = charge_of(draft.payment)
    if charge is None or charge.state != "approved" or charge.captured:
        return None
    for new in draft.events:
        call = draft.payment.call(new.key) if isinstance(new, e.CallDeclined) else None
        if call is None or call.declined not in SETTLED_BY_OTHERS:
            continue
        if (call.provider, call.target) == (charge.provider, charge.provider_txn_id):
            return None if captured_ever(draft.payment) else charge
    return None


def payer_came(draft: Draft, event: ProviderEvent, provider: str) -> str | None:
    """The key of the call whose payer did his part, where that alone moves no money."""
    if event.event_type != PAYER_DONE:
        return None
    call = _bind(draft.payment, event, provider)
    return call.key if call is not None and call.state == "action" else None


def passed(draft: Draft, ctx: Context) -> None:
    """What the time alone decides: deadlines of the payer and the reviewer, and of our patience."""
    payment = draft.payment
    late = payment.expires_at_us is not None and ctx.now_us >= payment.expires_at_us
    if late and open_txn(payment, "reverse", "capture") is None:
        _expired(draft)
    patience(draft, ctx)


def patience(draft: Draft, ctx: Context) -> None:
    """Call a person for what is in doubt for too long; let them go when it is not any more."""
    payment = draft.payment
    # A call that nobody answers, and one that the provider keeps refusing to look at.
    raised = any(concern.code == IN_DOUBT for concern in payment.concerns)
    awaited = [call for call in unclear(draft.payment) if not _put_aside(draft.payment, call)]
    if raised and not awaited:
        draft.add(e.AttentionCleared())
    elif not raised and any(
        ctx.now_us - call.started_at_us >= ctx.in_doubt_flag_us for call in awaited
    ):
        draft.attend(IN_DOUBT)
    for call in payment.calls:
        # Where no look-up shows it, only the provider's own news end it, and these may be lost.
        promised_us = max(call.started_at_us, call.expected_by_us or 0, call.expires_at_us or 0)
        if call.state in ("pending", "action") and ctx.now_us - promised_us >= PENDING_FLAG_US:
            draft.attend("pending_long", call.key)


def _put_aside(payment: Payment, call: Call) -> bool:
    # An operator has said how it ended: nobody is called for it, unless something else waits for
    # its true end, a reverse for the charge or the payment for its void.
    waiting = [txn for txn in payment.txns if txn.status == "pending" and txn.asserted is None]
    return asserted(payment, call) and not waiting


def _expired(draft: Draft) -> None:
    payment = draft.payment
    charge = charge_of(payment)
    reason = {"requires_action": "authentication_expired", "review": REVIEW_EXPIRED}.get(
        payment.status
    )
    # Once: a void that the provider refused is a person's business, not one for the next message.
    if (
        charge is None
        or reason is None
        or any((txn.origin, txn.reason) == ("system", reason) for txn in payment.txns)
    ):
        return
    reverse_by_system(draft, charge, reason)


def correct(
    draft: Draft,
    command: SetTransactionStatus,
    fresh: Outcome | None,
    ctx: Context,
    *,
    key: str | None,
) -> Answer:
    """An operator's correction, held against the provider's fresh answer (None: not asked).

    `key`: of the call that the answer is about, which may not be the newest one any more.
    """
    txn = draft.payment.txn(command.transaction_id)
    if txn is None:
        return Answer(refusal=Refusal(code="transaction_not_found", detail="No such transaction."))
    if txn.status != "pending":
        return Answer(refusal=_final(txn.status))
    call = None if key is None else draft.payment.call(key)
    if call is not None and call.unprepared and command.status == "failed":
        # Nothing that moves money has left: it is so, whatever anybody sees.
        give_up(draft, call, msgspec.structs.replace(ctx, routes=()))
    elif fresh is not None and call is not None:
        # Who corrects a payment decides about it as it is: a decline is tried nowhere else.
        said(draft, call, fresh, msgspec.structs.replace(ctx, routes=()))
    settled = draft.payment.txn(txn.id)
    assert settled is not None
    if settled.status == command.status:
        return Answer(transaction_id=txn.id)
    if settled.status != "pending" or not command.force:
        return Answer(
            refusal=Refusal(
                code="provider_disagrees",
                detail="The provider's answer does not agree with this status.",
            )
        )
    if settled.asserted is not None:
        # It is shown as final already; only the provider's word moves it now.
        if settled.asserted == command.status:
            return Answer(transaction_id=txn.id)
        return Answer(refusal=_final(settled.asserted))
    draft.add(
        e.StatusAsserted(
            transaction_id=txn.id,
            status=command.status,
            reason=command.reason,
            by=command.caller.key_id,
        )
    )
    last = call_to_ask(draft.payment, settled)
    if last is not None and last.state in ("approved", "action", "pending"):
        # The provider knows better: it is shown as they say, and somebody else should look at it.
        draft.attend("asserted_against_provider", last.key)
    return Answer(transaction_id=txn.id)


def call_to_ask(payment: Payment, txn: Txn) -> Call | None:
    """The newest call made for the transaction."""
    about = [call for call in payment.calls if call.transaction_id == txn.id]
    return next((call for call in reversed(about) if not is_release(payment, call)), None)


def _final(status: TransactionStatus) -> Refusal:
    return Refusal(code="illegal_transition", detail=f"A transaction that is {status} is final.")


def _bind(payment: Payment, event: ProviderEvent, provider: str) -> Call | None:
    if event.reference is not None:
        call = payment.call(event.reference)
        if call is not None:
            return call if call.provider == provider else None
    return next(
        (
            call
            for call in payment.calls
            if call.provider == provider
            and call.provider_txn_id == event.provider_txn_id
            and (call.charges or call.verb == "refund")
        ),
        None,
    )


def _meant(payment: Payment, call: Call, event: ProviderEvent) -> Call:
    # Bound by the charge's id alone, the event may be the answer to what is open on that charge.
    if not call.charges or call.state != "approved":
        return call
    verb = {"payment.succeeded": "capture", "payment.cancelled": "void"}.get(event.event_type)
    taken = payment.captured_minor if call == charge_of(payment) else 0
    if verb == "capture" and taken and (event.amount is None or event.amount.minor == taken):
        return call  # of the capture that we know; a hold is not taken twice
    return _open_follow_up(payment, call, verb) or call


def _open_follow_up(payment: Payment, charge: Call, verb: str | None) -> Call | None:
    return next(
        (
            other
            for other in payment.calls
            if other.unresolved and other.verb == verb and _is_about(payment, other, charge)
        ),
        None,
    )


def _is_about(payment: Payment, follow_up: Call, charge: Call) -> bool:
    # A void may have left before the provider gave the charge the id that it has now.
    txn = payment.txn(follow_up.transaction_id)
    own = txn is not None and is_own_reverse(txn) and charge_of(payment) == charge
    same = own or follow_up.target == charge.provider_txn_id
    return same and follow_up.provider == charge.provider


def _outcome(payment: Payment, call: Call, event: ProviderEvent) -> Outcome:
    amount = event.amount or Money(call.amount_minor, payment.created.currency)
    match event.event_type:
        case "payment.succeeded" | "payment.authorized" | "refund.succeeded":
            return Approved(
                # An event may name a part of what was prepared; follow-ups need the whole's name.
                provider_txn_id=call.prepared_id or event.provider_txn_id,
                amount=amount,
                captured=event.event_type == "payment.succeeded",
                network_txn_id=event.network_txn_id,
                authentication=event.authentication,
            )
        case "payment.cancelled":
            if call.verb == "void":
                # The void's own amount is what is undone; the event repeats the charge's.
                whole = Money(call.amount_minor, payment.created.currency)
                return Approved(provider_txn_id=event.provider_txn_id, amount=whole)
            return Declined(code="cancelled", message="Cancelled at the provider.")
        case _:
            # Whatever its reason: only `payment.cancelled` undoes what was approved.
            code = "declined" if event.reason in (None, "cancelled") else event.reason
            return Declined(
                code=code,
                decline_code=event.reason,
                message="Reported as failed by the provider.",
                retryable=event.retryable,
                provider_txn_id=call.prepared_id or event.provider_txn_id,
            )
