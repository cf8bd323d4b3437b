"""Undoing a charge: the reverse that says why, and the void or refund that is to do it. Pure."""

from paygate_actors.draft import Draft
from paygate_actors.outcomes import Approved
from paygate_actors.record import Call, Payment, Txn
from paygate_actors.sums import open_txn


def void_charge(draft: Draft, reverse: Txn, charge: Call) -> None:
    """Intend to undo the charge at its provider, for the sake of this reverse."""
    assert charge.provider_txn_id is not None, "only what the provider named can be voided"
    draft.start_call(
        reverse.id,
        "void",
        provider=charge.provider,
        amount_minor=undoable_minor(draft.payment, charge),
        target=charge.provider_txn_id,
    )


def undoable_minor(payment: Payment, charge: Call) -> int:
    """What a void of this charge gives back: what was captured, else what is held or asked for."""
    if (charge.provider, charge.provider_txn_id) == (payment.provider, payment.provider_txn_id):
        known = payment.captured_minor or payment.authorized_minor
        return known or charge.amount_minor
    return charge.amount_minor if charge.confirmed_minor is None else charge.confirmed_minor


def reverse_by_system(draft: Draft, charge: Call, reason: str) -> None:
    """Open a reverse of our own making, and intend the void."""
    reverse_id = draft.open_transaction(
        "reverse",
        origin="system",
        by="system",
        amount_minor=undoable_minor(draft.payment, charge),
        reason=reason,
    )
    reverse = draft.payment.txn(reverse_id)
    assert reverse is not None
    void_charge(draft, reverse, charge)


def mismatch(draft: Draft, charge_key: str) -> None:
    """The provider confirmed another amount than we asked for: undo it, and call a person."""
    draft.attend("amount_mismatch", charge_key)
    charge = draft.payment.call(charge_key)
    assert charge is not None
    if open_txn(draft.payment, "reverse") is None:
        reverse_by_system(draft, charge, "amount_mismatch")


def book_stray(draft: Draft, call: Call, said: Approved) -> None:
    """Book money that moved for an attempt that was given up, and intend to give it back."""
    charged = said.provider_txn_id if call.charges else call.target
    stray_id = draft.open_transaction(
        "stray",
        origin="provider",
        by=f"provider:{call.provider}",
        amount_minor=said.amount.minor,
        status="success",
        provider=call.provider,
        provider_txn_id=charged,
        reason=call.key,
    )
    draft.attend("stray_charge", stray_id)
    reverse_id = draft.open_transaction(
        "reverse",
        origin="system",
        by="system",
        amount_minor=said.amount.minor,
        reason=f"stray {stray_id}",
        stray_id=stray_id,
    )
    # A capture too many on a charge that stands is given back by itself, not with the charge.
    stands = not call.charges and draft.payment.status == "success"
    draft.start_call(
        reverse_id,
        "refund" if stands else "void",
        provider=call.provider,
        amount_minor=said.amount.minor,
        target=charged,
    )
