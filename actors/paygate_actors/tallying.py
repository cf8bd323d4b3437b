"""What a payment took in and what is spoken for of it, for the store's own adding up. Pure.

The payment's rules say what may be refunded, and a store that many nodes write to holds the sum a
second time: by amounts that it adds up itself, whoever decided. Only our own refunds are bound by
that. What a provider did is a fact: where it takes more than there was, it lifts the limit as far,
and nothing of ours fits in any more.
"""

from paygate_actors.record import Payment
from paygate_actors.sums import disputed, refunds_reserved, returned
from paygate_engine.stores.base import Tally


def tally(before: Payment | None, payment: Payment) -> Tally | None:
    """By how much a decision moves the sums, in minor units; None: not at all.

    Used: refunded or being refunded, returned, disputed. Limit: captured, or what facts have taken
    beyond that.
    """
    opened = _opened(before, payment)
    limit = _limit(payment, opened=opened)
    used = _spoken_for(payment)
    if before is not None:
        limit_before, used_before = tallied(before)
        limit -= limit_before
        used -= used_before
    return Tally(stream=payment.id, limit=limit, used=used) if limit or used else None


def tallied(payment: Payment) -> tuple[int, int]:
    """Limit and used of a payment as a whole: what the moves of all its decisions add up to.

    No refund of ours that did not fit in was ever committed, so that none has lowered the limit.
    """
    return _limit(payment, opened=0), _spoken_for(payment)


def _spoken_for(payment: Payment) -> int:
    return refunds_reserved(payment) + returned(payment) + disputed(payment)


def _limit(payment: Payment, *, opened: int) -> int:
    return max(payment.captured_minor, _spoken_for(payment) - opened)


def _opened(before: Payment | None, payment: Payment) -> int:
    """What refunds of ours take that this decision opened: they alone have to fit in."""
    if before is None:
        return refunds_reserved(payment)
    new = payment.txns[len(before.txns) :]  # transactions are only ever added
    return sum(
        txn.amount_minor
        for txn in new
        if txn.type == "refund"
        and txn.origin != "provider"
        and not txn.of_stray
        and txn.status in ("pending", "success")
    )
