"""An order with all that the books know of it, for whoever shows it."""

from paygate_http.sandbox.books import Books
from paygate_http.sandbox.paypal_objects import View
from paygate_http.sandbox.paypal_records import Order
from paygate_http.sandbox.records import Operation
from paygate_http.sandbox.wire import ProviderId


class Views:
    """Gives views of one account's orders. `url`: where the sandbox is."""

    def __init__(self, *, provider: ProviderId, books: Books, url: str) -> None:
        self._provider: ProviderId = provider
        self._books = books
        self.url = url

    def of(self, order: Order) -> View:
        """Give the order as it stands."""
        charge = self._books.charges.get(order.id)
        return View(
            order,
            charge=charge,
            paid=self._books.operation_of(charge) if charge is not None else None,
            captured=self.operation(order.capture_key),
            refunds=[
                (note, self.operation(note.key)) for note in self._books.paypal.refunds_of(order.id)
            ],
            url=self.url,
        )

    def operation(self, key: str | None) -> Operation | None:
        """Give what a request id did; None for what PayPal did by itself."""
        return self._books.find(self._provider, key) if key is not None else None
