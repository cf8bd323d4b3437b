"""What happens to a charge later: pending operations end, payers confirm, banks dispute.

Every wait is an entry of the schedule and can be made again from the records: `resume` does so
after a restart.
"""

from typing import Literal

from paygate_engine.clock import Clock
from paygate_engine.ids import Ids
from paygate_http.sandbox.books import Books
from paygate_http.sandbox.faults import Strike
from paygate_http.sandbox.notices import Notices
from paygate_http.sandbox.records import Charge, LedgerLine, Operation
from paygate_http.sandbox.schedule import Schedule
from paygate_http.sandbox.settlement import Settlement
from paygate_http.sandbox.wire import time_text


class NotNow(Exception):
    """The charge is in no state for this; the text says in which it is."""


class Later:
    """Ends what is open: by the clock, or by a control route."""

    def __init__(
        self,
        *,
        books: Books,
        settlement: Settlement,
        notices: Notices,
        schedule: Schedule,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._books = books
        self._settlement = settlement
        self._notices = notices
        self._schedule = schedule
        self._clock = clock
        self._ids = ids

    def resume(self) -> None:
        """Schedule again what the records of an earlier process still wait for."""
        for charge in self._books.charges.values():
            self._settlement.watch(charge)
        for operation in self._books.operations.values():
            if operation.status == "pending":
                self._await_end(operation)

    def defer(self, operation: Operation, strike: Strike | None) -> None:
        """Let the operation take its time; it takes effect at the end of it."""
        delay_ms = strike.delay_ms if strike is not None else 0
        operation.status = "pending"
        operation.due_at_us = self._clock.now_us() + delay_ms * 1_000
        self._books.keep(operation)
        self._await_end(operation)

    def complete(self, charge: Charge) -> None:
        """The payer confirmed. Again: nothing more. Raises `NotNow`."""
        if charge.status in ("captured", "authorized"):
            return
        self._must_confirm(charge)
        self._settlement.charge(self._books.operation_of(charge), charge)

    def fail(self, charge: Charge) -> None:
        """The payer did not pass. Again: nothing more. Raises `NotNow`."""
        if charge.status == "failed":
            return
        self._must_confirm(charge)
        self._settlement.decline(self._books.operation_of(charge), charge, "authentication_failed")

    def expire(self, charge: Charge) -> None:
        """The payer did not come in time. Again: nothing more. Raises `NotNow`."""
        if charge.status == "cancelled":
            return
        self._must_confirm(charge)
        self._settlement.lapse(charge, "action_expired")

    def close_dispute(self, charge: Charge, outcome: Literal["won", "lost"]) -> None:
        """The bank decided. Again with the same outcome: nothing more. Raises `NotNow`."""
        if charge.dispute == outcome:
            return
        if charge.dispute != "open":
            raise NotNow(
                f"The charge has no open dispute (it is {charge.dispute or 'undisputed'})."
            )
        charge.dispute = outcome
        self._books.keep(charge)
        self._settlement.tell_dispute("dispute.closed", charge, outcome=outcome)

    def give_back(self, charge: Charge, amount_minor: int) -> str:
        """Refund by the provider's own decision, without a call; gives the refund's id.

        Raises `NotNow` where less than that is left of what was captured.
        """
        left_minor = charge.captured_minor - charge.refunded_minor
        if charge.status != "captured" or amount_minor > left_minor:
            raise NotNow(f"The charge is {charge.status} and has {left_minor} minor units left.")
        refund_id = self._ids.new("re")
        charge.refunded_minor += amount_minor
        self._books.keep(charge)
        self._books.book(
            LedgerLine(
                provider=charge.provider,
                operation="refund",
                idempotency_key=None,
                provider_txn_id=refund_id,
                amount_minor=amount_minor,
                currency=charge.currency,
                at=time_text(self._clock.now_us()),
            )
        )
        self._notices.emit(
            "refund.succeeded",
            provider=charge.provider,
            cause="refund",
            key=charge.key,
            transaction_id=refund_id,
            data={
                "amountMinor": amount_minor,
                "currency": charge.currency,
                "parentTransactionID": charge.id,
            },
        )
        return refund_id

    def hasten(self, *, after_us: int, within_us: int) -> int:
        """Let all that is pending end from `after_us` on, evenly spread over `within_us`.

        In the order in which it came; gives how many these are.
        """
        pending = [each for each in self._books.operations.values() if each.status == "pending"]
        first_us = self._clock.now_us() + after_us
        for place, operation in enumerate(pending):
            operation.due_at_us = first_us + within_us * place // len(pending)
            self._books.keep(operation)
            # What was scheduled first finds it ended, and does nothing.
            self._await_end(operation)
        return len(pending)

    def _await_end(self, operation: Operation) -> None:
        due_us = operation.due_at_us if operation.due_at_us is not None else 0
        self._schedule.at(due_us, lambda: self._end(operation))

    def _end(self, operation: Operation) -> None:
        charge = self._books.charges[operation.charge_id]
        if operation.status != "pending":
            return
        if operation.decline_code is not None:
            self._settlement.decline(operation, charge, operation.decline_code)
            return
        if operation.verb == "refund":
            charge.refunding_minor -= operation.amount_minor
        self._settlement.effect_of(operation.verb)(operation, charge)

    def _must_confirm(self, charge: Charge) -> None:
        if charge.status != "requires_action":
            raise NotNow(f"The charge does not wait for its payer: it is {charge.status}.")
