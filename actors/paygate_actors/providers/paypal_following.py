"""Captures, voids and refunds at PayPal: each is of an object that the order names."""

from collections.abc import Callable
from functools import partial
from typing import Final, Literal
from urllib.parse import quote

from paygate_actors.outcomes import Approved, Declined, Outcome, Prepared, Unknown
from paygate_actors.providers.base import FollowUpCall, Operation
from paygate_actors.providers.countdown import countdown
from paygate_actors.providers.http_client import Answered
from paygate_actors.providers.intelligible import Unintelligible
from paygate_actors.providers.paypal_answers import (
    busy,
    follow_up_refused,
    not_possible,
    outcome_of,
)
from paygate_actors.providers.paypal_bodies import capture_body, fence_body, refund_body
from paygate_actors.providers.paypal_charging import Charging, path_of
from paygate_actors.providers.paypal_reading import (
    is_given_up,
    read_captured,
    read_refunded,
    unit_of,
)
from paygate_actors.providers.paypal_session import Reply, Session
from paygate_actors.providers.paypal_wire import Order, Payment, Trouble, decode_payment

_NO_CONTENT: Final = 204
_OPEN_HOLD: Final = frozenset({"CREATED", "PENDING"})
_REFUSED: Final = frozenset({"DECLINED", "FAILED", "DENIED"})


class _Request:
    """What is asked of PayPal once the order was read."""

    __slots__ = ("body", "path")

    def __init__(self, path: str, body: bytes) -> None:
        self.path = path
        self.body = body


class Following:
    """Makes the calls that come after a charge. `deadline_s`: for all requests of one call."""

    def __init__(self, session: Session, charging: Charging, *, deadline_s: float) -> None:
        self._session = session
        self._charging = charging
        self._deadline_s = deadline_s

    async def capture(self, call: FollowUpCall) -> Outcome:
        """Capture what is held. Raises `NotRepresentable`."""
        body = capture_body(call)

        def ask(order: Order) -> Outcome | _Request:
            payments = unit_of(order).payments
            if payments.authorizations:
                hold = quote(payments.authorizations[-1].id, safe="")
                return _Request(f"/v2/payments/authorizations/{hold}/capture", body)
            code = "already_captured" if payments.captures else "not_confirmed"
            return not_possible(code, "capture", order.id)

        return await self._follow("capture", call, ask, partial(read_captured, call=call))

    async def refund(self, call: FollowUpCall) -> Outcome:
        """Give back a part or the whole. Raises `NotRepresentable`."""
        body = refund_body(call)

        def ask(order: Order) -> Outcome | _Request:
            captures = unit_of(order).payments.captures
            if not captures:
                return not_possible("not_captured", "refund", order.id)
            capture = quote(captures[-1].id, safe="")
            return _Request(f"/v2/payments/captures/{capture}/refund", body)

        return await self._follow("refund", call, ask, partial(read_refunded, call=call))

    async def void(self, call: FollowUpCall) -> Outcome:
        """Cancel a hold, or give up an order that nobody paid for.

        What was voided before is voided, whoever did it: a void leaves no reference behind.
        """
        time_left = countdown(self._deadline_s)
        order = await self._charging.read(call.provider_txn_id, time_left())
        if isinstance(order, Unknown):
            return _unread(order)
        try:
            payments = unit_of(order).payments
            done = Approved(provider_txn_id=order.id, amount=call.amount)
            if payments.authorizations:
                return await self._void_hold(call, payments.authorizations[-1], done, time_left())
            if payments.captures:
                return _void_of_captured(order.id, payments.captures[-1])
            if order.status == "VOIDED" or is_given_up(order):
                return done
            return await self._give_up(call, order, done, time_left())
        except Unintelligible:
            return Unknown(reason="garbage", detail="the order is none of ours")

    async def _follow(
        self,
        operation: Operation,
        call: FollowUpCall,
        ask: Callable[[Order], Outcome | _Request],
        read: Callable[[bytes], Outcome],
    ) -> Outcome:
        time_left = countdown(self._deadline_s)
        order = await self._charging.read(call.provider_txn_id, time_left())
        if isinstance(order, Unknown):
            return _unread(order)
        try:
            wanted = ask(order)
        except Unintelligible:
            return Unknown(reason="garbage", detail="the order is none of ours")
        if not isinstance(wanted, _Request):
            return wanted
        reply = await self._session.send(
            "POST", wanted.path, deadline_s=time_left(), key=call.key, body=wanted.body
        )
        return _outcome(reply, read, operation, call)

    async def _void_hold(
        self, call: FollowUpCall, hold: Payment, done: Approved, deadline_s: float
    ) -> Outcome:
        if hold.status == "VOIDED":
            return done
        if hold.status not in _OPEN_HOLD:
            code = "charge_failed" if hold.status in _REFUSED else "already_settled"
            return not_possible(code, "void", call.provider_txn_id)
        path = f"/v2/payments/authorizations/{quote(hold.id, safe='')}/void"
        reply = await self._session.send(
            "POST", path, deadline_s=deadline_s, key=call.key, body=b"{}"
        )
        if isinstance(reply, Answered) and reply.status == _NO_CONTENT:
            return done

        def refused(trouble: Trouble) -> Outcome:
            if "PREVIOUSLY_VOIDED" in trouble.issues:
                return done
            return follow_up_refused(trouble, operation="void", order_id=call.provider_txn_id)

        return _final(outcome_of(reply, lambda body: _voided(body, hold, done), refused))

    async def _give_up(
        self, call: FollowUpCall, order: Order, done: Approved, deadline_s: float
    ) -> Outcome:
        reference = unit_of(order).custom_id
        intent: Literal["CAPTURE", "AUTHORIZE"]
        intent = "AUTHORIZE" if order.intent == "CAPTURE" else "CAPTURE"
        if reference is None:
            return Unknown(reason="garbage", detail="the order is none of ours")
        reply = await self._session.send(
            "PATCH",
            path_of(order.id),
            deadline_s=deadline_s,
            key=call.key,
            body=fence_body(reference, intent=intent),
        )
        if isinstance(reply, Answered) and reply.status == _NO_CONTENT:
            return done
        # Paid for a moment ago, or in a state that cannot be changed: the next reading tells.
        return _outcome(reply, _no_answer, "void", call, otherwise=busy())


def _outcome(
    reply: Reply,
    read: Callable[[bytes], Outcome],
    operation: Operation,
    call: FollowUpCall,
    *,
    otherwise: Declined | None = None,
) -> Outcome:
    def refused(trouble: Trouble) -> Outcome:
        if otherwise is not None:
            return otherwise
        return follow_up_refused(trouble, operation=operation, order_id=call.provider_txn_id)

    return _final(outcome_of(reply, read, refused))


def _voided(body: bytes, hold: Payment, done: Approved) -> Outcome:
    said = decode_payment(body)
    if said.id != hold.id or said.status != "VOIDED":
        raise Unintelligible
    return done


def _final(outcome: Outcome | Prepared) -> Outcome:
    assert not isinstance(outcome, Prepared), "only the first step prepares"
    return outcome


def _void_of_captured(order_id: str, capture: Payment) -> Outcome:
    if capture.status == "PENDING":
        return busy()
    code = "charge_failed" if capture.status in _REFUSED else "already_settled"
    return not_possible(code, "void", order_id)


def _unread(why: Unknown) -> Declined:
    # Without the order nobody knows what to ask for: nothing was.
    return Declined(
        code="not_sent",
        message=f"the order could not be read: {why.reason}",
        retryable=True,
        conclusive=False,
    )


def _no_answer(_body: bytes) -> Outcome:
    raise Unintelligible
