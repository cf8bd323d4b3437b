"""Transactions: read one, list them, and an operator's correction."""

from paygate_actors.messages import Refusal, SetTransactionStatus
from paygate_http import render
from paygate_http.bodies import StatusBody
from paygate_http.decode import decode
from paygate_http.filters import TRANSACTION_FILTERS, read_filters
from paygate_http.payment_checks import check_text
from paygate_http.problems import Problem
from paygate_http.quick_reply import Answer
from paygate_http.replies import TransactionListReply
from paygate_http.requests import read_json
from paygate_http.route import Call, json_response
from paygate_http.validation import Faults


async def read(call: Call) -> Answer:
    """Show one transaction as committed."""
    transaction_id = call.path_id("transactionID", "transaction_not_found")
    view = await call.front.transaction(call.caller, transaction_id)
    if isinstance(view, Refusal):
        raise Problem.of(view)
    return json_response(render.transaction(view))


async def listing(call: Call) -> Answer:
    """Show a page of transactions, newest first."""
    filters = read_filters(call.request, TRANSACTION_FILTERS)
    page = await call.front.transactions(call.caller, filters)
    if isinstance(page, Refusal):
        raise Problem.of(page)
    return json_response(
        TransactionListReply(
            data=[render.transaction(view) for view in page.items],
            has_more=page.next_cursor is not None,
            next_cursor=page.next_cursor,
        )
    )


async def set_status(call: Call) -> Answer:
    """Correct the status of a transaction, the provider being asked first."""
    transaction_id = call.path_id("transactionID", "transaction_not_found")
    faults = Faults()
    body = decode(await read_json(call.request), StatusBody, faults)
    if body.status is None:
        faults.missing("/status")
    if body.reason is None:
        faults.missing("/reason")
    else:
        check_text(body.reason, "/reason", faults)
    if faults or body.status is None or body.reason is None:
        raise faults.problem()
    done = await call.front.set_status(
        SetTransactionStatus(
            caller=call.caller,
            transaction_id=transaction_id,
            status=body.status,
            reason=body.reason,
            force=body.force or False,
        )
    )
    if isinstance(done, Refusal):
        raise Problem.of(done)
    return json_response(render.transaction(done.transaction))
