"""What a provider does without being asked: refunds of its own, and the payers' disputes. Pure.

Limits bind our intents, never what a provider says that it did: it is booked, and a person is
called. What is about a stray is counted with the stray.
"""

from paygate_actors import events as e
from paygate_actors.draft import Draft
from paygate_actors.messages import TransactionStatus
from paygate_actors.money import Money
from paygate_actors.outcomes import Approved
from paygate_actors.providers.base import ProviderEvent
from paygate_actors.record import Call, Payment, Txn, is_own_reverse
from paygate_actors.sums import booked_as_stray, captured_ever, left_to_refund
from paygate_actors.undoing import book_stray


def refund_reported(draft: Draft, event: ProviderEvent, provider: str) -> None:
    """A refund that none of our calls asked for; it is booked even where it exceeds our limits."""
    payment = draft.payment
    status = "success" if event.event_type == "refund.succeeded" else "failed"
    known = _refund_known(payment, event, provider, status)
    if known is not None:
        if known.status != status and event.at_us > (known.fact_at_us or 0):
            _settle(draft, known.id, status, event)
            code = "refunded_by_provider" if status == "success" else "refund_failed"
            draft.attend(code, event.event_id)
        return
    # That a refund failed says nothing of what was taken before.
    find = _stray_of if status == "failed" else _stray_about
    stray = find(draft, event, provider)
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


def book_capture(draft: Draft, charge: Call, said: Approved) -> str:
    """Open the transaction of a capture that its provider made by itself; its id."""
    return draft.open_transaction(
        "capture",
        origin="provider",
        by=f"provider:{charge.provider}",
        amount_minor=said.amount.minor,
        status="success",
        provider=charge.provider,
        provider_txn_id=said.provider_txn_id,
    )


def captured_for_nobody(draft: Draft, charge: Call, said: Approved) -> None:
    """A hold that nobody waits for was captured, maybe in part: no more of it can be given back."""
    payment = draft.payment
    minor = said.amount.minor
    if said.amount.currency != payment.created.currency:
        return
    for stray in payment.txns:
        if (stray.type, stray.reason) == ("stray", charge.key) and minor < stray.amount_minor:
            draft.add(e.TransactionSettled(id=stray.id, status="success", amount_minor=minor))
    own = {txn.id for txn in payment.txns if is_own_reverse(txn) and txn.status == "success"}
    undone = any(call.state == "approved" and call.transaction_id in own for call in payment.calls)
    if undone or captured_ever(payment) or booked_as_stray(payment, charge):
        return
    if own or payment.status != "failed":
        # We took it for a hold that had lapsed: its rest may have, and a person must look.
        draft.attend("captured_by_provider", charge.key)
        return
    draft.attend("captured_by_provider", book_capture(draft, charge, said))


def _stray_about(draft: Draft, event: ProviderEvent, provider: str) -> Txn | None:
    """The stray that the event is about, whose own news may come later; None: our own charge.

    Who refunds or disputes an attempt that was declined says that it took the money after all.
    """
    known = _stray_of(draft, event, provider)
    payment = draft.payment
    charge = next(
        (call for call in reversed(payment.calls) if call.charges and call.provider == provider),
        None,
    )
    if known is not None or charge is None or charge.state != "declined":
        return known
    named = charge.prepared_id or event.parent_txn_id or charge.provider_txn_id
    if named is None or charge.declined in (None, "cancelled"):
        return None  # undone, as we know: what is told of it since is about that
    took = Money(charge.amount_minor, payment.created.currency)
    draft.approve(
        charge,
        provider_txn_id=named,
        minor=took.minor,
        currency=took.currency,
        captured=True,
    )
    book_stray(draft, charge, Approved(provider_txn_id=named, amount=took, captured=True))
    return _stray_of(draft, event, provider)


def _stray_of(draft: Draft, event: ProviderEvent, provider: str) -> Txn | None:
    payment = draft.payment
    named = (event.provider_txn_id, event.parent_txn_id)
    if provider == payment.provider and payment.provider_txn_id in named and payment.captured_minor:
        return None  # a capture too many is a stray on the charge that stands
    strays = [txn for txn in payment.txns if (txn.type, txn.provider) == ("stray", provider)]
    about = next((txn for txn in strays if txn.provider_txn_id in named), None)
    if about is None and strays and provider != payment.provider:
        return strays[-1]  # by whatever name: nothing else of the payment's is there
    return about


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


