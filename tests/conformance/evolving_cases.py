"""What tests of the fold share: one payment's events, and what each is expected to leave."""

from typing import Final

from msgspec.structs import replace

from paygate_actors import events as e
from paygate_actors.evolving import evolve
from paygate_actors.messages import Failure, MethodView
from paygate_actors.record import Call, Payment, Txn

ID: Final = "pay_1"
TXN: Final = "txn_1"
KEY: Final = "txn_1-1"
PRICE: Final = 10_000
NOW_US: Final = 99
BROKE: Final = Failure(code="card_declined", message="The card was declined.")

CREATED: Final = e.PaymentCreated(
    merchant="m_1",
    by="key_m",
    transaction_id=TXN,
    amount_minor=PRICE,
    currency="USD",
    capture_method="automatic",
    method=MethodView(kind="card"),
    livemode=False,
)


def started(
    verb: e.Verb = "charge",
    *,
    key: str = KEY,
    txn: str = TXN,
    provider: str = "a",
    minor: int = PRICE,
    target: str | None = None,
) -> e.CallStarted:
    return e.CallStarted(
        key=key,
        transaction_id=txn,
        verb=verb,
        provider=provider,
        amount_minor=minor,
        target=target,
    )


def approved(
    minor: int = PRICE, *, key: str = KEY, currency: str = "USD", captured: bool = True
) -> e.CallApproved:
    return e.CallApproved(
        key=key, provider_txn_id="ch_1", amount_minor=minor, currency=currency, captured=captured
    )


def opened(id: str = "txn_2", type: str = "refund", minor: int = 400) -> e.TransactionOpened:  # noqa: A002
    return e.TransactionOpened(
        id=id,
        type=type,  # pyright: ignore[reportArgumentType]  # the union's words
        origin="merchant",
        amount_minor=minor,
        currency="USD",
        by="key_m",
    )


def fold(*recorded: e.PaymentEvent) -> Payment:
    """The payment after these events, the first at microsecond 1, the next at 2, and so on."""
    payment = None
    for at_us, event in enumerate(recorded, 1):
        payment = evolve(payment, event, id=ID, at_us=at_us)
    assert payment is not None
    return payment


def then(payment: Payment, event: e.PaymentEvent) -> Payment:
    return evolve(payment, event, id=ID, at_us=NOW_US)


def changed(payment: Payment, **changes: object) -> Payment:
    """What is expected: these fields, the event's time and number, and all else as it was."""
    return replace(payment, updated_at_us=NOW_US, seq=payment.seq + 1, **changes)


def with_call(payment: Payment, at: int = 0, **changes: object) -> tuple[Call, ...]:
    calls = list(payment.calls)
    calls[at] = replace(calls[at], **changes)
    return tuple(calls)


def with_txn(payment: Payment, at: int = 0, **changes: object) -> tuple[Txn, ...]:
    txns = list(payment.txns)
    txns[at] = replace(txns[at], updated_at_us=NOW_US, **changes)
    return tuple(txns)
