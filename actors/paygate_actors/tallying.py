"""What a payment took in and what is spoken for of it, for the store's own adding up. Pure.

The payment's rules say what may be refunded, and a store that many nodes write to holds the sum a
second time: by amounts that it adds up itself, whoever decided. Only our own refunds are bound by
that. What a provider did is a fact, and is noted even where it takes more than there was.
"""

from paygate_actors.record import Payment, Txn
from paygate_actors.sums import disputed, refunds_reserved, returned
from paygate_engine.stores.base import Tally


def tally(before: Payment | None, payment: Payment) -> Tally | None:
    """By how much a decision moves the sums; None: not at all.

    Limit: captured minor units. Used: refunded or being refunded, returned, disputed.
    """
    limit = payment.captured_minor - (0 if before is None else before.captured_minor)
    used = _spoken_for(payment) - (0 if before is None else _spoken_for(before))
    if not limit and not used:
        return None
    known = 0 if before is None else len(before.txns)  # transactions are only ever added
    bound = any(map(_is_our_refund, payment.txns[known:]))
    return Tally(stream=payment.id, limit=limit, used=used, bound=bound)


def _spoken_for(payment: Payment) -> int:
    return refunds_reserved(payment) + returned(payment) + disputed(payment)


def _is_our_refund(txn: Txn) -> bool:
    return txn.type == "refund" and txn.origin != "provider" and not txn.of_stray
