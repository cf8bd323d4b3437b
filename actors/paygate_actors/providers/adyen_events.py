"""Adyen's notifications as the gateway's events: every item of one, in its order.

What decides is read from the fields that are signed; the reason's text, which is not, only words a
decline. Of the forty event codes those are read that say what became of money; the others keep
their own name and move nothing.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from paygate_actors.money import Money
from paygate_actors.providers.adyen_amounts import NotRepresentable, from_adyen
from paygate_actors.providers.adyen_codes import decline_of
from paygate_actors.providers.adyen_reference import Reference, read_reference
from paygate_actors.providers.adyen_wire import Payment
from paygate_actors.providers.base import (
    EVENTS_A_BODY_MAX,
    AnotherAccount,
    BodyInvalid,
    ProviderEvent,
)

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_Id = Annotated[str, Meta(min_length=1, max_length=255)]


class _Wire(Struct, frozen=True, kw_only=True, rename="camel"):
    pass


class _Amount(Struct, frozen=True, kw_only=True):
    value: int
    currency: str


class _Item(_Wire, frozen=True, kw_only=True):
    psp_reference: _Id
    original_reference: Annotated[str, Meta(max_length=255)] | None = None
    merchant_account_code: str
    merchant_reference: Annotated[str, Meta(max_length=255)] = ""
    amount: _Amount
    event_code: str
    event_date: Annotated[datetime, Meta(tz=True)]
    success: str
    reason: str | None = None


class _Wrapper(Struct, frozen=True, rename={"item": "NotificationRequestItem"}):
    item: _Item


class _Notification(_Wire, frozen=True, kw_only=True):
    live: str
    notification_items: tuple[_Wrapper, ...]


class _Known(Struct, frozen=True):
    """An item with what was found out about it."""

    item: _Item
    ours: Reference
    done: bool

    @property
    def id(self) -> str:
        """Of this item."""
        return _event_id(self.item.psp_reference, self.item.event_code, done=self.done)

    @property
    def charge_id(self) -> str:
        """The payment's id: its own item's, or the one that a modification goes back to."""
        return self.item.original_reference or self.item.psp_reference


_decode = msgspec.json.Decoder(_Notification).decode


def read_events(body: bytes, *, live: bool, account: str) -> tuple[ProviderEvent, ...]:
    """Read a verified notification of this account.

    Raises `BodyInvalid`, and `AnotherAccount` where any of its items is another one's.
    """
    try:
        said = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        # The name alone: the text of a decoding error may quote what came.
        raise BodyInvalid(f"the notification cannot be read: {type(error).__name__}") from error
    if said.live != ("true" if live else "false"):
        raise BodyInvalid("the notification is of the other mode (live or test)")
    items = [each.item for each in said.notification_items]
    if any(item.merchant_account_code != account for item in items):
        raise AnotherAccount("the notification is about another merchant account")
    events = [event for item in items for event in _read(item)]
    if len(events) > EVENTS_A_BODY_MAX:
        raise BodyInvalid("the notification holds too many items")
    return tuple(events)


def events_of_payment(payment: Payment, *, at_us: int) -> tuple[ProviderEvent, ...]:
    """What the answer to a payment's details tells, as its webhook will tell it once more."""
    authorised = payment.result_code in ("Authorised", "PartiallyAuthorised")
    refused = payment.result_code in ("Refused", "Error", "Cancelled")
    if payment.psp_reference is None or payment.merchant_reference is None:
        return ()
    if not refused and (not authorised or payment.amount is None):
        return ()
    ours = read_reference(payment.merchant_reference)
    why = decline_of(payment.refusal_reason_code, payment.refusal_reason)
    held = "payment.authorized" if ours.purpose == "hold" else "payment.succeeded"
    try:
        said = payment.amount
        amount = None if said is None else from_adyen(said.value, said.currency)
    except NotRepresentable:
        return ()
    return (
        ProviderEvent(
            event_id=_event_id(payment.psp_reference, "AUTHORISATION", done=authorised),
            event_type=held if authorised else "payment.failed",
            provider_txn_id=payment.psp_reference,
            reference=ours.key,
            amount=amount,
            reason=why.code if refused else None,
            retryable=refused and why.retryable,
            at_us=at_us,
        ),
    )


def _read(item: _Item) -> tuple[ProviderEvent, ...]:
    known = _Known(item, read_reference(item.merchant_reference), item.success == "true")
    reader = _READERS.get(item.event_code)
    if reader is None:
        return (_other(known),)
    try:
        return reader(known)
    except NotRepresentable as error:
        raise BodyInvalid("the notification names an amount that is none") from error


def _authorisation(known: _Known) -> tuple[ProviderEvent, ...]:
    if not known.done:
        why = decline_of(None, _text_of(known.item.reason))
        failed = _about_charge(known, "payment.failed", reason=why.code, retryable=why.retryable)
        return (failed,)
    held = known.ours.purpose == "hold"
    return (_about_charge(known, "payment.authorized" if held else "payment.succeeded"),)


def _capture(known: _Known) -> tuple[ProviderEvent, ...]:
    if known.done:
        return (_about_charge(known, "payment.succeeded"),)
    return _modification_failed(known, "capture", "capture_failed")


def _capture_failed(known: _Known) -> tuple[ProviderEvent, ...]:
    # The scheme rejected it, days after it was reported done. If we never heard of that, our
    # capture ends here; in any case there is no money, which is told of the charge by its id.
    undone = ProviderEvent(
        event_id=f"{known.id}/undone",
        event_type="payment.cancelled",
        provider_txn_id=known.charge_id,
        amount=_amount(known),
        reason="capture_failed",
        at_us=_at_us(known),
    )
    return (*_modification_failed(known, "capture", "capture_failed", or_other=False), undone)


