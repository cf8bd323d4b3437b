"""Holds that their provider captured without being asked: who did so is on record.

Such a capture is booked as its provider's, of that sum, and a person was called. Where a capture of
ours of the same sum was under way, there is nothing to tell it by.
"""

from collections.abc import Mapping
from typing import Final

from paygate_actors.record import Payment, Txn
from paygate_actors.simulation.accounts import Account
from paygate_actors.simulation.books import Charge
from paygate_actors.simulation.tracing import Violation
from paygate_actors.sums import captured_ever

# What a person is called for: that its provider captured it by itself, or that what was held, and
# taken, was another amount than ours.
_CALLED: Final = frozenset({"captured_by_provider", "amount_mismatch"})


def check_authors(payments: Mapping[str, Payment], accounts: Mapping[str, Account]) -> None:
    """What was captured by itself is on record as its provider's. Raises `Violation`."""
    for payment in payments.values():
        charge = _own_charge(payment, accounts)
        if charge is not None and _by_itself(charge):
            ours = _taken_for_ours(payment, charge)
            _check_author(payment, charge, unasked_minor=0 if ours else charge.captured_minor)


def unheard(about: Payment | Txn, charge: Charge) -> bool:
    """Whether its provider captured by itself another sum than we know of.

    `about`: the payment that stands for the charge, or the stray that is booked of it.
    """
    known_minor = about.amount_minor if isinstance(about, Txn) else captured_ever(about)
    return _by_itself(charge) and charge.captured_minor != known_minor


def _by_itself(charge: Charge) -> bool:
    return charge.unasked and charge.status == "captured"


def _own_charge(payment: Payment, accounts: Mapping[str, Account]) -> Charge | None:
    """The charge that the payment stands for; None where it is over, or has none so far."""
    account = accounts.get(payment.provider or "")
    if account is None or payment.status in ("failed", "cancelled"):
        return None
    charges = account.books.of_keys(payment.txns[0].id + "-")
    return next((each for each in charges if each.id == payment.provider_txn_id), None)


def _taken_for_ours(payment: Payment, charge: Charge) -> bool:
    """Whether a capture that was asked for is held to have taken the same sum."""
    return any(
        (txn.type, txn.status, txn.amount_minor) == ("capture", "success", charge.captured_minor)
        and txn.origin != "provider"
        for txn in payment.txns
    )


def _check_author(payment: Payment, charge: Charge, *, unasked_minor: int) -> None:
    booked_minor = sum(
        txn.amount_minor
        for txn in payment.txns
        if (txn.type, txn.origin, txn.status) == ("capture", "provider", "success")
    )
    called = {concern.code for concern in payment.concerns} & _CALLED
    if booked_minor != unasked_minor or (unasked_minor and not called):
        raise Violation(
            "whoever captured is on record",
            f"{booked_minor} by its provider, but {unasked_minor} of {charge.id},"
            f" and a person was called for {', '.join(sorted(called)) or 'nothing'}",
            subject=payment.id,
        )
