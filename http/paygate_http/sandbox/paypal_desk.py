"""What PayPal's calls do: orders are made, paid for and changed; payments are followed up.

The teller and the settlement do it, as for every other account; here stands what PayPal asks for
first. A `PayPalTrouble` is a no; nothing has moved then.
"""

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from paygate_engine.clock import Clock
from paygate_engine.ids import Ids
from paygate_http.sandbox import refusals
from paygate_http.sandbox.answers import STORED_500
from paygate_http.sandbox.books import Books
from paygate_http.sandbox.cards import Approve, Confirm, Decline, Verdict
from paygate_http.sandbox.faults import Strike
from paygate_http.sandbox.paypal_books import paypal_id
from paygate_http.sandbox.paypal_cards import Judged, Source, judge
from paygate_http.sandbox.paypal_errors import BROKEN, UNPROCESSABLE, PayPalTrouble
from paygate_http.sandbox.paypal_money import AmountRefused, minor_of
from paygate_http.sandbox.paypal_records import Intent, Order, RefundNote, Shown
from paygate_http.sandbox.records import Charge, Operation
from paygate_http.sandbox.teller import Refused, Request, Sale, Teller
from paygate_http.sandbox.wire import FollowUpBody, ProviderId

# From when it was made, a payer has this long, and so has everybody else.
ORDER_LIFE_US: Final = 3 * 3_600 * 1_000_000

_NOT_FOUND: Final = 404
_CONFLICT: Final = 409
_FULL: Final = 503
_PATHS: Final = {
    "/intent": "intent",
    "/purchase_units/@reference_id=='default'/custom_id": "custom_id",
    "/purchase_units/@reference_id=='default'/invoice_id": "invoice_id",
    "/purchase_units/@reference_id=='default'/description": "description",
}

_Text = Annotated[str, Meta(min_length=1, max_length=127)]


class AmountBody(Struct, frozen=True):
    """An amount as requests name it."""

    currency_code: Annotated[str, Meta(pattern="^[A-Z]{3}$")]
    value: Annotated[str, Meta(min_length=1, max_length=32)]


class UnitBody(Struct, frozen=True, kw_only=True):
    """What an order is for."""

    amount: AmountBody
    custom_id: _Text | None = None
    invoice_id: _Text | None = None
    description: _Text | None = None


class OrderBody(Struct, frozen=True, kw_only=True):
    """A new order."""

    intent: Intent
    purchase_units: Annotated[tuple[UnitBody, ...], Meta(min_length=1, max_length=1)]
    payment_source: Source | None = None


class PaymentBody(Struct, frozen=True):
    """What pays for an order; nothing where its payer approved it."""

    payment_source: Any = None


class PatchBody(Struct, frozen=True):
    """One change of an order."""

    op: Literal["add", "replace", "remove"]
    path: str
    value: _Text | None = None


class FollowBody(Struct, frozen=True, kw_only=True):
    """A capture or a refund; without an amount all of it is meant."""

    amount: AmountBody | None = None
    custom_id: _Text | None = None
    invoice_id: _Text | None = None
    final_capture: bool = False


