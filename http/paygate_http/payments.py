"""Payments: make one, read one, list them, read their history."""

from paygate_actors.messages import PaymentReply as Done
from paygate_actors.messages import PaymentView, Refusal
from paygate_http import render
from paygate_http.commands import process_payment
from paygate_http.filters import PAYMENT_FILTERS, read_at, read_filters
from paygate_http.problems import Problem
from paygate_http.quick_reply import Answer, QuickReply
from paygate_http.replies import EventListReply, PaymentListReply
from paygate_http.requests import applied, preferred_wait_s, read_json
from paygate_http.route import Call, json_body, json_response


async def process(call: Call) -> Answer:
    """Make a payment, or find the one that the key belongs to."""
    command = process_payment(
        call.request,
        await read_json(call.request),
        caller=call.caller,
        limits=call.config.limits,
        now_us=call.now_us(),
    )
    wait_s = preferred_wait_s(call.request)
    done = await call.front.process(command, wait_s=wait_s or 0)
    if isinstance(done, Refusal):
        raise Problem.of(done)
    headers = replay_headers(f"/api/payments/{done.payment.id}", replayed=done.replayed)
    headers |= applied(wait_s)
    return json_response(render.payment(done.payment), status=201, headers=headers)


async def read(call: Call) -> Answer:
    """Show one payment as committed; with `at`, as it was at that instant."""
    payment_id = call.path_id("paymentID", "payment_not_found")
    at_us = read_at(call.request)
    if at_us is None:
        view = await call.front.payment(call.caller, payment_id)
    else:
        view = await call.front.payment_at(call.caller, payment_id, at_us)
    if isinstance(view, Refusal):
        raise Problem.of(view)
    return _showing(call, view)


def read_at_once(call: Call) -> QuickReply | None:
    """Show the same where nothing need be waited for; None: `read` must be asked."""
    if call.request.query:
        return None
    view = call.front.payment_now(call.caller, call.path_id("paymentID", "payment_not_found"))
    return None if view is None else _showing(call, view)


def shown(view: PaymentView) -> bytes:
    """The body of an answer that shows a payment."""
    return json_body(render.payment(view))


async def listing(call: Call) -> Answer:
    """Show a page of payments, newest first."""
    page = await call.front.payments(call.caller, read_filters(call.request, PAYMENT_FILTERS))
    if isinstance(page, Refusal):
        raise Problem.of(page)
    return json_response(
        PaymentListReply(
            data=[render.payment(view) for view in page.items],
            has_more=page.next_cursor is not None,
            next_cursor=page.next_cursor,
        )
    )


async def events(call: Call) -> Answer:
    """Show the whole history of a payment, in order."""
    payment_id = call.path_id("paymentID", "payment_not_found")
    # The events' amounts are minor units: the payment tells of which currency.
    view = await call.front.payment(call.caller, payment_id)
    if isinstance(view, Refusal):
        raise Problem.of(view)
    history = await call.front.events(call.caller, payment_id)
    if isinstance(history, Refusal):
        raise Problem.of(history)
    return json_response(
        EventListReply(data=[render.event(each, view.currency) for each in history])
    )


def payment_response(done: Done | Refusal) -> Answer:
    """Answer with a payment that was changed."""
    if isinstance(done, Refusal):
        raise Problem.of(done)
    return json_response(render.payment(done.payment))


def replay_headers(location: str, *, replayed: bool) -> dict[str, str]:
    """Say where the made thing is, and whether an earlier request had made it."""
    headers = {"Location": location}
    if replayed:
        headers["Idempotent-Replayed"] = "true"
    return headers


def _showing(call: Call, view: PaymentView) -> QuickReply:
    return QuickReply(call.context.shown.of(view.id, view))
