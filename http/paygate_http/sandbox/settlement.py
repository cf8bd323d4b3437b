"""What takes effect: money moves, is written down, and the gateway is told. Decided elsewhere."""

from collections.abc import Callable

from paygate_engine.clock import Clock
from paygate_http.sandbox.books import Books
from paygate_http.sandbox.notices import Notices
from paygate_http.sandbox.records import Charge, LedgerLine, Operation
from paygate_http.sandbox.schedule import Schedule
from paygate_http.sandbox.wire import Verb, time_text

# Card schemes let most holds live about a week.
HOLD_US = 7 * 24 * 3_600 * 1_000_000

# A dispute takes weeks in life; here it only has to come after the success.
DISPUTE_AFTER_US = 500_000


class Settlement:
    """Moves money in the books. Every method changes records, keeps them, and emits notices."""

    def __init__(self, *, books: Books, notices: Notices, schedule: Schedule, clock: Clock) -> None:
        self._books = books
        self._notices = notices
        self._schedule = schedule
        self._clock = clock

    def charge(self, operation: Operation, charge: Charge) -> None:
        """Take or hold the money of a new (or confirmed) charge."""
        now_us = self._clock.now_us()
        operation.status = "succeeded"
        if charge.capture:
            charge.status = "captured"
            charge.captured_minor = operation.amount_minor
            charge.captured_at_us = now_us
            event_type = "payment.succeeded"
        else:
            charge.status = "authorized"
            charge.authorized_at_us = now_us
            charge.expires_at_us = now_us + HOLD_US
            event_type = "payment.authorized"
        self._book(operation, charge)
        self._tell(event_type, operation, charge, captured=charge.capture)
        self.watch(charge)

    def capture(self, operation: Operation, charge: Charge) -> None:
        """Take what was held; what is not taken is released."""
        operation.status = "succeeded"
        charge.status = "captured"
        charge.busy_key = None
        charge.captured_minor = operation.amount_minor
        charge.captured_at_us = self._clock.now_us()
        self._book(operation, charge)
        self._tell("payment.succeeded", operation, charge, captured=True)
        self.watch(charge)

    def void(self, operation: Operation, charge: Charge, *, moved: bool) -> None:
        """Undo the whole charge. `moved` is False where it never was confirmed."""
        operation.status = "succeeded"
        charge.status = "cancelled"
        charge.busy_key = None
        self._books.keep(operation)
        if moved:
            self._book(operation, charge)
        self._tell("payment.cancelled", operation, charge)
        self._cancel_origin(charge)

    def refund(self, operation: Operation, charge: Charge) -> None:
        """Give a part or all of it back."""
        operation.status = "succeeded"
        charge.refunded_minor += operation.amount_minor
        self._book(operation, charge)
        self._tell("refund.succeeded", operation, charge, parentTransactionID=charge.id)

    def decline(self, operation: Operation, charge: Charge | None, code: str) -> None:
        """Write down that nothing moved. Declined charges and refunds are told, as in life."""
        operation.status = "failed"
        operation.decline_code = code
        if charge is not None and operation.verb in ("charge", "authorize"):
            charge.status = "failed"
            self._books.keep(charge)
            self._tell("payment.failed", operation, charge, reason=code)
        elif charge is not None and operation.verb == "refund":
            self._tell(
                "refund.failed", operation, charge, reason=code, parentTransactionID=charge.id
            )
        self._books.keep(operation)

    def lapse(self, charge: Charge, reason: str) -> None:
        """Cancel a charge that ran out of time, or a hold that ran out of days."""
        charge.status = "cancelled"
        self._tell("payment.cancelled", self._books.operation_of(charge), charge, reason=reason)
        self._cancel_origin(charge)

    def watch(self, charge: Charge) -> None:
        """See to what happens to a charge by itself: a hold expires, a dispute comes."""
        if charge.status in ("authorized", "requires_action") and charge.expires_at_us is not None:
            self._schedule.at(charge.expires_at_us, lambda: self._expire(charge))
        if charge.status == "captured" and charge.dispute == "due":
            assert charge.captured_at_us is not None  # set together with the status
            due_us = charge.captured_at_us + DISPUTE_AFTER_US
            self._schedule.at(due_us, lambda: self._dispute(charge))

    def tell_dispute(self, event_type: str, charge: Charge, **details: object) -> None:
        """Tell the gateway about the charge's dispute."""
        self._notices.emit(
            event_type,
            provider=charge.provider,
            cause="dispute",
            key=charge.key,
            transaction_id=charge.id,
            data={
                "amountMinor": charge.disputed_minor,
                "currency": charge.currency,
                "reference": charge.reference,
                **details,
            },
        )

    def _expire(self, charge: Charge) -> None:
        if charge.busy_key is not None:
            return
        if charge.status == "requires_action":
            self.lapse(charge, "action_expired")
        elif charge.status == "authorized":
            self.lapse(charge, "authorization_expired")

    def _dispute(self, charge: Charge) -> None:
        if charge.status != "captured" or charge.dispute != "due" or charge.left_minor <= 0:
            return
        charge.dispute = "open"
        charge.disputed_minor = charge.left_minor
        self._books.keep(charge)
        self.tell_dispute("dispute.opened", charge, reason="fraudulent")

    def _cancel_origin(self, charge: Charge) -> None:
        origin = self._books.operation_of(charge)
        origin.status = "cancelled"
        self._books.keep(origin)
        self._books.keep(charge)

    def _book(self, operation: Operation, charge: Charge) -> None:
        self._books.book(
            LedgerLine(
                provider=charge.provider,
                operation=operation.verb,
                idempotency_key=operation.key,
                provider_txn_id=operation.txn_id,
                amount_minor=operation.amount_minor,
                currency=operation.currency,
                at=time_text(self._clock.now_us()),
            )
        )
        self._books.keep(operation)
        self._books.keep(charge)

    def _tell(
        self, event_type: str, operation: Operation, charge: Charge, **details: object
    ) -> None:
        self._notices.emit(
            event_type,
            provider=charge.provider,
            cause=operation.verb,
            key=operation.key,
            transaction_id=operation.txn_id,
            data={
                "amountMinor": operation.amount_minor,
                "currency": operation.currency,
                "reference": operation.reference,
                **details,
            },
        )

    def effect_of(self, verb: Verb) -> Callable[[Operation, Charge], None]:
        """Give the method that makes an operation of this verb take effect."""
        match verb:
            case "charge" | "authorize":
                return self.charge
            case "capture":
                return self.capture
            case "refund":
                return self.refund
            case "void":
                return lambda operation, charge: self.void(operation, charge, moved=True)