def dispute_reported(draft: Draft, event: ProviderEvent, provider: str) -> None:
    """A dispute that was opened or closed, once or again, in whatever order that is heard."""
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
    if newest_id is not None:
        _settle(draft, newest_id, "cancelled" if event.dispute_won else "success", event)
        if event.dispute_won:
            _owed(draft, newest_id, event)


def _owed(draft: Draft, dispute_id: str, event: ProviderEvent) -> None:
    """Call a person where what comes back is the payer's: all but what was disputed he has had."""
    payment = draft.payment
    dispute = payment.txn(dispute_id)
    assert dispute is not None
    given_back = [
        txn
        for txn in payment.txns
        if (txn.type, txn.status, txn.stray_id) == ("reverse", "success", dispute.stray_id)
    ]
    if given_back:
        draft.attend("disputed", event.event_id)


def _open_dispute(draft: Draft, event: ProviderEvent, provider: str) -> str | None:
    payment = draft.payment
    # It may overtake the news of the capture that it disputes.
    stray = _stray_about(draft, event, provider)
    whole = payment.captured_minor or payment.created.amount_minor
    if stray is not None:
        whole = stray.amount_minor
    taken = _taken(payment, stray)
    amount = event.amount or Money(whole - taken, payment.created.currency)
    minor = amount.minor
    if amount.currency != payment.created.currency:
        # Kept as it was said, and compared with nothing: a person is called.
        draft.attend("amount_mismatch", event.event_id)
    elif taken and minor > whole - taken:
        # Networks take a sum back once: told again, it is the same dispute, or a person's case.
        draft.attend("dispute_exceeds_captured", event.event_id)
        minor = whole - taken
        if minor <= 0:
            return None
    draft.attend("disputed", event.event_id)
    return draft.open_transaction(
        "chargeback",
        origin="provider",
        by=f"provider:{provider}",
        amount_minor=minor,
        currency=amount.currency,
        provider=provider,
        provider_txn_id=event.provider_txn_id,
        reason=event.reason,
        fact_at_us=event.at_us,
        stray_id=None if stray is None else stray.id,
    )


def _taken(payment: Payment, stray: Txn | None) -> int:
    """What disputes have taken, or may take, of the payment's own money or of the stray's."""
    stray_id = None if stray is None else stray.id
    currency = payment.created.currency
    about = [txn for txn in payment.txns if (txn.stray_id, txn.currency) == (stray_id, currency)]
    taken = [txn for txn in about if txn.type == "chargeback" and txn.status != "cancelled"]
    back = [txn for txn in about if txn.type == "chargeback_reversal" and txn.status == "success"]
    return sum(txn.amount_minor for txn in taken) - sum(txn.amount_minor for txn in back)


def _closed_again(draft: Draft, known: Txn, event: ProviderEvent, provider: str) -> None:
    if event.at_us <= (known.fact_at_us or 0):
        return
    if known.status == "cancelled" and not event.dispute_won:
        # Won once, and lost before the next court.
        _settle(draft, known.id, "success", event)
        draft.attend("disputed", event.event_id)
        return
    # The same end again, or another one: how new it is must be known, because the news that it
    # was opened before that may come last.
    _settle(draft, known.id, known.status, event)
    if known.status != "success":
        return
    back = _reversal_of(draft.payment, known)
    if event.dispute_won and back is None:
        _won_back(draft, known, event, provider)
    elif back is not None and not event.dispute_won:
        # Won back once, and lost for good: it is gone again.
        _settle(draft, back.id, "cancelled", event)
        draft.attend("disputed", event.event_id)


def _reversal_of(payment: Payment, lost: Txn) -> Txn | None:
    return next(
        (
            txn
            for txn in payment.txns
            if (txn.type, txn.reason, txn.status) == ("chargeback_reversal", lost.id, "success")
        ),
        None,
    )


def _won_back(draft: Draft, lost: Txn, event: ProviderEvent, provider: str) -> None:
    draft.open_transaction(
        "chargeback_reversal",
        origin="provider",
        by=f"provider:{provider}",
        amount_minor=lost.amount_minor,
        currency=lost.currency,
        status="success",
        provider=provider,
        provider_txn_id=event.provider_txn_id,
        reason=lost.id,
        stray_id=lost.stray_id,
    )
    _owed(draft, lost.id, event)
