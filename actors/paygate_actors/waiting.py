"""Who waits for a payment, or for one of its transactions, to move on. In memory only."""

from typing import Any

from paygate_actors.messages import PaymentView, TransactionView
from paygate_actors.payment_messages import Await
from paygate_actors.record import Payment
from paygate_actors.states import WAITING
from paygate_actors.views import payment_view, transaction_view
from paygate_engine.future import LoopFuture


class Waiters:
    """The askers of one payment, each answered once; as many as those who still wait."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: list[tuple[LoopFuture[Any], Await]] = []

    def __bool__(self) -> bool:
        return any(not asker.done() for asker, _ in self._waiting)

    def add(self, asker: LoopFuture[Any], message: Await) -> None:
        """Let one more wait; those who gave up meanwhile are dropped."""
        self._waiting = [each for each in self._waiting if not each[0].done()]
        self._waiting.append((asker, message))

    def answer(self, payment: Payment) -> None:
        """Answer everybody for whom the payment has moved on."""
        waiting, self._waiting = self._waiting, []
        for asker, message in waiting:
            view = moved_view(payment, message)
            if asker.done():
                continue  # its time was up
            if view is None:
                self._waiting.append((asker, message))
            else:
                asker.set(view)


def moved_view(payment: Payment, message: Await) -> PaymentView | TransactionView | None:
    """What is waited for, or None while it has not moved on."""
    if message.transaction_id is None:
        return None if payment.status in WAITING else payment_view(payment)
    txn = payment.txn(message.transaction_id)
    if txn is None or txn.status == "pending":
        return None
    return transaction_view(payment, txn)