class PayPalDesk:
    """One account's desk. Nothing here waits: a decision and its effect are one step."""

    def __init__(
        self,
        *,
        provider: ProviderId,
        books: Books,
        teller: Teller,
        clock: Clock,
        ids: Ids,
        url: str,
    ) -> None:
        self._provider: ProviderId = provider
        self._books = books
        self._records = books.paypal
        self._teller = teller
        self._clock = clock
        self._ids = ids
        self._url = url

    def create(self, body: OrderBody) -> Order:
        """Make an order that nobody has paid for."""
        unit = body.purchase_units[0]
        wallet = body.payment_source.paypal if body.payment_source is not None else None
        seed = self._ids.new("order")
        order = Order(
            id=paypal_id(seed),
            intent=body.intent,
            # A wallet that is named sends its payer away; without one it waits for what pays.
            state="CREATED" if wallet is None else "PAYER_ACTION_REQUIRED",
            amount_minor=_checked(unit.amount),
            currency=unit.amount.currency_code,
            custom_id=unit.custom_id,
            invoice_id=unit.invoice_id,
            description=unit.description,
            created_at_us=self._clock.now_us(),
            payment_id=paypal_id(f"{seed}/payment"),
            source=Shown(kind="paypal") if wallet is not None else None,
            return_url=wallet.experience_context.return_url if wallet is not None else None,
        )
        self._records.keep(order)
        return order

    def change(self, order: Order, changes: tuple[PatchBody, ...]) -> None:
        """Change an order that nobody has paid for."""
        if self.charge(order) is not None:
            raise PayPalTrouble(UNPROCESSABLE, "ORDER_ALREADY_COMPLETED")
        for each in changes:
            field = _PATHS.get(each.path)
            if field is None or (field == "intent") != (each.value in ("CAPTURE", "AUTHORIZE")):
                raise PayPalTrouble(UNPROCESSABLE, "NOT_PATCHABLE", field=each.path)
        for each in changes:
            setattr(order, _PATHS[each.path], each.value)
            if each.path == "/intent":
                # What a payer was asked, or said, was about something else.
                order.state, order.source = "CREATED", None
        self._records.keep(order)

    def pay(
        self,
        order: Order,
        intent: Intent,
        source: Source | None,
        request: Request,
        strike: Strike | None,
    ) -> Operation:
        """Take or hold the money of an order."""
        if self.charge(order) is not None:
            done = "ORDER_ALREADY_CAPTURED" if intent == "CAPTURE" else "ORDER_ALREADY_AUTHORIZED"
            raise PayPalTrouble(UNPROCESSABLE, done)
        if order.intent != intent:
            raise PayPalTrouble(UNPROCESSABLE, "ACTION_DOES_NOT_MATCH_INTENT")
        if self._clock.now_us() - order.created_at_us >= ORDER_LIFE_US:
            raise PayPalTrouble(UNPROCESSABLE, "ORDER_EXPIRED")
        if order.invoice_id is not None and self._records.is_paid(order.invoice_id):
            raise PayPalTrouble(UNPROCESSABLE, "DUPLICATE_INVOICE_ID")
        judged = self._judged(order, source)
        order.source = judged.shown
        self._records.keep(order)
        done = self._teller.sell(
            request,
            Sale(
                amount_minor=order.amount_minor,
                currency=order.currency,
                capture=intent == "CAPTURE",
                verdict=judged.verdict,
                reference=order.custom_id,
                txn_id=order.id,
                named=judged.named,
            ),
            strike,
        )
        operation = _done(done)
        order.paid = operation.status != "failed"
        self._records.keep(order)
        return operation

    def capture(
        self, order: Order, body: FollowBody, request: Request, strike: Strike | None
    ) -> Operation:
        """Take what is held, in whole or in part."""
        charge = self._held(order)
        minor = charge.amount_minor if body.amount is None else _checked(body.amount)
        if body.amount is not None and body.amount.currency_code != order.currency:
            raise PayPalTrouble(UNPROCESSABLE, "AUTH_CAPTURE_CURRENCY_MISMATCH")
        if minor > charge.amount_minor:
            raise PayPalTrouble(UNPROCESSABLE, "MAX_CAPTURE_AMOUNT_EXCEEDED")
        if body.invoice_id is not None and self._records.is_paid(body.invoice_id):
            raise PayPalTrouble(UNPROCESSABLE, "DUPLICATE_INVOICE_ID")
        order.capture_id = paypal_id(f"{order.id}/capture")
        order.capture_key = request.key
        order.capture_invoice = body.invoice_id or order.invoice_id
        self._records.keep(order)
        try:
            return self._follow(order, request, strike, minor, reference=body.invoice_id)
        except PayPalTrouble:
            self._records.take_back_capture(order)
            raise

    def void(self, order: Order, request: Request, strike: Strike | None) -> Operation:
        """Give a hold free."""
        charge = self.charge(order)
        if charge is not None and charge.status == "cancelled":
            raise PayPalTrouble(UNPROCESSABLE, "PREVIOUSLY_VOIDED")
        if charge is not None and charge.status == "captured":
            raise PayPalTrouble(UNPROCESSABLE, "PREVIOUSLY_CAPTURED")
        charge = self._held(order)
        done = self._follow(order, request, strike, charge.amount_minor, reference=None)
        if done.status == "failed":
            raise PayPalTrouble(UNPROCESSABLE, "TRANSACTION_REFUSED")
        return done

    def refund(
        self, order: Order, body: FollowBody, request: Request, strike: Strike | None
    ) -> RefundNote:
        """Give back a part or all of what was captured."""
        charge = self.charge(order)
        assert charge is not None, "a capture has a charge"
        minor = charge.left_minor if body.amount is None else _checked(body.amount)
        if body.amount is not None and body.amount.currency_code != order.currency:
            raise PayPalTrouble(UNPROCESSABLE, "REFUND_CAPTURE_CURRENCY_MISMATCH")
        self._check_refund(charge, minor)
        note = RefundNote(
            id=paypal_id(self._ids.new("refund")),
            order_id=order.id,
            key=request.key,
            custom_id=body.custom_id,
            invoice_id=body.invoice_id,
            amount_minor=minor,
            created_at_us=self._clock.now_us(),
        )
        self._records.keep(note)
        named = msgspec.structs.replace(request, refund_id=note.id)
        try:
            self._follow(order, named, strike, minor, reference=body.custom_id or body.invoice_id)
        except PayPalTrouble:
            self._records.drop(note)
            raise
        return note

    def order(self, id_: str) -> Order:
        """Give the order of that id. Raises `PayPalTrouble`."""
        return self._known(self._records.orders.get(id_))

    def order_of(self, payment_id: str, kind: Literal["hold", "capture"]) -> Order:
        """Give the order of a hold or a capture. Raises `PayPalTrouble`."""
        order = self._known(self._records.order_of(payment_id))
        is_hold = order.intent == "AUTHORIZE" and payment_id == order.payment_id
        if is_hold != (kind == "hold") or self.charge(order) is None:
            raise _missing()
        return order

    def charge(self, order: Order) -> Charge | None:
        """Give the order's charge in the books; None until it is paid for."""
        return self._books.charges.get(order.id)

    def _judged(self, order: Order, source: Source | None) -> Judged:
        if order.state == "APPROVED" and source is None:
            assert order.source is not None, "a payer approved what pays"
            proof = "challenge" if order.source.kind == "card" else None
            return Judged(verdict=Approve(authentication=proof), shown=order.source)
        if source is None:
            issue = "ORDER_NOT_APPROVED" if order.source is None else "PAYER_ACTION_REQUIRED"
            raise self._payer_wanted(order, issue)
        judged = judge(source, provider=self._provider)
        verdict: Verdict = judged.verdict
        if isinstance(verdict, Confirm):
            if order.failed:
                return msgspec.structs.replace(judged, verdict=Decline("authentication_failed"))
            if source.return_url is None:
                raise PayPalTrouble(UNPROCESSABLE, "RETURN_URL_REQUIRED")
            if order.state == "CREATED":
                order.state = "PAYER_ACTION_REQUIRED"
                order.source = judged.shown
                order.return_url = source.return_url
                self._records.keep(order)
            raise self._payer_wanted(order, "PAYER_ACTION_REQUIRED")
        return judged

    def _payer_wanted(self, order: Order, issue: str) -> PayPalTrouble:
        href = f"{self._url}/actions/{order.id}"
        link = {"href": href, "rel": "payer-action", "method": "GET"}
        return PayPalTrouble(UNPROCESSABLE, issue, links=(link,) if order.source else ())

    def _held(self, order: Order) -> Charge:
        charge = self.charge(order)
        status = charge.status if charge is not None else "failed"
        if charge is not None and status == "authorized" and charge.busy_key is None:
            return charge
        if status in ("pending", "authorized"):
            raise PayPalTrouble(_CONFLICT, "PREVIOUS_REQUEST_IN_PROGRESS")
        issues = {
            "captured": "AUTHORIZATION_ALREADY_CAPTURED",
            "cancelled": "AUTHORIZATION_VOIDED",
        }
        raise PayPalTrouble(UNPROCESSABLE, issues.get(status, "AUTHORIZATION_DENIED"))

    def _check_refund(self, charge: Charge, minor: int) -> None:
        if charge.status == "pending":
            raise PayPalTrouble(UNPROCESSABLE, "PENDING_CAPTURE")
        code = refusals.refusal(
            "refund",
            charge,
            amount_minor=minor,
            currency=None,
            now_us=self._clock.now_us(),
            void_window_us=0,
        )
        if code is None:
            return
        if code == "charge_disputed":
            raise PayPalTrouble(UNPROCESSABLE, "TRANSACTION_DISPUTED")
        if charge.status != "captured":
            raise PayPalTrouble(UNPROCESSABLE, "REFUND_NOT_ALLOWED")
        spent = charge.left_minor <= 0
        issue = "CAPTURE_FULLY_REFUNDED" if spent else "REFUND_AMOUNT_EXCEEDED"
        raise PayPalTrouble(UNPROCESSABLE, issue)

    def _follow(
        self,
        order: Order,
        request: Request,
        strike: Strike | None,
        minor: int,
        *,
        reference: str | None,
    ) -> Operation:
        body = FollowUpBody(
            provider_txn_id=order.id,
            amount_minor=minor,
            reference=reference or order.custom_id,
        )
        return _done(self._teller.follow_up(request, body, strike))

    @staticmethod
    def _known(order: Order | None) -> Order:
        if order is None:
            raise _missing()
        return order


def _missing() -> PayPalTrouble:
    return PayPalTrouble(_NOT_FOUND, "INVALID_RESOURCE_ID")


def _checked(amount: AmountBody) -> int:
    try:
        return minor_of(amount.value, amount.currency_code)
    except AmountRefused as refused:
        raise PayPalTrouble(UNPROCESSABLE, refused.issue, field="amount/value") from refused


def _done(done: Operation | Refused) -> Operation:
    if isinstance(done, Refused):
        if done.status == _CONFLICT:
            raise PayPalTrouble(_CONFLICT, "PREVIOUS_REQUEST_IN_PROGRESS")
        raise PayPalTrouble(_FULL)
    if done.decline_code == STORED_500:
        raise PayPalTrouble(BROKEN)
    return done
