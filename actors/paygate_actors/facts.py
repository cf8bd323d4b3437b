"""What arrives unasked: webhooks, the passing of time, an operator's correction. Pure.

An event binds to a call by our key first, then by the provider's id, always within the provider
that it came from. Facts merge by the table: their order does not matter, and none is refused.
"""

from typing import Final

from paygate_actors import events as e
from paygate_actors.charging import charge_said, reverse_by_system
from paygate_actors.draft import Answer, Context, Draft
from paygate_actors.following import follow_up_said
from paygate_actors.messages import Refusal, SetTransactionStatus, TransactionStatus
from paygate_actors.money import Money
from paygate_actors.outcomes import Approved, Declined, Outcome
from paygate_actors.providers.base import ProviderEvent
from paygate_actors.record import Call, Payment, Txn
from paygate_actors.sums import charge_of, left_to_refund, open_txn

CHARGE_EVENTS: Final = frozenset(
    {"payment.succeeded", "payment.authorized", "payment.failed", "payment.cancelled"}
)
REFUND_EVENTS: Final = frozenset({"refund.succeeded", "refund.failed"})
DISPUTE_EVENTS: Final = frozenset({"dispute.opened", "dispute.closed"})


def said(
    draft: Draft, call: Call, outcome: Outcome, ctx: Context, *, at_us: int | None = None
) -> None:
    """What became of a call, whichever it is."""
    if call.charges:
        charge_said(draft, call, outcome, ctx)
    else:
        follow_up_said(draft, call, outcome, ctx, at_us=at_us)


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
    elif event.event_type in REFUND_EVENTS:
        if call is not None and call.verb == "refund":
            outcome = _outcome(draft.payment, call, event)
            said(draft, call, outcome, ctx, at_us=event.at_us)
        else:
            _provider_refund(draft, event, provider)
    elif event.event_type in DISPUTE_EVENTS:
        _dispute(draft, event, provider)


def passed(draft: Draft, ctx: Context) -> None:
    """What the time alone decides: deadlines of the payer and the reviewer, and of our patience."""
    payment = draft.payment
    late = payment.expires_at_us is not None and ctx.now_us >= payment.expires_at_us
    if late and open_txn(payment, "reverse", "capture") is None:
        _expired(draft)
    # A call that nobody answers, and one that the provider keeps refusing to look at.
    unclear = [call for call in draft.payment.calls if call.in_doubt or call.state == "open"]
    if payment.attention == "in_doubt" and not unclear:
        draft.add(e.AttentionCleared())
    if draft.payment.attention is None and any(
        ctx.now_us - call.started_at_us >= ctx.in_doubt_flag_us for call in unclear
    ):
        draft.attend("in_doubt")


def _expired(draft: Draft) -> None:
    payment = draft.payment
    charge = charge_of(payment)
    reason = {"requires_action": "authentication_expired", "review": "review_expired"}.get(
        payment.status
    )
    # Once: a void that the provider refused is a person's business, not one for the next message.
    if charge is None or reason is None or any(txn.reason == reason for txn in payment.txns):
        return
    reverse_by_system(draft, charge, reason)


def correct(
    draft: Draft, command: SetTransactionStatus, fresh: Outcome | None, ctx: Context
) -> Answer:
    """An operator's correction, held against the provider's fresh answer (None: not asked)."""
    txn = draft.payment.txn(command.transaction_id)
    if txn is None:
        return Answer(refusal=Refusal(code="transaction_not_found", detail="No such transaction."))
    if txn.status != "pending":
        return Answer(refusal=_final(txn.status))
    call = call_to_ask(draft.payment, txn)
    if fresh is not None and call is not None:
        said(draft, call, fresh, ctx)
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
    return Answer(transaction_id=txn.id)


def call_to_ask(payment: Payment, txn: Txn) -> Call | None:
    """The newest call made for the transaction."""
    return next((call for call in reversed(payment.calls) if call.transaction_id == txn.id), None)


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
    return next(
        (
            other
            for other in payment.calls
            if other.unresolved
            and other.verb == verb
            and (other.provider, other.target) == (call.provider, call.provider_txn_id)
        ),
        call,
    )


def _outcome(payment: Payment, call: Call, event: ProviderEvent) -> Outcome:
    amount = event.amount or Money(call.amount_minor, payment.created.currency)
    match event.event_type:
        case "payment.succeeded" | "payment.authorized" | "refund.succeeded":
            return Approved(
                provider_txn_id=event.provider_txn_id,
                amount=amount,
                captured=event.event_type == "payment.succeeded",
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
                provider_txn_id=event.provider_txn_id,
            )


