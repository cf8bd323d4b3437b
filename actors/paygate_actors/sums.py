"""What follows from a payment's transactions and calls: sums, and what is still open. Pure."""

from paygate_actors.record import UNRESOLVED, Call, Payment, Txn, is_release


def refunded(payment: Payment, *, about: str | None = None) -> int:
    """Minor units refunded for certain: of the payment's own money, or of the stray's."""
    return _sum(payment, "refund", ("success",), about=about)


def refunds_reserved(payment: Payment) -> int:
    """Minor units refunded, or being refunded."""
    return _sum(payment, "refund", ("success", "pending"))


def returned(payment: Payment) -> int:
    """Minor units that the payer's bank took back outside a dispute."""
    return _sum(payment, "return", ("success",))


def disputed(payment: Payment, *, about: str | None = None) -> int:
    """Minor units under an open or lost dispute, less what came back."""
    taken = _sum(payment, "chargeback", ("success", "pending"), about=about)
    return taken - _sum(payment, "chargeback_reversal", ("success",), about=about)


def captured_ever(payment: Payment) -> int:
    """What was captured of the payment's own money, also where it is over; 0: none that we know.

    The sums of a payment that is cancelled or failed say no more of it; its transactions do.
    """
    if payment.captured_minor:
        return payment.captured_minor
    captures = [
        txn.amount_minor for txn in payment.txns if (txn.type, txn.status) == ("capture", "success")
    ]
    return captures[-1] if captures else 0


def given_away_since(payment: Payment, done: Txn) -> bool:
    """Whether what this refund or reverse gives back has gone back while it was held as failed."""
    if done.type == "refund":
        return refunds_reserved(payment) > payment.captured_minor
    return any(
        (txn.type, txn.status, txn.stray_id) == ("reverse", "success", done.stray_id)
        for txn in payment.txns
        if txn.id != done.id
    )


def left_to_refund(payment: Payment) -> int:
    """Captured - refunds pending and successful - returned - disputed; never below zero.

    Nothing is left beside a dispute in another currency: nobody here can tell how much it takes.
    """
    if _disputed_elsewise(payment):
        return 0
    left = (
        payment.captured_minor - refunds_reserved(payment) - returned(payment) - disputed(payment)
    )
    return max(0, left)


def left_of_stray(payment: Payment, stray: Txn) -> int:
    """What the stray took - what was refunded of it - disputed; never below zero."""
    taken = disputed(payment, about=stray.id)
    return max(0, stray.amount_minor - refunded(payment, about=stray.id) - taken)


def took_otherwise(payment: Payment) -> bool:
    """Whether another amount or currency than ours was taken: that is never a success.

    Of a stray it says nothing: that is no business of the payment's own money.
    """
    return any(
        call.differs
        and (call.charges or call.verb == "capture")
        and not booked_as_stray(payment, call)
        for call in payment.calls
    )


def booked_as_stray(payment: Payment, call: Call) -> bool:
    """Whether what the call took is a stray, which is given back by a reverse of its own."""
    return any((txn.type, txn.reason) == ("stray", call.key) for txn in payment.txns)


def _disputed_elsewise(payment: Payment) -> bool:
    foreign = [
        txn
        for txn in payment.txns[1:]
        if not txn.of_stray and txn.currency != payment.created.currency
    ]
    taken = sum(txn.type == "chargeback" and txn.status != "cancelled" for txn in foreign)
    back = sum((txn.type, txn.status) == ("chargeback_reversal", "success") for txn in foreign)
    return taken > back


def open_txn(payment: Payment, *types: str) -> Txn | None:
    """The first transaction of these types that is still pending; giving back a stray is none."""
    for txn in payment.txns[1:]:
        if txn.status == "pending" and txn.type in types and not txn.of_stray:
            return txn
    return None


def unresolved(payment: Payment) -> tuple[Call, ...]:
    """Every call on which the provider has not said its last word."""
    return tuple([call for call in payment.calls if call.state in UNRESOLVED])


def unclear(payment: Payment) -> tuple[Call, ...]:
    """Every call whose outcome is not known, or that nobody has answered at all."""
    return tuple(call for call in payment.calls if call.in_doubt or call.state == "open")


def asserted(payment: Payment, call: Call) -> bool:
    """Whether an operator has said what became of the call's transaction; truth still counts."""
    txn = payment.txn(call.transaction_id)
    return txn is not None and txn.asserted is not None


def release_of(payment: Payment, charge: Call) -> Call | None:
    """The void by which the charge's unconfirmed object is given up at its provider."""
    place = (charge.provider, charge.prepared_id)
    return next(
        (
            call
            for call in payment.calls
            if is_release(payment, call) and (call.provider, call.target) == place
        ),
        None,
    )


def charge_of(payment: Payment) -> Call | None:
    """The newest attempt at the money."""
    for call in reversed(payment.calls):
        if call.charges:
            return call
    return None


def in_doubt(payment: Payment) -> bool:
    """Whether the outcome of any call is not known."""
    return any(call.in_doubt for call in payment.calls)


def expected_by_us(payment: Payment) -> int | None:
    """When the provider said that it would be done, while it is not."""
    for call in payment.calls:
        if call.state == "pending":
            return call.expected_by_us
    return None


def _sum(
    payment: Payment,
    type: str,  # noqa: A002
    statuses: tuple[str, ...],
    *,
    about: str | None = None,
) -> int:
    others = payment.txns[1:]
    if not others:
        return 0  # nearly every payment, nearly always: it has its own transaction alone
    # What a provider reports in another currency is booked as such, and adds to nothing.
    currency = payment.created.currency
    return sum(
        txn.amount_minor
        for txn in others
        if txn.type == type
        and txn.status in statuses
        and txn.currency == currency
        and txn.stray_id == about
    )
