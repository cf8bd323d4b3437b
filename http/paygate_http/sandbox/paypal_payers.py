"""Payers who are at PayPal: what they are shown, and what their yes or no does to an order.

Their yes moves no money: whoever made the order takes it then.
"""

from paygate_engine.clock import Clock
from paygate_http.sandbox.books import Books
from paygate_http.sandbox.later import NotNow
from paygate_http.sandbox.notices import Notices
from paygate_http.sandbox.paypal_desk import ORDER_LIFE_US
from paygate_http.sandbox.paypal_records import Order
from paygate_http.sandbox.paypal_tongue import PAYER_APPROVED
from paygate_http.sandbox.records import Charge
from paygate_http.sandbox.wire import ProviderId


class PayPalPayers:
    """The payers of one account."""

    def __init__(
        self, *, provider: ProviderId, books: Books, notices: Notices, clock: Clock
    ) -> None:
        self._provider: ProviderId = provider
        self._books = books
        self._notices = notices
        self._clock = clock

    def shown(self, order_id: str) -> Charge | None:
        """Give the charge that an order will be, for the payer's page; None: no such order."""
        order = self._books.paypal.orders.get(order_id)
        return None if order is None else self._charge(order)

    def approve(self, charge: Charge) -> None:
        """The payer said yes. Again: nothing more. Raises `NotNow`."""
        order = self._books.paypal.orders[charge.id]
        if order.state == "APPROVED":
            return
        self._must_wait(order)
        order.state = "APPROVED"
        charge.status = "pending"
        self._books.paypal.keep(order)
        self._notices.emit(
            PAYER_APPROVED,
            provider=self._provider,
            cause="charge",
            key=order.custom_id or order.id,
            transaction_id=order.id,
            data={},
        )

    def refuse(self, charge: Charge) -> None:
        """The payer did not pass, or went back. Again: nothing more. Raises `NotNow`.

        PayPal tells nobody of it.
        """
        order = self._books.paypal.orders[charge.id]
        if order.failed:
            return
        self._must_wait(order)
        order.state, order.failed = "CREATED", True
        charge.status = "failed"
        self._books.paypal.keep(order)

    def expire(self, charge: Charge) -> None:
        """The payer's time is over, now. Raises `NotNow`."""
        order = self._books.paypal.orders[charge.id]
        self._must_wait(order)
        order.created_at_us = self._clock.now_us() - ORDER_LIFE_US
        self._books.paypal.keep(order)

    def _must_wait(self, order: Order) -> None:
        late = self._clock.now_us() - order.created_at_us >= ORDER_LIFE_US
        if order.state != "PAYER_ACTION_REQUIRED" or late:
            raise NotNow(f"The order does not wait for its payer: it is {order.state}.")

    def _charge(self, order: Order) -> Charge:
        waits = order.state == "PAYER_ACTION_REQUIRED"
        return Charge(
            id=order.id,
            provider=self._provider,
            key="",
            reference=order.custom_id or "",
            amount_minor=order.amount_minor,
            currency=order.currency,
            capture=order.intent == "CAPTURE",
            status="requires_action" if waits else "failed" if order.failed else "pending",
            created_at_us=order.created_at_us,
            return_url=order.return_url,
        )