def _provider_refund(draft: Draft, event: ProviderEvent, provider: str) -> None:
    payment = draft.payment
    status = "success" if event.event_type == "refund.succeeded" else "failed"
    known = _refund_known(payment, event, provider, status)
    if known is not None:
        if known.status != status and event.at_us > (known.fact_at_us or 0):
            _settle(draft, known.id, status, event)
            draft.attend("refunded_by_provider" if status == "success" else "refund_failed")
        return
    stray = _stray_of(payment, event, provider)
    # One that does not say how much may have been all that was left.
    whole = left_to_refund(payment) if stray is None else stray.amount_minor
    left = Money(whole, payment.created.currency)
    amount = event.amount or left
    if status == "failed":
        pass  # kept, so that an older success that comes later is known to be over
    elif event.amount is None:
        draft.attend("refund_without_amount", event.event_id)
    elif amount.currency != payment.created.currency:
        draft.attend("amount_mismatch", event.event_id)
    elif amount.minor > left.minor:
        draft.attend("refund_exceeds_captured", event.event_id)
    else:
        draft.attend("refunded_by_provider", event.event_id)
    refund_id = draft.open_transaction(
        "refund",
        origin="provider",
        by=f"provider:{provider}",
        amount_minor=amount.minor,
        currency=amount.currency,
        provider=provider,
        provider_txn_id=event.provider_txn_id,
        reason=event.reason,
        stray_id=None if stray is None else stray.id,
    )
    _settle(draft, refund_id, status, event)


def _stray_of(payment: Payment, event: ProviderEvent, provider: str) -> Txn | None:
    named = (event.provider_txn_id, event.parent_txn_id)
    if provider == payment.provider and payment.provider_txn_id in named and payment.captured_minor:
        return None  # a capture too many is a stray on the charge that stands
    return next(
        (
            txn
            for txn in payment.txns
            if txn.type == "stray" and txn.provider == provider and txn.provider_txn_id in named
        ),
        None,
    )


def _refund_known(
    payment: Payment, event: ProviderEvent, provider: str, status: TransactionStatus
) -> Txn | None:
    place = (provider, event.provider_txn_id)
    found = [
        txn
        for txn in payment.txns
        if txn.type == "refund" and (txn.provider, txn.provider_txn_id) == place
    ]
    if any(
        call.charges and (call.provider, call.provider_txn_id) == place for call in payment.calls
    ):
        # The event names the charge, which may be refunded in several parts: a part is told by
        # its sum and the provider's own time of it, and a later word on it by the sum alone.
        found = [
            txn
            for txn in found
            if (event.amount is None or event.amount.minor == txn.amount_minor)
            and (txn.status != status or txn.fact_at_us == event.at_us)
        ]
    return found[0] if found else None


def _settle(
    draft: Draft, transaction_id: str, status: TransactionStatus, event: ProviderEvent
) -> None:
    # With the provider's own time of it, so that an older report cannot undo a newer one.
    draft.add(e.TransactionSettled(id=transaction_id, status=status, fact_at_us=event.at_us))


def _dispute(draft: Draft, event: ProviderEvent, provider: str) -> None:
    known = [
        txn
        for txn in draft.payment.txns
        if txn.type == "chargeback"
        and (txn.provider, txn.provider_txn_id) == (provider, event.provider_txn_id)
    ]
    newest = known[-1] if known else None
    if event.event_type == "dispute.opened":
        older = newest is not None and event.at_us <= (newest.fact_at_us or 0)
        if newest is None or (newest.status != "pending" and not older):
            _open_dispute(draft, event, provider)
        return
    if event.dispute_won is None:
        draft.attend("dispute_closed_unclear", event.event_id)
        return
    if newest is None:
        newest_id = _open_dispute(draft, event, provider)
    elif newest.status == "pending":
        if event.at_us < (newest.fact_at_us or 0):
            return  # the end of an earlier dispute about the same charge
        newest_id = newest.id
    else:
        _closed_again(draft, newest, event, provider)
        return
    _settle(draft, newest_id, "cancelled" if event.dispute_won else "success", event)


def _open_dispute(draft: Draft, event: ProviderEvent, provider: str) -> str:
    payment = draft.payment
    # It may overtake the news of the capture that it disputes.
    stray = _stray_of(payment, event, provider)
    whole = payment.captured_minor or payment.created.amount_minor
    if stray is not None:
        whole = stray.amount_minor
    minor = event.amount.minor if event.amount is not None else whole
    if event.amount is not None and event.amount.currency != payment.created.currency:
        draft.attend("amount_mismatch", event.event_id)
    draft.attend("disputed")
    return draft.open_transaction(
        "chargeback",
        origin="provider",
        by=f"provider:{provider}",
        amount_minor=minor,
        provider=provider,
        provider_txn_id=event.provider_txn_id,
        reason=event.reason,
        fact_at_us=event.at_us,
        stray_id=None if stray is None else stray.id,
    )


def _closed_again(draft: Draft, known: Txn, event: ProviderEvent, provider: str) -> None:
    if event.at_us <= (known.fact_at_us or 0):
        return
    if known.status == "cancelled" and not event.dispute_won:
        # Won once, and lost before the next court.
        _settle(draft, known.id, "success", event)
        draft.attend("disputed")
    elif known.status == "success" and event.dispute_won:
        _won_back(draft, known, event, provider)


def _won_back(draft: Draft, lost: Txn, event: ProviderEvent, provider: str) -> None:
    if any(
        txn.type == "chargeback_reversal" and txn.reason == lost.id for txn in draft.payment.txns
    ):
        return
    draft.open_transaction(
        "chargeback_reversal",
        origin="provider",
        by=f"provider:{provider}",
        amount_minor=lost.amount_minor,
        status="success",
        provider=provider,
        provider_txn_id=event.provider_txn_id,
        reason=lost.id,
        stray_id=lost.stray_id,
    )
