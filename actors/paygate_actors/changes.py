"""A payment with one of its calls or transactions changed. Pure."""

import msgspec

from paygate_actors.record import Call, Payment


def call_of(payment: Payment, key: str) -> Call:
    """The call with this key, which its events cannot be without. Raises `TypeError`."""
    call = payment.call(key)
    if call is None:
        raise TypeError(f"{payment.id} has no call {key}")
    return call


def with_call(payment: Payment, key: str, **changes: object) -> Payment:
    """The payment with these fields of the call changed."""
    calls = tuple(
        msgspec.structs.replace(call, **changes) if call.key == key else call
        for call in payment.calls
    )
    return msgspec.structs.replace(payment, calls=calls)


def with_txn(payment: Payment, transaction_id: str, at_us: int, **changes: object) -> Payment:
    """The payment with these fields of the transaction changed, at this time."""
    txns = tuple(
        msgspec.structs.replace(txn, updated_at_us=at_us, **changes)
        if txn.id == transaction_id
        else txn
        for txn in payment.txns
    )
    return msgspec.structs.replace(payment, txns=txns)