def _cancellation(known: _Known) -> tuple[ProviderEvent, ...]:
    if known.done:
        return (_about_charge(known, "payment.cancelled"),)
    if known.item.event_code == "TECHNICAL_CANCEL" and known.ours.key:
        # By the payment's reference, where it had no other name: it never says which void it was.
        return (_about_charge(known, "void.failed", reason="already_settled"),)
    # What was not captured can always be cancelled, so it was.
    return _modification_failed(known, "void", "already_settled")


def _refund(known: _Known) -> tuple[ProviderEvent, ...]:
    return (_about_refund(known, "refund.succeeded" if known.done else "refund.failed"),)


def _refund_failed(known: _Known) -> tuple[ProviderEvent, ...]:
    # `success` says that this event is true, not that the refund was.
    return (_about_refund(known, "refund.failed"),) if known.done else (_other(known),)


def _expired(known: _Known) -> tuple[ProviderEvent, ...]:
    return (_about_charge(known, "payment.expired", reason="authorization_expired"),)


def _offer_closed(known: _Known) -> tuple[ProviderEvent, ...]:
    return (_about_charge(known, "payment.failed", reason="payment_expired"),)


def _dispute(event_type: str, *, won: bool | None = None) -> "_Reader":
    def read(known: _Known) -> tuple[ProviderEvent, ...]:
        if not known.done:
            return (_other(known),)
        return (
            ProviderEvent(
                event_id=known.id,
                event_type=event_type,
                provider_txn_id=known.item.psp_reference,
                reference=known.ours.key or None,
                parent_txn_id=known.item.original_reference or None,
                amount=_amount(known),
                dispute_won=won,
                at_us=_at_us(known),
            ),
        )

    return read


def _modification_failed(
    known: _Known, purpose: str, reason: str, *, or_other: bool = True
) -> tuple[ProviderEvent, ...]:
    # By its reference it is one of ours. Somebody else's (made by hand in Adyen's Customer Area)
    # has the payment's reference, and would be taken for a failure of the payment itself.
    if known.ours.purpose != purpose:
        return (_other(known),) if or_other else ()
    return (_about_charge(known, "payment.failed", reason=reason),)


def _about_charge(
    known: _Known, event_type: str, *, reason: str | None = None, retryable: bool = False
) -> ProviderEvent:
    return ProviderEvent(
        event_id=known.id,
        event_type=event_type,
        provider_txn_id=known.charge_id,
        reference=known.ours.key or None,
        amount=_amount(known),
        reason=reason,
        retryable=retryable,
        at_us=_at_us(known),
    )


def _about_refund(known: _Known, event_type: str) -> ProviderEvent:
    failed = event_type == "refund.failed"
    return ProviderEvent(
        event_id=known.id,
        event_type=event_type,
        provider_txn_id=known.item.psp_reference,
        reference=known.ours.key or None,
        parent_txn_id=known.item.original_reference or None,
        amount=_amount(known),
        reason="refund_failed" if failed else None,
        at_us=_at_us(known),
    )


def _other(known: _Known) -> ProviderEvent:
    return ProviderEvent(
        event_id=known.id,
        event_type=known.item.event_code,
        provider_txn_id="",
        at_us=_at_us(known),
    )


def _event_id(psp_reference: str, code: str, *, done: bool) -> str:
    # Adyen repeats an event with the same three fields, and tells them apart by them.
    return f"{psp_reference}/{code}/{'true' if done else 'false'}"


def _amount(known: _Known) -> Money:
    return from_adyen(known.item.amount.value, known.item.amount.currency)


def _at_us(known: _Known) -> int:
    return (known.item.event_date - _EPOCH) // timedelta(microseconds=1)


def _text_of(reason: str | None) -> str:
    # It may come as `Refused` or as `Refused : 05 : Do not honor`.
    return (reason or "").partition(":")[0].strip()


_Reader = Callable[[_Known], tuple[ProviderEvent, ...]]

_READERS: Final[dict[str, _Reader]] = {
    "AUTHORISATION": _authorisation,
    "CAPTURE": _capture,
    "CAPTURE_FAILED": _capture_failed,
    "CANCELLATION": _cancellation,
    "CANCEL_OR_REFUND": _cancellation,
    "TECHNICAL_CANCEL": _cancellation,
    "EXPIRE": _expired,
    "OFFER_CLOSED": _offer_closed,
    "REFUND": _refund,
    "REFUND_WITH_DATA": _refund,
    "REFUND_FAILED": _refund_failed,
    "REFUNDED_REVERSED": _refund_failed,
    "NOTIFICATION_OF_CHARGEBACK": _dispute("dispute.opened"),
    "CHARGEBACK": _dispute("dispute.opened"),
    "CHARGEBACK_REVERSED": _dispute("dispute.closed", won=True),
    "PREARBITRATION_WON": _dispute("dispute.closed", won=True),
    "SCHEME_ARBITRATION_WON": _dispute("dispute.closed", won=True),
    "SECOND_CHARGEBACK": _dispute("dispute.closed", won=False),
    "PREARBITRATION_LOST": _dispute("dispute.closed", won=False),
    "SCHEME_ARBITRATION_LOST": _dispute("dispute.closed", won=False),
    "DISPUTE_DEFENSE_PERIOD_ENDED": _dispute("dispute.closed", won=False),
}
